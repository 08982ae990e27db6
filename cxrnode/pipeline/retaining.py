"""Retain: who else keeps the sources is asked, and what nobody needs here any more is removed from the spool.

Hides in which order bytes go. Promises that whatever goes is marked in the ledger before it is removed, that nothing
goes which the rules do not name, and that a sweep which was killed is finished by the next one.
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice, takewhile
from operator import attrgetter

from cxrnode.domain.delivery import Destination
from cxrnode.domain.identity import derived_uid, is_uid
from cxrnode.domain.retention import Holding, Rules, Stand, What, Why
from cxrnode.errors import CxrnodeError, Retryable
from cxrnode.ports import Clock
from cxrnode.ports.retention import Inventory, Keeper, Spool
from cxrnode.telemetry import Event, tell

ASK_AGAIN = timedelta(days=1)
"""After which a destination is asked again for what it did not have, or gave no report of."""

_AT_ONCE = 100


@dataclass(slots=True)
class Tally:
    """How much of something there is."""

    count: int = 0
    bytes: int = 0
    oldest: datetime | None = None

    def add(self, holding: Holding, size: int) -> None:
        """Count one more."""
        self.count, self.bytes = self.count + 1, self.bytes + size
        self.oldest = min(self.oldest or holding.since, holding.since)


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What is in the spool, by what it is and what becomes of it."""

    free_bytes: int
    short: bool
    """Whether the disk is below its limit."""
    tallies: Mapping[tuple[What, Why | Stand], Tally] = field(default_factory=dict)

    @property
    def going(self) -> Tally:
        """What goes with the next sweep."""
        going = [tally for (_, stand), tally in self.tallies.items() if stand is Stand.GOES]
        return Tally(count=sum(one.count for one in going), bytes=sum(one.bytes for one in going))


class Retaining:
    """The bell that looks after the room on the disk."""

    def __init__(
        self,
        *,
        rules: Rules,
        destinations: Sequence[Destination],
        spool: Spool,
        inventory: Inventory,
        keeper: Keeper,
        clock: Clock,
        chance: Callable[[], float],
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        """Compose it over its ports; `destinations`: all that are configured. A walk ends early when `stopping`."""
        self._rules = rules
        self._keepers = [destination for destination in destinations if destination.name in rules.held_by]
        self._spool = spool
        self._inventory = inventory
        self._keeper = keeper
        self._clock = clock
        self._chance = chance
        self._stopping = stopping

    def look(self) -> int:
        """Ask about sources, and sweep. Always gives 0: there is nothing more to do at once."""
        if self._rules:
            self.ask()
            self.sweep()
        return 0

    def ask(self) -> int:
        """Ask each destination that is to keep the sources about those that nothing else keeps here; give how many."""
        return sum(self._ask_all(destination) for destination in self._keepers)

    def _ask_all(self, destination: Destination) -> int:
        wanting = (
            one
            for one in self._walk(What.SOURCE, uncommitted=False)
            if one.why is Why.NOT_HELD and is_uid(one.sop_instance_uid)
        )
        asked = 0
        while page := list(islice(wanting, _AT_ONCE)):
            about = self._ask(destination, page)
            if about is None:
                break
            asked += about
        return asked

    def _ask(self, destination: Destination, page: Sequence[Holding]) -> int | None:
        """Ask about a page; give how many it was about, None where the destination cannot be asked now."""
        now = self._clock.now()
        transaction = derived_uid("sources", destination.name, now.isoformat(), page[0].row, self._chance())
        rows = self._inventory.begin_source_commitment(
            destination.name, transaction, [one.row for one in page], now, not_since=now - ASK_AGAIN
        )
        about = {one.sop_instance_uid: one for one in page if one.row in set(rows)}
        if not about:
            return 0
        tell(Event.COMMITMENT_ASKED, destination=destination.name, transaction=transaction, count=len(about))
        try:
            offered = self._keeper.ask_commitment(destination, transaction, list(about.values()))
        except CxrnodeError as error:
            self._inventory.forget_source_commitment(transaction)
            tell(Event.SOURCES_NOT_ASKED, logging.WARNING, destination=destination.name, error=type(error).__name__)
            return None
        if not offered:
            reason = "it does not offer storage commitment"
            tell(Event.SOURCES_NOT_ASKED, logging.WARNING, destination=destination.name, reason=reason)
            return None
        return len(about)

    def sweep(self) -> Tally | None:
        """Remove what may go and is over its age, and, where room is short, the oldest that may go; give how much.

        None, and nothing done, where another sweep or a backup runs.
        Raises at its end what the disk said of a file that it did not let go; that one is tried again with each sweep.
        """
        with self._spool.alone() as alone:
            if not alone:
                return None
            swept, stuck = Tally(), dict[str, Retryable]()
            self._remove_marked(stuck)
            for what in What:
                self._sweep_all((one for one in self._over(what)), swept, stuck)
            if self._is_short():
                self._sweep_all(self._oldest_first(), swept, stuck, until=lambda: not self._is_short())
            if swept.count or self._is_short():
                level, reason = (logging.WARNING, "still short of room") if self._is_short() else (logging.INFO, "")
                tell(Event.SPOOL_RELIEVED, level, count=swept.count, bytes=swept.bytes, reason=reason)
            for trouble in stuck.values():
                raise trouble
            return swept

    def _over(self, what: What) -> Iterator[Holding]:
        days = [self._rules.evidence_days]
        if what is What.SOURCE:
            days = [self._rules.source_days, self._rules.not_analysed_days]
        limits = [limit for limit in days if limit]
        if not limits:
            return
        now = self._clock.now()
        before = now - timedelta(days=min(limits))
        for one in self._walk(what, before=before, uncommitted=self._rules.uncommitted):
            if one.why is Why.MAY_GO and self._rules.is_over(one, now):
                yield one

    def _oldest_first(self) -> Iterator[Holding]:
        walks = [self._walk(what, uncommitted=self._rules.uncommitted) for what in What]
        return (one for one in heapq.merge(*walks, key=attrgetter("since")) if one.why is Why.MAY_GO)

    def _walk(self, what: What, *, before: datetime | None = None, uncommitted: bool) -> Iterator[Holding]:
        found = self._inventory.holdings(what, before=before, uncommitted=uncommitted)
        return takewhile(lambda _: not self._stopping(), found)

    def _sweep_all(
        self,
        going: Iterable[Holding],
        swept: Tally,
        stuck: dict[str, Retryable],
        *,
        until: Callable[[], bool] = lambda: False,
    ) -> None:
        going = iter(going)
        while not until() and (page := list(islice(going, _AT_ONCE))):
            sizes = {one.key: self._spool.size_of(one.key) for one in page}
            for what in dict.fromkeys(one.what for one in page):
                rows = [one.row for one in page if one.what is what]
                marked = self._inventory.mark_swept(what, rows, self._clock.now(), uncommitted=self._rules.uncommitted)
                swept.count += len(marked)
                swept.bytes += sum(sizes[key] for key in marked)
            self._remove_marked(stuck)

    def _remove_marked(self, stuck: dict[str, Retryable]) -> None:
        """Remove what is marked, also by a sweep that was killed; each page is on disk before it is forgotten.

        `stuck` gets what cannot be removed, which stays marked.
        """

        def remove(key: str) -> None:
            try:
                self._spool.remove(key)
            except Retryable as error:
                stuck[key] = error

        for what in What:
            after = ""
            while page := self._inventory.remove_marked(what, remove, after=after):
                after = page[-1]
                keys = [key for key in page if key not in stuck]
                self._spool.sync(keys)
                self._inventory.removed(keys)

    def _is_short(self) -> bool:
        return self._spool.free_bytes() < self._rules.below_free_bytes

    def survey(self) -> Survey:
        """Count everything in the spool by what becomes of it. Nothing changes."""
        now, short = self._clock.now(), self._is_short()
        tallies: dict[tuple[What, Why | Stand], Tally] = {}
        for what in What:
            for one in self._inventory.holdings(what, uncommitted=self._rules.uncommitted):
                stand = self._rules.stand(one, now, short=short)
                tallies.setdefault((what, stand), Tally()).add(one, self._spool.size_of(one.key))
        return Survey(free_bytes=self._spool.free_bytes(), short=short, tallies=tallies)
