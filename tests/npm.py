"""Packages of npm that tests need as files: one version, one content, nothing installed.

Hides where they come from and where they are kept. Promises the files of exactly the package that is named (its
SHA-512 is compared before anything is unpacked), fetched once a machine into the cache folder of whoever runs the
tests, and `Missing` where it can neither be found nor fetched.
"""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.peers import Missing, program

FETCH_SECONDS = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """What is fetched, and the folder of it that is kept. `sha512` is the integrity that the registry states."""

    name: str
    version: str
    sha512: str
    inside: str

    def folder(self) -> Path:
        """Give the folder of its files, fetched where it is not there yet."""
        kept = _cache() / f"{self.name.replace('/', '-').removeprefix('@')}-{self.version}"
        if not kept.is_dir():
            kept.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=kept.parent) as beside:
                _unpack(_fetched(self, Path(beside)), Path(beside) / "kept", self.inside)
                _move_in(Path(beside) / "kept", kept)
        return kept


DCMJS = Package(
    name="dcmjs",
    version="0.52.2",
    sha512="jt+kyCNcjCNcfQNDDph26NZUBh3alOEM36ao918aotkb2WxkUq3OVu84q3EOCsJcwkMfsEiojiCA8+RYaCR4Ag==",
    inside="package/build/",
)
"""Reads DICOM in browsers: what OHIF and other viewers build on. Its build needs no other package."""


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cxrnode-tests"


def _fetched(package: Package, folder: Path) -> Path:
    called = f"{package.name}@{package.version}"
    try:
        command = [program("npm"), "pack", "--silent", called]
        subprocess.run(command, cwd=folder, capture_output=True, timeout=FETCH_SECONDS, check=True)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        raise Missing(f"{called} could not be fetched with npm") from error
    (file,) = folder.glob("*.tgz")
    found = base64.b64encode(hashlib.sha512(file.read_bytes()).digest()).decode()
    if found != package.sha512:
        raise AssertionError(f"{called} is not what it was: its SHA-512 is {found}")
    return file


def _unpack(file: Path, target: Path, inside: str) -> None:
    """Take what is in one folder of the package; the maps of sources are most of it."""
    with tarfile.open(file) as archive:
        for member in archive:
            if member.isfile() and member.name.startswith(inside) and not member.name.endswith(".map"):
                member.name = member.name.removeprefix(inside)
                archive.extract(member, target, filter="data")


def _move_in(made: Path, folder: Path) -> None:
    """Whole or not at all; who comes second finds it there."""
    try:
        made.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
