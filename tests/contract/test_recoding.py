"""One SOP Instance UID in another transfer syntax, through the line's own steps and a real ledger and archive."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGLSLossless

from cxrnode.archive import SpoolArchive
from cxrnode.domain.identity import AETitle, InstanceUID
from cxrnode.domain.job import JobState, RetryPolicy
from cxrnode.domain.routing import Rule
from cxrnode.domain.study import Arrival, Sender
from cxrnode.errors import Retryable
from cxrnode.ledger import SqliteLedger
from cxrnode.ledger.reconciling import End
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
        self.keep(content)
        self.line.compare_recoded()
        self.clock.move(5)
        self.line.close_due()
        self.line.run_jobs()

    def keep(self, content: bytes) -> None:
        """Receive a file."""
        path = self.archive.incoming / "film.part"
        path.write_bytes(content)
        arrival = Arrival(
            path=path, sop_class_uid="", sop_instance_uid=InstanceUID(""), transfer_syntax_uid="", sender=SENDER
        )
        assert self.line.receive(arrival) == 0
        self.line.association_ended("a")

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


def test_a_corrected_study_counts_even_in_another_transfer_syntax(bench: Bench) -> None:
    """A recoded copy that names another study moves the image there; the study that it leaves waits for nothing."""
    bench.take(FILM)
    bench.take(replace(RECODED, study="the right one"))
    assert bench.states() == [JobState.COMPLETED, JobState.COMPLETED]
    assert bench.ledger.open_studies() == []
    assert len({job.study_uid for job in bench.ledger.find_jobs()}) == 2
    assert [one.end for one in bench.ledger.inventory.instances()] == [End.NOT_ANALYSED, End.ANALYSED]


def test_a_corrected_header_of_what_is_no_candidate_has_its_reason_at_once(bench: Bench) -> None:
    """A derived image reopens no study, whatever its transfer syntax, and is not left undecided either."""
    bench.take(FILM)
    bench.take_bytes(derived(FILM))
    bench.take_bytes(derived(replace(RECODED, patient=Patient(name="Corrected^Name"))))
    assert bench.states() == [JobState.COMPLETED]
    assert bench.ledger.recodings(limit=10) == []
    assert [one.end for one in bench.ledger.inventory.instances()] == [End.ANALYSED, End.NOT_ANALYSED, End.NOT_ANALYSED]


def derived(film: Radiograph) -> bytes:
    """Give a film as a derived image of its own."""
    dataset = render(film).dataset
    dataset.ImageType = ["DERIVED", "SECONDARY"]
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "2.25.77"
    content = BytesIO()
    dataset.save_as(content, enforce_file_format=True)
    return content.getvalue()


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


class _Away(FakePredictor):
    """Cannot compare some files now."""

    def __init__(self) -> None:
        super().__init__()
        self.away: set[Path] = set()
        self.tried = 0

    def same_pixels(self, first: Path, second: Path) -> bool:
        """Compare, where both are here."""
        self.tried += 1
        if second in self.away:
            raise Retryable("one of the two files cannot be read", operation="compare pixels")
        return super().same_pixels(first, second)


@pytest.fixture
def away() -> _Away:
    """What cannot be compared now."""
    return _Away()


@pytest.fixture
def held_up(tmp_path: Path, ledger: SqliteLedger, away: _Away) -> Bench:
    """A line that keeps more copies than it compares at once, of all of which the pixels are away."""
    bench = Bench(tmp_path, ledger, away)
    for number in range(PLAN.batch + 1):
        bench.keep(render(replace(FILM, identity=f"{number}", study=f"{number}")).file)
        bench.keep(render(replace(RECODED, identity=f"{number}", study=f"{number}")).file)
    away.away = {bench.archive.path(one.key) for one in ledger.recodings(limit=10)}
    return bench


def test_a_copy_that_cannot_be_compared_now_holds_up_no_other(held_up: Bench, away: _Away) -> None:
    """More of them than are looked at together: one that came after them is settled all the same."""
    for film in (FILM, RECODED):
        held_up.keep(render(replace(film, identity="sound", study="sound")).file)
    for _ in range(3):
        held_up.line.compare_recoded()
    assert len(held_up.ledger.recodings(limit=10)) == PLAN.batch + 1
    assert away.tried == PLAN.batch + 2, "none of them was tried again at once"


def test_a_copy_that_could_not_be_compared_is_tried_again_after_a_while(held_up: Bench, away: _Away) -> None:
    """Later and later, but it is never given up, and settled once its pixels are back."""
    for _ in range(100):
        held_up.clock.move(60)
        held_up.line.compare_recoded()
    assert PLAN.batch < away.tried < 20 * (PLAN.batch + 1), "100 minutes, at most 15 between two tries"
    away.away.clear()
    held_up.clock.move(900)
    while held_up.line.compare_recoded():
        pass
    assert held_up.ledger.recodings(limit=10) == []
    assert {one.code for one in held_up.ledger.outcomes()} == {None, "recoded"}


def test_a_clock_that_is_set_back_does_not_put_a_comparison_off(held_up: Bench, away: _Away) -> None:
    """It is tried at once, and not hours later."""
    held_up.line.compare_recoded()
    away.away.clear()
    held_up.clock.move(-86400)
    while held_up.line.compare_recoded():
        pass
    assert held_up.ledger.recodings(limit=10) == []
