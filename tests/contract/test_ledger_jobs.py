"""The life of jobs: closing, leases, the fence, retries, and what an operator does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cxrnode.domain.identity import StudyUID
from cxrnode.domain.job import JobState
from cxrnode.errors import LeaseLost, NeedsOperator
from cxrnode.ledger import SqliteLedger
from cxrnode.ports import Verdict
from tests.fakes.instances import (
    CT,
    NOON,
    OTHER_STUDY,
    STUDY,
    after,
    claim_one,
    close,
    completion,
    described,
    kept,
    record,
)


def scheduled(ledger: SqliteLedger, number: int = 1) -> list[int]:
    """Give the jobs of so many studies of one image each, scheduled a second apart."""
    jobs = []
    for index in range(number):
        study = StudyUID(f"1.2.3.{index}")
        record(ledger, described(f"1.2.3.{index}.1", study_uid=study), index)
        jobs.append(close(ledger, study, index))
    return [job for job in jobs if job is not None]


def state_of(ledger: SqliteLedger, job: int) -> JobState:
    return ledger.job_details(job).job.state


def test_closing_fixes_the_membership_and_the_verdicts(ledger: SqliteLedger) -> None:
    """A claim gives back exactly the instances and verdicts of its closing."""
    record(ledger, described())
    record(ledger, described("1.2.3.2", facts=CT), candidate=False)
    membership = ledger.membership(STUDY)
    rows = [member.row for member in membership.instances]
    verdicts = [Verdict(row=rows[0]), Verdict(row=rows[1], code="modality")]
    job = ledger.close(membership, verdicts, models=["lungs"], destinations=["a", "b"], now=NOON, schedule=True)
    record(ledger, described("1.2.3.3"), 1)
    claim = claim_one(ledger, 1)
    assert claim.job == job
    assert claim.members == membership.instances
    assert claim.verdicts == {rows[0]: "", rows[1]: "modality"}
    assert (claim.models, claim.destinations, claim.attempt) == (("lungs",), ("a", "b"), 1)


def test_closing_loses_against_an_instance_that_came_in_between(ledger: SqliteLedger) -> None:
    """Nothing is written, and the study stays open for the next bell."""
    record(ledger, described())
    seen = ledger.membership(STUDY)
    record(ledger, described("1.2.3.2"), 1)
    assert ledger.close(seen, [], models=["lungs"], destinations=[], now=after(2), schedule=True) is None
    assert ledger.find_jobs() == ()
    assert ledger.open_studies() == [(STUDY, after(1))]


def test_closing_twice_makes_one_job(ledger: SqliteLedger) -> None:
    """Two bells that close the same membership schedule one job."""
    record(ledger, described())
    seen = ledger.membership(STUDY)
    arguments = {"models": ["lungs"], "destinations": [], "now": NOON, "schedule": True}
    assert ledger.close(seen, [], **arguments) is not None
    assert ledger.close(seen, [], **arguments) is None
    assert len(ledger.find_jobs()) == 1


def test_a_study_with_nothing_to_analyse_closes_without_a_job(ledger: SqliteLedger) -> None:
    """Its instances have their verdicts, and nothing can be claimed."""
    record(ledger, described(facts=CT), candidate=False)
    membership = ledger.membership(STUDY)
    verdict = Verdict(row=membership.instances[0].row, code="modality")
    assert ledger.close(membership, [verdict], models=[], destinations=[], now=NOON, schedule=False) is None
    assert ledger.open_studies() == []
    assert [view.code for view in ledger.outcomes()] == ["modality"]
    assert ledger.claim_jobs(after(1), limit=9, lease_seconds=60) == []


def test_closing_again_replaces_the_job_that_has_not_begun(ledger: SqliteLedger) -> None:
    """The late lateral's job has both images; the first is never run."""
    record(ledger, described())
    first = close(ledger)
    record(ledger, described("1.2.3.2"), 1)
    second = close(ledger, seconds=2)
    assert first is not None
    assert state_of(ledger, first) is JobState.CANCELED
    claim = claim_one(ledger, 3)
    assert claim.job == second
    assert len(claim.members) == 2


def test_closing_again_replaces_a_parked_job(ledger: SqliteLedger) -> None:
    """The new job covers the old one's members, so nobody has to look at the old one any more."""
    record(ledger, described())
    close(ledger)
    parked = claim_one(ledger)
    ledger.fail_job(parked, due_at=None, reason="model altered", now=NOON)
    record(ledger, described("1.2.3.2"), 1)
    close(ledger, seconds=2)
    assert state_of(ledger, parked.job) is JobState.CANCELED


def test_jobs_are_claimed_oldest_first_up_to_the_limit(ledger: SqliteLedger) -> None:
    """Nothing is claimed twice, nothing before it is due."""
    jobs = scheduled(ledger, 3)
    first = ledger.claim_jobs(after(10), limit=2, lease_seconds=60)
    then = ledger.claim_jobs(after(10), limit=2, lease_seconds=60)
    assert [[claim.job for claim in claims] for claims in (first, then)] == [jobs[:2], jobs[2:]]
    assert ledger.claim_jobs(after(10), limit=2, lease_seconds=60) == []


def test_a_job_that_failed_before_is_claimed_alone(ledger: SqliteLedger) -> None:
    """A poison image takes no other study down with it."""
    jobs = scheduled(ledger, 4)
    poison = claim_one(ledger, 5)
    ledger.fail_job(poison, due_at=after(2), reason="child lost", now=after(5))
    batches = [ledger.claim_jobs(after(10), limit=9, lease_seconds=60) for _ in range(3)]
    assert [[claim.job for claim in claims] for claims in batches] == [[jobs[1]], [jobs[0]], [jobs[2], jobs[3]]]


def test_an_attempt_that_does_not_count_gives_its_try_back(ledger: SqliteLedger) -> None:
    """A job that a stopping node gave up is as far from being parked as before; its fence moves on all the same."""
    scheduled(ledger)
    for attempt in range(1, 4):
        claim = claim_one(ledger, attempt)
        assert (claim.attempt, claim.tries) == (attempt, 1)
        ledger.fail_job(claim, due_at=after(attempt), reason="stopping", now=after(attempt), counts=False)
    ledger.fail_job(claim_one(ledger, 4), due_at=after(4), reason="failed", now=after(4))
    assert claim_one(ledger, 5).tries == 2


def test_a_failed_job_waits_until_it_is_due_again(ledger: SqliteLedger) -> None:
    """The attempt is counted, the reason kept."""
    (job,) = scheduled(ledger)
    ledger.fail_job(claim_one(ledger), due_at=after(30), reason="child lost", now=after(1))
    assert ledger.claim_jobs(after(29), limit=1, lease_seconds=60) == []
    assert ledger.job_details(job).job.reason == "child lost"
    assert claim_one(ledger, 30).attempt == 2


def test_a_parked_job_is_not_claimed(ledger: SqliteLedger) -> None:
    """It waits for an operator, whatever the time."""
    (job,) = scheduled(ledger)
    ledger.fail_job(claim_one(ledger), due_at=None, reason="spent", now=after(1))
    assert state_of(ledger, job) is JobState.PARKED
    assert ledger.claim_jobs(after(99_999), limit=1, lease_seconds=60) == []


def test_an_expired_lease_is_claimed_again(ledger: SqliteLedger) -> None:
    """Claiming is the recovery: the next claim is the next attempt."""
    scheduled(ledger)
    claim_one(ledger, lease_seconds=60)
    assert ledger.claim_jobs(after(59), limit=1, lease_seconds=60) == []
    assert claim_one(ledger, 60).attempt == 2


def test_a_renewed_lease_is_held_for_longer(ledger: SqliteLedger) -> None:
    """While the child's heartbeat comes, nobody else gets the job."""
    scheduled(ledger)
    claim = claim_one(ledger, lease_seconds=60)
    ledger.renew([claim], after(50), lease_seconds=60)
    assert ledger.claim_jobs(after(109), limit=1, lease_seconds=60) == []
    assert claim_one(ledger, 110).attempt == 2


def test_renewing_a_lost_lease_does_not_take_it_back(ledger: SqliteLedger) -> None:
    """It is passed over: the new holder's deadline stays."""
    scheduled(ledger)
    lost = claim_one(ledger, lease_seconds=10)
    claim_one(ledger, 20, lease_seconds=10)
    ledger.renew([lost], after(21), lease_seconds=1000)
    assert claim_one(ledger, 31).attempt == 3


def test_leases_of_another_incarnation_are_claimed_at_once(tmp_path: Path) -> None:
    """The exclusive lock proves that whoever held them is dead, so nobody waits for the deadline."""
    path = tmp_path / "ledger.sqlite"
    with SqliteLedger.open(path, incarnation="killed", exclusive=True) as ledger:
        scheduled(ledger, 2)
        assert len(ledger.claim_jobs(after(5), limit=2, lease_seconds=3600)) == 2
    with SqliteLedger.open(path, incarnation="next", exclusive=True) as ledger:
        claims = [ledger.claim_jobs(after(6), limit=2, lease_seconds=3600) for _ in range(3)]
        assert [[claim.attempt for claim in claim] for claim in claims] == [[2], [2], []]


def test_one_study_runs_one_job_at_a_time(ledger: SqliteLedger) -> None:
    """The job of a later closing waits for the one that runs; other studies do not."""
    record(ledger, described())
    close(ledger)
    running = claim_one(ledger)
    record(ledger, described("1.2.3.2"), 1)
    waiting = close(ledger, seconds=2)
    record(ledger, described("1.2.4.1", study_uid=OTHER_STUDY), 3)
    other = close(ledger, OTHER_STUDY, 3)
    assert [claim.job for claim in ledger.claim_jobs(after(4), limit=9, lease_seconds=60)] == [other]
    ledger.complete(running, completion(running), after(5))
    assert claim_one(ledger, 6).job == waiting


def test_a_job_that_was_replaced_while_it_ran_is_not_tried_again(ledger: SqliteLedger) -> None:
    """When it fails, the newer job has its members anyway."""
    record(ledger, described())
    close(ledger)
    running = claim_one(ledger)
    record(ledger, described("1.2.3.2"), 1)
    newer = close(ledger, seconds=2)
    ledger.fail_job(running, due_at=after(3), reason="child lost", now=after(3))
    assert state_of(ledger, running.job) is JobState.CANCELED
    assert claim_one(ledger, 4).job == newer


def test_completing_is_fenced_by_the_attempt(ledger: SqliteLedger) -> None:
    """Whoever lost the lease writes nothing, neither an end nor evidence."""
    (job,) = scheduled(ledger)
    lost = claim_one(ledger, lease_seconds=10)
    held = claim_one(ledger, 20)
    for verb in (
        lambda: ledger.complete(lost, completion(lost, kept("9.1")), after(21)),
        lambda: ledger.fail_job(lost, due_at=None, reason="late", now=after(21)),
    ):
        with pytest.raises(LeaseLost):
            verb()
    assert ledger.job_details(job).evidence == ()
    ledger.complete(held, completion(held, kept("9.1")), after(22))
    with pytest.raises(LeaseLost):
        ledger.complete(held, completion(held, kept("9.2")), after(23))
    assert [one.sop_instance_uid for one in ledger.job_details(job).evidence] == ["9.1"]


def test_an_operators_retry_does_not_open_the_fence_for_an_old_attempt(ledger: SqliteLedger) -> None:
    """Attempts only grow: a claim from before the retry can never complete the one after it."""
    (job,) = scheduled(ledger)
    old = claim_one(ledger)
    ledger.fail_job(old, due_at=None, reason="spent", now=after(1))
    ledger.requeue_job(job, after(2))
    claim_one(ledger, 3)
    with pytest.raises(LeaseLost):
        ledger.complete(old, completion(old), after(4))


def test_completing_writes_outcomes_evidence_and_deliveries(ledger: SqliteLedger) -> None:
    """One transaction: the end of the job is the beginning of its deliveries."""
    (job,) = scheduled(ledger)
    claim = claim_one(ledger)
    objects = (kept("9.1", source="1.2.3.0.1", destinations=("pacs", "viewer")), kept("9.2", kind="SR"))
    ledger.complete(claim, completion(claim, *objects), after(1))
    details = ledger.job_details(job)
    assert details.job.state is JobState.COMPLETED
    assert [(member.outcome, member.summary) for member in details.members] == [("", {"view": "PA"})]
    ways = [(one.sop_instance_uid, way.destination, way.state) for one in details.evidence for way in one.deliveries]
    assert ways == [("9.1", "pacs", "PENDING"), ("9.1", "viewer", "PENDING"), ("9.2", "pacs", "PENDING")]
    (view,) = ledger.outcomes()
    assert (view.code, view.summary) == ("", {"view": "PA"})
    assert (view.segmentations, view.report) == (("evidence/9.1.dcm",), "evidence/9.2.dcm")


def test_completing_fails_whole(ledger: SqliteLedger) -> None:
    """An outcome that cannot be written leaves the job running, without evidence and without deliveries."""
    (job,) = scheduled(ledger)
    claim = claim_one(ledger)
    broken = replace(kept("9.2"), destinations=("pacs", None))  # type: ignore[arg-type]
    with pytest.raises(Exception, match="NOT NULL"):
        ledger.complete(claim, completion(claim, kept("9.1"), broken), after(1))
    assert state_of(ledger, job) is JobState.IN_PROGRESS
    assert ledger.evidence_of(StudyUID("1.2.3.0")) == ()


def test_unchanged_evidence_is_delivered_once(ledger: SqliteLedger) -> None:
    """A second job that keeps the frontal's SEG adds only the new report's delivery."""
    record(ledger, described())
    close(ledger)
    first = claim_one(ledger)
    ledger.complete(first, completion(first, kept("9.1"), kept("9.2", kind="SR")), NOON)
    for delivery in ledger.claim_deliveries("pacs", after(1), limit=9, lease_seconds=60):
        ledger.mark_sent(delivery, after(1), ask_at=None)
    record(ledger, described("1.2.3.2"), 2)
    close(ledger, seconds=3)
    second = claim_one(ledger, 3)
    ledger.complete(second, completion(second, kept("9.1"), kept("9.3", kind="SR")), after(4))
    assert [way.sop_instance_uid for way in ledger.claim_deliveries("pacs", after(5), limit=9, lease_seconds=60)] == [
        "9.3"
    ]
    assert [one.sop_instance_uid for one in ledger.job_details(second.job).evidence] == ["9.1", "9.3"]


def test_a_claim_names_the_latest_report_of_each_kind(ledger: SqliteLedger) -> None:
    """What the new report follows is what the study's jobs stated last."""
    record(ledger, described())
    close(ledger)
    first = claim_one(ledger)
    assert first.reports == {}
    ledger.complete(first, completion(first, kept("9.1", kind="SR"), kept("9.2", kind="SR-strict")), NOON)
    record(ledger, described("1.2.3.2"), 2)
    close(ledger, seconds=3)
    second = claim_one(ledger, 3)
    assert second.reports == {"SR": "9.1", "SR-strict": "9.2"}
    ledger.complete(second, completion(second, kept("9.3", kind="SR")), after(4))
    ledger.requeue_job(second.job, after(5))
    assert claim_one(ledger, 6).reports == {"SR": "9.3", "SR-strict": "9.2"}


def test_nothing_is_claimed_while_paused(ledger: SqliteLedger, tmp_path: Path) -> None:
    """Another process pauses and resumes; instances are recorded all the while."""
    scheduled(ledger)
    with SqliteLedger.open(tmp_path / "ledger.sqlite", incarnation="operator", exclusive=False) as operator:
        operator.set_paused(True, after(1))
        operator.set_paused(True, after(2))
        assert ledger.paused()
        assert ledger.claim_jobs(after(3), limit=1, lease_seconds=60) == []
        record(ledger, described("1.9"), 3)
        operator.set_paused(False, after(4))
    assert not ledger.paused()
    assert claim_one(ledger, 5).attempt == 1


def test_retrying_a_parked_job_queues_it_at_once(ledger: SqliteLedger) -> None:
    """It is due now, its reason is gone, and its history tells who did what."""
    (job,) = scheduled(ledger)
    ledger.fail_job(claim_one(ledger), due_at=None, reason="spent", now=after(1))
    ledger.requeue_job(job, after(2))
    claim = claim_one(ledger, 2)
    assert (claim.job, claim.attempt) == (job, 2)
    events = [entry.event for entry in ledger.job_details(job).history if entry.subject == "job"]
    assert events == ["scheduled", "claim", "park", "requeue", "claim"]


def test_retrying_a_completed_job_queues_its_parked_deliveries(ledger: SqliteLedger) -> None:
    """What a destination refused for good goes out again once an operator says so."""
    (job,) = scheduled(ledger)
    claim = claim_one(ledger)
    ledger.complete(claim, completion(claim, kept("9.1")), after(1))
    (delivery,) = ledger.claim_deliveries("pacs", after(2), limit=9, lease_seconds=60)
    ledger.fail_delivery(delivery, due_at=None, reason="refused", now=after(3))
    assert ledger.claim_deliveries("pacs", after(4), limit=9, lease_seconds=60) == []
    ledger.requeue_job(job, after(5))
    (again,) = ledger.claim_deliveries("pacs", after(5), limit=9, lease_seconds=60)
    assert again == replace(delivery, attempt=2)
    assert claim_one(ledger, 5).job == job


def test_a_job_that_is_not_at_its_end_cannot_be_retried(ledger: SqliteLedger) -> None:
    """A step that the law does not know raises and changes nothing."""
    (job,) = scheduled(ledger)
    for seconds, state in ((0, JobState.SCHEDULED), (1, JobState.IN_PROGRESS)):
        before = ledger.job_details(job)
        assert before.job.state is state
        with pytest.raises(NeedsOperator, match=str(state)):
            ledger.requeue_job(job, after(seconds))
        assert ledger.job_details(job) == before
        if state is JobState.SCHEDULED:
            claim_one(ledger, 1)


def test_a_job_that_was_replaced_cannot_be_retried(ledger: SqliteLedger) -> None:
    """Running an older membership again would send a report that is out of date."""
    record(ledger, described())
    close(ledger)
    old = claim_one(ledger)
    ledger.complete(old, completion(old), NOON)
    record(ledger, described("1.2.3.2"), 1)
    close(ledger, seconds=2)
    with pytest.raises(NeedsOperator, match="newer job"):
        ledger.requeue_job(old.job, after(3))


def test_there_is_no_job_of_an_unknown_number(ledger: SqliteLedger) -> None:
    """Showing or retrying it says so."""
    for verb in (lambda: ledger.job_details(7), lambda: ledger.requeue_job(7, NOON)):
        with pytest.raises(NeedsOperator, match="no such job"):
            verb()
