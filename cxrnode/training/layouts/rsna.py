"""Hides the layout of the RSNA Pneumonia Detection Challenge.

Promises each film's class and boxes, in the file's own pixels, and its patient in the NIH's own numbering where
RSNA's table of names lies beside it: without that, films of one patient may be parted, for RSNA calls every film a
patient.

`stage_2_train_images/ID.dcm`, `stage_2_train_labels.csv` (patientId, x, y, width, height, Target; a row a box),
`stage_2_detailed_class_info.csv` (patientId, class), and from RSNA's own page
`pneumonia-challenge-dataset-mappings_2018.json` (subset_img_id, img_id). Boxes are in 1024 pixels.

Shih G et al. Augmenting the National Institutes of Health chest radiograph dataset with expert annotations of possible
pneumonia. Radiology: Artificial Intelligence 2019;1:e180041.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from cxrnode.training.example import Example, TrueBox, part_of, shape_of_file
from cxrnode.training.layouts.files import DICOM, PICTURES, Row, by_stem, header_of, rows_of

LABELS, CLASSES, NAMES = "stage_2_train_labels.csv", "stage_2_detailed_class_info.csv", "*mappings_2018.json"
SIDE = 1024
RSNA = {
    "Lung Opacity": "lung_opacity",
    "No Lung Opacity / Not Normal": "not_normal",
    "Normal": "normal",
}


def found(folder: Path) -> bool:
    """Say whether the folder has this layout."""
    return (folder / LABELS).is_file()


def read(folder: Path) -> Iterator[Example]:
    """List the films of the table that are there."""
    boxes: dict[str, list[Row]] = defaultdict(list)
    for row in rows_of(folder / LABELS):
        boxes[row["patientId"]] += [row] if row["Target"] == "1" else []
    table = folder / CLASSES
    classes = {row["patientId"]: RSNA.get(row["class"], "") for row in rows_of(table)} if table.is_file() else {}
    names = _nih_names(folder)
    films = by_stem(folder, PICTURES | {DICOM})
    for name, drawn in sorted(boxes.items()):
        if name in films:
            yield _example(films[name], drawn, classes.get(name, ""), names.get(name, ""))


def _nih_names(folder: Path) -> dict[str, str]:
    return {
        entry["subset_img_id"]: entry["img_id"]
        for table in sorted(folder.glob(NAMES))
        for entry in json.loads(table.read_text(encoding="utf-8"))
    }


def _example(film: Path, drawn: list[Row], answer: str, nih_name: str) -> Example:
    header = header_of(film)
    patient = f"nih-{nih_name.partition('_')[0]}" if nih_name else f"rsna-{film.stem}"
    pattern = {"lung_opacity": "lung_opacity", "normal": "normal"}.get(answer)
    return Example(
        name=film.stem,
        source="rsna",
        patient=patient,
        part=part_of(patient),
        image=film,
        view=header.view,
        age=header.age,
        sex=header.sex,
        classes={**({"rsna": answer} if answer else {}), **({"pattern": pattern} if pattern else {})},
        boxes=_boxes(drawn, 1.0 if film.suffix.lower() == DICOM or not drawn else shape_of_file(film)[1] / SIDE),
    )


def _boxes(drawn: list[Row], scale: float) -> tuple[TrueBox, ...]:
    sides = [[float(row[name]) * scale for name in ("x", "y", "width", "height")] for row in drawn]
    return tuple(
        TrueBox(label="lung_opacity", drawn_by="rsna", left=x, top=y, right=x + width, bottom=y + height)
        for x, y, width, height in sides
    )
