"""The bells: (name, period, verb of the line), rung over and over; they hold no state.

Hides the threads. Promises that a bell never rings into its own still running verb, that bells never wait for each
other, nor for a wall clock that was set back (decision 0034), that what a verb raises ends that ring only, unless it is
Fatal, and that stopping takes no longer than it is given.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cxrnode.errors import CxrnodeError, Fatal
from cxrnode.telemetry import Event, tell, unexpected

_FAILED_SECONDS = 1.0
"""How soon a bell whose verb failed rings again, at the soonest."""
_TELL_AGAIN_SECONDS = 60.0
"""How soon it is told that it failed again for the same reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bell:
    """Rings `verb`, again at once while it gives a number above zero, then after `period_seconds`.

    `at_once`: rings the first time when the bells start, not after the first period.
    """

    name: str
    period_seconds: float
    verb: Callable[[], int]
    at_once: bool = False


class Bells:
    """Owns a thread for each bell."""

    def __init__(self, bells: Sequence[Bell], on_fatal: Callable[[Fatal], None]) -> None:
        """Hang the bells; `on_fatal` is told, from the bell's thread, of what the node cannot go on with."""
        self._on_fatal = on_fatal
        self._hushed = threading.Event()
        self._ringing: set[str] = set()
        self._told: dict[str, tuple[tuple[str, str], float]] = {}
        self._threads = [
            threading.Thread(target=self._keep_ringing, args=(bell,), name=bell.name, daemon=True) for bell in bells
        ]
        self._started = False

    def start(self) -> None:
        """Begin to ring."""
        self._started = True
        for thread in self._threads:
            thread.start()

    @property
    def ringing(self) -> tuple[str, ...]:
        """The names of the bells whose verbs run at this moment."""
        return tuple(sorted(self._ringing))

    def hush(self) -> None:
        """Ring no more; verbs that run go on to their end."""
        self._hushed.set()

    def stop(self, seconds: float | None = None) -> tuple[str, ...]:
        """Ring no more, and wait for the verbs that run; give the names of those that still run after `seconds`."""
        self.hush()
        deadline = None if seconds is None else time.monotonic() + seconds
        for thread in self._threads if self._started else ():
            thread.join(None if deadline is None else max(0.0, deadline - time.monotonic()))
        return self.ringing

    def _keep_ringing(self, bell: Bell) -> None:
        # A wait on an Event is one of the monotonic clock: a wall clock that is set back by hours delays no ring.
        if not bell.at_once:
            self._hushed.wait(bell.period_seconds)
        while not self._hushed.is_set():
            rang = self._ring(bell)
            self._hushed.wait(bell.period_seconds if rang else max(bell.period_seconds, _FAILED_SECONDS))

    def _ring(self, bell: Bell) -> bool:
        self._ringing.add(bell.name)
        try:
            return self._ring_until_done(bell)
        finally:
            self._ringing.discard(bell.name)

    def _ring_until_done(self, bell: Bell) -> bool:
        """Ring while there is something to do; tell whether that went well."""
        try:
            while not self._hushed.is_set() and bell.verb():
                pass
        except Fatal as error:
            self._on_fatal(error)
        except CxrnodeError as error:
            self._tell_failed(bell, error)
        except Exception as error:  # noqa: BLE001 - a bell's edge: this ring is over, the next one finds the ledger as it is
            unexpected(bell.name, error)
        else:
            self._told.pop(bell.name, None)
            return True
        return False

    def _tell_failed(self, bell: Bell, error: CxrnodeError) -> None:
        """Tell what is foreseen, and is nobody's job or delivery to fail: the ledger is held, or its disk is full.

        Once, and again every minute while it lasts: a night of it must not fill the disk with its log.
        """
        why, now = (type(error).__name__, error.happened), time.monotonic()
        told = self._told.get(bell.name)
        if told is not None and told[0] == why and now - told[1] < _TELL_AGAIN_SECONDS:
            return
        self._told[bell.name] = why, now
        tell(Event.BELL_FAILED, logging.ERROR, operation=bell.name, error=why[0], reason=why[1], hint=error.hint)
