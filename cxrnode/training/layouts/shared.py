"""Hides the layout of a folder of films gathered from several sets: one sub-folder a purpose, each with an index.csv.

Promises the examples of `lungs`, `opacity`, `pneumothorax` and `classification`, whichever of them there are. The
columns are those of the indexes themselves; paths are relative to the sub-folder. `--data` may name a sub-folder too.
A lung mask has 1 for the patient's right lung (the picture's left) and 2 for the left; a heart has 255, and one that is
missing is unlabelled, not absent. Boxes are given in 1024 pixels and a scale.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from cxrnode.training.example import Example, MaskAt, TrueBox, part_of
from cxrnode.training.layouts.files import OWN_INDEX, Row, columns_of, rows_of, whole_years

PATTERNS = {
    "COVID": "covid19",
    "COVID-19": "covid19",
    "Normal": "normal",
    "Viral_Pneumonia": "viral_pneumonia",
    "Bacterial_Pneumonia": "lung_opacity",
    "Other_pneumonia": "lung_opacity",
    "normal": "normal",
    "no_nodule": "normal",
}
RSNA = {
    "Lung Opacity": "lung_opacity",
    "No Lung Opacity / Not Normal": "not_normal",
    "Normal": "normal",
}
PURPOSES = {
    "pneumothorax": {"image", "mask", "positive"},
    "lungs": {"image", "mask", "source"},
    "opacity": {"image", "rsna_class", "scale"},
    "classification": {"image", "label", "source"},
}
"""The sub-folders, and the columns that their indexes have."""


def read(folder: Path) -> Iterator[Example]:
    """List the examples of every sub-folder that is there, or of the folder itself where it has an index."""
    for name in (".", *PURPOSES):
        yield from _listed(folder / name)


def found(folder: Path) -> bool:
    """Say whether the folder has this layout, or is one of its sub-folders."""
    return any(_purpose(folder / name) for name in (".", *PURPOSES))


def _listed(folder: Path) -> Iterator[Example]:
    make = {"lungs": _lungs, "opacity": _opacity, "pneumothorax": _pneumothorax, "classification": _classified}
    if purpose := _purpose(folder):
        yield from (make[purpose](folder, row) for row in rows_of(folder / OWN_INDEX))


def _purpose(folder: Path) -> str:
    """Tell what a folder is for by its columns: a site may call it as it likes."""
    index = folder / OWN_INDEX
    columns = {*columns_of(index)} if index.is_file() else set()
    return next((purpose for purpose, wanted in PURPOSES.items() if wanted <= columns), "")


def _lungs(root: Path, row: Row) -> Example:
    # Without a patient id a film stands for itself: the split is still fixed, but may part one patient's films.
    patient = row.get("patient_id") or row["image"]
    mask = root / row["mask"]
    masks = {"right_lung": (MaskAt(path=mask, value=1),), "left_lung": (MaskAt(path=mask, value=2),)}
    if row.get("heart"):
        masks["heart"] = (MaskAt(path=root / row["heart"]),)
    pattern = PATTERNS.get(row.get("label") or "")
    return Example(
        name=Path(row["image"]).stem,
        source=row["source"],
        patient=patient,
        part=part_of(patient),
        image=root / row["image"],
        true_aspect=float(row["aspect_w_h"]) if row.get("aspect_w_h") else None,
        view=row.get("view") or "",
        flag=row.get("flag") or "",
        licence=row.get("licence") or "",
        masks=masks,
        classes={"pattern": pattern} if pattern else {},
    )


def _opacity(root: Path, row: Row) -> Example:
    rsna = RSNA.get(row["rsna_class"])
    pattern = {"lung_opacity": "lung_opacity", "normal": "normal"}.get(rsna or "")
    classes = {"rsna": rsna} if rsna else {}
    return Example(
        name=Path(row["image"]).stem,
        source="nih",
        patient="nih-" + row["patient_id"],
        part=part_of("nih-" + row["patient_id"]),
        image=root / row["image"],
        view=row.get("view", ""),
        age=whole_years(row.get("age", "")),
        sex=row.get("sex", ""),
        classes={**classes, "pattern": pattern} if pattern else classes,
        labels={f"nih.{label}": True for label in row["nih_labels"].split("|") if label},
        boxes=_boxes(row),
    )


def _boxes(row: Row) -> tuple[TrueBox, ...] | None:
    """Give the boxes of all who drew some; None where nobody looked."""
    scale = float(row["scale"])
    if not (row["rsna_boxes_xywh_1024"] or row["chestxdet_syms"] or json.loads(row["nih_bbox_xywh_1024"] or "[]")):
        return None
    drawn = [
        ("lung_opacity", "rsna", x, y, x + w, y + h) for x, y, w, h in json.loads(row["rsna_boxes_xywh_1024"] or "[]")
    ]
    drawn += [(label, "nih", x, y, x + w, y + h) for label, x, y, w, h in json.loads(row["nih_bbox_xywh_1024"] or "[]")]
    syms, boxes = json.loads(row["chestxdet_syms"] or "[]"), json.loads(row["chestxdet_boxes_xyxy_1024"] or "[]")
    drawn += [(label, "chestxdet", *box) for label, box in zip(syms, boxes, strict=True)]
    return tuple(
        TrueBox(label=label, drawn_by=by, left=x * scale, top=y * scale, right=x1 * scale, bottom=y1 * scale)
        for label, by, x, y, x1, y1 in drawn
    )


def _pneumothorax(root: Path, row: Row) -> Example:
    name = Path(row["image"]).stem
    patient = row.get("patient_hint") or name
    positive = row["positive"] == "1"
    return Example(
        name=name,
        source="pneumothorax_" + row["kind"].replace(" ", "_"),
        patient=patient,
        part=part_of(patient),
        image=root / row["image"],
        view=row.get("view", ""),
        age=whole_years(row.get("age", "")),
        sex=row.get("sex", ""),
        flag=row.get("note", ""),
        masks={"pneumothorax": (MaskAt(path=root / row["mask"]),) if positive else ()},
    )


def _classified(root: Path, row: Row) -> Example:
    source = row["source"].partition(" ")[0]
    patient = row.get("patient_id") or row["image"]
    pattern = PATTERNS.get(row["label"])
    return Example(
        name=Path(row["image"]).stem,
        source=source,
        patient=patient,
        part=part_of(patient),
        image=root / row["image"],
        view=row.get("view", ""),
        flag="squashed" if "squashed" in row["source"] else "",
        licence=row.get("licence", ""),
        classes={"pattern": pattern} if pattern else {},
    )
