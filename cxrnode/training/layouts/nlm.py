"""Hides the layouts of the NLM's two tuberculosis sets, of Montgomery County and of Shenzhen.

Promises the lungs by the patient's own sides, age and sex where the readings state them, and which films were read as
normal. Montgomery's masks are one file a lung (`ManualMask/leftMask`, `ManualMask/rightMask`; which of them lies where
is looked up); Shenzhen's, drawn by others, hold both lungs (`CHNCXR_0001_0_mask.png`) and are cut in two.

`CXR_png/MCUCXR_0001_0.png` or `CXR_png/CHNCXR_0001_0.png` (the last digit is 1 for tuberculosis) and
`ClinicalReadings/MCUCXR_0001_0.txt`; masks in `mask` or `masks`, beside `CXR_png` or anywhere below the folder.
Kaggle's collection of both has Montgomery's two masks in one file of the film's name.

Jaeger S et al. Two public chest X-ray datasets for computer-aided screening of pulmonary diseases. Quantitative Imaging
in Medicine and Surgery 2014;4:475-477. Stirenko S et al. Chest X-ray analysis of tuberculosis by deep learning with
segmentation and augmentation. IEEE ELNANO 2018:422-428.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from cxrnode.training.example import AnyMask, Example, MaskAt, MaskSide, part_of
from cxrnode.training.layouts.files import PICTURES, by_stem, walk, whole_years
from cxrnode.training.layouts.sides import by_side

_FILM = re.compile(r"^(MCU|CHN)CXR_(\d{4})_([01])$")
SOURCES = {"MCU": "montgomery", "CHN": "shenzhen"}
_AGE = re.compile(r"(\d{1,3})\s*Y", re.IGNORECASE)
_MASKS = ("mask", "masks", "leftMask", "rightMask")


def found(folder: Path) -> bool:
    """Say whether the folder has one of these layouts."""
    return any(
        _FILM.match(path.stem) for inner in ("CXR_png", "*/CXR_png") for path in folder.glob(f"{inner}/*CXR_*.png")
    )


def read(folder: Path) -> Iterator[Example]:
    """List the films of every CXR_png."""
    files = list(walk(folder, PICTURES))
    left, right = ({p.stem: p for p in files if p.parent.name == name} for name in ("leftMask", "rightMask"))
    sides = by_side(left, right)
    both = {p.stem.removesuffix("_mask"): p for p in files if p.parent.name in ("mask", "masks")}
    readings = by_stem(folder, frozenset({".txt"}))
    for film in files:
        if film.parent.name == "CXR_png" and _FILM.match(film.stem):
            yield _example(film, _masks(film.stem, sides, both), readings.get(film.stem))


def _masks(
    name: str, sides: tuple[Mapping[str, Path], Mapping[str, Path]], both: Mapping[str, Path]
) -> dict[str, tuple[AnyMask, ...]]:
    if name in sides[0] and name in sides[1]:
        return {"right_lung": (MaskAt(path=sides[0][name]),), "left_lung": (MaskAt(path=sides[1][name]),)}
    if name in both:
        return {
            "lungs": (MaskAt(path=both[name]),),
            "right_lung": (MaskSide(path=both[name], side="right"),),
            "left_lung": (MaskSide(path=both[name], side="left"),),
        }
    return {}


def _example(film: Path, masks: dict[str, tuple[AnyMask, ...]], reading: Path | None) -> Example:
    where, number, ill = _FILM.fullmatch(film.stem).groups()  # type: ignore[union-attr]
    text = reading.read_text(encoding="utf-8", errors="replace") if reading else ""
    age = _AGE.search(text)
    patient = f"{where}-{number}"
    return Example(
        name=film.stem,
        source=SOURCES[where],
        patient=patient,
        part=part_of(patient),
        image=film,
        view="PA",
        age=whole_years(age.group(1)) if age else None,
        sex=_sex(text),
        masks=masks,
        classes={"pattern": "normal"} if ill == "0" else {},
    )


def _sex(text: str) -> str:
    """Read "male 45yrs", as Shenzhen's readings begin, or "Patient's Sex: F", as Montgomery's do."""
    words = re.findall(r"[A-Za-z]+", text.lower().replace("patient's", ""))
    first = next((word for word in words if word in ("male", "female", "m", "f")), "")
    return first[:1].upper()
