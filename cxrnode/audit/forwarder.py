"""Brings the audit's files to the collector, from where it stopped.

Hides positions, batches and waiting. Promises that every whole message in the files is sent at least once, in order
within its file, with a memory that does not grow with what waits; that a collector which is away is tried again at
longer and longer intervals and told of once. A message is sent twice where the connection broke before its bytes were
acknowledged, or the process ended before the position was written.
"""

from __future__ import annotations

import json
import logging
import os
import time
from contextlib import suppress
from pathlib import Path

from cxrnode.audit.book import Book, messages
from cxrnode.audit.syslog import Collector, Wire
from cxrnode.errors import CxrnodeError
from cxrnode.telemetry import Event, tell

_BATCH_BYTES = 256 * 1024
_FIRST_SECONDS, _LONGEST_SECONDS = 1.0, 300.0


class Forwarder:
    """Owns the connection and the positions, which it keeps beside the files."""

    def __init__(self, book: Book, collector: Collector, sender: str) -> None:
        """Read `book`, speak to `collector` as the host `sender`."""
        self._book = book
        self._wire = Wire(collector, sender)
        self._kept = book.folder / "forwarded.json"
        self._positions: dict[str, int] | None = None
        self._wait, self._not_before = 0.0, 0.0
        self.delayed = ""
        """Why the collector gets nothing now; empty where it does."""

    def forward(self) -> int:
        """Send a batch of what waits; give how many messages. 0 too while the collector is left alone."""
        if time.monotonic() < self._not_before:
            return 0
        files = self._book.files()
        for path in files:
            sent = self._send(path, is_last=path == files[-1])
            if sent or self._wait:
                return sent
        return 0

    def done_with(self) -> set[str]:
        """Give the names of the files that were sent to their end."""
        return {path.name for path in self._book.files() if _size(path) <= self._offset(path)}

    def waiting_bytes(self) -> int:
        """Give how much waits."""
        return sum(max(0, _size(path) - self._offset(path)) for path in self._book.files())

    def interrupt(self) -> None:
        """Break off what is being sent."""
        self._wire.interrupt()

    def close(self) -> None:
        """End the connection."""
        self._wire.close()

    def _send(self, path: Path, *, is_last: bool) -> int:
        offset, size = self._offset(path), _size(path)
        if size <= offset:
            return 0
        waiting, end = messages(path, offset, _BATCH_BYTES)
        if end == offset and not is_last:
            end = size  # a line that was torn, and that nobody goes on with
        try:
            if waiting:
                self._wire.send(waiting)
        except CxrnodeError as error:
            self._put_off(error)
            return 0
        self._reached(len(waiting))
        self._keep(path, end)
        return len(waiting)

    def _put_off(self, error: CxrnodeError) -> None:
        if not self._wait:
            tell(Event.AUDIT_DELAYED, logging.WARNING, reason=error.happened, address=error.subject, hint=error.hint)
        self.delayed = error.happened
        self._wait = min(max(_FIRST_SECONDS, 2 * self._wait), _LONGEST_SECONDS)
        self._not_before = time.monotonic() + self._wait

    def _reached(self, count: int) -> None:
        if self._wait and count:
            tell(Event.AUDIT_RESUMED, count=count)
            self._wait, self.delayed = 0.0, ""

    def _offset(self, path: Path) -> int:
        if self._positions is None:
            self._positions = _read(self._kept)
        reached = self._positions.get(path.name, 0)
        # A file that is shorter than what was sent of it is another: an older one that was put back.
        return reached if reached <= _size(path) else 0

    def _keep(self, path: Path, offset: int) -> None:
        there = {each.name for each in self._book.files()}
        positions = {name: at for name, at in (self._positions or {}).items() if name in there}
        self._positions = {**positions, path.name: offset}
        written = self._kept.with_suffix(".part")
        with suppress(OSError):  # a position that is not kept costs messages that are sent twice
            handle = os.open(written, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(handle, "w") as file:
                json.dump(self._positions, file)
            written.replace(self._kept)


def _size(path: Path) -> int:
    """Give how long a file is; 0 where it was removed since it was listed."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _read(path: Path) -> dict[str, int]:
    """Give what was kept; nothing where there is none, or none that can be read: everything is sent again then."""
    with suppress(OSError, ValueError, AttributeError, TypeError):
        return {str(name): int(at) for name, at in json.loads(path.read_text()).items()}
    return {}
