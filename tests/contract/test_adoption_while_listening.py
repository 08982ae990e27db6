"""Adoption while the node listens: it takes nothing from whoever is sending, and nothing from what came later."""

from __future__ import annotations

import errno
import itertools
import os
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from cxrnode.domain.study import Arrival, Recorded
from cxrnode.errors import Retryable
from cxrnode.ledger import SqliteLedger
from cxrnode.phantom import write
from cxrnode.pipeline import adopting
from cxrnode.pipeline.adopting import UnderWay
from cxrnode.pixels.header import HeaderReader
from tests.bench import FILM, Bench
from tests.fakes.instances import MODALITY, NOON, STUDY, after, close, described, record


def adopted(
    ledger: SqliteLedger, header: str, seconds: float, *, study: str = STUDY, candidate: bool = True
) -> Recorded:
    """Adopt a revision that was kept so many seconds after noon, a day later."""
    description = described(header=header, study_uid=study)
    now = NOON + timedelta(days=1)
    key = f"sources/{description.bytes_digest}.dcm"
    return ledger.adopt(description, MODALITY, key, after(seconds), now, candidate=candidate)


def current(ledger: SqliteLedger) -> str:
    (instance,) = ledger.membership(STUDY).instances
    return instance.description.header_digest


@pytest.mark.parametrize("order", list(itertools.permutations([("first", 0), ("second", 60), ("third", 120)])))
def test_the_newest_header_counts_in_whatever_order_they_are_found(
    ledger: SqliteLedger, order: list[tuple[str, int]]
) -> None:
    """Files lie in the spool by their digests, which say nothing of their order."""
    for header, seconds in order:
        adopted(ledger, header, seconds)
    assert current(ledger) == described(header="third").header_digest
    assert sorted(view.code or "" for view in ledger.outcomes()) == ["", "replaced", "replaced"]


def test_what_came_while_the_node_adopts_stays_current(ledger: SqliteLedger) -> None:
    """A corrected header is received before its predecessor is found in the spool."""
    record(ledger, described(header="corrected"), 600)
    assert adopted(ledger, "first", 0) is Recorded.REVISION
    assert current(ledger) == described(header="corrected").header_digest
    assert [study for study, _ in ledger.open_studies()] == [STUDY]


def test_an_older_header_of_another_study_takes_the_image_nowhere(ledger: SqliteLedger) -> None:
    """The image stays in the study that its newest header names."""
    record(ledger, described(header="corrected"), 600)
    adopted(ledger, "first", 0, study="1.2.99")
    assert current(ledger) == described(header="corrected").header_digest
    assert ledger.membership("1.2.99").instances == ()  # type: ignore[arg-type]


@pytest.mark.parametrize("candidate", [True, False])
@pytest.mark.parametrize("decided", [True, False])
def test_an_older_header_of_another_study_leaves_no_study_without_an_end(
    ledger: SqliteLedger, *, decided: bool, candidate: bool
) -> None:
    """The study that has no image is closed, and the one that has the image is decided on, now or before."""
    record(ledger, described(header="corrected"), 600)
    if decided:
        close(ledger)
    adopted(ledger, "first", 0, study="1.2.99", candidate=candidate)
    assert [study for study, _ in ledger.open_studies()] == ([STUDY] if candidate or not decided else [])


def test_an_adopted_instance_came_when_its_file_was_written(ledger: SqliteLedger) -> None:
    """Not when it was found."""
    adopted(ledger, "first", 5)
    assert [view.received_at for view in ledger.outcomes()] == [after(5)]


def test_what_is_just_being_received_is_left_to_whoever_receives_it(tmp_path: Path) -> None:
    """Between its file and its row an instance looks like one without a row."""
    bench = Bench(tmp_path)
    kept, go_on = threading.Event(), threading.Event()
    record_it = bench.ledger.record

    def late(*given: object, **named: object) -> Recorded:
        kept.set()
        assert go_on.wait(30)
        return record_it(*given, **named)  # type: ignore[arg-type]

    bench.ledger.record = late  # type: ignore[method-assign]
    receiving = threading.Thread(target=bench.take, args=(FILM,), kwargs={"priority": 1})
    receiving.start()
    assert kept.wait(30)
    settle = UnderWay.settle
    found: list[int] = []

    def settling(under_way: UnderWay) -> None:
        found.append(bench.ledger.counts().instances)
        go_on.set()
        settle(under_way)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(UnderWay, "settle", settling)
        assert bench.line.adopt() == 1
    receiving.join(30)
    assert found == [0]
    bench.clock.move(6)
    bench.line.close_due()
    (member,) = bench.ledger.claim_jobs(bench.clock.now(), limit=1, lease_seconds=60)[0].members
    assert (member.sender.association, member.priority) == ("a", 1)


def test_a_folder_that_cannot_be_read_is_walked_over_again_and_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told, the others are adopted at once, and it is when it can be read."""
    bench = Bench(tmp_path)
    for seed in range(3):
        path = bench.archive.incoming / "film.part"
        write(replace(FILM, seed=seed), path)
        bench.archive.keep_source(path, HeaderReader().describe(_arrival(path)))
    shut = bench.archive.path(next(iter(bench.archive.finished()))).parent
    scandir = os.scandir

    def failing(folder: str) -> object:
        if Path(folder) == shut:
            raise OSError(errno.EIO, "Input/output error")
        return scandir(folder)

    with monkeypatch.context() as patched:
        patched.setattr(os, "scandir", failing)
        assert [bench.line.adopt() for _ in range(2)] == [2, 0]
        with pytest.raises(Retryable, match="EIO"):
            list(bench.archive.finished())
    assert bench.ledger.counts().instances == 2
    (told,) = [record for record in caplog.records if record.msg == "bell_failed"]
    assert "EIO" in told.fields["reason"]  # type: ignore[attr-defined]
    assert [bench.line.adopt() for _ in range(3)] == [3, 0, 0]
    assert bench.ledger.counts().instances == 3


def test_a_file_that_cannot_be_adopted_does_not_hold_up_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried again at the next ring, page by page; then the walk is over for good."""
    monkeypatch.setattr(adopting, "PAGE", 2)
    bench = Bench(tmp_path)
    for seed in range(5):
        path = bench.archive.incoming / "film.part"
        write(replace(FILM, seed=seed), path)
        bench.archive.keep_source(path, HeaderReader().describe(_arrival(path)))
    sick = next(iter(bench.archive.finished()))
    kept_at = bench.archive.kept_at
    failing = [sick]
    monkeypatch.setattr(bench.archive, "kept_at", lambda key: Path("/gone").stat() if key in failing else kept_at(key))
    assert [bench.line.adopt() for _ in range(4)] == [2, 2, 1, 0]
    assert bench.ledger.counts().instances == 4
    failing.clear()
    assert [bench.line.adopt() for _ in range(5)] == [2, 2, 1, 0, 0]
    assert bench.ledger.counts().instances == 5


def _arrival(path: Path) -> Arrival:
    return Arrival(path=path, sop_class_uid="", sop_instance_uid="", transfer_syntax_uid="", sender=MODALITY)  # type: ignore[arg-type]
