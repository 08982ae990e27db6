"""A copy of what is kept, in another folder, in the layout of a state folder.

Hides what is copied already. Promises that a file in the copy is whole, because it gets its name last; that what was
copied before is not copied again, because kept bytes never change; and that nothing in the copy is ever removed.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cxrnode.archive.durable import Folders, disk_errors, make_folder, place

_PART = "copying.part"


@dataclass(slots=True)
class Copied:
    """What a backup came to."""

    files: int = 0
    bytes: int = 0
    there: int = 0
    """Files that an earlier backup into the same folder had copied."""


def part_of(to: Path) -> Path:
    """Give a free name in the backup's folder for something half done; the folder is made for its owner only."""
    with disk_errors("back up", to.name):
        make_folder(to)
        to.chmod(0o700)
        part = to / _PART
        part.unlink(missing_ok=True)
    return part


def finish(part: Path, name: str) -> None:
    """Give what is done its name, durably, in place of an earlier one."""
    with disk_errors("back up", name):
        place(part, part.parent / name)


def copy_all(keys: Iterable[str], root: Path, to: Path) -> Copied:
    """Copy the files of a spool below `root` into the spool of the backup `to`."""
    copied, spool = Copied(), to / "spool"
    with disk_errors("back up", to.name):
        folders = Folders(spool)
    part = spool / _PART
    for key in keys:
        source, final = root / key, spool / key
        with disk_errors("back up", final.name):
            size = source.stat().st_size
            if final.is_file() and final.stat().st_size == size:
                copied.there += 1
                continue
            folders.make(str(Path(key).parent))
            shutil.copyfile(source, part)
            # When they came stands nowhere else: adoption reads it.
            times = source.stat()
            os.utime(part, ns=(times.st_atime_ns, times.st_mtime_ns))
            place(part, final)
        copied.files, copied.bytes = copied.files + 1, copied.bytes + size
    return copied
