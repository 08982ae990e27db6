"""How much there is of what.

Hides that each state has an index of its own. Promises that no count touches a table's rows.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from cxrnode.domain.delivery import DeliveryState
from cxrnode.domain.job import JobState
from cxrnode.domain.priority import ORDINARY, URGENT
from cxrnode.ledger.schema import StudyState, deliveries, instances, is_state, jobs, studies
from cxrnode.ledger.views import Counts


def counts(connection: sa.Connection) -> Counts:
    """Count what there is by state; every count reads an index only."""
    return Counts(
        instances=_count(connection, instances),
        studies_by_state=_studies(connection),
        jobs_by_state=_jobs(connection),
        deliveries_by_state=_deliveries(connection),
        awaiting_commitment=_count(
            connection,
            deliveries,
            is_state(deliveries.c.state, DeliveryState.SENT),
            deliveries.c.ask_at.is_not(None),
        ),
        oldest_job_due_at=_oldest(connection, jobs, JobState.SCHEDULED),
        oldest_delivery_due_at=_oldest(connection, deliveries, DeliveryState.PENDING),
        last_received_at=connection.execute(
            sa.select(instances.c.received_at).order_by(instances.c.id.desc()).limit(1)
        ).scalar(),
    )


def _count(connection: sa.Connection, table: sa.Table, *wanted: sa.ColumnElement[bool]) -> int:
    return connection.execute(sa.select(sa.func.count()).select_from(table).where(*wanted)).scalar_one()


def _studies(connection: sa.Connection) -> dict[str, int]:
    opened = _count(connection, studies, is_state(studies.c.state, StudyState.OPEN))
    return {StudyState.OPEN: opened, StudyState.CLOSED: _count(connection, studies) - opened}


def _jobs(connection: sa.Connection) -> dict[JobState, int]:
    left = (JobState.SCHEDULED, JobState.IN_PROGRESS, JobState.PARKED)
    found = {state: _count(connection, jobs, is_state(jobs.c.state, state)) for state in left}
    ended = (
        sa.select(jobs.c.state, sa.func.count().label("number"))
        .where(jobs.c.ended_at.is_not(None))
        .group_by(jobs.c.state)
    )
    return found | {JobState(row.state): row.number for row in connection.execute(ended)}


def _deliveries(connection: sa.Connection) -> dict[str, dict[DeliveryState, int]]:
    found: dict[str, dict[DeliveryState, int]] = {}
    for state in DeliveryState:
        of_state = (
            sa.select(deliveries.c.destination, sa.func.count().label("number"))
            .where(is_state(deliveries.c.state, state))
            .group_by(deliveries.c.destination)
        )
        for row in connection.execute(of_state):
            found.setdefault(row.destination, {})[state] = row.number
    return found


def _oldest(connection: sa.Connection, table: sa.Table, state: JobState | DeliveryState) -> Any:
    """Give the earliest due time; each class of priority is asked for its own, by the index that claims use."""
    waiting = sa.select(table.c.due_at).where(is_state(table.c.state, state)).order_by(table.c.due_at).limit(1)
    found = (connection.execute(waiting.where(table.c.priority == one)).scalar() for one in (URGENT, ORDINARY))
    return min((due for due in found if due is not None), default=None)
