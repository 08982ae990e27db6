"""Hides the layout of Kermany's chest films of children (one to five years old, Guangzhou).

Promises each film's class (bacterial pneumonia counts as lung opacity) and its child, as far as the file's name tells.
The sets' own parts are not kept: they part children.

`chest_xray/{train,test,val}/{NORMAL,PNEUMONIA}/*.jpeg`: `IM-0115-0001`, `NORMAL2-IM-0828-0001`, `person1_virus_6`,
`person1_bacteria_1`; in the authors' own later version `NORMAL-1049278-0001`, `VIRUS-1049278-0001` and
`BACTERIA-1049278-0001`.

Kermany DS et al. Identifying medical diagnoses and treatable diseases by image-based deep learning. Cell
2018;172:1122-1131.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from cxrnode.training.example import Example, part_of
from cxrnode.training.layouts.files import PICTURES, walk

PARTS = ("train", "test", "val")
CLASSES = ("NORMAL", "PNEUMONIA")
_CHILD = re.compile(r"(person\d+|IM-\d+|\d{5,})", re.IGNORECASE)


def found(folder: Path) -> bool:
    """Say whether the folder has this layout."""
    return any(all((folder / part / name).is_dir() for name in CLASSES) for part in PARTS)


def read(folder: Path) -> Iterator[Example]:
    """List the films whose class the folder and the name tell."""
    for part in PARTS:
        for name in CLASSES:
            for film in walk(folder / part / name, PICTURES):
                if pattern := _pattern(film.stem, normal=name == "NORMAL"):
                    yield _example(film, pattern)


def _pattern(name: str, *, normal: bool) -> str:
    if normal:
        return "normal"
    return "viral_pneumonia" if "virus" in name.lower() else "lung_opacity" if "bacteria" in name.lower() else ""


def _example(film: Path, pattern: str) -> Example:
    child = _CHILD.search(film.stem)
    patient = f"kermany-{child.group(1) if child else film.stem}"
    return Example(
        name=film.stem,
        source="kermany",
        patient=patient,
        part=part_of(patient),
        image=film,
        view="AP",
        classes={"pattern": pattern},
    )
