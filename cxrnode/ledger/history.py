"""The ledger's history: what happened to what, and when.

Hides where it lies. Promises a line in the same transaction as the step it tells of, and that no line holds patient
data: subjects are UIDs and row numbers, details are words of our own.
"""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from cxrnode.ledger.schema import history


def note(
    connection: sa.Connection, now: datetime, subject: str, subject_id: object, event: str, detail: str = ""
) -> None:
    """Write a line of the history. `detail` is in words of our own: no patient data."""
    connection.execute(
        history.insert().values(at=now, subject=subject, subject_id=str(subject_id), event=event, detail=detail)
    )
