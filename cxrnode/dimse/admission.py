"""Admission by numbers: how many may be in the house at once, and for how long a peer may keep us waiting.

Hides the counts. No library of DICOM and no thread is in here. Promises that the connections of all together are
bounded, that one address can neither take all places nor keep others from knocking, that a peer has to get on (a byte
a minute is not getting on), and that time which we spend ourselves is nobody's fault. Times are those of the monotonic
clock: the wall clock may jump.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from socket import socket
from typing import TYPE_CHECKING

from cxrnode import telemetry

if TYPE_CHECKING:
    from pynetdicom.association import Association

TOO_MANY = "too many associations"
TOO_MANY_OF_ONE = "too many associations from this address"
TOO_MANY_WAITING = "too many connections of this address ask for no association"
TOO_MANY_CONNECTIONS = "too many connections"
MADE_ROOM = "asked for no association while others waited"

_AWAKE_SECONDS = 0.5
"""For so long after the last byte threads look every millisecond, so that answers go out at once."""

_FLOOD, _FLOOD_SECONDS, _PAUSE_SECONDS = 50, 10.0, 1.0
"""An address that was refused so often within so many seconds is heard after a pause only: a request costs a thread and
some milliseconds, a connection that waits costs nothing."""
_ADDRESSES = 1000
"""Of which it is known how often they were refused."""

_ECHOES_ONLY = 10
"""Times the idle limit for which an association may stand that asks for nothing but echoes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How many, how large and how long. `waiting` counts connections that have not asked for an association yet."""

    associations: int = 32
    per_address: int = 32
    waiting: int = 64
    waiting_per_address: int = 16
    negotiation_seconds: float = 30.0
    idle_seconds: float = 60.0
    """Without a message; and the time in which what was begun has to get on, at `slowest_bytes_per_second`."""
    slowest_bytes_per_second: float = 10_000.0
    largest_object_bytes: int = 2_000_000_000
    in_flight_bytes: int = 8_000_000_000
    """Of objects that are not answered yet, of all associations together."""

    @property
    def connections(self) -> int:
        """How many may have threads here, those included that are just ending."""
        return self.associations + 2 * self.waiting


@dataclass(slots=True)
class Progress:
    """How a peer gets on. One thread at a time writes a field; the one that looks for laggards reads them."""

    since: float
    last: float = 0.0
    """When the last whole PDU came or the last answer went out, and the last request that was no echo."""
    last_request: float = 0.0
    established: bool = False
    bytes: int = 0
    heard: float = 0.0
    """When the last byte came."""
    at_work: bool = False
    """Whether a request of theirs is being served: then they wait for us."""
    under_way: bool = False
    """Whether a PDU or a message was begun and is not whole."""
    ours: float = 0.0
    """Seconds that we spent on what came, and since when we are at it again."""
    ours_since: float | None = None
    _mark: tuple[float, int, float] = (0.0, 0, 0.0)

    def establish(self, now: float) -> None:
        """An association it is now."""
        self.last = self.last_request = now
        self.established = True

    def begin(self, now: float) -> None:
        """Something was begun: from now on it has to get on. Called again, it changes nothing."""
        if not self.under_way:
            self._set_mark(now)
            self.under_way = True

    def end(self, now: float) -> None:
        """What was begun is whole."""
        self.last, self.under_way = now, False

    def is_quiet(self, now: float) -> bool:
        """Tell whether nothing has come for a while, and nothing is being served."""
        return not self.at_work and now - max(self.last, self.heard) > _AWAKE_SECONDS

    def why_late(self, limits: Limits, now: float) -> str:
        """Give what is wrong with it, empty where it gets on."""
        if not self.established:
            late = now - self.since > limits.negotiation_seconds
            return f"no association request within {limits.negotiation_seconds:g} s" if late else ""
        if self.at_work:
            return ""
        if self.under_way:
            return self._why_slow(limits, now)
        if now - self.last > limits.idle_seconds:
            return f"silent for {limits.idle_seconds:g} s"
        longest = _ECHOES_ONLY * limits.idle_seconds
        return f"nothing but echoes for {longest:g} s" if now - self.last_request > longest else ""

    def _why_slow(self, limits: Limits, now: float) -> str:
        at, bytes_then, ours_then = self._mark
        brought, theirs = self.bytes - bytes_then, now - at - (self._ours(now) - ours_then)
        if theirs <= limits.idle_seconds:
            return ""
        if brought and brought >= limits.slowest_bytes_per_second * limits.idle_seconds:
            self._set_mark(now)
            return ""
        if now - self.heard > limits.idle_seconds / 2:
            return "silent in the midst of a message"
        return f"slower than {limits.slowest_bytes_per_second / 1000:g} kB/s"

    def _ours(self, now: float) -> float:
        since = self.ours_since
        return self.ours + (now - since if since is not None else 0.0)

    def _set_mark(self, now: float) -> None:
        self._mark = (now, self.bytes, self._ours(now))


@dataclass(slots=True, eq=False)
class Visit:
    """One accepted connection, from accept until its threads have ended."""

    connection: socket
    address: str
    progress: Progress
    association: Association | None = None
    seated: bool = False
    why: str = ""
    """Why we ended it, where we did."""
    error: str = ""
    """Where the program stumbled over what the peer sent: kind and place."""
    gone_at: float | None = None
    """When it was released, aborted, rejected or turned out: it holds no place any more."""

    def blame(self, why: str, error: BaseException | None = None) -> None:
        """Say why it ended; what was said first stands."""
        if not self.why:
            self.why = why
            self.error = f"{type(error).__name__} at {telemetry.where(error)}" if error else ""

    @property
    def present(self) -> bool:
        """Whether it holds a place."""
        return self.seated and self.gone_at is None

    @property
    def waiting(self) -> bool:
        """Whether it has not asked for an association yet."""
        return not self.seated and self.gone_at is None


@dataclass(slots=True)
class Places:
    """The visits of one door, and who may come in."""

    limits: Limits
    clock: Callable[[], float] = time.monotonic
    _visits: dict[Visit, None] = field(default_factory=dict)
    _refused: dict[str, deque[float]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def why_not(self, address: str) -> str:
        """Give why no connection of this address is taken now, empty where one is."""
        with self._lock:
            if len(self._visits) >= self.limits.connections:
                return TOO_MANY_CONNECTIONS
            waiting = sum(visit.waiting and visit.address == address for visit in self._visits)
        return TOO_MANY_WAITING if waiting >= self.limits.waiting_per_address else ""

    def enter(self, connection: socket, address: str) -> tuple[Visit, Visit | None]:
        """Begin a visit; give it, and the one that has to make room for it where too many wait: the one that has waited
        longest, because whoever means it asks for an association at once."""
        visit = Visit(connection, address, Progress(since=self.clock()))
        with self._lock:
            waiting = [each for each in self._visits if each.waiting]
            self._visits[visit] = None
        return visit, waiting[0] if len(waiting) >= self.limits.waiting else None

    def seat(self, visit: Visit) -> str:
        """Give the visit one of the places of associations; give why not, empty where it has one."""
        with self._lock:
            present = [each for each in self._visits if each.present]
            if len(present) >= self.limits.associations:
                return TOO_MANY
            if sum(each.address == visit.address for each in present) >= self.limits.per_address:
                return TOO_MANY_OF_ONE
            visit.seated = True
        return ""

    def refused(self, address: str) -> None:
        """Count that a visit of this address came to nothing."""
        with self._lock:
            times = self._refused.pop(address, deque(maxlen=_FLOOD))
            times.append(self.clock())
            self._refused[address] = times
            if len(self._refused) > _ADDRESSES:
                del self._refused[next(iter(self._refused))]

    def has_to_pause(self, visit: Visit) -> bool:
        """Tell whether this visit is not heard yet, because its address floods us."""
        now = self.clock()
        with self._lock:
            times = self._refused.get(visit.address) or deque()
            flooded = len(times) == _FLOOD and now - times[0] < _FLOOD_SECONDS
        # Whoever pauses has to have time left to ask.
        pause = min(_PAUSE_SECONDS, self.limits.negotiation_seconds / 2)
        return flooded and now - visit.progress.since < pause

    def leave(self, visit: Visit) -> None:
        """End a visit. Ending it again changes nothing."""
        with self._lock:
            self._visits.pop(visit, None)

    def visits(self) -> tuple[Visit, ...]:
        """Give all of them, the longest first."""
        with self._lock:
            return tuple(self._visits)


class Flight:
    """The bytes of objects that are under way: on the disk, and not answered yet."""

    def __init__(self, most: int) -> None:
        """Begin with none."""
        self._most, self._bytes = most, 0
        self._lock = threading.Lock()

    def take(self, count: int) -> bool:
        """Count these in; False, and nothing is counted, where that would be too many."""
        with self._lock:
            if self._bytes + count > self._most:
                return False
            self._bytes += count
            return True

    def give_back(self, count: int) -> None:
        """Count these out."""
        with self._lock:
            self._bytes -= count
