"""One SQLite file: how it is opened, locked, migrated and written to.

Hides the pragmas, Alembic and SQLAlchemy's exceptions. Promises that a write transaction begins with
BEGIN IMMEDIATE (a read that turns into a write would fail at once, whatever the busy timeout), that what is committed
is on disk (WAL with synchronous=FULL), that the file is readable by its owner only, and that what SQLite raises
leaves here as an error of ours.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from cxrnode.errors import CxrnodeError, Fatal, LedgerDamaged, OutOfSpace, Retryable
from cxrnode.ledger.lock import Holder, hold
from cxrnode.ledger.schema import VERSION

BUSY_MILLISECONDS = 15_000
"""How long a write waits for our other threads, and then for another process; ours hold the file for milliseconds.

Both together are shorter than a sender waits for its answer."""

_PRAGMAS = (
    f"PRAGMA busy_timeout={BUSY_MILLISECONDS}",
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
)


class Database:
    """An open SQLite file; threads share it. Owns the engine and, where it is exclusive, the lock."""

    def __init__(self, path: Path, lock: int | None) -> None:
        """Take over `path`, which exists, and the file descriptor of a held lock."""
        self.path = path
        self._lock = lock
        self._writing = threading.Lock()
        self._reader = _engine(path)
        self._writer = self._reader.execution_options(begin="BEGIN IMMEDIATE")

    @classmethod
    def open(cls, path: Path, *, exclusive: bool, holder: Holder | None = None) -> Database:
        """Open `path`; where `exclusive`, lock it, make it if it is missing, and bring it to this version's schema.

        `holder` is who a second process is told holds it.
        Raises AlreadyRunning, LedgerDamaged, or Fatal where the schema is not this version's.
        """
        if not exclusive:
            _require(path)
        database = cls(path, _locked(path, holder) if exclusive else None)
        try:
            database._settle_version(may_migrate=exclusive)
        except BaseException:
            database.shut()
            raise
        return database

    def shut(self) -> None:
        """Close every connection and release the lock; twice is once."""
        self._reader.dispose()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """One read transaction: a single state of the ledger, whoever writes meanwhile."""
        with bordered(self.path), self._reader.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """One write transaction, on disk when this is left without an error.

        The lock only spares our own threads SQLite's polling; between processes BEGIN IMMEDIATE decides. Neither is
        waited for longer than BUSY_MILLISECONDS: Retryable.
        """
        if not self._writing.acquire(timeout=BUSY_MILLISECONDS / 1000):
            raise _busy(self.path)
        try:
            with bordered(self.path), self._writer.begin() as connection:
                yield connection
        finally:
            self._writing.release()

    def backup(self, to: Path) -> None:
        """Copy it, as it is at one moment, to a file that is not there yet, whoever writes meanwhile.

        OutOfSpace, or Fatal where a disk fails.
        """
        os.close(os.open(to, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        with self.reading() as connection:
            connection.execute(sa.select(1))
            source = connection.connection.driver_connection
            try:
                with closing(sqlite3.connect(to)) as copy:
                    source.backup(copy)  # type: ignore[union-attr]
            except sqlite3.Error as error:
                raise (_turned(error, to) or Fatal("it cannot be copied", subject=to.name, hint=_DISK)) from error

    def _settle_version(self, *, may_migrate: bool) -> None:
        with self.reading() as connection:
            found = _version(connection)
        if found == VERSION:
            return
        if not may_migrate and found < VERSION:
            raise Fatal("the ledger is of an older version", subject=self.path.name, hint=_START_ONCE)
        if found > VERSION:
            raise Fatal(f"a newer version ({found}) wrote the ledger", subject=self.path.name, hint=_NEWER)
        try:
            with self.writing() as connection:
                _migrate(connection)
        except DBAPIError as error:
            happened = "it could not be brought to this version, and is as it was"
            raise Fatal(happened, operation="open the ledger", subject=self.path.name, hint=_MIGRATION) from error


_START_ONCE = "start the node once, which brings it up to date"
_NEWER = "see 'Going back to an older version' in docs/operations.md"
DAMAGED = "see 'The ledger is damaged' in docs/operations.md"
_FOLDER = "see 'The state folder cannot be used' in docs/operations.md"
_MIGRATION = "see 'The ledger cannot be migrated' in docs/operations.md"


def _engine(path: Path) -> sa.Engine:
    # hide_parameters: a statement's values are patient data and would stand in the texts of errors.
    engine = sa.create_engine(f"sqlite:///{path}", pool_size=8, max_overflow=-1, hide_parameters=True)

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: Any, record: Any) -> None:
        connection.isolation_level = None  # the driver begins nothing by itself: `begin` below does
        for pragma in _PRAGMAS:
            connection.execute(pragma).close()

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get("begin", "BEGIN"))

    return engine


def _locked(path: Path, holder: Holder | None) -> int:
    """Hold the lock and make the file for its owner only. AlreadyRunning, or Fatal where the folder cannot be used."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = hold(path, holder)
        if not path.exists():
            # Never open a file that SQLite may have open: closing it would drop this process's POSIX locks on it.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        path.chmod(0o600)
    except OSError as error:
        happened = f"its folder cannot be used ({errno.errorcode.get(error.errno or 0, 'no reason given')})"
        raise Fatal(happened, operation="open the ledger", subject=path.name, hint=_FOLDER) from error
    return lock


def _require(path: Path) -> None:
    if not path.is_file():
        raise Fatal("there is no ledger yet", operation="open the ledger", subject=path.name, hint=_START_ONCE)


def _version(connection: sa.Connection) -> str:
    """Give the migration the file stands at, empty for a new file."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return ""
    return str(connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() or "")


def _migrate(connection: sa.Connection) -> None:
    # Alembic is imported here because an up-to-date ledger never needs it.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, VERSION)


@contextmanager
def bordered(path: Path) -> Iterator[None]:
    """Turn what SQLite raises into an error sorted by what happens next, without the statement's values."""
    try:
        yield
    except DBAPIError as error:
        turned = _turned(error.orig, path)
        if turned is None:
            raise
        raise turned from error


def _turned(error: BaseException | None, path: Path) -> CxrnodeError | None:
    primary = getattr(error, "sqlite_errorcode", 0) & 0xFF
    operation, subject = "use the ledger", path.name
    match primary:
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return LedgerDamaged(operation=operation, subject=subject, hint=DAMAGED)
        case sqlite3.SQLITE_FULL:
            return OutOfSpace(operation=operation, subject=subject, hint=_SPACE)
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return _busy(path)
        case sqlite3.SQLITE_IOERR | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
            return Fatal(f"its disk failed it ({error})", operation=operation, subject=subject, hint=_DISK)
        case _:
            return None


def _busy(path: Path) -> Retryable:
    return Retryable("another process holds the ledger", operation="use the ledger", subject=path.name, hint=_BUSY)


_BUSY = "see 'Another process holds the ledger' in docs/operations.md"
_SPACE = "see 'The disk is full' in docs/operations.md"
_DISK = "see 'The disk fails' in docs/operations.md"
