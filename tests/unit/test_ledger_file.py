"""The ledger's file: its lock, its mode, its version, its damage, and two processes at once."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.config import Config
from alembic.script import ScriptDirectory

import cxrnode.ledger
from cxrnode.domain.delivery import DeliveryState
from cxrnode.domain.job import JobState
from cxrnode.errors import AlreadyRunning, Fatal, LedgerDamaged, OutOfSpace, Retryable
from cxrnode.ledger import SqliteLedger, database, schema
from cxrnode.ledger.database import Database
from tests.fakes.instances import STUDY, after, close, described, record

MIGRATIONS = Path(cxrnode.ledger.__file__).parent / "migrations"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "ledger.sqlite"


def opened(path: Path, *, exclusive: bool = True) -> SqliteLedger:
    return SqliteLedger.open(path, incarnation="one", exclusive=exclusive)


def structure(connection: sqlite3.Connection) -> set[str]:
    """Give every table, index and trigger as SQL without its spacing."""
    found = connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'alembic%'")
    return {" ".join(sql.split()).replace("( ", "(").replace(" )", ")") for (sql,) in found}


def test_migrations_make_exactly_the_tables_that_the_code_expects(path: Path, tmp_path: Path) -> None:
    """Columns, checks, partial indexes and triggers agree, word for word."""
    opened(path).shut()
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'expected.sqlite'}")
    schema.metadata.create_all(engine)
    engine.dispose()
    with closing(sqlite3.connect(path)) as migrated, closing(sqlite3.connect(tmp_path / "expected.sqlite")) as expected:
        assert structure(migrated) == structure(expected)


def test_the_code_works_with_the_newest_migration() -> None:
    """VERSION names the head, and there is one head."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_heads() == [schema.VERSION]


def test_a_ledger_of_a_newer_version_is_refused(path: Path) -> None:
    """Nothing is written to what an older program cannot understand."""
    opened(path).shut()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    for exclusive in (True, False):
        with pytest.raises(Fatal, match="9999"):
            opened(path, exclusive=exclusive)


def test_an_operator_does_not_migrate_a_ledger(path: Path) -> None:
    """Only the node, which holds the lock, changes the structure."""
    opened(path).shut()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '0000'")
    with pytest.raises(Fatal, match="older"):
        opened(path, exclusive=False)


def test_a_migration_that_fails_leaves_the_file_as_it_was(path: Path) -> None:
    """All of a migration is one transaction."""
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE jobs (nobody TEXT)")
    with pytest.raises(Fatal, match="could not be brought"):
        opened(path)
    with closing(sqlite3.connect(path)) as connection:
        assert structure(connection) == {"CREATE TABLE jobs (nobody TEXT)"}


def test_only_its_owner_reads_the_ledger(path: Path) -> None:
    """The file, its write-ahead log and its lock hold patient data or guard it: mode 0600, in a folder of 0700."""
    with opened(path) as ledger:
        record(ledger, described())
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert set(modes) == {"ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite-shm", "ledger.sqlite.lock"}
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_second_node_is_refused(path: Path) -> None:
    """Two nodes on one ledger would each take the other's leases for dead."""
    with opened(path):
        with pytest.raises(AlreadyRunning):
            opened(path)
        opened(path, exclusive=False).shut()
    opened(path).shut()


def test_an_operator_is_told_that_there_is_no_ledger_yet(path: Path) -> None:
    """Asking for the status makes no ledger."""
    with pytest.raises(Fatal, match="no ledger yet"):
        opened(path, exclusive=False)
    assert not path.exists()


def test_a_file_that_is_no_ledger_is_called_damaged(path: Path) -> None:
    """The hint names the heading that says what to do."""
    path.parent.mkdir()
    path.write_bytes(b"no database at all" * 1000)
    with pytest.raises(LedgerDamaged) as caught:
        opened(path)
    assert "docs/operations.md" in caught.value.hint


def test_damage_inside_the_file_is_found_by_the_check(path: Path) -> None:
    """`cxrnode check` reads every page."""
    with opened(path) as ledger:
        for index in range(200):
            record(ledger, described(f"1.2.3.{index}"))
    pages = path.read_bytes()
    path.write_bytes(pages[: 4096 * 8] + bytes(4096 * 4) + pages[4096 * 12 :])
    with opened(path) as ledger, pytest.raises(LedgerDamaged):
        ledger.check()


def test_a_commit_is_synced_and_foreign_keys_hold(path: Path) -> None:
    """Every connection has the pragmas that the laws of the line stand on."""
    ledger = Database.open(path, exclusive=True)
    with ledger.writing() as one, ledger.reading() as two:
        for connection in (one, two):
            pragmas = {
                name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
                for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
            }
            assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 15_000}
    ledger.shut()


@pytest.mark.parametrize(
    ("table", "states"), [("jobs", set(JobState)), ("deliveries", set(DeliveryState)), ("studies", {"OPEN", "CLOSED"})]
)
def test_the_file_knows_the_states_of_the_law_and_no_other(path: Path, table: str, states: set[str]) -> None:
    """The CHECK of each life cycle names the same states as its table in the domain."""
    with opened(path) as ledger:
        record(ledger, described())
        close(ledger)
    with closing(sqlite3.connect(path)) as connection:
        (sql,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = ?", (table,)).fetchone()
        assert set(sql.split("CHECK (state IN (")[1].split(")")[0].replace("'", "").split(", ")) == {*states}
        if table == "jobs":
            with pytest.raises(sqlite3.IntegrityError, match="job_state"):
                connection.execute("UPDATE jobs SET state = 'FINISHED'")
            with pytest.raises(sqlite3.IntegrityError, match="job_lease"):
                connection.execute("UPDATE jobs SET state = 'IN_PROGRESS'")


def test_history_cannot_be_rewritten(path: Path) -> None:
    """Not by a faulty verb, and not by hand without taking the guard away."""
    with opened(path) as ledger:
        record(ledger, described())
    with closing(sqlite3.connect(path)) as connection:
        for statement in ("UPDATE history SET event = 'x'", "DELETE FROM history"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                connection.execute(statement)


def test_an_error_of_the_library_shows_no_patient(path: Path) -> None:
    """SQLAlchemy's texts leave the values out."""
    with opened(path) as ledger:
        description = described(size=None)
        with pytest.raises(sa.exc.IntegrityError) as caught:
            record(ledger, description)
    assert "instances" in str(caught.value)
    assert not any(word in str(caught.value) for word in ("Doe", "4711", "A1"))


def test_a_writer_that_has_read_is_not_overtaken(path: Path) -> None:
    """BEGIN IMMEDIATE: a second writer waits from the first one's first read on, and both end well."""
    first, second = Database.open(path, exclusive=True), Database.open(path, exclusive=False)
    order: list[str] = []
    begun = threading.Event()

    def write() -> None:
        begun.set()
        with second.writing() as connection:
            order.append("second")
            connection.exec_driver_sql("INSERT INTO switches VALUES ('second', '')")

    writer = threading.Thread(target=write)
    with first.writing() as connection:
        connection.exec_driver_sql("SELECT count(*) FROM switches").scalar()
        writer.start()
        begun.wait(10)
        writer.join(0.3)  # time enough to overtake, if it could
        order.append("first")
        connection.exec_driver_sql("INSERT INTO switches VALUES ('first', '')")
    writer.join(10)
    assert order == ["first", "second"]
    second.shut()
    first.shut()


def test_a_ledger_that_stays_busy_is_tried_again_later(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process that holds the file for too long is Retryable, not fatal."""
    monkeypatch.setattr(database, "_PRAGMAS", ("PRAGMA busy_timeout=50",))
    first, second = Database.open(path, exclusive=True), Database.open(path, exclusive=False)
    with first.writing(), pytest.raises(Retryable, match="holds the ledger"), second.writing():
        pass
    second.shut()
    first.shut()


def test_no_thread_waits_longer_than_that_for_another(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty associations that wait for a held ledger do not wait one after the other."""
    monkeypatch.setattr(database, "BUSY_MILLISECONDS", 50)
    ledger = Database.open(path, exclusive=True)
    refused: list[BaseException] = []

    def write() -> None:
        try:
            with ledger.writing():
                pass
        except Retryable as error:
            refused.append(error)

    with ledger.writing():
        threads = [threading.Thread(target=write) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
    assert [str(error.hint) for error in refused] == [database._BUSY] * 3  # type: ignore[attr-defined]
    with ledger.writing():
        pass
    ledger.shut()


def test_a_full_disk_refuses_the_sender_and_keeps_what_there_is(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Out of Resources (0xA700); the row that did not fit is not there, and the rest can be read."""
    with opened(path) as ledger:
        record(ledger, described())
    with closing(sqlite3.connect(path)) as connection:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
    full = (*database._PRAGMAS, f"PRAGMA max_page_count={pages + 2}")
    monkeypatch.setattr(database, "_PRAGMAS", full)
    with opened(path) as ledger:
        with pytest.raises(OutOfSpace) as caught:
            for number in range(1000):
                record(ledger, described(f"1.2.3.9.{number}"))
        assert caught.value.status == 0xA700
        assert len(ledger.membership(STUDY).instances) == ledger.counts().instances == number + 1
        ledger.check()


def test_a_ledger_that_was_taken_away_is_fatal(path: Path) -> None:
    """A state folder that vanished under the node stops it."""
    with opened(path) as ledger:
        pass
    path.unlink()
    path.mkdir()
    with pytest.raises(Fatal, match="disk"):
        ledger.counts()


_OPERATOR = """
import sys
from pathlib import Path
from cxrnode.ledger import SqliteLedger
from tests.fakes.instances import NOON
print("ready", flush=True)
sys.stdin.readline()
with SqliteLedger.open(Path(sys.argv[1]), incarnation="operator", exclusive=False) as ledger:
    for turn in range(60):
        ledger.set_paused(turn % 2 == 0, NOON)
        ledger.counts()
print("done", flush=True)
"""

_RECEIVER = """
import itertools, sys
from pathlib import Path
from cxrnode.ledger import SqliteLedger
from tests.fakes.instances import described, record
ledger = SqliteLedger.open(Path(sys.argv[1]), incarnation="killed", exclusive=True)
for number in itertools.count():
    record(ledger, described(f"1.2.3.{number}"))
    print(number, flush=True)
"""


def run(script: str, path: Path) -> subprocess.Popen[str]:
    here = Path(__file__).parents[2]
    return subprocess.Popen(
        [sys.executable, "-c", script, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(here)},
    )


def test_two_processes_write_at_once(path: Path) -> None:
    """An operator's commands and a receiving node never see `database is locked`."""
    with opened(path) as ledger, run(_OPERATOR, path) as operator:
        assert operator.stdout and operator.stdin
        assert operator.stdout.readline() == "ready\n"
        operator.stdin.write("go\n")
        operator.stdin.flush()
        for number in range(60):
            record(ledger, described(f"1.2.3.{number}"))
        assert operator.stdout.readline() == "done\n"
        assert operator.wait(30) == 0
        assert len(ledger.membership(STUDY).instances) == 60
        assert not ledger.paused()


def test_what_was_told_before_a_kill_is_there_after_it(path: Path) -> None:
    """A row is in the file when `record` returns; the next node opens it without repair, and the lock is free."""
    with run(_RECEIVER, path) as receiver:
        assert receiver.stdout
        told = [int(receiver.stdout.readline()) for _ in range(20)]
        receiver.send_signal(signal.SIGKILL)
        receiver.wait(30)
        told += [int(line) for line in receiver.stdout if line.endswith("\n")]
    with opened(path) as ledger:
        kept = {instance.uid for instance in ledger.membership(STUDY).instances}
        assert {f"1.2.3.{number}" for number in told} <= kept
        ledger.check()


def test_threads_share_one_ledger(path: Path) -> None:
    """Many workers record and claim at once; every job is claimed by one of them."""
    claimed: list[int] = []
    with opened(path) as ledger:

        def work(worker: int) -> None:
            for index in range(5):
                study = f"1.2.{worker + 1}.{index}"
                record(ledger, described(f"{study}.1", study_uid=study))
                close(ledger, study)
                claimed.extend(claim.job for claim in ledger.claim_jobs(after(1), limit=2, lease_seconds=60))

        threads = [threading.Thread(target=work, args=(worker,)) for worker in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        while claims := ledger.claim_jobs(after(1), limit=9, lease_seconds=60):
            claimed.extend(claim.job for claim in claims)
    assert sorted(claimed) == list(range(1, 41))
