"""TLS on both sides: the BCP 195 RFC 8996, 9325 TLS Secure Transport Connection Profile (PS3.15 B.12).

Hides SSL contexts and when files are read again. Promises TLS 1.2 or newer with forward secrecy and authenticated
encryption only, mutual authentication unless the settings leave it out, no renegotiation and no compression; and that
new files are taken up whole or not at all: while they cannot be used, the old ones hold, and it is said.
"""

from __future__ import annotations

import logging
import ssl
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cxrnode.dimse import certificates
from cxrnode.dimse.certificates import Ending, Files
from cxrnode.errors import SettingsInvalid
from cxrnode.telemetry import Event, tell

HINT = "see 'TLS with a peer fails' in docs/operations.md"
CIPHERS = (
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
)
"""Of TLS 1.2, as OpenSSL calls them (RFC 9325 4.2); TLS 1.3 has only such."""

_SAID_AGAIN = timedelta(days=1)
_MOST_PEERS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Contexts:
    server: ssl.SSLContext
    client: ssl.SSLContext
    anybody: ssl.SSLContext
    """A client's that does not look at the name in the certificate."""


class Tls:
    """Owns what the three files came to. Used by all threads of a node."""

    def __init__(
        self,
        files: Files,
        *,
        client_certificates: bool = True,
        roles: Sequence[str] = ("server", "client"),
        handshake_seconds: float = 10.0,
        warn_days: int = 30,
    ) -> None:
        """Read the files. SettingsInvalid with every problem of theirs.

        `client_certificates`: whether who calls has to show one. A certificate that has ended is no reason not to
        start: the node goes on with its work, and says it.
        """
        self.files, self.handshake_seconds, self.warn_days = files, handshake_seconds, warn_days
        self._demanded, self._roles = client_certificates, tuple(roles)
        self._lock = threading.Lock()
        self._asked = threading.Event()
        self._said: dict[str, datetime] = {}
        self._stamp = self._seen = files.stamp()
        self.trouble = ""
        """Why the files on disk are not in use; those before them are."""
        self._contexts, self._endings = self._read()

    def server_context(self) -> ssl.SSLContext:
        """Give the context of the next connection to us."""
        return self._contexts.server

    def client_context(self, *, named: bool = True) -> ssl.SSLContext:
        """Give the context of our next connection; not `named`, any name in the peer's certificate will do."""
        return self._contexts.client if named else self._contexts.anybody

    def ask_again(self) -> None:
        """Have `look` read the files whether they changed or not (SIGHUP)."""
        self._asked.set()

    def look(self) -> int:
        """Take up files that changed, and warn of certificates that end. A verb for a bell: gives 0."""
        with self._lock:
            self._take_up()
            self._warn(datetime.now(UTC))
        return 0

    def ending(self, now: datetime) -> Ending | None:
        """Give the certificate that ends first, if one does within the days of warning."""
        return first_ending(self._endings, now, self.warn_days)

    def saw(self, peer: bytes, at: datetime) -> None:
        """Warn of a peer's certificate (DER) that ends soon, once a day."""
        with self._lock:
            now = datetime.now(UTC)
            ending = Ending(whose="a peer's certificate", fingerprint=certificates.fingerprint(peer), at=at)
            if ending.days_left(now) < self.warn_days:
                self._say(ending, now)

    def _read(self) -> tuple[_Contexts, tuple[Ending, ...]]:
        found = certificates.problems(self.files, self._roles)
        if found:
            raise SettingsInvalid("\n  ".join(["", *found]), subject="tls", hint=HINT)
        try:
            contexts = _Contexts(
                server=_server(self.files, self._demanded),
                client=_client(self.files, named=True),
                anybody=_client(self.files, named=False),
            )
            return contexts, certificates.endings(self.files)
        except (OSError, ValueError) as error:
            raise SettingsInvalid("OpenSSL does not take the files", subject="tls", hint=HINT) from error

    def _take_up(self) -> None:
        """A change is taken up when it has held for one look: a certificate and its key are not written at once."""
        before, self._seen = self._seen, self.files.stamp()
        asked = self._asked.is_set()
        if not asked and (self._seen == self._stamp or self._seen != before):
            return
        self._asked.clear()
        self._stamp = self._seen
        try:
            contexts, ends = self._read()
            over = certificates.ended(self.files, datetime.now(UTC))
            if over:
                raise SettingsInvalid("\n  ".join(["", *over]), subject="tls", hint=HINT)
        except SettingsInvalid as error:
            self.trouble = error.happened.strip()
            tell(Event.CERTIFICATE_REFUSED, logging.ERROR, reason=self.trouble, hint=HINT)
            return
        self._contexts, self._endings, self.trouble = contexts, ends, ""
        tell(Event.CERTIFICATE_LOADED, certificate=ends[0].fingerprint, reason=ends[0].said(datetime.now(UTC)))

    def _warn(self, now: datetime) -> None:
        for one in self._endings:
            if one.days_left(now) < self.warn_days:
                self._say(one, now)

    def _say(self, ending: Ending, now: datetime) -> None:
        last = self._said.get(ending.fingerprint)
        if last is not None and now - last < _SAID_AGAIN:
            return
        if len(self._said) >= _MOST_PEERS:
            self._said.clear()
        self._said[ending.fingerprint] = now
        level = logging.ERROR if ending.days_left(now) < 0 else logging.WARNING
        tell(Event.CERTIFICATE_ENDS, level, reason=ending.said(now), certificate=ending.fingerprint, hint=HINT)


def first_ending(ends: Sequence[Ending], now: datetime, warn_days: int) -> Ending | None:
    """Give what ends first, if it does within so many days."""
    soon = [one for one in ends if one.days_left(now) < warn_days]
    return min(soon, key=lambda one: one.at, default=None)


def _server(files: Files, demanded: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _restrict(context, files)
    # "Optional" would let in who shows none and turn away who shows a foreign one; so without demand nobody is asked.
    context.verify_mode = ssl.CERT_REQUIRED if demanded else ssl.CERT_NONE
    # Without tickets a connection shows its certificate anew, and nothing waits to be read before the peer's first PDU.
    context.options |= ssl.OP_NO_TICKET | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.num_tickets = 0
    return context


def _client(files: Files, *, named: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = named
    _restrict(context, files)
    return context


def _restrict(context: ssl.SSLContext, files: Files) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(":".join(CIPHERS))
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    # Each certificate of the file is trusted as it stands, also one between a leaf and a root.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_cert_chain(files.certificate, files.key)
    context.load_verify_locations(cafile=files.authorities)
