"""Hides how the public lung radiographs are laid out on disk, and which of them may be learnt from.

Promises a split by patient that never changes: it is a hash of the patient's id, so a new file moves nobody, and a
patient in the test part is in no other part.

A data folder holds `lungs/index.csv` with the columns image, mask, heart, source, patient_id, aspect_w_h, flag; the
paths are relative to `lungs/`. A mask has 1 for the patient's right lung (the picture's left) and 2 for the left; a
heart has 255. A missing heart is unlabelled, not absent.
"""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cxrnode.errors import NeedsOperator

Part = Literal["train", "validate", "test"]

CHANNELS = ("right_lung", "left_lung", "heart")
LEFT_OUT = {
    "covid_v7labs": "the lung's outline includes the heart's shadow: another convention",
    "covid_genblock": "the lung's outline includes the heart's shadow: another convention",
    "viral_pneumonia": "children, and masks drawn by a machine",
    "nih_physician": "two films of uncertain terms",
}
"""Sources of the public folder that are not learnt from, and why. A site's own sources are all used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One radiograph and where its truth lies."""

    name: str
    source: str
    patient: str
    part: Part
    image: Path
    mask: Path
    heart: Path | None
    true_aspect: float | None
    flag: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Film:
    """One radiograph read: `image` (rows, cols) 0..1, `truth` (3, rows, cols) bool in the order of CHANNELS.

    `labelled` (3,) says which channels somebody drew; `pixel_aspect` is a pixel's height over its width.
    """

    image: NDArray[np.float32]
    truth: NDArray[np.bool_]
    labelled: NDArray[np.bool_]
    pixel_aspect: float


def part_of(patient: str) -> Part:
    """Assign a patient to a part, for good: a fifth to test, a tenth to validation, the rest to training."""
    share = int.from_bytes(hashlib.sha256(f"cxrnode {patient}".encode()).digest()[:8], "big") / 2**64
    if share < 0.2:
        return "test"
    return "validate" if share < 0.3 else "train"


def read_catalogue(data: Path) -> tuple[Example, ...]:
    """List the examples that may be learnt from or tested on. Raises NeedsOperator where the folder is not one."""
    root = data / "lungs" if (data / "lungs").is_dir() else data
    index = root / "index.csv"
    if not index.is_file():
        raise NeedsOperator(
            "there is no lungs/index.csv in the data folder",
            operation="read catalogue",
            subject=str(data),
            hint="docs/operations.md, Training a model",
        )
    with index.open(newline="", encoding="utf-8") as lines:
        rows = [row for row in csv.DictReader(lines) if row["source"] not in LEFT_OUT]
    return tuple(_example(root, row) for row in rows)


def _example(root: Path, row: dict[str, str]) -> Example:
    # Without a patient id a film stands for itself: the split is still fixed, but may part one patient's films.
    patient = row.get("patient_id") or row["image"]
    return Example(
        name=Path(row["image"]).stem,
        source=row["source"],
        patient=patient,
        part=part_of(patient),
        image=root / row["image"],
        mask=root / row["mask"],
        heart=root / row["heart"] if row.get("heart") else None,
        true_aspect=float(row["aspect_w_h"]) if row.get("aspect_w_h") else None,
        flag=row.get("flag") or "",
    )


def read_film(example: Example) -> Film:
    """Read an example's picture and truth. Raises NeedsOperator where their sizes differ."""
    image = _gray(example.image)
    mask = _gray(example.mask)
    heart = np.zeros_like(mask) if example.heart is None else _gray(example.heart)
    if not image.shape == mask.shape == heart.shape:
        raise NeedsOperator("picture and mask differ in size", operation="read film", subject=example.name)
    rows, cols = image.shape
    aspect = cols / rows if example.true_aspect is None else example.true_aspect
    return Film(
        image=image.astype(np.float32) / 255.0,
        truth=np.stack([mask == 1, mask == 2, heart > 127]),
        labelled=np.array([True, True, example.heart is not None]),
        pixel_aspect=cols / rows / aspect,
    )


def _gray(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("L"), dtype=np.uint8)
