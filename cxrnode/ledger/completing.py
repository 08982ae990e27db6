"""Completing a job: its end, its outcomes, what it states, and what follows for every delivery, in one transaction.

Hides which deliveries are new, come back or are withdrawn. Promises that what a job stated before and states no more
is withdrawn where it is not sent, that what is objected to is parked before anybody can claim it, and that what is
sent stays as it is.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from cxrnode.domain.delivery import DeliveryEvent, DeliveryState
from cxrnode.domain.job import JobEvent, JobState
from cxrnode.ledger import jobs, sending
from cxrnode.ledger.schema import deliveries, evidence, instances, job_evidence, job_members
from cxrnode.ledger.schema import jobs as jobs_table
from cxrnode.ports import Claim, Completion, KeptEvidence, Outcome

NOT_STATED = "its job states it no more"


def complete(connection: sa.Connection, held: Claim, completion: Completion, now: datetime) -> None:
    """Write the job's end with its evidence, outcomes and deliveries. LeaseLost where somebody else has it."""
    jobs.move(
        connection,
        held.job,
        held.attempt,
        JobState.IN_PROGRESS,
        JobEvent.COMPLETE,
        now,
        ended_at=now,
        reason="",
        fallbacks={name: list(sentences) for name, sentences in completion.fallbacks.items()},
    )
    for outcome in completion.outcomes:
        _write_outcome(connection, held.job, outcome)
    priority = connection.execute(sa.select(jobs_table.c.priority).where(jobs_table.c.id == held.job)).scalar_one()
    stated_at = _after_all_stated(connection, held.study_uid, now)
    for kept in completion.evidence:
        _state(connection, held, kept, now, stated_at, priority)
    _withdraw_unstated(connection, held.job, completion.evidence, now)


def _after_all_stated(connection: sa.Connection, study: str, now: datetime) -> datetime:
    """Give `now`, or a time after all that the study stated before, where the clock was set back since."""
    of_study = sa.select(evidence.c.id).where(evidence.c.study_uid == study)
    latest: datetime | None = connection.execute(
        sa.select(sa.func.max(job_evidence.c.stated_at, type_=job_evidence.c.stated_at.type)).where(
            job_evidence.c.evidence_id.in_(of_study)
        )
    ).scalar()
    return now if latest is None or latest < now else latest + timedelta(microseconds=1)


def _write_outcome(connection: sa.Connection, job: int, outcome: Outcome) -> None:
    values = {"summary": dict(outcome.summary) or None}
    connection.execute(
        job_members.update()
        .where(job_members.c.job_id == job, job_members.c.instance_id == outcome.row)
        .values(outcome=outcome.code, **values)
    )
    connection.execute(instances.update().where(instances.c.id == outcome.row).values(code=outcome.code, **values))


def _state(
    connection: sa.Connection, held: Claim, kept: KeptEvidence, now: datetime, stated_at: datetime, priority: int
) -> None:
    known = connection.execute(
        sa.select(evidence.c.id, evidence.c.objection, evidence.c.swept_at).where(
            evidence.c.sop_instance_uid == kept.sop_instance_uid
        )
    ).first()
    row = known.id if known else _add(connection, held, kept, now)
    if known and (known.objection != kept.objection or known.swept_at):
        # Stated again, it was composed again where its bytes were swept.
        is_now = {"objection": kept.objection, "swept_at": None}
        connection.execute(evidence.update().where(evidence.c.id == row).values(**is_now))
    connection.execute(
        insert(job_evidence)
        .values(job_id=held.job, evidence_id=row, stated_at=stated_at)
        .on_conflict_do_update(index_elements=["job_id", "evidence_id"], set_={"stated_at": stated_at})
    )
    for destination in kept.destinations:
        _send(connection, row, destination, now, priority)
        _settle(connection, row, destination, kept.objection, known.objection if known else "", now)


def _add(connection: sa.Connection, held: Claim, kept: KeptEvidence, now: datetime) -> int:
    added = connection.execute(
        evidence.insert().values(
            study_uid=held.study_uid,
            kind=kept.kind,
            sop_class_uid=kept.sop_class_uid,
            sop_instance_uid=kept.sop_instance_uid,
            source=kept.source,
            model=kept.model,
            key=kept.key,
            sha256=kept.sha256,
            kept_at=now,
            objection=kept.objection,
        )
    )
    return int(added.inserted_primary_key[0]) if added.inserted_primary_key else 0


def _send(connection: sa.Connection, row: int, destination: str, now: datetime, priority: int) -> None:
    # ON CONFLICT names the one conflict that is expected; OR IGNORE would swallow a broken CHECK, too.
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
            priority=priority,
        )
    )


def _settle(
    connection: sa.Connection, row: int, destination: str, objection: str, objected: str, now: datetime
) -> None:
    """Bring back what was withdrawn, or parked for the objection that there was, and park what is objected to."""
    way = connection.execute(
        sa.select(deliveries).where(deliveries.c.evidence_id == row, deliveries.c.destination == destination)
    ).one()
    state = DeliveryState(way.state)
    was_objected = state is DeliveryState.PARKED and objected and way.reason == objected
    if state is DeliveryState.WITHDRAWN or was_objected:
        sending.requeue(connection, way, now)
        state = DeliveryState.PENDING
    if objection and state is DeliveryState.PENDING:
        sending.move(
            connection, way.id, way.attempt, state, DeliveryEvent.PARK, now, detail=objection, reason=objection
        )


def _withdraw_unstated(connection: sa.Connection, job: int, stated: Collection[KeptEvidence], now: datetime) -> None:
    """Withdraw what waits of this job's earlier statements. That an earlier job stated it, too, does not keep it."""
    wanted = {(kept.sop_instance_uid, destination) for kept in stated for destination in kept.destinations}
    before = (
        sa.select(deliveries, evidence.c.sop_instance_uid)
        .join(evidence, evidence.c.id == deliveries.c.evidence_id)
        .join(job_evidence, job_evidence.c.evidence_id == evidence.c.id)
        .where(job_evidence.c.job_id == job)
        .order_by(deliveries.c.id)
    )
    for way in connection.execute(before).all():
        if (way.sop_instance_uid, way.destination) not in wanted:
            sending.withdraw_waiting(connection, way, NOT_STATED, now)
