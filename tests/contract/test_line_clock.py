"""A clock that jumps keeps nothing waiting, and nothing is done twice for it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from cxrnode.domain.delivery import DeliveryState
from cxrnode.domain.job import JobState
from cxrnode.errors import Retryable
from tests.bench import FILM, PACS, Bench

HOURS, YEARS = 5 * 3600.0, 11 * 365 * 86400.0


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    bench = Bench(tmp_path)
    bench.line.start()
    bench.line.mind_clock()
    return bench


def set_back(bench: Bench, seconds: float) -> None:
    bench.clock.move(-seconds)
    bench.line.mind_clock()


def open_study(bench: Bench) -> None:
    bench.take(FILM)


def waiting_job(bench: Bench) -> None:
    bench.take(FILM)
    bench.clock.move(6)
    bench.line.close_due()


def failed_job(bench: Bench) -> None:
    waiting_job(bench)
    bench.predictor.losses = 1
    bench.line.run_jobs()


def waiting_delivery(bench: Bench) -> None:
    waiting_job(bench)
    bench.line.run_jobs()


def asked_commitment(bench: Bench) -> None:
    waiting_delivery(bench)
    bench.line.deliver(PACS)
    bench.line.ask_commitments(PACS)
    bench.peer.reports.clear()


@pytest.mark.parametrize("jump", [90.0, HOURS, YEARS])
@pytest.mark.parametrize("until", [open_study, waiting_job, failed_job, waiting_delivery, asked_commitment])
def test_set_back_at_any_step_nothing_waits_for_the_clock_to_catch_up(
    bench: Bench, until: Callable[[Bench], None], jump: float
) -> None:
    """Whatever waited goes on within the time that it would have taken anyhow."""
    until(bench)
    set_back(bench, jump)
    bench.work(3)
    assert bench.states() == [JobState.COMPLETED]
    assert {way.state for way in bench.deliveries()} == {DeliveryState.COMMITTED}


def test_without_minding_the_clock_it_would_wait(bench: Bench) -> None:
    """The test above can fail: what is not told of the jump waits as long as the jump was."""
    waiting_job(bench)
    bench.clock.move(-HOURS)
    bench.work(3)
    assert bench.states() == [JobState.SCHEDULED]


def test_set_back_while_the_node_was_down_is_seen_at_the_start(tmp_path: Path, bench: Bench) -> None:
    """The battery of the clock died with the machine: the ledger's own history says what time it was."""
    waiting_job(bench)
    now = bench.clock.now()
    bench.ledger.shut()
    again = Bench(tmp_path)
    again.clock.time = now
    again.clock.move(-YEARS)
    again.line.start()
    again.work(2)
    assert again.states() == [JobState.COMPLETED]


def test_what_was_being_written_while_the_clock_was_set_back_is_pulled_in_too(bench: Bench) -> None:
    """A verb that read the clock before the jump writes after it."""
    bench.take(FILM)
    before = bench.clock.now()
    set_back(bench, HOURS)
    membership = bench.ledger.membership(bench.ledger.open_studies()[0][0])
    bench.ledger.close(membership, [], models=["lungs"], destinations=["pacs"], now=before, schedule=True)
    assert bench.line.run_jobs() == 0
    bench.clock.move(1)
    bench.line.mind_clock()
    assert bench.line.run_jobs() == 1


def test_a_jump_that_could_not_be_written_is_seen_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger was held just then."""
    waiting_job(bench)

    def busy(*_: object, **__: object) -> int:
        raise Retryable

    with monkeypatch.context() as patched:
        patched.setattr(bench.ledger, "pull_in", busy)
        with pytest.raises(Retryable):
            set_back(bench, HOURS)
    bench.line.mind_clock()
    assert bench.line.run_jobs() == 1


def test_a_retry_waits_as_ever_after_a_jump(bench: Bench) -> None:
    """Only what waits for longer than anything ever waits is pulled in after the jump itself."""
    waiting_job(bench)
    set_back(bench, HOURS)
    bench.predictor.losses = 1
    bench.line.run_jobs()
    for _ in range(3):
        bench.clock.move(1)
        bench.line.mind_clock()
        assert bench.line.run_jobs() == 0


@pytest.mark.parametrize("jump", [HOURS, YEARS, -HOURS, -YEARS])
def test_a_job_that_runs_while_the_clock_jumps_ends_once(bench: Bench, jump: float) -> None:
    """Its lease seems long over, or years away; it completes under its own attempt."""
    waiting_job(bench)
    (claim,) = bench.ledger.claim_jobs(bench.clock.now(), limit=1, lease_seconds=60)
    bench.clock.move(jump)
    bench.line.mind_clock()
    if jump < 0:
        assert bench.line.run_jobs() == 0
    bench.ledger.renew([claim], bench.clock.now(), lease_seconds=60)
    assert bench.line.run_jobs() == 0
    bench.ledger.fail_job(claim, due_at=bench.clock.now(), reason="", now=bench.clock.now())
    bench.work(2)
    (job,) = bench.jobs()
    assert (job.state, job.attempt) == (JobState.COMPLETED, 2)


def test_an_abandoned_lease_is_no_longer_than_a_lease(bench: Bench) -> None:
    """A job whose end could not be written is claimed again after the lease, not after the jump."""
    waiting_job(bench)
    bench.ledger.claim_jobs(bench.clock.now(), limit=1, lease_seconds=60)
    set_back(bench, YEARS)
    bench.clock.move(61)
    assert bench.line.run_jobs() == 1


def test_a_report_follows_the_last_one_though_the_clock_says_it_came_before(bench: Bench) -> None:
    """The order of what a study stated is kept by the ledger, not by the clock."""
    for number in range(3):
        bench.take(replace(FILM, study="one", instance_number=number + 1))
        bench.work(2)
        set_back(bench, HOURS)
    reports = bench.said("SR")
    assert [report["predecessor"] for report in reports] == ["", *(report["uid"] for report in reports[:2])]


@pytest.mark.parametrize(("jump", "told"), [(-HOURS, True), (HOURS, True), (-0.5, False), (30, False)])
def test_a_jump_is_told(bench: Bench, caplog: pytest.LogCaptureFixture, jump: float, *, told: bool) -> None:
    """By its size; a step that time smooths over is not worth a word."""
    caplog.clear()
    with caplog.at_level(logging.INFO, "cxrnode"):
        bench.clock.move(jump)
        bench.line.mind_clock()
    events = [record for record in caplog.records if record.msg == "clock_jumped"]
    assert [record.fields["seconds"] for record in events] == ([jump] if told else [])  # type: ignore[attr-defined]


def test_a_new_ledger_knows_no_time(tmp_path: Path) -> None:
    """The first start of all compares nothing."""
    assert Bench(tmp_path / "new").ledger.latest_time() is None
