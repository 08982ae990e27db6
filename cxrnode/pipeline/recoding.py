"""Compare: the same SOP Instance UID came in another transfer syntax; are its pixels the same?

Hides nothing; promises that a copy is only ever settled by its decoded values, and that one which cannot be decoded is
a conflict for a person, never silently the same.
"""

from __future__ import annotations

from cxrnode.errors import Unsuitable
from cxrnode.pipeline.plan import Plan
from cxrnode.ports import Archive, Clock, Ledger, Predictor, Recoding
from cxrnode.telemetry import Event, tell


class Comparing:
    """The bell that settles recoded copies."""

    def __init__(self, *, plan: Plan, archive: Archive, ledger: Ledger, predictor: Predictor, clock: Clock) -> None:
        """Compose it over its ports."""
        self._plan = plan
        self._archive = archive
        self._ledger = ledger
        self._predictor = predictor
        self._clock = clock

    def compare_recoded(self) -> int:
        """Settle what waits to be compared; give how many copies that were."""
        copies = self._ledger.recodings(limit=self._plan.batch)
        for copy in copies:
            same = self._same(copy)
            self._ledger.settle_recoding(copy, self._clock.now(), same=same)
            tell(Event.RECODING_SETTLED, study=copy.study_uid, recorded="same" if same else "conflict")
        return len(copies)

    def _same(self, copy: Recoding) -> bool:
        try:
            return self._predictor.same_pixels(self._archive.path(copy.current_key), self._archive.path(copy.key))
        except Unsuitable:
            return False
