"""The side is the patient's side: the same patient stored in every direction, through the whole replay."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray

from cxrnode.phantom import Phantom, Radiograph, write
from tests.replaying import replay, rows

DIRECTIONS = {
    "usual": "L\\F",
    "mirrored": "R\\F",
    "upside-down": "L\\H",
    "half-turned": "R\\H",
    "quarter-turned": "F\\L",
    "quarter-turned-back": "H\\R",
    "missing": "",
}
LATERALITY = {"Right lung": "Right", "Left lung": "Left"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Back:
    """What came back for one direction."""

    phantom: Phantom
    masks: dict[str, NDArray[np.bool_]]
    laterality: dict[str, str]
    row: dict[str, str]


@pytest.fixture(scope="module")
def back(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Back]:
    """One replay with the real model over the same patient in every direction."""
    folder = tmp_path_factory.mktemp("sides")
    (folder / "source").mkdir()
    # Not square, so that rows and columns cannot be taken for each other.
    phantoms = {
        name: write(
            Radiograph(
                modality="CR",
                orientation=stated,
                **({"rows": 512, "cols": 448} if "quarter" not in name else {"rows": 448, "cols": 512}),
            ),
            folder / "source" / f"{name}.dcm",
        )
        for name, stated in DIRECTIONS.items()
    }
    replay([folder / "source"], folder / "out")
    table = rows(folder / "out")
    return {name: _back(phantom, table[f"{name}.dcm"], folder / "out") for name, phantom in phantoms.items()}


def _back(phantom: Phantom, row: dict[str, str], out: Path) -> Back:
    segmentation = pydicom.dcmread(out / row["segmentations"])
    planes = segmentation.pixel_array.astype(bool)
    frames = segmentation.PerFrameFunctionalGroupsSequence
    labels = {one.SegmentNumber: one.SegmentLabel for one in segmentation.SegmentSequence}
    numbers = [frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber for frame in frames]
    sides = {}
    for one in segmentation.SegmentSequence:
        modifiers = one.SegmentedPropertyTypeCodeSequence[0].get("SegmentedPropertyTypeModifierCodeSequence")
        sides[one.SegmentLabel] = modifiers[0].CodeMeaning if modifiers else ""
    masks = {labels[number]: plane for number, plane in zip(numbers, planes, strict=True)}
    return Back(phantom=phantom, masks=masks, laterality=sides, row=row)


def _dice(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


@pytest.mark.parametrize("name", DIRECTIONS)
def test_each_lung_is_the_patient_s_own(back: dict[str, Back], name: str) -> None:
    """SEG masks lie on the source's stored rows and columns, over the lung of the side that their code names."""
    one = back[name]
    truth = one.phantom.truth
    assert _dice(one.masks["Right lung"], truth.right_lung) > 0.85
    assert _dice(one.masks["Left lung"], truth.left_lung) > 0.85
    assert _dice(one.masks["Right lung"], truth.left_lung) < 0.1
    assert {label: one.laterality[label] for label in LATERALITY} == LATERALITY
    assert one.laterality["Heart"] == ""


@pytest.mark.parametrize("name", DIRECTIONS)
def test_the_ratio_does_not_depend_on_how_the_film_is_stored(back: dict[str, Back], name: str) -> None:
    """The same patient has the same cardiothoracic ratio in every direction, near the true one."""
    ratio = float(back[name].row["cardiothoracic_ratio"])
    assert ratio == pytest.approx(float(back["usual"].row["cardiothoracic_ratio"]), abs=1e-4)
    assert ratio == pytest.approx(back[name].phantom.truth.cardiothoracic_ratio, abs=0.06)
    assert back[name].row["right_lung.area"] == back["usual"].row["right_lung.area"]


def test_only_the_film_that_states_no_orientation_says_what_was_assumed(back: dict[str, Back]) -> None:
    """The caveat stands where the side rests on a convention."""
    said = {name for name, one in back.items() if "orientation is not stated" in one.row["caveats"]}
    assert said == {"missing"}
