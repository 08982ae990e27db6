"""Hides how the layouts find files and read tables.

Promises the same order on every machine, tables with trimmed names and values, and a DICOM header's few elements
without a word from pydicom.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pydicom

from cxrnode.pixels.quiet import quiet

Row = Mapping[str, str]

PICTURES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff"})
"""Endings of picture files; DICOM and JSRT's raw films are named beside them."""

DICOM = ".dcm"

OWN_INDEX = "index.csv"
"""A folder with this table is described by it, and by nothing else."""

_HEADER = ["PatientID", "PatientAge", "PatientSex", "ViewPosition"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a film's DICOM header says of the patient; empty where it says nothing."""

    patient: str = ""
    age: int | None = None
    sex: str = ""
    view: str = ""


def rows_of(table: Path) -> list[Row]:
    """Read a CSV; the published ones have blanks round some of their names and values."""
    with table.open(newline="", encoding="utf-8-sig") as lines:
        return [
            {(name or "").strip(): (value or "").strip() for name, value in row.items() if isinstance(value, str)}
            for row in csv.DictReader(lines)
        ]


def columns_of(table: Path) -> tuple[str, ...]:
    """Give the names of a CSV's columns."""
    with table.open(newline="", encoding="utf-8-sig", errors="replace") as lines:
        return tuple(name.strip() for name in next(csv.reader(lines), []))


def walk(folder: Path, endings: frozenset[str]) -> Iterator[Path]:
    """Give the files below a folder that end so, in order.

    Hidden files, what macOS packs beside them, and folders with an index of their own are passed over.
    """
    for here, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        if OWN_INDEX in names:
            folders.clear()
            continue
        for name in sorted(names):
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in endings:  # noqa: PTH122 - 112,000 names
                yield Path(here, name)


def by_stem(folder: Path, endings: frozenset[str]) -> dict[str, Path]:
    """Give the files below a folder by their names without the ending; the first of equal names counts."""
    found: dict[str, Path] = {}
    for path in walk(folder, endings):
        found.setdefault(path.stem, path)
    return found


def whole_years(text: str) -> int | None:
    """Read an age such as 45, 058Y or 45yrs; None where it is not in years."""
    digits = text.strip().upper().removesuffix("YRS").removesuffix("YR").removesuffix("Y").strip()
    return int(digits) if digits.isdigit() and int(digits) < 120 else None


def header_of(path: Path) -> Header:
    """Read the elements of a DICOM header that a layout wants; all empty where the file is none."""
    if path.suffix.lower() != DICOM:
        return Header()
    try:
        with quiet():
            header = pydicom.dcmread(path, stop_before_pixels=True, force=True, specific_tags=list(_HEADER))
            text = {name: str(header.get(name, "") or "") for name in _HEADER}
    except Exception:  # noqa: BLE001 - pydicom raises whatever a broken header makes it stumble on
        return Header()
    return Header(
        patient=text["PatientID"],
        age=whole_years(text["PatientAge"]),
        sex=text["PatientSex"],
        view=text["ViewPosition"],
    )
