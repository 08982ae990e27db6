"""Measurements on shapes whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from cxrnode.domain.measurement import Mask, cleaned, heart_diameter, measure_chest, thorax_diameter


def block(top: int, left: int, bottom: int, right: int, shape: tuple[int, int] = (100, 120)) -> Mask:
    mask = np.zeros(shape, dtype=bool)
    mask[top:bottom, left:right] = True
    return mask


RIGHT, LEFT, HEART = block(20, 10, 80, 50), block(20, 70, 80, 110), block(50, 40, 78, 85)


def test_cardiothoracic_ratio_is_heart_width_over_thorax_width() -> None:
    """A heart of 45 columns in a thorax of 100 gives 0.45."""
    assert measure_chest(RIGHT, LEFT, HEART).cardiothoracic_ratio == pytest.approx(0.45)


def test_heart_diameter_joins_extremes_that_lie_in_different_rows() -> None:
    """The heart's right and left borders bulge at different heights; the diameter spans both."""
    heart = block(40, 50, 50, 70) | block(50, 45, 60, 65) | block(60, 55, 70, 90)
    line = heart_diameter(heart)
    assert line is not None
    assert (line.left, line.right, line.row) == (45.0, 90.0, (55.0 + 65.0) / 2)


def test_thorax_diameter_lies_on_the_row_where_the_lungs_are_widest_apart() -> None:
    """Borders that are far apart only in different rows do not make a diameter."""
    right = block(20, 20, 40, 50) | block(40, 10, 50, 50)
    left = block(20, 70, 40, 115) | block(40, 70, 50, 105)
    line = thorax_diameter(right, left)
    assert line is not None
    assert (line.row, line.left, line.right) == (20.5, 20.0, 115.0)


def test_areas_are_square_millimetres_with_spacing_and_shares_without() -> None:
    """Rows 0.2 mm apart and columns 0.1 mm apart make a pixel of 0.02 mm2."""
    calibrated = measure_chest(RIGHT, LEFT, HEART, spacing=(0.2, 0.1))
    bare = measure_chest(RIGHT, LEFT, HEART)
    assert calibrated.right_lung_area == pytest.approx(2400 * 0.02)
    assert bare.left_lung_area == pytest.approx(2400 / 12000)
    assert calibrated.calibrated
    assert not bare.calibrated


def test_asymmetry_is_positive_where_the_right_lung_is_larger() -> None:
    """A left lung of a third of the right one's area gives one half."""
    small = block(20, 70, 40, 110)
    assert measure_chest(RIGHT, small, HEART).asymmetry == pytest.approx(0.5)


def test_nothing_is_measured_from_what_was_not_found() -> None:
    """Without a heart there is no ratio, without a left lung no asymmetry and no thorax."""
    nothing = np.zeros_like(RIGHT)
    without_heart = measure_chest(RIGHT, LEFT, nothing)
    assert without_heart.cardiothoracic_ratio is None
    assert without_heart.thorax_diameter is not None
    without_lung = measure_chest(RIGHT, nothing, HEART)
    assert without_lung.asymmetry is without_lung.left_lung_area is without_lung.thorax_diameter is None


def test_lungs_that_lie_on_each_others_sides_make_no_thorax() -> None:
    """Masks given in the wrong order have no internal width."""
    assert thorax_diameter(block(20, 70, 80, 110), block(20, 10, 80, 50)) is None


def test_cleaning_drops_specks_keeps_large_parts_and_fills_holes() -> None:
    """A lung cut in two by a wire stays whole, a speck beside it goes, a hole closes."""
    lung = block(20, 10, 80, 50)
    lung[40] = False
    holed = lung.copy()
    holed[60:65, 20:25] = False
    assert np.array_equal(cleaned(holed | block(5, 100, 8, 103)), lung)


@pytest.mark.parametrize(("rows", "kept"), [(4, True), (3, False)])
def test_a_part_too_small_to_be_looked_at_goes_even_where_it_is_the_largest(rows: int, kept: bool) -> None:
    """Under 0.0002 of a picture of 200 by 100 pixels, which are 4 of them."""
    speck = block(50, 60, 50 + rows, 61, shape=(200, 100))
    assert cleaned(speck).any() == kept


@pytest.mark.parametrize(("gap", "kept"), [(20, True), (21, False)])
def test_a_part_of_what_is_in_one_place_lies_near_the_largest(gap: int, kept: bool) -> None:
    """Within a sixth of the long side, 20 of 120 pixels: air beside the arm is no lung. A finding may be anywhere."""
    lung, other = block(10, 10, 60, 40), block(20, 39 + gap, 60, 59 + gap)
    assert np.array_equal(cleaned(lung | other, in_one_place=True), lung | other if kept else lung)
    assert np.array_equal(cleaned(lung | other), lung | other)


def test_a_bay_that_reaches_the_border_is_no_hole() -> None:
    """Background that opens to the outside at the mask's bounding box stays background."""
    horseshoe = block(20, 10, 80, 50)
    horseshoe[20:60, 25:35] = False
    assert np.array_equal(cleaned(horseshoe), horseshoe)


def test_cleaning_an_empty_mask_gives_an_empty_mask() -> None:
    """Nothing found stays nothing."""
    assert not cleaned(np.zeros((10, 10), dtype=bool)).any()
