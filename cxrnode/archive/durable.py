"""Placing a file so that a power cut cannot lose it.

Hides fsync. Promises the order file, name, folder: a file's bytes are on disk before it gets its final name, and the
name is on disk before `place` returns; the same holds for every folder above it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cxrnode.errors import Fatal, OutOfSpace, Retryable

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
FOLDER_HINT = "see 'The state folder cannot be used' in docs/operations.md"
SPACE_HINT = "see 'The disk is full' in docs/operations.md"


def sync_file(path: Path) -> None:
    """Bring a file's bytes to disk, and let only its owner read it."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fchmod(handle, 0o600)
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_folder(path: Path) -> None:
    """Bring a folder's names to disk."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(path: Path) -> None:
    """Make a folder, and those above it that are missing, for their owner only, and bring their names to disk.

    One that exists is brought there too: a run that was killed may have made it just before. One that lies in a folder
    which we may not read was made by somebody else, long ago.
    """
    if not path.parent.is_dir():
        make_folder(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)
    with suppress(PermissionError):
        sync_folder(path.parent)


class Folders:
    """Makes the folders below one root, each durable before it is used. Threads may share it.

    Owns the memory of which are known to be on disk: a folder that exists may still be on its way there, made by
    another thread or by a run that was killed.
    """

    def __init__(self, root: Path) -> None:
        """Work below `root`, which is made for its owner only where it is missing, as is the folder above it."""
        make_folder(root.parent)
        make_folder(root)
        self._root = root
        self._on_disk: set[str] = set()

    def make(self, relative: str) -> Path:
        """Give the folder `relative` to the root, made and durable with every folder above it."""
        folder = self._root / relative
        if relative not in self._on_disk:
            made = self._root
            for part in Path(relative).parts:
                above, made = made, made / part
                made.mkdir(mode=0o700, exist_ok=True)
                sync_folder(above)
            self._on_disk.add(relative)
        return folder


def place(path: Path, final: Path) -> None:
    """Give a file its final name, replacing a file of that name, durably. The folder exists."""
    sync_file(path)
    os.rename(path, final)  # noqa: PTH104 - the very call that the fault tests and the trace look for
    sync_folder(final.parent)


def place_new(path: Path, final: Path) -> None:
    """Give a file its final name, durably, unless the name is taken: what is kept wins. `path` is gone after."""
    sync_file(path)
    with suppress(FileExistsError):
        os.link(path, final)
    sync_folder(final.parent)
    path.unlink()


@contextmanager
def opening(subject: str) -> Iterator[None]:
    """Turn what the disk raises while an archive is opened into Fatal: the node cannot keep anything."""
    try:
        yield
    except OSError as error:
        happened = f"its folders cannot be used ({errno.errorcode.get(error.errno or 0, 'no reason given')})"
        raise Fatal(happened, operation="open the archive", subject=subject, hint=FOLDER_HINT) from error


@contextmanager
def disk_errors(operation: str, subject: str) -> Iterator[None]:
    """Turn what the disk raises into an error of ours: OutOfSpace where it is full, else Retryable."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise OutOfSpace(operation=operation, subject=subject, hint=SPACE_HINT) from error
        happened = f"the disk failed ({errno.errorcode.get(error.errno or 0, 'no reason given')})"
        raise Retryable(happened, operation=operation, subject=subject) from error
