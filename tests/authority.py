"""A certificate authority for tests: certificates as a hospital's would issue them, and as it would not.

Hides trustme. Promises PEM files in a folder of the test's own, keys that only their owner can read, and names of files
that say whose they are.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme

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
