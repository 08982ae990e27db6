"""Recording what was kept, and closing studies over it.

Hides how one content is told from another. Promises these rules:

- An instance is compared with what is kept under its SOP Instance UID, in whichever study: those UIDs are global
  (PS3.5 9.1), so a corrected Study Instance UID is a new header of the same image and moves it. The bytes of any kept
  revision, come again, are a duplicate.
- An instance whose header cannot be read belongs to no study, has its verdict at once, and is compared by its bytes
  alone.
- A conflict reopens the study, so that closing makes a job for it, and that job is born parked: a person looks, and
  an operator's retry settles the conflict and analyses the pixels that were kept first.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

import sqlalchemy as sa

from cxrnode.domain.identity import StudyUID
from cxrnode.domain.selection import NotSuitable, select
from cxrnode.domain.study import Description, Recorded, Sender, classify
from cxrnode.ledger.history import note
from cxrnode.ledger.rows import description_of, instance_columns, instance_of, patient_columns
from cxrnode.ledger.schema import Standing, StudyState, instances, is_state, studies
from cxrnode.ledger.stated import has_untold_retraction
from cxrnode.ports import Membership

_KEYS_AT_ONCE = 10_000

_STANDING = {
    Recorded.NEW: Standing.CURRENT,
    Recorded.REVISION: Standing.CURRENT,
    Recorded.RECODED: Standing.RECODED,
    Recorded.CUT: Standing.REPLACED,
    Recorded.CONFLICT: Standing.CONFLICT,
}


def find_twin(connection: sa.Connection, description: Description) -> Recorded:
    """Tell what recording this would make of it."""
    return _compare(connection, description)[0]


def twin_of(connection: sa.Connection, description: Description) -> sa.Row[Any] | None:
    """Give the row that a duplicate repeats, None where it is none."""
    recorded, known = _compare(connection, description)
    return known if recorded is Recorded.DUPLICATE else None


def record(
    connection: sa.Connection,
    description: Description,
    sender: Sender,
    key: str,
    now: datetime,
    *,
    candidate: bool,
    priority: int,
) -> Recorded:
    """Record a kept instance and let it join its study."""
    recorded, current = _compare(connection, description)
    if recorded is Recorded.DUPLICATE:
        return recorded
    if recorded is Recorded.REVISION and current is not None:
        _set_standing(connection, current.id, Standing.REPLACED)
    columns = instance_columns(description, sender, key, now)
    columns |= {"standing": _STANDING[recorded], "candidate": candidate, "study_uid": None, "priority": priority}
    if _stands_alone(description):
        columns["code"] = description.unreadable or ("unreadable_header" if description.study_uid else "no_study")
    else:
        columns["study_uid"] = description.study_uid
        columns["code"] = _join(connection, description, recorded, now, candidate=candidate)
    row = connection.execute(instances.insert().values(**columns)).inserted_primary_key
    note(connection, now, "instance", row[0] if row else "", recorded, description.study_uid)
    if recorded is Recorded.REVISION and current is not None and current.study_uid != description.study_uid:
        close_if_empty(connection, current.study_uid, now)
    if recorded is Recorded.CONFLICT and candidate and current is not None:
        open_study(connection, current.study_uid, now)
        note(connection, now, "study", current.study_uid, "conflict", description.sop_instance_uid)
    return recorded


def _stands_alone(description: Description) -> bool:
    return bool(description.unreadable) or not description.study_uid or not description.sop_instance_uid


def _compare(connection: sa.Connection, description: Description) -> tuple[Recorded, sa.Row[Any] | None]:
    """Classify against the revisions kept under the UID; give the one that it repeats, else the current one, if any."""
    alone = _stands_alone(description)
    of_uid = (instances.c.sop_instance_uid == description.sop_instance_uid) & (
        instances.c.study_uid.is_(None) if alone else instances.c.study_uid.is_not(None)
    )
    same_bytes = sa.select(instances).where(of_uid, instances.c.bytes_digest == description.bytes_digest)
    if same := connection.execute(same_bytes.limit(1)).first():
        return Recorded.DUPLICATE, same
    if alone:
        return Recorded.NEW, None
    current = connection.execute(
        sa.select(instances).where(of_uid, is_state(instances.c.standing, Standing.CURRENT))
    ).first()
    if current is None:
        return Recorded.NEW, None
    recorded = classify(description_of(current), description)
    if recorded is Recorded.RECODED and current.swept_at and current.header_digest == description.header_digest:
        # The archive that keeps it gives it back in a transfer syntax of its own; there is nothing to compare it with.
        recorded = Recorded.DUPLICATE
    return recorded, current


def _join(
    connection: sa.Connection, description: Description, recorded: Recorded, now: datetime, *, candidate: bool
) -> str | None:
    """Let an instance join its study; give its verdict where no closing will give it one."""
    joins = recorded in {Recorded.NEW, Recorded.REVISION}
    study = connection.execute(sa.select(studies.c.state).where(studies.c.study_uid == description.study_uid)).first()
    if study is None:
        state = StudyState.OPEN if joins else StudyState.CLOSED
        connection.execute(
            studies.insert().values(
                study_uid=description.study_uid,
                state=state,
                generation=1 if joins else 0,
                last_instance_at=now,
                **patient_columns(description.patient),
            )
        )
    if not joins:
        return str(recorded)  # "conflict", "cut" and "recoded" are reasons of selection, too
    if study is not None:
        describe_study(connection, description)
        if not candidate and study.state == StudyState.CLOSED:
            return verdict_on(description)
        open_study(connection, description.study_uid, now)
    return None


def verdict_on(description: Description) -> str | None:
    """Give the verdict on what reopens no study: no closing will give it one."""
    verdict = select(description.facts)
    return verdict.code if isinstance(verdict, NotSuitable) else None


def describe_study(connection: sa.Connection, description: Description) -> None:
    """Let the study be found by what its newest header states; what that one leaves out stays."""
    stated = {name: value for name, value in patient_columns(description.patient).items() if value}
    if stated:
        connection.execute(studies.update().where(studies.c.study_uid == description.study_uid).values(**stated))


def open_study(connection: sa.Connection, study: str, now: datetime) -> None:
    """Open the study, or keep it open, and move its generation on, which fences a closing that has not seen this."""
    connection.execute(
        studies.update()
        .where(studies.c.study_uid == study)
        .values(state=StudyState.OPEN, generation=studies.c.generation + 1, last_instance_at=now)
    )


def close_if_empty(connection: sa.Connection, study: str, now: datetime) -> None:
    """Close a study whose last instance has moved to another: it has nothing to decide on."""
    left = sa.exists().where(
        instances.c.study_uid == studies.c.study_uid, is_state(instances.c.standing, Standing.CURRENT)
    )
    emptied = connection.execute(
        studies.update()
        .where(studies.c.study_uid == study, ~left)
        .values(state=StudyState.CLOSED, generation=studies.c.generation + 1)
    )
    if emptied.rowcount:
        note(connection, now, "study", study, "emptied")


def _set_standing(connection: sa.Connection, row: int, standing: Standing) -> None:
    connection.execute(instances.update().where(instances.c.id == row).values(standing=standing))


def unknown_keys(connection: sa.Connection, keys: Collection[str]) -> list[str]:
    """Give those of the keys that no row has, in their order."""
    waiting, unknown = iter(keys), list[str]()
    while part := list(islice(waiting, _KEYS_AT_ONCE)):
        asked = sa.func.json_each(json.dumps(part)).table_valued("value")
        known = sa.select(asked.c.value).where(sa.exists().where(instances.c.key == asked.c.value))
        found = set(connection.execute(known).scalars())
        unknown += [key for key in part if key not in found]
    return unknown


def open_studies(connection: sa.Connection) -> Sequence[tuple[StudyUID, datetime]]:
    """Give the open studies, the longest quiet first, but those whose retraction is not told yet."""
    found = connection.execute(
        sa.select(studies.c.study_uid, studies.c.last_instance_at)
        .where(is_state(studies.c.state, StudyState.OPEN), ~has_untold_retraction(studies.c.study_uid))
        .order_by(studies.c.last_instance_at)
    )
    return [(StudyUID(row.study_uid), row.last_instance_at) for row in found]


def membership(connection: sa.Connection, study: StudyUID) -> Membership:
    """Give the current revisions of a study in the order they came; generation 0 and none for an unknown study."""
    generation = connection.execute(sa.select(studies.c.generation).where(studies.c.study_uid == study)).scalar() or 0
    found = connection.execute(
        sa.select(instances)
        .where(instances.c.study_uid == study, is_state(instances.c.standing, Standing.CURRENT))
        .order_by(instances.c.id)
    )
    return Membership(study_uid=study, generation=generation, instances=tuple(instance_of(row) for row in found))
