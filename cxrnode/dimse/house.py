"""What all connections of one server share, and how each is ended.

Promises that whoever does not get on is turned out by one look around, whatever its threads are waiting for, and that
the end of every visit is told once, with its reason, to whom it concerns.

Relies on this inner name of pynetdicom 3.0: DULServiceProvider.to_user_queue.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pynetdicom.association import Association

from cxrnode.dimse.admission import Flight, Limits, Places, Visit
from cxrnode.dimse.handshake import TLS_PEER, Handshakes, cut
from cxrnode.dimse.spool import Room

LEAVE_SECONDS = 2.0
"""How long a peer that was aborted or released may take to close its side before its socket is closed under it."""

LOST, RELEASED = "the connection was lost", "released"
NO_REQUEST = "what came was no association request"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spooling:
    """Where data sets go, whether one may be taken (raises Refused), whom to tell that an association ended and why,
    and whom that a connection from an address came to nothing, why, and over what the program stumbled."""

    folder: Path
    admit: Callable[[Association], None]
    ended: Callable[[Association, str], None]
    turned_away: Callable[[str, str, str], None] = lambda address, why, error: None
    look_around: Callable[[], None] = lambda: None
    """Called a few times a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """What all connections of one server share."""

    limits: Limits
    spooling: Spooling
    places: Places
    room: Room
    handshakes: Handshakes | None
    insecure: Callable[[str, str], None]
    """Told of an address, and in words why its TLS failed, or came where none is."""

    @classmethod
    def of(
        cls, limits: Limits, spooling: Spooling, handshakes: Handshakes | None, insecure: Callable[[str, str], None]
    ) -> House:
        """Open one with nobody in it."""
        flight = Flight(limits.in_flight_bytes)
        largest = limits.largest_object_bytes
        room = Room(folder=spooling.folder, admit=spooling.admit, flight=flight, largest_bytes=largest)
        places = Places(limits)
        return cls(limits=limits, spooling=spooling, places=places, room=room, handshakes=handshakes, insecure=insecure)

    def turn_out(self, visit: Visit, why: str) -> None:
        """End a visit: an association gets an A-ABORT, anything else loses its connection."""
        visit.blame(why)
        visit.gone_at = self.places.clock()
        association = visit.association
        if association is not None and association.is_established:
            association.abort(block=False)
            return
        cut(visit.connection)
        if association is not None:
            expect_no_request(association)

    def look_around(self) -> None:
        """Turn out whoever does not get on; close the sockets of those who should be gone."""
        now = self.places.clock()
        for visit in self.places.visits():
            if visit.gone_at is not None:
                if now - visit.gone_at > LEAVE_SECONDS:
                    cut(visit.connection)
            elif why := visit.progress.why_late(self.limits, now):
                self.turn_out(visit, why)
        self.spooling.look_around()

    def left(self, visit: Visit, association: Association) -> None:
        """End a visit whose threads have ended, and tell it."""
        self.places.leave(visit)
        if visit.progress.established:
            why = RELEASED if association.is_released and not visit.why else visit.why or LOST
            self.spooling.ended(association, f"{why} ({visit.error})" if visit.error else why)
            return
        self.places.refused(visit.address)
        if visit.why == TLS_PEER:
            self.insecure(visit.address, visit.why)
        elif not association.is_rejected:
            self.spooling.turned_away(visit.address, visit.why or NO_REQUEST, visit.error)

    def left_unheard(self, visit: Visit) -> None:
        """End a visit that said nothing. One that went by itself is a health check, as load balancers make: no news."""
        self.places.leave(visit)
        if visit.why:
            self.spooling.turned_away(visit.address, visit.why, "")


def expect_no_request(association: Association) -> None:
    """End the wait for a request that may never come; pynetdicom reads it as "none in time"."""
    association.dul.to_user_queue.put(None)
