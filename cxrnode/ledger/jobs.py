"""The life of jobs in the ledger: leased and failed; see completing for its end.

Hides the SQL of domain.job's law. Promises that each UPDATE repeats the law (`WHERE state = ... AND attempt = ...`),
that a study has one running job at a time, that a job which failed before is claimed alone (a poison image takes
nobody down with it), and that a job which a newer closing replaced is not tried again.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from cxrnode.domain.identity import StudyUID
from cxrnode.domain.job import JOB_TRANSITIONS, JobEvent, JobState
from cxrnode.errors import LeaseLost
from cxrnode.ledger.history import note
from cxrnode.ledger.rows import instance_of
from cxrnode.ledger.schema import instances, is_state, job_members, jobs, switches
from cxrnode.ledger.stated import latest_reports, reports_at, retracted_by, superseded
from cxrnode.ledger.turns import Turns
from cxrnode.ports import Claim

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
    connection: sa.Connection,
    now: datetime,
    *,
    limit: int,
    lease_seconds: float,
    incarnation: str,
    exclusive: bool,
    turns: Turns,
) -> list[Claim]:
    """Lease due jobs of one class, those of lost leases first. `exclusive`: every other incarnation is dead (lock)."""
    if limit < 1 or connection.execute(sa.select(switches.c.name).where(switches.c.name == PAUSED)).first():
        return []
    lost = connection.execute(_lost(now, incarnation, exclusive=exclusive)).all()
    found = lost or turns.take("jobs", lambda priority: _fresh_first(_due(connection, now, limit, priority)))
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


def _due(connection: sa.Connection, now: datetime, limit: int, priority: int) -> Sequence[sa.Row[Any]]:
    running = jobs.alias()
    busy = sa.exists().where(running.c.study_uid == jobs.c.study_uid, is_state(running.c.state, JobState.IN_PROGRESS))
    waiting = is_state(jobs.c.state, JobState.SCHEDULED) & (jobs.c.priority == priority)
    return connection.execute(
        sa.select(jobs).where(waiting, jobs.c.due_at <= now, ~busy).order_by(jobs.c.due_at, jobs.c.id).limit(limit)
    ).all()


def _claim_of(connection: sa.Connection, job: sa.Row[Any]) -> Claim:
    members = connection.execute(
        sa.select(instances, job_members.c.verdict)
        .join(job_members, job_members.c.instance_id == instances.c.id)
        .where(job_members.c.job_id == job.id)
        .order_by(instances.c.id)
    ).all()
    retracts = retracted_by(connection, job.id)
    return Claim(
        job=job.id,
        attempt=job.attempt + 1,
        tries=job.tries + 1,
        study_uid=StudyUID(job.study_uid),
        members=tuple(instance_of(row) for row in members),
        verdicts={row.id: row.verdict for row in members},
        models=tuple(job.models),
        destinations=tuple(job.destinations),
        reports=latest_reports(connection, job.study_uid),
        reports_at=reports_at(connection, job.study_uid),
        retracts=retracts,
        superseded=() if retracts else superseded(connection, job.study_uid),
    )


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


def fail(
    connection: sa.Connection, held: Claim, *, due_at: datetime | None, reason: str, now: datetime, counts: bool = True
) -> None:
    """Schedule the job again, or park it; cancel it where a newer closing has replaced it meanwhile.

    Where the attempt does not count, its try is given back.
    """
    replaced = is_replaced(connection, held.job, held.study_uid)
    # A replaced job is never SCHEDULED, not even within this transaction: the one that replaced it waits there.
    retry = due_at is not None and not replaced
    event: JobEvent = JobEvent.RETRY if retry else JobEvent.PARK
    values: dict[str, Any] = {"due_at": due_at} if retry else {}
    if not counts:
        values["tries"] = held.tries - 1
    after = move(
        connection, held.job, held.attempt, JobState.IN_PROGRESS, event, now, detail=reason, reason=reason, **values
    )
    if replaced:
        move(connection, held.job, held.attempt, after, JobEvent.CANCEL, now, ended_at=now)


def is_replaced(connection: sa.Connection, job: int, study: str) -> bool:
    """Tell whether a newer job of the study, be it a retraction, took this one's place."""
    return newest(connection, study, job) is not None


def newest(connection: sa.Connection, study: str, job: int) -> int | None:
    """Give the number of the newest job of the study after this one, None where this one is the last."""
    newer = sa.select(jobs.c.id).where(jobs.c.study_uid == study, jobs.c.id > job, jobs.c.state != JobState.CANCELED)
    return connection.execute(newer.order_by(jobs.c.id.desc()).limit(1)).scalar()
