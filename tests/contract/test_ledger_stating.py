"""What a job states when it ends: what goes out, what is withdrawn, objected to, or declined by a destination."""

from __future__ import annotations

import pytest

from cxrnode.domain.delivery import Delivery, DeliveryState
from cxrnode.domain.job import JobState
from cxrnode.errors import LeaseLost
from cxrnode.ledger import DeliveryView, SqliteLedger
from cxrnode.ports import Completion, KeptEvidence
from tests.fakes.instances import STUDY, after, claim_one, close, completion, described, kept, record

WRONG_AREA = "the area in the report is not the mask's"


def state(ledger: SqliteLedger, *evidence: KeptEvidence, seconds: float = 0) -> int:
    """Complete the study's job, closed here unless it waits already, with this evidence."""
    if not ledger.find_jobs(state=JobState.SCHEDULED):
        record(ledger, described(f"1.2.3.{seconds}"), seconds)
        close(ledger, seconds=seconds)
    claim = claim_one(ledger, seconds)
    ledger.complete(claim, completion(claim, *evidence), after(seconds))
    return claim.job


def send(ledger: SqliteLedger, seconds: float = 1, destination: str = "pacs", limit: int = 9) -> list[Delivery]:
    claimed = list(ledger.claim_deliveries(destination, after(seconds), limit=limit, lease_seconds=60))
    for one in claimed:
        ledger.mark_sent(one, after(seconds), ask_at=None)
    return claimed


def claimed(ledger: SqliteLedger, seconds: float = 1) -> list[Delivery]:
    return list(ledger.claim_deliveries("pacs", after(seconds), limit=9, lease_seconds=60))


def ways(ledger: SqliteLedger) -> dict[tuple[str, str], DeliveryView]:
    return {(one.sop_instance_uid, way.destination): way for one in ledger.evidence_of(STUDY) for way in one.deliveries}


def states(ledger: SqliteLedger) -> dict[str, DeliveryState]:
    return {uid: way.state for (uid, destination), way in ways(ledger).items() if destination == "pacs"}


def state_of(ledger: SqliteLedger, job: int) -> JobState:
    return ledger.job_details(job).job.state


def test_what_is_stated_no_more_is_withdrawn_where_it_waits(ledger: SqliteLedger) -> None:
    """A job that is run again and says something else takes back what nobody has yet, and leaves what is sent."""
    both = ("pacs", "viewer")
    job = state(ledger, kept("9.1", destinations=both), kept("9.2", destinations=both))
    send(ledger, limit=1)
    (refused,) = claimed(ledger)
    ledger.fail_delivery(refused, due_at=None, reason="refused: 0xA900", now=after(1))
    ledger.requeue_job(job, after(2))
    state(ledger, kept("9.3"), seconds=3)
    found = {key: way.state for key, way in ways(ledger).items()}
    assert found == {
        ("9.1", "pacs"): DeliveryState.SENT,
        ("9.1", "viewer"): DeliveryState.WITHDRAWN,
        ("9.2", "pacs"): DeliveryState.WITHDRAWN,
        ("9.2", "viewer"): DeliveryState.WITHDRAWN,
        ("9.3", "pacs"): DeliveryState.PENDING,
    }
    assert [one.sop_instance_uid for one in claimed(ledger, 9999)] == ["9.3"]


def test_what_is_stated_for_other_destinations_is_withdrawn_from_the_rest(ledger: SqliteLedger) -> None:
    """The object stays what it is; only the way that nobody asks for any more is closed."""
    job = state(ledger, kept("9.1", destinations=("pacs", "viewer")))
    ledger.requeue_job(job, after(1))
    state(ledger, kept("9.1", destinations=("viewer",)), seconds=2)
    assert {key[1]: way.state for key, way in ways(ledger).items()} == {"pacs": "WITHDRAWN", "viewer": "PENDING"}


def test_what_is_stated_again_goes_out_after_all(ledger: SqliteLedger) -> None:
    """Withdrawn is no end: the destination takes the class again, say, after somebody has set it up."""
    job = state(ledger, kept("9.1"))
    for seconds, evidence in ((2, kept("9.2")), (4, kept("9.1"))):
        ledger.requeue_job(job, after(seconds))
        state(ledger, evidence, seconds=seconds)
    assert states(ledger) == {"9.1": DeliveryState.PENDING, "9.2": DeliveryState.WITHDRAWN}
    (again,) = send(ledger, 5)
    assert (again.sop_instance_uid, again.tries) == ("9.1", 1)


def test_a_later_job_leaves_what_an_earlier_one_stated(ledger: SqliteLedger) -> None:
    """The earlier report goes out before the one that follows it: the archive gets the whole line of reports."""
    state(ledger, kept("9.1", kind="SR"))
    state(ledger, kept("9.2", kind="SR"), seconds=2)
    assert [one.sop_instance_uid for one in send(ledger, 3)] == ["9.1", "9.2"]


def test_what_only_an_earlier_job_states_is_withdrawn_with_the_last_ones(ledger: SqliteLedger) -> None:
    """The study's last job speaks for the study: what both stated waits no longer when it is stated no more."""
    state(ledger, kept("9.1"))
    newer = state(ledger, kept("9.1"), kept("9.2"), seconds=1)
    ledger.requeue_job(newer, after(2))
    state(ledger, kept("9.2"), seconds=3)
    assert states(ledger) == {"9.1": DeliveryState.WITHDRAWN, "9.2": DeliveryState.PENDING}


def test_what_is_objected_to_is_parked_before_anybody_can_send_it(ledger: SqliteLedger) -> None:
    """The objection is the reason; the rest of the job goes out, and the status counts one that wants a person."""
    state(ledger, kept("9.1", objection=WRONG_AREA), kept("9.2", kind="SR"))
    assert [one.sop_instance_uid for one in claimed(ledger)] == ["9.2"]
    assert (ways(ledger)["9.1", "pacs"].state, ways(ledger)["9.1", "pacs"].reason) == ("PARKED", WRONG_AREA)
    assert {one.sop_instance_uid: one.objection for one in ledger.evidence_of(STUDY)} == {"9.1": WRONG_AREA, "9.2": ""}
    assert ledger.counts().deliveries_parked == 1


def test_an_operators_retry_does_not_send_what_is_objected_to(ledger: SqliteLedger) -> None:
    """Only the job, run again and inspected again, can: until then it stays parked; what was refused goes out."""
    job = state(ledger, kept("9.1", objection=WRONG_AREA), kept("9.2"))
    (refused,) = claimed(ledger)
    ledger.fail_delivery(refused, due_at=None, reason="refused: 0xA900", now=after(1))
    ledger.requeue_job(job, after(2))
    assert states(ledger) == {"9.1": DeliveryState.PARKED, "9.2": DeliveryState.PENDING}
    state(ledger, kept("9.1"), kept("9.2"), seconds=3)
    assert [one.sop_instance_uid for one in claimed(ledger, 4)] == ["9.2", "9.1"]
    assert {one.objection for one in ledger.evidence_of(STUDY)} == {""}


def test_an_objection_that_comes_later_stops_what_waits(ledger: SqliteLedger) -> None:
    """Whether it waits or was withdrawn meanwhile; what is sent stays sent, and what was refused keeps its reason."""
    job = state(ledger, kept("9.1"), kept("9.2"), kept("9.3"), kept("9.4"))
    send(ledger, limit=1)
    for one in ledger.claim_deliveries("pacs", after(1), limit=1, lease_seconds=60):
        ledger.fail_delivery(one, due_at=None, reason="refused: 0xA900", now=after(1))
    objected = [kept(f"9.{number}", objection=WRONG_AREA) for number in (1, 2, 3, 4)]
    for seconds, evidence in ((2, [kept("9.1"), kept("9.4")]), (4, objected)):
        ledger.requeue_job(job, after(seconds))
        state(ledger, *evidence, seconds=seconds)
    assert states(ledger) == {"9.1": "SENT", "9.2": "PARKED", "9.3": "PARKED", "9.4": "PARKED"}
    assert claimed(ledger, 5) == []


def test_a_refusal_outlives_the_end_of_an_objection(ledger: SqliteLedger) -> None:
    """Parked by the destination is not parked by the inspection: an operator has to look all the same."""
    job = state(ledger, kept("9.1"))
    (refused,) = claimed(ledger)
    ledger.fail_delivery(refused, due_at=None, reason="refused: 0xA900", now=after(1))
    for seconds, objection in ((3, WRONG_AREA), (5, "")):
        newer = state(ledger, kept("9.1", objection=objection), seconds=seconds)
        assert newer != job
    assert (ways(ledger)["9.1", "pacs"].state, ways(ledger)["9.1", "pacs"].reason) == ("PARKED", "refused: 0xA900")


def test_a_destination_that_was_never_asked_is_not_known(ledger: SqliteLedger) -> None:
    """None is not the same as nothing; what was said last counts, for each destination by itself."""
    assert ledger.accepted("pacs") is None
    ledger.record_accepted("pacs", ["1.2", "1.1"], after(0))
    ledger.record_accepted("viewer", [], after(0))
    assert (ledger.accepted("pacs"), ledger.accepted("viewer")) == (frozenset({"1.1", "1.2"}), frozenset())
    ledger.record_accepted("pacs", ["1.3"], after(1))
    assert ledger.accepted("pacs") == frozenset({"1.3"})


def test_declining_withdraws_and_brings_the_job_back(ledger: SqliteLedger) -> None:
    """The job states something else, and nobody has to look; what it says of it can be read in its details."""
    job = state(ledger, kept("9.1"), kept("9.3", kind="SR"))
    (first,) = ledger.claim_deliveries("pacs", after(1), limit=1, lease_seconds=60)
    ledger.decline(first, reason="takes no Segmentation", now=after(2))
    assert state_of(ledger, job) is JobState.SCHEDULED
    claim = claim_one(ledger, 3)
    assert (claim.job, claim.tries) == (job, 1)
    said = {"pacs": ["takes no Segmentation; Secondary Capture goes instead"]}
    made = Completion(evidence=(kept("9.4", kind="SC"), kept("9.3", kind="SR")), outcomes=(), fallbacks=said)
    ledger.complete(claim, made, after(4))
    assert states(ledger) == {"9.1": "WITHDRAWN", "9.3": "PENDING", "9.4": "PENDING"}
    assert ways(ledger)["9.1", "pacs"].reason == "takes no Segmentation"
    assert ledger.job_details(job).job.fallbacks == said
    assert ledger.counts().deliveries_parked == 0


def test_declining_holds_back_what_may_refer_to_what_was_declined(ledger: SqliteLedger) -> None:
    """Whether it waits or is claimed already; what is sent, and what goes elsewhere, stays as it is."""
    job = state(ledger, kept("9.1"), kept("9.2", destinations=("pacs", "viewer")), kept("9.3", kind="SR"), kept("9.4"))
    first, second, third = ledger.claim_deliveries("pacs", after(1), limit=3, lease_seconds=60)
    ledger.mark_sent(first, after(1), ask_at=None)
    gone = ledger.decline(second, reason="takes no Segmentation", now=after(2))
    assert gone >= {second.row, third.row}
    assert {key: way.state for key, way in ways(ledger).items()} == {
        ("9.1", "pacs"): DeliveryState.SENT,
        ("9.2", "pacs"): DeliveryState.WITHDRAWN,
        ("9.2", "viewer"): DeliveryState.PENDING,
        ("9.3", "pacs"): DeliveryState.WITHDRAWN,
        ("9.4", "pacs"): DeliveryState.WITHDRAWN,
    }
    assert state_of(ledger, job) is JobState.SCHEDULED


def test_a_claim_names_the_last_report_that_each_destination_has_or_is_about_to_get(ledger: SqliteLedger) -> None:
    """Neither one that was withdrawn, nor one that is parked: nothing that comes later could follow those."""
    both = ("pacs", "viewer")
    state(ledger, kept("9.1", kind="SR one", destinations=both))
    assert {one.sop_instance_uid for one in send(ledger)} == {"9.1"}
    state(ledger, kept("9.2", kind="SR two"), kept("9.3", kind="SR three", destinations=("viewer",)), seconds=2)
    newer = state(ledger, kept("9.4", kind="SR two", objection=WRONG_AREA), seconds=3)
    ledger.requeue_job(newer, after(4))
    claim = claim_one(ledger, 5)
    assert claim.reports_at == {"pacs": "9.2", "viewer": "9.3"}
    (going,) = (one for one in claimed(ledger, 6) if one.sop_instance_uid == "9.2")
    ledger.fail_delivery(going, due_at=None, reason="refused: 0xA900", now=after(6))
    ledger.fail_job(claim, due_at=after(7), reason="x", now=after(6))
    assert claim_one(ledger, 8).reports_at == {"pacs": "9.1", "viewer": "9.3"}


def test_declining_holds_back_what_waits_while_the_job_is_to_run_again(ledger: SqliteLedger) -> None:
    """Another destination declined before: the job states everything anew, so nothing of it may leave by now."""
    job = state(ledger, kept("9.1", destinations=("pacs", "viewer")), kept("9.3", kind="SR"))
    (elsewhere,) = ledger.claim_deliveries("viewer", after(1), limit=9, lease_seconds=60)
    ledger.decline(elsewhere, reason="takes no Segmentation", now=after(1))
    assert state_of(ledger, job) is JobState.SCHEDULED
    (first,) = ledger.claim_deliveries("pacs", after(1), limit=1, lease_seconds=60)
    assert len(ledger.decline(first, reason="takes no Segmentation", now=after(2))) == 2
    assert states(ledger) == {"9.1": "WITHDRAWN", "9.3": "WITHDRAWN"}


def test_a_retry_forgets_what_a_limited_destination_said(ledger: SqliteLedger) -> None:
    """It is asked anew, and what is parked there waits for the job; one that took everything is left as it is."""
    for name in ("pacs", "viewer"):
        ledger.record_accepted(name, ["1.2"], after(0))
    record(ledger, described(), 0)
    close(ledger, destinations=["pacs", "viewer"])
    claim = claim_one(ledger)
    evidence = (kept("9.1", destinations=("pacs", "viewer")),)
    said = {"pacs": ["takes nothing of what is written for it; the report is sent all the same"]}
    ledger.complete(claim, Completion(evidence=evidence, outcomes=(), fallbacks=said), after(1))
    for name in ("pacs", "viewer"):
        (one,) = ledger.claim_deliveries(name, after(2), limit=9, lease_seconds=60)
        ledger.fail_delivery(one, due_at=None, reason="refused: 0x0122", now=after(2))
    ledger.requeue_job(claim.job, after(3))
    assert (ledger.accepted("pacs"), ledger.accepted("viewer")) == (None, frozenset({"1.2"}))
    assert {key[1]: way.state for key, way in ways(ledger).items()} == {"pacs": "WITHDRAWN", "viewer": "PENDING"}


def test_declining_is_fenced_by_the_attempt(ledger: SqliteLedger) -> None:
    """Whoever lost the delivery changes neither it nor its job."""
    job = state(ledger, kept("9.1"))
    (lost,) = ledger.claim_deliveries("pacs", after(1), limit=1, lease_seconds=1)
    claimed(ledger, 3)
    with pytest.raises(LeaseLost):
        ledger.decline(lost, reason="takes no Segmentation", now=after(4))
    assert (states(ledger)["9.1"], state_of(ledger, job)) == (DeliveryState.SENDING, JobState.COMPLETED)


def test_declining_leaves_a_job_that_a_newer_one_replaced(ledger: SqliteLedger) -> None:
    """The newer one, which runs anyway, states what the destination takes."""
    older = state(ledger, kept("9.1"))
    record(ledger, described("1.2.3.8"), 1)
    close(ledger, seconds=1)
    (one,) = claimed(ledger, 2)
    ledger.decline(one, reason="takes no Segmentation", now=after(2))
    assert [(view.job, view.state) for view in ledger.find_jobs()] == [(older + 1, "SCHEDULED"), (older, "COMPLETED")]


def test_declining_brings_back_the_last_job_that_states_it(ledger: SqliteLedger) -> None:
    """The frontal's SEG is stated by both; only the study's last job has anything to say about it."""
    older = state(ledger, kept("9.1"))
    newer = state(ledger, kept("9.1"), kept("9.2", kind="SR"), seconds=1)
    segmentation, _ = claimed(ledger, 2)
    ledger.decline(segmentation, reason="takes no Segmentation", now=after(2))
    assert (state_of(ledger, older), state_of(ledger, newer)) == (JobState.COMPLETED, JobState.SCHEDULED)
