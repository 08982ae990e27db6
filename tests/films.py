"""Real radiographs of the shared folder, which are plain pictures, as DICOM objects that the line takes."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from cxrnode.phantom.wrap import Stated, wrap_file

FOLDERS = ("lungs", "opacity", "pneumothorax", "classification")
"""The folders of plain pictures; that of DICOM objects needs no wrapping."""


def rows_of(data: Path, folder: str) -> Iterator[dict[str, str]]:
    """Give the rows of a folder's index, in their order."""
    with (data / folder / "index.csv").open(encoding="utf-8", newline="") as opened:
        yield from csv.DictReader(opened)


def film(data: Path, folder: str, row: dict[str, str], target: Path) -> Path:
    """Write the film of a row as a CR at `target`, in its true shape where the index knows it."""
    shape, view = row.get("aspect_w_h"), row.get("view") or ""
    stated = Stated(aspect=float(shape) if shape else None, view=view if view in ("PA", "AP") else "")
    return wrap_file(data / folder / row["image"], target, stated)


def films(data: Path, folder: str, into: Path, *, most: int = 1, **wanted: str) -> list[Path]:
    """Write the first films whose row has these values, below `into`; give their paths."""
    into.mkdir(parents=True, exist_ok=True)
    rows = [row for row in rows_of(data, folder) if all(row.get(key) == value for key, value in wanted.items())]
    return [film(data, folder, row, into / f"{folder}-{Path(row['image']).stem}.dcm") for row in rows[:most]]
