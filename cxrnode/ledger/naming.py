"""From a name that a log uses for a UID back to the study.

Hides where UIDs stand. Promises every study that has the UID itself or an instance or evidence of it; it walks all of
them, which an operator's question may do.
"""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa

from cxrnode.ledger.schema import evidence, instances, studies


def studies_named(connection: sa.Connection, matches: Callable[[str], bool]) -> list[str]:
    """Give the UIDs of the studies for which `matches` holds of their own UID, or of one of their objects."""
    found: dict[str, None] = {}
    asked = (
        sa.select(studies.c.study_uid, studies.c.study_uid),
        sa.select(instances.c.study_uid, instances.c.sop_instance_uid),
        sa.select(evidence.c.study_uid, evidence.c.sop_instance_uid),
    )
    for each in asked:
        rows = connection.execute(each.execution_options(yield_per=1000))
        found |= dict.fromkeys(study for study, uid in rows if study and matches(uid))
    return list(found)
