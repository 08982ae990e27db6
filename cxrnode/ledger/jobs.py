"""The life of jobs in the ledger: leased, completed, failed.

Hides the SQL of domain.job's law. Promises that each UPDATE repeats the law (`WHERE state = ... AND attempt = ...`),
that a study has one running job at a time, that a job which failed before is claimed alone (a poison image takes
nobody down with it), and that a job which a newer closing replaced is not tried again.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from cxrnode.domain.delivery import DeliveryState
from cxrnode.domain.identity import StudyUID
from cxrnode.domain.job import JOB_TRANSITIONS, JobEvent, JobState
from cxrnode.errors import LeaseLost
from cxrnode.ledger.history import note
from cxrnode.ledger.rows import instance_of
from cxrnode.ledger.schema import (
    deliveries,
    evidence,
    instances,
    is_state,
    job_evidence,
    job_members,
    jobs,
    switches,
)
from cxrnode.ports import Claim, Completion, KeptEvidence

PAUSED = "paused"


def move(
    connection: sa.Connection,
    job: int,
    attempt: int,
    state: JobState,
    event: JobEvent,
    now: datetime,
    *,
    detail: str = "",
    **values: Any,
) -> JobState:
    """Take one step of the law. KeyError for a step it does not know; LeaseLost where the row is not there any more."""
    after = JOB_TRANSITIONS[state, event]
    if state is JobState.IN_PROGRESS and after is not JobState.IN_PROGRESS:
        values |= {"lease_until": None, "incarnation": None}
    moved = connection.execute(
        jobs.update()
        .where(jobs.c.id == job, jobs.c.attempt == attempt, is_state(jobs.c.state, state))
        .values(state=after, attempt=attempt + (event is JobEvent.CLAIM), **values)
    )
    if moved.rowcount == 0:
        raise LeaseLost(operation=f"{event} the job", subject=str(job))
    note(connection, now, "job", job, event, detail)
    return after


def claim(
    connection: sa.Connection, now: datetime, *, limit: int, lease_seconds: float, incarnation: str, exclusive: bool
) -> list[Claim]:
    """Lease due jobs, those of lost leases first. `exclusive`: the lock proves every other incarnation dead."""
    if limit < 1 or connection.execute(sa.select(switches.c.name).where(switches.c.name == PAUSED)).first():
        return []
    lost = connection.execute(_lost(now, incarnation, exclusive=exclusive)).all()
    found = lost or _fresh_first(connection.execute(_due(now, limit)).all())
    for job in found:
        move(
            connection,
            job.id,
            job.attempt,
            JobState(job.state),
            JobEvent.CLAIM,
            now,
            detail=f"attempt {job.attempt + 1}",
            tries=job.tries + 1,
            lease_until=now + timedelta(seconds=lease_seconds),
            incarnation=incarnation,
        )
    return [_claim_of(connection, job) for job in found]


def _fresh_first(found: Sequence[sa.Row[Any]]) -> list[sa.Row[Any]]:
    """Give the first alone where it failed before, else the fresh ones up to the next that did fail."""
    fresh: list[sa.Row[Any]] = []
    for job in found:
        if job.attempt:
            return fresh or [job]
        fresh.append(job)
    return fresh


def _lost(now: datetime, incarnation: str, *, exclusive: bool) -> sa.Select[Any]:
    lost = jobs.c.lease_until <= now
    if exclusive:
        lost |= jobs.c.incarnation != incarnation
    return (
        sa.select(jobs).where(is_state(jobs.c.state, JobState.IN_PROGRESS), lost).order_by(jobs.c.lease_until).limit(1)
    )


def _due(now: datetime, limit: int) -> sa.Select[Any]:
    running = jobs.alias()
    busy = sa.exists().where(running.c.study_uid == jobs.c.study_uid, is_state(running.c.state, JobState.IN_PROGRESS))
    return (
        sa.select(jobs)
        .where(is_state(jobs.c.state, JobState.SCHEDULED), jobs.c.due_at <= now, ~busy)
        .order_by(jobs.c.due_at, jobs.c.id)
        .limit(limit)
    )


def _claim_of(connection: sa.Connection, job: sa.Row[Any]) -> Claim:
    members = connection.execute(
        sa.select(instances, job_members.c.verdict)
        .join(job_members, job_members.c.instance_id == instances.c.id)
        .where(job_members.c.job_id == job.id)
        .order_by(instances.c.id)
    ).all()
    return Claim(
        job=job.id,
        attempt=job.attempt + 1,
        tries=job.tries + 1,
        study_uid=StudyUID(job.study_uid),
        members=tuple(instance_of(row) for row in members),
        verdicts={row.id: row.verdict for row in members},
        models=tuple(job.models),
        destinations=tuple(job.destinations),
        reports=_reports(connection, job.study_uid),
    )


def _reports(connection: sa.Connection, study: str) -> dict[str, str]:
    """Give the report of each kind that the study's jobs stated last, be it this job's own of an earlier run.

    A job that says the same again finds its own report again; one that says something else follows it.
    """
    stated = connection.execute(
        sa.select(evidence.c.kind, evidence.c.sop_instance_uid)
        .join(job_evidence, job_evidence.c.evidence_id == evidence.c.id)
        .where(evidence.c.study_uid == study, evidence.c.kind.startswith("SR"))
        .order_by(job_evidence.c.stated_at, evidence.c.id)
    )
    return {row.kind: row.sop_instance_uid for row in stated}


def renew(
    connection: sa.Connection, claims: Sequence[Claim], now: datetime, *, lease_seconds: float, incarnation: str
) -> None:
    """Move the deadline of the leases still held."""
    for held in claims:
        connection.execute(
            jobs.update()
            .where(
                jobs.c.id == held.job,
                jobs.c.attempt == held.attempt,
                jobs.c.incarnation == incarnation,
                is_state(jobs.c.state, JobState.IN_PROGRESS),
            )
            .values(lease_until=now + timedelta(seconds=lease_seconds))
        )


def complete(connection: sa.Connection, held: Claim, completion: Completion, now: datetime) -> None:
    """Write the job's end with its evidence, outcomes and deliveries; what is already there is left as it is."""
    move(
        connection,
        held.job,
        held.attempt,
        JobState.IN_PROGRESS,
        JobEvent.COMPLETE,
        now,
        ended_at=now,
        reason="",
    )
    for outcome in completion.outcomes:
        summary = dict(outcome.summary) or None
        connection.execute(
            job_members.update()
            .where(job_members.c.job_id == held.job, job_members.c.instance_id == outcome.row)
            .values(outcome=outcome.code, summary=summary)
        )
        connection.execute(
            instances.update().where(instances.c.id == outcome.row).values(code=outcome.code, summary=summary)
        )
    for kept in completion.evidence:
        _add_evidence(connection, held, kept, now)


def _add_evidence(connection: sa.Connection, held: Claim, kept: KeptEvidence, now: datetime) -> None:
    # ON CONFLICT names the one conflict that is expected; OR IGNORE would swallow a broken CHECK, too.
    connection.execute(
        insert(evidence)
        .on_conflict_do_nothing(index_elements=["sop_instance_uid"])
        .values(
            study_uid=held.study_uid,
            kind=kept.kind,
            sop_class_uid=kept.sop_class_uid,
            sop_instance_uid=kept.sop_instance_uid,
            source=kept.source,
            model=kept.model,
            key=kept.key,
            sha256=kept.sha256,
            kept_at=now,
        )
    )
    row = connection.execute(
        sa.select(evidence.c.id).where(evidence.c.sop_instance_uid == kept.sop_instance_uid)
    ).scalar_one()
    connection.execute(
        insert(job_evidence)
        .values(job_id=held.job, evidence_id=row, stated_at=now)
        .on_conflict_do_update(index_elements=["job_id", "evidence_id"], set_={"stated_at": now})
    )
    for destination in kept.destinations:
        connection.execute(
            insert(deliveries)
            .on_conflict_do_nothing(index_elements=["evidence_id", "destination"])
            .values(
                evidence_id=row,
                destination=destination,
                state=DeliveryState.PENDING,
                attempt=0,
                tries=0,
                due_at=now,
                reason="",
            )
        )


def fail(connection: sa.Connection, held: Claim, *, due_at: datetime | None, reason: str, now: datetime) -> None:
    """Schedule the job again, or park it; cancel it where a newer closing has replaced it meanwhile."""
    replaced = is_replaced(connection, held.job, held.study_uid)
    # A replaced job is never SCHEDULED, not even within this transaction: the one that replaced it waits there.
    retry = due_at is not None and not replaced
    event, values = (JobEvent.RETRY, {"due_at": due_at}) if retry else (JobEvent.PARK, {})
    after = move(
        connection, held.job, held.attempt, JobState.IN_PROGRESS, event, now, detail=reason, reason=reason, **values
    )
    if replaced:
        move(connection, held.job, held.attempt, after, JobEvent.CANCEL, now, ended_at=now)


def is_replaced(connection: sa.Connection, job: int, study: str) -> bool:
    newer = sa.select(jobs.c.id).where(jobs.c.study_uid == study, jobs.c.id > job, jobs.c.state != JobState.CANCELED)
    return connection.execute(newer.limit(1)).first() is not None
