"""A source whose file is gone from the spool: a person is told, and nobody calls the image unreadable."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cxrnode.domain.job import JobState
from tests.bench import FILM, Bench


def test_its_job_is_parked_and_no_other_waits_for_it(tmp_path: Path) -> None:
    """Sent again it is kept again, and the job, tried again, comes to its evidence."""
    bench = Bench(tmp_path)
    for seed in range(2):
        bench.clock.move(1)
        bench.take(replace(FILM, seed=seed))
    lost = bench.archive.path(next(iter(bench.ledger.outcomes())).key)
    lost.unlink()
    bench.work(2)
    assert bench.states() == [JobState.PARKED, JobState.COMPLETED]
    (parked, _) = bench.jobs()
    assert "gone from the spool" in parked.reason
    assert "A kept instance cannot be read" in parked.reason
    bench.take(replace(FILM, seed=0))
    assert lost.is_file()
    bench.ledger.requeue_job(parked.job, bench.clock.now())
    bench.work(2)
    assert bench.states() == [JobState.COMPLETED] * 2
    assert bench.codes() == {""}
