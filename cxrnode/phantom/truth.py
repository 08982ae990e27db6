"""What is to be seen of a specification: its picture in the arrangement of the stored pixels, and its truth.

Hides directions and borders. Promises that picture and masks go the same way, so that the truth stays the patient's
own sides whatever Patient Orientation says.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cxrnode.phantom.anatomy import Picture, Subject, draw
from cxrnode.phantom.radiograph import Corners, Defect, Radiograph, Truth, View


def _directions(spec: Radiograph) -> tuple[str, str] | None:
    """Where rows and columns run to, where the specification states two directions of its view's plane."""
    sides = "PA" if spec.view is View.LATERAL else "LR"
    letters = [value[:1] for value in spec.stated_orientation.split("\\")]
    if len(letters) != 2 or sorted(letter in sides for letter in letters) != [False, True]:
        return None
    return (letters[0], letters[1]) if {*letters} <= {*sides, "F", "H"} else None


def _turned(spec: Radiograph) -> bool:
    """Whether the rows of the stored picture run along the patient."""
    directions = _directions(spec)
    return directions is not None and directions[0] in "FH"


def arranged(plane: NDArray[Any], spec: Radiograph) -> NDArray[Any]:
    """A plane of the reference arrangement as it is stored under the specification's Patient Orientation.

    PS3.3 C.7.6.1.1.1: the first value names where the rows run to, the second where the columns run to. Directions
    that are not of the view's plane leave the plane as it is: such a statement is a lie or an empty one.
    """
    directions = _directions(spec)
    if directions is None:
        return plane
    backward = "AH" if spec.view is View.LATERAL else "RH"
    plane = plane.T if _turned(spec) else plane
    plane = plane[:, ::-1] if directions[0] in backward else plane
    return plane[::-1] if directions[1] in backward else plane


def _subject(spec: Radiograph) -> Subject:
    if spec.defect is Defect.HAND:
        return Subject.HAND
    return Subject.LATERAL if spec.view is View.LATERAL else Subject.FRONTAL


def _drawn(spec: Radiograph) -> Picture:
    """The picture in the arrangement of the stored pixels."""
    rows, cols = (spec.cols, spec.rows) if _turned(spec) else (spec.rows, spec.cols)
    picture = draw(_subject(spec), spec.seed, rows, cols, spec.marker, spec.lesions)
    planes = {name: np.ascontiguousarray(arranged(getattr(picture, name), spec)) for name in Picture.__slots__}
    return Picture(**planes)


def _border(shape: tuple[int, int], share: float) -> NDArray[np.bool_]:
    """True within `share` of each side."""
    mask = np.ones(shape, dtype=np.bool_)
    rows, cols = round(shape[0] * share), round(shape[1] * share)
    mask[rows : shape[0] - rows, cols : shape[1] - cols] = False
    return mask if share > 0 else np.zeros(shape, dtype=np.bool_)


def cardiothoracic_ratio(picture: Picture) -> float | None:
    """Widest heart over widest internal thorax (Danzer 1919), each measured across an upright patient."""
    lungs = picture.right_lung | picture.left_lung
    if not lungs.any() or not picture.heart.any():
        return None
    thorax = max(np.ptp(np.flatnonzero(row)) + 1 for row in lungs if row.any())
    return float((np.ptp(np.flatnonzero(picture.heart.any(axis=0))) + 1) / thorax)


def _boxes(numbered: NDArray[np.uint8]) -> tuple[Corners, ...]:
    """The box around each number from 1 on, in their order; one that something else hides has none."""
    found = [place for place in ndimage.find_objects(numbered) if place is not None]
    return tuple(
        Corners(left=float(cols.start), top=float(rows.start), right=float(cols.stop), bottom=float(rows.stop))
        for rows, cols in found
    )


def truth_of(spec: Radiograph) -> Truth:
    """The picture of a specification with its borders, and what is true of it."""
    picture = _drawn(spec)
    upright = Picture(**{name: getattr(picture, name).T for name in Picture.__slots__}) if _turned(spec) else picture
    padding = _border(picture.values.shape, spec.padding)
    display = np.where(_border(picture.values.shape, spec.collimation + spec.padding), 0.98, picture.values)
    display[padding] = 0
    return Truth(
        display=display.astype(np.float32),
        right_lung=picture.right_lung,
        left_lung=picture.left_lung,
        heart=picture.heart,
        padding=padding,
        cardiothoracic_ratio=cardiothoracic_ratio(upright),
        pneumothorax=picture.pneumothorax,
        opacities=_boxes(picture.opacities),
    )
