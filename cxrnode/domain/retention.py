"""How long bytes are kept, and why some stay whatever their age.

Hides nothing. Promises that without a rule nothing goes, and that a reason to stay wins over every age and every lack
of room: only bytes go, and only those that somebody else holds, unless the operator says otherwise.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


class What(StrEnum):
    """What kind of bytes."""

    SOURCE = "source"
    """An instance as it was received."""
    EVIDENCE = "evidence"
    """An object that the node wrote."""


class Why(StrEnum):
    """Why bytes stay, whatever their age; in the order in which they are asked about."""

    OPEN = "open"
    JOB = "job"
    UNDECIDED = "undecided"
    REPORT = "report"
    UNDELIVERED = "undelivered"
    NOT_HELD = "not_held"
    MAY_GO = "may_go"
    """Nothing keeps them but their age."""


class Stand(StrEnum):
    """What becomes of bytes that nothing but the rules keeps."""

    NO_RULE = "no_rule"
    YOUNG = "young"
    WHEN_SHORT = "when_short"
    GOES = "goes"


SENTENCES: dict[str, str] = {
    Why.OPEN: "its study is open, or nothing is decided on it yet",
    Why.JOB: "a job of its study waits, runs or is parked",
    Why.UNDECIDED: "the same SOP Instance UID came with other content, and that is not settled",
    Why.REPORT: "reports and rejection notes stay: later ones follow them",
    Why.UNDELIVERED: "evidence of its study is on its way, not committed yet, parked or objected to",
    Why.NOT_HELD: "no destination has committed to keep it",
    Stand.NO_RULE: "no rule says that it goes",
    Stand.YOUNG: "it is not old enough",
    Stand.WHEN_SHORT: "it goes when the disk is short of room",
    Stand.GOES: "it goes with the next sweep",
}
"""Why something stays or goes, for a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """Bytes in the spool, and what the ledger says of them."""

    what: What
    row: int
    key: str
    since: datetime
    """When they came, came again, or were written."""
    analysed: bool
    """Of a source: whether a model looked at it."""
    why: Why
    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the operator decided. Days of 0: no limit; `below_free_bytes` of 0: whatever the disk's room."""

    source_days: float = 0
    not_analysed_days: float = 0
    evidence_days: float = 0
    below_free_bytes: int = 0
    uncommitted: bool = False
    """Whether what no destination committed to keep may go, too."""
    held_by: tuple[str, ...] = ()
    """Names of the destinations that are asked to commit to sources."""

    def __bool__(self) -> bool:
        """Tell whether anything can ever go."""
        return bool(self.source_days or self.not_analysed_days or self.evidence_days or self.below_free_bytes)

    def days(self, holding: Holding) -> float:
        """Give after how many days such bytes go, 0 where that is never."""
        if holding.what is What.EVIDENCE:
            return self.evidence_days
        return self.source_days if holding.analysed else self.not_analysed_days

    def is_over(self, holding: Holding, now: datetime) -> bool:
        """Tell whether the bytes are older than they are kept."""
        days = self.days(holding)
        return bool(days) and holding.since <= now - timedelta(days=days)

    def stand(self, holding: Holding, now: datetime, *, short: bool) -> Why | Stand:
        """Say what keeps the bytes, or what becomes of them. `short`: the disk is below its limit."""
        if holding.why is not Why.MAY_GO:
            return holding.why
        if short or self.is_over(holding, now):
            return Stand.GOES
        if self.below_free_bytes:
            return Stand.WHEN_SHORT
        return Stand.YOUNG if self.days(holding) else Stand.NO_RULE


def unfit_rules(rules: Rules, *, floor_bytes: int, committing: Collection[str]) -> Iterator[str]:
    """Give what is wrong with the rules. `committing`: the destinations that are asked for storage commitment."""
    for name in rules.held_by:
        if name not in committing:
            yield f"retention.sources_held_by names no destination {name!r} that is asked for storage commitment"
    if (rules.source_days or rules.not_analysed_days) and not (rules.held_by or rules.uncommitted):
        yield (
            "retention deletes no source that nobody else keeps: name the destinations that keep them in "
            "retention.sources_held_by, or say retention.uncommitted = true"
        )
    if 0 < rules.below_free_bytes <= floor_bytes:
        yield "retention.below_free_mb is no more than listener.free_space_floor_mb: senders would be refused before"
