"""Where a replay's files come from: folders, files, zip archives, DICOMDIR.

Hides how each is opened. Promises the same order in every run, that sources are never written to, and that a damaged
archive is one file with its own reason.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import pydicom
from pydicom.errors import InvalidDicomError

from cxrnode.domain.identity import digest
from cxrnode.errors import NeedsOperator


def found(sources: Sequence[Path], extracted: Path) -> Iterator[Path]:
    """Give the files of the sources, in the order of their names; members of a zip are extracted below `extracted`.

    Raises NeedsOperator for a source that does not exist.
    """
    for source in sources:
        if source.is_dir():
            yield from _below(source, extracted)
        elif source.is_file():
            yield from _of_file(source, extracted)
        else:
            raise NeedsOperator("no such file or folder", operation="replay", subject=str(source), hint="check SOURCE")


def _below(folder: Path, extracted: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        # A DICOMDIR lists what lies beside it, and that is found anyway.
        if path.is_file() and path.name != "DICOMDIR":
            yield from _of_file(path, extracted)


def _of_file(path: Path, extracted: Path) -> Iterator[Path]:
    if path.name == "DICOMDIR":
        yield from _listed(path)
    elif zipfile.is_zipfile(path):
        yield from _members(path, extracted)
    else:
        yield path


def _listed(dicomdir: Path) -> Iterator[Path]:
    """Give the files that a DICOMDIR refers to (PS3.3 F.3, Referenced File ID)."""
    try:
        records = pydicom.dcmread(dicomdir).get("DirectoryRecordSequence") or ()
    except (InvalidDicomError, OSError, ValueError) as error:
        hint = "give the folder that it lies in"
        raise NeedsOperator("the DICOMDIR cannot be read", subject=str(dicomdir), hint=hint) from error
    for record in records:
        parts = record.get("ReferencedFileID")
        if parts:
            yield dicomdir.parent.joinpath(*([parts] if isinstance(parts, str) else parts))


def _members(archive: Path, extracted: Path) -> Iterator[Path]:
    folder = extracted / digest(str(archive.resolve()), archive.stat().st_size)[:16]
    try:
        with zipfile.ZipFile(archive) as opened:
            for member in sorted(opened.infolist(), key=lambda one: one.filename):
                if not member.is_dir() and PurePosixPath(member.filename).name != "DICOMDIR":
                    yield _extracted(opened, member, folder)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError):
        # A damaged or encrypted archive is one file with one reason: it is no DICOM file.
        yield archive


def _extracted(archive: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path) -> Path:
    """Extract a member, unless an earlier run did; `extract` keeps odd names inside the folder."""
    path = folder / member.filename
    return path if path.is_file() and path.stat().st_size == member.file_size else Path(archive.extract(member, folder))
