"""What destinations said they take, and what follows where one takes no such class.

Hides how an answer is stored. Promises that declining withdraws the delivery and brings its job back in one
transaction, so that something else goes out in its place.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from cxrnode.domain.delivery import Delivery, DeliveryEvent, DeliveryState
from cxrnode.domain.job import JobEvent, JobState
from cxrnode.errors import LeaseLost
from cxrnode.ledger.jobs import is_replaced, move
from cxrnode.ledger.schema import capabilities, deliveries, is_state, job_evidence, jobs
from cxrnode.ledger.sending import move as move_delivery


def accepted(connection: sa.Connection, destination: str) -> frozenset[str] | None:
    """Give the SOP classes that a destination said it takes; None where it was never asked."""
    said = sa.select(capabilities.c.classes).where(capabilities.c.destination == destination)
    found = connection.execute(said).scalar()
    return None if found is None else frozenset(found)


def record_accepted(connection: sa.Connection, destination: str, classes: Collection[str], now: datetime) -> None:
    """Write what a destination takes, in place of what it said before."""
    said = {"asked_at": now, "classes": sorted(classes)}
    connection.execute(
        insert(capabilities)
        .values(destination=destination, **said)
        .on_conflict_do_update(index_elements=["destination"], set_=said)
    )


def forget_accepted(connection: sa.Connection, destinations: Collection[str]) -> None:
    """Forget what these destinations said: they are asked anew before anything is sent to them."""
    connection.execute(capabilities.delete().where(capabilities.c.destination.in_(list(destinations))))


def decline(connection: sa.Connection, delivery: Delivery, *, reason: str, now: datetime) -> frozenset[int]:
    """Withdraw it, and let the study's last job run again where it stated this; give the rows that were withdrawn.

    What else of the jobs that stated this is not sent there yet is withdrawn as well, also where the last one is to run
    anyway: it may refer to what the destination does not take. That job states again what stays. LeaseLost where
    somebody else has it.
    """
    moved = move_delivery(
        connection,
        delivery.row,
        delivery.attempt,
        DeliveryState.SENDING,
        DeliveryEvent.WITHDRAW,
        now,
        detail=reason,
        reason=reason,
    )
    if not moved:
        raise LeaseLost(operation="decline the delivery", subject=delivery.sop_instance_uid)
    of = sa.select(deliveries.c.evidence_id).where(deliveries.c.id == delivery.row).scalar_subquery()
    stated = sa.select(job_evidence.c.job_id).where(job_evidence.c.evidence_id == of)
    gone = {delivery.row}
    for job in connection.execute(sa.select(jobs).where(jobs.c.id.in_(stated))).all():
        if is_replaced(connection, job.id, job.study_uid):
            continue
        if job.state == JobState.COMPLETED:
            move(
                connection, job.id, job.attempt, JobState.COMPLETED, JobEvent.REQUEUE, now,
                detail=reason, tries=0, due_at=now, reason="", ended_at=None,
            )  # fmt: skip
        gone |= _withdraw_the_rest(connection, stated, delivery.destination, reason, now)
    return frozenset(gone)


def _withdraw_the_rest(
    connection: sa.Connection, of: sa.Select[Any], destination: str, reason: str, now: datetime
) -> set[int]:
    of_jobs = sa.select(job_evidence.c.evidence_id).where(job_evidence.c.job_id.in_(of))
    unsent = sa.or_(
        is_state(deliveries.c.state, DeliveryState.PENDING), is_state(deliveries.c.state, DeliveryState.SENDING)
    )
    found = connection.execute(
        sa.select(deliveries).where(
            deliveries.c.evidence_id.in_(of_jobs), deliveries.c.destination == destination, unsent
        )
    ).all()
    for row in found:
        state = DeliveryState(row.state)
        move_delivery(connection, row.id, row.attempt, state, DeliveryEvent.WITHDRAW, now, detail=reason, reason=reason)
    return {row.id for row in found}
