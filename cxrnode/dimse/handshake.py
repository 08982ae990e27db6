"""TLS handshakes, and in words why there was none.

Hides OpenSSL's errors. Promises that a handshake ends within its time whatever the peer does, that one peer's handshake
keeps no other waiting, that a plain peer on a TLS port and a TLS peer on a plain one are told as what they are, and for
every failure what it was and what to do. Nothing of a peer's certificate is quoted but the names it is for.
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from cxrnode.dimse.tls import Tls

_ASSOCIATE_RQ = 0x01
"""The first byte of an A-ASSOCIATE-RQ PDU (PS3.8 9.3.2)."""
_RECORDS = (0x15, 0x16)
"""The first byte of a TLS alert or handshake (RFC 8446 5.1); the second is 3."""
_LINGER_SECONDS = 2.0
_PLAIN_PEER = "a plain DICOM peer came to the TLS port: switch TLS on at the peer"
TLS_PEER = 'a TLS peer came to the plain port: write listener.transport = "tls", or switch TLS off at the peer'
TLS_SERVER = 'the peer expects TLS: write transport = "tls" for this destination, or correct its port'
SILENT_SERVER = 'the peer closed the connection without a word, as one does that expects TLS (transport = "tls")'
_TOO_LATE = "the peer did not finish the TLS handshake in time: is it a TLS peer, and is the network in order?"
_LEFT = "the peer closed the connection in the midst of the TLS handshake: its own log says why"
_MUTE_SERVER = (
    "the peer closed the connection in the midst of the TLS handshake: its own log says why, or it expects plain DICOM"
)
_NO_TLS_SERVER = 'the peer does not speak TLS on this port: write transport = "plain" for it, or correct its port'

_VERIFIED = {
    9: "the peer's certificate is not valid yet: look at both machines' clocks",
    10: "the peer's certificate has expired: it needs a new one",
    18: "the peer's certificate is its own issuer and is not in tls.authorities: add it, or have one issued",
    19: "the peer's certificate is of an authority that is not in tls.authorities: add it, or have one issued",
    20: "the peer's certificate is of an authority that is not in tls.authorities: add it, or have one issued",
    21: "the peer's certificate is of an authority that is not in tls.authorities: add it, or have one issued",
    23: "the peer's certificate was withdrawn by its authority: it needs a new one",
    26: "the peer's certificate is not for this use: it needs one for TLS server and client",
    66: "the peer's certificate has a key that is too weak: it needs a new one",
    67: "an authority of the peer's certificate has a key that is too weak: it needs a new one",
    68: "the peer's certificate is signed too weakly (SHA-1 or MD5): it needs a new one",
}
"""By OpenSSL's X509_V_ERR_ numbers; the names of the rest do not say more than "not valid"."""
_WRONG_NAME = (62, 64)
_NAMES = ("DNS", "IP Address")

_FAILED = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "the peer shows no certificate: it needs one of our tls.authorities",
    "WRONG_VERSION_NUMBER": _NO_TLS_SERVER,
    "HTTP_REQUEST": "the peer speaks HTTP on the DICOM port",
    "UNSUPPORTED_PROTOCOL": "the peer offers TLS 1.1 or older only: it has to offer TLS 1.2 or newer",
    "NO_SHARED_CIPHER": "the peer offers no cipher suite of the BCP 195 profile: switch one on at the peer",
    "NO_PROTOCOLS_AVAILABLE": "the peer offers TLS 1.1 or older only: it has to offer TLS 1.2 or newer",
    "TLSV1_ALERT_PROTOCOL_VERSION": "the peer takes TLS 1.1 or older only: it has to take TLS 1.2 or newer",
    "TLSV1_ALERT_UNKNOWN_CA": "the peer does not trust our certificate: give it the authority that issued it",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "the peer says that our certificate has expired: renew tls.certificate",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "the peer says that our certificate was withdrawn: renew tls.certificate",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "the peer does not take our certificate: its own log says why",
    "SSLV3_ALERT_BAD_CERTIFICATE": "the peer does not take our certificate: its own log says why",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": "the peer does not take our certificate's kind: its own log says why",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "the peer asks for a certificate, and got none of ours",
    "TLSV1_ALERT_ACCESS_DENIED": "the peer knows our certificate and does not let us in",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "the peer ended the TLS handshake: no cipher suite in common, or our certificate",
    "TLSV1_ALERT_INSUFFICIENT_SECURITY": "the peer finds our cipher suites or our key too weak",
}
"""By OpenSSL's reason; an ALERT is the peer's word."""


class TlsFailed(Exception):
    """There was no TLS. The text says why and what to do; none where the peer left without a word (a health check)."""


def is_record(start: bytes | bytearray) -> bool:
    """Tell whether a connection begins as TLS does."""
    return len(start) >= 2 and start[0] in _RECORDS and start[1] == 3


def why(error: OSError) -> str:
    """Say in words why there was no TLS."""
    if isinstance(error, TimeoutError):
        return _TOO_LATE
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in _WRONG_NAME:
            return "the peer's certificate is for another name: write the right one as certificate_name"
        other = "the peer's certificate is not valid: `openssl verify` with tls.authorities says why"
        return _VERIFIED.get(error.verify_code, other)
    if isinstance(error, ssl.SSLError) and error.reason and not isinstance(error, ssl.SSLEOFError):
        return _FAILED.get(error.reason, f"the TLS handshake failed: {_word(error.reason)}")
    return _LEFT


def _word(reason: str) -> str:
    """Give OpenSSL's word for a failure: capitals, from its own table."""
    return re.sub(r"[^A-Z0-9_]", "", reason.upper())[:60].replace("_", " ").lower()


class Handshakes:
    """Those under way at one port. Each runs in its connection's own thread."""

    def __init__(self, tls: Tls, *, most: int) -> None:
        """Allow `most` at once: what is beyond is closed at once."""
        self._tls, self._most = tls, most
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._ended = False

    def secured(self, connection: socket.socket) -> ssl.SSLSocket:
        """Give the connection under TLS. TlsFailed, with the connection closed, where there is none."""
        afterwards, deadline = connection.gettimeout(), time.monotonic() + self._tls.handshake_seconds
        with self._watched(connection):
            self._hear(connection)
            secured = self._wrapped(connection)
        with self._watched(secured):
            self._shake(secured, max(0.1, deadline - time.monotonic()))
        secured.settimeout(afterwards)
        _note(secured, self._tls)
        return secured

    def end(self) -> None:
        """End those under way, and begin no other."""
        with self._lock:
            self._ended = True
            for connection in self._open:
                cut(connection)

    @contextlib.contextmanager
    def _watched(self, connection: socket.socket) -> Iterator[None]:
        with self._lock:
            crowded, ended = len(self._open) >= self._most, self._ended
            self._open.add(connection)
        try:
            if ended:
                raise TlsFailed
            if crowded:
                raise TlsFailed("too many TLS handshakes at once")
            yield
        except TlsFailed:
            connection.close()
            raise
        finally:
            with self._lock:
                self._open.discard(connection)

    def _hear(self, connection: socket.socket) -> None:
        """Wait for the first byte: it tells TLS from DICOM in the clear."""
        try:
            connection.settimeout(self._tls.handshake_seconds)
            first = connection.recv(1, socket.MSG_PEEK)
        except OSError as error:
            raise TlsFailed(why(error)) from error
        if not first:
            raise TlsFailed
        if first[0] == _ASSOCIATE_RQ:
            raise TlsFailed(_PLAIN_PEER)

    def _wrapped(self, connection: socket.socket) -> ssl.SSLSocket:
        context = self._tls.server_context()
        try:
            return context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        except OSError as error:
            # Gone already, with something left to read: Python refuses to call that a connection.
            raise TlsFailed(_LEFT) from error

    def _shake(self, secured: ssl.SSLSocket, seconds: float) -> None:
        try:
            secured.settimeout(seconds)
            secured.do_handshake()
        except OSError as error:
            _linger(secured)
            raise TlsFailed(why(error)) from error


class _Dialling(ssl.SSLSocket):
    """A client's socket that remembers why there was no TLS; pynetdicom swallows that."""

    trouble: OSError | None = None

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except OSError as error:
            self.trouble = error
            raise

    def read(self, *arguments: Any) -> Any:
        # What recv and recv_into come to. In TLS 1.3 a server's refusal of our certificate comes with its first answer
        # (RFC 8446 4.4.2.4).
        try:
            return super().read(*arguments)
        except ssl.SSLError as error:
            self.trouble = error
            raise


class Call:
    """One connection of ours under TLS: stands in for pynetdicom's SSLContext, and knows afterwards why it failed."""

    def __init__(self, tls: Tls, name: str, *, named: bool) -> None:
        """Call a peer whose certificate is for `name`; not `named`, for any."""
        self._tls, self.name, self._named = tls, name, named
        self._socket: _Dialling | None = None

    def wrap_socket(self, sock: socket.socket, server_side: bool, server_hostname: str) -> ssl.SSLSocket:
        """Wrap a socket that is not connected yet, as `ssl.SSLContext.wrap_socket` does."""
        context = self._tls.client_context(named=self._named)
        context.sslsocket_class = _Dialling
        secured = context.wrap_socket(sock, server_side=server_side, server_hostname=server_hostname)
        assert isinstance(secured, _Dialling)  # the context's class
        self._socket = secured
        return secured

    def begun(self) -> None:
        """Note the peer's certificate, once connected."""
        if self._socket is not None:
            _note(self._socket, self._tls)

    def trouble(self) -> str:
        """Say why there was no TLS; empty where TLS was not what failed."""
        error = self._socket.trouble if self._socket is not None else None
        if isinstance(error, ssl.SSLCertVerificationError) and error.verify_code in _WRONG_NAME:
            return f"the peer's certificate is not for {self.name!r}: write the name it is for as certificate_name"
        if error is None:
            return ""
        says = why(error)
        return _MUTE_SERVER if says is _LEFT else says


def names_of(connection: socket.socket) -> frozenset[str]:
    """Give the names that the peer's certificate is for, in small letters: DNS names, addresses, the common name. None
    where it showed none, or there is no TLS."""
    said = connection.getpeercert() if isinstance(connection, ssl.SSLSocket) else None
    if not said:
        return frozenset()
    others: Any = said.get("subjectAltName", ())
    subject: Any = said.get("subject", ())
    common = [value for part in subject for kind, value in part if kind == "commonName"]
    return frozenset(str(name).lower() for name in (*common, *(value for kind, value in others if kind in _NAMES)))


def cut(connection: socket.socket) -> None:
    """Close a socket under whoever waits on it. Not by SSLSocket's own method: after it, for a moment, what another
    thread sends goes out in the clear."""
    with contextlib.suppress(OSError):
        socket.socket.shutdown(connection, socket.SHUT_RDWR)


def _note(secured: ssl.SSLSocket, tls: Tls) -> None:
    """Look when the peer's certificate ends. One that was not asked for is not there."""
    der, said = secured.getpeercert(binary_form=True), secured.getpeercert()
    if der and said and "notAfter" in said:
        tls.saw(der, datetime.fromtimestamp(ssl.cert_time_to_seconds(str(said["notAfter"])), UTC))


def _linger(secured: ssl.SSLSocket) -> None:
    """Let the peer read our alert: closing over what it sent and we did not read would reset the connection first."""
    deadline = time.monotonic() + _LINGER_SECONDS
    with contextlib.suppress(OSError):
        socket.socket.shutdown(secured, socket.SHUT_WR)
        while time.monotonic() < deadline:
            secured.settimeout(max(0.1, deadline - time.monotonic()))
            if not socket.socket.recv(secured, 4096):
                return
