"""A server for associations, with what pynetdicom leaves open closed.

Hides pynetdicom's server, its request handler and its threads. Promises: TCP_NODELAY and a time limit on every
accepted socket, so that a peer which stalls in the midst of a PDU does not hold a thread; data sets spooled to files
(see `spool`); and one call when an association has ended, however it ended, after the last of its requests is served.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from socketserver import BaseServer
from typing import Any

from pynetdicom import _config, evt
from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association
from pynetdicom.events import Event
from pynetdicom.presentation import PresentationContext
from pynetdicom.transport import AssociationSocket, RequestHandler, ThreadedAssociationServer

from cxrnode import telemetry
from cxrnode.dimse.contexts import MAXIMUM_PDU
from cxrnode.dimse.handshake import TLS_PEER, Handshakes, TlsFailed, cut, is_record
from cxrnode.dimse.spool import SpoolingProvider
from cxrnode.dimse.tls import Tls

_LONGEST_PDU = 8 * MAXIMUM_PDU
"""Bytes. Generous to peers that do not keep to what was negotiated, closed to those that claim gigabytes."""

_LOOK_AGAIN_SECONDS = 0.02

_HANDSHAKES = 4
"""How many TLS handshakes may be under way for each association that may: they are short."""

_ABORT_SECONDS = 2.0
"""How long an aborted peer may take to close its side before its socket is closed under it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How many associations, and how long they may take. `idle_seconds` also limits a stall in the midst of a PDU."""

    associations: int = 32
    negotiation_seconds: float = 30.0
    idle_seconds: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Securing:
    """Under which TLS (None: in the clear), and whom to tell, with the peer's address and in words, that a connection
    came to nothing: TLS failed, or came where none is."""

    tls: Tls | None = None
    failed: Callable[[str, str], None] = lambda address, why: None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spooling:
    """Where data sets go, whether one may be taken (raises Refused), and whom to tell that an association ended."""

    folder: Path
    admit: Callable[[Association], None]
    ended: Callable[[Association], None]


def quieten() -> None:
    """Keep pynetdicom from describing every PDU and message: that costs time, and some quote patient data."""
    _config.LOG_HANDLER_LEVEL = "none"
    _config.LOG_REQUEST_IDENTIFIERS = False
    _config.LOG_RESPONSE_IDENTIFIERS = False


def tune(connection: socket.socket, idle_seconds: float) -> None:
    """Set what every socket of ours has."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.settimeout(idle_seconds)


class _Handler(RequestHandler):
    def handle(self) -> None:
        """Begin the association; before it the TLS handshake, in this connection's own thread."""
        server = self.server
        assert isinstance(server, _Acceptor)  # the only server that has this handler
        if server.handshakes is not None:
            try:
                self.request = server.handshakes.secured(self.request)
            except TlsFailed as failed:
                server.failed(peer_address(self.client_address), str(failed))
                return
        super().handle()

    def _create_association(self) -> Association:
        association = super()._create_association()
        server = self.server
        assert isinstance(server, _Acceptor)  # the only server that has this handler
        spooling = server.spooling
        provider = SpoolingProvider(association, spooling.folder, spooling.admit)
        association.dimse = provider
        # Thread.run is the one place that every end of an association passes; pynetdicom's events are not.
        run_then = partial(_run_then, association.run, provider, partial(spooling.ended, association))
        association.run = run_then  # type: ignore[method-assign]
        wrapped = association.dul.socket
        assert wrapped is not None  # set_socket was called with it
        wrapped.recv = partial(_read, wrapped)  # type: ignore[method-assign]
        if server.handshakes is None:
            wrapped.recv = partial(_first_read, wrapped, partial(server.failed, peer_address(self.client_address)))  # type: ignore[method-assign]
        return association


def _run_then(run: Callable[[], None], provider: SpoolingProvider, ended: Callable[[], None]) -> None:
    try:
        run()
    finally:
        provider.remove_parts()
        ended()


def _read(wrapped: AssociationSocket, count: int) -> bytearray:
    """Read `count` bytes, fewer where the connection ends. Replaces pynetdicom's loop over 4096 bytes at a time, which
    takes any length that a peer claims."""
    if count > _LONGEST_PDU:
        raise OSError("a PDU longer than was negotiated")
    data = bytearray(count)
    view, filled = memoryview(data), 0
    while wrapped.socket is not None and filled < count:
        got = wrapped.socket.recv_into(view[filled:])
        if not got:
            break
        filled += got
    view.release()
    del data[filled:]
    return data


def _first_read(wrapped: AssociationSocket, failed: Callable[[str], None], count: int) -> bytearray:
    """Read the head of the first PDU, where a TLS client in the clear shows; the rest is read by `_read`."""
    wrapped.recv = partial(_read, wrapped)  # type: ignore[method-assign]
    data = _read(wrapped, count)
    if is_record(data):
        failed(TLS_PEER)
        raise OSError("TLS where none is")
    return data


class _Acceptor(ThreadedAssociationServer):
    request_queue_size = 64
    spooling: Spooling
    idle_seconds: float
    handshakes: Handshakes | None = None
    failed: Callable[[str, str], None]

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        tune(connection, self.idle_seconds)
        return connection, address

    def shutdown(self) -> None:
        # Not pynetdicom's: that one takes the server off a list which only AE.start_server fills.
        BaseServer.shutdown(self)
        if self.handshakes is not None:
            self.handshakes.end()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exception() or RuntimeError()
        telemetry.unexpected("accept", error, address=str(client_address[0]))


class Server:
    """Accepts associations from `start` to `stop`."""

    def __init__(
        self,
        *,
        ae_title: str,
        host: str,
        port: int,
        contexts: Sequence[PresentationContext],
        handlers: Sequence[Any],
        spooling: Spooling,
        limits: Limits,
        calling_ae_titles: Sequence[str] = (),
        securing: Securing | None = None,
    ) -> None:
        """Keep what is needed. Port 0 takes a free one; an empty list of calling AE titles takes any."""
        quieten()
        self._address = (host, port)
        self._contexts, self._handlers = list(contexts), [*handlers, (evt.EVT_CONN_CLOSE, _stop_waiting)]
        self._spooling, self._limits = spooling, limits
        self._securing = securing or Securing()
        self._entity = _entity(ae_title, limits, calling_ae_titles)
        self._acceptor: _Acceptor | None = None
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port in use; 0 before `start` where a free one was asked for."""
        return int(self._acceptor.server_address[1]) if self._acceptor else self._address[1]

    def start(self) -> None:
        """Listen. OSError where the address cannot be used."""
        acceptor = self._entity.make_server(
            self._address,
            ae_title=self._entity.ae_title,
            contexts=self._contexts,
            evt_handlers=self._handlers,
            server_class=_Acceptor,
            request_handler=_Handler,
        )
        assert isinstance(acceptor, _Acceptor)  # make_server is annotated with the parent class
        acceptor.spooling, acceptor.idle_seconds = self._spooling, self._limits.idle_seconds
        acceptor.failed = self._securing.failed
        if self._securing.tls is not None:
            acceptor.handshakes = Handshakes(self._securing.tls, most=_HANDSHAKES * self._limits.associations)
        self._acceptor = acceptor
        self._thread = threading.Thread(target=partial(acceptor.serve_forever, 0.05), name="acceptor", daemon=True)
        self._thread.start()

    def stop(self, grace_seconds: float = 0.0) -> None:
        """Accept no more, let objects under way be answered for `grace_seconds`, then abort every association.

        Returns when their threads have ended, or 4 s later where a request is still being served.
        """
        if self._acceptor is None:
            return
        acceptor, self._acceptor = self._acceptor, None
        self._address = (self._address[0], int(acceptor.server_address[1]))
        acceptor.shutdown()
        _wait_while_receiving(acceptor, grace_seconds)
        for association in acceptor.active_associations:
            _turn_out(association)
        _join(acceptor.active_associations, _ABORT_SECONDS)
        for association in acceptor.active_associations:
            close_socket(association)
        _join(acceptor.active_associations, _ABORT_SECONDS)


def _wait_while_receiving(acceptor: _Acceptor, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and any(_is_receiving(each) for each in acceptor.active_associations):
        time.sleep(_LOOK_AGAIN_SECONDS)


def _is_receiving(association: Association) -> bool:
    return isinstance(association.dimse, SpoolingProvider) and association.dimse.receiving


def _turn_out(association: Association) -> None:
    if association.is_established:
        association.abort(block=False)
    else:
        _expect_no_request(association)


def _stop_waiting(event: Event) -> None:
    """A peer that left before it asked for anything frees its place; pynetdicom would wait all of the negotiation."""
    if event.assoc.requestor.primitive is None:
        _expect_no_request(event.assoc)


def _expect_no_request(association: Association) -> None:
    """End the wait for a request that may never come; pynetdicom reads it as "none in time"."""
    association.dul.to_user_queue.put(None)


def connected(association: Association) -> socket.socket:
    """Give an association's socket. OSError where it has none any more."""
    wrapped = association.dul.socket
    if wrapped is None or wrapped.socket is None:
        raise OSError("the connection is closed")
    return wrapped.socket


def close_socket(association: Association) -> None:
    """Close an association's socket under it: the threads that wait on it end."""
    with contextlib.suppress(OSError):
        cut(connected(association))


def peer_address(client_address: Any) -> str:
    """Give the address of a peer, IPv4 as such."""
    return str(client_address[0]).removeprefix("::ffff:")


def _entity(ae_title: str, limits: Limits, calling_ae_titles: Sequence[str]) -> ApplicationEntity:
    entity = ApplicationEntity(ae_title=ae_title)
    entity.require_called_aet = True
    entity.require_calling_aet = list(calling_ae_titles)
    entity.maximum_associations = limits.associations
    entity.maximum_pdu_size = MAXIMUM_PDU
    entity.acse_timeout = limits.negotiation_seconds
    entity.dimse_timeout = limits.idle_seconds
    entity.network_timeout = limits.idle_seconds
    return entity


def _join(threads: Sequence[threading.Thread], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
