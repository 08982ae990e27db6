"""What an operator changes: jobs to try again, and whether jobs run at all.

Hides which deliveries and conflicts go with a job. Promises that what the law does not allow is refused with the
reason, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from cxrnode.domain.delivery import DeliveryState
from cxrnode.domain.job import JOB_TRANSITIONS, JobEvent, JobState
from cxrnode.errors import NeedsOperator
from cxrnode.ledger import sending
from cxrnode.ledger.capability import forget_accepted
from cxrnode.ledger.closing import CONFLICT, conflicts
from cxrnode.ledger.history import note
from cxrnode.ledger.jobs import PAUSED, is_replaced, move
from cxrnode.ledger.retaining import require_images
from cxrnode.ledger.retracting import restate, retraction_of
from cxrnode.ledger.schema import Standing, deliveries, evidence, instances, is_state, job_evidence, jobs, switches

_ASKED_ANEW = "its destination is asked anew what it takes"
_LOOK = "list the study's jobs with `cxrnode jobs list`"


def requeue(connection: sa.Connection, job: int, now: datetime) -> int:
    """Queue a parked or completed job again, and its parked deliveries; settle its conflict. Give the job's number.

    Where the job's results were taken back, another job is scheduled, which states them again: give that one's number.
    Raises NeedsOperator, with nothing changed, for a job in another state and for one that a newer job replaced.
    """
    found = connection.execute(sa.select(jobs).where(jobs.c.id == job)).first()
    if found is None:
        raise NeedsOperator("there is no such job", operation="retry the job", subject=str(job), hint=_LOOK)
    if retraction := retraction_of(connection, job):
        return restate(connection, found, retraction, now)
    if (JobState(found.state), JobEvent.REQUEUE) not in JOB_TRANSITIONS:
        raise NeedsOperator(
            f"it is {found.state}; only a parked or completed job can be retried",
            operation="retry the job",
            subject=str(job),
            hint=_LOOK,
        )
    if is_replaced(connection, job, found.study_uid):
        raise NeedsOperator(
            "a newer job of its study replaced it", operation="retry the job", subject=str(job), hint=_LOOK
        )
    require_images(connection, job, "retry the job")
    if found.reason == CONFLICT:
        connection.execute(instances.update().where(conflicts(found.study_uid)).values(standing=Standing.SETTLED))
    move(
        connection, job, found.attempt, JobState(found.state), JobEvent.REQUEUE, now,
        tries=0, due_at=now, reason="", ended_at=None,
    )  # fmt: skip
    limited = list(found.fallbacks)
    forget_accepted(connection, limited)
    _requeue_deliveries(connection, job, limited, now)
    return job


def _requeue_deliveries(connection: sa.Connection, job: int, limited: Collection[str], now: datetime) -> None:
    """Queue what is parked, but not what is objected to: only the job, run again, can say that it is better now.

    Nor what is parked for destinations that did not take everything: the job states what they take by now.
    """
    of_job = sa.select(job_evidence.c.evidence_id).where(job_evidence.c.job_id == job)
    parked = (
        sa.select(deliveries)
        .join(evidence, evidence.c.id == deliveries.c.evidence_id)
        .where(
            evidence.c.id.in_(of_job), evidence.c.objection == "", is_state(deliveries.c.state, DeliveryState.PARKED)
        )
    )
    for row in connection.execute(parked).all():
        if row.destination in limited:
            sending.withdraw_waiting(connection, row, _ASKED_ANEW, now)
        else:
            sending.requeue(connection, row, now)


def set_paused(connection: sa.Connection, paused: bool, now: datetime) -> None:
    """Let no job be claimed until this is undone; what runs ends. Twice is once."""
    if paused:
        changed = connection.execute(insert(switches).values(name=PAUSED, since=now).on_conflict_do_nothing())
    else:
        changed = connection.execute(switches.delete().where(switches.c.name == PAUSED))
    if changed.rowcount:
        note(connection, now, "node", "jobs", "paused" if paused else "resumed")
