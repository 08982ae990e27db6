"""Who uses the child: several at once, or one alone.

Hides a lock. Promises that nothing else runs while somebody is alone (a child that is lost then was lost on that one
thing), that who wants to be alone is not kept waiting for ever, and that those who wait go on showing that they live.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_LOOK_AGAIN_SECONDS = 1.0


class SharedLock:
    """A lock that several may share."""

    def __init__(self) -> None:
        """Begin with nobody."""
        self._changed = threading.Condition()
        self._using = 0
        self._alone = False
        self._wanting = 0

    @contextmanager
    def hold(self, alive: Callable[[], None] = lambda: None, *, alone: bool = False) -> Iterator[None]:
        """Hold the child, beside others or `alone`; calls `alive` while it waits for its turn."""
        self._wait(alive, alone=alone)
        try:
            yield
        finally:
            with self._changed:
                self._using -= 1
                self._alone = False
                self._changed.notify_all()

    def _wait(self, alive: Callable[[], None], *, alone: bool) -> None:
        with self._changed:
            self._wanting += alone
        try:
            while not self._got(alone=alone):
                alive()
        finally:
            with self._changed:
                self._wanting -= alone
                self._changed.notify_all()

    def _got(self, *, alone: bool) -> bool:
        """Take the turn where it comes within a moment."""
        with self._changed:
            free = self._changed.wait_for(lambda: self._free(alone=alone), _LOOK_AGAIN_SECONDS)
            if free:
                self._using += 1
                self._alone = alone
            return free

    def _free(self, *, alone: bool) -> bool:
        return self._using == 0 if alone else not self._alone and not self._wanting
