"""The comparison of what a viewer shows with what was written can fail, in every respect that it looks at."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cxrnode.phantom import Radiograph, render
from tests.viewer import shown
from tests.viewer.written import Region, Segment, Segmented, Value

BLUE, RED = (64, 160, 255), (235, 70, 70)
GRAY = [100, 100, 100]
DISPLAY = render(Radiograph(rows=64, cols=48)).truth.display


def _square(left: int) -> np.ndarray:
    mask = np.zeros((64, 48), dtype=bool)
    mask[20:40, left : left + 16] = True
    return mask


SEGMENTS = (
    Segment(number=1, label="Right lung", mask=_square(4), colour=BLUE),
    Segment(number=2, label="Left lung", mask=_square(28), colour=RED),
)
SEG = Segmented(series_uid="1.2", label="lungs", segments=SEGMENTS)
REGION = Region(
    tracked="1.2.3",
    title="Opacity",
    image="9.8",
    shapes=(np.array([[1.0, 2.0], [5.0, 2.0], [5.0, 9.5], [1.0, 2.0]]),),
    values=(Value(name="Probability", number=0.488, unit="%"),),
)


def _held(*masks: np.ndarray, **changes: Any) -> list[dict[str, Any]]:
    values = sum(mask.astype(np.uint8) * number for number, mask in enumerate(masks, 1))
    image = {"rows": 64, "columns": 48, "values": base64.b64encode(values.tobytes()).decode()}
    segments = [{"number": s.number, "label": s.label, "colour": [*s.colour, 255]} for s in SEGMENTS]
    labelmap = {"segments": {"1": 1, "2": 2}, "images": [image]}
    return [{"label": "lungs", "segments": segments, "labelmaps": [labelmap]} | changes]


def _painted(*masks: np.ndarray, opacity: float = 0.5) -> shown.Colours:
    def colours(points: list[list[float]]) -> list[list[int] | None]:
        seen = []
        for column, row in points:
            own = [s.colour for s, mask in zip(SEGMENTS, masks, strict=True) if mask[int(row), int(column)]]
            seen.append(
                [round((1 - opacity) * g + opacity * c) for g, c in zip(GRAY, own[0], strict=True)] if own else GRAY
            )
        return seen

    return colours


def _gray(picture: np.ndarray) -> shown.Colours:
    return lambda points: [[round(float(picture[int(y), int(x)]) * 255)] * 3 for x, y in points]


MASKS = (SEGMENTS[0].mask, SEGMENTS[1].mask)


def test_what_is_shown_as_it_was_written_is_not_objected_to() -> None:
    """The picture, the masks and the regions."""
    image = {"rows": 64, "columns": 48}
    assert list(shown.picture_objections(image, DISPLAY, _gray(DISPLAY))) == []
    assert list(shown.segmentation_objections(SEG, _held(*MASKS), _painted(*MASKS))) == []
    assert list(shown.report_objections([REGION], [_region()], [REGION.shapes[0].tolist()])) == []


@pytest.mark.parametrize(
    "picture", [1 - DISPLAY, DISPLAY[:, ::-1], np.zeros_like(DISPLAY)], ids=["inverted", "mirrored", "black"]
)
def test_another_picture_is_objected_to(picture: np.ndarray) -> None:
    """Inverted, mirrored, or black."""
    found = list(shown.picture_objections({"rows": 64, "columns": 48}, DISPLAY, _gray(picture)))
    assert len(found) == 1


def test_a_pixel_too_many_is_objected_to() -> None:
    """Even where the counts would be the same."""
    moved = MASKS[0].copy()
    moved[20, 4], moved[45, 4] = False, True
    (found,) = shown.segmentation_objections(SEG, _held(moved, MASKS[1]), _painted(*MASKS))
    assert found == "Right lung: 320 pixels are shown, 320 were written, 2 differ"


@pytest.mark.parametrize(
    ("colours", "said"),
    [
        (_painted(MASKS[1], MASKS[0]), "Right lung is drawn as"),
        (_painted(*MASKS, opacity=0.0), "Right lung is drawn as"),
        (_painted(MASKS[0] | _square(28) ^ True, MASKS[1]), "outside all segments"),
    ],
    ids=["exchanged", "not drawn", "drawn outside"],
)
def test_another_colour_on_the_screen_is_objected_to(colours: shown.Colours, said: str) -> None:
    """The masks that the viewer holds are one thing, what it draws another."""
    found = list(shown.segmentation_objections(SEG, _held(*MASKS), colours))
    assert any(said in each for each in found)


def test_a_segmentation_that_is_not_there_is_objected_to() -> None:
    """Not loaded, or loaded under another name."""
    assert list(shown.segmentation_objections(SEG, [], _painted(*MASKS)))
    assert list(shown.segmentation_objections(SEG, _held(*MASKS, label="other"), _painted(*MASKS)))


def _region(**changes: Any) -> dict[str, Any]:
    image = "wadors:/studies/1/series/2/instances/9.8/frames/1"
    shape = REGION.shapes[0].tolist()
    return {"tracked": "1.2.3", "image": image, "shapes": [shape], "text": ["Probability: 0.49 %"]} | changes


@pytest.mark.parametrize(
    "held",
    [
        [],
        [_region(tracked="1.2.4")],
        [_region(image="wadors:/studies/1/series/2/instances/9.81/frames/1")],
        [_region(shapes=[(REGION.shapes[0] + 0.02).tolist()])],
        [_region(text=["Probability: 0.50 %"])],
        [_region(text=["Probability: 0.49 1"])],
        [_region(text=["Threshold: 0.49 %"])],
        [_region(), _region()],
    ],
    ids=["none", "another", "elsewhere", "moved", "value", "unit", "name", "twice"],
)
def test_a_region_that_is_not_as_it_was_written_is_objected_to(held: list[dict[str, Any]]) -> None:
    """Its image, its place, its name and its value."""
    assert list(shown.report_objections([REGION], held, [REGION.shapes[0].tolist()]))


def test_a_region_that_is_not_on_the_screen_is_objected_to() -> None:
    """The viewer may hold what it does not draw; and what has no place in the file cannot be drawn."""
    assert list(shown.report_objections([REGION], [_region()], []))
    nowhere = replace(REGION, shapes=(), image="")
    assert list(shown.report_objections([nowhere], [], []))


def test_a_sentence_that_cannot_be_read_is_objected_to() -> None:
    """Of a report without regions every sentence is to be on the screen."""
    assert list(shown.text_objections(["it is a lateral view"], "Comment: it is a lateral view")) == []
    assert list(shown.text_objections(["it is a lateral view"], ""))
