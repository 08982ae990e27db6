"""Who uses the inference child: several at once, or one alone; and what a call still has to ask after a loss."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from cxrnode.domain.finding import Failure, ImagePrediction
from cxrnode.inference.asking import Asking
from cxrnode.inference.process import Stage
from cxrnode.inference.shared_lock import SharedLock
from cxrnode.ports import Request

SOON = 30.0


@contextmanager
def held(lock: SharedLock, *, alone: bool = False) -> Iterator[threading.Event]:
    """Take a turn in another thread; the event says that it is held, and the turn ends with the `with`."""
    holds, ended = threading.Event(), threading.Event()

    def hold() -> None:
        with lock.hold(alone=alone):
            holds.set()
            ended.wait(SOON)

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        yield holds
    finally:
        ended.set()
        thread.join(SOON)


def test_it_is_shared() -> None:
    """A comparison waits for no model."""
    lock = SharedLock()
    with held(lock) as one, held(lock) as other:
        assert one.wait(SOON) and other.wait(SOON)


@pytest.mark.parametrize("first", [True, False])
def test_nobody_is_beside_one_that_is_alone(first: bool) -> None:
    """Whoever came first; the one that waits shows that it lives, and gets its turn when the other has ended."""
    lock = SharedLock()
    beats = threading.Event()

    def wait() -> None:
        with lock.hold(beats.set, alone=not first):
            got.set()

    got = threading.Event()
    waiting = threading.Thread(target=wait)
    with held(lock, alone=first) as holds:
        assert holds.wait(SOON)
        waiting.start()
        assert beats.wait(SOON)
        assert not got.is_set()
    assert got.wait(SOON)
    waiting.join(SOON)


def test_one_that_wants_to_be_alone_is_not_overtaken_for_ever() -> None:
    """While it waits, others that come later wait behind it."""
    lock = SharedLock()
    waits = threading.Event()

    def wait_alone() -> None:
        with lock.hold(waits.set, alone=True):
            pass

    alone = threading.Thread(target=wait_alone)
    with ExitStack() as after:
        with held(lock) as begun:
            assert begun.wait(SOON)
            alone.start()
            assert waits.wait(SOON)
            late = after.enter_context(held(lock))
            assert not late.wait(1.5)
        assert late.wait(SOON)
    alone.join(SOON)
    assert not alone.is_alive()


def test_one_that_gives_up_waiting_leaves_no_trace() -> None:
    """What `alive` raises ends the waiting, and the next one gets its turn."""

    def lost() -> None:
        raise InterruptedError

    lock = SharedLock()
    with held(lock) as begun:
        assert begun.wait(SOON)
        with pytest.raises(InterruptedError), lock.hold(lost, alone=True):
            pass
        with held(lock) as other:
            assert other.wait(SOON)


def asking(images: int) -> Asking:
    """Give a call for images that two models look at."""
    return Asking(
        [Request(row=row, path=Path(f"{row}"), transfer_syntax_uid="", models=("a", "b")) for row in range(images)]
    )


def stage(*images: int, model: str = "") -> Stage:
    return Stage(call=1, images=images, model=model)


def test_what_was_answered_before_a_loss_is_not_asked_again() -> None:
    """And what the child was lost on is not either; the others are."""
    call = asking(3)
    call.take(0, ImagePrediction())
    assert call.doubt([0, 1, 2], [stage(0), stage(1)], "crashed")
    assert call.left() == [2]
    call.take(2, ImagePrediction())
    assert [one.failure.code if one.failure else "" for one in call.answers()] == ["", "crashed", ""]


def test_places_are_those_of_the_call_that_was_lost() -> None:
    """After the first loss the child counts from the first image that is left."""
    call = asking(3)
    call.take(0, ImagePrediction())
    assert call.doubt(call.left(), [stage(1)], "hung")
    assert call.left() == [1]


def test_an_image_lost_in_one_model_is_asked_of_the_others() -> None:
    """A whole group goes through a network together: each of it is asked again without that network."""
    call = asking(2)
    assert call.doubt([0, 1], [stage(0, 1, model="b")], "crashed")
    assert [call.request(place).models for place in call.left()] == [("a",), ("a",)]
    other = Failure(code="model_failed")
    call.take(0, ImagePrediction(failed=(("a", other),)))
    call.take(1, ImagePrediction())
    first, second = call.answers()
    assert [(name, why.code) for name, why in first.failed] == [("a", "model_failed"), ("b", "crashed")]
    assert [(name, why.transient) for name, why in second.failed] == [("b", True)]


def test_losses_without_a_suspect_come_to_an_end() -> None:
    """A child that is killed over and over between two images gives the call up: it is tried again later."""
    call = asking(2)
    assert [call.doubt([0, 1], [], "no_memory") for _ in range(4)] == [True, True, True, False]
