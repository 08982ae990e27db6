"""What destinations take, what is withdrawn or objected to, and results that are taken back."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_ADDED = (
    """
    ALTER TABLE jobs ADD COLUMN fallbacks JSON DEFAULT '{}' NOT NULL
    """,
    """
    ALTER TABLE evidence ADD COLUMN objection TEXT DEFAULT '' NOT NULL
    """,
    """
    CREATE TABLE retractions (
        job_id INTEGER NOT NULL,
        retraction_id INTEGER NOT NULL,
        because TEXT NOT NULL,
        PRIMARY KEY (job_id),
        FOREIGN KEY(job_id) REFERENCES jobs (id),
        FOREIGN KEY(retraction_id) REFERENCES jobs (id)
    )
     WITHOUT ROWID
    """,
    """
    CREATE INDEX jobs_of_retraction ON retractions (retraction_id)
    """,
    """
    CREATE TABLE capabilities (
        destination TEXT NOT NULL,
        asked_at TEXT NOT NULL,
        classes JSON NOT NULL,
        PRIMARY KEY (destination)
    )
    """,
)

# Reports are filed under their line from now on, and the next one has to find the one that it follows.
_REPORTS = """
    UPDATE evidence SET kind = 'SR '
        || CASE sop_class_uid
            WHEN '1.2.840.10008.5.1.4.1.1.88.34' THEN 'comprehensive-3d'
            WHEN '1.2.840.10008.5.1.4.1.1.88.22' THEN 'enhanced'
            ELSE 'comprehensive' END
        || CASE kind WHEN 'SR' THEN ' viewer' ELSE ' strict' END
    WHERE kind IN ('SR', 'SR-strict')
    """

_COLUMNS = (
    "id, evidence_id, destination, state, attempt, tries, due_at, lease_until, incarnation, reason, ask_at, sent_at, "
    "committed_at"
)

# SQLite cannot change a CHECK: the table is made anew. The rows are put back into a table of the same name, not renamed
# into it: only inserting settles the foreign keys that dropping left open.
_DELIVERIES = (
    "PRAGMA defer_foreign_keys = ON",
    f"CREATE TABLE deliveries_before AS SELECT {_COLUMNS} FROM deliveries",
    "DROP TABLE deliveries",
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
        CONSTRAINT delivery_state CHECK (state IN ('PENDING', 'SENDING', 'SENT', 'COMMITTED', 'PARKED', 'WITHDRAWN')),
        CONSTRAINT delivery_lease CHECK ((state = 'SENDING') = (lease_until IS NOT NULL)),
        CONSTRAINT delivery_holder CHECK ((state = 'SENDING') = (incarnation IS NOT NULL)),
        CONSTRAINT delivery_committed CHECK ((state = 'COMMITTED') = (committed_at IS NOT NULL)),
        CONSTRAINT delivery_asking CHECK (state = 'SENT' OR ask_at IS NULL),
        CONSTRAINT one_delivery_a_destination UNIQUE (evidence_id, destination),
        FOREIGN KEY(evidence_id) REFERENCES evidence (id)
    )
    """,
    f"INSERT INTO deliveries ({_COLUMNS}) SELECT {_COLUMNS} FROM deliveries_before",
    "DROP TABLE deliveries_before",
    "CREATE INDEX deliveries_committed ON deliveries (destination, state) WHERE state = 'COMMITTED'",
    "CREATE INDEX deliveries_due ON deliveries (destination, due_at, id, state) WHERE state = 'PENDING'",
    "CREATE INDEX deliveries_leased ON deliveries (destination, lease_until, state) WHERE state = 'SENDING'",
    "CREATE INDEX deliveries_parked ON deliveries (destination, state) WHERE state = 'PARKED'",
    "CREATE INDEX deliveries_to_ask ON deliveries (destination, ask_at, state) WHERE state = 'SENT'",
    "CREATE INDEX deliveries_withdrawn ON deliveries (destination, state) WHERE state = 'WITHDRAWN'",
)


def upgrade() -> None:
    """Add the columns and tables, file the reports under their lines, and let deliveries be withdrawn."""
    for statement in (*_ADDED, _REPORTS, *_DELIVERIES):
        op.execute(statement)
