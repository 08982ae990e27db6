"""What is refused over and over is told once, then counted.

Hides how often each refusal came. Promises that the first of a kind is logged at once with its reason, that its like
(same event, address, calling AE title, SOP class and reason) is then logged at most once a minute with how many there
were, that no refusal goes uncounted, and that neither the log nor the memory grows with what strangers make up.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cxrnode import telemetry
from cxrnode.telemetry import Event

_ALIKE = ("address", "calling_ae", "sop_class", "reason")

Heard = Callable[[Event, Mapping[str, object]], None]

_Kind = tuple[object, ...]


@dataclass(slots=True)
class _Count:
    event: Event
    level: int
    fields: dict[str, object]
    told_at: float
    since: int = 0


class Refusals:
    """Tells refusals. Used by all threads of a door."""

    def __init__(
        self,
        *,
        again_seconds: float = 60.0,
        most: int = 200,
        clock: Callable[[], float] = time.monotonic,
        heard: Heard | None = None,
    ) -> None:
        """Begin with none. `most` different kinds are told apart; what comes beyond is counted by its reason alone.

        `heard` is told whatever is logged (the audit trail).
        """
        self._again, self._most, self._clock = again_seconds, most, clock
        self._heard = heard
        self._counts: dict[_Kind, _Count] = {}
        self._lock = threading.Lock()

    def tell(self, event: Event, level: int = logging.WARNING, **fields: object) -> None:
        """Tell this refusal, or count it where its like was told within the last minute."""
        with self._lock:
            kind, now = self._kind(event, fields), self._clock()
            count = self._counts.get(kind)
            if count is None:
                self._counts[kind] = _Count(event, level, fields, now)
            else:
                count.since, count.fields = count.since + 1, fields
        if count is None:
            self._say(event, level, fields)
        elif self._is_due(count, now):
            self.flush()

    def flush(self, *, everything: bool = False) -> None:
        """Tell the counts that are due, or `everything` that was not told; forget what has not come for ten minutes."""
        with self._lock:
            now = self._clock()
            due = [count for count in self._counts.values() if count.since and (everything or self._is_due(count, now))]
            told = [(count.event, count.level, {**count.fields, "count": count.since}) for count in due]
            for count in due:
                count.since, count.told_at = 0, now
            self._counts = {kind: each for kind, each in self._counts.items() if now - each.told_at < 10 * self._again}
        for event, level, fields in told:
            self._say(event, level, fields)

    def _say(self, event: Event, level: int, fields: Mapping[str, object]) -> None:
        telemetry.tell(event, level, **fields)
        if self._heard is not None:
            self._heard(event, fields)

    def _is_due(self, count: _Count, now: float) -> bool:
        return now - count.told_at >= self._again

    def _kind(self, event: Event, fields: dict[str, object]) -> _Kind:
        kind = (event, *(fields.get(name) for name in _ALIKE))
        if kind in self._counts or len(self._counts) < self._most:
            return kind
        return event, fields.get("reason")
