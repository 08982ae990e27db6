"""Compare: the same SOP Instance UID came in another transfer syntax; are its pixels the same?

Hides which copies could not be compared just now, and when they are tried again. Promises that a copy is only ever
settled by its decoded values, that one which cannot be decoded is a conflict for a person, never silently the same, and
that one which cannot be compared now (its file is away, the models' process cannot start) holds up no other.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from cxrnode.errors import Retryable, Stopping, Unsuitable
from cxrnode.pipeline.plan import Plan
from cxrnode.ports import Archive, Clock, Ledger, Predictor, Recoding
from cxrnode.telemetry import Event, tell


@dataclass(frozen=True, slots=True, kw_only=True)
class _Later:
    """A comparison that could not be made."""

    tries: int
    tried_at: datetime
    due_at: datetime

    def waits(self, now: datetime) -> bool:
        """Tell whether it is not yet due; a clock that was set back ends the wait (decision 0034)."""
        return self.tried_at <= now < self.due_at


class Comparing:
    """The bell that settles recoded copies. What it remembers is lost with the process: then it tries at once."""

    def __init__(
        self,
        *,
        plan: Plan,
        archive: Archive,
        ledger: Ledger,
        predictor: Predictor,
        clock: Clock,
        chance: Callable[[], float],
    ) -> None:
        """Compose it over its ports; `chance` gives jitter in [0, 1)."""
        self._plan = plan
        self._archive = archive
        self._ledger = ledger
        self._predictor = predictor
        self._clock = clock
        self._chance = chance
        self._later: dict[int, _Later] = {}

    def compare_recoded(self) -> int:
        """Settle what waits to be compared; give how many copies that were."""
        now = self._clock.now()
        waiting = self._ledger.recodings(limit=self._plan.batch + len(self._later))
        self._later = {copy.row: self._later[copy.row] for copy in waiting if copy.row in self._later}
        due = [copy for copy in waiting if copy.row not in self._later or not self._later[copy.row].waits(now)]
        return sum(self._settle(copy) for copy in due)

    def _settle(self, copy: Recoding) -> bool:
        try:
            same = self._same(copy)
        except Stopping:
            return False
        except Retryable as error:
            self._put_off(copy, error)
            return False
        self._ledger.settle_recoding(copy, self._clock.now(), same=same)
        tell(Event.RECODING_SETTLED, study=copy.study_uid, recorded="same" if same else "conflict")
        return True

    def _same(self, copy: Recoding) -> bool:
        try:
            return self._predictor.same_pixels(self._archive.path(copy.current_key), self._archive.path(copy.key))
        except Unsuitable:
            return False

    def _put_off(self, copy: Recoding, error: Retryable) -> None:
        now, before = self._clock.now(), self._later.get(copy.row)
        tries = before.tries + 1 if before else 1
        wait = self._plan.job_policy.wait(tries, self._chance())
        self._later[copy.row] = _Later(tries=tries, tried_at=now, due_at=now + wait)
        tell(
            Event.RECODING_RETRIED,
            logging.WARNING,
            study=copy.study_uid,
            reason=error.happened,
            hint=error.hint,
            attempt=tries,
            due_in=round(wait.total_seconds(), 1),
        )
