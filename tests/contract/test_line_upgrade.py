"""A ledger and spool of every earlier version, with work under way at every step, finish their work in this one."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from cxrnode.domain.delivery import DeliveryState
from cxrnode.domain.job import JobState
from cxrnode.ledger import database
from cxrnode.ledger.database import Database
from tests.bench import FILM, PACS, Bench

EARLIER = ("0001", "0002")


def received(bench: Bench, seed: int) -> None:
    bench.clock.move(1)
    bench.take(replace(FILM, seed=seed))


def closed(bench: Bench, seed: int) -> None:
    received(bench, seed)
    bench.clock.move(6)
    assert bench.line.close_due() == 1


def claimed(bench: Bench, seed: int) -> None:
    closed(bench, seed)
    assert len(bench.ledger.claim_jobs(bench.clock.now(), limit=1, lease_seconds=60)) == 1


def failed(bench: Bench, seed: int) -> None:
    closed(bench, seed)
    bench.predictor.losses = 1
    assert bench.line.run_jobs() == 1


def composed(bench: Bench, seed: int) -> None:
    closed(bench, seed)
    assert bench.line.run_jobs() == 1


def sending(bench: Bench, seed: int) -> None:
    composed(bench, seed)
    assert bench.ledger.claim_deliveries("pacs", bench.clock.now(), limit=9, lease_seconds=60)


def sent(bench: Bench, seed: int) -> None:
    composed(bench, seed)
    assert bench.line.deliver(PACS)


def asked(bench: Bench, seed: int) -> None:
    sent(bench, seed)
    assert bench.line.ask_commitments(PACS)
    bench.peer.reports.clear()


def committed(bench: Bench, seed: int) -> None:
    composed(bench, seed)
    bench.deliver()


STEPS = (received, closed, claimed, failed, composed, sending, sent, asked, committed)


def take_back_to(version: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the ledger be one that an earlier version wrote: its own migrations, and the rows as far as it knew them."""
    old = path.with_suffix(".old")
    with monkeypatch.context() as patched:
        patched.setattr(database, "VERSION", version)
        Database.open(old, exclusive=True).shut()
    with closing(sqlite3.connect(old)) as connection, connection:
        connection.execute("ATTACH ? AS new", (str(path),))
        for (table,) in connection.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'").fetchall():
            if table not in {"alembic_version", "sqlite_sequence"}:
                known = ", ".join(row[1] for row in connection.execute(f"PRAGMA main.table_info({table})"))
                connection.execute(f"INSERT INTO main.{table} ({known}) SELECT {known} FROM new.{table}")
        if version == "0001":
            connection.execute("UPDATE evidence SET kind = 'SR' WHERE kind LIKE 'SR %'")
    for suffix in ("-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    old.rename(path)


def upgraded(folder: Path, bench: Bench, version: str, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Stop the node, let its ledger be one of `version`, and start this version on it; the archive stays."""
    bench.ledger.shut()
    take_back_to(version, folder / "ledger.sqlite", monkeypatch)
    again = Bench(folder)
    again.clock.time, again.peer.kept, again.peer.sent = bench.clock.time, bench.peer.kept, bench.peer.sent
    return again


def finish(bench: Bench) -> None:
    """Start, adopt, and ring every bell for as long as a lease lasts."""
    bench.line.start()
    while bench.line.adopt():
        pass
    bench.work(15, seconds=11)


@pytest.mark.parametrize("version", EARLIER)
@pytest.mark.parametrize("step", STEPS)
def test_work_under_way_at_a_step_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, step: Callable[[Bench, int], None]
) -> None:
    """Its evidence is at the destination, committed, each object once under one content."""
    bench = Bench(tmp_path)
    step(bench, 1)
    again = upgraded(tmp_path, bench, version, monkeypatch)
    finish(again)
    assert again.states() == [JobState.COMPLETED]
    assert {way.state for way in again.deliveries()} == {DeliveryState.COMMITTED}
    assert again.kinds() == ["SEG", "SR"]
    assert again.codes() == {""}
    assert again.peer.overwritten == []


@pytest.mark.parametrize("version", EARLIER)
def test_a_node_that_was_busy_everywhere_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    """Nine studies, each at another step; and one whose row a restored backup had lost."""
    bench = Bench(tmp_path)
    for seed, step in reversed(list(enumerate(STEPS))):
        step(bench, seed)
    received(bench, len(STEPS))
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as connection, connection:
        connection.execute("DELETE FROM instances WHERE id = (SELECT max(id) FROM instances)")
        connection.execute("DELETE FROM studies WHERE study_uid NOT IN (SELECT study_uid FROM instances)")
    again = upgraded(tmp_path, bench, version, monkeypatch)
    finish(again)
    assert again.states() == [JobState.COMPLETED] * (len(STEPS) + 1)
    assert {way.state for way in again.deliveries()} == {DeliveryState.COMMITTED}
    assert again.kinds() == sorted(["SEG", "SR"] * (len(STEPS) + 1))
    assert again.codes() == {""}
    assert again.peer.overwritten == []


def test_every_earlier_version_is_tried() -> None:
    """A migration that is added puts the version before it on the list."""
    migrations = sorted((Path(database.__file__).parent / "migrations" / "versions").glob("v[0-9]*.py"))
    assert tuple(path.stem[1:5] for path in migrations)[:-1] == EARLIER
