"""The one truth: what came in, what is to be done, what went out.

Hides SQLAlchemy, SQLite and Alembic. Promises that each verb of `SqliteLedger` is one transaction, durable when it
returns, and that a step which the life cycles do not know changes nothing.
"""

from __future__ import annotations

from cxrnode.ledger.sqlite import SqliteLedger
from cxrnode.ledger.views import (
    Counts,
    DeliveryView,
    EvidenceView,
    HistoryEntry,
    InstanceView,
    JobDetails,
    JobView,
    MemberView,
)

__all__ = [
    "Counts",
    "DeliveryView",
    "EvidenceView",
    "HistoryEntry",
    "InstanceView",
    "JobDetails",
    "JobView",
    "MemberView",
    "SqliteLedger",
]
