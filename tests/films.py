"""Real radiographs of the shared folder, which are plain pictures, as DICOM objects that the line takes."""

from __future__ import annotations

import csv
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from cxrnode.phantom.wrap import Stated, read_plain, wrap_file, wrapped
from cxrnode.training.catalogue import read_catalogue
from cxrnode.training.example import Example, read_mask

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Films that are looked at together: how many, and which of the test part belong."""

    name: str
    most: int
    belongs: Callable[[Example], bool]


def _of(source: str, **classes: str) -> Callable[[Example], bool]:
    return lambda one: one.source == source and all(one.classes.get(key) == value for key, value in classes.items())


def _drawn(source: str, least: float, most: float) -> Callable[[Example], bool]:
    """A pneumothorax that covers this share of the film; 0 to 0 is a film that was looked at and has none."""

    def belongs(one: Example) -> bool:
        if one.source != source:
            return False
        if not one.masks["pneumothorax"]:
            return most == 0
        return least <= float(read_mask(one, "pneumothorax").mean()) < most

    return belongs


LOOKED_AT = (
    Group(name="jsrt-normal", most=1, belongs=_of("jsrt", pattern="normal")),
    Group(name="jsrt-nodule", most=1, belongs=lambda one: one.source == "jsrt" and not one.classes),
    Group(name="shenzhen-normal", most=1, belongs=_of("shenzhen", pattern="normal")),
    Group(name="shenzhen-tuberculosis", most=1, belongs=lambda one: one.source == "shenzhen" and not one.classes),
    Group(name="v7labs-covid", most=2, belongs=_of("covid_v7labs")),
    Group(name="genblock-covid", most=1, belongs=_of("covid_genblock")),
    Group(name="children-viral", most=1, belongs=_of("viral_pneumonia")),
    Group(name="nih-opacity", most=3, belongs=_of("nih", rsna="lung_opacity")),
    Group(name="nih-not-normal", most=2, belongs=_of("nih", rsna="not_normal")),
    Group(name="nih-normal", most=2, belongs=_of("nih", rsna="normal")),
    Group(name="nih-chestxdet", most=1, belongs=lambda one: any(b.drawn_by == "chestxdet" for b in one.boxes or ())),
    Group(name="siim-large", most=2, belongs=_drawn("pneumothorax_whole_film", 0.03, 1)),
    Group(name="siim-small", most=2, belongs=_drawn("pneumothorax_whole_film", 0, 0.03)),
    Group(name="siim-none", most=1, belongs=_drawn("pneumothorax_whole_film", 0, 0)),
    Group(name="crop-pneumothorax", most=2, belongs=_drawn("pneumothorax_crop_from_a_figure", 0, 1)),
    Group(name="crop-none", most=1, belongs=_drawn("pneumothorax_crop_from_a_figure", 0, 0)),
    Group(name="radiography-covid", most=2, belongs=_of("covid_radiography", pattern="covid19")),
    Group(name="radiography-normal", most=2, belongs=_of("covid_radiography", pattern="normal")),
    Group(name="kermany-bacterial", most=1, belongs=_of("kermany", pattern="lung_opacity")),
    Group(name="kermany-viral", most=1, belongs=_of("kermany", pattern="viral_pneumonia")),
    Group(name="kermany-normal", most=1, belongs=_of("kermany", pattern="normal")),
    Group(name="cohen-covid", most=1, belongs=_of("cohen", pattern="covid19")),
    Group(name="cohen-other", most=1, belongs=_of("cohen", pattern="lung_opacity")),
)
"""The groups of docs/looked-at.md."""

DICOM_LOOKED_AT = (
    "RG1_J2KI.dcm",
    "CR-MONO1-10-chest.dcm",
    "1.2.276.0.7230010.3.1.4.8323329.6904.1517875201.850819.dcm",
    "RG2_J2KR.dcm",
    "RG3_J2KI.dcm",
    "CR-ModalitySequenceLUT.dcm",
    "dx_image.dcm",
)
"""Three chests; a hip, a leg, teeth, an animal."""

LEAST = 256
"""Rows and columns below which the line refuses a film."""


def spread(examples: Sequence[Example], most: int) -> list[Example]:
    """Choose by name alone: the middle one of each of `most` equal runs of the sorted names."""
    ordered = sorted(examples, key=lambda one: one.name)
    return [ordered[(2 * number + 1) * len(ordered) // (2 * most)] for number in range(min(most, len(ordered)))]


def _enlarged(source: Path, target: Path, stated: Stated) -> Path:
    """Write a picture as a CR; the small copies of some sources twice as large, or the line refuses their size."""
    picture = read_plain(source)
    times = 2 if min(picture.shape) < LEAST else 1
    wide = (picture.shape[1] * times, picture.shape[0] * times)
    target.write_bytes(wrapped(np.asarray(Image.fromarray(picture).resize(wide, Image.Resampling.BICUBIC)), stated))
    return target


def looked_at(data: Path, into: Path) -> list[Path]:
    """Write the films of docs/looked-at.md: of each group of the test part what `spread` gives, then the DICOM."""
    into.mkdir(parents=True, exist_ok=True)
    tested = [example for example in read_catalogue(data) if example.part == "test"]
    written = []
    for group in LOOKED_AT:
        for number, one in enumerate(spread([one for one in tested if group.belongs(one)], group.most), start=1):
            stated = Stated(aspect=one.true_aspect, view=one.view if one.view in ("PA", "AP") else "")
            written.append(_enlarged(one.image, into / f"{group.name}-{number}.dcm", stated))
            print(written[-1].name, one.name, sep="\t")
    return written + [Path(shutil.copy(data / "dicom" / name, into / name)) for name in DICOM_LOOKED_AT]


if __name__ == "__main__":
    looked_at(Path(sys.argv[1]), Path(sys.argv[2]))
