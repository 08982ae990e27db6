"""Orientation: the side is the patient's side, and the way back is exact."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from pydicom.dataset import Dataset

from cxrnode.phantom import Radiograph, View, render
from cxrnode.pixels.orientation import Orientation, from_header

EIGHT = [f"{a}\\{b}" for a, b in (*product("LR", "FH"), *product("FH", "LR"))]


def stated(*values: str) -> Orientation:
    header = Dataset()
    header.PatientOrientation = list(values)
    return from_header(header)


@pytest.mark.parametrize("text", EIGHT)
def test_every_arrangement_is_brought_to_the_same_picture(text: str) -> None:
    """The phantom stored in each of the eight ways is, oriented, the same patient the same way round."""
    upright = render(Radiograph(rows=128, cols=128, modality="CR")).truth
    phantom = render(Radiograph(rows=128, cols=128, modality="CR", orientation=text))
    orientation = from_header(phantom.dataset)
    assert not orientation.assumed
    assert orientation.frontal
    for name in ("display", "right_lung", "left_lung", "heart"):
        assert np.array_equal(orientation.apply(getattr(phantom.truth, name)), getattr(upright, name))


@pytest.mark.parametrize("text", EIGHT)
def test_undo_brings_masks_of_any_shape_back_exactly(text: str) -> None:
    """apply then undo is the identity, on the last two axes, for pictures that are not square."""
    orientation = stated(*text.split("\\"))
    stack = np.arange(2 * 3 * 5).reshape(2, 3, 5)
    assert np.array_equal(orientation.undo(orientation.apply(stack)), stack)
    there = orientation.apply(stack)
    assert np.array_equal(orientation.apply(orientation.undo(there)), there)


@pytest.mark.parametrize("text", EIGHT)
def test_points_go_where_their_pixels_go(text: str) -> None:
    """The centre of each pixel, oriented and undone, is the centre of that pixel in the stored picture."""
    orientation = stated(*text.split("\\"))
    shape = (3, 5)
    number = np.arange(15).reshape(shape)
    oriented = orientation.apply(number)
    rows, cols = (axis.ravel() for axis in np.indices(oriented.shape))
    back = orientation.undo_points(np.stack([cols + 0.5, rows + 0.5], axis=1), shape)
    found = number[(back[:, 1] - 0.5).astype(int), (back[:, 0] - 0.5).astype(int)]
    assert np.array_equal(found, oriented.ravel())
    again = orientation.apply_points(back, shape)
    assert np.array_equal(again, np.stack([cols + 0.5, rows + 0.5], axis=1))


def test_corners_of_the_picture_stay_corners() -> None:
    """Coordinates are corner based: the far corner is (cols, rows), not one less."""
    assert stated("R", "F").undo_points([(0.0, 0.0)], (10, 20)).tolist() == [[20.0, 0.0]]
    assert stated("F", "L").undo_points([(20.0, 10.0)], (20, 10)).tolist() == [[10.0, 20.0]]
    assert stated("H", "R").undo_points([(20.0, 10.0)], (20, 10)).tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize(
    ("values", "same_as"),
    [(("LF", "FR"), ("L", "F")), (("RH", "FL"), ("R", "F")), (("l", "f"), ("L", "F")), ((" L ", "F "), ("L", "F"))],
)
def test_principal_letter_of_a_compound_direction_decides(values: tuple[str, str], same_as: tuple[str, str]) -> None:
    """A slightly rotated film says LF\\FR: mostly to the left, mostly to the feet."""
    assert stated(*values) == stated(*same_as)


@pytest.mark.parametrize("values", [(), ("",), ("L",), ("L", ""), ("L", "R"), ("F", "F"), ("X", "F"), ("L", "F", "A")])
def test_what_cannot_be_is_assumed_to_be_upright(values: tuple[str, ...]) -> None:
    """Missing or senseless means L\\F, and says that it is an assumption."""
    assert stated(*values) == Orientation(assumed=True)


def test_missing_attribute_is_assumed_to_be_upright() -> None:
    """CR often states no orientation."""
    assert from_header(Dataset()) == Orientation(assumed=True)


@pytest.mark.parametrize("values", [("A", "F"), ("P", "F"), ("L", "A"), ("AL", "F")])
def test_sagittal_and_axial_directions_are_not_frontal(values: tuple[str, str]) -> None:
    """A lateral says so, and is left as it lies."""
    orientation = stated(*values)
    assert not orientation.frontal
    picture = np.arange(6).reshape(2, 3)
    assert np.array_equal(orientation.apply(picture), picture)


def test_lateral_phantom_is_not_frontal() -> None:
    """The phantom's lateral states P\\F."""
    assert not from_header(render(Radiograph(rows=64, cols=64, view=View.LATERAL)).dataset).frontal
