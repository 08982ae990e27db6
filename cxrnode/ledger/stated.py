"""Who stated what, who has it, and what was taken back; nothing here writes.

Hides the joins over statements, deliveries and retractions. Promises that what is called taken back is stated by no
job whose results still stand, and that an object counts as sent when a destination has it or may have it.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from cxrnode.domain.capability import Kind
from cxrnode.domain.delivery import DeliveryState
from cxrnode.domain.job import JobState
from cxrnode.ledger.schema import deliveries, evidence, is_state, job_evidence, jobs, retractions
from cxrnode.ports import Retracted, StatedEvidence

MAY_HAVE_ARRIVED = "it may have arrived: the node ended while it was sent"
"""The reason of a delivery that was withdrawn while nobody knew what had become of it."""

_NOT_TOLD = (JobState.SCHEDULED, JobState.IN_PROGRESS, JobState.PARKED)


def is_taken_back(of: sa.ColumnElement[int]) -> sa.ColumnElement[bool]:
    """Whether all jobs that stated the evidence numbered `of` were retracted."""
    statement = job_evidence.alias()
    return ~sa.exists().where(statement.c.evidence_id == of, ~is_retracted(statement.c.job_id))


def is_retracted(job: sa.ColumnElement[int]) -> sa.ColumnElement[bool]:
    """Whether the results of the job numbered `job` were taken back."""
    taken = retractions.alias()
    return sa.exists().where(taken.c.job_id == job)


def has_untold_retraction(study: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
    """Whether a retraction of the study's results waits or runs: until it has ended, nothing may take its place."""
    job, taken = jobs.alias(), retractions.alias()
    return sa.exists().where(
        job.c.study_uid == study,
        sa.or_(*(is_state(job.c.state, state) for state in _NOT_TOLD)),
        taken.c.retraction_id == job.c.id,
    )


def latest_reports(connection: sa.Connection, study: str) -> dict[str, str]:
    """Give the report of each kind that the study's jobs stated last, be it this job's own of an earlier run.

    A job that says the same again finds its own report again; one that says something else follows it.
    """
    stated = connection.execute(
        sa.select(evidence.c.kind, evidence.c.sop_instance_uid)
        .join(job_evidence, job_evidence.c.evidence_id == evidence.c.id)
        .where(evidence.c.study_uid == study, evidence.c.kind.startswith(Kind.SR))
        .order_by(job_evidence.c.stated_at, evidence.c.id)
    )
    return {row.kind: row.sop_instance_uid for row in stated}


def reports_at(connection: sa.Connection, study: str) -> dict[str, str]:
    """Give by destination the last report that it has, may have or is about to get.

    What is parked there or withdrawn from there is not what a later report could follow.
    """
    going = _is_there() | is_state(deliveries.c.state, DeliveryState.PENDING)
    stated = connection.execute(
        sa.select(deliveries.c.destination, evidence.c.sop_instance_uid)
        .join(evidence, evidence.c.id == deliveries.c.evidence_id)
        .join(job_evidence, job_evidence.c.evidence_id == evidence.c.id)
        .where(evidence.c.study_uid == study, evidence.c.kind.startswith(Kind.SR), going)
        .order_by(job_evidence.c.stated_at, evidence.c.id)
    )
    return {row.destination: row.sop_instance_uid for row in stated}


def retracted_by(connection: sa.Connection, job: int) -> Retracted | None:
    """Give what the job numbered `job` takes back, None where it is no retraction."""
    taken = connection.execute(
        sa.select(retractions).where(retractions.c.retraction_id == job).order_by(retractions.c.job_id.desc())
    ).first()
    if taken is None:
        return None
    of = sa.select(retractions.c.job_id).where(retractions.c.retraction_id == job)
    return Retracted(job=taken.job_id, because=taken.because, evidence=stated_by(connection, of))


def jobs_to_retract(study: str, job: int) -> sa.Select[Any]:
    """Choose the jobs that are retracted with the job numbered `job`: those before it stated what may show again."""
    states = sa.exists().where(job_evidence.c.job_id == jobs.c.id)
    tells = sa.exists().where(retractions.c.retraction_id == jobs.c.id)
    mine = (jobs.c.study_uid == study) & (jobs.c.id <= job)
    return sa.select(jobs.c.id).where(mine, states | (jobs.c.id == job), ~is_retracted(jobs.c.id), ~tells)


def stated_by(connection: sa.Connection, of: sa.Select[Any]) -> tuple[StatedEvidence, ...]:
    """Give all but rejection notes that these jobs stated, the oldest first."""
    stated = sa.select(job_evidence.c.evidence_id).where(job_evidence.c.job_id.in_(of))
    return _stated(connection, evidence.c.id.in_(stated))


def superseded(connection: sa.Connection, study: str) -> tuple[StatedEvidence, ...]:
    """Give what the study's jobs stated, still stands, and is at some destination."""
    stands = (evidence.c.study_uid == study) & ~is_taken_back(evidence.c.id)
    return tuple(one for one in _stated(connection, stands) if one.destinations)


def _stated(connection: sa.Connection, wanted: sa.ColumnElement[bool]) -> tuple[StatedEvidence, ...]:
    chosen = wanted & ~evidence.c.kind.startswith(Kind.REJECTION)
    found = connection.execute(sa.select(evidence).where(chosen).order_by(evidence.c.id)).all()
    ways = connection.execute(
        sa.select(deliveries.c.evidence_id, deliveries.c.destination)
        .where(deliveries.c.evidence_id.in_(sa.select(evidence.c.id).where(chosen)), _is_there())
        .order_by(deliveries.c.destination)
    ).all()
    return tuple(
        StatedEvidence(
            kind=row.kind,
            sop_class_uid=row.sop_class_uid,
            sop_instance_uid=row.sop_instance_uid,
            key=row.key,
            destinations=tuple(way.destination for way in ways if way.evidence_id == row.id),
        )
        for row in found
    )


def _is_there() -> sa.ColumnElement[bool]:
    sent = deliveries.c.sent_at.is_not(None)
    return sent | (deliveries.c.state == DeliveryState.SENDING) | (deliveries.c.reason == MAY_HAVE_ARRIVED)
