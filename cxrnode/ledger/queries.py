"""What an operator asks the ledger; nothing here writes.

Hides the joins. Promises that a question about one study or one job never walks a whole table, and that the walk over
all instances holds no transaction for longer than one page of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from cxrnode.domain.delivery import DeliveryState
from cxrnode.domain.identity import InstanceUID, StudyUID
from cxrnode.domain.job import JobState
from cxrnode.domain.priority import URGENT
from cxrnode.errors import LedgerDamaged, NeedsOperator
from cxrnode.ledger.database import DAMAGED
from cxrnode.ledger.jobs import PAUSED
from cxrnode.ledger.rows import patient_of
from cxrnode.ledger.schema import (
    Standing,
    deliveries,
    evidence,
    history,
    instances,
    is_state,
    job_evidence,
    job_members,
    jobs,
    retractions,
    studies,
    switches,
)
from cxrnode.ledger.stated import retracted_by
from cxrnode.ledger.views import (
    DeliveryView,
    EvidenceView,
    HistoryEntry,
    InstanceView,
    JobDetails,
    JobView,
    MemberView,
)

PAGE = 500
"""Instances read in one transaction while walking over all of them."""

_PATIENT = (studies.c.patient_id, studies.c.patient_name, studies.c.accession_number, studies.c.study_date)


def paused(connection: sa.Connection) -> bool:
    """Tell whether an operator has paused running jobs."""
    return connection.execute(sa.select(switches.c.name).where(switches.c.name == PAUSED)).first() is not None


def find_jobs(
    connection: sa.Connection,
    *,
    state: JobState | None,
    delivery: DeliveryState | None = None,
    study: str | None,
    accession: str | None,
    patient_id: str | None,
    limit: int,
) -> tuple[JobView, ...]:
    """Give the jobs that match all that is stated, the newest first."""
    wanted = _job_views().order_by(jobs.c.id.desc()).limit(limit)
    if state is not None:
        wanted = wanted.where(is_state(jobs.c.state, state))
    if delivery is not None:
        standing = sa.select(deliveries.c.evidence_id).where(is_state(deliveries.c.state, delivery))
        wanted = wanted.where(
            jobs.c.id.in_(sa.select(job_evidence.c.job_id).where(job_evidence.c.evidence_id.in_(standing)))
        )
    stated = ((jobs.c.study_uid, study), (studies.c.accession_number, accession), (studies.c.patient_id, patient_id))
    for column, value in stated:
        if value is not None:
            wanted = wanted.where(column == value)
    return tuple(_job_view(row) for row in connection.execute(wanted))


def _job_views() -> sa.Select[Any]:
    told, taken = retractions.alias(), retractions.alias()
    mine = told.c.retraction_id == jobs.c.id
    retracts = sa.select(sa.func.max(told.c.job_id)).where(mine).scalar_subquery()
    because = sa.select(sa.func.max(told.c.because)).where(mine).scalar_subquery()
    return (
        sa.select(
            jobs,
            *_PATIENT,
            retracts.label("retracts"),
            taken.c.retraction_id.label("retracted_by"),
            sa.func.coalesce(taken.c.because, because, "").label("because"),
        )
        .join(studies, studies.c.study_uid == jobs.c.study_uid)
        .outerjoin(taken, taken.c.job_id == jobs.c.id)
    )


def _job_view(row: sa.Row[Any]) -> JobView:
    return JobView(
        job=row.id,
        study_uid=StudyUID(row.study_uid),
        patient=patient_of(row),
        state=JobState(row.state),
        attempt=row.attempt,
        due_at=row.due_at,
        scheduled_at=row.scheduled_at,
        ended_at=row.ended_at,
        models=tuple(row.models),
        destinations=tuple(row.destinations),
        reason=row.reason,
        fallbacks=row.fallbacks,
        retracts=row.retracts,
        retracted_by=row.retracted_by,
        because=row.because,
        urgent=row.priority == URGENT,
    )


def job_details(connection: sa.Connection, job: int) -> JobDetails:
    """Give all about one job. Raises NeedsOperator where there is none of that number."""
    found = connection.execute(_job_views().where(jobs.c.id == job)).first()
    if found is None:
        hint = "list the jobs with `cxrnode jobs list`"
        raise NeedsOperator("there is no such job", operation="show the job", subject=str(job), hint=hint)
    of_job = sa.select(job_evidence.c.evidence_id).where(job_evidence.c.job_id == job)
    taken = retracted_by(connection, job)
    return JobDetails(
        job=_job_view(found),
        members=_members(connection, job),
        evidence=_evidence(connection, evidence.c.id.in_(of_job)),
        history=_history(connection, job, found.study_uid, of_job),
        taken_back=taken.evidence if taken else (),
    )


def _members(connection: sa.Connection, job: int) -> tuple[MemberView, ...]:
    found = connection.execute(
        sa.select(job_members, instances.c.sop_instance_uid, instances.c.key)
        .join(instances, instances.c.id == job_members.c.instance_id)
        .where(job_members.c.job_id == job)
        .order_by(job_members.c.instance_id)
    )
    return tuple(
        MemberView(
            row=row.instance_id,
            sop_instance_uid=InstanceUID(row.sop_instance_uid),
            key=row.key,
            verdict=row.verdict,
            outcome=row.outcome,
            summary=row.summary,
        )
        for row in found
    )


def evidence_of(connection: sa.Connection, study: StudyUID) -> tuple[EvidenceView, ...]:
    """Give all evidence of a study, the oldest first."""
    return _evidence(connection, evidence.c.study_uid == study)


def _evidence(connection: sa.Connection, wanted: sa.ColumnElement[bool]) -> tuple[EvidenceView, ...]:
    found = connection.execute(sa.select(evidence).where(wanted).order_by(evidence.c.id)).all()
    sent: dict[int, list[DeliveryView]] = {row.id: [] for row in found}
    ways = sa.select(deliveries).where(deliveries.c.evidence_id.in_(list(sent))).order_by(deliveries.c.destination)
    for row in connection.execute(ways):
        sent[row.evidence_id].append(_delivery_view(row))
    return tuple(
        EvidenceView(
            kind=row.kind,
            sop_class_uid=row.sop_class_uid,
            sop_instance_uid=row.sop_instance_uid,
            source=row.source,
            model=row.model,
            key=row.key,
            sha256=row.sha256,
            kept_at=row.kept_at,
            deliveries=tuple(sent[row.id]),
            objection=row.objection,
        )
        for row in found
    )


def _delivery_view(row: sa.Row[Any]) -> DeliveryView:
    return DeliveryView(
        destination=row.destination,
        state=DeliveryState(row.state),
        attempt=row.attempt,
        due_at=row.due_at,
        reason=row.reason,
        sent_at=row.sent_at,
        committed_at=row.committed_at,
    )


def _history(connection: sa.Connection, job: int, study: str, of_job: sa.Select[Any]) -> tuple[HistoryEntry, ...]:
    about_study = (history.c.subject == "study") & (history.c.subject_id == study)
    ways = sa.select(sa.cast(deliveries.c.id, sa.Text)).where(deliveries.c.evidence_id.in_(of_job))
    about_job = (history.c.subject == "job") & (history.c.subject_id == str(job))
    about_deliveries = (history.c.subject == "delivery") & history.c.subject_id.in_(ways)
    found = sa.union_all(*(sa.select(history).where(about) for about in (about_study, about_job, about_deliveries)))
    rows = connection.execute(found).all()
    return tuple(
        HistoryEntry(at=row.at, subject=row.subject, subject_id=row.subject_id, event=row.event, detail=row.detail)
        for row in sorted(rows, key=lambda row: row.id)
    )


def outcomes_after(connection: sa.Connection, row: int) -> list[InstanceView]:
    """Give the next page of instances in the order they came, after the one numbered `row`."""
    found = connection.execute(
        sa.select(instances).where(instances.c.id > row).order_by(instances.c.id).limit(PAGE)
    ).all()
    last = _last_evidence(connection, {one.study_uid for one in found if one.study_uid})
    return [_instance_view(one, last.get(one.study_uid, ())) for one in found]


def _last_evidence(connection: sa.Connection, of: Iterable[str]) -> Mapping[str, list[sa.Row[Any]]]:
    """Give by study the evidence that its last completed job stated."""
    stated = connection.execute(
        sa.select(evidence, job_evidence.c.stated_at)
        .join(job_evidence, job_evidence.c.evidence_id == evidence.c.id)
        .where(evidence.c.study_uid.in_(list(of)))
        .order_by(job_evidence.c.stated_at, evidence.c.id)
    )
    last: dict[str, list[sa.Row[Any]]] = {}
    for row in stated:
        known = last.setdefault(row.study_uid, [])
        if known and known[0].stated_at != row.stated_at:
            known.clear()
        known.append(row)
    return last


def _instance_view(row: sa.Row[Any], stated: Iterable[sa.Row[Any]]) -> InstanceView:
    reports = [one.key for one in stated if one.kind.startswith("SR")]
    corrected = row.standing == Standing.REPLACED and row.code not in {"recoded", "cut"}
    if corrected:
        stated, reports = (), []  # the evidence is the newer header's
    return InstanceView(
        row=row.id,
        key=row.key,
        study_uid=StudyUID(row.study_uid or ""),
        series_uid=row.series_uid,
        sop_instance_uid=InstanceUID(row.sop_instance_uid),
        sop_class_uid=row.sop_class_uid,
        modality=row.facts.get("modality", ""),
        patient=patient_of(row),
        received_at=row.received_at,
        code="replaced" if corrected else row.code,
        summary=None if corrected else row.summary,
        segmentations=tuple(one.key for one in stated if one.source == row.sop_instance_uid),
        report=reports[0] if reports else "",
    )


def check(connection: sa.Connection) -> None:
    """Let SQLite look through the whole file. Raises LedgerDamaged where it finds something wrong."""
    if connection.exec_driver_sql("PRAGMA quick_check(1)").scalar() != "ok":
        raise LedgerDamaged("SQLite's check found it damaged", operation="check the ledger", hint=DAMAGED)
