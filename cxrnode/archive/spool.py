"""The node's own archive: what senders pushed and what we wrote, below one folder.

Hides the layout: `incoming/` for what is not finished, `sources/` and `evidence/` for what is. Promises that a
finished file says by its name which instance it is, and that the folder is its owner's alone (mode 0700).
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from cxrnode.archive.durable import SPACE_HINT, Folders, disk_errors, opening, place, sync_folder
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

    def kept_at(self, key: str) -> datetime:
        """Give when the bytes came."""
        with disk_errors("look at a source", Path(key).name):
            return datetime.fromtimestamp(self.path(key).stat().st_mtime, UTC)

    def discard(self, path: Path) -> None:
        """Remove an incoming file; ValueError for a path outside `incoming`: what is kept is never discarded."""
        if not is_below(path, self.incoming):
            raise ValueError("only incoming files can be discarded")
        path.unlink(missing_ok=True)

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Keep other sweeps and backups of this spool out; False where one runs, in whichever process."""
        with disk_errors("lock the spool", self.root.name):
            lock = os.open(self.root / "sweep.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            yield _is_locked(lock)
        finally:
            os.close(lock)

    def free_bytes(self) -> int:
        """Give the free space of the disk."""
        return free_bytes(self.root)

    def size_of(self, key: str) -> int:
        """Give how many bytes lie under a key, 0 where there are none that the disk gives."""
        try:
            return self.path(key).stat().st_size
        except OSError:
            return 0

    def remove(self, key: str) -> None:
        """Remove kept bytes; not durable before `sync`. Nothing happens where there are none."""
        with disk_errors("remove kept bytes", Path(key).name):
            self.path(key).unlink(missing_ok=True)

    def sync(self, keys: Collection[str]) -> None:
        """Bring the removal of these keys to disk."""
        for folder in {self.path(key).parent for key in keys}:
            with disk_errors("remove kept bytes", folder.name), suppress(FileNotFoundError):
                sync_folder(folder)

    def finished_evidence(self) -> Iterator[str]:
        """Walk over the keys of all kept evidence."""
        return iter(_Kept(self.root, EVIDENCE))

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
        return _Kept(self.root, SOURCES)


def check_floor(folder: Path, floor_bytes: int) -> None:
    """Raise OutOfSpace where the folder's disk has less than `floor_bytes` free."""
    free = free_bytes(folder)
    if free < floor_bytes:
        happened = f"{free} bytes are free, the floor is {floor_bytes}"
        raise OutOfSpace(happened, operation="keep an instance", subject=folder.name, hint=SPACE_HINT)


def free_bytes(folder: Path) -> int:
    """Give the free space of a folder's disk."""
    with disk_errors("look at the free space", folder.name):
        return shutil.disk_usage(folder).free


def _is_locked(lock: int) -> bool:
    """Take the lock, which ends with its file descriptor."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_below(path: Path, folder: Path) -> bool:
    """Tell whether a path leads below a folder, wherever its links and dots lead."""
    return path.resolve().is_relative_to(folder.resolve())


def _remove(entry: os.DirEntry[str]) -> None:
    if entry.is_dir(follow_symlinks=False):
        shutil.rmtree(entry.path)
    else:
        Path(entry.path).unlink()


class _Kept(Collection[str]):
    def __init__(self, root: Path, room: str) -> None:
        self._root, self._room = root, room

    def __iter__(self) -> Iterator[str]:
        """Give the keys in every folder that can be read; Retryable at the end where one cannot."""
        unread: list[OSError] = []
        for folder, _, names in os.walk(self._root / self._room, onerror=unread.append):
            relative = Path(folder).relative_to(self._root)
            yield from (f"{relative}/{name}" for name in names if name.endswith(SUFFIX))
        with disk_errors("walk over the spool", self._room):
            for error in unread:
                raise error

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and key.startswith(f"{self._room}/") and (self._root / key).is_file()
