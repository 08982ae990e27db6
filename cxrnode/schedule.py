"""The bells: APScheduler rings (name, period, verb of the line) and holds no state.

Hides APScheduler and its threads. Promises that a bell never rings into its own still running verb, that bells never
wait for each other, that what a verb raises ends that ring only, unless it is Fatal, and that stopping takes no longer
than it is given.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from cxrnode.errors import Fatal
from cxrnode.telemetry import unexpected


@dataclass(frozen=True, slots=True, kw_only=True)
class Bell:
    """Rings `verb` every `period_seconds`, again at once while it gives a number above zero.

    `at_once`: rings the first time when the bells start, not after the first period.
    """

    name: str
    period_seconds: float
    verb: Callable[[], int]
    at_once: bool = False


class Bells:
    """Owns the scheduler's threads, one a bell."""

    def __init__(self, bells: Sequence[Bell], on_fatal: Callable[[Fatal], None]) -> None:
        """Hang the bells; `on_fatal` is told, from the bell's thread, of what the node cannot go on with."""
        # APScheduler warns each time a bell finds its verb still running, which here is ordinary.
        logging.getLogger("apscheduler").setLevel(logging.ERROR)
        self._on_fatal = on_fatal
        self._stopping = False
        self._ringing: set[str] = set()
        self._executor = ThreadPoolExecutor(max(1, len(bells)))
        self._scheduler = BackgroundScheduler(
            executors={"default": self._executor},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
            timezone="UTC",
        )
        for bell in bells:
            first = {"next_run_time": datetime.now(UTC)} if bell.at_once else {}
            self._scheduler.add_job(self._ring, "interval", [bell], seconds=bell.period_seconds, id=bell.name, **first)

    def start(self) -> None:
        """Begin to ring."""
        self._scheduler.start()

    @property
    def ringing(self) -> tuple[str, ...]:
        """The names of the bells whose verbs run at this moment."""
        return tuple(sorted(self._ringing))

    def hush(self) -> None:
        """Ring no more; verbs that run go on to their end."""
        self._stopping = True
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)

    def stop(self, seconds: float | None = None) -> tuple[str, ...]:
        """Ring no more, and wait for the verbs that run; give the names of those that still run after `seconds`."""
        self.hush()
        waiting = threading.Thread(target=self._executor.shutdown, name="bells", daemon=True)
        waiting.start()
        waiting.join(seconds)
        return self.ringing if waiting.is_alive() else ()

    def _ring(self, bell: Bell) -> None:
        self._ringing.add(bell.name)
        try:
            self._ring_until_done(bell)
        finally:
            self._ringing.discard(bell.name)

    def _ring_until_done(self, bell: Bell) -> None:
        try:
            while not self._stopping and bell.verb():
                pass
        except Fatal as error:
            self._on_fatal(error)
        except Exception as error:  # noqa: BLE001 - a bell's edge: this ring is over, the next one finds the ledger as it is
            unexpected(bell.name, error)
