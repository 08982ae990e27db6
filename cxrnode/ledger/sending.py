"""The life of deliveries in the ledger: leased, sent, committed, or back in the queue.

Hides the SQL of domain.delivery's law. Promises that each UPDATE repeats it, that destinations never wait for each
other, and that a storage commitment report (PS3.4 J.3.3) moves only what its own transaction asked about: one that
comes twice, or late, after the object was sent again, changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from cxrnode.domain.delivery import DELIVERY_TRANSITIONS, Delivery, DeliveryEvent, DeliveryState
from cxrnode.errors import LeaseLost
from cxrnode.ledger.history import note
from cxrnode.ledger.rows import DELIVERY_COLUMNS, delivery_of
from cxrnode.ledger.schema import commitment_deliveries, commitments, deliveries, evidence, is_state
from cxrnode.ledger.stated import MAY_HAVE_ARRIVED, is_taken_back

TAKEN_BACK = "its results were taken back"


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
) -> list[Delivery]:
    """Lease due deliveries of one destination, those of lost leases first, then the oldest."""
    found = []
    for row in connection.execute(_lost(destination, now, limit, incarnation, exclusive=exclusive)).all():
        if not _withdraw_taken_back(connection, row.id, row.attempt, DeliveryState.SENDING, MAY_HAVE_ARRIVED, now):
            found.append(row)
    found += connection.execute(_due(destination, now, limit - len(found)))
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


def _chosen() -> sa.Select[Any]:
    return sa.select(*DELIVERY_COLUMNS).join(evidence, evidence.c.id == deliveries.c.evidence_id)


def _lost(destination: str, now: datetime, limit: int, incarnation: str, *, exclusive: bool) -> sa.Select[Any]:
    lost = deliveries.c.lease_until <= now
    if exclusive:
        lost |= deliveries.c.incarnation != incarnation
    here = (deliveries.c.destination == destination) & is_state(deliveries.c.state, DeliveryState.SENDING)
    return _chosen().where(here, lost).order_by(deliveries.c.lease_until).limit(limit)


def _due(destination: str, now: datetime, limit: int) -> sa.Select[Any]:
    here = (deliveries.c.destination == destination) & is_state(deliveries.c.state, DeliveryState.PENDING)
    return (
        _chosen()
        .where(here, deliveries.c.due_at <= now)
        .order_by(deliveries.c.due_at, deliveries.c.id)
        .limit(max(limit, 0))
    )


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


def fail(connection: sa.Connection, delivery: Delivery, *, due_at: datetime | None, reason: str, now: datetime) -> None:
    """Back in the queue for `due_at`, or parked where that is None; LeaseLost where somebody else has it.

    What was taken back while it was on its way is withdrawn: nothing is to bring it out again.
    """
    event = DeliveryEvent.PARK if due_at is None else DeliveryEvent.RETRY
    later = {} if due_at is None else {"due_at": due_at}
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
    _withdraw_taken_back(connection, delivery.row, delivery.attempt, after, TAKEN_BACK, now)


def requeue(connection: sa.Connection, row: sa.Row[Any], now: datetime) -> None:
    """Queue a parked or withdrawn row of `deliveries` anew."""
    state = DeliveryState(row.state)
    move(connection, row.id, row.attempt, state, DeliveryEvent.REQUEUE, now, tries=0, due_at=now, reason="")


def withdraw_waiting(connection: sa.Connection, row: sa.Row[Any], reason: str, now: datetime) -> None:
    """Withdraw a row of `deliveries` where it waits to be sent or for an operator; any other stays."""
    state = DeliveryState(row.state)
    if state in _WAITING:
        move(connection, row.id, row.attempt, state, DeliveryEvent.WITHDRAW, now, detail=reason, reason=reason)


_WAITING = (DeliveryState.PENDING, DeliveryState.PARKED)


def _withdraw_taken_back(
    connection: sa.Connection, row: int, attempt: int, state: DeliveryState, reason: str, now: datetime
) -> bool:
    taken = connection.execute(
        sa.select(deliveries.c.id).where(deliveries.c.id == row, is_taken_back(deliveries.c.evidence_id))
    ).first()
    return taken is not None and move(
        connection, row, attempt, state, DeliveryEvent.WITHDRAW, now, detail=reason, reason=reason
    )


def begin_commitment(
    connection: sa.Connection,
    destination: str,
    transaction_uid: str,
    now: datetime,
    *,
    limit: int,
    ask_again_at: datetime,
) -> list[Delivery]:
    """Record a transaction over what is to be asked about now; nothing is written where that is nothing."""
    here = (deliveries.c.destination == destination) & is_state(deliveries.c.state, DeliveryState.SENT)
    found = connection.execute(
        _chosen().where(here, deliveries.c.ask_at <= now).order_by(deliveries.c.ask_at).limit(limit)
    ).all()
    if not found:
        return []
    connection.execute(
        commitments.insert().values(transaction_uid=transaction_uid, destination=destination, asked_at=now)
    )
    connection.execute(
        commitment_deliveries.insert(),
        [{"transaction_uid": transaction_uid, "delivery_id": row.id, "attempt": row.attempt} for row in found],
    )
    for row in found:
        connection.execute(deliveries.update().where(deliveries.c.id == row.id).values(ask_at=ask_again_at))
    note(connection, now, "commitment", transaction_uid, "asked", f"{len(found)} objects of {destination}")
    return [delivery_of(row) for row in found]


def confirm(
    connection: sa.Connection,
    transaction_uid: str,
    *,
    committed: Sequence[str],
    failed: Mapping[str, int],
    now: datetime,
    attempts: int,
) -> bool:
    """Write a report. An object named on both lists counts as failed: it is sent once more rather than lost."""
    known = connection.execute(
        commitments.update()
        .where(commitments.c.transaction_uid == transaction_uid)
        .values(reported_at=sa.func.coalesce(commitments.c.reported_at, now))
    )
    if known.rowcount == 0:
        return False
    held = set(committed) - failed.keys()
    for row in connection.execute(_asked(transaction_uid)).all():
        if row.sop_instance_uid in held:
            move(connection, row.id, row.attempt, DeliveryState.SENT, DeliveryEvent.COMMIT, now, committed_at=now)
        elif row.sop_instance_uid in failed and row.attempt == row.asked_attempt:
            _not_held(connection, row, failed[row.sop_instance_uid], now, attempts)
    note(connection, now, "commitment", transaction_uid, "reported", f"{len(held)} held, {len(failed)} failed")
    return True


def _asked(transaction_uid: str) -> sa.Select[Any]:
    """What the transaction asked about and is still SENT; the archive's promise holds however often it was sent."""
    asked = commitment_deliveries
    return (
        _chosen()
        .add_columns(asked.c.attempt.label("asked_attempt"))
        .join(asked, asked.c.delivery_id == deliveries.c.id)
        .where(asked.c.transaction_uid == transaction_uid, is_state(deliveries.c.state, DeliveryState.SENT))
    )


def _not_held(connection: sa.Connection, row: sa.Row[Any], failure: int, now: datetime, attempts: int) -> None:
    """Send it again at once, or park it, or withdraw it where it was taken back: it is not there to be rejected.

    `failure` is the Failure Reason (0008,1197), PS3.3 C.14.1.1.
    """
    reason = f"the archive does not hold it: failure reason 0x{failure:04X}"
    spent = row.tries >= attempts
    event = DeliveryEvent.PARK if spent else DeliveryEvent.NOT_HELD
    later = {} if spent else {"due_at": now}
    move(
        connection, row.id, row.attempt, DeliveryState.SENT, event, now,
        detail=reason, reason=reason, sent_at=None, **later,
    )  # fmt: skip
    after = DELIVERY_TRANSITIONS[DeliveryState.SENT, event]
    _withdraw_taken_back(connection, row.id, row.attempt, after, TAKEN_BACK, now)


def no_commitment(
    connection: sa.Connection, sent: Sequence[Delivery], *, park: bool, reason: str, now: datetime
) -> None:
    """SENT is final, or parked. What a report has moved meanwhile is passed over: it was committed after all."""
    for delivery in sent:
        if park:
            move(
                connection,
                delivery.row,
                delivery.attempt,
                DeliveryState.SENT,
                DeliveryEvent.PARK,
                now,
                detail=reason,
                reason=reason,
            )
            continue
        connection.execute(
            deliveries.update()
            .where(
                deliveries.c.id == delivery.row,
                deliveries.c.attempt == delivery.attempt,
                is_state(deliveries.c.state, DeliveryState.SENT),
            )
            .values(ask_at=None, reason=reason)
        )
