"""Where a replay's files come from: folders, files, zip archives, DICOMDIR.

Hides how each is opened. Promises the same order in every run, that sources are never written to, and that a damaged
archive is one file with its own reason.
"""

from __future__ import annotations

import lzma
import os
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import pydicom

from cxrnode.domain.identity import digest
from cxrnode.errors import NeedsOperator

_DAMAGED_ZIP = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, RuntimeError)
"""What zipfile raises for an archive that is cut, damaged, encrypted or packed in a way that it does not know."""


def found(sources: Sequence[Path], out: Path, extracted: Path) -> Iterator[Path]:
    """Give the files of the sources, in the order of their names; members of a zip are extracted below `extracted`.

    What lies below `out` was written by a replay and is no source. Raises NeedsOperator for a source that does not
    exist.
    """
    for source in sources:
        if source.is_dir():
            yield from _below(source, out, extracted)
        elif source.is_file():
            yield from _of_file(source, extracted)
        else:
            raise NeedsOperator("no such file or folder", operation="replay", subject=str(source), hint="check SOURCE")


def _below(top: Path, out: Path, extracted: Path) -> Iterator[Path]:
    """Walk in the order of names, one folder in memory at a time."""
    for name, folders, files in os.walk(top):
        folder = Path(name)
        folders[:] = sorted(one for one in folders if folder / one != out)
        for file in sorted(files):
            path = folder / file
            # A DICOMDIR lists what lies beside it, and that is found anyway.
            if path.is_file() and not _is_dicomdir(path):
                yield from _of_file(path, extracted)


def _is_dicomdir(path: Path) -> bool:
    return path.name.upper() == "DICOMDIR"


def _of_file(path: Path, extracted: Path) -> Iterator[Path]:
    if _is_dicomdir(path):
        yield from _listed(path)
    elif zipfile.is_zipfile(path):
        yield from _members(path, extracted)
    else:
        yield path


def _listed(dicomdir: Path) -> Iterator[Path]:
    """Give the files that a DICOMDIR refers to (PS3.3 F.3, Referenced File ID), which lie below its folder."""
    hint = "give the folder that it lies in"
    try:
        records = pydicom.dcmread(dicomdir)["DirectoryRecordSequence"].value
        stated = [record.get("ReferencedFileID") for record in records]
        files = [dicomdir.parent.joinpath(*([name] if isinstance(name, str) else name)) for name in stated if name]
        strangers = [file for file in files if not file.resolve().is_relative_to(dicomdir.parent.resolve())]
    except Exception as error:
        raise NeedsOperator("the DICOMDIR cannot be read", subject=str(dicomdir), hint=hint) from error
    if strangers:
        raise NeedsOperator("the DICOMDIR names files outside its folder", subject=str(dicomdir), hint=hint)
    yield from files


def _members(archive: Path, extracted: Path) -> Iterator[Path]:
    folder = extracted / digest(str(archive.resolve()), archive.stat().st_size)[:16]
    try:
        with zipfile.ZipFile(archive) as opened:
            for member in sorted(opened.infolist(), key=lambda one: one.filename):
                if not member.is_dir() and PurePosixPath(member.filename).name.upper() != "DICOMDIR":
                    yield _extracted(opened, member, folder)
    except _DAMAGED_ZIP:
        # What cannot be unpacked is one file with one reason: it is no DICOM file.
        yield archive


def _extracted(archive: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path) -> Path:
    """Extract a member, unless an earlier run did; `extract` keeps odd names inside the folder."""
    path = (folder / member.filename).resolve()
    unpacked = path.is_relative_to(folder.resolve()) and path.is_file() and path.stat().st_size == member.file_size
    return path if unpacked else Path(archive.extract(member, folder))
