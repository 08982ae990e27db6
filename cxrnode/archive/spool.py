"""The node's own archive: what senders pushed and what we wrote, below one folder.

Hides the layout: `incoming/` for what is not finished, `sources/` and `evidence/` for what is. Promises that a
finished file says by its name which instance it is, and that the folder is its owner's alone (mode 0700).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

from cxrnode.archive.durable import SPACE_HINT, Folders, disk_errors, opening, place
from cxrnode.archive.evidence import EvidenceFolder
from cxrnode.archive.names import EVIDENCE, SOURCES, SUFFIX, path_of, source_key
from cxrnode.domain.study import Description
from cxrnode.errors import OutOfSpace


class SpoolArchive:
    """An archive below one root; see ports.Archive. Owns every file below it."""

    def __init__(self, root: Path, *, floor_bytes: int) -> None:
        """Make the folders. Below `floor_bytes` of free space `check_space` refuses. Fatal where that cannot be."""
        self.root = root.absolute()
        self._floor = floor_bytes
        with opening(self.root.name):
            self._folders = Folders(self.root)
            self.root.chmod(0o700)
            self._folders.make(SOURCES)
            self.incoming = self._folders.make("incoming")
            """Where a receiver writes what is not finished: the same file system, so that keeping it is a rename."""
            self._evidence = EvidenceFolder(self.root, self.incoming)

    def check_space(self) -> None:
        """Raise OutOfSpace when the disk is under its floor."""
        check_floor(self.root, self._floor)

    def keep_source(self, path: Path, description: Description) -> str:
        """Move a file under its final name, durably; the same content again is the same key."""
        key = source_key(description.sop_instance_uid, description.bytes_digest)
        with disk_errors("keep the source", Path(key).name):
            self._folders.make(str(Path(key).parent))
            place(path, self.root / key)
        return key

    def keep_evidence(self, uid: str, encoded: bytes) -> str:
        """Keep an evidence object, durably; what is kept under its UID wins."""
        return self._evidence.keep(uid, encoded)

    def kept_evidence(self, uid: str) -> str | None:
        """Give the key of a kept evidence object, or None."""
        return self._evidence.kept(uid)

    def path(self, key: str) -> Path:
        """Give the path of kept bytes; ValueError for a key that this archive cannot have given."""
        return path_of(self.root, key, SOURCES, EVIDENCE)

    def discard(self, path: Path) -> None:
        """Remove an incoming file; ValueError for a path outside `incoming`: what is kept is never discarded."""
        if not is_below(path, self.incoming):
            raise ValueError("only incoming files can be discarded")
        path.unlink(missing_ok=True)

    def sweep(self) -> int:
        """Remove everything in `incoming`; give how many entries that were."""
        swept = 0
        with disk_errors("sweep", self.incoming.name), os.scandir(self.incoming) as entries:
            for entry in entries:
                _remove(entry)
                swept += 1
        return swept

    def finished(self) -> Collection[str]:
        """Give the keys of all kept sources, walked anew each time they are iterated over: a million is no list."""
        return _Sources(self.root)


def check_floor(folder: Path, floor_bytes: int) -> None:
    """Raise OutOfSpace where the folder's disk has less than `floor_bytes` free."""
    with disk_errors("look at the free space", folder.name):
        free = shutil.disk_usage(folder).free
    if free < floor_bytes:
        happened = f"{free} bytes are free, the floor is {floor_bytes}"
        raise OutOfSpace(happened, operation="keep an instance", subject=folder.name, hint=SPACE_HINT)


def is_below(path: Path, folder: Path) -> bool:
    """Tell whether a path leads below a folder, wherever its links and dots lead."""
    return path.resolve().is_relative_to(folder.resolve())


def _remove(entry: os.DirEntry[str]) -> None:
    if entry.is_dir(follow_symlinks=False):
        shutil.rmtree(entry.path)
    else:
        Path(entry.path).unlink()


class _Sources(Collection[str]):
    def __init__(self, root: Path) -> None:
        self._root = root

    def __iter__(self) -> Iterator[str]:
        for folder, _, names in os.walk(self._root / SOURCES):
            relative = Path(folder).relative_to(self._root)
            yield from (f"{relative}/{name}" for name in names if name.endswith(SUFFIX))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and key.startswith(f"{SOURCES}/") and (self._root / key).is_file()
