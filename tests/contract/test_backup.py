"""A backup: whole at any time, never twice the same file, and everything that it needs to go on."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pydicom
import pytest

from cxrnode.archive import SpoolArchive
from cxrnode.archive.backup import copy_all, copy_beside, finish, part_of
from cxrnode.cli.spool import _beside
from cxrnode.errors import OutOfSpace, Retryable
from cxrnode.ledger import SqliteLedger
from tests.bench import FILM, Bench
from tests.contract.test_retention import arrive


def back_up(bench: Bench, to: Path):
    """Do what `cxrnode spool backup` does."""
    part = part_of(to)
    bench.ledger.inventory.backup(part)
    keys = chain(bench.archive.finished(), bench.archive.finished_evidence())
    copied = copy_all(keys, bench.archive.root, to, bench.ledger.inventory.size_at)
    finish(part, "ledger.sqlite")
    return copied


def files(folder: Path) -> dict[str, bytes]:
    """Give every kept file below a spool."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.dcm")}


@pytest.fixture
def done(make: Callable[..., Bench]) -> Bench:
    """A bench with one study that is analysed and delivered."""
    bench = make()
    bench.take(FILM)
    bench.work(2)
    return bench


def test_a_backup_is_a_state_folder_for_its_owner_only(done: Bench, tmp_path: Path) -> None:
    """Ledger and spool, byte for byte, with the time at which each file came."""
    to = tmp_path / "backup"
    assert back_up(done, to).files == 3
    assert files(to / "spool") == files(done.archive.root)
    assert to.stat().st_mode & 0o777 == 0o700
    assert (to / "ledger.sqlite").stat().st_mode & 0o777 == 0o600
    for key in done.archive.finished():
        assert (to / "spool" / key).stat().st_mtime_ns == done.archive.path(key).stat().st_mtime_ns
    with SqliteLedger.open(to / "ledger.sqlite", incarnation="restored", exclusive=True) as ledger:
        ledger.check()
        assert ledger.counts() == done.ledger.counts()


def test_what_was_copied_before_is_not_copied_again(done: Bench, tmp_path: Path) -> None:
    """The second backup into a folder costs what is new."""
    back_up(done, tmp_path / "backup")
    done.take(replace(FILM, seed=2))
    done.work(2)
    copied = back_up(done, tmp_path / "backup")
    assert (copied.files, copied.there) == (3, 3)
    assert files(tmp_path / "backup" / "spool") == files(done.archive.root)


def test_an_interrupted_backup_leaves_the_one_before_whole(
    done: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy of the ledger gets its name last: it never promises files that are not there."""
    to = tmp_path / "backup"
    back_up(done, to)
    before = (to / "ledger.sqlite").read_bytes()
    done.take(replace(FILM, seed=2))
    done.work(2)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("shutil.copyfile", full)
        with pytest.raises(OutOfSpace):
            back_up(done, to)
    assert (to / "ledger.sqlite").read_bytes() == before
    assert back_up(done, to).files == 3


def test_a_damaged_file_never_takes_the_place_of_its_copy(done: Bench, tmp_path: Path) -> None:
    """The copy of what was cut since is the good one, of a source as of evidence; everything else is copied."""
    to = tmp_path / "backup"
    back_up(done, to)
    before = files(to / "spool")
    for key in (next(iter(done.archive.finished())), next(iter(done.archive.finished_evidence()))):
        done.archive.path(key).write_bytes(done.archive.path(key).read_bytes()[:100])
    done.take(replace(FILM, seed=2))
    copied = back_up(done, to)
    assert (copied.files, copied.there, copied.differ) == (1, 1, 2)
    assert {key: content for key, content in files(to / "spool").items() if key in before} == before


def test_what_came_again_from_another_sender_is_copied_again(done: Bench, tmp_path: Path) -> None:
    """The file names its sender, so it has another length, and the ledger states that one."""
    to = tmp_path / "backup"
    back_up(done, to)
    (path,) = (done.archive.root / "sources").rglob("*.dcm")
    sent = pydicom.dcmread(path)
    sent.file_meta.SendingApplicationEntityTitle = "THE_ARCHIVE"
    path.unlink()
    arriving = done.archive.incoming / "again.part"
    sent.save_as(arriving)
    arrive(done, arriving)
    copied = back_up(done, to)
    assert (copied.files, copied.there, copied.differ) == (1, 2, 0)
    assert files(to / "spool") == files(done.archive.root)


def test_what_sqlite_left_beside_an_earlier_copy_goes_with_it(done: Bench, tmp_path: Path) -> None:
    """Somebody opened the copy and was killed: its log would be read into the new one."""
    to = tmp_path / "backup"
    back_up(done, to)
    for left in ("ledger.sqlite-wal", "ledger.sqlite-shm"):
        (to / left).write_bytes(b"of another time")
    back_up(done, to)
    assert sorted(path.name for path in to.iterdir() if path.is_file()) == ["ledger.sqlite"]


def test_the_copy_of_the_ledger_is_of_one_moment(done: Bench, tmp_path: Path) -> None:
    """Whoever writes meanwhile writes to the ledger, not to the copy; and it needs no file beside it."""
    done.ledger.inventory.backup(tmp_path / "copy.sqlite")
    done.take(replace(FILM, seed=2))
    with closing(sqlite3.connect(tmp_path / "copy.sqlite")) as connection:
        assert connection.execute("PRAGMA quick_check").fetchone() == ("ok",)
        assert connection.execute("SELECT count(*) FROM instances").fetchone() == (1,)
    assert done.ledger.counts().instances == 2


def test_restored_from_before_it_adopts_what_came_later(
    done: Bench, tmp_path: Path, make: Callable[..., Bench]
) -> None:
    """A ledger from before the spool: the film that it does not know is adopted, analysed, and nothing is doubled."""
    to = tmp_path / "backup"
    back_up(done, to)
    done.take(replace(FILM, seed=2))
    done.work(2)
    held = dict(done.peer.kept["pacs"])
    done.ledger.shut()
    (tmp_path / "ledger.sqlite").unlink()
    for beside in tmp_path.glob("ledger.sqlite-*"):
        beside.unlink()
    (to / "ledger.sqlite").rename(tmp_path / "ledger.sqlite")
    again = make()
    again.clock.time = done.clock.time
    again.line.start()
    while again.line.adopt():
        continue
    again.work(3)
    assert [one.end for one in again.ledger.inventory.instances()] == ["analysed", "analysed"]
    assert len(again.ledger.find_jobs()) == 2
    assert {one.sop_instance_uid for one in again.ledger.inventory.evidence()} == set(held)


def test_a_folder_that_cannot_be_written_to_is_an_error_of_ours(done: Bench, tmp_path: Path) -> None:
    """It names what happened, and nothing of the ledger or the spool is touched."""
    (tmp_path / "file").write_text("")
    with pytest.raises(Retryable, match="disk failed"):
        part_of(tmp_path / "file" / "backup")
    assert isinstance(done.archive, SpoolArchive)


def test_the_audit_trail_goes_with_it_as_it_grows(tmp_path: Path) -> None:
    """A file that has grown since the last backup is copied again, one that has not is left."""
    state, to = tmp_path / "state", tmp_path / "backup"
    (state / "audit").mkdir(parents=True)
    for name in ("audit-2026-03-01.xml", "audit-2026-03-02.xml"):
        (state / "audit" / name).write_text("one")
    names = ["audit/audit-2026-03-01.xml", "audit/audit-2026-03-02.xml"]
    copy_beside(names, state, to)
    kept = (to / names[0]).stat().st_ino
    (state / names[1]).write_text("one, two")
    copy_beside(names, state, to)
    assert [(to / name).read_text() for name in names] == ["one", "one, two"]
    assert (to / names[0]).stat().st_ino == kept


def test_how_far_the_trail_was_sent_is_copied_before_the_trail_and_nothing_half_written_is(tmp_path: Path) -> None:
    """It grows meanwhile: a position beyond the copied end would keep what is written there from the collector."""
    names = ("audit/audit-2026-03-01.xml", "audit/forwarded.json", "audit/forwarded.part", "log-salt", "ledger.sqlite")
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert _beside(tmp_path) == ["log-salt", "audit/forwarded.json", "audit/audit-2026-03-01.xml"]
