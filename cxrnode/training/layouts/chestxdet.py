"""Hides the layout of ChestX-Det.

Promises the boxes of thirteen findings, drawn by radiologists on NIH films, and the outline of every pneumothorax. A
film without an entry of a finding was looked at and has none.

`ChestX_Det_train.json` and `ChestX_Det_test.json` (file_name, syms, boxes, polygons), the films below `train_data` and
`test_data` or any other folder beside them. Boxes are left, top, right, bottom.

Lian J et al. A structure-aware relation network for thoracic diseases detection and segmentation. IEEE Transactions on
Medical Imaging 2021;40:2042-2052. Liu J, Lian J, Yu Y. ChestX-Det10. arXiv:2006.10550.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cxrnode.training.example import Example, MaskPolygon, TrueBox, part_of, shape_of_file
from cxrnode.training.layouts.files import PICTURES, by_stem

SIDE = 1024
TABLES = ("ChestX_Det_train.json", "ChestX_Det_test.json")
_NIH = re.compile(r"^(\d{8})_\d{3}$")


def found(folder: Path) -> bool:
    """Say whether the folder has this layout."""
    return any((folder / name).is_file() for name in TABLES)


def read(folder: Path) -> Iterator[Example]:
    """List the films of both tables that are there."""
    films = by_stem(folder, PICTURES)
    for name in TABLES:
        if (folder / name).is_file():
            entries = json.loads((folder / name).read_text(encoding="utf-8"))
            yield from (_example(films[stem], entry) for entry in entries if (stem := _stem(entry)) in films)


def _stem(entry: dict[str, Any]) -> str:
    return Path(entry["file_name"]).stem


def _example(film: Path, entry: dict[str, Any]) -> Example:
    nih = _NIH.match(film.stem)
    patient = f"nih-{nih.group(1)}" if nih else f"chestxdet-{film.stem}"
    rows, cols = shape_of_file(film)
    return Example(
        name=film.stem,
        source="chestxdet",
        patient=patient,
        part=part_of(patient),
        image=film,
        masks={"pneumothorax": tuple(_outlines(entry, cols / SIDE, rows, cols))},
        boxes=tuple(_box(label, box, cols / SIDE) for label, box in zip(entry["syms"], entry["boxes"], strict=True)),
    )


def _box(label: str, box: list[float], scale: float) -> TrueBox:
    left, top, right, bottom = (float(side) * scale for side in box)
    return TrueBox(label=label, drawn_by="chestxdet", left=left, top=top, right=right, bottom=bottom)


def _outlines(entry: dict[str, Any], scale: float, rows: int, cols: int) -> Iterator[MaskPolygon]:
    for label, outline in zip(entry["syms"], entry.get("polygons", []), strict=False):
        if label == "Pneumothorax":
            corners = tuple((float(x) * scale, float(y) * scale) for x, y in outline)
            yield MaskPolygon(corners=corners, rows=rows, cols=cols)
