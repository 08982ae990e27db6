"""Closing a study: its membership is fixed, and its job is scheduled, in one transaction.

Hides how an earlier job gives way. Promises that a closing which has not seen an instance writes nothing, and that a
study with a conflict that nobody has looked at, or with images that were swept, gets a job that is born parked.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa

from cxrnode.domain.job import JobEvent, JobState
from cxrnode.ledger.history import note
from cxrnode.ledger.jobs import move
from cxrnode.ledger.retaining import SWEPT, lacks
from cxrnode.ledger.schema import Standing, StudyState, instances, is_state, job_members, jobs, studies
from cxrnode.ledger.stated import has_untold_retraction
from cxrnode.ports import Membership, Verdict

CONFLICT = "conflict"
"""The reason that such a job is parked for, a key of selection.REASONS."""


def close(
    connection: sa.Connection,
    membership: Membership,
    verdicts: Sequence[Verdict],
    *,
    models: Sequence[str],
    destinations: Sequence[str],
    now: datetime,
    schedule: bool,
    priority: int,
) -> int | None:
    """Close a study over exactly this membership; give the number of its job.

    None where an instance came in between, where a retraction waits to be told, and where `schedule` is false.
    """
    study = membership.study_uid
    closed = connection.execute(
        studies.update()
        .where(
            studies.c.study_uid == study,
            studies.c.generation == membership.generation,
            is_state(studies.c.state, StudyState.OPEN),
            ~has_untold_retraction(studies.c.study_uid),
        )
        .values(state=StudyState.CLOSED)
    )
    if closed.rowcount == 0:
        return None
    note(connection, now, "study", study, "closed", f"{len(membership.instances)} instances")
    _cancel_replaced(connection, study, now)
    for verdict in verdicts:
        connection.execute(instances.update().where(instances.c.id == verdict.row).values(code=verdict.code))
    if not schedule:
        return None
    return _schedule(connection, membership, verdicts, list(models), list(destinations), now, priority)


def _schedule(
    connection: sa.Connection,
    membership: Membership,
    verdicts: Sequence[Verdict],
    models: list[str],
    destinations: list[str],
    now: datetime,
    priority: int,
) -> int:
    parked = _why_parked(connection, membership.study_uid, verdicts)
    added = connection.execute(
        jobs.insert().values(
            study_uid=membership.study_uid,
            generation=membership.generation,
            state=JobState.PARKED if parked else JobState.SCHEDULED,
            attempt=0,
            tries=0,
            due_at=now,
            models=models,
            destinations=destinations,
            reason=parked,
            scheduled_at=now,
            priority=priority,
        )
    )
    job = int(added.inserted_primary_key[0]) if added.inserted_primary_key else 0
    code_of = {verdict.row: verdict.code for verdict in verdicts}
    rows = [
        {"job_id": job, "instance_id": instance.row, "verdict": code_of.get(instance.row, "")}
        for instance in membership.instances
    ]
    if rows:
        connection.execute(job_members.insert(), rows)
    note(connection, now, "job", job, "parked" if parked else "scheduled", parked)
    return job


def conflicts(study: str) -> sa.ColumnElement[bool]:
    """Rows that came with other pixels under the UID of a current member of the study."""
    member = instances.alias()
    uids = sa.select(member.c.sop_instance_uid).where(
        member.c.study_uid == study, is_state(member.c.standing, Standing.CURRENT)
    )
    return instances.c.sop_instance_uid.in_(uids) & (instances.c.standing == Standing.CONFLICT) & instances.c.candidate


def _why_parked(connection: sa.Connection, study: str, verdicts: Sequence[Verdict]) -> str:
    """Say why the job is born parked; empty where it is not."""
    if _in_conflict(connection, study):
        return CONFLICT
    return SWEPT if lacks(connection, {verdict.row: verdict.code for verdict in verdicts}) else ""


def _in_conflict(connection: sa.Connection, study: str) -> bool:
    return connection.execute(sa.select(instances.c.id).where(conflicts(study)).limit(1)).first() is not None


def _cancel_replaced(connection: sa.Connection, study: str, now: datetime) -> None:
    """Cancel the study's jobs that have not begun or wait for a person: the new closing covers their members."""
    for state in (JobState.SCHEDULED, JobState.PARKED):
        replaced = connection.execute(
            sa.select(jobs.c.id, jobs.c.attempt).where(jobs.c.study_uid == study, is_state(jobs.c.state, state))
        ).all()
        for job in replaced:
            move(connection, job.id, job.attempt, state, JobEvent.CANCEL, now, ended_at=now)
