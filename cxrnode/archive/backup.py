"""A copy of what is kept, in another folder, in the layout of a state folder.

Hides what is copied already. Promises that a file in the copy is whole, because it gets its name last; that what was
copied before is not copied again, because kept bytes never change; and that no copy is ever removed, or replaced by a
damaged file.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from cxrnode.archive.durable import Folders, disk_errors, make_folder, place

_PART, _BESIDE = "copying.part", "copying-beside.part"


@dataclass(slots=True)
class Copied:
    """What a backup came to."""

    files: int = 0
    bytes: int = 0
    there: int = 0
    """Files that an earlier backup into the same folder had copied."""
    differ: int = 0
    """Files that are neither as their copies nor as the ledger says: damaged, so that the copies were left."""


def part_of(to: Path) -> Path:
    """Give a free name in the backup's folder for something half done; the folder is made for its owner only."""
    with disk_errors("back up", to.name):
        make_folder(to)
        to.chmod(0o700)
        part = to / _PART
        part.unlink(missing_ok=True)
    return part


def finish(part: Path, name: str) -> None:
    """Give what is done its name, durably, in place of an earlier one, and of what SQLite left beside that."""
    with disk_errors("back up", name):
        for left in ("-wal", "-shm"):
            (part.parent / f"{name}{left}").unlink(missing_ok=True)
        place(part, part.parent / name)


def copy_all(keys: Iterable[str], root: Path, to: Path, stated: Callable[[str], int | None]) -> Copied:
    """Copy the files of a spool below `root` into the spool of the backup `to`.

    Where a file and its copy differ in size, the file is damaged, or it came again from another sender, who is named in
    it: `stated` gives the size that the ledger states for a key.
    """
    copied, spool = Copied(), to / "spool"
    with disk_errors("back up", to.name):
        folders = Folders(spool)
    for key in keys:
        with disk_errors("back up", Path(key).name):
            if _is_there(root / key, spool / key):
                copied.there += 1
                continue
            if (spool / key).is_file() and (root / key).stat().st_size != stated(key):
                copied.differ += 1
                continue
            folders.make(str(Path(key).parent))
            copied.bytes += _copy(root / key, spool / key, spool / _PART)
            copied.files += 1
    return copied


def copy_beside(names: Iterable[str], state: Path, to: Path) -> None:
    """Copy what else is in the state folder, by its names in it. What has grown takes the place of earlier copies."""
    with disk_errors("back up", to.name):
        folders = Folders(to)
    for name in names:
        with disk_errors("back up", Path(name).name):
            if not _is_there(state / name, to / name):
                folders.make(str(Path(name).parent))
                _copy(state / name, to / name, to / _BESIDE)


def _is_there(source: Path, final: Path) -> bool:
    return final.is_file() and final.stat().st_size == source.stat().st_size


def _copy(source: Path, final: Path, part: Path) -> int:
    shutil.copyfile(source, part)
    # When a source came stands nowhere else: adoption reads it.
    times = source.stat()
    os.utime(part, ns=(times.st_atime_ns, times.st_mtime_ns))
    place(part, final)
    return final.stat().st_size
