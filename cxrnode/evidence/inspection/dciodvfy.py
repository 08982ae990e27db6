"""dciodvfy's opinion of an object, where it is installed (David Clunie's dicom3tools).

Hides the program. Promises that it never sees what was carried over from the source, so that its output cannot hold
patient data, and that a source's faults are not held against our object. Its absence is no objection, nor is a run that
came to no end.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Collection, Iterator
from io import BytesIO
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset

from cxrnode.evidence.inspection.carried import EMPTIED, OF_THE_IMAGE, PATIENT_AND_STUDY, tags_of

SECONDS = 20.0
"""How long it may take; an object of ours takes it a hundredth of a second."""

_OF_THE_IMAGE = (
    # Its own tables and windows: a table may use less of its range than it says.
    *("LookupTableData", "<LUT Descriptor>", "<WindowWidth>"),
    *OF_THE_IMAGE,
    *(f"(0x{tag >> 16:04x},0x{tag & 0xFFFF:04x})" for tag in tags_of(*OF_THE_IMAGE)),
)
"""How it names what is the source's: by keyword, by tag, or in words of its own."""

_SUMMARY = "Dicom dataset contains invalid data values"
"""Said once beside the lines that say where."""

_QUOTED = re.compile(r"(= |value )<[^<>]*>")
"""A value: `= <...>` or `value <...>`; names of attributes and modules stand otherwise (`Element=<...>`)."""


def find() -> str:
    """Give the program's path, empty where it is not installed."""
    return shutil.which("dciodvfy") or ""


def errors(program: str, path: Path, foreign_uids: Collection[str]) -> Iterator[str]:
    """Give its errors about a kept object; nothing where it cannot be run.

    `foreign_uids`: UIDs that others made, however they are formed.
    """
    for line in _output(program, _anonymous(path)).splitlines():
        said = line.removeprefix("Error - ")
        if said != line and not said.startswith(_SUMMARY) and not _is_of_the_source(said, foreign_uids):
            yield "dciodvfy: " + _QUOTED.sub(r"\1<...>", said)


def _is_of_the_source(said: str, foreign_uids: Collection[str]) -> bool:
    """Tell whether what is wrong is a UID of the source's, or a property of the image that it states, or does not."""
    return any(name in said for name in (*foreign_uids, *_OF_THE_IMAGE))


def _output(program: str, file: bytes) -> str:
    """Run it over a file without a name: it seeks, so that a pipe will not do."""
    try:
        with tempfile.TemporaryFile() as unnamed:
            unnamed.write(file)
            unnamed.seek(0)
            done = subprocess.run([program], stdin=unnamed, capture_output=True, timeout=SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return (done.stdout + done.stderr).decode("utf-8", "replace")


def _anonymous(path: Path) -> bytes:
    """Give the object without patient and study: what must be there is there, and empty."""
    dataset: Dataset = pydicom.dcmread(path)
    for tag in [tag for tag in dataset.keys() if int(tag) in PATIENT_AND_STUDY]:  # noqa: SIM118 - raw values
        del dataset[tag]
    for keyword in EMPTIED:
        setattr(dataset, keyword, None)
    buffer = BytesIO()
    pydicom.dcmwrite(buffer, dataset)
    return buffer.getvalue()
