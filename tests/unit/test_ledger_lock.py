"""One process writes to a ledger, and the second is told which one that is."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cxrnode.errors import AlreadyRunning
from cxrnode.ledger import lock
from cxrnode.ledger.lock import Holder, hold, holder_of, is_held

MORNING = datetime(2026, 3, 1, 8, 30, tzinfo=UTC)
FIRST = Holder.here(ae_title="CXRNODE", port=11112, now=MORNING)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock that is not tried for a second."""
    monkeypatch.setattr(lock, "_LOOKS", 1)


@pytest.mark.usefixtures("impatient")
def test_the_second_is_told_who_the_first_is(path: Path) -> None:
    """By process, machine, AE title, port and time: enough to find it at night."""
    held = hold(path, FIRST)
    with pytest.raises(AlreadyRunning) as caught:
        hold(path, Holder.here(ae_title="OTHER", port=104, now=MORNING))
    said = str(caught.value)
    parts = (str(os.getpid()), socket.gethostname(), "CXRNODE", "11112", "2026-03-01T08:30")
    assert [part for part in parts if part not in said] == []
    assert holder_of(path) == FIRST
    os.close(held)


def test_who_held_it_last_is_not_who_holds_it(path: Path) -> None:
    """The line outlives the process; the lock does not."""
    os.close(hold(path, FIRST))
    assert (is_held(path), holder_of(path)) == (False, None)
    assert json.loads(Path(f"{path}.lock").read_text())["ae_title"] == "CXRNODE"


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[]", b"{}", b'{"pid": 1}', b"null", b"{" * 5000])
def test_a_line_that_says_nothing_is_no_name(path: Path, content: bytes) -> None:
    """An older version, or a power cut, leaves anything there; the refusal is the same without the name."""
    held = hold(path, None)
    Path(f"{path}.lock").write_bytes(content)
    assert (is_held(path), holder_of(path)) == (True, None)
    with pytest.raises(AlreadyRunning, match="Another node holds"):
        hold(path, FIRST)
    os.close(held)


def test_a_look_does_not_keep_a_node_from_starting(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`cxrnode status` holds the lock for an instant; a node that starts in that instant tries again."""
    os.close(hold(path, None))
    looking = Path(f"{path}.lock").open("rb")  # noqa: SIM115 - closed from another thread's point of view
    fcntl.flock(looking, fcntl.LOCK_SH)
    waits = threading.Event()
    monkeypatch.setattr(lock.time, "sleep", lambda seconds: (waits.set(), looking.close()))
    held = hold(path, FIRST)
    assert waits.is_set()
    assert is_held(path)
    os.close(held)


def test_what_does_not_listen_has_no_port() -> None:
    """A replay is named without one."""
    assert "port" not in str(Holder.here(ae_title="CXRNODE", port=0, now=MORNING))
