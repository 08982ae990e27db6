"""What leaves the spool, what stays, and what happens to a study whose images left: on a real ledger and disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pydicom
import pytest

from cxrnode.domain.capability import Kind
from cxrnode.domain.delivery import CommitmentPolicy, Destination
from cxrnode.domain.identity import AETitle, InstanceUID
from cxrnode.domain.job import JobState
from cxrnode.domain.retention import Rules, Stand, What, Why
from cxrnode.domain.study import Arrival, Sender
from cxrnode.errors import NeedsOperator, Retryable
from cxrnode.ledger.reconciling import End
from cxrnode.phantom import Defect, View
from cxrnode.pipeline.retaining import Retaining
from tests.bench import FILM, PACS, Bench

DAY = 86400.0
HELD = Rules(source_days=10, not_analysed_days=5, evidence_days=20, held_by=("pacs",))
OWN_WORD = replace(HELD, held_by=(), uncommitted=True)
FRONTAL = replace(FILM, study="a study")
LATE = replace(FRONTAL, view=View.LATERAL, instance_number=2, series_number=2)


def retaining(bench: Bench, rules: Rules) -> Retaining:
    """Give what looks after the bench's spool."""
    return Retaining(
        rules=rules,
        destinations=bench.plan.destinations,
        spool=bench.archive,
        inventory=bench.ledger.inventory,
        keeper=bench.peer,
        clock=bench.clock,
        chance=lambda: 0.5,
    )


def look(bench: Bench, rules: Rules, days: float = 0) -> None:
    """Let days pass, and look twice: what is promised at the first look goes with the second."""
    bench.clock.move(days * DAY)
    for _ in range(2):
        retaining(bench, rules).look()
        bench.deliver()


def pacs_gets(bench: Bench) -> None:
    """Let the archive have every source, as it has where the modality sends there, too."""
    held = bench.peer.kept.setdefault("pacs", {})
    for one in bench.ledger.inventory.instances():
        held.setdefault(one.sop_instance_uid, b"")


def keys(bench: Bench, room: str = "sources") -> list[str]:
    """Give the files of one room of the spool."""
    return sorted(path.name for path in (bench.archive.root / room).rglob("*.dcm"))


def kinds(bench: Bench) -> list[str]:
    """Give the kinds of evidence whose bytes are here."""
    studies = dict.fromkeys(job.study_uid for job in bench.jobs())
    evidence = [one for study in studies for one in bench.ledger.evidence_of(study)]
    return sorted(one.kind.split()[0] for one in evidence if bench.archive.path(one.key).is_file())


def stands(bench: Bench, rules: Rules) -> dict[str, int]:
    """Count by what becomes of things."""
    return {f"{what} {stand}": tally.count for (what, stand), tally in retaining(bench, rules).survey().tallies.items()}


@pytest.fixture
def done(make: Callable[..., Bench]) -> Bench:
    """A bench whose one film is analysed, delivered and committed."""
    bench = make()
    bench.take(FRONTAL)
    bench.work(2)
    assert bench.states() == [JobState.COMPLETED]
    assert {way.state for way in bench.deliveries()} == {"COMMITTED"}
    return bench


def test_without_a_rule_nothing_ever_goes(done: Bench) -> None:
    """The defaults delete nothing, however old it is and whoever holds it."""
    pacs_gets(done)
    look(done, Rules(held_by=("pacs",)), days=5000)
    look(done, Rules(uncommitted=True), days=5000)
    assert len(keys(done)) == 1
    assert kinds(done) == ["SEG", "SR"]


def test_a_source_goes_when_it_is_old_and_an_archive_committed_to_it(done: Bench) -> None:
    """Not before its days are over, and not before the archive's report."""
    look(done, HELD, days=11)
    assert len(keys(done)) == 1, "nobody has committed to it"
    assert stands(done, HELD)[f"source {Why.NOT_HELD}"] == 1
    pacs_gets(done)
    look(done, HELD)
    assert len(keys(done)) == 1, "the archive is not asked again before a day is over"
    look(done, HELD, days=1.1)
    assert keys(done) == []
    (one,) = done.ledger.inventory.instances()
    assert (one.swept, one.end) == (True, End.ANALYSED)


def test_an_archive_that_never_commits_does_not_fill_the_ledger(done: Bench) -> None:
    """Asked every day for years, the node remembers the questions of the last weeks; a late report still counts."""
    for _ in range(40):
        retaining(done, HELD).look()
        *_, (transaction, _, failed) = done.peer.reports
        done.peer.reports.clear()
        done.clock.move(1.1 * DAY)
    with done.ledger._database.reading() as connection:
        for table in ("source_commitments", "source_commitment_instances"):
            assert connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one() == 28
    assert done.line.confirm(transaction, tuple(failed), {})
    look(done, HELD)
    assert keys(done) == []


def test_a_promise_to_keep_a_uid_is_none_for_two_contents(make: Callable[..., Bench]) -> None:
    """The archive may hold either: both stay, also when a person has looked, until the operator says otherwise."""
    bench = make()
    for seed in range(2):
        bench.take(replace(FRONTAL, identity="same", seed=seed))
        bench.work(2)
    (parked,) = (job for job in bench.jobs() if job.state == JobState.PARKED)
    bench.ledger.requeue_job(parked.job, bench.clock.now())
    bench.work(2)
    pacs_gets(bench)
    look(bench, HELD, days=11)
    look(bench, HELD, days=2)
    assert len(keys(bench)) == 2
    assert stands(bench, HELD)[f"source {Why.NOT_HELD}"] == 2
    look(bench, OWN_WORD)
    assert keys(bench) == []


def test_a_young_source_stays_though_it_is_held(done: Bench) -> None:
    """Age is asked for as well."""
    pacs_gets(done)
    look(done, HELD, days=9)
    assert stands(done, HELD)[f"source {Stand.YOUNG}"] == 1
    assert len(keys(done)) == 1


def test_the_operators_word_is_enough(done: Bench) -> None:
    """Who says that the senders keep their own need not have anybody asked."""
    look(done, OWN_WORD, days=11)
    assert keys(done) == []
    assert len(done.ledger.evidence_of(done.jobs()[0].study_uid)) == 2


def test_evidence_goes_and_its_report_stays(done: Bench) -> None:
    """A later report follows this one: its bytes stay, also those of what took evidence back."""
    look(done, HELD, days=21)
    assert kinds(done) == ["SR"]
    assert stands(done, HELD) == {f"source {Why.NOT_HELD}": 1, f"evidence {Why.REPORT}": 1}


def test_what_was_not_analysed_has_days_of_its_own(make: Callable[..., Bench]) -> None:
    """A hand goes after five days, the chest after ten."""
    bench = make()
    bench.take(FRONTAL)
    bench.take(replace(FILM, seed=2, defect=Defect.HAND))
    bench.work(2)
    look(bench, OWN_WORD, days=6)
    assert [one.swept for one in bench.ledger.inventory.instances()] == [False, True]


@pytest.mark.parametrize("rules", [HELD, OWN_WORD, replace(OWN_WORD, below_free_bytes=10**18)])
def test_nothing_goes_while_a_job_waits_or_is_parked(make: Callable[..., Bench], rules: Rules) -> None:
    """However old, whoever holds it, and however little room there is."""
    bench = make()
    bench.take(FRONTAL)
    pacs_gets(bench)
    look(bench, rules, days=1000)
    assert stands(bench, rules) == {f"source {Why.OPEN}": 1}
    bench.predictor.losses = 99
    bench.work(9, seconds=900)
    assert bench.states() == [JobState.PARKED]
    look(bench, rules, days=1000)
    assert stands(bench, rules) == {f"source {Why.JOB}": 1}
    assert len(keys(bench)) == 1


@pytest.mark.parametrize("rules", [HELD, OWN_WORD])
def test_nothing_goes_while_evidence_is_not_delivered(make: Callable[..., Bench], rules: Rules) -> None:
    """An archive that is away for years costs room, not evidence."""
    bench = make()
    bench.peer.dead = {"pacs"}
    bench.take(FRONTAL)
    bench.work(2)
    look(bench, rules, days=1000)
    found = stands(bench, rules)
    assert found[f"source {Why.UNDELIVERED}"] == 1
    assert found[f"evidence {Why.UNDELIVERED}"] == 1
    assert len(keys(bench)) == 1
    assert kinds(bench) == ["SEG", "SR"]


def test_what_is_objected_to_stays(make: Callable[..., Bench]) -> None:
    """A person has to look at it, and at its source."""
    bench = make()
    bench.composer.objecting = {Kind.SEG: "wrong"}
    bench.take(FRONTAL)
    bench.work(2)
    look(bench, OWN_WORD, days=1000)
    assert len(keys(bench)) == 1
    assert "SEG" in kinds(bench)


def test_sent_without_commitment_is_no_promise(make: Callable[..., Bench]) -> None:
    """Where no destination commits, evidence goes by the operator's word alone."""
    vna = Destination(
        name="pacs", ae_title=AETitle("VNA"), host="127.0.0.1", port=105, commitment=CommitmentPolicy.NONE
    )
    bench = make(destinations=(vna,))
    bench.take(FRONTAL)
    bench.work(2)
    assert {way.state for way in bench.deliveries()} == {"SENT"}
    look(bench, replace(HELD, held_by=()), days=1000)
    assert kinds(bench) == ["SEG", "SR"]
    look(bench, OWN_WORD)
    assert kinds(bench) == ["SR"]


def test_a_report_that_is_awaited_keeps_the_bytes(make: Callable[..., Bench]) -> None:
    """It may say that the archive lost the object, which is then sent again."""
    bench = make()
    bench.take(FRONTAL)
    bench.clock.move(6)
    bench.line.close_due()
    bench.line.run_jobs()
    bench.line.deliver(PACS)
    bench.clock.move(1000 * DAY)
    retaining(bench, OWN_WORD).look()
    assert {way.state for way in bench.deliveries()} == {"SENT"}
    assert kinds(bench) == ["SEG", "SR"]
    assert len(keys(bench)) == 1


def test_with_little_room_the_oldest_go_first_until_there_is_enough(
    make: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever their age; and what must stay, stays."""
    bench = make()
    for seed in range(3):
        bench.take(replace(FILM, seed=seed))
        bench.work(2)
        bench.clock.move(DAY)
    kept = keys(bench)
    frees = iter([5, 5, 5, 100, 100, 100, 100])
    bench.archive.free_bytes = lambda: next(frees, 100)  # type: ignore[method-assign]
    monkeypatch.setattr("cxrnode.pipeline.retaining._AT_ONCE", 1)
    retaining(bench, Rules(below_free_bytes=50, uncommitted=True)).sweep()
    swept = [one.swept for one in bench.ledger.inventory.instances()]
    assert swept == [True, False, False]
    assert len(keys(bench)) == len(kept) - 1


def test_the_same_image_sent_again_is_kept_again_and_nothing_else_happens(done: Bench) -> None:
    """Its bytes are not "already there": they are kept, and its results stand."""
    (key,) = keys(done)
    look(done, OWN_WORD, days=11)
    assert keys(done) == []
    done.take(FRONTAL)
    assert keys(done) == [key]
    done.work(2)
    assert done.states() == [JobState.COMPLETED]
    (one,) = done.ledger.inventory.instances()
    assert (one.swept, one.end) == (False, End.ANALYSED)
    look(done, OWN_WORD, days=9)
    assert keys(done) == [key], "its age begins when it came again"
    look(done, OWN_WORD, days=2)
    assert keys(done) == []


def test_a_file_that_was_lost_comes_back_when_it_is_sent_again(done: Bench) -> None:
    """Not only what was swept: a duplicate whose bytes are not here is no duplicate."""
    (path,) = (done.archive.root / "sources").rglob("*.dcm")
    path.unlink()
    done.take(FRONTAL)
    assert path.is_file()
    assert done.states() == [JobState.COMPLETED]


def test_a_film_that_comes_late_waits_for_the_swept_one(done: Bench) -> None:
    """A report that no longer names the frontal would take a result away: the job waits until the film is back."""
    look(done, OWN_WORD, days=11)
    said = len(done.held())
    done.take(LATE)
    done.work(3)
    assert done.states() == [JobState.COMPLETED, JobState.PARKED]
    assert done.jobs()[1].reason == "swept"
    assert len(done.held()) == said
    done.take(FRONTAL)
    done.work(3)
    assert done.states() == [JobState.COMPLETED, JobState.CANCELED, JobState.COMPLETED]
    last = done.said()[-1]
    assert (last["revision"], len(last["images"]), len(last["refused"])) == (2, 1, 1)
    assert done.peer.overwritten == []


def test_an_image_that_no_report_speaks_of_is_not_waited_for(make: Callable[..., Bench]) -> None:
    """A hand in the same study was never looked at: a frontal that comes after it was swept is analysed at once."""
    bench = make()
    bench.take(replace(FRONTAL, seed=2, study="mixed", defect=Defect.HAND))
    bench.work(2)
    look(bench, OWN_WORD, days=6)
    assert keys(bench) == []
    bench.take(replace(FRONTAL, study="mixed"))
    bench.work(2)
    assert bench.states() == [JobState.COMPLETED]


@pytest.mark.parametrize("verb", ["requeue_job", "schedule_retraction"])
def test_what_an_operator_asks_of_a_swept_study_is_refused_with_what_to_do(done: Bench, verb: str) -> None:
    """Nothing is changed; when the film is back, the same command works."""
    look(done, OWN_WORD, days=11)
    (job,) = done.jobs()
    because = ["wrong_result"] if verb == "schedule_retraction" else []
    with pytest.raises(NeedsOperator, match=r"swept.*'The images of a study were swept'"):
        getattr(done.ledger, verb)(job.job, *because, done.clock.now())
    assert done.states() == [JobState.COMPLETED]
    done.take(FRONTAL)
    getattr(done.ledger, verb)(job.job, *because, done.clock.now())
    done.work(3)
    assert set(done.states()) == {JobState.COMPLETED}


def test_results_are_taken_back_though_their_evidence_was_swept(done: Bench) -> None:
    """The note that rejects a SEG needs none of its bytes, and the report that follows finds the one before."""
    look(done, replace(HELD, source_days=0, not_analysed_days=0), days=21)
    assert kinds(done) == ["SR"]
    done.ledger.schedule_retraction(done.jobs()[0].job, "wrong_result", done.clock.now())
    done.work(3)
    assert done.states() == [JobState.COMPLETED, JobState.COMPLETED]
    assert "REJECTION" in done.kinds()
    assert done.said()[-1]["revision"] == 2


def test_evidence_that_is_stated_again_is_composed_again(done: Bench) -> None:
    """The same object under the same UID; and it is not called swept any more."""
    before = {one.sop_instance_uid for one in done.ledger.inventory.evidence()}
    look(done, replace(HELD, source_days=0, not_analysed_days=0), days=21)
    done.ledger.requeue_job(done.jobs()[0].job, done.clock.now())
    done.work(2)
    assert kinds(done) == ["SEG", "SR"]
    assert {one.sop_instance_uid for one in done.ledger.inventory.evidence() if not one.swept} == before
    assert done.peer.overwritten == []


class _Gone(BaseException):
    """The process ends here."""


def test_a_sweep_that_was_killed_between_mark_and_removal_is_finished_by_the_next(done: Bench) -> None:
    """The mark comes first, so that no row ever promises bytes that are gone."""
    done.clock.move(11 * DAY)

    def die(key: str) -> None:
        raise _Gone

    done.archive.remove = die  # type: ignore[method-assign]
    with pytest.raises(_Gone):
        retaining(done, OWN_WORD).sweep()
    assert [one.swept for one in done.ledger.inventory.instances()] == [True]
    assert len(keys(done)) == 1
    del done.archive.remove
    retaining(done, OWN_WORD).sweep()
    assert keys(done) == []


def test_what_comes_again_between_mark_and_removal_is_not_removed(done: Bench) -> None:
    """Success was answered for it: whoever marked it before has to leave it."""
    done.clock.move(11 * DAY)
    inventory = done.ledger.inventory
    assert inventory.mark_swept(What.SOURCE, [1], done.clock.now(), uncommitted=True)
    done.take(FRONTAL)
    retaining(done, replace(OWN_WORD, source_days=100)).sweep()
    assert len(keys(done)) == 1
    assert not inventory.remove_marked(What.SOURCE, done.archive.remove)


def test_what_a_sweep_removes_while_it_comes_again_is_sent_once_more(done: Bench) -> None:
    """Kept, and removed by a sweep that had marked it before: no Success is said, and its row promises no bytes."""
    done.clock.move(11 * DAY)
    inventory, keep = done.ledger.inventory, done.archive.keep_source
    inventory.mark_swept(What.SOURCE, [1], done.clock.now(), uncommitted=True)

    def keep_and_lose(*given: Any) -> str:
        key = keep(*given)
        assert inventory.remove_marked(What.SOURCE, done.archive.remove) == [key]
        return key

    done.archive.keep_source = keep_and_lose  # type: ignore[method-assign]
    with pytest.raises(Retryable, match="swept while it came again"):
        done.take(FRONTAL)
    assert [one.swept for one in inventory.instances()] == [True]
    del done.archive.keep_source
    done.take(FRONTAL)
    assert len(keys(done)) == 1
    assert [one.swept for one in inventory.instances()] == [False]


def test_a_file_that_the_disk_does_not_let_go_holds_up_no_other(
    make: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told, stays marked, and is tried again with each sweep."""
    monkeypatch.setattr("cxrnode.ledger.retaining._AT_ONCE", 2)
    bench = make()
    for seed in range(4):
        bench.take(replace(FILM, seed=seed))
    bench.work(2)
    bench.clock.move(11 * DAY)
    *stuck, _ = sorted(one.key for one in bench.ledger.inventory.instances())
    remove = bench.archive.remove

    def failing(key: str) -> None:
        if key in stuck:
            raise Retryable("the disk failed (EIO)")
        remove(key)

    bench.archive.remove = failing  # type: ignore[method-assign]
    for _ in range(2):
        with pytest.raises(Retryable, match="EIO"):
            retaining(bench, OWN_WORD).sweep()
        assert keys(bench) == sorted(Path(key).name for key in stuck)
    del bench.archive.remove
    retaining(bench, OWN_WORD).sweep()
    assert keys(bench) == []


def test_one_sweep_at_a_time(done: Bench) -> None:
    """A backup, or another sweep, in whichever process, keeps a sweep out, and it says so."""
    done.clock.move(11 * DAY)
    with done.archive.alone() as first:
        assert first
        assert retaining(done, OWN_WORD).sweep() is None
    assert retaining(done, OWN_WORD).sweep().count == 1


def test_an_archive_that_cannot_be_asked_is_asked_again_at_the_next_look(done: Bench) -> None:
    """A transaction that nobody heard of does not count as asked."""
    pacs_gets(done)
    done.peer.dead = {"pacs"}
    look(done, HELD, days=11)
    assert len(keys(done)) == 1
    done.peer.dead = set()
    look(done, HELD)
    assert keys(done) == []


def test_a_copy_in_another_transfer_syntax_takes_the_place_of_the_swept_bytes(
    done: Bench,
) -> None:
    """An archive gives an image back in a syntax of its own; there is nothing left to compare it with."""
    look(done, OWN_WORD, days=11)
    done.take(FRONTAL, association="again")
    (path,) = (done.archive.root / "sources").rglob("*.dcm")
    coded = pydicom.dcmread(path)
    look(done, OWN_WORD, days=11)
    assert keys(done) == []
    coded.compress(pydicom.uid.RLELossless, generate_instance_uid=False)
    arriving = done.archive.incoming / "coded.part"
    coded.save_as(arriving)
    arrive(done, arriving)
    assert len(keys(done)) == 1
    done.work(2)
    assert done.states() == [JobState.COMPLETED]
    assert done.codes() == {""}


def arrive(bench: Bench, path: Path) -> None:
    """Receive a file as it is."""
    sender = Sender(calling_ae=AETitle("CR1"), called_ae=AETitle("CXRNODE"), address="127.0.0.1", association="b")
    arrival = Arrival(
        path=path, sop_class_uid="", sop_instance_uid=InstanceUID(""), transfer_syntax_uid="", sender=sender
    )
    assert bench.line.receive(arrival) == 0
    bench.line.association_ended("b")


def test_a_node_that_stops_does_not_wait_for_the_walk(done: Bench) -> None:
    """What was not looked at yet is looked at after the next start."""
    done.clock.move(11 * DAY)
    one = Retaining(
        rules=OWN_WORD,
        destinations=done.plan.destinations,
        spool=done.archive,
        inventory=done.ledger.inventory,
        keeper=done.peer,
        clock=done.clock,
        chance=lambda: 0.5,
        stopping=lambda: True,
    )
    assert one.sweep().count == 0
    assert retaining(done, OWN_WORD).sweep().count == 1
