"""What is urgent goes first, from the door to the destination, and the rest goes on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cxrnode.domain.priority import Stat
from cxrnode.ledger.turns import IN_A_ROW
from tests.bench import FILM, Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A line that runs one job and sends one object at a time."""
    return Bench(tmp_path, batch=1, stat=(Stat(asked=True),))


def backlog(bench: Bench, ordinary: int, urgent: int) -> None:
    """Let so many studies come, the ordinary ones first, and close them."""
    for seed in range(ordinary + urgent):
        bench.clock.move(1)
        bench.take(replace(FILM, seed=seed), priority=int(seed >= ordinary))
    bench.clock.move(6)
    assert bench.line.close_due() == ordinary + urgent


def ran(bench: Bench, times: int) -> list[bool]:
    """Run so many jobs; tell of each whether it was urgent."""
    before = {job.job for job in bench.jobs() if job.ended_at}
    done: dict[int, bool] = {}
    for _ in range(times):
        assert bench.line.run_jobs() == 1
        done |= {job.job: job.urgent for job in bench.jobs() if job.ended_at and job.job not in {*before, *done}}
    return list(done.values())


def test_an_urgent_study_overtakes_the_backlog(bench: Bench) -> None:
    """What came last and is urgent runs first; then the rest, the oldest first."""
    backlog(bench, ordinary=5, urgent=1)
    assert ran(bench, 3) == [True, False, False]


def test_urgent_studies_without_end_do_not_stop_the_rest(bench: Bench) -> None:
    """After a few urgent ones an ordinary one has its turn."""
    backlog(bench, ordinary=2, urgent=9)
    four = [True] * IN_A_ROW
    assert ran(bench, 11) == [*four, False, *four, False, True]


def test_its_results_go_first_too(bench: Bench) -> None:
    """The destination gets the urgent study's objects before what has waited longer."""
    backlog(bench, ordinary=3, urgent=0)
    ran(bench, 3)
    bench.take(replace(FILM, seed=99), priority=1)
    bench.clock.move(6)
    bench.line.close_due()
    ran(bench, 1)
    (urgent,) = [job for job in bench.jobs() if job.urgent]
    wanted = {one.sop_instance_uid for one in bench.ledger.evidence_of(urgent.study_uid)}
    for _ in wanted:
        bench.line.deliver(bench.plan.destinations[0])
    assert set(bench.peer.kept["pacs"]) == wanted


def test_an_urgent_study_stays_urgent_when_its_job_fails(bench: Bench) -> None:
    """A retry goes before the rest, too, as soon as it is due."""
    backlog(bench, ordinary=2, urgent=1)
    bench.predictor.losses = 1
    bench.line.run_jobs()
    assert ran(bench, 1) == [False]
    bench.clock.move(60)
    assert ran(bench, 1) == [True]
