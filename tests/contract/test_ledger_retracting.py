"""Taking results back: what is withdrawn at once, what the retraction is told, and the way back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from cxrnode.domain.delivery import DeliveryState
from cxrnode.domain.job import JobState
from cxrnode.errors import NeedsOperator
from cxrnode.ledger import SqliteLedger
from cxrnode.ports import Claim, KeptEvidence, Retracted
from tests.fakes.instances import STUDY, after, claim_one, close, completion, described, kept, record

LINE = "SR comprehensive-3d viewer"


def completed(ledger: SqliteLedger, *evidence: KeptEvidence, seconds: float = 0) -> int:
    """Close the study over one more film and complete its job with this evidence; give its number."""
    record(ledger, described(f"1.2.3.{seconds}"), seconds)
    close(ledger, seconds=seconds)
    return end(ledger, *evidence, seconds=seconds)


def end(ledger: SqliteLedger, *evidence: KeptEvidence, seconds: float) -> int:
    claim = claim_one(ledger, seconds)
    ledger.complete(claim, completion(claim, *evidence), after(seconds))
    return claim.job


def send(ledger: SqliteLedger, *uids: str, seconds: float = 1) -> None:
    """Send these; what else is due is left claimed."""
    for one in ledger.claim_deliveries("pacs", after(seconds), limit=9, lease_seconds=60):
        if one.sop_instance_uid in uids:
            ledger.mark_sent(one, after(seconds), ask_at=after(seconds))


def retract(ledger: SqliteLedger, job: int, seconds: float = 10, because: str = "wrong_result") -> int:
    return ledger.schedule_retraction(job, because, after(seconds))


def states(ledger: SqliteLedger) -> dict[str, DeliveryState]:
    return {one.sop_instance_uid: way.state for one in ledger.evidence_of(STUDY) for way in one.deliveries}


def taken(claim: Claim) -> dict[str, tuple[str, ...]]:
    """Give what a claim takes back: the destinations that have it, by UID."""
    assert claim.retracts is not None
    return {one.sop_instance_uid: one.destinations for one in claim.retracts.evidence}


def test_a_retraction_is_a_job_on_the_same_images_without_a_model(ledger: SqliteLedger) -> None:
    """Its claim says what it takes back, from where and why, and the report that it has to follow."""
    job = completed(ledger, kept("9.1"), kept("9.2", kind=LINE))
    send(ledger, "9.1", "9.2")
    retraction = retract(ledger, job)
    claim = claim_one(ledger, 11)
    assert (claim.job, claim.models, claim.destinations) == (retraction, (), ("pacs",))
    assert {member.uid for member in claim.members} == {"1.2.3.0"}
    assert set(claim.verdicts.values()) == {""}
    assert claim.reports == {LINE: "9.2"}
    assert isinstance(claim.retracts, Retracted)
    assert (claim.retracts.job, claim.retracts.because) == (job, "wrong_result")
    assert taken(claim) == {"9.1": ("pacs",), "9.2": ("pacs",)}
    assert claim.superseded == ()


def test_what_is_not_sent_yet_never_goes_out(ledger: SqliteLedger) -> None:
    """Withdrawn in the moment of the retraction: what waits, and what is parked, but not what is sent."""
    job = completed(ledger, kept("9.1"), kept("9.2"), kept("9.3"))
    first, second = ledger.claim_deliveries("pacs", after(1), limit=2, lease_seconds=60)
    ledger.mark_sent(first, after(1), ask_at=None)
    ledger.fail_delivery(second, due_at=None, reason="refused: 0xA900", now=after(1))
    retract(ledger, job)
    assert states(ledger) == {"9.1": "SENT", "9.2": "WITHDRAWN", "9.3": "WITHDRAWN"}
    assert list(ledger.claim_deliveries("pacs", after(9999), limit=9, lease_seconds=60)) == []
    assert taken(claim_one(ledger, 11)) == {"9.1": ("pacs",), "9.2": (), "9.3": ()}


@pytest.mark.parametrize("due", [after(20), None], ids=["to try again", "to park"])
def test_what_was_on_its_way_and_failed_is_not_sent_again(ledger: SqliteLedger, due: datetime | None) -> None:
    """The retraction counts it as sent, because it may have been; afterwards nothing brings it out."""
    job = completed(ledger, kept("9.1"))
    (going,) = ledger.claim_deliveries("pacs", after(1), limit=9, lease_seconds=600)
    retract(ledger, job)
    assert states(ledger) == {"9.1": DeliveryState.SENDING}
    assert taken(claim_one(ledger, 11)) == {"9.1": ("pacs",)}
    ledger.fail_delivery(going, due_at=due, reason="no association", now=after(12))
    assert states(ledger) == {"9.1": DeliveryState.WITHDRAWN}


def test_what_was_on_its_way_when_the_node_ended_counts_as_sent(ledger: SqliteLedger) -> None:
    """Its lease is lost and nobody knows what became of it: it is not sent again, and it is taken back."""
    job = completed(ledger, kept("9.1"))
    ledger.claim_deliveries("pacs", after(1), limit=9, lease_seconds=5)
    retract(ledger, job)
    assert list(ledger.claim_deliveries("pacs", after(11), limit=9, lease_seconds=60)) == []
    assert states(ledger) == {"9.1": DeliveryState.WITHDRAWN}
    assert taken(claim_one(ledger, 12)) == {"9.1": ("pacs",)}


def test_what_the_archive_does_not_hold_is_not_sent_again(ledger: SqliteLedger) -> None:
    """Nor does the retraction have to take it back from there."""
    job = completed(ledger, kept("9.1"), kept("9.2"))
    send(ledger, "9.1", "9.2")
    ledger.begin_commitment("pacs", "7.1", after(2), limit=9, ask_again_at=after(99))
    retract(ledger, job)
    ledger.confirm("7.1", committed=["9.2"], failed={"9.1": 0x0112}, now=after(11), attempts=5)
    assert states(ledger) == {"9.1": "WITHDRAWN", "9.2": "COMMITTED"}
    assert taken(claim_one(ledger, 12)) == {"9.1": (), "9.2": ("pacs",)}


def test_the_retractions_own_report_goes_out_and_is_the_one_to_follow(ledger: SqliteLedger) -> None:
    """It is the newest of its line: whatever is stated of the study next names it as predecessor."""
    job = completed(ledger, kept("9.2", kind=LINE))
    send(ledger, "9.2")
    retract(ledger, job)
    end(ledger, kept("9.5", kind=LINE), kept("9.6", kind="REJECTION"), seconds=11)
    send(ledger, "9.5", "9.6", seconds=12)
    assert states(ledger) == {"9.2": "SENT", "9.5": "SENT", "9.6": "SENT"}
    record(ledger, described("1.2.3.20"), 20)
    close(ledger, seconds=20)
    assert claim_one(ledger, 20).reports == {LINE: "9.5"}


def test_a_retraction_covers_all_that_the_study_stated_before(ledger: SqliteLedger) -> None:
    """An archive that hides the last report would show the one before: that one is taken back, too."""
    first = completed(ledger, kept("9.1", destinations=("old",)), kept("9.2", kind=LINE))
    send(ledger, "9.2")
    (one,) = ledger.claim_deliveries("old", after(1), limit=9, lease_seconds=60)
    ledger.mark_sent(one, after(1), ask_at=None)
    last = completed(ledger, kept("9.3"), kept("9.4", kind=LINE), kept("9.5", kind="REJECTION"), seconds=2)
    retraction = retract(ledger, last)
    claim = claim_one(ledger, 11)
    assert taken(claim) == {"9.1": ("old",), "9.2": ("pacs",), "9.3": (), "9.4": ()}
    assert claim.destinations == ("pacs", "old")
    assert {ledger.job_details(job).job.retracted_by for job in (first, last)} == {retraction}


def test_a_claim_names_what_later_results_take_the_place_of(ledger: SqliteLedger) -> None:
    """All that some destination has: rejection notes and what was taken back are not among it."""
    completed(ledger, kept("9.1", destinations=("pacs", "viewer")), kept("9.2", kind=LINE), kept("9.3"))
    send(ledger, "9.1", "9.2")
    record(ledger, described("1.2.3.2"), 2)
    close(ledger, seconds=2)
    claim = claim_one(ledger, 2)
    found = {one.sop_instance_uid: one.destinations for one in claim.superseded}
    assert found == {"9.1": ("pacs",), "9.2": ("pacs",), "9.3": ("pacs",)}  # 9.3 is on its way
    assert claim.retracts is None
    ledger.complete(claim, completion(claim, kept("9.4", kind=LINE), kept("9.5", kind="REJECTION")), after(3))
    send(ledger, "9.4", "9.5", seconds=4)
    retract(ledger, claim.job)
    end(ledger, kept("9.6", kind=LINE), seconds=11)
    send(ledger, "9.6", seconds=12)
    record(ledger, described("1.2.3.20"), 20)
    close(ledger, seconds=20)
    assert [one.sop_instance_uid for one in claim_one(ledger, 20).superseded] == ["9.6"]


def test_a_first_job_takes_the_place_of_nothing(ledger: SqliteLedger) -> None:
    """Neither a retraction nor anything superseded is in its claim."""
    record(ledger, described())
    close(ledger)
    claim = claim_one(ledger)
    assert (claim.retracts, claim.superseded) == (None, ())


def _never_completed(ledger: SqliteLedger) -> int:
    record(ledger, described())
    job = close(ledger)
    return job or 0


def _said_nothing(ledger: SqliteLedger) -> int:
    return completed(ledger)


def _replaced(ledger: SqliteLedger) -> int:
    job = completed(ledger, kept("9.1"))
    completed(ledger, kept("9.1"), seconds=1)
    return job


def _open(ledger: SqliteLedger) -> int:
    job = completed(ledger, kept("9.1"))
    record(ledger, described("1.2.3.9"), 2)
    return job


def _retracted(ledger: SqliteLedger) -> int:
    job = completed(ledger, kept("9.1"))
    retract(ledger, job, 3)
    return job


def _a_retraction(ledger: SqliteLedger) -> int:
    retraction = retract(ledger, completed(ledger, kept("9.1")), 3)
    return end(ledger, kept("9.2", kind=LINE), seconds=4) if retraction else 0


@pytest.mark.parametrize(
    ("prepare", "happened"),
    [
        (_never_completed, "SCHEDULED; only a completed job"),
        (_said_nothing, "stated nothing"),
        (_replaced, "job 2 of its study took its place"),
        (_open, "study is open"),
        (_retracted, "taken back already, by job 2"),
        (_a_retraction, "a retraction itself"),
        (lambda ledger: 77, "no such job"),
    ],
)
def test_what_cannot_be_taken_back_is_refused_with_the_reason(
    ledger: SqliteLedger, prepare: Callable[[SqliteLedger], int], happened: str
) -> None:
    """Nothing is changed, the hint says what can be done, and asking first gives the same answer."""
    job = prepare(ledger)
    before = (ledger.find_jobs(), ledger.evidence_of(STUDY), ledger.counts())
    for verb in (lambda: retract(ledger, job), lambda: ledger.to_retract(job)):
        with pytest.raises(NeedsOperator, match=happened) as caught:
            verb()
        assert caught.value.hint
    assert (ledger.find_jobs(), ledger.evidence_of(STUDY), ledger.counts()) == before


@pytest.mark.parametrize("because", ["superseded", "mood"])
def test_an_operator_gives_one_of_the_known_reasons(ledger: SqliteLedger, because: str) -> None:
    """`superseded` is what the node says by itself, of an analysis that took the place of another."""
    job = completed(ledger, kept("9.1"))
    with pytest.raises(NeedsOperator, match="no such reason"):
        retract(ledger, job, because=because)
    assert states(ledger) == {"9.1": DeliveryState.PENDING}


def test_what_would_be_taken_back_can_be_asked_first(ledger: SqliteLedger) -> None:
    """The same as the retraction gets, and asking changes nothing."""
    job = completed(ledger, kept("9.1"), kept("9.2", kind=LINE))
    send(ledger, "9.1")
    asked = ledger.to_retract(job)
    assert [(one.kind, one.destinations) for one in asked] == [("SEG", ("pacs",)), (LINE, ("pacs",))]
    retraction = retract(ledger, job)
    assert ledger.job_details(retraction).taken_back == asked
    assert ledger.job_details(job).taken_back == ()


def test_both_jobs_tell_of_the_retraction(ledger: SqliteLedger) -> None:
    """In the list, in the details and in the history of each."""
    job = completed(ledger, kept("9.1"))
    retraction = retract(ledger, job, because="wrong_patient")
    found = {one.job: (one.retracts, one.retracted_by, one.because) for one in ledger.find_jobs()}
    assert found == {job: (None, retraction, "wrong_patient"), retraction: (job, None, "wrong_patient")}
    told = [entry.event for entry in ledger.job_details(job).history if entry.subject in {"job", "delivery"}]
    assert told == ["scheduled", "claim", "complete", "retracted", "withdraw"]


def test_nothing_takes_a_retractions_place_before_it_is_told(ledger: SqliteLedger) -> None:
    """A film that comes late waits: its job would cancel the retraction, and the destinations would never hear."""
    job = completed(ledger, kept("9.1"))
    retract(ledger, job)
    record(ledger, described("1.2.3.8"), 11)
    assert (ledger.open_studies(), close(ledger, seconds=12)) == ([], None)
    claim = claim_one(ledger, 13)
    assert (claim.retracts is not None, close(ledger, seconds=14)) == (True, None)
    ledger.fail_job(claim, due_at=None, reason="cannot be composed", now=after(15))
    assert (ledger.open_studies(), close(ledger, seconds=16)) == ([], None)
    ledger.requeue_job(claim.job, after(17))
    end(ledger, kept("9.2", kind=LINE), seconds=18)
    assert [study for study, _ in ledger.open_studies()] == [STUDY]
    late = close(ledger, seconds=19)
    assert claim_one(ledger, 20).job == late


def test_results_that_were_taken_back_can_be_stated_again(ledger: SqliteLedger) -> None:
    """The way back from a mistake: a new job, whose report follows the retraction's; what was withdrawn goes out."""
    job = completed(ledger, kept("9.1"), kept("9.2", kind=LINE))
    retract(ledger, job)
    end(ledger, kept("9.5", kind=LINE), seconds=11)
    again = ledger.requeue_job(job, after(12))
    claim = claim_one(ledger, 13)
    assert (claim.job, claim.models, claim.retracts, claim.reports) == (again, ("lungs",), None, {LINE: "9.5"})
    assert {member.uid for member in claim.members} == {"1.2.3.0"}
    ledger.complete(claim, completion(claim, kept("9.1"), kept("9.7", kind=LINE)), after(14))
    assert states(ledger) == {"9.1": "PENDING", "9.2": "WITHDRAWN", "9.5": "PENDING", "9.7": "PENDING"}
    assert retract(ledger, again, 20) > again


def test_what_a_retraction_said_is_not_taken_back_with_what_is_stated_again(ledger: SqliteLedger) -> None:
    """It was true, and an archive that heard of it twice has it right: only the results are taken back again."""
    job = completed(ledger, kept("9.1"), kept("9.2", kind=LINE))
    first = retract(ledger, job)
    end(ledger, kept("9.5", kind=LINE), seconds=11)
    again = ledger.requeue_job(job, after(12))
    end(ledger, kept("9.1"), kept("9.7", kind=LINE), seconds=13)
    retract(ledger, again, 20)
    assert taken(claim_one(ledger, 21)).keys() == {"9.1", "9.7"}
    assert ledger.job_details(first).job.retracted_by is None
    assert states(ledger)["9.5"] is DeliveryState.PENDING


def test_declining_what_was_taken_back_runs_no_job(ledger: SqliteLedger) -> None:
    """It is withdrawn, and that is all: nothing is to be stated in its place."""
    job = completed(ledger, kept("9.1"))
    (going,) = ledger.claim_deliveries("pacs", after(1), limit=9, lease_seconds=600)
    retraction = retract(ledger, job)
    ledger.decline(going, reason="takes no Segmentation", now=after(11))
    assert states(ledger) == {"9.1": DeliveryState.WITHDRAWN}
    assert {one.job: one.state for one in ledger.find_jobs()} == {job: "COMPLETED", retraction: "SCHEDULED"}


def test_a_retraction_that_has_not_begun_never_was(ledger: SqliteLedger) -> None:
    """Noticed in time, nothing was told to anybody: it is canceled, and the results stand as they stood."""
    job = completed(ledger, kept("9.1"), kept("9.2", kind=LINE))
    retraction = retract(ledger, job)
    again = ledger.requeue_job(job, after(11))
    assert ledger.job_details(retraction).job.state is JobState.CANCELED
    assert ledger.job_details(job).job.retracted_by is None
    assert claim_one(ledger, 12).reports == {LINE: "9.2"}
    assert ledger.job_details(again).job.state is JobState.IN_PROGRESS


def test_a_retraction_that_runs_cannot_be_called_off(ledger: SqliteLedger) -> None:
    """Its note may be on its way; once it has ended, the results can be stated again."""
    job = completed(ledger, kept("9.1"))
    retraction = retract(ledger, job)
    claim_one(ledger, 11)
    with pytest.raises(NeedsOperator, match=f"job {retraction}, is running"):
        ledger.requeue_job(job, after(12))
    assert ledger.job_details(retraction).job.state is JobState.IN_PROGRESS


def test_only_the_last_of_the_retracted_jobs_can_be_stated_again(ledger: SqliteLedger) -> None:
    """And only while no newer job has anything to say about the study."""
    first = completed(ledger, kept("9.1"))
    last = completed(ledger, kept("9.2"), seconds=1)
    retract(ledger, last)
    end(ledger, kept("9.5", kind=LINE), seconds=11)
    with pytest.raises(NeedsOperator, match="newer job"):
        ledger.requeue_job(first, after(12))
    completed(ledger, kept("9.3"), seconds=13)
    with pytest.raises(NeedsOperator, match="newer job"):
        ledger.requeue_job(last, after(14))


def test_declining_a_report_that_takes_back_runs_the_retraction_again(ledger: SqliteLedger) -> None:
    """It says so in a class that the destination takes; the retracted job is not run."""
    job = completed(ledger, kept("9.2", kind=LINE))
    send(ledger, "9.2")
    retraction = retract(ledger, job)
    end(ledger, kept("9.5", kind=LINE), seconds=11)
    (report,) = ledger.claim_deliveries("pacs", after(12), limit=9, lease_seconds=60)
    ledger.decline(report, reason="takes no Comprehensive 3D SR", now=after(13))
    claim = claim_one(ledger, 14)
    assert (claim.job, claim.retracts is not None) == (retraction, True)


def test_a_retraction_survives_the_node_that_claimed_it(tmp_path: Path) -> None:
    """The next one claims it with the same to take back: nothing about it is in memory only."""
    path = tmp_path / "ledger.sqlite"
    with SqliteLedger.open(path, incarnation="killed", exclusive=True) as ledger:
        job = completed(ledger, kept("9.1"))
        send(ledger, "9.1")
        retract(ledger, job)
        before = claim_one(ledger, 11, lease_seconds=3600)
    with SqliteLedger.open(path, incarnation="next", exclusive=True) as ledger:
        after_it = claim_one(ledger, 12)
        assert (after_it.retracts, after_it.attempt) == (before.retracts, 2)
