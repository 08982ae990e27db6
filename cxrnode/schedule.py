"""The bells: APScheduler rings (name, period, verb of the line) and holds no state.

Hides APScheduler and its threads. Promises that a bell never rings into its own still running verb, that bells never
wait for each other, and that what a verb raises ends that ring only, unless it is Fatal.
"""

from __future__ import annotations

import logging
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
        self._scheduler = BackgroundScheduler(
            executors={"default": ThreadPoolExecutor(max(1, len(bells)))},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
            timezone="UTC",
        )
        for bell in bells:
            first = {"next_run_time": datetime.now(UTC)} if bell.at_once else {}
            self._scheduler.add_job(self._ring, "interval", [bell], seconds=bell.period_seconds, id=bell.name, **first)

    def start(self) -> None:
        """Begin to ring."""
        self._scheduler.start()

    def stop(self) -> None:
        """Ring no more, and wait for the verbs that run."""
        self._stopping = True
        if self._scheduler.running:
            self._scheduler.shutdown(wait=True)

    def _ring(self, bell: Bell) -> None:
        try:
            while not self._stopping and bell.verb():
                pass
        except Fatal as error:
            self._on_fatal(error)
        except Exception as error:  # noqa: BLE001 - a bell's edge: this ring is over, the next one finds the ledger as it is
            unexpected(bell.name, error)
