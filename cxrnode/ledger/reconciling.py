"""The ledger's side of a reconciliation: every instance, every object and every delivery, a page at a time.

Hides what an instance's end is read from. Promises that each instance has exactly one end, and that a page costs the
same wherever in the ledger it lies.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from cxrnode.domain.capability import Kind
from cxrnode.domain.delivery import DeliveryState
from cxrnode.domain.job import JobState
from cxrnode.ledger.schema import Standing, StudyState, deliveries, evidence, instances, job_evidence, jobs, studies

PAGE = 500


class End(StrEnum):
    """What became of an instance."""

    ANALYSED = "analysed"
    NOT_ANALYSED = "not analysed"
    """With a reason."""
    WAITING = "waiting"
    PARKED = "parked"
    """It waits for an operator."""
    NOWHERE = "nowhere"
    """Nobody decided on it, and nobody will."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptInstance:
    """An instance, where its bytes are to be, and what became of it."""

    row: int
    sop_instance_uid: str
    key: str
    bytes_digest: str
    size: int
    swept: bool
    end: End


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptObject:
    """An evidence object and where its bytes are to be."""

    row: int
    sop_instance_uid: str
    key: str
    sha256: str
    swept: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SentObject:
    """An object that a destination took. `hidden`: a note went there that rejects what its study stated before."""

    sop_class_uid: str
    sop_instance_uid: str
    hidden: bool


def instances_after(connection: sa.Connection, row: int) -> list[KeptInstance]:
    """Give the next page of instances."""
    page = sa.select(instances, _end().label("end")).where(instances.c.id > row).order_by(instances.c.id).limit(PAGE)
    return [
        KeptInstance(
            row=one.id,
            sop_instance_uid=one.sop_instance_uid,
            key=one.key,
            bytes_digest=one.bytes_digest,
            size=one.size,
            swept=one.swept_at is not None,
            end=End(one.end),
        )
        for one in connection.execute(page)
    ]


def _end() -> sa.ColumnElement[str]:
    study = instances.c.study_uid
    is_open = sa.exists().where(studies.c.study_uid == study, studies.c.state == StudyState.OPEN)
    decided = (instances.c.code != "") | (instances.c.standing == Standing.REPLACED)
    return sa.case(
        (_has_job(study, JobState.SCHEDULED, JobState.IN_PROGRESS) | is_open, End.WAITING),
        (_has_job(study, JobState.PARKED), End.PARKED),
        (decided, End.NOT_ANALYSED),
        ((instances.c.code == "") & instances.c.summary.is_not(None), End.ANALYSED),
        else_=End.NOWHERE,
    )


def _has_job(study: sa.ColumnElement[Any], *states: JobState) -> sa.ColumnElement[bool]:
    return sa.exists().where(jobs.c.study_uid == study, jobs.c.state.in_(states))


def size_at(connection: sa.Connection, key: str) -> int | None:
    """Give how many bytes are to lie under the key of a source; None for what is none."""
    return connection.execute(sa.select(instances.c.size).where(instances.c.key == key).limit(1)).scalar()


def evidence_after(connection: sa.Connection, row: int) -> list[KeptObject]:
    """Give the next page of evidence."""
    page = sa.select(evidence).where(evidence.c.id > row).order_by(evidence.c.id).limit(PAGE)
    return [
        KeptObject(
            row=one.id,
            sop_instance_uid=one.sop_instance_uid,
            key=one.key,
            sha256=one.sha256,
            swept=one.swept_at is not None,
        )
        for one in connection.execute(page)
    ]


def studies_after(connection: sa.Connection, after: str) -> list[str]:
    """Give the next page of studies."""
    page = sa.select(studies.c.study_uid).where(studies.c.study_uid > after).order_by(studies.c.study_uid).limit(PAGE)
    return list(connection.execute(page).scalars())


def is_swept(connection: sa.Connection, table: sa.Table, row: int) -> bool:
    """Tell whether the bytes of a row were swept by now."""
    return connection.execute(sa.select(table.c.swept_at).where(table.c.id == row)).scalar() is not None


def sent_to(connection: sa.Connection, destination: str, study: str) -> list[SentObject]:
    """Give what of a study a destination took."""
    found = connection.execute(
        sa.select(evidence.c.kind, evidence.c.sop_class_uid, evidence.c.sop_instance_uid, _stated_last())
        .join(deliveries, deliveries.c.evidence_id == evidence.c.id)
        .where(evidence.c.study_uid == study, deliveries.c.destination == destination, _is_there())
        .order_by(evidence.c.id)
    ).all()
    rejected = max((row.stated_last for row in found if row.kind.startswith(Kind.REJECTION)), default="")
    return [
        SentObject(
            sop_class_uid=row.sop_class_uid,
            sop_instance_uid=row.sop_instance_uid,
            hidden=row.stated_last < rejected,
        )
        for row in found
    ]


def _stated_last() -> sa.Label[str]:
    """When a job last stated the evidence, as text in the order of time: what a job rejects was stated before it."""
    last = sa.select(sa.func.max(job_evidence.c.stated_at, type_=sa.Text())).where(
        job_evidence.c.evidence_id == evidence.c.id
    )
    return sa.func.coalesce(last.scalar_subquery(), "").label("stated_last")


def _is_there() -> sa.ColumnElement[bool]:
    return deliveries.c.state.in_([DeliveryState.SENT, DeliveryState.COMMITTED])


def unknown_evidence(connection: sa.Connection, uids: Collection[str]) -> list[str]:
    """Give those of the SOP Instance UIDs that no evidence has."""
    known = set(
        connection.execute(
            sa.select(evidence.c.sop_instance_uid).where(evidence.c.sop_instance_uid.in_(list(uids)))
        ).scalars()
    )
    return [uid for uid in uids if uid not in known]
