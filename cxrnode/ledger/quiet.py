"""Studies that have been quiet for long enough to be closed, a page at a time.

Hides the index. Promises that a page costs the same however many studies are open: ten thousand of them are never read
at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa

from cxrnode.domain.identity import StudyUID
from cxrnode.ledger.schema import StudyState, Utc, is_state, studies
from cxrnode.ledger.stated import has_untold_retraction

Place = tuple[StudyUID, datetime]
"""A study and the time of its last instance: where a page ends."""


def quiet_studies(connection: sa.Connection, until: datetime, *, after: Place | None, limit: int) -> Sequence[Place]:
    """Give open studies whose last instance came at `until` or before, the longest quiet first, from `after` on.

    A study whose retraction is not told yet is not among them.
    """
    here = sa.tuple_(studies.c.last_instance_at, studies.c.study_uid)
    found = (
        sa.select(studies.c.study_uid, studies.c.last_instance_at)
        .where(
            is_state(studies.c.state, StudyState.OPEN),
            studies.c.last_instance_at <= until,
            ~has_untold_retraction(studies.c.study_uid),
        )
        .order_by(studies.c.last_instance_at, studies.c.study_uid)
        .limit(limit)
    )
    if after:
        found = found.where(here > sa.tuple_(sa.literal(after[1], Utc), after[0]))
    return [(StudyUID(row.study_uid), row.last_instance_at) for row in connection.execute(found)]
