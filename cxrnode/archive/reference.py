"""The archive of a replay: sources stay where they are, evidence goes below the output folder.

Hides which sources are somebody's originals and which were unpacked for us. Promises that an original is never moved,
changed or removed: its key is its absolute path.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path

from cxrnode.archive.durable import opening
from cxrnode.archive.evidence import EvidenceFolder
from cxrnode.archive.names import EVIDENCE, path_of
from cxrnode.archive.spool import SpoolArchive, check_floor, is_below
from cxrnode.domain.study import Description


class ReferenceArchive:
    """An archive over somebody's originals; see ports.Archive."""

    def __init__(self, out: Path, work: Path, *, floor_bytes: int = 0) -> None:
        """Keep evidence in `out/evidence`, and below `work` what is unpacked into `incoming` (members of a zip file).

        `work` is on the same file system as `out`. Fatal where a folder cannot be made.
        """
        self._out = out.absolute()
        self._floor = floor_bytes
        self._work = SpoolArchive(work, floor_bytes=floor_bytes)
        self.incoming = self._work.incoming
        with opening(self._out.name):
            self._evidence = EvidenceFolder(self._out, self.incoming)

    def check_space(self) -> None:
        """Raise OutOfSpace when the disk is under its floor."""
        check_floor(self._out, self._floor)

    def keep_source(self, path: Path, description: Description) -> str:
        """Give an original's absolute path; what was unpacked into `incoming` is moved to where it is kept."""
        if not is_below(path, self.incoming):
            return str(path.absolute())
        return str(self._work.path(self._work.keep_source(path, description)))

    def keep_evidence(self, uid: str, encoded: bytes) -> str:
        """Keep an evidence object below the output folder, durably; what is kept wins."""
        return self._evidence.keep(uid, encoded)

    def kept_evidence(self, uid: str) -> str | None:
        """Give the key of a kept evidence object, or None."""
        return self._evidence.kept(uid)

    def path(self, key: str) -> Path:
        """Give the path of kept bytes; ValueError for a key that this archive cannot have given."""
        return Path(key) if Path(key).is_absolute() else path_of(self._out, key, EVIDENCE)

    def kept_at(self, key: str) -> datetime:
        """Give when the bytes came, or were last written."""
        return datetime.fromtimestamp(self.path(key).stat().st_mtime, UTC)

    def discard(self, path: Path) -> None:
        """Remove what was unpacked into `incoming`; an original stays."""
        if is_below(path, self.incoming):
            self._work.discard(path)

    def sweep(self) -> int:
        """Remove what was unpacked and not kept; give how many entries that were."""
        return self._work.sweep()

    def finished(self) -> Collection[str]:
        """Give none: what a replay did not record it finds again in its sources."""
        return ()
