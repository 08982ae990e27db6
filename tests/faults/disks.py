"""A real disk to fail: an ext4 file system of its own in a file, mounted through a loop device.

Hides mkfs, mount and the kernel's own levers. Promises that what is written and not brought to disk is lost when its
power is cut (the file system's shutdown without a flush of its journal, as file system tests do it), that an error
makes it read-only at once (errors=remount-ro), and that it is unmounted with its `with`. Needs root and loop devices.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests import peers

_SHUTDOWN = 0x8004587D
"""EXT4_IOC_SHUTDOWN, _IOR('X', 125, __u32)."""
_NO_LOG_FLUSH = 2


class NoDisk(Exception):
    """No file system can be mounted here."""


class Disk:
    """One file system at `folder`. Made by `mounted`."""

    def __init__(self, folder: Path, image: Path) -> None:
        """Take over an image with a file system."""
        self.folder, self._image = folder, image

    def mount(self) -> None:
        """Mount it; the file system's journal mends what a cut left."""
        _run("mount", "-o", "loop,errors=remount-ro", str(self._image), str(self.folder))

    def unmount(self) -> None:
        """Unmount it, at once or when its last file is closed."""
        if self.folder.is_mount():
            _run("umount", "--lazy", str(self.folder))

    def cut_power(self) -> None:
        """From now on nothing reaches the disk, and what was not brought there is lost."""
        handle = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.ioctl(handle, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(handle)

    def go_bad(self) -> None:
        """The file system finds an error, and the kernel makes it read-only."""
        (Path("/sys/fs/ext4") / self._device() / "trigger_fs_error").write_text("1")

    def mend(self) -> None:
        """Mount it anew. Whoever has files on it must have ended."""
        self.unmount()
        self.mount()

    def fill(self, leave_bytes: int = 0) -> Path:
        """Fill it but for so many bytes; give the file to remove."""
        ballast = self.folder / "ballast"
        free = os.statvfs(self.folder)
        handle = os.open(ballast, os.O_WRONLY | os.O_CREAT)
        try:
            os.posix_fallocate(handle, 0, max(1, free.f_bavail * free.f_frsize - leave_bytes))
        except OSError as error:
            # Others write meanwhile, and what they wrote may not have its blocks yet: then it is full already.
            if error.errno != errno.ENOSPC:
                raise
        finally:
            os.close(handle)
        return ballast

    def _device(self) -> str:
        for line in Path("/proc/mounts").read_text().splitlines():
            device, place, *_ = line.split()
            if place == str(self.folder):
                return device.removeprefix("/dev/")
        raise AssertionError(f"{self.folder} is not mounted")


@contextmanager
def mounted(folder: Path, *, megabytes: int = 64) -> Iterator[Disk]:
    """Make and mount a disk at `folder` for the time of the `with`. NoDisk where that is not possible."""
    image = folder.with_suffix(".img")
    folder.mkdir()
    with image.open("wb") as file:
        file.truncate(megabytes << 20)
    disk = Disk(folder, image)
    _run("mkfs.ext4", "-q", "-F", "-m", "0", str(image))
    disk.mount()
    try:
        yield disk
    finally:
        disk.unmount()


def _run(name: str, *arguments: str) -> None:
    try:
        command: Sequence[str] = (peers.program(name), *arguments)
    except peers.Missing as missing:
        raise NoDisk(str(missing)) from missing
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoDisk(f"{name} is not possible here: {done.stderr.strip()}")


@contextmanager
def mounted_or(lacking: Callable[[str], None], folder: Path, *, megabytes: int = 64) -> Iterator[Disk]:
    """Mount one as `mounted` does; say what is lacking where it cannot be."""
    try:
        with mounted(folder, megabytes=megabytes) as disk:
            yield disk
    except NoDisk as missing:
        lacking(f"no file system can be mounted: {missing}")
