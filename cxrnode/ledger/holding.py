"""Who else keeps the sources: destinations that are asked to commit to them (PS3.4 Annex J), and what they say.

Hides which instances a transaction was about. Promises that a promise counts for the instances it names and no others,
and that an instance is not asked about again before its time.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa

from cxrnode.ledger.history import note
from cxrnode.ledger.schema import instances, source_commitment_instances, source_commitments

REMEMBERED = timedelta(days=30)
"""How long a report is waited for, before the question is forgotten for another that is asked again."""


def begin(
    connection: sa.Connection,
    destination: str,
    transaction_uid: str,
    rows: Collection[int],
    now: datetime,
    *,
    not_since: datetime,
) -> list[int]:
    """Record a transaction over those of the sources that nobody asked this destination about since; give them."""
    asked, said = source_commitment_instances.alias(), source_commitments.alias()
    lately = sa.exists().where(
        asked.c.instance_id == instances.c.id,
        said.c.transaction_uid == asked.c.transaction_uid,
        said.c.destination == destination,
        said.c.asked_at > not_since,
    )
    due = sa.select(instances.c.id).where(
        instances.c.id.in_(list(rows)), instances.c.held_at.is_(None), instances.c.swept_at.is_(None), ~lately
    )
    found = list(connection.execute(due.order_by(instances.c.id)).scalars())
    if found:
        _forget_unanswered(connection, found, now - REMEMBERED)
        connection.execute(
            source_commitments.insert().values(transaction_uid=transaction_uid, destination=destination, asked_at=now)
        )
        connection.execute(
            source_commitment_instances.insert(),
            [{"transaction_uid": transaction_uid, "instance_id": row} for row in found],
        )
        note(connection, now, "commitment", transaction_uid, "asked", f"{len(found)} sources of {destination}")
    return found


def _forget_unanswered(connection: sa.Connection, rows: Collection[int], until: datetime) -> None:
    """Forget what was asked about these sources until then: an archive that never commits is asked every day."""
    of, question = source_commitment_instances.c, source_commitments.c
    old = sa.exists().where(question.transaction_uid == of.transaction_uid, question.asked_at <= until)
    about = of.instance_id.in_(list(rows)) & old
    questions = list(connection.execute(sa.select(of.transaction_uid).where(about).distinct()).scalars())
    connection.execute(source_commitment_instances.delete().where(about))
    empty = ~sa.exists().where(of.transaction_uid == question.transaction_uid)
    connection.execute(source_commitments.delete().where(question.transaction_uid.in_(questions), empty))


def forget(connection: sa.Connection, transaction_uid: str) -> None:
    """Forget a transaction that nobody could be asked: its instances are due again."""
    of = source_commitment_instances.c.transaction_uid == transaction_uid
    connection.execute(source_commitment_instances.delete().where(of))
    connection.execute(source_commitments.delete().where(source_commitments.c.transaction_uid == transaction_uid))


def confirm(connection: sa.Connection, transaction_uid: str, *, committed: Sequence[str], now: datetime) -> bool:
    """Write what a destination says it keeps; False where the transaction is about no sources of ours."""
    known = connection.execute(
        source_commitments.update()
        .where(source_commitments.c.transaction_uid == transaction_uid)
        .values(reported_at=sa.func.coalesce(source_commitments.c.reported_at, now))
    )
    if known.rowcount == 0:
        return False
    asked = sa.select(source_commitment_instances.c.instance_id).where(
        source_commitment_instances.c.transaction_uid == transaction_uid
    )
    held = connection.execute(
        instances.update()
        .where(
            instances.c.id.in_(asked), instances.c.sop_instance_uid.in_(list(committed)), instances.c.held_at.is_(None)
        )
        .values(held_at=now)
    )
    note(connection, now, "commitment", transaction_uid, "reported", f"{held.rowcount} sources held")
    return True
