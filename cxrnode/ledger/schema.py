"""The tables of the ledger.

Hides how values lie in SQLite: times as ISO text in UTC that sorts as it reads, small mappings as JSON. Promises that
the two life cycles hold in the file itself (CHECK), that one SOP Instance UID has one current revision and one study
one waiting and one running job, and that every claim is served by a partial index over what can be claimed. There is
no index over all states: SQLite would prefer it to the partial ones and sort everything that waits. A partial index
holds its `state` too, so that counting by it touches no row.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from cxrnode.domain.delivery import DeliveryState
from cxrnode.domain.job import JobState

VERSION = "0003"
"""The migration that this code works with."""

metadata = sa.MetaData()


class Utc(sa.types.TypeDecorator[datetime]):
    """An aware time as ISO text of fixed width in UTC; ValueError for a naive one."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> str | None:
        """Give the text that is stored."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("the ledger takes aware times only")
        return value.astimezone(UTC).isoformat(timespec="microseconds")

    def process_result_value(self, value: Any | None, dialect: sa.Dialect) -> datetime | None:
        """Give the time back."""
        return None if value is None else datetime.fromisoformat(value)


class StudyState(StrEnum):
    """Whether the study's membership may still grow."""

    OPEN = "OPEN"
    CLOSED = "CLOSED"


class Standing(StrEnum):
    """What a kept revision is among those of its SOP Instance UID."""

    CURRENT = "current"
    """The one that is analysed; also every instance that stands alone because its header cannot be read."""
    REPLACED = "replaced"
    RECODED = "recoded"
    CONFLICT = "conflict"
    """Other pixels under the same UID; keeps the study's next job parked."""
    SETTLED = "settled"
    """A conflict that an operator has looked at."""


def is_state(column: sa.ColumnElement[str], state: StrEnum) -> sa.ColumnElement[bool]:
    """Compare with a literal, not a parameter: SQLite uses a partial index only where it can read the value."""
    return column == sa.literal(str(state), literal_execute=True)


def _one_of(column: str, states: type[StrEnum], name: str) -> sa.CheckConstraint:
    allowed = ", ".join(f"'{state}'" for state in states)
    return sa.CheckConstraint(f"{column} IN ({allowed})", name=name)


def _patient() -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text, nullable=False) for name in PATIENT]


PATIENT = ("patient_id", "patient_name", "accession_number", "study_date")


def _priority() -> sa.Column[int]:
    return sa.Column(
        "priority", sa.Integer, nullable=False, server_default=sa.text("0"), comment="0: ordinary; 1: urgent"
    )


studies = sa.Table(
    "studies",
    metadata,
    sa.Column("study_uid", sa.Text, primary_key=True),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("generation", sa.Integer, nullable=False),
    sa.Column("last_instance_at", Utc, nullable=False),
    *_patient(),
    _one_of("state", StudyState, "study_state"),
    sa.Index("studies_open", "last_instance_at", "study_uid", "state", sqlite_where=sa.text("state = 'OPEN'")),
    sa.Index("studies_by_patient", "patient_id"),
    sa.Index("studies_by_accession", "accession_number"),
)

instances = sa.Table(
    "instances",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("study_uid", sa.ForeignKey("studies.study_uid"), nullable=True),
    sa.Column("standing", sa.Text, nullable=False),
    sa.Column("candidate", sa.Boolean, nullable=False),
    sa.Column("code", sa.Text, nullable=True, comment="NULL: not decided; empty: to analyse or analysed"),
    sa.Column("summary", sa.JSON(none_as_null=True), nullable=True),
    sa.Column("series_uid", sa.Text, nullable=False),
    sa.Column("sop_class_uid", sa.Text, nullable=False),
    sa.Column("sop_instance_uid", sa.Text, nullable=False),
    sa.Column("transfer_syntax_uid", sa.Text, nullable=False),
    *_patient(),
    sa.Column("facts", sa.JSON, nullable=False),
    sa.Column("header_digest", sa.Text, nullable=False),
    sa.Column("pixel_digest", sa.Text, nullable=False),
    sa.Column("bytes_digest", sa.Text, nullable=False),
    sa.Column("size", sa.Integer, nullable=False),
    sa.Column("unreadable", sa.Text, nullable=False),
    sa.Column("calling_ae", sa.Text, nullable=False),
    sa.Column("called_ae", sa.Text, nullable=False),
    sa.Column("address", sa.Text, nullable=False),
    sa.Column("association", sa.Text, nullable=False),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("received_at", Utc, nullable=False),
    _priority(),
    sa.Column("swept_at", Utc, nullable=True, comment="when retention removed its bytes"),
    sa.Column("held_at", Utc, nullable=True, comment="when a destination committed to keep this source"),
    sa.Column("kept_again_at", Utc, nullable=True, comment="when bytes that were gone came again"),
    _one_of("standing", Standing, "instance_standing"),
    sa.Index("instances_by_uid", "sop_instance_uid", "bytes_digest"),
    sa.Index("instances_by_study", "study_uid", "standing"),
    sa.Index("instances_by_key", "key"),
    sa.Index("instances_recoded", "id", sqlite_where=sa.text("standing = 'recoded'")),
    sa.Index("instances_in_spool", "id", sqlite_where=sa.text("swept_at IS NULL")),
    sa.Index(
        "one_current_revision",
        "sop_instance_uid",
        unique=True,
        sqlite_where=sa.text("study_uid IS NOT NULL AND standing = 'current'"),
    ),
    sqlite_autoincrement=True,
)

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("study_uid", sa.ForeignKey("studies.study_uid"), nullable=False),
    sa.Column("generation", sa.Integer, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False, comment="the fence: only grows"),
    sa.Column(
        "tries",
        sa.Integer,
        nullable=False,
        comment="what the retry policy counts: starts anew with an operator's retry",
    ),
    sa.Column("due_at", Utc, nullable=False),
    sa.Column("lease_until", Utc, nullable=True),
    sa.Column("incarnation", sa.Text, nullable=True),
    sa.Column("models", sa.JSON, nullable=False),
    sa.Column("destinations", sa.JSON, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("scheduled_at", Utc, nullable=False),
    sa.Column("ended_at", Utc, nullable=True),
    sa.Column(
        "fallbacks",
        sa.JSON,
        nullable=False,
        server_default=sa.text("'{}'"),
        comment="by destination: what it does not take, and what goes instead, in sentences",
    ),
    _priority(),
    _one_of("state", JobState, "job_state"),
    sa.CheckConstraint("(state = 'IN_PROGRESS') = (lease_until IS NOT NULL)", name="job_lease"),
    sa.CheckConstraint("(state = 'IN_PROGRESS') = (incarnation IS NOT NULL)", name="job_holder"),
    sa.CheckConstraint("(state IN ('COMPLETED', 'CANCELED')) = (ended_at IS NOT NULL)", name="job_end"),
    sa.Index("jobs_due", "priority", "due_at", "id", "state", sqlite_where=sa.text("state = 'SCHEDULED'")),
    sa.Index("one_waiting_job", "study_uid", unique=True, sqlite_where=sa.text("state = 'SCHEDULED'")),
    sa.Index("jobs_leased", "lease_until", "state", sqlite_where=sa.text("state = 'IN_PROGRESS'")),
    sa.Index("one_running_job", "study_uid", unique=True, sqlite_where=sa.text("state = 'IN_PROGRESS'")),
    sa.Index("jobs_by_study", "study_uid"),
    sa.Index("jobs_parked", "state", sqlite_where=sa.text("state = 'PARKED'")),
    sa.Index("jobs_ended", "state", "ended_at", sqlite_where=sa.text("ended_at IS NOT NULL")),
    sqlite_autoincrement=True,
)

job_members = sa.Table(
    "job_members",
    metadata,
    sa.Column("job_id", sa.ForeignKey("jobs.id"), primary_key=True),
    sa.Column("instance_id", sa.ForeignKey("instances.id"), primary_key=True),
    sa.Column("verdict", sa.Text, nullable=False),
    sa.Column("outcome", sa.Text, nullable=True),
    sa.Column("summary", sa.JSON(none_as_null=True), nullable=True),
    sqlite_with_rowid=False,
)

retractions = sa.Table(
    "retractions",
    metadata,
    sa.Column("job_id", sa.ForeignKey("jobs.id"), primary_key=True, comment="whose results were taken back"),
    sa.Column("retraction_id", sa.ForeignKey("jobs.id"), nullable=False, comment="the job that says so"),
    sa.Column("because", sa.Text, nullable=False, comment="a key of RETRACTIONS"),
    sa.Index("jobs_of_retraction", "retraction_id"),
    sqlite_with_rowid=False,
)

evidence = sa.Table(
    "evidence",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("study_uid", sa.ForeignKey("studies.study_uid"), nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("sop_class_uid", sa.Text, nullable=False),
    sa.Column("sop_instance_uid", sa.Text, nullable=False, unique=True),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("sha256", sa.Text, nullable=False),
    sa.Column("kept_at", Utc, nullable=False),
    sa.Column(
        "objection",
        sa.Text,
        nullable=False,
        server_default=sa.text("''"),
        comment="why the node's own inspection keeps it from being sent",
    ),
    sa.Column("swept_at", Utc, nullable=True, comment="when retention removed its bytes"),
    sa.Index("evidence_by_study", "study_uid"),
    sa.Index("evidence_in_spool", "id", sqlite_where=sa.text("swept_at IS NULL")),
    sqlite_autoincrement=True,
)

job_evidence = sa.Table(
    "job_evidence",
    metadata,
    sa.Column("job_id", sa.ForeignKey("jobs.id"), primary_key=True),
    sa.Column("evidence_id", sa.ForeignKey("evidence.id"), primary_key=True),
    sa.Column("stated_at", Utc, nullable=False, comment="when the job last completed with it"),
    sa.Index("jobs_of_evidence", "evidence_id"),
    sqlite_with_rowid=False,
)

deliveries = sa.Table(
    "deliveries",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("evidence_id", sa.ForeignKey("evidence.id"), nullable=False),
    sa.Column("destination", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False, comment="the fence: only grows"),
    sa.Column(
        "tries",
        sa.Integer,
        nullable=False,
        comment="what the retry policy counts: starts anew with an operator's retry",
    ),
    sa.Column("due_at", Utc, nullable=False),
    sa.Column("lease_until", Utc, nullable=True),
    sa.Column("incarnation", sa.Text, nullable=True),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("ask_at", Utc, nullable=True),
    sa.Column("sent_at", Utc, nullable=True),
    sa.Column("committed_at", Utc, nullable=True),
    _priority(),
    _one_of("state", DeliveryState, "delivery_state"),
    sa.CheckConstraint("(state = 'SENDING') = (lease_until IS NOT NULL)", name="delivery_lease"),
    sa.CheckConstraint("(state = 'SENDING') = (incarnation IS NOT NULL)", name="delivery_holder"),
    sa.CheckConstraint("(state = 'COMMITTED') = (committed_at IS NOT NULL)", name="delivery_committed"),
    sa.CheckConstraint("state = 'SENT' OR ask_at IS NULL", name="delivery_asking"),
    sa.UniqueConstraint("evidence_id", "destination", name="one_delivery_a_destination"),
    sa.Index(
        "deliveries_due", "destination", "priority", "due_at", "id", "state", sqlite_where=sa.text("state = 'PENDING'")
    ),
    sa.Index("deliveries_leased", "destination", "lease_until", "state", sqlite_where=sa.text("state = 'SENDING'")),
    sa.Index("deliveries_to_ask", "destination", "ask_at", "state", sqlite_where=sa.text("state = 'SENT'")),
    sa.Index("deliveries_parked", "destination", "state", sqlite_where=sa.text("state = 'PARKED'")),
    sa.Index("deliveries_committed", "destination", "state", sqlite_where=sa.text("state = 'COMMITTED'")),
    sa.Index("deliveries_withdrawn", "destination", "state", sqlite_where=sa.text("state = 'WITHDRAWN'")),
    sqlite_autoincrement=True,
)

commitments = sa.Table(
    "commitments",
    metadata,
    sa.Column("transaction_uid", sa.Text, primary_key=True),
    sa.Column("destination", sa.Text, nullable=False),
    sa.Column("asked_at", Utc, nullable=False),
    sa.Column("reported_at", Utc, nullable=True),
)

commitment_deliveries = sa.Table(
    "commitment_deliveries",
    metadata,
    sa.Column("transaction_uid", sa.ForeignKey("commitments.transaction_uid"), primary_key=True),
    sa.Column("delivery_id", sa.ForeignKey("deliveries.id"), primary_key=True),
    sa.Column("attempt", sa.Integer, nullable=False, comment="the sending that was asked about"),
    sqlite_with_rowid=False,
)

source_commitments = sa.Table(
    "source_commitments",
    metadata,
    sa.Column("transaction_uid", sa.Text, primary_key=True),
    sa.Column("destination", sa.Text, nullable=False),
    sa.Column("asked_at", Utc, nullable=False),
    sa.Column("reported_at", Utc, nullable=True),
)

source_commitment_instances = sa.Table(
    "source_commitment_instances",
    metadata,
    sa.Column("transaction_uid", sa.ForeignKey("source_commitments.transaction_uid"), primary_key=True),
    sa.Column("instance_id", sa.ForeignKey("instances.id"), primary_key=True),
    sa.Index("source_commitments_of", "instance_id"),
    sqlite_with_rowid=False,
)

removals = sa.Table(
    "removals",
    metadata,
    sa.Column("key", sa.Text, primary_key=True, comment="bytes that are marked as swept and may still be there"),
    sa.Column("what", sa.Text, nullable=False),
    sa.Column("row", sa.Integer, nullable=False, comment="in instances or evidence"),
    sqlite_with_rowid=False,
)

capabilities = sa.Table(
    "capabilities",
    metadata,
    sa.Column("destination", sa.Text, primary_key=True),
    sa.Column("asked_at", Utc, nullable=False),
    sa.Column("classes", sa.JSON, nullable=False, comment="SOP classes that it accepted"),
)

switches = sa.Table(
    "switches",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("since", Utc, nullable=False),
)

history = sa.Table(
    "history",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("at", Utc, nullable=False),
    sa.Column("subject", sa.Text, nullable=False, comment="study, instance, job, delivery, commitment or node"),
    sa.Column("subject_id", sa.Text, nullable=False),
    sa.Column("event", sa.Text, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Index("history_by_subject", "subject", "subject_id"),
    sqlite_autoincrement=True,
)

# The history only grows: not even a faulty verb can rewrite it.
HISTORY_GUARDS = tuple(
    f"CREATE TRIGGER history_keeps_on_{verb.lower()} BEFORE {verb} ON history "
    "BEGIN SELECT RAISE(ABORT, 'history is append-only'); END"
    for verb in ("UPDATE", "DELETE")
)
for _guard in HISTORY_GUARDS:
    sa.event.listen(history, "after_create", sa.DDL(_guard))  # type: ignore[no-untyped-call]
