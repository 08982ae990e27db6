"""pynetdicom's server and its request handler, with what they leave open closed.

Hides their classes and threads. Promises that a connection gets no thread before it says something, nor over the
numbers; that every visit is begun and ended once; that a TLS handshake keeps nobody else waiting; and that the house
looks around a few times a second.

Relies on these inner names of pynetdicom 3.0: RequestHandler._create_association, Association.dimse, .dul and
._serve_request, DULServiceProvider.socket.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import DimseServiceType
from pynetdicom.events import Event
from pynetdicom.pdu_primitives import A_ABORT, A_P_ABORT
from pynetdicom.transport import RequestHandler, ThreadedAssociationServer

from cxrnode import telemetry
from cxrnode.dimse.admission import MADE_ROOM, Visit
from cxrnode.dimse.handshake import TLS_PEER, TlsFailed, cut, is_record
from cxrnode.dimse.house import LEAVE_SECONDS, LOST, House, expect_no_request
from cxrnode.dimse.spool import BROKE, SpoolingProvider
from cxrnode.dimse.wire import Wire, peer_address, tune

_LOOK_AROUND_SECONDS = 0.2
_STOP_SECONDS = 5.0
"""For the accepting thread, whose turns take no time unless the disk of the log or the audit trail hangs."""

ABORTED = "aborted by the peer"
NOT_ACCEPTED = "the system gave no connection"
_BROKE_REASON = 5
"""Provider reason of pynetdicom's A-P-ABORT where the peer sent what does not belong there (state machine, AA-8)."""


class Handler(RequestHandler):
    """Makes an association of a connection."""

    visit: Visit

    def handle(self) -> None:
        """Begin the association; before it the TLS handshake, in this connection's own thread."""
        house, visit = self._acceptor.house, self._acceptor.arrived.pop(self.request, None)
        if visit is None:  # a stop has closed it
            return
        self.visit = visit
        try:
            if house.handshakes is not None:
                self.request = visit.connection = house.handshakes.secured(self.request)
            super().handle()
        except TlsFailed as failed:
            house.places.leave(visit)
            if str(failed):
                house.places.refused(visit.address)
                house.insecure(visit.address, str(failed))
        except BaseException:
            house.places.leave(visit)
            raise

    @property
    def _acceptor(self) -> Acceptor:
        assert isinstance(self.server, Acceptor)  # the only server that has this handler
        return self.server

    def _create_association(self) -> Association:
        association = super()._create_association()
        house, visit = self._acceptor.house, self.visit
        provider = SpoolingProvider(association, house.room, visit)
        association.dimse = provider
        visit.association = association
        association.dul.socket = Wire(
            association,
            visit,
            held_back=provider.has_enough,
            check_start=partial(_check_start, visit) if house.handshakes is None else _anything,
            clock=house.places.clock,
        )
        # Thread.run is the one place that every end of an association passes; pynetdicom's events are not.
        association.run = partial(_run, association.run, house, visit, association)  # type: ignore[method-assign]
        association.dul.run = partial(_read, association.dul.run, visit, association)  # type: ignore[method-assign]
        serve = partial(_serve_in_turn, association._serve_request, association, provider)
        association._serve_request = serve  # type: ignore[method-assign]
        return association


class Acceptor(ThreadedAssociationServer):
    """Accepts connections by number, hears who says something, and looks around."""

    request_queue_size = 128
    daemon_threads = True
    house: House

    def open(self, house: House) -> None:
        """Be ready to serve."""
        self.house = house
        self.arrived: dict[socket.socket, Visit] = {}
        """Between their acceptance and the beginning of their thread."""
        self._pausing: list[tuple[socket.socket, Visit, Any]] = []
        self._looked_at = 0.0
        self._selector = selectors.DefaultSelector()
        self._stopping, self._stopped = threading.Event(), threading.Event()
        assert self.socket is not None  # bound when it was made
        self.socket.setblocking(False)
        self._selector.register(self.socket, selectors.EVENT_READ)

    def serve_forever(self, poll_interval: float = 0.5) -> None:
        """Serve until `shutdown`. Not the library's loop: that one gives a thread to a connection that says nothing."""
        try:
            while not self._stopping.is_set():
                try:
                    self._turn(poll_interval)
                except Exception as error:  # noqa: BLE001 - the edge: without this thread nobody comes in any more
                    telemetry.unexpected("accept", error)
                    self._stopping.wait(_LOOK_AROUND_SECONDS)
        finally:
            self._stopped.set()

    def shutdown(self) -> None:
        """Accept no more. Not pynetdicom's: that one takes the server off a list which only AE.start_server fills."""
        self._stopping.set()
        self._stopped.wait(_STOP_SECONDS)
        for connection, visit in tuple(self.arrived.items()):
            self._end(connection, visit)
        self._selector.close()
        if self.house.handshakes is not None:
            self.house.handshakes.end()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Tell that a connection could not be served."""
        if visit := self.arrived.pop(request, None):
            self.house.places.leave(visit)
        error = sys.exception() or RuntimeError()
        telemetry.unexpected("accept", error, address=str(client_address[0]))

    def _turn(self, poll_interval: float) -> None:
        for key, _ in self._selector.select(poll_interval):
            if key.data is None:
                self._accept()
            else:
                self._hear(*key.data)
        self._look_around()

    def _accept(self) -> None:
        try:
            connection, client_address = self.get_request()
        except BlockingIOError:
            return
        except OSError as error:
            # Most likely no handle is left for it; it stays in the queue, and asking again at once would be all we do.
            self.house.spooling.turned_away("unknown", NOT_ACCEPTED, f"{type(error).__name__} {error.errno}")
            self._stopping.wait(_LOOK_AROUND_SECONDS)
            return
        try:
            self._let_in(connection, client_address)
        except Exception:  # noqa: BLE001 - the edge: this connection ends, and the rest must go on
            self.handle_error(connection, client_address)
            self.shutdown_request(connection)

    def _let_in(self, connection: socket.socket, client_address: Any) -> None:
        house, address = self.house, peer_address(client_address)
        if why := house.places.why_not(address):
            connection.close()
            house.spooling.turned_away(address, why, "")
            return
        # It is `look_around` that ends who does not get on, and says why; this is for the case that it does not.
        tune(connection, 2 * house.limits.idle_seconds + LEAVE_SECONDS)
        visit, makes_room = house.places.enter(connection, address)
        self.arrived[connection] = visit
        self._selector.register(connection, selectors.EVENT_READ, (connection, visit, client_address))
        if makes_room is not None:
            house.turn_out(makes_room, MADE_ROOM)

    def _hear(self, connection: socket.socket, visit: Visit, client_address: Any) -> None:
        """Give a thread to who says something."""
        try:
            said = connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        if not said or visit.gone_at is not None:
            self._end(connection, visit)
            return
        self._selector.unregister(connection)
        if self.house.places.has_to_pause(visit):
            self._pausing.append((connection, visit, client_address))
            return
        try:
            self.process_request(connection, client_address)
        except Exception:  # noqa: BLE001 - the edge: no thread could be had, and the rest must go on
            self.handle_error(connection, client_address)
            self.shutdown_request(connection)

    def _end(self, connection: socket.socket, visit: Visit) -> None:
        """End a connection that has no thread."""
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(connection)
        if self.arrived.pop(connection, None) is None:  # its thread was faster
            return
        self.shutdown_request(connection)
        self.house.left_unheard(visit)

    def _look_around(self) -> None:
        now = time.monotonic()
        if now - self._looked_at >= _LOOK_AROUND_SECONDS:
            self._looked_at = now
            self.house.look_around()
            pausing, self._pausing = self._pausing, []
            for each in pausing:
                self._selector.register(each[0], selectors.EVENT_READ, each)  # heard, or paused, at once


def visit_handlers(house: House) -> list[tuple[Any, ...]]:
    """Give the handlers that count a visit in and out. They come after those who may reject it."""
    return [
        (evt.EVT_REQUESTED, partial(_seat, house=house)),
        (evt.EVT_ESTABLISHED, partial(_establish, house=house)),
        (evt.EVT_ACSE_RECV, _note_end),
        (evt.EVT_CONN_CLOSE, _stop_waiting),
        *((event, partial(_go, house=house)) for event in (evt.EVT_REJECTED, evt.EVT_RELEASED, evt.EVT_ABORTED)),
    ]


def visit_of(association: Association) -> Visit:
    """Give the visit that an accepted association belongs to."""
    provider = association.dimse
    assert isinstance(provider, SpoolingProvider)  # every accepted association has one
    return provider.visit


def reject(association: Association, why: str, answer: tuple[int, int, int]) -> None:
    """Answer A-ASSOCIATE-RJ with this result, source and diagnostic (PS3.8 Table 9-21)."""
    visit_of(association).blame(why)
    association.acse.send_reject(*answer)
    evt.trigger(association, evt.EVT_REJECTED, {})
    association.kill()


def _seat(event: Event, *, house: House) -> None:
    if not event.assoc.is_rejected and (why := house.places.seat(visit_of(event.assoc))):
        reject(event.assoc, why, (2, 3, 2))


def _establish(event: Event, *, house: House) -> None:
    visit = visit_of(event.assoc)
    visit.progress.establish(house.places.clock())
    visit.progress.end(house.places.clock())


def _note_end(event: Any) -> None:
    primitive = event.primitive
    if isinstance(primitive, A_ABORT):
        visit_of(event.assoc).blame(ABORTED)
    elif isinstance(primitive, A_P_ABORT):
        visit_of(event.assoc).blame(BROKE if primitive.provider_reason == _BROKE_REASON else LOST)


def _go(event: Event, *, house: House) -> None:
    visit = visit_of(event.assoc)
    if visit.gone_at is None:
        visit.gone_at = house.places.clock()


def _stop_waiting(event: Event) -> None:
    """A peer that left before it asked for anything frees its place; pynetdicom would wait all of the negotiation."""
    if event.assoc.requestor.primitive is None:
        expect_no_request(event.assoc)


def _run(run: Callable[[], None], house: House, visit: Visit, association: Association) -> None:
    provider = association.dimse
    assert isinstance(provider, SpoolingProvider)  # set when the association was made
    try:
        run()
    except Exception as error:  # noqa: BLE001 - the edge: the last act of the association's thread
        visit.blame(BROKE, error)
    finally:
        # Whatever ended it: the thread that reads ends with its connection, and after it no file is begun.
        cut(visit.connection)
        association.dul.kill_dul()
        association.dul.join(LEAVE_SECONDS)
        provider.remove_parts()
        house.left(visit, association)


def _read(run: Callable[[], None], visit: Visit, association: Association) -> None:
    """Run pynetdicom's reader of PDUs; where a peer's bytes make it stumble, the association ends and nothing else."""
    try:
        run()
    except Exception as error:  # noqa: BLE001 - the edge: the last act of the thread that reads
        visit.blame(BROKE, error)
        cut(visit.connection)
        expect_no_request(association)


def _serve_in_turn(
    serve: Callable[[DimseServiceType, int], None],
    association: Association,
    provider: SpoolingProvider,
    message: DimseServiceType,
    context_id: int,
) -> None:
    if threading.current_thread() is association:
        serve(message, context_id)
    else:
        provider.serve_in_turn(message, context_id)


def _check_start(visit: Visit, head: bytearray) -> None:
    if is_record(head):
        visit.blame(TLS_PEER)
        raise OSError("TLS where none is")


def _anything(_: bytearray) -> None:
    return
