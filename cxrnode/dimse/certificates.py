"""Our certificate, its key and the authorities, as they lie on disk.

Hides the `cryptography` package and PEM. Promises every problem of the three files at once, each with what to do; and
of every certificate in them when it ends, without its text: a certificate is told apart by the start of its SHA-256.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

SMALLEST_RSA, SMALLEST_CURVE = 2048, 256
"""Bits of a key (PS3.15 B.12 by RFC 9325 4.5)."""

_ROLES = {"server": ExtendedKeyUsageOID.SERVER_AUTH, "client": ExtendedKeyUsageOID.CLIENT_AUTH}
_ROOT = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """Where the certificate, its key and the authorities lie."""

    certificate: Path
    key: Path
    authorities: Path

    def stamp(self) -> tuple[object, ...]:
        """Give what differs when one of them was changed; a file that is missing counts as one."""
        return tuple(_stamp(path) for path in (self.certificate, self.key, self.authorities))


def _stamp(path: Path) -> object:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """When a certificate ends. `whose` is a word for the operator."""

    whose: str
    fingerprint: str
    at: datetime

    def days_left(self, now: datetime) -> int:
        """Whole days until then, below 0 when it is over."""
        return (self.at - now).days

    def said(self, now: datetime) -> str:
        """Say when, in words."""
        left = self.days_left(now)
        return f"{self.whose} has ended" if left < 0 else f"{self.whose} ends in {left} days"


def fingerprint(der: bytes) -> str:
    """Give the start of a certificate's SHA-256, as `openssl x509 -fingerprint -sha256` begins."""
    digest = hashes.Hash(hashes.SHA256())
    digest.update(der)
    return digest.finalize().hex()[:16]


def endings(files: Files) -> tuple[Ending, ...]:
    """Give when each certificate ends. OSError or ValueError where one cannot be read; `problems` says it in words."""
    ours = [("our certificate", one) for one in _read(files.certificate)]
    theirs = [("an authority", one) for one in _read(files.authorities)]
    return tuple(
        Ending(
            whose=whose,
            fingerprint=fingerprint(one.public_bytes(serialization.Encoding.DER)),
            at=one.not_valid_after_utc,
        )
        for whose, one in (*ours, *theirs)
    )


def ended(files: Files, now: datetime) -> list[str]:
    """Give what has ended, or has not begun, of our own certificate: its peers will refuse it."""
    own = _read(files.certificate)[0]
    if now > own.not_valid_after_utc:
        return [f"tls.certificate {files.certificate} ended on {own.not_valid_after_utc:%Y-%m-%d}: renew it"]
    if now < own.not_valid_before_utc:
        begins = f"{own.not_valid_before_utc:%Y-%m-%d}"
        return [f"tls.certificate {files.certificate} begins on {begins} only: look at this machine's clock"]
    return []


def problems(files: Files, roles: Sequence[str]) -> list[str]:
    """Give everything that keeps the files from use. `roles`: what the certificate is for, "server", "client"."""
    return [*_of_certificate(files, roles), *_of_key(files.key), *_of_authorities(files.authorities)]


def _of_certificate(files: Files, roles: Sequence[str]) -> Iterator[str]:
    name = f"tls.certificate {files.certificate}"
    try:
        own = _read(files.certificate)[0]
    except OSError as error:
        yield f"{name} cannot be read: {error.strerror}"
        return
    except (ValueError, UnsupportedAlgorithm):
        yield f"{name} holds no certificate in PEM form"
        return
    try:
        for weakness in _weak(own):
            yield f"{name} {weakness}: make a new one"
        for role in roles:
            if not _serves(own, role):
                yield f"{name} is not for a TLS {role} (extended key usage): have it issued for server and client"
        if _not_its_key(own, files.key):
            yield f"tls.key {files.key} is not the key of {files.certificate}: the two are made together"
    except (ValueError, UnsupportedAlgorithm):
        yield f"{name} has a key, a signature or an extension of no known kind: make one with an RSA or ECDSA key"


def _of_key(path: Path) -> Iterator[str]:
    try:
        mode = path.stat()
        text = path.read_bytes()
    except OSError as error:
        yield f"tls.key {path} cannot be read: {error.strerror}"
        return
    # A key of root's may be readable by the service's group, as distributions keep them; another only by its owner.
    if mode.st_mode & (0o037 if mode.st_uid == _ROOT and os.getuid() != _ROOT else 0o077):
        said = stat.filemode(mode.st_mode)
        yield f"tls.key {path} is {said}: others may read it; chmod 600, and owned by the node's user"
    try:
        serialization.load_pem_private_key(text, None)
    except TypeError:
        yield f"tls.key {path} asks for a password: nobody is there to type it; `openssl pkey` takes it off"
    except (ValueError, UnsupportedAlgorithm):
        yield f"tls.key {path} holds no private key in PEM form"


def _of_authorities(path: Path) -> Iterator[str]:
    try:
        _read(path)
    except OSError as error:
        yield f"tls.authorities {path} cannot be read: {error.strerror}"
    except (ValueError, UnsupportedAlgorithm):
        yield f"tls.authorities {path} holds no certificate in PEM form"


def _read(path: Path) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(path.read_bytes())


def _weak(certificate: x509.Certificate) -> Iterator[str]:
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < SMALLEST_RSA:
        yield f"has an RSA key of {key.key_size} bits, less than {SMALLEST_RSA}"
    if isinstance(key, ec.EllipticCurvePublicKey) and key.key_size < SMALLEST_CURVE:
        yield f"has a key on a curve of {key.key_size} bits, less than {SMALLEST_CURVE}"
    if isinstance(certificate.signature_hash_algorithm, hashes.MD5 | hashes.SHA1):
        yield f"is signed with {certificate.signature_hash_algorithm.name.upper()}"


def _serves(certificate: x509.Certificate, role: str) -> bool:
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return _ROLES[role] in usage or ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in usage


def _not_its_key(certificate: x509.Certificate, path: Path) -> bool:
    """Tell that the key is another one's; of a key that cannot be read, its own problem is said."""
    form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except (OSError, TypeError, ValueError, UnsupportedAlgorithm):
        return False
    return key.public_key().public_bytes(*form) != certificate.public_key().public_bytes(*form)
