"""The archive killed between any two steps, and its disk full."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cxrnode.archive import SpoolArchive
from cxrnode.errors import OutOfSpace, Retryable
from tests.fakes.instances import described

STEPS = ("fchmod", "fsync", "rename", "link", "mkdir", "unlink")


class Killed(BaseException):
    """Stands for SIGKILL: no handler of ours may catch it."""


@pytest.fixture
def archive(tmp_path: Path) -> SpoolArchive:
    return SpoolArchive(tmp_path / "spool", floor_bytes=0)


def arrive(archive: SpoolArchive, content: bytes = b"content") -> Path:
    path = archive.incoming / "arriving"
    path.write_bytes(content)
    return path


def keep_source(archive: SpoolArchive) -> str:
    return archive.keep_source(arrive(archive), described())


def keep_evidence(archive: SpoolArchive) -> str:
    return archive.keep_evidence("2.25.1", b"content")


def watch(monkeypatch: pytest.MonkeyPatch, step: Callable[[str, tuple[Any, ...]], None]) -> None:
    """Call `step` before each call that changes the disk."""
    for name in STEPS:
        original = getattr(os, name)

        def call(*args: Any, _name: str = name, _original: Callable[..., Any] = original, **named: Any) -> Any:
            step(_name, args)
            return _original(*args, **named)

        monkeypatch.setattr(os, name, call)


def trace(archive: SpoolArchive, keep: Callable[[SpoolArchive], str]) -> list[tuple[str, str]]:
    """Give the steps of one keeping, each with the name of what it touches."""
    steps: list[tuple[str, str]] = []

    def note(name: str, args: tuple[Any, ...]) -> None:
        subject = str(Path(f"/proc/self/fd/{args[0]}").readlink() if isinstance(args[0], int) else args[-1])
        steps.append((name, subject))

    with pytest.MonkeyPatch.context() as patch:
        watch(patch, note)
        keep(archive)
    return steps


@pytest.mark.parametrize(("keep", "naming"), [(keep_source, "rename"), (keep_evidence, "link")])
def test_file_then_name_then_folder_reach_the_disk(
    archive: SpoolArchive, keep: Callable[[SpoolArchive], str], naming: str
) -> None:
    """fsync of the file, its final name, fsync of its folder: in that order, and the folders above before."""
    root = str(archive.root)
    steps = trace(archive, keep)
    final = str(archive.path(keep(archive)))
    folder, above = str(Path(final).parent), str(Path(final).parents[1])
    synced = [subject for name, subject in steps if name == "fsync"]
    named = steps.index((naming, final))
    assert steps[named - 1][0] == "fsync"
    assert steps[named - 1][1].startswith(str(archive.incoming))
    assert steps[named + 1] == ("fsync", folder)
    assert {root, str(Path(above).parent), above, folder} <= set(synced)
    assert synced.index(above) < len(synced) - 1


@pytest.mark.parametrize("keep", [keep_source, keep_evidence])
def test_nothing_half_made_ever_has_a_final_name(tmp_path: Path, keep: Callable[[SpoolArchive], str]) -> None:
    """Killed before any step, a finished file is whole, and the next run keeps it under the same key."""
    steps = len(trace(SpoolArchive(tmp_path / "counted", floor_bytes=0), keep))
    assert steps > 5
    for kill_at in range(steps):
        root = tmp_path / f"killed{kill_at}"
        archive, left = SpoolArchive(root, floor_bytes=0), iter(range(kill_at))

        def step(name: str, args: tuple[Any, ...], left: Any = left) -> None:
            if next(left, None) is None:
                raise Killed

        with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
            watch(patch, step)
            keep(archive)
        assert [path.read_bytes() for path in root.rglob("*.dcm")] in ([], [b"content"])

        again = SpoolArchive(root, floor_bytes=0)
        again.sweep()
        assert list(again.incoming.iterdir()) == []
        assert again.path(keep(again)).read_bytes() == b"content"
        assert len(list(root.rglob("*.dcm"))) == 1


@pytest.mark.parametrize("keep", [keep_source, keep_evidence])
@pytest.mark.parametrize(
    ("number", "expected"), [(errno.ENOSPC, OutOfSpace), (errno.EDQUOT, OutOfSpace), (errno.EIO, Retryable)]
)
def test_a_failing_disk_is_told_apart_from_a_full_one(
    archive: SpoolArchive,
    monkeypatch: pytest.MonkeyPatch,
    keep: Callable[[SpoolArchive], str],
    number: int,
    expected: type[Exception],
) -> None:
    """A full disk answers the sender with 0xA700; another failure is tried again; nothing has a final name."""

    def fail(handle: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(expected):
        keep(archive)
    assert list(archive.root.rglob("*.dcm")) == []


def test_a_full_disk_keeps_no_half_written_evidence(archive: SpoolArchive, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be written whole does not fill the disk further."""

    class Full:
        def __init__(self, handle: int) -> None:
            self._handle = handle

        def __enter__(self) -> Full:
            return self

        def __exit__(self, *_: object) -> None:
            os.close(self._handle)

        def write(self, encoded: bytes) -> None:
            os.write(self._handle, encoded[:1])
            raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "fdopen", lambda handle, mode: Full(handle))
    with pytest.raises(OutOfSpace):
        keep_evidence(archive)
    assert list(archive.incoming.iterdir()) == []


def test_a_spool_that_vanished_is_told_without_a_path(archive: SpoolArchive) -> None:
    """An unmounted disk is a failure of ours, sorted by what happens next."""
    shutil.rmtree(archive.root)
    for verb in (archive.check_space, archive.sweep, lambda: keep_evidence(archive)):
        with pytest.raises(Retryable, match="ENOENT") as caught:
            verb()
        assert str(archive.root.parent) not in str(caught.value)


def test_two_workers_that_keep_one_uid_end_with_one_object(archive: SpoolArchive) -> None:
    """Whichever comes first is kept, whole; the others learn the same key."""
    workers, keys = 8, []
    together = threading.Barrier(workers)

    def work(worker: int) -> None:
        together.wait(10)
        keys.append(archive.keep_evidence("2.25.1", bytes([worker]) * 10_000))

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    (key,) = set(keys)
    content = archive.path(key).read_bytes()
    assert content == content[:1] * 10_000
    assert list(archive.incoming.iterdir()) == []
