"""What the line relies on in an Archive, held against the node's own and a replay's alike."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from cxrnode.archive import ReferenceArchive, SpoolArchive
from cxrnode.domain.identity import InstanceUID
from cxrnode.errors import Fatal, OutOfSpace
from cxrnode.ports import Archive
from tests.fakes.instances import described, sha

UIDS_FROM_OUTSIDE = (
    "",
    ".",
    "..",
    "../../etc/passwd",
    "/etc/passwd",
    "1.2/../3",
    "1.2\x003",
    "1" * 300,
    "1.2.3.",
    "a.b",
)


class Opened(NamedTuple):
    """An archive, the folder it may write below, and where unfinished files go."""

    archive: Archive
    root: Path
    incoming: Path

    def arrive(self, content: bytes = b"DICM", name: str = "arriving") -> Path:
        """Put a file where a receiver would."""
        path = self.incoming / name
        path.write_bytes(content)
        return path

    def files(self) -> list[str]:
        """Give every file below the root."""
        return sorted(str(path.relative_to(self.root)) for path in self.root.rglob("*") if path.is_file())


def spool(tmp_path: Path) -> Opened:
    archive = SpoolArchive(tmp_path / "spool", floor_bytes=0)
    return Opened(archive, tmp_path / "spool", archive.incoming)


def reference(tmp_path: Path) -> Opened:
    archive = ReferenceArchive(tmp_path / "out", tmp_path / "out" / "work")
    return Opened(archive, tmp_path / "out", archive.incoming)


@pytest.fixture(params=[spool, reference], ids=["spool", "reference"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Opened:
    make: Callable[[Path], Opened] = request.param
    return make(tmp_path)


def test_a_kept_source_has_its_bytes_and_left_incoming(opened: Opened) -> None:
    """Keeping is a move: the same bytes under the key, nothing where they arrived."""
    arriving = opened.arrive(b"content")
    key = opened.archive.keep_source(arriving, described())
    assert opened.archive.path(key).read_bytes() == b"content"
    assert not arriving.exists()


def test_a_kept_source_says_which_instance_it_is(opened: Opened) -> None:
    """The name holds the SOP Instance UID and the digest of the bytes."""
    description = described("1.2.840.5")
    name = opened.archive.path(opened.archive.keep_source(opened.arrive(), description)).name
    assert name == f"1.2.840.5.{description.bytes_digest[:32]}.dcm"


def test_the_same_content_again_is_the_same_key(opened: Opened) -> None:
    """A sender that tries again leaves one file."""
    first = opened.archive.keep_source(opened.arrive(b"content"), described())
    files = opened.files()
    assert opened.archive.keep_source(opened.arrive(b"content"), described()) == first
    assert opened.files() == files


def test_other_content_of_one_uid_is_another_key(opened: Opened) -> None:
    """A conflict or a corrected header never takes the place of what was kept first."""
    first = opened.archive.keep_source(opened.arrive(b"first"), described())
    second = opened.archive.keep_source(opened.arrive(b"second"), described(pixels="other"))
    assert [opened.archive.path(key).read_bytes() for key in (first, second)] == [b"first", b"second"]


@pytest.mark.parametrize("uid", UIDS_FROM_OUTSIDE)
def test_no_uid_from_outside_leads_out_of_the_archive(opened: Opened, uid: str) -> None:
    """What is no valid UID is named by its digest."""
    source = opened.archive.keep_source(opened.arrive(), described(InstanceUID(uid)))
    evidence = opened.archive.keep_evidence(uid, b"evidence")
    for key in (source, evidence):
        path = opened.archive.path(key)
        assert path.resolve().is_relative_to(opened.root.resolve())
        assert path.name.startswith("no-uid-")
    assert opened.archive.kept_evidence(uid) == evidence


def test_what_is_kept_wins_over_composing_again(opened: Opened) -> None:
    """One UID never stands for two contents."""
    key = opened.archive.keep_evidence("2.25.1", b"first")
    assert opened.archive.keep_evidence("2.25.1", b"second") == key
    assert opened.archive.path(key).read_bytes() == b"first"
    assert list(opened.incoming.iterdir()) == []


def test_evidence_is_found_only_once_it_is_kept(opened: Opened) -> None:
    """None before, the key after."""
    assert opened.archive.kept_evidence("2.25.1") is None
    key = opened.archive.keep_evidence("2.25.1", b"evidence")
    assert opened.archive.kept_evidence("2.25.1") == key


def test_discarding_removes_what_arrived(opened: Opened) -> None:
    """A duplicate's file is gone, and discarding it twice is no error."""
    arriving = opened.arrive()
    opened.archive.discard(arriving)
    opened.archive.discard(arriving)
    assert not arriving.exists()


def test_sweeping_removes_unfinished_files_and_nothing_else(opened: Opened) -> None:
    """Files and folders of a run that was killed are counted and gone; what is kept stays."""
    source = opened.archive.keep_source(opened.arrive(b"source"), described())
    evidence = opened.archive.keep_evidence("2.25.1", b"evidence")
    opened.arrive(name="tmp1.part")
    (opened.incoming / "folder").mkdir()
    opened.arrive(name="folder/member")
    assert opened.archive.sweep() == 2
    assert list(opened.incoming.iterdir()) == []
    assert opened.archive.path(source).read_bytes() == b"source"
    assert opened.archive.path(evidence).read_bytes() == b"evidence"
    assert opened.archive.sweep() == 0


def test_a_key_is_good_in_the_next_run(tmp_path: Path) -> None:
    """Keys name kept bytes for good, also when the state folder has moved."""
    first = spool(tmp_path / "a")
    key = first.archive.keep_source(first.arrive(b"content"), described())
    shutil.move(tmp_path / "a", tmp_path / "b")
    assert spool(tmp_path / "b").archive.path(key).read_bytes() == b"content"


@pytest.mark.parametrize(
    "key", ["../ledger.sqlite", "sources/../../x.dcm", "/etc/passwd", "incoming/x.dcm", "sources//x.dcm"]
)
def test_only_keys_of_the_archive_are_opened(tmp_path: Path, key: str) -> None:
    """A key that the archive cannot have given is refused."""
    with pytest.raises(ValueError, match="no key"):
        spool(tmp_path).archive.path(key)


def test_kept_files_are_never_discarded(tmp_path: Path) -> None:
    """Discarding anything outside of incoming is refused, whatever way the path leads there."""
    opened = spool(tmp_path)
    kept = opened.archive.path(opened.archive.keep_source(opened.arrive(), described()))
    around = opened.incoming / ".." / kept.relative_to(opened.root)
    for path in (kept, around):
        with pytest.raises(ValueError, match="incoming"):
            opened.archive.discard(path)
    assert kept.exists()


def test_finished_sources_are_told_by_key(tmp_path: Path) -> None:
    """Adoption asks for every kept source; evidence and unfinished files are none."""
    opened = spool(tmp_path)
    keys = {opened.archive.keep_source(opened.arrive(), described(f"1.2.3.{index}")) for index in range(5)}
    opened.archive.keep_evidence("2.25.1", b"evidence")
    opened.arrive()
    finished = opened.archive.finished()
    assert set(finished) == keys == set(finished)
    assert len(finished) == 5
    assert keys.pop() in finished
    assert "evidence/x.dcm" not in finished


def test_the_archive_is_its_owners_alone(tmp_path: Path) -> None:
    """Folders 0700 and files 0600: they hold patient data."""
    opened = spool(tmp_path)
    arriving = opened.arrive()
    arriving.chmod(0o644)
    opened.archive.keep_source(arriving, described())
    opened.archive.keep_evidence("2.25.1", b"evidence")
    for path in (opened.root, *opened.root.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o600 if path.is_file() else 0o700), path


def test_a_disk_under_its_floor_is_refused(tmp_path: Path) -> None:
    """Out of Resources (0xA700), with a hint; above the floor nothing happens."""
    free = shutil.disk_usage(tmp_path).free
    SpoolArchive(tmp_path / "a", floor_bytes=free // 2).check_space()
    with pytest.raises(OutOfSpace, match="floor") as caught:
        SpoolArchive(tmp_path / "a", floor_bytes=free * 2).check_space()
    assert caught.value.status == 0xA700
    assert caught.value.hint


def test_a_folder_that_cannot_be_used_is_fatal(tmp_path: Path) -> None:
    """A file where the folder should be is told before anything is received."""
    (tmp_path / "spool").write_bytes(b"")
    with pytest.raises(Fatal, match="cannot be used"):
        SpoolArchive(tmp_path / "spool", floor_bytes=0)


def test_a_replay_leaves_its_sources_where_they_are(tmp_path: Path) -> None:
    """An original's key is its absolute path; discarding it as a duplicate removes nothing."""
    original = tmp_path / "films" / "IM0001"
    original.parent.mkdir()
    original.write_bytes(b"content")
    before = _identity(original)
    opened = reference(tmp_path)
    key = opened.archive.keep_source(original, described())
    opened.archive.discard(original)
    opened.archive.sweep()
    assert key == str(original)
    assert opened.archive.path(key).read_bytes() == b"content"
    assert _identity(original) == before
    assert set(opened.archive.finished()) == set()


def _identity(path: Path) -> tuple[int, ...]:
    """Which file it is and when it was changed; not when it was read."""
    stat = path.stat()
    return stat.st_ino, stat.st_size, stat.st_mode, stat.st_mtime_ns


def test_a_replays_output_holds_evidence_only(tmp_path: Path) -> None:
    """The folder that a researcher looks into has no empty folders of ours."""
    opened = reference(tmp_path)
    opened.archive.keep_evidence("2.25.1", b"evidence")
    assert sorted(path.name for path in opened.root.iterdir()) == ["evidence", "work"]


def test_the_digest_shards_the_names(tmp_path: Path) -> None:
    """A million films do not end up in one folder."""
    opened = spool(tmp_path)
    digest = sha("x")
    key = opened.archive.keep_source(opened.arrive(), described(bytes_digest=digest))
    assert key.startswith(f"sources/{digest[:2]}/{digest[2:4]}/")
