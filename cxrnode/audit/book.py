"""The audit's own files: one a day (UTC), one message a line, for the node's user only.

Hides names, torn lines and who else writes. Promises that a message is with the operating system when `append`
returns, so that a killed process loses none, and on disk when `sync` does; that a line which a power cut or a full disk
tore does not spoil the next; that several processes (the node, an operator's command) may write at once.
"""

from __future__ import annotations

import errno
import os
import re
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import date, datetime, timedelta
from pathlib import Path

_NAME = re.compile(r"audit-(\d{4}-\d{2}-\d{2})\.xml")
_BEGINNING, _END = b"<AuditMessage>", b"</AuditMessage>"


class Book:
    """The folder of the files. Owns the one that is open; threads may share it."""

    def __init__(self, folder: Path) -> None:
        """Write below `folder`, which is made when the first message comes."""
        self.folder = folder
        self._lock = threading.Lock()
        self._day: date | None = None
        self._handle = -1
        self._unsynced = False

    def append(self, message: bytes, at: datetime) -> None:
        """Write a message under its day. Raises OSError; what was written of it then is no message to any reader."""
        with self._lock:
            self._open(at.date())
            # Looked at each time: another process may have torn its line since.
            line = (b"\n" if _is_torn(self._handle) else b"") + message + b"\n"
            self._unsynced = True
            # One write to a file opened for appending: other processes' lines stay whole.
            written = os.write(self._handle, line)
            if written < len(line):
                raise OSError(errno.ENOSPC, f"{written} of {len(line)} bytes were written")

    def sync(self) -> None:
        """Bring what was appended to disk. `append` does not wait for it."""
        with self._lock:
            if not self._unsynced:
                return
            handle, self._unsynced = os.dup(self._handle), False
        try:
            os.fsync(handle)
        except OSError:
            self._unsynced = True
            raise
        finally:
            os.close(handle)

    def close(self) -> None:
        """Bring it to disk and close the file; `append` opens it again."""
        with suppress(OSError):
            self.sync()
        with self._lock:
            self._let_go()

    def files(self) -> list[Path]:
        """Give the files, the oldest first."""
        with suppress(FileNotFoundError):
            return sorted(path for path in self.folder.iterdir() if _NAME.fullmatch(path.name))
        return []

    def remove_before(self, day: date, gone: Iterator[str] | set[str]) -> int:
        """Remove the files of days before `day`, but for those that are not among `gone`; give how many."""
        allowed = set(gone)
        old = [path for path in self.files() if day_of(path) < day and path.name in allowed]
        for path in old:
            path.unlink(missing_ok=True)
        return len(old)

    def _open(self, day: date) -> None:
        path = self.folder / f"audit-{day.isoformat()}.xml"
        if self._day == day and self._is_at(path):
            return
        self._let_go()
        self.folder.mkdir(mode=0o700, exist_ok=True)
        self._handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._day = day
        # Without its name on disk a file is not there after a power cut, however often it was brought there itself.
        for folder in (self.folder, self.folder.parent):
            _sync_folder(folder)

    def _is_at(self, path: Path) -> bool:
        """Tell whether the open file is still the one of this name: somebody may have moved or removed it."""
        with suppress(FileNotFoundError):
            return os.path.samestat(path.stat(), os.fstat(self._handle))
        return False

    def _let_go(self) -> None:
        if self._day is not None:
            if self._unsynced:
                with suppress(OSError):
                    os.fsync(self._handle)  # the day's last messages: `sync` will look at the next file
            os.close(self._handle)
        self._day, self._handle, self._unsynced = None, -1, False


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def day_of(path: Path) -> date:
    """Give the day of one of `Book.files`."""
    match = _NAME.fullmatch(path.name)
    assert match  # `files` gives no others
    return date.fromisoformat(match[1])


def messages(path: Path, offset: int, most_bytes: int) -> tuple[list[bytes], int]:
    """Give the whole messages from `offset` on, of at most about `most_bytes`, and where the next begins.

    A line without its end is not there yet; one that is no message (torn) is passed over.
    """
    with path.open("rb") as file:
        file.seek(offset)
        read = file.read(most_bytes)
        if b"\n" not in read:
            read += file.readline()
    whole = read[: read.rfind(b"\n") + 1]
    lines = [line for line in whole.split(b"\n") if line.startswith(_BEGINNING) and line.endswith(_END)]
    return lines, offset + len(whole)


def first_day_kept(today: date, keep_days: int) -> date:
    """Give the oldest day that is kept of `keep_days` and today."""
    return today - timedelta(days=keep_days)


def _is_torn(handle: int) -> bool:
    size = os.fstat(handle).st_size
    return size > 0 and os.pread(handle, 1, size - 1) != b"\n"
