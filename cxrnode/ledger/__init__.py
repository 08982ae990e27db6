"""The one truth: what came in, what is to be done, what went out.

Hides SQLAlchemy, SQLite and Alembic. Promises that each verb of `SqliteLedger` is one transaction, durable when it
returns, and that a step which the life cycles do not know changes nothing.
"""

from __future__ import annotations

from cxrnode.ledger.sqlite import SqliteLedger

__all__ = ["SqliteLedger"]
