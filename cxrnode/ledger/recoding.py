"""The same UID in another transfer syntax: what is kept until somebody has compared the pixels, and what follows.

Promises that a copy which shows the same pixels changes nothing but a corrected header, and that one which shows
others is a conflict for a person, exactly as if it had come in the first one's transfer syntax.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa

from cxrnode.ledger.history import note
from cxrnode.ledger.receiving import close_if_empty, describe_study, open_study, verdict_on
from cxrnode.ledger.rows import description_of
from cxrnode.ledger.schema import Standing, instances, is_state
from cxrnode.ports import Recoding


def waiting(connection: sa.Connection, limit: int) -> Sequence[Recoding]:
    """Give recoded copies that nobody has compared yet, the oldest first."""
    current = instances.alias()
    found = (
        sa.select(instances.c.id, instances.c.key, current.c.key.label("current_key"), instances.c.study_uid)
        .join(current, current.c.sop_instance_uid == instances.c.sop_instance_uid)
        .where(
            is_state(instances.c.standing, Standing.RECODED),
            is_state(current.c.standing, Standing.CURRENT),
            current.c.study_uid.is_not(None),
            current.c.swept_at.is_(None),
        )
        .order_by(instances.c.id)
        .limit(limit)
    )
    return [
        Recoding(row=row.id, key=row.key, current_key=row.current_key, study_uid=row.study_uid)
        for row in connection.execute(found)
    ]


def settle(connection: sa.Connection, recoding: Recoding, now: datetime, *, same: bool) -> None:
    """Write what the comparison came to. A row that is settled already is left as it is."""
    row = connection.execute(
        sa.select(instances).where(instances.c.id == recoding.row, is_state(instances.c.standing, Standing.RECODED))
    ).first()
    current = connection.execute(
        sa.select(instances).where(
            instances.c.key == recoding.current_key, is_state(instances.c.standing, Standing.CURRENT)
        )
    ).first()
    if row is None or current is None:
        return
    if not same:
        _stand(connection, row.id, Standing.CONFLICT, code="conflict")
    elif row.header_digest != current.header_digest:
        _stand(connection, current.id, Standing.REPLACED, code=current.code)
        described = description_of(row)
        _stand(connection, row.id, Standing.CURRENT, code=None if row.candidate else verdict_on(described))
        describe_study(connection, described)
    else:
        _stand(connection, row.id, Standing.REPLACED, code="recoded")
        note(connection, now, "instance", row.id, "same pixels", current.study_uid)
        return
    note(connection, now, "instance", row.id, "same pixels, new header" if same else "conflict", current.study_uid)
    # A conflict waits in the study that has the image; a new header may name another study, and moves it there.
    study = row.study_uid if same else current.study_uid
    if row.candidate:
        open_study(connection, study, now)
    if study != current.study_uid:
        close_if_empty(connection, current.study_uid, now)


def _stand(connection: sa.Connection, row: int, standing: Standing, *, code: str | None) -> None:
    connection.execute(instances.update().where(instances.c.id == row).values(standing=standing, code=code))
