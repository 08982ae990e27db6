"""Adopt: finished files without a row are acknowledged instances in disguise (law 2), and are recorded.

Hides the walk over the spool. Promises that it never holds up the door: the node listens while it walks, in pages, and
what is just being received is left to whoever receives it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from itertools import islice
from threading import Condition

from cxrnode.domain.identity import InstanceUID
from cxrnode.domain.selection import is_candidate
from cxrnode.domain.study import Arrival, Description, Recorded
from cxrnode.errors import Fatal, Retryable
from cxrnode.ports import Archive, Clock, Ledger, Reader
from cxrnode.telemetry import Event, tell, unexpected

PAGE = 100
"""Files that are asked about, and adopted, at once: a node that stops waits for no more than these."""
_SETTLE_SECONDS = 60.0


class UnderWay:
    """Knows which receptions run, so that adoption can wait until what it saw half done is done. Threads share it."""

    def __init__(self) -> None:
        """Begin with none."""
        self._running: set[object] = set()
        self._ended = Condition()

    def watched(self, receive: Callable[[Arrival], int]) -> Callable[[Arrival], int]:
        """Give the verb, watched."""

        def watching(arrival: Arrival) -> int:
            token = object()
            with self._ended:
                self._running.add(token)
            try:
                return receive(arrival)
            finally:
                with self._ended:
                    self._running.discard(token)
                    self._ended.notify_all()

        return watching

    def settle(self) -> None:
        """Wait until every reception that runs now has ended; those that begin meanwhile are not waited for."""
        with self._ended:
            seen = set(self._running)
            self._ended.wait_for(lambda: not seen & self._running, _SETTLE_SECONDS)


class Adopting:
    """The bell that walks over the spool once, after a start."""

    def __init__(self, *, archive: Archive, ledger: Ledger, reader: Reader, clock: Clock, under_way: UnderWay) -> None:
        """Compose it over its ports."""
        self._archive = archive
        self._ledger = ledger
        self._reader = reader
        self._clock = clock
        self._under_way = under_way
        self._walk: Iterator[str] | None = None
        self._failed = False
        self._done = False

    def start(self) -> None:
        """Sweep unfinished files; only before the node listens."""
        swept = self._archive.sweep()
        if swept:
            tell(Event.SPOOL_SWEPT, count=swept)

    def adopt(self) -> int:
        """Adopt what has no row among the next page of files; give zero once the walk is over.

        A walk in which something could not be adopted is made again, from the beginning, when the bell rings next.
        """
        if self._done:
            return 0
        if self._walk is None:
            self._walk, self._failed = iter(self._archive.finished()), False
        page = list(self._page(self._walk))
        for key in self._without_row(page):
            self._try(key)
        if not page:
            self._walk, self._done = None, not self._failed
        return len(page)

    def _page(self, walk: Iterator[str]) -> Iterator[str]:
        try:
            yield from islice(walk, PAGE)
        except Retryable as error:  # a folder that cannot be read, said when those that can be are walked over
            self._failed = True
            words = {"error": type(error).__name__, "reason": error.happened, "hint": error.hint}
            tell(Event.BELL_FAILED, logging.ERROR, operation="adopt", **words)

    def _without_row(self, page: list[str]) -> list[str]:
        unknown = self._ledger.unknown_keys(page)
        if not unknown:
            return []
        self._under_way.settle()
        return list(self._ledger.unknown_keys(unknown))

    def _try(self, key: str) -> None:
        try:
            self._adopt(key)
        except Fatal:
            raise
        except Exception as error:  # noqa: BLE001 - an edge: one file that cannot be adopted does not hold up the others
            self._failed = True
            unexpected("adopt", error)

    def _adopt(self, key: str) -> None:
        path = self._archive.path(key)
        sender = self._reader.sender_of(path)
        uid = InstanceUID("")
        arrival = Arrival(path=path, sop_class_uid="", sop_instance_uid=uid, transfer_syntax_uid="", sender=sender)
        description = self._reader.describe(arrival)
        recorded = self._ledger.adopt(
            description,
            sender,
            key,
            self._archive.kept_at(key),
            self._clock.now(),
            candidate=not description.unreadable and is_candidate(description.facts),
        )
        # It came again in place of bytes that were swept, and the node was killed before it recorded that.
        unrecorded = recorded is Recorded.DUPLICATE and not self._is_here(description)
        if unrecorded and self._ledger.restore(description, key, self._clock.now(), self._is_kept):
            recorded = Recorded.RESTORED
        if recorded is not Recorded.DUPLICATE:
            tell(Event.INSTANCE_ADOPTED, instance=description.sop_instance_uid)

    def _is_here(self, description: Description) -> bool:
        kept = self._ledger.kept_key(description)
        return kept is not None and self._is_kept(kept)

    def _is_kept(self, key: str) -> bool:
        return self._archive.path(key).is_file()
