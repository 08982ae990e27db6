"""Bells ring their verbs, each on its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from cxrnode import schedule
from cxrnode.errors import Fatal, NeedsOperator, Retryable
from cxrnode.schedule import Bell, Bells
from tests.waiting import wait_for

SOON = 10.0


@pytest.fixture
def hang() -> Iterator[Callable[..., list[Fatal]]]:
    """Start bells; gives the list that fatal errors go to. Stopped after the test."""
    hung: list[Bells] = []

    def start(*bells: Bell, told: threading.Event | None = None) -> list[Fatal]:
        fatal: list[Fatal] = []

        def on_fatal(error: Fatal) -> None:
            fatal.append(error)
            if told:
                told.set()

        hung.append(Bells(bells, on_fatal))
        hung[-1].start()
        return fatal

    yield start
    for bells in hung:
        bells.stop()


def _bell(name: str, verb: Callable[[], int]) -> Bell:
    return Bell(name=name, period_seconds=0.02, verb=verb)


def test_a_bell_can_ring_when_the_bells_start(hang: Callable[..., list[Fatal]]) -> None:
    """What is asked once an hour is asked before the first hour is over."""
    rung, early = threading.Event(), threading.Event()
    hang(
        Bell(name="at once", period_seconds=3600, verb=lambda: rung.set() or 0, at_once=True),
        Bell(name="in an hour", period_seconds=3600, verb=lambda: early.set() or 0),
    )
    assert rung.wait(SOON)
    assert not early.is_set()


def test_a_verb_that_did_something_is_rung_again_at_once(hang: Callable[..., list[Fatal]]) -> None:
    """Work that waits is not left for the next period."""
    left, done = [3], threading.Event()

    def verb() -> int:
        left[0] -= 1
        if left[0] == 0:
            done.set()
        return max(left[0], 0)

    hang(Bell(name="slow", period_seconds=0.1, verb=verb))
    assert done.wait(SOON)


def test_a_bell_whose_verb_waits_delays_no_other(hang: Callable[..., list[Fatal]]) -> None:
    """A dead destination's bell hangs; the others ring on."""
    release, rung = threading.Event(), threading.Semaphore(0)

    def wait() -> int:
        release.wait(SOON)
        return 0

    def ring() -> int:
        rung.release()
        return 0

    hang(_bell("dead", wait), _bell("other", ring))
    try:
        assert all(rung.acquire(timeout=SOON) for _ in range(5))
    finally:
        release.set()


def test_a_verb_is_never_entered_twice_at_once(hang: Callable[..., list[Fatal]]) -> None:
    """Its period passes many times while it runs."""
    inside, overlaps, again = threading.Semaphore(1), list[int](), threading.Semaphore(0)

    def verb() -> int:
        if not inside.acquire(blocking=False):
            overlaps.append(1)
            return 0
        threading.Event().wait(0.07)
        inside.release()
        again.release()
        return 0

    hang(_bell("long", verb))
    assert all(again.acquire(timeout=SOON) for _ in range(3))
    assert overlaps == []


@pytest.mark.parametrize("error", [NeedsOperator(), KeyError("x")])
def test_what_a_verb_raises_ends_that_ring_only(hang: Callable[..., list[Fatal]], error: Exception) -> None:
    """The next ring finds the ledger as it is."""
    rung = threading.Semaphore(0)

    def verb() -> int:
        rung.release()
        raise error

    fatal = hang(_bell("failing", verb))
    assert all(rung.acquire(timeout=SOON) for _ in range(3))
    assert fatal == []


def test_what_fails_over_and_over_is_told_once(
    hang: Callable[..., list[Fatal]], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Another reason is told, and so is the same one after it went well: a night of it does not fill the log."""
    monkeypatch.setattr(schedule, "_FAILED_SECONDS", 0.02)
    ends = iter(["held", "held", "held", "full", "full", "", "full", "full"])
    done = threading.Event()

    def verb() -> int:
        end = next(ends, None)
        if end is None:
            done.set()
        elif end:
            raise Retryable(end)
        return 0

    hang(_bell("run", verb))
    assert done.wait(SOON)
    assert [record.fields["reason"] for record in caplog.records] == ["held", "full", "full"]  # type: ignore[attr-defined]


def test_a_fatal_error_is_told(hang: Callable[..., list[Fatal]]) -> None:
    """The node cannot go on with it."""
    told = threading.Event()

    def verb() -> int:
        raise Fatal

    fatal = hang(_bell("ledger", verb), told=told)
    assert told.wait(SOON)
    assert isinstance(fatal[0], Fatal)


def test_stopping_waits_for_the_verb_that_runs() -> None:
    """And a busy verb is not rung again."""
    entered, release, ended = threading.Event(), threading.Event(), threading.Event()

    def verb() -> int:
        entered.set()
        release.wait(SOON)
        ended.set()
        return 1

    bells = Bells([_bell("busy", verb)], lambda error: None)
    bells.start()
    assert entered.wait(SOON)
    threading.Timer(0.05, release.set).start()
    bells.stop()
    assert ended.is_set()


def test_stopping_takes_no_longer_than_it_is_given_and_names_what_still_runs() -> None:
    """A verb that does not end is left behind; one that ends in time is not named."""
    entered, release = threading.Semaphore(0), threading.Event()

    def hang() -> int:
        entered.release()
        release.wait(SOON)
        return 0

    def idle() -> int:
        entered.release()
        return 0

    once = Bell(name="idle", period_seconds=3600, verb=idle, at_once=True)
    bells = Bells([_bell("hanging", hang), once], lambda error: None)
    bells.start()
    try:
        assert all(entered.acquire(timeout=SOON) for _ in range(2))
        wait_for(lambda: bells.ringing == ("hanging",), SOON)
        assert bells.stop(0.1) == ("hanging",)
    finally:
        release.set()
    assert bells.stop(SOON) == ()
