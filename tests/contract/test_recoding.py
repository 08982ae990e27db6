"""One SOP Instance UID in another transfer syntax, through the line's own steps and a real ledger and archive."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGLSLossless

from cxrnode.archive import SpoolArchive
from cxrnode.domain.identity import AETitle, InstanceUID
from cxrnode.domain.job import JobState, RetryPolicy
from cxrnode.domain.routing import Rule
from cxrnode.domain.study import Arrival, Sender
from cxrnode.ledger import SqliteLedger
from cxrnode.phantom import Patient, Radiograph, render
from cxrnode.pipeline import Line, Plan
from cxrnode.pixels.header import HeaderReader
from tests.fakes.clock import FakeClock
from tests.fakes.composer import FakeComposer
from tests.fakes.peer import FakePeer
from tests.fakes.predictor import FakePredictor

PLAN = Plan(
    rules=(Rule(),),
    models=("lungs",),
    destinations=(),
    quiet_seconds=1,
    batch=4,
    job_policy=RetryPolicy(attempts=3),
    delivery_policy=RetryPolicy(),
    job_lease_seconds=60,
    delivery_lease_seconds=60,
    commitment_wait_seconds=60,
)
FILM = Radiograph(rows=320, cols=320, identity="one", study="one")
RECODED = replace(FILM, transfer_syntax=JPEGLSLossless)
SENDER = Sender(calling_ae=AETitle("CR1"), called_ae=AETitle("CXRNODE"), address="127.0.0.1", association="a")


class Bench:
    """A line on a real disk, without a network."""

    def __init__(self, folder: Path, ledger: SqliteLedger, predictor: FakePredictor | None = None) -> None:
        self.archive = SpoolArchive(folder / "spool", floor_bytes=0)
        self.ledger, self.clock = ledger, FakeClock()
        self.line = Line(
            plan=PLAN,
            archive=self.archive,
            ledger=ledger,
            reader=HeaderReader(),
            predictor=predictor or FakePredictor(),
            composer=FakeComposer(),
            peer=FakePeer(),
            clock=self.clock,
            chance=lambda: 0.5,
        )

    def take(self, film: Radiograph) -> None:
        """Receive a film, compare, close and run."""
        self.take_bytes(render(film).file)

    def take_bytes(self, content: bytes) -> None:
        """The same for a file's bytes."""
        path = self.archive.incoming / "film.part"
        path.write_bytes(content)
        arrival = Arrival(
            path=path, sop_class_uid="", sop_instance_uid=InstanceUID(""), transfer_syntax_uid="", sender=SENDER
        )
        assert self.line.receive(arrival) == 0
        self.line.association_ended("a")
        self.line.compare_recoded()
        self.clock.move(5)
        self.line.close_due()
        self.line.run_jobs()

    def states(self) -> list[JobState]:
        """States of all jobs, the oldest first."""
        return [job.state for job in sorted(self.ledger.find_jobs(), key=lambda job: job.job)]


@pytest.fixture
def bench(tmp_path: Path, ledger: SqliteLedger) -> Bench:
    """A new line."""
    return Bench(tmp_path, ledger)


def test_the_same_pixels_in_another_transfer_syntax_change_nothing(bench: Bench) -> None:
    """A PACS that sends its compressed copy again gets no second analysis, and both files are kept."""
    bench.take(FILM)
    bench.take(RECODED)
    assert bench.states() == [JobState.COMPLETED]
    assert bench.ledger.recodings(limit=10) == []
    assert len(list(bench.archive.finished())) == 2


def test_a_corrected_header_counts_even_in_another_transfer_syntax(bench: Bench) -> None:
    """A corrected name in a recoded copy gives another job, on the new header."""
    bench.take(FILM)
    bench.take(replace(RECODED, patient=Patient(name="Corrected^Name")))
    assert bench.states() == [JobState.COMPLETED, JobState.COMPLETED]
    assert [job.patient.name for job in bench.ledger.find_jobs()] == ["Corrected^Name"] * 2


@pytest.mark.parametrize(
    "other", [replace(FILM, seed=2), replace(RECODED, seed=2)], ids=["same syntax", "other syntax"]
)
def test_other_pixels_under_the_same_uid_wait_for_a_person(bench: Bench, other: Radiograph) -> None:
    """Both contents are kept, nothing is overwritten, and the study's next job is parked."""
    bench.take(FILM)
    bench.take(other)
    assert bench.states() == [JobState.COMPLETED, JobState.PARKED]
    assert len(list(bench.archive.finished())) == 2
    (parked,) = bench.ledger.find_jobs(state=JobState.PARKED)
    assert parked.reason == "conflict"


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGLSLossless], ids=str)
@pytest.mark.parametrize("cut_first", [True, False], ids=["cut first", "whole first"])
def test_a_cut_copy_never_keeps_the_whole_image_from_being_analysed(
    bench: Bench, *, cut_first: bool, syntax: str
) -> None:
    """A transfer that broke off and was made again: the whole image counts, whichever came first; both are kept."""
    whole = render(replace(FILM, transfer_syntax=syntax)).file
    for content in (whole[:-900], whole) if cut_first else (whole, whole[:-900]):
        bench.take_bytes(content)
    assert JobState.PARKED not in bench.states()
    assert bench.states()[-1] is JobState.COMPLETED
    codes = [outcome.code for outcome in bench.ledger.outcomes()]
    assert codes == (["replaced", ""] if cut_first else ["", "cut"])
    assert len(list(bench.archive.finished())) == 2
