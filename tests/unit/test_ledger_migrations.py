"""A ledger that an older version wrote becomes one of this version, with all that was in it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from cxrnode.domain.delivery import DeliveryState
from cxrnode.errors import Fatal
from cxrnode.ledger import SqliteLedger, database
from cxrnode.ledger.database import Database
from tests.fakes.instances import NOON, STUDY, after

AT = NOON.isoformat(timespec="microseconds")
REPORTS = {"34": "comprehensive-3d", "33": "comprehensive", "22": "enhanced"}
FIRST_STATES = ("PENDING", "SENDING", "SENT", "COMMITTED", "PARKED")
OPEN_JOBS = ("SCHEDULED", "IN_PROGRESS", "PARKED", "CANCELED")


@pytest.fixture
def first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ledger of the first version, with a row in every state and a commitment over what was sent."""
    path = tmp_path / "ledger.sqlite"
    with monkeypatch.context() as patched:
        patched.setattr(database, "VERSION", "0001")
        Database.open(path, exclusive=True).shut()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA foreign_keys=ON")
        _fill(connection)
    return path


def _fill(connection: sqlite3.Connection) -> None:
    _insert(connection, "studies", STUDY, "CLOSED", 1, AT, "4711", "Doe^Jane", "A1", "20260301")
    _insert(connection, "jobs", 1, STUDY, 1, "COMPLETED", 1, 1, AT, None, None, "[]", '["pacs"]', "", AT, AT)
    for number, state in enumerate(OPEN_JOBS, start=2):
        lease = (AT, "first") if state == "IN_PROGRESS" else (None, None)
        ended = AT if state == "CANCELED" else None
        _insert(connection, "jobs", number, STUDY, 1, state, 1, 1, AT, *lease, "[]", "[]", "why", AT, ended)
    for number, state in enumerate(FIRST_STATES, start=1):
        _evidence(connection, number, "SEG", "1.2.840.10008.5.1.4.1.1.66.4")
        lease = (AT, "first") if state == "SENDING" else (None, None)
        times = (AT if state == "SENT" else None, AT, AT if state == "COMMITTED" else None)
        _insert(connection, "deliveries", number, number, "pacs", state, number, 1, AT, *lease, f"r{number}", *times)
    for number, report in enumerate(REPORTS, start=10):
        _evidence(connection, number, "SR-strict" if report == "33" else "SR", f"1.2.840.10008.5.1.4.1.1.88.{report}")
    _insert(connection, "commitments", "7.1", "pacs", AT, None)
    _insert(connection, "commitment_deliveries", "7.1", 3, 3)


def _insert(connection: sqlite3.Connection, table: str, *values: Any) -> None:
    connection.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(values))})", values)


def _evidence(connection: sqlite3.Connection, number: int, kind: str, sop_class: str) -> None:
    _insert(connection, "evidence", number, STUDY, kind, sop_class, f"9.{number}", "", "", f"key/{number}", "sha", AT)
    _insert(connection, "job_evidence", 1, number, AT)


def _rows(path: Path, table: str, columns: str = "*") -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(f"SELECT {columns} FROM {table} ORDER BY 1").fetchall()


def test_every_delivery_is_kept_as_it_was(first: Path) -> None:
    """The table is made anew for a state that it did not know, and no row, number, lease or time is lost."""
    before = _rows(first, "deliveries")
    assert [row[3] for row in before] == list(FIRST_STATES)
    SqliteLedger.open(first, incarnation="next", exclusive=True).shut()
    assert [row[: len(before[0])] for row in _rows(first, "deliveries")] == before
    assert set(_rows(first, "deliveries", "priority")) == {(0,)}
    assert _rows(first, "commitment_deliveries") == [("7.1", 3, 3)]
    with closing(sqlite3.connect(first)) as connection:
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        assert not any("before" in name for name in tables)


def test_jobs_and_evidence_are_kept_and_say_nothing_new(first: Path) -> None:
    """No job has a fallback or a retraction, and nothing is objected to, because nobody knew of either."""
    columns = "id, study_uid, state, attempt, lease_until, incarnation, reason, ended_at"
    before = _rows(first, "jobs", columns)
    with SqliteLedger.open(first, incarnation="next", exclusive=True) as ledger:
        assert ledger.counts().jobs == len(OPEN_JOBS) + 1
        assert {way.state for one in ledger.evidence_of(STUDY) for way in one.deliveries} == {
            DeliveryState(state) for state in FIRST_STATES
        }
    assert _rows(first, "jobs", columns) == before
    assert set(_rows(first, "jobs", "fallbacks")) == {("{}",)}
    assert set(_rows(first, "evidence", "objection")) == {("",)}


def test_reports_are_filed_under_their_lines(first: Path) -> None:
    """The next report of a line finds the one that it follows, by the class it was written in and its geometry."""
    SqliteLedger.open(first, incarnation="next", exclusive=True).shut()
    kinds = {uid: kind for uid, kind in _rows(first, "evidence", "sop_instance_uid, kind") if kind != "SEG"}
    assert kinds == {
        "9.10": "SR comprehensive-3d viewer",
        "9.11": "SR comprehensive strict",
        "9.12": "SR enhanced viewer",
    }


def test_a_migrated_ledger_works_on(first: Path) -> None:
    """What was leased by a dead node is claimed again, under its old number and with its fence."""
    with SqliteLedger.open(first, incarnation="next", exclusive=True) as ledger:
        found = ledger.claim_deliveries("pacs", after(1), limit=9, lease_seconds=60)
        assert [(one.row, one.attempt) for one in found] == [(2, 3), (1, 2)]
        assert ledger.confirm("7.1", committed=["9.3"], failed={}, now=after(2), attempts=3)
        states = ledger.counts().deliveries_by_state["pacs"]
        assert (states[DeliveryState.COMMITTED], states[DeliveryState.SENDING]) == (2, 2)


def test_rows_that_point_nowhere_stop_the_migration(first: Path) -> None:
    """The foreign keys that are put off while the table is away are asked about at the end, and all is undone."""
    with closing(sqlite3.connect(first)) as connection, connection:
        connection.execute("PRAGMA foreign_keys=OFF")
        connection.execute("DELETE FROM evidence WHERE id = 3")
    with pytest.raises(Fatal, match="could not be brought"):
        SqliteLedger.open(first, incarnation="next", exclusive=True)
    with closing(sqlite3.connect(first)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == ("0001",)
        assert connection.execute("SELECT count(*) FROM deliveries").fetchone() == (5,)
