"""The life of deliveries in the ledger: leased, sent, back in the queue, or withdrawn; see committing for the rest.

Hides the SQL of domain.delivery's law. Promises that each UPDATE repeats it, that destinations never wait for each
other, and that what was taken back is not sent any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from cxrnode.domain.delivery import DELIVERY_TRANSITIONS, Delivery, DeliveryEvent, DeliveryState
from cxrnode.errors import LeaseLost
from cxrnode.ledger.history import note
from cxrnode.ledger.rows import DELIVERY_COLUMNS, delivery_of
from cxrnode.ledger.schema import deliveries, evidence, is_state
from cxrnode.ledger.stated import MAY_HAVE_ARRIVED, is_taken_back
from cxrnode.ledger.turns import Turns

TAKEN_BACK = "its results were taken back"
_WAITING = (DeliveryState.PENDING, DeliveryState.PARKED)


def move(
    connection: sa.Connection,
    row: int,
    attempt: int,
    state: DeliveryState,
    event: DeliveryEvent,
    now: datetime,
    *,
    detail: str = "",
    **values: Any,
) -> bool:
    """Take one step of the law. False where the row has moved on; KeyError for a step the law does not know."""
    after = DELIVERY_TRANSITIONS[state, event]
    if state is DeliveryState.SENDING and after is not DeliveryState.SENDING:
        values |= {"lease_until": None, "incarnation": None}
    if state is DeliveryState.SENT:
        values |= {"ask_at": None}
    moved = connection.execute(
        deliveries.update()
        .where(deliveries.c.id == row, deliveries.c.attempt == attempt, is_state(deliveries.c.state, state))
        .values(state=after, attempt=attempt + (event is DeliveryEvent.CLAIM), **values)
    )
    if moved.rowcount:
        note(connection, now, "delivery", row, event, detail)
    return moved.rowcount == 1


def _fenced(moved: bool, event: DeliveryEvent, delivery: Delivery) -> None:
    if not moved:
        raise LeaseLost(operation=f"{event} the delivery", subject=delivery.sop_instance_uid)


def claim(
    connection: sa.Connection,
    destination: str,
    now: datetime,
    *,
    limit: int,
    lease_seconds: float,
    incarnation: str,
    exclusive: bool,
    turns: Turns,
) -> list[Delivery]:
    """Lease due deliveries of one destination, those of lost leases first, then the oldest of one class."""
    found = []
    for row in connection.execute(_lost(destination, now, limit, incarnation, exclusive=exclusive)).all():
        if not withdraw_taken_back(connection, row.id, row.attempt, DeliveryState.SENDING, MAY_HAVE_ARRIVED, now):
            found.append(row)
    left = limit - len(found)
    if left > 0:
        found += turns.take(destination, lambda priority: _due(connection, destination, now, left, priority))
    for row in found:
        move(
            connection,
            row.id,
            row.attempt,
            DeliveryState(row.state),
            DeliveryEvent.CLAIM,
            now,
            tries=row.tries + 1,
            lease_until=now + timedelta(seconds=lease_seconds),
            incarnation=incarnation,
        )
    return [delivery_of(row, claimed=True) for row in found]


def chosen() -> sa.Select[Any]:
    """Choose deliveries with what is known of their evidence."""
    return sa.select(*DELIVERY_COLUMNS).join(evidence, evidence.c.id == deliveries.c.evidence_id)


def _lost(destination: str, now: datetime, limit: int, incarnation: str, *, exclusive: bool) -> sa.Select[Any]:
    lost = deliveries.c.lease_until <= now
    if exclusive:
        lost |= deliveries.c.incarnation != incarnation
    here = (deliveries.c.destination == destination) & is_state(deliveries.c.state, DeliveryState.SENDING)
    return chosen().where(here, lost).order_by(deliveries.c.lease_until).limit(limit)


def _due(
    connection: sa.Connection, destination: str, now: datetime, limit: int, priority: int
) -> Sequence[sa.Row[Any]]:
    here = (deliveries.c.destination == destination) & is_state(deliveries.c.state, DeliveryState.PENDING)
    return connection.execute(
        chosen()
        .where(here, deliveries.c.priority == priority, deliveries.c.due_at <= now)
        .order_by(deliveries.c.due_at, deliveries.c.id)
        .limit(limit)
    ).all()


def mark_sent(connection: sa.Connection, delivery: Delivery, now: datetime, *, ask_at: datetime | None) -> None:
    """The peer took it; LeaseLost where somebody else has it."""
    moved = move(
        connection,
        delivery.row,
        delivery.attempt,
        DeliveryState.SENDING,
        DeliveryEvent.STORED,
        now,
        sent_at=now,
        ask_at=ask_at,
        reason="",
    )
    _fenced(moved, DeliveryEvent.STORED, delivery)


def fail(
    connection: sa.Connection,
    delivery: Delivery,
    *,
    due_at: datetime | None,
    reason: str,
    now: datetime,
    counts: bool = True,
) -> None:
    """Back in the queue for `due_at`, or parked where that is None; LeaseLost where somebody else has it.

    Where the attempt does not count, its try is given back. What was taken back while it was on its way is withdrawn:
    nothing is to bring it out again.
    """
    event = DeliveryEvent.PARK if due_at is None else DeliveryEvent.RETRY
    later: dict[str, Any] = {} if due_at is None else {"due_at": due_at}
    if not counts:
        later["tries"] = delivery.tries - 1
    moved = move(
        connection,
        delivery.row,
        delivery.attempt,
        DeliveryState.SENDING,
        event,
        now,
        detail=reason,
        reason=reason,
        **later,
    )
    _fenced(moved, event, delivery)
    after = DELIVERY_TRANSITIONS[DeliveryState.SENDING, event]
    withdraw_taken_back(connection, delivery.row, delivery.attempt, after, TAKEN_BACK, now)


def requeue(connection: sa.Connection, row: sa.Row[Any], now: datetime) -> None:
    """Queue a parked or withdrawn row of `deliveries` anew."""
    state = DeliveryState(row.state)
    move(connection, row.id, row.attempt, state, DeliveryEvent.REQUEUE, now, tries=0, due_at=now, reason="")


def withdraw_waiting(connection: sa.Connection, row: sa.Row[Any], reason: str, now: datetime) -> None:
    """Withdraw a row of `deliveries` where it waits to be sent or for an operator; any other stays."""
    state = DeliveryState(row.state)
    if state in _WAITING:
        move(connection, row.id, row.attempt, state, DeliveryEvent.WITHDRAW, now, detail=reason, reason=reason)


def withdraw_taken_back(
    connection: sa.Connection, row: int, attempt: int, state: DeliveryState, reason: str, now: datetime
) -> bool:
    """Withdraw the delivery where no job whose results stand states its evidence; tell whether that is so."""
    taken = connection.execute(
        sa.select(deliveries.c.id).where(deliveries.c.id == row, is_taken_back(deliveries.c.evidence_id))
    ).first()
    return taken is not None and move(
        connection, row, attempt, state, DeliveryEvent.WITHDRAW, now, detail=reason, reason=reason
    )
