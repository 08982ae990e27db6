"""Mind the clock: what waits is not kept waiting by a time of day that was set back (decision 0034).

Hides how a jump is seen. Promises that it is seen within a ring of the bell, or at the start where the node was down
meanwhile, and told either way.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from cxrnode.pipeline.plan import Plan
from cxrnode.ports import Clock, Ledger
from cxrnode.telemetry import Event, tell

_STEP = timedelta(seconds=1)
"""Back by less is waited out."""
_LEAP = timedelta(minutes=1)
"""Forward by more, between two rings of a second's bell, is told."""
_AFTERWARDS = timedelta(minutes=1)
"""How long after a jump something may still be written by the time before it: longer than SQLite is waited for."""


class Timekeeping:
    """The bell that watches the clock."""

    def __init__(self, *, plan: Plan, ledger: Ledger, clock: Clock) -> None:
        """Compose it over its ports."""
        self._ledger = ledger
        self._clock = clock
        self._seen: datetime | None = None
        self._until: datetime | None = None
        policies = (plan.job_policy, plan.delivery_policy)
        longest = max(plan.commitment_wait_seconds, *(policy.longest_seconds for policy in policies))
        self._longest = timedelta(seconds=longest)
        self._lease = timedelta(seconds=max(plan.job_lease_seconds, plan.delivery_lease_seconds))

    def start(self) -> None:
        """Compare the clock with the ledger's latest times; before the node listens."""
        self._seen = self._ledger.latest_time()
        self._look(forward=False)

    def mind(self) -> int:
        """Compare the clock with what it showed before. Always gives 0: there is nothing more to do at once."""
        self._look(forward=True)
        return 0

    def _look(self, *, forward: bool) -> None:
        before, now = self._seen, self._clock.now()
        if before is not None and now < before - _STEP:
            self._until = now + _AFTERWARDS
            self._pull_in(now, beyond=now)
            self._tell(now - before)
        elif self._until is not None:
            self._pull_in(now, beyond=now + self._longest)
            self._until = self._until if now < self._until else None
        elif before is not None and forward and now > before + _LEAP:
            self._tell(now - before)
        self._seen = now  # last: where the ledger could not be written to, the jump is seen again at the next ring

    def _pull_in(self, now: datetime, *, beyond: datetime) -> None:
        self._ledger.pull_in(now, beyond=beyond, lease_until=now + self._lease)

    def _tell(self, jump: timedelta) -> None:
        tell(Event.CLOCK_JUMPED, logging.WARNING, seconds=round(jump.total_seconds(), 1))
