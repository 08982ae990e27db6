"""Sockets; and the wire of one accepted connection: pynetdicom's socket, with what it leaves open closed.

Hides pynetdicom's socket, which reads 4096 bytes at a time, takes any length that a peer claims and looks a thousand
times a second whether something has come. Promises that a PDU longer than was negotiated is not read, that every byte
counts as progress, that nothing is read while the peer has a request waiting (so it is TCP that holds a hasty sender
back, and no memory), and that an idle association costs next to nothing.

Relies on these inner names of pynetdicom 3.0: AssociationSocket.ready, .recv and .socket,
DULServiceProvider.event_queue.
"""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pynetdicom.transport import AssociationSocket

from cxrnode.dimse.contexts import MAXIMUM_PDU
from cxrnode.dimse.handshake import cut

if TYPE_CHECKING:
    from pynetdicom.association import Association

    from cxrnode.dimse.admission import Visit

_LONGEST_PDU = 8 * MAXIMUM_PDU
"""Bytes. Generous to peers that do not keep to what was negotiated, closed to those that claim gigabytes."""
_HEAD = 6
"""Bytes of a PDU's type and length (PS3.8 9.3.1)."""
_LONGEST_REQUEST = MAXIMUM_PDU
"""Bytes of a first PDU, which anybody may send: pynetdicom takes two seconds for a megabyte of contexts. 128 contexts
of thirty syntaxes each are fewer bytes."""

DROWSY_SECONDS = 0.02
"""So long the threads of a quiet association wait for something to come, where pynetdicom's look every millisecond."""


class Wire(AssociationSocket):
    """Takes the place of the socket that pynetdicom made."""

    def __init__(
        self,
        association: Association,
        visit: Visit,
        *,
        held_back: Callable[[], bool],
        check_start: Callable[[bytearray], None],
        clock: Callable[[], float],
    ) -> None:
        """Wrap the visit's connection; nothing is read while `held_back`.

        `check_start` raises OSError where what begins the first PDU is none.
        """
        # The one that pynetdicom made has said already that the connection is there (Evt5); said twice it is an error.
        association.dul.event_queue.get_nowait()
        super().__init__(association, client_socket=visit.connection)
        self._progress, self._held_back, self._clock = visit.progress, held_back, clock
        self._check_start = check_start

    @property
    def ready(self) -> bool:
        """Tell whether something came that may be read now."""
        if self._held_back():
            return False
        if self._progress.is_quiet(self._clock()):
            self._doze()
        return super().ready

    def recv(self, nr_bytes: int) -> bytearray:
        """Read so many bytes, fewer where the connection ends. OSError for more than a PDU may have."""
        if nr_bytes > _LONGEST_REQUEST and self._progress.bytes <= _HEAD:
            raise OSError("an association request longer than any")
        first = not self._progress.bytes
        self._progress.begin(self._clock())
        data = read(self, nr_bytes, came=self._note)
        if first:
            self._check_start(data)
        return data

    def _note(self, count: int) -> None:
        self._progress.bytes, self._progress.heard = self._progress.bytes + count, self._clock()

    def _doze(self) -> None:
        connection = self.socket
        if connection is not None and not getattr(connection, "pending", int)():  # an SSLSocket's bytes, read already
            with contextlib.suppress(OSError, ValueError):  # closed under us: `ready` says so
                select.select([connection], [], [], DROWSY_SECONDS)


def read(wrapped: AssociationSocket, count: int, came: Callable[[int], None] | None = None) -> bytearray:
    """Read so many bytes, fewer where the connection ends; `came` is told how many each time. OSError for more than a
    PDU may have: pynetdicom takes whatever length a peer claims."""
    if count > _LONGEST_PDU:
        raise OSError("a PDU longer than was negotiated")
    data = bytearray(count)
    view, filled = memoryview(data), 0
    while wrapped.socket is not None and filled < count:
        got = wrapped.socket.recv_into(view[filled:])
        if not got:
            break
        filled += got
        if came is not None:
            came(got)
    view.release()
    del data[filled:]
    return data


def tune(connection: socket.socket, idle_seconds: float) -> None:
    """Set what every socket of ours has."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.settimeout(idle_seconds)


def connected(association: Association) -> socket.socket:
    """Give an association's socket. OSError where it has none any more."""
    wrapped = association.dul.socket
    # Read once: the thread that closes it may do so in the next moment.
    found = wrapped.socket if wrapped is not None else None
    if found is None:
        raise OSError("the connection is closed")
    return found


def close_socket(association: Association) -> None:
    """Close an association's socket under it: the threads that wait on it end."""
    with contextlib.suppress(OSError):
        cut(connected(association))


def peer_address(client_address: Any) -> str:
    """Give the address of a peer, IPv4 as such."""
    return str(client_address[0]).removeprefix("::ffff:")
