"""OHIF as its makers publish it: the prebuilt viewer of the npm package, one version, one content.

Hides where it comes from and where it is kept. Promises the files of exactly that package (its SHA-512 is compared
before anything is unpacked), fetched once a machine into the user's cache folder, and `Missing` where it can neither
be found nor fetched.
"""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import tarfile
import tempfile
from pathlib import Path

from tests.peers import Missing, program

PACKAGE = "@ohif/app"
VERSION = "3.13.2"
SHA512 = "WZdxmpmG7rqFgW9ZJLcbgr3XCtLi1KDNPoMaeY5PPe6j4G4fjEjjkycZM6C6Zk2F87BKxFfpq+jd5xXZB9E8EA=="
"""The integrity that the registry states for this version."""

FETCH_SECONDS = 300.0
_INSIDE = "package/dist/"


def viewer() -> Path:
    """Give the folder of the viewer's files, fetched where it is not there yet."""
    folder = _cache() / f"ohif-{VERSION}"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as beside:
            _unpack(_fetched(Path(beside)), Path(beside) / "dist")
            _move_in(Path(beside) / "dist", folder)
    return folder


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cxrnode-tests"


def _fetched(folder: Path) -> Path:
    command = [program("npm"), "pack", "--silent", f"{PACKAGE}@{VERSION}"]
    try:
        subprocess.run(command, cwd=folder, capture_output=True, timeout=FETCH_SECONDS, check=True)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        raise Missing(f"{PACKAGE} {VERSION} could not be fetched with npm") from error
    (package,) = folder.glob("*.tgz")
    found = base64.b64encode(hashlib.sha512(package.read_bytes()).digest()).decode()
    if found != SHA512:
        raise AssertionError(f"{PACKAGE} {VERSION} is not what it was: its SHA-512 is {found}")
    return package


def _unpack(package: Path, target: Path) -> None:
    """Take the viewer's own files; the maps of its sources are two thirds of the package."""
    with tarfile.open(package) as archive:
        for member in archive:
            if member.isfile() and member.name.startswith(_INSIDE) and not member.name.endswith(".map"):
                member.name = member.name.removeprefix(_INSIDE)
                archive.extract(member, target, filter="data")


def _move_in(made: Path, folder: Path) -> None:
    """Whole or not at all; who comes second finds it there."""
    try:
        made.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
