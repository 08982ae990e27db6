"""Times that are not reached yet, where the clock was set back.

Hides which columns are waited for. Promises that after `pull_in` nothing waits for the clock to catch up, and that work
which runs keeps its lease.
"""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from cxrnode.domain.delivery import DeliveryState
from cxrnode.domain.job import JobState
from cxrnode.ledger.history import note
from cxrnode.ledger.schema import StudyState, deliveries, history, is_state, jobs, studies

_LOOKED_AT = 1000
"""Entries of the history whose latest time counts: they are written in nearly the order of their times."""


def latest(connection: sa.Connection) -> datetime | None:
    """Give the latest time in the newest entries of the history; None where there are none."""
    last = sa.select(sa.func.max(history.c.id)).scalar_subquery()
    newest = sa.select(sa.func.max(history.c.at, type_=history.c.at.type)).where(history.c.id > last - _LOOKED_AT)
    return connection.execute(newest).scalar()


def pull_in(connection: sa.Connection, now: datetime, *, beyond: datetime, lease_until: datetime) -> int:
    """Let be due now what is due later than `beyond`, and let no lease last longer than `lease_until`; give how many.

    A study that is open and had its last instance later than `beyond` had it now.
    """
    waiting = (
        (jobs, jobs.c.due_at, is_state(jobs.c.state, JobState.SCHEDULED), beyond, now),
        (deliveries, deliveries.c.due_at, is_state(deliveries.c.state, DeliveryState.PENDING), beyond, now),
        (deliveries, deliveries.c.ask_at, is_state(deliveries.c.state, DeliveryState.SENT), beyond, now),
        (studies, studies.c.last_instance_at, is_state(studies.c.state, StudyState.OPEN), beyond, now),
        (jobs, jobs.c.lease_until, is_state(jobs.c.state, JobState.IN_PROGRESS), lease_until, lease_until),
        (
            deliveries,
            deliveries.c.lease_until,
            is_state(deliveries.c.state, DeliveryState.SENDING),
            lease_until,
            lease_until,
        ),
    )
    pulled = 0
    for table, column, waits, later_than, becomes in waiting:
        changed = table.update().where(waits, column > later_than).values({column: becomes})
        pulled += connection.execute(changed).rowcount
    if pulled:
        note(connection, now, "node", "clock", "set back", f"{pulled} due times pulled in")
    return pulled
