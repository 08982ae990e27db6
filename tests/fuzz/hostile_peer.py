"""A destination that answers what nobody should: it takes a connection, says its piece after each PDU, and goes on.

It is told what to say by a list of answers: bytes, or a function of the PDU that came.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from tests.fuzz import wire

Answer = bytes | Callable[[bytes], bytes]


class HostilePeer:
    """Listens on a free port; `answers` are given in turn, the last again and again; None closes."""

    def __init__(self) -> None:
        self.answers: Sequence[Answer | None] = ()
        self._server = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._threads: list[threading.Thread] = []

    @property
    def port(self) -> int:
        return int(self._server.getsockname()[1])

    def serve(self) -> None:
        """Take connections until the socket is closed."""
        with suppress(OSError):
            while True:
                wire_, _ = self._server.accept()
                thread = threading.Thread(target=self._meet, args=(wire_, list(self.answers)), daemon=True)
                self._threads.append(thread)
                thread.start()

    def stop(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for thread in self._threads:
            thread.join(5)

    def _meet(self, peer: socket.socket, answers: list[Answer | None]) -> None:
        with peer, suppress(OSError):
            peer.settimeout(5)
            while heard := _pdu(peer):
                answer = answers.pop(0) if len(answers) > 1 else answers[0]
                if answer is None:
                    return
                peer.sendall(answer if isinstance(answer, bytes) else answer(heard))


def _pdu(peer: socket.socket) -> bytes:
    """Read one PDU; nothing where the other side has gone."""
    head = _exactly(peer, 6)
    return head + _exactly(peer, struct.unpack(">L", head[2:])[0]) if len(head) == 6 else b""


def _exactly(peer: socket.socket, count: int) -> bytes:
    received = b""
    while len(received) < count and (more := peer.recv(count - len(received))):
        received += more
    return received


@contextmanager
def hostile_peer() -> Iterator[HostilePeer]:
    """Run one for the time of the `with`."""
    peer = HostilePeer()
    thread = threading.Thread(target=peer.serve, daemon=True)
    thread.start()
    try:
        yield peer
    finally:
        peer.stop()
        thread.join(5)


def accept(request: bytes) -> bytes:
    """Accept every context of a request, in its first transfer syntax (PS3.8 9.3.3)."""
    items, accepted, at = request[74:], b"", 0
    while at + 4 <= len(items):
        kind, length = struct.unpack_from(">BxH", items, at)
        if kind == 0x20:
            value = items[at + 4 : at + 4 + length]
            abstract = struct.unpack_from(">H", value, 6)[0]
            syntax = value[8 + abstract :]
            first = syntax[: 4 + struct.unpack_from(">H", syntax, 2)[0]]
            accepted += wire.item(0x21, bytes([value[0], 0, 0, 0]) + first)
        at += 4 + length
    return wire.pdu(2, request[6:74] + wire.item(0x10, wire.APPLICATION) + accepted + wire.item(0x50, wire.USER[:8]))


def answer_of(heard: bytes, *, status: int = 0, message: int | None = None, field: int | None = None) -> bytes:
    """Answer the command of a P-DATA-TF; nothing for one that only carries a data set."""
    if heard[0] != 4 or not heard[11] & 1:
        return wire.RELEASE_ANSWER if heard[0] == 5 else b""
    context_id = heard[10]
    said = dict(wire.elements_of(heard[12:]))
    fields: dict[int, bytes | int | str] = {
        0x0002: said.get(0x0002, said.get(0x0003, b"")),
        0x0100: struct.unpack("<H", said[0x0100])[0] | 0x8000 if field is None else field,
        0x0120: struct.unpack("<H", said[0x0110])[0] if message is None else message,
        0x0800: 0x0101,
        0x0900: status,
    }
    return wire.p_data(wire.fragment(context_id, 3, wire.command(fields)))
