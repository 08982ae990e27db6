"""Who holds a ledger: one process, by a lock that dies with it, and by name.

Hides flock and the line of JSON in the lock's file. Promises that a second process is told who the first one is, that a
look at the lock never keeps a node from starting, and that what the file says is believed only while it is held.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path

from cxrnode.errors import AlreadyRunning

_LOOKS, _LOOK_SECONDS = 20, 0.05
"""How often a lock is tried before it counts as held: a look at it holds it, too, for an instant."""
_LONGEST = 4096
_HINT = "see 'Another node holds the state folder' in docs/operations.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who holds a ledger. `port` is zero for what does not listen (a replay)."""

    pid: int
    host: str
    ae_title: str
    port: int
    since: str

    @classmethod
    def here(cls, *, ae_title: str, port: int, now: datetime) -> Holder:
        """Name this process."""
        since = now.isoformat(timespec="seconds")
        return cls(pid=os.getpid(), host=socket.gethostname(), ae_title=ae_title, port=port, since=since)

    def __str__(self) -> str:
        door = f"{self.ae_title}, port {self.port}" if self.port else self.ae_title
        return f"process {self.pid} on {self.host}, {door}, since {self.since}"


def hold(path: Path, holder: Holder | None) -> int:
    """Lock the ledger at `path`, and write down who does; give the descriptor that holds the lock.

    Raises AlreadyRunning, which names whoever holds it, or OSError where the folder cannot be used.
    """
    lock = os.open(_file(path), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _take(lock, path)
        os.ftruncate(lock, 0)
        if holder:
            os.pwrite(lock, json.dumps(asdict(holder)).encode(), 0)
    except BaseException:
        os.close(lock)
        raise
    return lock


def _take(lock: int, path: Path) -> None:
    for look in range(_LOOKS):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if look == _LOOKS - 1:
                raise _refusal(path) from error
            time.sleep(_LOOK_SECONDS)
        else:
            return


def _refusal(path: Path) -> AlreadyRunning:
    held_by = _said(path)
    happened = f"it is held by {held_by}" if held_by else ""
    return AlreadyRunning(happened, operation="open the ledger", subject=path.name, hint=_HINT)


def is_held(path: Path) -> bool:
    """Tell whether a process holds the ledger at `path` right now."""
    try:
        with _file(path).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def holder_of(path: Path) -> Holder | None:
    """Give who holds the ledger at `path` right now; None where nobody does, or nobody said who it is."""
    return _said(path) if is_held(path) else None


def _said(path: Path) -> Holder | None:
    with suppress(OSError, ValueError, TypeError, KeyError), _file(path).open("rb") as lock:
        said = json.loads(lock.read(_LONGEST))
        return Holder(**{field.name: said[field.name] for field in fields(Holder)})
    return None


def _file(path: Path) -> Path:
    return Path(f"{path}.lock")
