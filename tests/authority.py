"""A certificate authority for tests: certificates as a hospital's would issue them, and as it would not.

Hides trustme. Promises PEM files in a folder of the test's own, keys that only their owner can read, and names of files
that say whose they are.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from cxrnode.dimse.certificates import Files
from cxrnode.dimse.tls import Tls

HOST = "127.0.0.1"


class Authority:
    """One authority; two of them do not know each other."""

    def __init__(self, folder: Path, name: str = "hospital") -> None:
        """Make its certificate."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._name, self._ca = folder, name, trustme.CA(organization_name=name)
        self.file = folder / f"{name}-ca.pem"
        self.file.write_bytes(self._ca.cert_pem.bytes())

    def issue(
        self,
        name: str,
        *names: str,
        days: float = 365,
        begins: float = -1,
        trusting: Authority | None = None,
        key_type: trustme.KeyType = trustme.KeyType.ECDSA,
    ) -> Files:
        """Issue a certificate for `names` (loopback without any) that begins and ends so many days from now; its holder
        trusts this authority, or `trusting`."""
        now = datetime.now(UTC)
        leaf = self._ca.issue_cert(
            *(names or (HOST, "localhost")),
            common_name=name,
            not_before=now + timedelta(days=begins),
            not_after=now + timedelta(days=days),
            key_type=key_type,
        )
        files = Files(
            certificate=self._folder / f"{self._name}-{name}.pem",
            key=self._folder / f"{self._name}-{name}.key",
            authorities=(trusting or self).file,
        )
        files.certificate.write_bytes(b"".join(pem.bytes() for pem in leaf.cert_chain_pems))
        files.key.touch(mode=0o600)
        files.key.write_bytes(leaf.private_key_pem.bytes())
        return files

    def tls(self, name: str, **wanted: object) -> Tls:
        """Issue a certificate and use it."""
        return Tls(self.issue(name), **wanted)  # type: ignore[arg-type]


def stranger(folder: Path, hospital: Authority, kind: str) -> Tls:
    """Give the TLS of somebody who does not belong."""
    other = Authority(folder / "other", "other")
    files = {
        "wrong authority": lambda: other.issue("stranger", trusting=hospital),
        "expired": lambda: hospital.issue("expired", begins=-10, days=-1),
        "not valid yet": lambda: hospital.issue("early", begins=1),
        "distrusts us": lambda: hospital.issue("cautious", trusting=other),
    }[kind]()
    return Tls(files)


def self_signed(folder: Path, *purposes: x509.ObjectIdentifier) -> Files:
    """Give a certificate that is its own issuer, for these purposes only (extended key usage), for any without."""
    folder.mkdir()
    key, certificate = folder / "own.key", folder / "own.pem"
    secret = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, folder.name)])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(secret.public_key())
    made = made.serial_number(x509.random_serial_number())
    made = made.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=90))
    if purposes:
        made = made.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    certificate.write_bytes(made.sign(secret, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    key.touch(mode=0o600)
    key.write_bytes(secret.private_bytes(serialization.Encoding.PEM, *form))
    return Files(certificate=certificate, key=key, authorities=certificate)
