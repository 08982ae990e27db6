"""From masks to statements, and pictures that are no frontal chest."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from cxrnode.domain.finding import ModelIdentity, ModelResult, Prediction
from cxrnode.domain.judgment import judge_image
from cxrnode.domain.selection import ImageFacts, View
from cxrnode.errors import Unsuitable
from cxrnode.pixels import orientation

LUNGS = ModelIdentity(name="lungs", version="1", digest="d", backend="cpu")
ROWS, COLS = 120, 100
FACTS = ImageFacts(rows=ROWS, columns=COLS, patient_orientation=("L", "F"), spacing=(2.0, 3.0))
Plane = NDArray[np.bool_]


def _plane(rows: tuple[int, int] = (0, 0), cols: tuple[int, int] = (0, 0)) -> Plane:
    plane = np.zeros((ROWS, COLS), dtype=bool)
    plane[slice(*rows), slice(*cols)] = True
    return plane


RIGHT, LEFT, HEART = _plane((20, 80), (10, 40)), _plane((20, 80), (60, 90)), _plane((60, 90), (38, 66))


def _judge(
    right: Plane = RIGHT, left: Plane = LEFT, heart: Plane = HEART, facts: ImageFacts = FACTS, view: View = View.PA
) -> ModelResult:
    stated = orientation.of(facts.patient_orientation)
    masks = tuple(
        (label, plane) for label, plane in zip(("right_lung", "left_lung", "heart"), (right, left, heart), strict=True)
    )
    (result,) = judge_image([Prediction(model=LUNGS, masks=masks)], facts, view, stated).results
    return result


def _values(result: ModelResult) -> dict[str, float]:
    return {f"{m.region}.{m.name}".strip("."): m.value for m in result.measurements}


def test_a_plain_chest_is_measured() -> None:
    """Heart 28 of 80 columns; areas in mm2 by both spacings; even lungs."""
    result = _judge()
    assert _values(result) == {
        "cardiothoracic_ratio": 0.35,
        "right_lung.area": 60 * 30 * 6.0,
        "left_lung.area": 60 * 30 * 6.0,
        "lung_asymmetry": 0.0,
    }
    assert [region.label for region in result.regions] == ["right_lung", "left_lung", "heart"]
    assert result.absent == ()


@pytest.mark.parametrize("stated", [("L", "F"), ("R", "F"), ("L", "H"), ("F", "L"), ("H", "R")])
def test_numbers_do_not_depend_on_how_the_film_lies_and_lines_are_on_the_stored_pixels(stated: tuple[str, str]) -> None:
    """The ratio's lines, drawn on the stored picture, end at the stored masks' borders."""
    turned = orientation.of(stated)
    stored = [np.ascontiguousarray(turned.undo(plane)) for plane in (RIGHT, LEFT, HEART)]
    rows, columns = stored[0].shape
    spacing = (2.0, 3.0) if stored[0].shape == (ROWS, COLS) else (3.0, 2.0)
    facts = replace(FACTS, rows=rows, columns=columns, patient_orientation=stated, spacing=spacing)
    result = _judge(*stored, facts=facts)
    assert _values(result) == _values(_judge())
    ratio = next(m for m in result.measurements if m.name == "cardiothoracic_ratio")
    (start, end), _ = ratio.lines
    spans = np.flatnonzero(stored[2].any(axis=0 if rows == ROWS else 1))
    along = 0 if rows == ROWS else 1
    assert sorted((start[along], end[along])) == [spans[0], spans[-1] + 1]


def test_without_spacing_areas_are_shares_of_the_picture() -> None:
    """In per cent, with the caveat."""
    result = _judge(facts=replace(FACTS, spacing=()))
    area = next(m for m in result.measurements if m.region == "right_lung")
    assert (area.value, area.unit, area.caveats) == (15.0, "%", ("not_calibrated",))


def test_the_ratio_of_an_ap_film_says_so() -> None:
    """And that of a PA film does not."""
    assert _judge(view=View.AP).measurements[0].caveats == ("ap_view",)
    assert _judge().measurements[0].caveats == ()


def test_a_structure_that_was_not_found_is_said_and_gives_no_number() -> None:
    """No heart, no ratio; no left lung, no ratio and no asymmetry."""
    no_heart = _judge(heart=_plane())
    assert (no_heart.absent, "cardiothoracic_ratio" in _values(no_heart)) == (("heart",), False)
    one_lung = _judge(left=_plane())
    assert one_lung.absent == ("left_lung",)
    assert _values(one_lung).keys() == {"right_lung.area"}


@pytest.mark.parametrize(
    ("right", "left"),
    [
        (_plane(), _plane()),
        (_plane((0, 10), (0, 10)), _plane((0, 10), (80, 90))),
        (_plane((0, ROWS), (0, 50)), _plane((0, ROWS), (50, COLS))),
        (LEFT, RIGHT),
        (RIGHT, RIGHT),
    ],
    ids=["none", "specks", "everything", "swapped", "the same"],
)
def test_pictures_without_plausible_lungs_get_a_reason_and_no_numbers(right: Plane, left: Plane) -> None:
    """Nothing, too little, too much, or the sides exchanged: this is no frontal chest."""
    with pytest.raises(Unsuitable) as caught:
        _judge(right, left)
    assert caught.value.code == "implausible"


def test_specks_and_holes_are_tidied_before_anything_is_said() -> None:
    """A speck beside the lung changes neither the region nor the numbers."""
    dirty = RIGHT | _plane((2, 4), (2, 4))
    dirty[50, 20] = False
    assert _values(_judge(right=dirty)) == _values(_judge())
    assert np.array_equal(_judge(right=dirty).regions[0].mask, RIGHT)


def test_air_far_from_the_lung_is_no_part_of_it() -> None:
    """Between the arm and the chest there is air, too."""
    air = _plane((105, 120), (40, 80))
    assert np.array_equal(_judge(right=RIGHT | air).regions[0].mask, RIGHT)


def test_a_model_that_says_no_lungs_at_all_is_only_relayed() -> None:
    """Plausibility is asked of models that look for lungs."""
    spot = _plane((5, 9), (5, 9))
    prediction = Prediction(model=LUNGS, masks=(("rib", spot), ("wire", _plane())))
    (result,) = judge_image([prediction], FACTS, View.PA, orientation.of(("L", "F"))).results
    assert [region.label for region in result.regions] == ["rib"]
    assert (result.absent, result.measurements) == (("wire",), ())
