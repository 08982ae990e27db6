"""Storage commitment in the ledger (PS3.4 Annex J): asked, reported, or not to be had.

Hides which objects a transaction was about. Promises that a report (PS3.4 J.3.3) moves only what its own transaction
asked about: one that comes twice, or late, after the object was sent again, changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from cxrnode.domain.delivery import DELIVERY_TRANSITIONS, Delivery, DeliveryEvent, DeliveryState
from cxrnode.ledger import sending
from cxrnode.ledger.history import note
from cxrnode.ledger.rows import delivery_of
from cxrnode.ledger.schema import commitment_deliveries, commitments, deliveries, is_state


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
        sending.chosen().where(here, deliveries.c.ask_at <= now).order_by(deliveries.c.ask_at).limit(limit)
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
            sending.move(
                connection, row.id, row.attempt, DeliveryState.SENT, DeliveryEvent.COMMIT, now, committed_at=now
            )
        elif row.sop_instance_uid in failed and row.attempt == row.asked_attempt:
            _not_held(connection, row, failed[row.sop_instance_uid], now, attempts)
    note(connection, now, "commitment", transaction_uid, "reported", f"{len(held)} held, {len(failed)} failed")
    return True


def _asked(transaction_uid: str) -> sa.Select[Any]:
    """What the transaction asked about and is still SENT; the archive's promise holds however often it was sent."""
    asked = commitment_deliveries
    return (
        sending.chosen()
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
    sending.move(
        connection, row.id, row.attempt, DeliveryState.SENT, event, now,
        detail=reason, reason=reason, sent_at=None, **later,
    )  # fmt: skip
    after = DELIVERY_TRANSITIONS[DeliveryState.SENT, event]
    sending.withdraw_taken_back(connection, row.id, row.attempt, after, sending.TAKEN_BACK, now)


def no_commitment(
    connection: sa.Connection, sent: Sequence[Delivery], *, park: bool, reason: str, now: datetime
) -> None:
    """SENT is final, or parked. What a report has moved meanwhile is passed over: it was committed after all."""
    for delivery in sent:
        if park:
            sending.move(
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
