"""Taking results back, and stating them again: an operator's two ways to change what a study's results are.

Hides which jobs a retraction covers. Promises that a retraction covers the study's job and all that stated something
before it (an archive that hides the newest report would show the one before), that nothing of theirs which is not sent
yet goes out, and that what cannot be is refused with the reason and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from cxrnode.domain.job import JobEvent, JobState
from cxrnode.domain.reasons import OPERATORS_RETRACTIONS
from cxrnode.errors import NeedsOperator
from cxrnode.ledger import sending
from cxrnode.ledger.history import note
from cxrnode.ledger.jobs import move, newest
from cxrnode.ledger.retaining import require_images
from cxrnode.ledger.schema import (
    StudyState,
    deliveries,
    job_evidence,
    job_members,
    jobs,
    retractions,
    studies,
)
from cxrnode.ledger.stated import jobs_to_retract, stated_by
from cxrnode.ports import StatedEvidence

_LIST = "list the study's jobs with `cxrnode jobs list`"


def to_retract(connection: sa.Connection, job: int) -> tuple[StatedEvidence, ...]:
    """Give what `schedule` would take back. Raises NeedsOperator where it would refuse."""
    found = _retractable(connection, job)
    return stated_by(connection, jobs_to_retract(found.study_uid, job))


def schedule(connection: sa.Connection, job: int, because: str, now: datetime) -> int:
    """Schedule a job that says that the results of this one were taken back; give its number.

    What is not sent yet is withdrawn here and now. Raises NeedsOperator, with nothing changed, where the job is not the
    study's completed last one, stated nothing, is a retraction or was retracted, or where the study is open.
    """
    if because not in OPERATORS_RETRACTIONS:
        raise _refused(job, "there is no such reason", f"one of {', '.join(OPERATORS_RETRACTIONS)}")
    found = _retractable(connection, job)
    taken = connection.execute(jobs_to_retract(found.study_uid, job)).scalars().all()
    retraction = _add_job(connection, found, [], _told(connection, found, taken), now)
    for one in taken:
        connection.execute(retractions.insert().values(job_id=one, retraction_id=retraction, because=because))
        note(connection, now, "job", one, "retracted", f"by job {retraction}: {because}")
    note(connection, now, "job", retraction, "scheduled", f"takes back job {job}: {because}")
    for way in connection.execute(_ways_of(taken)).all():
        sending.withdraw_waiting(connection, way, sending.TAKEN_BACK, now)
    return retraction


def _retractable(connection: sa.Connection, job: int) -> sa.Row[Any]:
    found = connection.execute(sa.select(jobs).where(jobs.c.id == job)).first()
    if found is None:
        raise _refused(job, "there is no such job", _LIST)
    if retraction := retraction_of(connection, job):
        raise _refused(job, f"its results were taken back already, by job {retraction.id}", _STATE_AGAIN)
    if connection.execute(sa.select(retractions).where(retractions.c.retraction_id == job)).first():
        raise _refused(job, "it is a retraction itself", _STATE_AGAIN)
    if newer := newest(connection, found.study_uid, job):
        raise _refused(job, f"job {newer} of its study took its place", f"retract job {newer}, once it has ended")
    if found.state != JobState.COMPLETED:
        raise _refused(job, f"it is {found.state}; only a completed job has results", _LIST)
    study = connection.execute(sa.select(studies.c.state).where(studies.c.study_uid == found.study_uid)).scalar()
    if study == StudyState.OPEN:
        raise _refused(job, "its study is open: a newer job will take its place", "wait for it, then retract that one")
    if not stated_by(connection, jobs_to_retract(found.study_uid, job)):
        raise _refused(job, "it stated nothing that could be taken back", _LIST)
    require_images(connection, job, "retract the job")
    return found


_STATE_AGAIN = "`cxrnode jobs retry` with the number of the retracted job states its results again"


def retraction_of(connection: sa.Connection, job: int) -> sa.Row[Any] | None:
    """Give the job that took this one's results back, None where they stand."""
    return connection.execute(
        sa.select(jobs).join(retractions, retractions.c.retraction_id == jobs.c.id).where(retractions.c.job_id == job)
    ).first()


def restate(connection: sa.Connection, job: sa.Row[Any], retraction: sa.Row[Any], now: datetime) -> int:
    """Schedule a job that states again what was taken back; give its number.

    A retraction that has not begun is canceled, and never was. One that was told stays told: the new job's report
    follows the retraction's. Raises NeedsOperator, with nothing changed, while the retraction runs and where a newer
    job took its place.
    """
    covered = sa.select(sa.func.max(retractions.c.job_id)).where(retractions.c.retraction_id == retraction.id)
    if connection.execute(covered).scalar() != job.id or newest(connection, job.study_uid, retraction.id):
        raise _refused(job.id, "a newer job of its study replaced it", _LIST, "retry the job")
    if retraction.state == JobState.IN_PROGRESS:
        hint = "try again when it has ended"
        raise _refused(job.id, f"its retraction, job {retraction.id}, is running", hint, "retry the job")
    require_images(connection, job.id, "retry the job")
    if retraction.state != JobState.COMPLETED:
        connection.execute(retractions.delete().where(retractions.c.retraction_id == retraction.id))
        state = JobState(retraction.state)
        move(connection, retraction.id, retraction.attempt, state, JobEvent.CANCEL, now, ended_at=now)
    again = _add_job(connection, job, list(job.models), list(job.destinations), now)
    note(connection, now, "job", again, "scheduled", f"states job {job.id} again")
    return again


def _add_job(
    connection: sa.Connection, like: sa.Row[Any], models: list[str], destinations: list[str], now: datetime
) -> int:
    """Add a job on the same study with the same members and verdicts."""
    added = connection.execute(
        jobs.insert().values(
            study_uid=like.study_uid,
            generation=like.generation,
            state=JobState.SCHEDULED,
            attempt=0,
            tries=0,
            due_at=now,
            models=models,
            destinations=destinations,
            reason="",
            scheduled_at=now,
            priority=like.priority,
        )
    )
    job = int(added.inserted_primary_key[0]) if added.inserted_primary_key else 0
    members = sa.select(sa.literal(job), job_members.c.instance_id, job_members.c.verdict)
    connection.execute(
        job_members.insert().from_select(
            ["job_id", "instance_id", "verdict"], members.where(job_members.c.job_id == like.id)
        )
    )
    return job


def _told(connection: sa.Connection, job: sa.Row[Any], taken: Iterable[int]) -> list[str]:
    """Give the job's destinations, and those that only an earlier job sent something to."""
    sent = {way.destination for way in connection.execute(_ways_of(taken))}
    return [*job.destinations, *sorted(sent.difference(job.destinations))]


def _ways_of(taken: Iterable[int]) -> sa.Select[Any]:
    stated = sa.select(job_evidence.c.evidence_id).where(job_evidence.c.job_id.in_(list(taken)))
    return sa.select(deliveries).where(deliveries.c.evidence_id.in_(stated)).order_by(deliveries.c.id)


def _refused(job: int, happened: str, hint: str, operation: str = "retract the job") -> NeedsOperator:
    return NeedsOperator(happened, operation=operation, subject=str(job), hint=hint)
