"""What of the bytes in the spool may go, what went, and what came again.

Hides the joins that say whether anybody still needs them. Promises that only bytes go, never a row; that they are
marked as swept before anybody removes them, so that a kill in between leaves a mark and not a hole; that nothing is
removed whose mark was taken off meanwhile; and that a study whose images are swept gets no job that would need them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from cxrnode.domain.capability import Kind
from cxrnode.domain.delivery import DeliveryState
from cxrnode.domain.job import JobState
from cxrnode.domain.reasons import REASONS
from cxrnode.domain.retention import Holding, What, Why
from cxrnode.domain.study import Description
from cxrnode.errors import NeedsOperator
from cxrnode.ledger.history import note
from cxrnode.ledger.receiving import open_study, twin_of
from cxrnode.ledger.schema import (
    Standing,
    StudyState,
    deliveries,
    evidence,
    instances,
    is_state,
    job_members,
    jobs,
    removals,
    studies,
)

SWEPT = "swept"
"""The reason that a job is parked for whose images were swept; they come again, or it waits."""

_SWEPT_HINT = "see 'The images of a study were swept' in docs/operations.md"
_STAY = (Kind.SR, Kind.PAGES, Kind.REJECTION)
"""Kinds whose bytes a later job reads: the report that the next one follows, the series that pages share."""
_TABLES = {What.SOURCE: instances, What.EVIDENCE: evidence}
_AT_ONCE = 100


def holdings(
    connection: sa.Connection, what: What, *, after: int, before: datetime | None, uncommitted: bool, limit: int
) -> list[Holding]:
    """Give the next page of what is in the spool, the oldest first, after the row `after`; older than `before`."""
    table, since = _TABLES[what], _since(what)
    analysed = instances.c.code == "" if what is What.SOURCE else sa.true()
    page = (
        sa.select(table, since.label("since"), analysed.label("analysed"), _why(what, uncommitted).label("why"))
        .where(table.c.swept_at.is_(None), table.c.id > after)
        .order_by(table.c.id)
        .limit(limit)
    )
    if before is not None:
        page = page.where(since <= before)
    return [_holding(what, row) for row in connection.execute(page)]


def _holding(what: What, row: sa.Row[Any]) -> Holding:
    return Holding(
        what=what,
        row=row.id,
        key=row.key,
        since=row.since,
        analysed=bool(row.analysed),
        why=Why(row.why),
        sop_class_uid=row.sop_class_uid,
        sop_instance_uid=row.sop_instance_uid,
    )


def _since(what: What) -> sa.ColumnElement[datetime]:
    if what is What.EVIDENCE:
        return evidence.c.kept_at
    return sa.func.coalesce(instances.c.kept_again_at, instances.c.received_at, type_=instances.c.received_at.type)


def _why(what: What, uncommitted: bool) -> sa.ColumnElement[str]:
    return sa.case(*(_why_source(uncommitted) if what is What.SOURCE else _why_evidence(uncommitted)), else_=Why.MAY_GO)


def _why_source(uncommitted: bool) -> list[tuple[sa.ColumnElement[bool], str]]:
    """Cases, the first of which holds. Where other pixels came under a UID, nobody knows which a promise is about."""
    study = instances.c.study_uid
    unsettled = instances.c.standing.in_([Standing.CONFLICT, Standing.RECODED])
    cases = [
        (_is_open(study) | instances.c.code.is_(None), Why.OPEN),
        (_has_job_left(study), Why.JOB),
        (unsettled, Why.UNDECIDED),
        (_is_undelivered(study), Why.UNDELIVERED),
    ]
    held = instances.c.held_at.is_not(None) & ~_has_other_pixels(instances.c.sop_instance_uid)
    return [*cases, *([] if uncommitted else [(~held, Why.NOT_HELD)])]


def _why_evidence(uncommitted: bool) -> list[tuple[sa.ColumnElement[bool], str]]:
    study, of = evidence.c.study_uid, deliveries.c.evidence_id == evidence.c.id
    committed = sa.exists().where(of, deliveries.c.state == DeliveryState.COMMITTED)
    cases = [
        (sa.or_(*(evidence.c.kind.startswith(kind) for kind in _STAY)), Why.REPORT),
        (_is_open(study), Why.OPEN),
        (_has_job_left(study), Why.JOB),
        ((evidence.c.objection != "") | sa.exists().where(of, _is_unfinished()), Why.UNDELIVERED),
    ]
    return [*cases, *([] if uncommitted else [(~committed, Why.NOT_HELD)])]


def _is_open(study: sa.ColumnElement[Any]) -> sa.ColumnElement[bool]:
    return sa.exists().where(studies.c.study_uid == study, studies.c.state == StudyState.OPEN)


def _has_job_left(study: sa.ColumnElement[Any]) -> sa.ColumnElement[bool]:
    left = (JobState.SCHEDULED, JobState.IN_PROGRESS, JobState.PARKED)
    return sa.exists().where(jobs.c.study_uid == study, jobs.c.state.in_(left))


def _has_other_pixels(uid: sa.ColumnElement[Any]) -> sa.ColumnElement[bool]:
    other = instances.alias()
    conflicts = other.c.standing.in_([Standing.CONFLICT, Standing.SETTLED])
    return sa.exists().where(other.c.sop_instance_uid == uid, conflicts)


def _is_undelivered(study: sa.ColumnElement[Any]) -> sa.ColumnElement[bool]:
    mine = evidence.alias()
    under_way = sa.exists().where(deliveries.c.evidence_id == mine.c.id, _is_unfinished())
    return sa.exists().where(mine.c.study_uid == study, (mine.c.objection != "") | under_way)


def _is_unfinished() -> sa.ColumnElement[bool]:
    """Whether a delivery may still need the bytes; a report that is awaited may say that they are not there."""
    state = deliveries.c.state
    waits = state.in_([DeliveryState.PENDING, DeliveryState.SENDING, DeliveryState.PARKED])
    return waits | ((state == DeliveryState.SENT) & deliveries.c.ask_at.is_not(None))


def mark_swept(
    connection: sa.Connection, what: What, rows: Collection[int], now: datetime, *, uncommitted: bool
) -> list[str]:
    """Mark those of the rows that may go now, and remember to remove their bytes; give their keys."""
    table = _TABLES[what]
    may_go = sa.select(table.c.id, table.c.key).where(
        table.c.id.in_(list(rows)), table.c.swept_at.is_(None), _why(what, uncommitted) == Why.MAY_GO
    )
    found = connection.execute(may_go).all()
    for row in found:
        connection.execute(table.update().where(table.c.id == row.id).values(swept_at=now))
        connection.execute(insert(removals).values(key=row.key, what=what, row=row.id).on_conflict_do_nothing())
        note(connection, now, "instance" if what is What.SOURCE else "evidence", row.id, "swept")
    return [row.key for row in found]


def remove_marked(connection: sa.Connection, what: What, remove: Callable[[str], None], after: str) -> list[str]:
    """Remove what is marked and still may go, inside this transaction: nobody can take a mark off meanwhile.

    Gives the next page of keys after this one, also those that came again. What a new job may need is left for later.
    """
    table = _TABLES[what]
    busy = _is_open(table.c.study_uid) | _has_job_left(table.c.study_uid)
    found = connection.execute(
        sa.select(removals.c.key, table.c.swept_at)
        .join(table, table.c.id == removals.c.row)
        .where(removals.c.what == what, removals.c.key > after, table.c.swept_at.is_(None) | ~busy)
        .order_by(removals.c.key)
        .limit(_AT_ONCE)
    ).all()
    for row in found:
        if row.swept_at is not None:
            remove(row.key)
    return [row.key for row in found]


def removed(connection: sa.Connection, keys: Collection[str]) -> None:
    """Forget keys whose removal is on disk."""
    connection.execute(removals.delete().where(removals.c.key.in_(list(keys))))


def kept_key(connection: sa.Connection, description: Description) -> str | None:
    """Give the key of what a duplicate repeats; None where that is swept, or nothing is repeated."""
    twin = twin_of(connection, description)
    return twin.key if twin is not None and twin.swept_at is None else None


def restore(
    connection: sa.Connection, description: Description, key: str, now: datetime, is_kept: Callable[[str], bool]
) -> bool:
    """Let the row of a duplicate have these bytes in place of those that are gone. What is known of it stays.

    False where they are gone, too: a sweep that had marked them before removed them after they were kept, which it
    cannot do during this transaction. A job that was parked for want of them is replaced: its study opens and closes
    again.
    """
    twin = twin_of(connection, description)
    if twin is None or not is_kept(key):
        return False
    bytes_of = {"bytes_digest": description.bytes_digest, "size": description.size, "key": key}
    connection.execute(
        instances.update()
        .where(instances.c.id == twin.id)
        .values(
            **bytes_of,
            transfer_syntax_uid=description.transfer_syntax_uid,
            facts=asdict(description.facts),
            swept_at=None,
            kept_again_at=now,
        )
    )
    note(connection, now, "instance", twin.id, "kept again")
    waits = sa.select(jobs.c.id).where(
        jobs.c.study_uid == twin.study_uid, is_state(jobs.c.state, JobState.PARKED), jobs.c.reason == SWEPT
    )
    if connection.execute(waits).first():
        open_study(connection, twin.study_uid, now)
    return True


def lacks(connection: sa.Connection, verdicts: Mapping[int, str]) -> bool:
    """Tell whether images that a job would have to look at, or to speak of, are swept. `verdicts`: codes by row."""
    spoken_of = [row for row, code in verdicts.items() if not code or REASONS[code].candidate]
    gone = sa.select(instances.c.id).where(instances.c.id.in_(spoken_of), instances.c.swept_at.is_not(None))
    return connection.execute(gone.limit(1)).first() is not None


def require_images(connection: sa.Connection, job: int, operation: str) -> None:
    """Raise NeedsOperator where images of the job are swept: they have to come again first."""
    members = sa.select(job_members.c.instance_id, job_members.c.verdict).where(job_members.c.job_id == job)
    if lacks(connection, {row.instance_id: row.verdict for row in connection.execute(members)}):
        raise NeedsOperator("its images were swept", operation=operation, subject=str(job), hint=_SWEPT_HINT)
