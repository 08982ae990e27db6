"""What is urgent goes first; what is swept from the spool, and which destination promised to keep a source."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_STATEMENTS = (
    "ALTER TABLE instances ADD COLUMN priority INTEGER DEFAULT 0 NOT NULL",
    "ALTER TABLE instances ADD COLUMN swept_at TEXT",
    "ALTER TABLE instances ADD COLUMN held_at TEXT",
    "ALTER TABLE instances ADD COLUMN kept_again_at TEXT",
    "CREATE INDEX instances_in_spool ON instances (id) WHERE swept_at IS NULL",
    "ALTER TABLE jobs ADD COLUMN priority INTEGER DEFAULT 0 NOT NULL",
    "ALTER TABLE deliveries ADD COLUMN priority INTEGER DEFAULT 0 NOT NULL",
    "ALTER TABLE evidence ADD COLUMN swept_at TEXT",
    "CREATE INDEX evidence_in_spool ON evidence (id) WHERE swept_at IS NULL",
    # Each class of priority is asked for its oldest by itself; the open studies are read in pages.
    "DROP INDEX jobs_due",
    "CREATE INDEX jobs_due ON jobs (priority, due_at, id, state) WHERE state = 'SCHEDULED'",
    "DROP INDEX deliveries_due",
    "CREATE INDEX deliveries_due ON deliveries (destination, priority, due_at, id, state) WHERE state = 'PENDING'",
    "DROP INDEX studies_open",
    "CREATE INDEX studies_open ON studies (last_instance_at, study_uid, state) WHERE state = 'OPEN'",
    """
    CREATE TABLE source_commitments (
        transaction_uid TEXT NOT NULL,
        destination TEXT NOT NULL,
        asked_at TEXT NOT NULL,
        reported_at TEXT,
        PRIMARY KEY (transaction_uid)
    )
    """,
    """
    CREATE TABLE source_commitment_instances (
        transaction_uid TEXT NOT NULL,
        instance_id INTEGER NOT NULL,
        PRIMARY KEY (transaction_uid, instance_id),
        FOREIGN KEY(transaction_uid) REFERENCES source_commitments (transaction_uid),
        FOREIGN KEY(instance_id) REFERENCES instances (id)
    )
     WITHOUT ROWID
    """,
    "CREATE INDEX source_commitments_of ON source_commitment_instances (instance_id)",
    """
    CREATE TABLE removals (
        "key" TEXT NOT NULL,
        what TEXT NOT NULL,
        "row" INTEGER NOT NULL,
        PRIMARY KEY ("key")
    )
     WITHOUT ROWID
    """,
)


def upgrade() -> None:
    """Add the columns and tables, and put the priority in front of what is claimed by its due time."""
    for statement in _STATEMENTS:
        op.execute(statement)
