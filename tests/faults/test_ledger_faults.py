"""SQLite under a running node: held by another process, damaged, gone, or restored from another time than the spool."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from cxrnode.errors import CxrnodeError
from cxrnode.testing import Pacs, start_pacs
from tests.faults.gated import Gated, films, gated, settle
from tests.faults.reckoning import drained
from tests.tally import Tally


@pytest.fixture
def pacs() -> Iterator[Pacs]:
    with start_pacs() as started:
        yield started


@contextmanager
def serving(folder: Path, pacs: Pacs) -> Iterator[Gated]:
    """Run a node whose model answers at once."""
    with gated(folder, pacs) as node:
        node.open_gate()
        node.start()
        yield node


@contextmanager
def held(node: Gated) -> Iterator[None]:
    """Hold a write transaction on the ledger, as a `sqlite3` that was left open does."""
    with closing(sqlite3.connect(node.state / "ledger.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def send(node: Gated, folder: Path, number: int, first: int = 0) -> dict[str, Path]:
    """Push films until each is acknowledged."""
    sent = films(folder, number, first)
    left = list(sent.values())
    while left:
        left = [path for path, status in zip(left, node.send(left), strict=True) if status != 0]
    return sent


def done(node: Gated, folder: Path, number: int, first: int = 0) -> dict[str, Path]:
    """Push films and wait until all of theirs is committed."""
    sent = send(node, folder, number, first)
    node.wait(lambda: drained(node))
    return sent


def test_a_ledger_that_is_held_for_seconds_delays_and_loses_nothing(tmp_path: Path, pacs: Pacs, tally: Tally) -> None:
    """The sender waits for its answer while another process writes."""
    began = time.monotonic()
    with serving(tmp_path, pacs) as node:
        with held(node):
            film = films(tmp_path, 1)
            answered: list[int] = []
            sending = threading.Thread(target=lambda: answered.append(node.send(list(film.values()))[0]))
            sending.start()
            node.wait(lambda: node.events("association_opened"))
            sending.join(2)
            fired = not answered
            assert node.echo()
        sending.join(60)
        assert answered == [0]
        settle(node, pacs, film, tally, "ledger held for seconds", injected=1, fired=int(fired), began=began)


@pytest.mark.long
def test_a_ledger_that_is_held_for_ever_refuses_and_recovers(tmp_path: Path, pacs: Pacs, tally: Tally) -> None:
    """After half a minute the sender is told to come back, the log names the hold; let go, all goes on by itself."""
    began = time.monotonic()
    with serving(tmp_path, pacs) as node:
        with held(node):
            film = films(tmp_path, 1)
            assert node.send(list(film.values())) == [0xA700]
            node.wait(lambda: node.events("bell_failed"))
            assert node.echo()
        hints = {event["hint"] for event in node.events("bell_failed")}
        assert hints == {"see 'Another process holds the ledger' in docs/operations.md"}
        settle(node, pacs, send(node, tmp_path, 1), tally, "ledger held for ever", injected=1, fired=1, began=began)


def overwrite(path: Path) -> None:
    """Write nonsense over all pages but the first, as a dying disk does; what SQLite has cached is stale."""
    with path.open("r+b") as ledger:
        size = ledger.seek(0, os.SEEK_END)
        ledger.seek(4096)
        ledger.write(b"\xa5" * (size - 4096))


def beginning(path: Path) -> None:
    """Write nonsense over the header."""
    with path.open("r+b") as ledger:
        ledger.write(b"\xa5" * 4096)


@pytest.mark.parametrize("damage", [overwrite, beginning])
def test_a_ledger_that_is_damaged_while_the_node_runs_stops_it(
    tmp_path: Path, pacs: Pacs, tally: Tally, damage: Callable[[Path], None]
) -> None:
    """It acknowledges nothing more and says what to do; with the backup everything acknowledged is there again."""
    began = time.monotonic()
    with serving(tmp_path, pacs) as node:
        sent = done(node, tmp_path, 2)
        ledger = node.state / "ledger.sqlite"
        backup(ledger, tmp_path / "backup.sqlite")
        sent |= done(node, tmp_path, 1, first=2)
        with closing(sqlite3.connect(ledger)) as other:
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        damage(ledger)
        with suppress(CxrnodeError):  # it may have stopped before
            assert 0 not in node.send(list(films(tmp_path, 1, first=3).values()))
        assert node.end() != 0
        assert "The ledger is damaged" in node.text()
        assert "Traceback" not in node.text()
        restore(ledger, tmp_path / "backup.sqlite")
        node.start()
        sent |= send(node, tmp_path, 1, first=3)
        name = f"ledger damaged while running ({damage.__name__})"
        settle(node, pacs, sent, tally, name, injected=1, fired=1, began=began)


def backup(ledger: Path, to: Path) -> None:
    """Copy it while the node runs, as docs/operations.md says."""
    with closing(sqlite3.connect(ledger)) as source, closing(sqlite3.connect(to)) as copy:
        source.backup(copy)


def restore(ledger: Path, copy: Path | None) -> None:
    """Put a copy in its place, or nothing, without any -wal or -shm of another time."""
    for suffix in ("", "-wal", "-shm"):
        Path(f"{ledger}{suffix}").unlink(missing_ok=True)
    if copy:
        ledger.write_bytes(copy.read_bytes())


@pytest.mark.parametrize("older", ["a backup", "nothing"])
def test_a_ledger_older_than_the_spool_comes_to_the_same_evidence(
    tmp_path: Path, pacs: Pacs, tally: Tally, older: str
) -> None:
    """Sources that it does not know are adopted; kept SEGs win over composing again, so the archive sees the same."""
    began = time.monotonic()
    with serving(tmp_path, pacs) as node:
        sent = done(node, tmp_path, 2)
        ledger = node.state / "ledger.sqlite"
        backup(ledger, tmp_path / "backup.sqlite")
        sent |= done(node, tmp_path, 2, first=2)
        before = {uid: path.read_bytes() for uid, path in pacs.kept.items()}
        node.kill()
        restore(ledger, tmp_path / "backup.sqlite" if older == "a backup" else None)
        node.start()
        adopted = 2 if older == "a backup" else 4
        node.wait(lambda: len(node.events("instance_adopted")) == adopted)
        name = f"ledger replaced by {older}"
        fired = int(len(node.events("instance_adopted")) == adopted)
        settle(node, pacs, sent, tally, name, injected=1, fired=fired, began=began)
        assert {uid: path.read_bytes() for uid, path in pacs.kept.items()} == before


def test_a_row_without_a_file_parks_its_job_and_holds_up_no_other(tmp_path: Path, pacs: Pacs, tally: Tally) -> None:
    """A spool older than the ledger: a person is told; sent again, it is kept again and the job can be retried."""
    began = time.monotonic()
    with gated(tmp_path, pacs) as node:
        node.start()
        lost = send(node, tmp_path, 1)
        sent = send(node, tmp_path, 1, first=1)
        node.wait(lambda: node.events("job_claimed"))
        node.kill()
        (path,) = node.state.glob(f"spool/sources/**/*{next(iter(lost))}*")
        path.unlink()
        node.open_gate()
        node.start()
        node.wait(lambda: node.events("job_parked") and node.events("job_completed"))
        lost = send(node, tmp_path, 1)
        (parked,) = [job.job for job in node.jobs() if job.job.state == "PARKED"]
        assert node.cli("jobs", "retry", str(parked.job)).returncode == 0
        settle(node, pacs, sent | lost, tally, "a source is gone from the spool", injected=1, fired=1, began=began)


@pytest.mark.parametrize("damage", [overwrite, beginning])
def test_a_ledger_that_is_damaged_before_the_start_is_refused(
    tmp_path: Path, pacs: Pacs, tally: Tally, damage: Callable[[Path], None]
) -> None:
    """The port never opens, the message names the heading; the backup brings everything back."""
    began = time.monotonic()
    with serving(tmp_path, pacs) as node:
        sent = done(node, tmp_path, 2)
        node.terminate()
        ledger = node.state / "ledger.sqlite"
        backup(ledger, tmp_path / "backup.sqlite")
        damage(ledger)
        node.spawn()
        assert node.end() != 0
        assert "The ledger is damaged" in node.text()
        restore(ledger, tmp_path / "backup.sqlite")
        node.start()
        name = f"ledger damaged before the start ({damage.__name__})"
        settle(node, pacs, sent, tally, name, injected=1, fired=1, began=began)
