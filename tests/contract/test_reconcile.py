"""Ledger, spool and destinations held against each other: everything that is wrong is found, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from types import TracebackType

import pytest

from cxrnode.dimse.query import FoundSeries, NotOffered
from cxrnode.domain.delivery import Destination
from cxrnode.domain.retention import Rules
from cxrnode.errors import AssociationLost
from cxrnode.evidence.identity import series_uid
from cxrnode.phantom import Defect
from cxrnode.reconcile import Reconciling, Trouble
from tests.bench import FILM, Bench
from tests.contract.test_retention import retaining


class FakeFinder:
    """What the bench's archives hold, each object in a series of its own as ours are."""

    def __init__(self, bench: Bench, destination: Destination) -> None:
        self.held, self.trouble = bench.peer.kept.get(destination.name, {}), bench.finding_fails

    def series(self, study: str) -> Sequence[FoundSeries]:
        """Give all series: the bench asks about one study."""
        if self.trouble:
            raise self.trouble
        return [FoundSeries(series_uid=series_uid(uid), description="cxrnode lungs") for uid in self.held]

    def instances(self, study: str, series: str) -> Sequence[str]:
        """Give the object of a series."""
        return [uid for uid in self.held if series_uid(uid) == series]

    def __enter__(self) -> FakeFinder:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        return


@pytest.fixture
def done(make: Callable[..., Bench]) -> Bench:
    """A bench with one study, delivered and committed."""
    bench = make()
    bench.finding_fails = None
    bench.take(FILM)
    bench.work(2)
    return bench


def reconciled(bench: Bench, *, read_bytes: bool = True) -> tuple[dict[str, int], list[tuple[Trouble, str]]]:
    """Reconcile; give the counts, and what is wrong with which UID."""
    work = Reconciling(
        ledger=bench.ledger,
        archive=bench.archive,
        destinations=bench.plan.destinations,
        finder=lambda destination: FakeFinder(bench, destination),
        read_bytes=read_bytes,
    )
    found = [(one.trouble, one.uid) for one in work.walk()]
    assert sum(work.found.troubles.values()) == len(found)
    return dict(work.found.counts), found


def path_of(bench: Bench, room: str):
    """Give the one source, or the first evidence object."""
    return sorted((bench.archive.root / room).rglob("*.dcm"))[0]


def test_where_all_is_well_everything_is_counted_and_nothing_found(done: Bench) -> None:
    """Each instance has an end, each file a row, each object is at the destination."""
    counts, found = reconciled(done)
    assert found == []
    assert counts == {
        "instances": 1,
        "instances analysed": 1,
        "source files": 1,
        "evidence": 2,
        "at pacs": 2,
        "found at pacs": 2,
    }


def test_an_image_that_is_not_analysed_or_waits_has_its_end(done: Bench) -> None:
    """Not analysed with a reason; and waiting while its study is open."""
    done.take(replace(FILM, seed=2, defect=Defect.HAND))
    assert reconciled(done)[0]["instances waiting"] == 1
    done.work(1)
    counts, found = reconciled(done)
    assert found == []
    assert counts["instances not analysed"] == 1


def test_a_deleted_source_is_found(done: Bench) -> None:
    """By the UID of the instance."""
    (one,) = done.ledger.inventory.instances()
    path_of(done, "sources").unlink()
    assert reconciled(done, read_bytes=False)[1] == [(Trouble.SOURCE_MISSING, one.sop_instance_uid)]


@pytest.mark.parametrize(("read_bytes", "expected"), [(True, [Trouble.SOURCE_ALTERED]), (False, [])])
def test_a_flipped_bit_of_a_source_is_found_by_reading(
    done: Bench, *, read_bytes: bool, expected: list[Trouble]
) -> None:
    """Not by looking for the file: that is what --bytes is for."""
    flip(path_of(done, "sources"))
    assert [trouble for trouble, _ in reconciled(done, read_bytes=read_bytes)[1]] == expected


def flip(path) -> None:
    """Turn one bit in the middle of a file, which keeps its length."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_source_that_is_cut_is_found_without_reading(done: Bench) -> None:
    """Its size is enough."""
    path = path_of(done, "sources")
    path.write_bytes(path.read_bytes()[:-10])
    assert [trouble for trouble, _ in reconciled(done, read_bytes=False)[1]] == [Trouble.SOURCE_ALTERED]


def test_a_file_without_a_row_is_found(done: Bench) -> None:
    """Whatever it is called."""
    path = path_of(done, "sources")
    stranger = path.with_name("1.2.3.0123.dcm")
    stranger.write_bytes(b"x")
    assert reconciled(done)[1] == [(Trouble.SOURCE_UNKNOWN, stranger.name)]


@pytest.mark.parametrize(
    ("damage", "trouble"),
    [(lambda path: path.unlink(), Trouble.EVIDENCE_MISSING), (flip, Trouble.EVIDENCE_ALTERED)],
    ids=["deleted", "flipped"],
)
def test_damaged_evidence_is_found(done: Bench, damage, trouble: Trouble) -> None:
    """By its own UID."""
    path = path_of(done, "evidence")
    damage(path)
    assert reconciled(done)[1] == [(trouble, path.stem)]


def test_what_the_archive_lost_after_it_committed_is_found(done: Bench) -> None:
    """The ledger believes the commitment; C-FIND tells the truth."""
    uid = next(iter(done.peer.kept["pacs"]))
    del done.peer.kept["pacs"][uid]
    assert reconciled(done)[1] == [(Trouble.NOT_THERE, uid)]


def test_what_is_at_the_archive_and_not_in_the_ledger_is_found(done: Bench) -> None:
    """In a series that is called like ours."""
    done.peer.kept["pacs"]["1.2.3.99"] = b""
    assert reconciled(done)[1] == [(Trouble.STRANGER, "1.2.3.99")]


def test_an_instance_that_nobody_will_decide_on_is_found(done: Bench) -> None:
    """No verb of the ledger brings this about, so the row is written by hand."""
    with done.ledger._database.writing() as connection:
        connection.exec_driver_sql("UPDATE instances SET code = NULL, summary = NULL")
    assert [trouble for trouble, _ in reconciled(done)[1]] == [Trouble.NOWHERE]


def test_swept_bytes_are_not_missed(done: Bench) -> None:
    """What retention let go is counted, and everything else still stands."""
    done.clock.move(30 * 86400)
    retaining(done, Rules(source_days=1, evidence_days=1, uncommitted=True)).sweep()
    counts, found = reconciled(done)
    assert found == []
    assert (
        counts["instances swept"],
        counts["evidence swept"],
        counts.get("source files", 0),
    ) == (1, 1, 0)


def test_objects_that_a_note_rejected_may_be_hidden(done: Bench) -> None:
    """An archive that honours the note does not list them any more: that is what it is for."""
    (job,) = done.jobs()
    before = list(done.peer.kept["pacs"])
    done.ledger.schedule_retraction(job.job, "wrong_result", done.clock.now())
    done.work(3)
    for uid in before:
        del done.peer.kept["pacs"][uid]
    counts, found = reconciled(done)
    assert found == []
    assert counts["rejected at pacs"] == 2


def test_what_was_stated_after_a_note_rejected_is_not_excused_by_it(done: Bench) -> None:
    """The report that follows the rejected ones, and the note itself, are not hidden by any note: they are missed."""
    (job,) = done.jobs()
    before = set(done.peer.kept["pacs"])
    done.ledger.schedule_retraction(job.job, "wrong_result", done.clock.now())
    done.work(3)
    later = set(done.peer.kept["pacs"]) - before
    for uid in later:
        del done.peer.kept["pacs"][uid]
    assert len(later) == 2
    assert reconciled(done)[1] == [(Trouble.NOT_THERE, uid) for uid in sorted(later, key=order_of(done))]


def order_of(bench: Bench) -> Callable[[str], int]:
    """Give the order in which evidence was written."""
    return [one.sop_instance_uid for one in bench.ledger.inventory.evidence()].index


def test_what_is_stated_again_after_it_was_rejected_is_missed(done: Bench) -> None:
    """A retry states the same objects once more: from then on they are to be there again."""
    (job,) = done.jobs()
    done.ledger.schedule_retraction(job.job, "wrong_result", done.clock.now())
    done.work(3)
    done.ledger.requeue_job(job.job, done.clock.now())
    done.work(3)
    (seg,) = [one["uid"] for one in done.held() if one["kind"] == "SEG"]
    del done.peer.kept["pacs"][seg]
    assert reconciled(done)[1] == [(Trouble.NOT_THERE, seg)]


def test_evidence_that_a_power_cut_emptied_is_found_without_reading(done: Bench) -> None:
    """A file of no bytes is there, and holds nothing."""
    path = path_of(done, "evidence")
    path.write_bytes(b"")
    assert reconciled(done, read_bytes=False)[1] == [(Trouble.EVIDENCE_ALTERED, path.stem)]


@pytest.mark.parametrize("content", [b"", b"\0", b"x"], ids=["empty", "zeros", "text"])
def test_a_source_that_is_no_dicom_file_any_more_is_found(done: Bench, content: bytes) -> None:
    """Of the size that it had, or of none."""
    path = path_of(done, "sources")
    path.write_bytes(content * path.stat().st_size)
    assert [trouble for trouble, _ in reconciled(done)[1]] == [Trouble.SOURCE_ALTERED]


def test_what_waits_or_is_parked_on_its_way_is_counted(make: Callable[..., Bench]) -> None:
    """It is not lost; but nobody is to read that all is where it should be and not see it."""
    bench = make()
    bench.finding_fails = None
    bench.peer.dead = {"pacs"}
    bench.take(FILM)
    bench.work(1)
    counts, found = reconciled(bench)
    assert (found, counts["not yet at pacs"]) == ([], 2)
    bench.work(5, seconds=900)
    counts, found = reconciled(bench)
    assert (found, counts["parked on the way to pacs"]) == ([], 2)


@pytest.mark.parametrize(("dead", "expected"), [((), []), (("pacs",), [(Trouble.NO_WAY, "pacs")])])
def test_a_destination_that_left_the_settings_is_named(
    make: Callable[..., Bench], dead: tuple[str, ...], expected: list[tuple[Trouble, str]]
) -> None:
    """It cannot be asked any more; and what still was to go there goes nowhere, which is a failure."""
    bench = make()
    bench.peer.dead = set(dead)
    bench.take(FILM)
    bench.work(1)
    work = Reconciling(
        ledger=bench.ledger, archive=bench.archive, destinations=(), finder=lambda _: pytest.fail(), read_bytes=False
    )
    assert [(one.trouble, one.uid) for one in work.walk()] == expected
    assert list(work.found.not_asked) == ["pacs"]


def test_a_destination_without_c_find_is_named_and_one_that_is_away_is_a_failure(done: Bench) -> None:
    """Who cannot know says so; who should have been asked and was not is not passed over."""
    done.finding_fails = NotOffered()
    work = reconciled(done)
    assert work[1] == []
    done.finding_fails = AssociationLost("nobody is there")
    assert reconciled(done)[1] == [(Trouble.NOT_ASKED, "pacs")]
