"""Close: fix a study's membership, decide on every image, and schedule its job, in one transaction.

Hides selection and routing. Promises that an instance that comes in between keeps the study open, and that
a study which nobody foresaw holds up no other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from cxrnode.domain.identity import StudyUID
from cxrnode.domain.priority import priority_of
from cxrnode.domain.reasons import REASONS
from cxrnode.domain.routing import route
from cxrnode.domain.selection import NotSuitable, select
from cxrnode.domain.study import Instance, is_due
from cxrnode.errors import CxrnodeError
from cxrnode.pipeline.plan import Plan
from cxrnode.ports import Clock, Ledger, Verdict
from cxrnode.telemetry import Event, tell, unexpected

PAGE = 100
"""Studies that are read, and closed, at once."""
_AGAIN = timedelta(minutes=1)
"""How soon a study that could not be closed is tried again."""


class Closing:
    """The bell that closes studies."""

    def __init__(self, *, plan: Plan, ledger: Ledger, clock: Clock, still_sent: Callable[[StudyUID], bool]) -> None:
        """Compose it; `still_sent` tells whether an open association has sent a study."""
        self._plan = plan
        self._ledger = ledger
        self._clock = clock
        self._still_sent = still_sent
        self._failed: dict[StudyUID, datetime] = {}

    def close_due(self) -> int:
        """Close a page of the studies that are due; give how many, zero where none is left."""
        now = self._clock.now()
        for page in self._quiet(now):
            closed = sum(self._try(study, now) for study, last in page if self._is_due(study, last, now))
            if closed:
                return closed
        return 0

    def _quiet(self, now: datetime) -> Iterator[Sequence[tuple[StudyUID, datetime]]]:
        """Give the quiet studies in pages; those that an open association has sent are among them."""
        until, after = now - timedelta(seconds=self._plan.quiet_seconds), None
        while page := self._ledger.quiet_studies(until, after=after, limit=PAGE):
            yield page
            after = page[-1]

    def _is_due(self, study: StudyUID, last: datetime, now: datetime) -> bool:
        return is_due(
            last_instance_at=last,
            now=now,
            quiet_seconds=self._plan.quiet_seconds,
            still_sent=self._still_sent(study),
        )

    def _try(self, study: StudyUID, now: datetime) -> bool:
        failed = self._failed.pop(study, None)
        if failed is not None and failed <= now < failed + _AGAIN:
            self._failed[study] = failed
            return False
        try:
            self._close(study, now)
        except CxrnodeError:  # the ledger's own trouble is every study's
            raise
        except Exception as error:  # noqa: BLE001 - an edge: one study that cannot be closed does not hold up the others
            self._failed[study] = now
            unexpected("close", error, study=study)
            return False
        return True

    def _close(self, study: StudyUID, now: datetime) -> None:
        membership = self._ledger.membership(study)
        if not membership.instances:  # they have moved to another study
            self._ledger.close(membership, [], models=(), destinations=(), now=now, schedule=False)
            return
        verdicts = [Verdict(row=member.row, code=self._code(member)) for member in membership.instances]
        wanted = [member for member, verdict in zip(membership.instances, verdicts, strict=True) if _matters(verdict)]
        chosen = route(
            (wanted or membership.instances)[0].sender, self._plan.rules, self._plan.models, self._plan.destinations
        )
        if not chosen.models:
            verdicts = [replace(verdict, code=verdict.code or "no_model") for verdict in verdicts]
        job = self._ledger.close(
            membership,
            verdicts,
            models=chosen.models,
            destinations=[destination.name for destination in chosen.destinations],
            now=now,
            schedule=any(_matters(verdict) for verdict in verdicts),
            priority=priority_of(membership.instances, self._plan.stat),
        )
        tell(Event.STUDY_CLOSED, study=study, images=len(verdicts), count=len(wanted), job=job)

    def _code(self, member: Instance) -> str:
        verdict = select(member.facts, children=self._plan.children)
        return verdict.code if isinstance(verdict, NotSuitable) else ""


def _matters(verdict: Verdict) -> bool:
    return not verdict.code or REASONS[verdict.code].candidate
