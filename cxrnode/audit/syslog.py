"""Syslog as PS3.15 asks for it: RFC 5424 messages, over TLS (RFC 5425; PS3.15 A.6), UDP (A.7), or plain TCP.

Hides sockets and TLS. Promises that `send` returns only when the collector's system has acknowledged every byte (over
UDP nobody knows), that nothing waits longer than its time limit, and an error that says what to do.
"""

from __future__ import annotations

import errno
import fcntl
import re
import select
import socket
import ssl
import struct
import termios
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

from cxrnode.errors import NeedsOperator, Retryable

HINT = "see 'The audit trail does not reach its collector' in docs/operations.md"

_PRI = b"<85>"
"""Facility 10 (security and authorization), severity 5 (PS3.15 A.6)."""
_MESSAGE_ID = b"DICOM+RFC3881"
_WHEN = re.compile(rb'EventDateTime="([^"]+)"')
_LOOK_AGAIN_SECONDS = 0.01
_SECONDS = 3.0
_TRIAL_SECONDS = 1.0
"""How long a new connection has to hold before what went over it counts as sent."""


class Carrier(StrEnum):
    """How the collector is spoken to."""

    TLS = "tls"
    TCP = "tcp"
    UDP = "udp"


@dataclass(frozen=True, slots=True, kw_only=True)
class Collector:
    """Where audit messages are sent: an audit record repository, or any syslog server.

    `context` gives that of the next connection over TLS, so that new certificates are taken up without a restart.
    """

    host: str
    port: int = 6514
    transport: Carrier = Carrier.TLS
    context: Callable[[], ssl.SSLContext] = ssl.create_default_context


class Wire:
    """The connection to a collector, made when it is first needed. Owns the socket."""

    def __init__(self, collector: Collector, sender: str) -> None:
        """Speak to `collector`; `sender` is our own host's name in each message."""
        self._collector = collector
        self._sender = _header_word(sender)
        self._socket: socket.socket | None = None

    def send(self, messages: Sequence[bytes]) -> None:
        """Send them all. Retryable where the collector cannot be reached or went away; NeedsOperator for its TLS."""
        try:
            connected, is_new = self._connected()
            for message in messages:
                connected.sendall(self._framed(message))
            _drain(connected)
            _listen(connected, _TRIAL_SECONDS if is_new else 0)
        except ssl.SSLError as error:
            self.close()
            raise NeedsOperator(_of_tls(error), operation="audit", subject=self._subject, hint=HINT) from error
        except OSError as error:
            self.close()
            raise Retryable(_of_network(error), operation="audit", subject=self._subject, hint=HINT) from error

    def interrupt(self) -> None:
        """Have a `send` of another thread end at once, with an error."""
        kept = self._socket
        if kept is not None:
            with suppress(OSError):
                # Not SSLSocket's own method: after it, for a moment, `send` would write in the clear.
                socket.socket.shutdown(kept, socket.SHUT_RDWR)

    def close(self) -> None:
        """End the connection; `send` makes a new one."""
        gone, self._socket = self._socket, None
        if gone is not None:
            with suppress(OSError):
                gone.close()

    @property
    def _subject(self) -> str:
        return f"{self._collector.host}:{self._collector.port}"

    def _framed(self, message: bytes) -> bytes:
        when = _WHEN.search(message)
        header = b" ".join([_PRI + b"1", when[1] if when else b"-", self._sender, b"cxrnode", b"-", _MESSAGE_ID, b"-"])
        # A byte order mark says that the text is UTF-8 (RFC 5424 6.4).
        whole = header + b" \xef\xbb\xbf" + message
        return whole if self._collector.transport is Carrier.UDP else b"%d %s" % (len(whole), whole)

    def _connected(self) -> tuple[socket.socket, bool]:
        """Give the connection, and whether it is a new one."""
        kept = self._socket
        if kept is not None and not _has_ended(kept):
            return kept, False
        self.close()
        self._socket = _connect(self._collector)
        return self._socket, True


def reach(collector: Collector) -> str:
    """Connect, and let go again; give what is known by it. Raises as `Wire.send` does."""
    wire = Wire(collector, "")
    try:
        wire.send(())
    finally:
        wire.close()
    where = f"{collector.host}:{collector.port} over {collector.transport.upper()}"
    return f"{where}: nobody knows whether it listens" if collector.transport is Carrier.UDP else f"{where} answers"


def _connect(collector: Collector) -> socket.socket:
    address = (collector.host, collector.port)
    if collector.transport is Carrier.UDP:
        family, kind, protocol, _, found = socket.getaddrinfo(*address, type=socket.SOCK_DGRAM)[0]
        datagrams = socket.socket(family, kind, protocol)
        datagrams.connect(found)
        return datagrams
    plain = socket.create_connection(address, timeout=_SECONDS)
    if collector.transport is Carrier.TCP:
        return plain
    try:
        return collector.context().wrap_socket(plain, server_hostname=collector.host)
    except BaseException:
        plain.close()
        raise


def _has_ended(connected: socket.socket) -> bool:
    try:
        _listen(connected, 0)
    except OSError:
        return True
    return False


def _listen(connected: socket.socket, seconds: float) -> None:
    """Hear for so long whether the collector ends the connection, and raise what it says: it has nothing else to say.

    In TLS 1.3 the handshake is over for us before the collector has looked at our certificate.
    """
    if connected.type is socket.SOCK_DGRAM or not select.select([connected], [], [], seconds)[0]:
        return
    connected.settimeout(0)
    try:
        if not connected.recv(1):
            raise ConnectionResetError(errno.ECONNRESET, "the collector has closed the connection")
    except (BlockingIOError, ssl.SSLWantReadError):
        return  # session tickets, which are no end
    finally:
        connected.settimeout(_SECONDS)


def _drain(connected: socket.socket) -> None:
    """Wait until the other system has acknowledged every byte: what is only in our buffers dies with the connection."""
    deadline = time.monotonic() + _SECONDS
    while connected.type is not socket.SOCK_DGRAM and _unacknowledged(connected):
        if time.monotonic() > deadline:
            raise TimeoutError(errno.ETIMEDOUT, "not acknowledged")
        _listen(connected, _LOOK_AGAIN_SECONDS)


def _unacknowledged(connected: socket.socket) -> int:
    waiting: int = struct.unpack("i", fcntl.ioctl(connected.fileno(), termios.TIOCOUTQ, b"\0" * 4))[0]
    return waiting


def _header_word(text: str) -> bytes:
    """Give a text as a word of the header: printable ASCII without spaces (RFC 5424 6)."""
    return re.sub(r"[^!-~]", "-", text)[:255].encode() or b"-"


def _of_tls(error: OSError) -> str:
    reason = getattr(error, "verify_message", "") or getattr(error, "reason", "")
    return f"TLS failed: {reason or errno.errorcode.get(error.errno or 0, 'no reason given')}"


def _of_network(error: OSError) -> str:
    named = errno.errorcode.get(error.errno or 0) or type(error).__name__
    return f"the collector cannot be reached ({named})"
