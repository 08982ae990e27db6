"""Evidence objects on disk.

Hides how an object gets its name without ever replacing one. Promises that what is kept under a UID stays as it is
(law 4: one UID never stands for two contents), also where two workers keep it at the same moment.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from cxrnode.archive.durable import Folders, disk_errors, place_new, sync_folder
from cxrnode.archive.names import EVIDENCE, evidence_key

_PART = ".part"


class EvidenceFolder:
    """The folder `evidence` below one root. Owns every file in it."""

    def __init__(self, root: Path, incoming: Path) -> None:
        """Make it. Objects are written in `incoming`, on the same file system, before they get their names."""
        self._root = root
        self._incoming = incoming
        self._folders = Folders(root)
        self._folders.make(EVIDENCE)

    def keep(self, uid: str, encoded: bytes) -> str:
        """Keep an object, durably; what is kept under its UID wins."""
        key = evidence_key(uid)
        with disk_errors("keep the evidence", Path(key).name):
            self._folders.make(str(Path(key).parent))
            place_new(self._write_part(encoded), self._root / key)
        return key

    def _write_part(self, encoded: bytes) -> Path:
        handle, name = tempfile.mkstemp(suffix=_PART, dir=self._incoming)
        try:
            with os.fdopen(handle, "wb") as part:
                part.write(encoded)
        except OSError:
            Path(name).unlink()  # on a full disk every half-made file makes it worse
            raise
        return Path(name)

    def kept(self, uid: str) -> str | None:
        """Give the key of a kept object, or None. A name that a killed run left is made durable before it is told."""
        key = evidence_key(uid)
        if not (self._root / key).exists():
            return None
        with disk_errors("find the evidence", Path(key).name):
            sync_folder((self._root / key).parent)
        return key
