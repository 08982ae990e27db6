"""Trouble that passes: an image that could not be read once is read again, not refused for good."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from cxrnode.domain.finding import Failure, ImagePrediction
from cxrnode.domain.job import JobState
from cxrnode.ledger import SqliteLedger
from cxrnode.ports import Request
from tests.contract.test_recoding import FILM, Bench
from tests.fakes.predictor import FakePredictor


class _Flaky(FakePredictor):
    """Fails on whole images for its first `times` calls."""

    def __init__(self, times: int, *, transient: bool) -> None:
        super().__init__()
        self.left, self.transient = times, transient

    def predict(
        self, requests: Sequence[Request], alive: Callable[[], None], *, alone: bool = False
    ) -> Sequence[ImagePrediction]:
        """Fail, or answer."""
        if self.left == 0:
            return super().predict(requests, alive, alone=alone)
        self.left -= 1
        failure = Failure(code="unreadable", transient=self.transient)
        return tuple(ImagePrediction(failure=failure) for _ in requests)


@pytest.mark.parametrize(("transient", "times", "code"), [(True, 1, ""), (True, 2, ""), (False, 1, "unreadable")])
def test_an_image_is_refused_only_when_trying_again_cannot_help(
    tmp_path: Path, ledger: SqliteLedger, *, transient: bool, times: int, code: str
) -> None:
    """A passing failure is tried again while there are attempts; a lasting one is the answer at once."""
    bench = Bench(tmp_path, ledger, _Flaky(times, transient=transient))
    bench.take(FILM)
    for _ in range(5):
        bench.clock.move(900)
        bench.line.run_jobs()
    assert bench.states() == [JobState.COMPLETED]
    assert [outcome.code for outcome in ledger.outcomes()] == [code]


def test_a_file_that_the_disk_never_gives_back_is_parked_for_a_person(tmp_path: Path, ledger: SqliteLedger) -> None:
    """Nobody is told that its pixels cannot be decoded; with the file back, the job comes to its end."""
    bench = Bench(tmp_path, ledger, _Flaky(3, transient=True))
    bench.take(FILM)
    for _ in range(5):
        bench.clock.move(900)
        bench.line.run_jobs()
    (parked,) = ledger.find_jobs(state=JobState.PARKED)
    assert "its file cannot be read" in parked.reason
    assert "A kept instance cannot be read" in parked.reason
    ledger.requeue_job(parked.job, bench.clock.now())
    bench.line.run_jobs()
    assert bench.states() == [JobState.COMPLETED]
    assert [outcome.code for outcome in ledger.outcomes()] == [""]
