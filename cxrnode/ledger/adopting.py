"""Recording what was kept before, and has no row: acknowledged instances that a restored ledger does not know.

Hides which of two headers is the newer one. Promises that an older revision of an image never takes the place of one
that came after it, in whatever order they are found.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from cxrnode.domain.study import Description, Recorded, Sender
from cxrnode.ledger import receiving
from cxrnode.ledger.rows import description_of
from cxrnode.ledger.schema import Standing, StudyState, instances, is_state, studies


def adopt(
    connection: sa.Connection,
    description: Description,
    sender: Sender,
    key: str,
    kept_at: datetime,
    now: datetime,
    *,
    candidate: bool,
) -> Recorded:
    """Record what was kept at `kept_at`; where the current revision came later, that one stays the current one."""
    current = _current(connection, description)
    recorded = receiving.record(connection, description, sender, key, now, candidate=candidate, priority=0)
    if recorded is Recorded.DUPLICATE:
        return recorded
    connection.execute(instances.update().where(instances.c.key == key).values(received_at=kept_at))
    if recorded is Recorded.REVISION and current is not None and kept_at < current.received_at:
        _stand_back(connection, key, current, now)
        if candidate or current.study_state == StudyState.OPEN:
            receiving.open_study(connection, current.study_uid, now)
        if description.study_uid != current.study_uid:
            receiving.close_if_empty(connection, description.study_uid, now)
    return recorded


def _current(connection: sa.Connection, description: Description) -> sa.Row[Any] | None:
    return connection.execute(
        sa.select(instances, studies.c.state.label("study_state"))
        .join(studies, studies.c.study_uid == instances.c.study_uid)
        .where(
            instances.c.sop_instance_uid == description.sop_instance_uid,
            instances.c.study_uid.is_not(None),
            is_state(instances.c.standing, Standing.CURRENT),
        )
    ).first()


def _stand_back(connection: sa.Connection, key: str, current: sa.Row[Any], now: datetime) -> None:
    """Let the later revision be the current one again, under its own header and in its own study."""
    older = instances.c.key == key
    connection.execute(instances.update().where(older).values(standing=Standing.REPLACED, code="replaced"))
    connection.execute(instances.update().where(instances.c.id == current.id).values(standing=Standing.CURRENT))
    receiving.describe_study(connection, description_of(current))
