"""The first ledger."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_STATEMENTS = (
    """
    CREATE TABLE commitments (
        transaction_uid TEXT NOT NULL,
        destination TEXT NOT NULL,
        asked_at TEXT NOT NULL,
        reported_at TEXT,
        PRIMARY KEY (transaction_uid)
    )
    """,
    """
    CREATE TABLE history (
        id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
        at TEXT NOT NULL,
        subject TEXT NOT NULL,
        subject_id TEXT NOT NULL,
        event TEXT NOT NULL,
        detail TEXT NOT NULL
    )
    """,
    """
    CREATE INDEX history_by_subject ON history (subject, subject_id)
    """,
    """
    CREATE TABLE studies (
        study_uid TEXT NOT NULL,
        state TEXT NOT NULL,
        generation INTEGER NOT NULL,
        last_instance_at TEXT NOT NULL,
        patient_id TEXT NOT NULL,
        patient_name TEXT NOT NULL,
        accession_number TEXT NOT NULL,
        study_date TEXT NOT NULL,
        PRIMARY KEY (study_uid),
        CONSTRAINT study_state CHECK (state IN ('OPEN', 'CLOSED'))
    )
    """,
    """
    CREATE INDEX studies_by_accession ON studies (accession_number)
    """,
    """
    CREATE INDEX studies_by_patient ON studies (patient_id)
    """,
    """
    CREATE INDEX studies_open ON studies (last_instance_at, state) WHERE state = 'OPEN'
    """,
    """
    CREATE TABLE switches (
        name TEXT NOT NULL,
        since TEXT NOT NULL,
        PRIMARY KEY (name)
    )
    """,
    """
    CREATE TABLE evidence (
        id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
        study_uid TEXT NOT NULL,
        kind TEXT NOT NULL,
        sop_class_uid TEXT NOT NULL,
        sop_instance_uid TEXT NOT NULL,
        source TEXT NOT NULL,
        model TEXT NOT NULL,
        "key" TEXT NOT NULL,
        sha256 TEXT NOT NULL,
        kept_at TEXT NOT NULL,
        FOREIGN KEY(study_uid) REFERENCES studies (study_uid),
        UNIQUE (sop_instance_uid)
    )
    """,
    """
    CREATE INDEX evidence_by_study ON evidence (study_uid)
    """,
    """
    CREATE TABLE instances (
        id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
        study_uid TEXT,
        standing TEXT NOT NULL,
        candidate BOOLEAN NOT NULL,
        code TEXT,
        summary JSON,
        series_uid TEXT NOT NULL,
        sop_class_uid TEXT NOT NULL,
        sop_instance_uid TEXT NOT NULL,
        transfer_syntax_uid TEXT NOT NULL,
        patient_id TEXT NOT NULL,
        patient_name TEXT NOT NULL,
        accession_number TEXT NOT NULL,
        study_date TEXT NOT NULL,
        facts JSON NOT NULL,
        header_digest TEXT NOT NULL,
        pixel_digest TEXT NOT NULL,
        bytes_digest TEXT NOT NULL,
        size INTEGER NOT NULL,
        unreadable TEXT NOT NULL,
        calling_ae TEXT NOT NULL,
        called_ae TEXT NOT NULL,
        address TEXT NOT NULL,
        association TEXT NOT NULL,
        "key" TEXT NOT NULL,
        received_at TEXT NOT NULL,
        CONSTRAINT instance_standing CHECK (standing IN ('current', 'replaced', 'recoded', 'conflict', 'settled')),
        FOREIGN KEY(study_uid) REFERENCES studies (study_uid)
    )
    """,
    """
    CREATE INDEX instances_by_key ON instances ("key")
    """,
    """
    CREATE INDEX instances_by_study ON instances (study_uid, standing)
    """,
    """
    CREATE INDEX instances_by_uid ON instances (sop_instance_uid, bytes_digest)
    """,
    """
    CREATE INDEX instances_recoded ON instances (id) WHERE standing = 'recoded'
    """,
    """
    CREATE UNIQUE INDEX one_current_revision ON instances (sop_instance_uid)
        WHERE study_uid IS NOT NULL AND standing = 'current'
    """,
    """
    CREATE TABLE jobs (
        id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
        study_uid TEXT NOT NULL,
        generation INTEGER NOT NULL,
        state TEXT NOT NULL,
        attempt INTEGER NOT NULL,
        tries INTEGER NOT NULL,
        due_at TEXT NOT NULL,
        lease_until TEXT,
        incarnation TEXT,
        models JSON NOT NULL,
        destinations JSON NOT NULL,
        reason TEXT NOT NULL,
        scheduled_at TEXT NOT NULL,
        ended_at TEXT,
        CONSTRAINT job_state CHECK (state IN ('SCHEDULED', 'IN_PROGRESS', 'COMPLETED', 'CANCELED', 'PARKED')),
        CONSTRAINT job_lease CHECK ((state = 'IN_PROGRESS') = (lease_until IS NOT NULL)),
        CONSTRAINT job_holder CHECK ((state = 'IN_PROGRESS') = (incarnation IS NOT NULL)),
        CONSTRAINT job_end CHECK ((state IN ('COMPLETED', 'CANCELED')) = (ended_at IS NOT NULL)),
        FOREIGN KEY(study_uid) REFERENCES studies (study_uid)
    )
    """,
    """
    CREATE INDEX jobs_by_study ON jobs (study_uid)
    """,
    """
    CREATE INDEX jobs_due ON jobs (due_at, id, state) WHERE state = 'SCHEDULED'
    """,
    """
    CREATE INDEX jobs_ended ON jobs (state, ended_at) WHERE ended_at IS NOT NULL
    """,
    """
    CREATE INDEX jobs_leased ON jobs (lease_until, state) WHERE state = 'IN_PROGRESS'
    """,
    """
    CREATE INDEX jobs_parked ON jobs (state) WHERE state = 'PARKED'
    """,
    """
    CREATE UNIQUE INDEX one_running_job ON jobs (study_uid) WHERE state = 'IN_PROGRESS'
    """,
    """
    CREATE UNIQUE INDEX one_waiting_job ON jobs (study_uid) WHERE state = 'SCHEDULED'
    """,
    """
    CREATE TABLE deliveries (
        id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
        evidence_id INTEGER NOT NULL,
        destination TEXT NOT NULL,
        state TEXT NOT NULL,
        attempt INTEGER NOT NULL,
        tries INTEGER NOT NULL,
        due_at TEXT NOT NULL,
        lease_until TEXT,
        incarnation TEXT,
        reason TEXT NOT NULL,
        ask_at TEXT,
        sent_at TEXT,
        committed_at TEXT,
        CONSTRAINT delivery_state CHECK (state IN ('PENDING', 'SENDING', 'SENT', 'COMMITTED', 'PARKED')),
        CONSTRAINT delivery_lease CHECK ((state = 'SENDING') = (lease_until IS NOT NULL)),
        CONSTRAINT delivery_holder CHECK ((state = 'SENDING') = (incarnation IS NOT NULL)),
        CONSTRAINT delivery_committed CHECK ((state = 'COMMITTED') = (committed_at IS NOT NULL)),
        CONSTRAINT delivery_asking CHECK (state = 'SENT' OR ask_at IS NULL),
        CONSTRAINT one_delivery_a_destination UNIQUE (evidence_id, destination),
        FOREIGN KEY(evidence_id) REFERENCES evidence (id)
    )
    """,
    """
    CREATE INDEX deliveries_committed ON deliveries (destination, state) WHERE state = 'COMMITTED'
    """,
    """
    CREATE INDEX deliveries_due ON deliveries (destination, due_at, id, state) WHERE state = 'PENDING'
    """,
    """
    CREATE INDEX deliveries_leased ON deliveries (destination, lease_until, state) WHERE state = 'SENDING'
    """,
    """
    CREATE INDEX deliveries_parked ON deliveries (destination, state) WHERE state = 'PARKED'
    """,
    """
    CREATE INDEX deliveries_to_ask ON deliveries (destination, ask_at, state) WHERE state = 'SENT'
    """,
    """
    CREATE TABLE job_evidence (
        job_id INTEGER NOT NULL,
        evidence_id INTEGER NOT NULL,
        stated_at TEXT NOT NULL,
        PRIMARY KEY (job_id, evidence_id),
        FOREIGN KEY(job_id) REFERENCES jobs (id),
        FOREIGN KEY(evidence_id) REFERENCES evidence (id)
    )
     WITHOUT ROWID
    """,
    """
    CREATE INDEX jobs_of_evidence ON job_evidence (evidence_id)
    """,
    """
    CREATE TABLE job_members (
        job_id INTEGER NOT NULL,
        instance_id INTEGER NOT NULL,
        verdict TEXT NOT NULL,
        outcome TEXT,
        summary JSON,
        PRIMARY KEY (job_id, instance_id),
        FOREIGN KEY(job_id) REFERENCES jobs (id),
        FOREIGN KEY(instance_id) REFERENCES instances (id)
    )
     WITHOUT ROWID
    """,
    """
    CREATE TABLE commitment_deliveries (
        transaction_uid TEXT NOT NULL,
        delivery_id INTEGER NOT NULL,
        attempt INTEGER NOT NULL,
        PRIMARY KEY (transaction_uid, delivery_id),
        FOREIGN KEY(transaction_uid) REFERENCES commitments (transaction_uid),
        FOREIGN KEY(delivery_id) REFERENCES deliveries (id)
    )
     WITHOUT ROWID
    """,
    """
    CREATE TRIGGER history_keeps_on_update BEFORE UPDATE ON history
        BEGIN SELECT RAISE(ABORT, 'history is append-only'); END
    """,
    """
    CREATE TRIGGER history_keeps_on_delete BEFORE DELETE ON history
        BEGIN SELECT RAISE(ABORT, 'history is append-only'); END
    """,
)


def upgrade() -> None:
    """Make every table, index and trigger."""
    for statement in _STATEMENTS:
        op.execute(statement)
