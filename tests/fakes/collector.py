"""A syslog collector: takes messages over TLS, TCP or UDP, and can go away."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import suppress


class FakeCollector:
    """Listens on a free port of loopback, in a thread of its own. Use it in a `with`."""

    def __init__(self, *, context: ssl.SSLContext | None = None, udp: bool = False, port: int = 0) -> None:
        """Listen. `context`: speak TLS."""
        self.messages: list[bytes] = []
        """What came, each as RFC 5424 has it, without its frame."""
        self.refused: list[str] = []
        """Why TLS handshakes failed."""
        self._context, self._udp = context, udp
        self._socket = socket.socket(type=socket.SOCK_DGRAM if udp else socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", port))
        self._open: list[socket.socket] = []
        self.port: int = self._socket.getsockname()[1]
        if not udp:
            self._socket.listen()
        self._thread = threading.Thread(target=self._datagrams if udp else self._accept, daemon=True)
        self._thread.start()

    def __enter__(self) -> FakeCollector:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Go away: close the port and every connection."""
        for each in (self._socket, *self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self._thread.join(5)

    def _datagrams(self) -> None:
        with suppress(OSError):
            while datagram := self._socket.recv(65536):
                self.messages.append(datagram)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                self._serve(self._socket.accept()[0])

    def _serve(self, plain: socket.socket) -> None:
        plain.settimeout(5)
        self._open.append(plain)
        try:
            connected = self._context.wrap_socket(plain, server_side=True) if self._context else plain
        except OSError as error:
            self.refused.append(str(error))
            plain.close()
            return
        self._open.append(connected)
        connected.settimeout(None)
        threading.Thread(target=self._take, args=(connected,), daemon=True).start()

    def _take(self, connected: socket.socket) -> None:
        """Octet counting (RFC 5425 4.3): a length, a space, and as many bytes."""
        with suppress(OSError), connected.makefile("rb") as stream:
            while length := _length(stream):
                self.messages.append(stream.read(length))


def _length(stream: object) -> int:
    digits = b""
    while (each := stream.read(1)) not in (b" ", b""):  # type: ignore[attr-defined]
        digits += each
    return int(digits or b"0")
