"""What operators, scripts and tables ask the ledger."""

from __future__ import annotations

from pathlib import Path

import pytest

from cxrnode.domain.delivery import DeliveryState
from cxrnode.domain.identity import StudyUID
from cxrnode.domain.job import JobState
from cxrnode.ledger import SqliteLedger, queries
from tests.fakes.instances import (
    CT,
    JPEG_LS,
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


def test_jobs_are_found_by_study_accession_number_patient_and_state(ledger: SqliteLedger) -> None:
    """Each question narrows the answer; the newest job stands first."""
    record(ledger, described())
    first = close(ledger)
    record(ledger, described("1.2.4.1", study_uid=OTHER_STUDY), 1)
    second = close(ledger, OTHER_STUDY, 1)
    assert [view.job for view in ledger.find_jobs()] == [second, first]
    assert [view.job for view in ledger.find_jobs(limit=1)] == [second]
    assert [view.job for view in ledger.find_jobs(study=STUDY)] == [first]
    assert [view.job for view in ledger.find_jobs(accession="A1", patient_id="4711")] == [second, first]
    assert ledger.find_jobs(patient_id="4711", accession="A2") == ()
    claim_one(ledger, 2)
    assert [view.job for view in ledger.find_jobs(state=JobState.IN_PROGRESS)] == [first]
    assert ledger.find_jobs(study=STUDY)[0].patient.name == "Doe^Jane"


def test_jobs_are_found_by_where_their_deliveries_stand(ledger: SqliteLedger) -> None:
    """At night one asks which jobs have a parked delivery; a job whose deliveries are fine is not among them."""
    record(ledger, described())
    record(ledger, described("1.2.4.1", study_uid=OTHER_STUDY))
    parked, fine = close(ledger), close(ledger, OTHER_STUDY)
    claim = claim_one(ledger)
    ledger.complete(claim, completion(claim, kept("9.1")), after(1))
    (delivery,) = ledger.claim_deliveries("pacs", after(2), limit=1, lease_seconds=60)
    ledger.fail_delivery(delivery, due_at=None, reason="refused", now=after(3))
    assert [view.job for view in ledger.find_jobs(delivery=DeliveryState.PARKED)] == [parked]
    assert ledger.find_jobs(delivery=DeliveryState.PENDING) == ()
    assert fine in [view.job for view in ledger.find_jobs()]


def test_a_jobs_details_tell_its_whole_life(ledger: SqliteLedger) -> None:
    """Members with verdicts and outcomes, evidence with deliveries, and the history in order."""
    record(ledger, described())
    job = close(ledger)
    assert job is not None
    claim = claim_one(ledger)
    ledger.complete(claim, completion(claim, kept("9.1"), code="implausible"), after(1))
    (delivery,) = ledger.claim_deliveries("pacs", after(2), limit=1, lease_seconds=60)
    ledger.mark_sent(delivery, after(3), ask_at=None)
    details = ledger.job_details(job)
    (member,) = details.members
    assert (member.sop_instance_uid, member.verdict, member.outcome) == ("1.2.3.1", "", "implausible")
    (way,) = details.evidence[0].deliveries
    assert (way.destination, way.state, way.attempt, way.sent_at) == ("pacs", "SENT", 1, after(3))
    told = [(entry.subject, entry.event, entry.at) for entry in details.history]
    assert told == [
        ("study", "closed", after(0)),
        ("job", "scheduled", after(0)),
        ("job", "claim", after(0)),
        ("job", "complete", after(1)),
        ("delivery", "claim", after(2)),
        ("delivery", "stored", after(3)),
    ]


def test_an_empty_ledger_counts_nothing(ledger: SqliteLedger) -> None:
    """A fresh node has a status, too."""
    counts = ledger.counts()
    assert (counts.instances, counts.open_studies, counts.jobs, counts.deliveries_left) == (0, 0, 0, 0)
    assert (counts.oldest_job_due_at, counts.oldest_delivery_due_at, counts.last_received_at) == (None, None, None)


def test_counts_tell_what_is_left(ledger: SqliteLedger) -> None:
    """By state, by destination, and how long the oldest waits."""
    for index in range(3):
        study = StudyUID(f"1.2.3.{index}")
        record(ledger, described(f"1.2.3.{index}.1", study_uid=study), index)
        if index:
            close(ledger, study, index)
    claim = claim_one(ledger, 2)
    ledger.complete(claim, completion(claim, kept("9.1", destinations=("a", "b"))), after(3))
    (delivery,) = ledger.claim_deliveries("a", after(4), limit=1, lease_seconds=60)
    ledger.mark_sent(delivery, after(5), ask_at=after(6))
    counts = ledger.counts()
    assert (counts.instances, counts.open_studies, counts.last_received_at) == (3, 1, after(2))
    assert (counts.jobs, counts.jobs_left, counts.jobs_parked, counts.oldest_job_due_at) == (2, 1, 0, after(2))
    assert counts.deliveries_by_state == {"a": {"SENT": 1}, "b": {"PENDING": 1}}
    assert (counts.deliveries_left, counts.awaiting_commitment, counts.deliveries_parked) == (1, 1, 0)
    assert counts.oldest_delivery_due_at == after(3)


def test_outcomes_walk_over_every_instance_once(ledger: SqliteLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages join without a gap, whatever is recorded meanwhile."""
    monkeypatch.setattr(queries, "PAGE", 2)
    for index in range(5):
        record(ledger, described(f"1.2.3.{index}"))
    walk = ledger.outcomes()
    seen = [next(walk).sop_instance_uid]
    record(ledger, described("1.2.3.5"))
    seen += [view.sop_instance_uid for view in walk]
    assert seen == [f"1.2.3.{index}" for index in range(6)]


def test_outcomes_name_headers_that_were_corrected_copies_and_conflicts(ledger: SqliteLedger) -> None:
    """Whatever was recorded is a row: a replaced header, a recoded copy and a conflict, each with its reason."""
    record(ledger, described(header="wrong name"))
    record(ledger, described(header="right name"))
    record(ledger, described(header="right name", transfer_syntax_uid=JPEG_LS))
    record(ledger, described(header="right name", pixels="other"))
    assert [view.code for view in ledger.outcomes()] == ["replaced", None, "recoded", "conflict"]


def test_outcomes_name_the_evidence_of_the_last_completed_job(ledger: SqliteLedger) -> None:
    """Evidence of an earlier job that the last one did not state again is not an instance's any more."""
    record(ledger, described())
    record(ledger, described("1.2.3.2", facts=CT), candidate=False)
    close(ledger)
    first = claim_one(ledger)
    ledger.complete(first, completion(first, kept("9.1"), kept("9.2", kind="SR")), after(1))
    ledger.requeue_job(first.job, after(2))
    again = claim_one(ledger, 2)
    ledger.complete(again, completion(again, kept("9.3"), kept("9.4", kind="SR")), after(3))
    frontal, other = ledger.outcomes()
    assert (frontal.segmentations, frontal.report) == (("evidence/9.3.dcm",), "evidence/9.4.dcm")
    assert (other.segmentations, other.report) == ((), "evidence/9.4.dcm")
    assert (frontal.modality, other.modality) == ("CR", "CT")


def test_an_operator_works_beside_a_running_node(ledger: SqliteLedger, tmp_path: Path) -> None:
    """Status, list and retry need no lock, and see what the node has written."""
    record(ledger, described())
    close(ledger)
    ledger.fail_job(claim_one(ledger), due_at=None, reason="spent", now=after(1))
    with SqliteLedger.open(tmp_path / "ledger.sqlite", incarnation="operator", exclusive=False) as operator:
        (parked,) = operator.find_jobs(state=JobState.PARKED)
        operator.requeue_job(parked.job, after(2))
        assert operator.counts().jobs_left == 1
        operator.check()
    assert claim_one(ledger, 3).job == parked.job
