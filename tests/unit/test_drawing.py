"""One description of what is drawn: where it lies, what it says, and that it can be read."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from cxrnode.domain.finding import Box, Finding, ImageResult, Measurement, Presence
from cxrnode.domain.reasons import CAVEATS
from cxrnode.evidence.codes import INTENDED_USE
from cxrnode.evidence.drawing import SIDES, Drawing, drawing_of
from cxrnode.evidence.lettering import LINE_HEIGHT
from tests.evidence_cases import Case, case


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """One case for all: nobody changes it."""
    return case(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module")
def image(made: Case) -> ImageResult:
    """What four models said of it."""
    return made.full_study().images[0]


def _oriented(image: ImageResult, *orientation: str) -> ImageResult:
    description = image.source.description
    facts = replace(description.facts, patient_orientation=orientation)
    return replace(image, source=replace(image.source, description=replace(description, facts=facts)))


def _sides(drawing: Drawing) -> dict[str, tuple[float, float]]:
    """Where the side markers stand, as shares of columns and rows."""
    found = {text.text: text for text in drawing.texts if text.label == SIDES}
    return {
        side: ((text.left + text.right) / 2 / drawing.columns, (text.top + text.bottom) / 2 / drawing.rows)
        for side, text in found.items()
    }


def test_every_region_box_and_line_is_a_mark(image: ImageResult) -> None:
    """In source coordinates; regions lie below, boxes and measured lines upon them."""
    drawing = drawing_of(image)
    labels = [mark.label for mark in drawing.marks]
    assert labels[:5] == ["right_lung", "left_lung", "heart", "right_pneumothorax", "left_pneumothorax"]
    assert sorted(labels[5:]) == ["cardiothoracic_ratio", "lung_opacity", "lung_opacity"]
    (box, _) = (mark for mark in drawing.marks if mark.label == "lung_opacity")
    assert box.lines == (((10.5, 20.0), (60.0, 20.0), (60.0, 170.0), (10.5, 170.0), (10.5, 20.0)),)
    (lines,) = (mark.lines for mark in drawing.marks if mark.label == "cardiothoracic_ratio")
    assert lines == (((100.0, 200.0), (300.12, 200.0)), ((50.0, 250.0), (450.0, 250.0)))


def test_a_box_less_sure_than_its_finding_is_drawn_as_a_question(made: Case, image: ImageResult) -> None:
    """Its own probability does not reach the bound: the report states it as indeterminate, too."""
    boxes = tuple(Box(label="lung_opacity", probability=p, left=10, top=20, right=60, bottom=80) for p in (0.9, 0.6))
    finding = Finding(name="lung_opacity", presence=Presence.PRESENT, probability=0.9, band=(0.5, 0.8), boxes=boxes)
    result = replace(made.result, regions=(), measurements=(), findings=(finding,))
    drawing = drawing_of(replace(image, results=(result,)))
    assert [mark.certain for mark in drawing.marks] == [True, False]
    assert [text.text for text in drawing.texts if text.label == "lung_opacity"] == ["opacity 0.90", "opacity? 0.60"]


def test_an_outline_bounds_its_mask(image: ImageResult) -> None:
    """To half a pixel of the largest picture."""
    drawing = drawing_of(image)
    for region in image.results[0].regions:
        (mark,) = (mark for mark in drawing.marks if mark.label == region.label)
        columns, rows = zip(*(point for line in mark.lines for point in line), strict=True)
        filled = np.argwhere(region.mask)
        wanted = (filled[:, 1].min(), filled[:, 1].max() + 1, filled[:, 0].min(), filled[:, 0].max() + 1)
        assert np.allclose((min(columns), max(columns), min(rows), max(rows)), wanted, atol=300 / 2048 + 0.01)


def test_what_is_not_present_is_dashed_and_asked(image: ImageResult) -> None:
    """The opacities are only suspected: dashed, with a question mark; the lungs are there."""
    drawing = drawing_of(image)
    assert {mark.label: mark.certain for mark in drawing.marks}["lung_opacity"] is False
    assert all(mark.certain for mark in drawing.marks if mark.label != "lung_opacity")
    assert [text.text for text in drawing.texts if text.label == "lung_opacity"] == ["opacity? 0.90", "opacity? 0.40"]


@pytest.mark.parametrize(
    ("orientation", "right", "left"),
    [
        (("L", "F"), (0.04, 0.95), (0.96, 0.95)),
        (("R", "F"), (0.96, 0.95), (0.04, 0.95)),
        (("R", "H"), (0.96, 0.05), (0.04, 0.05)),
        (("F", "R"), (0.95, 0.96), (0.95, 0.04)),
        (("H", "L"), (0.05, 0.04), (0.05, 0.96)),
    ],
)
def test_the_side_markers_stand_at_the_patients_sides(
    image: ImageResult, orientation: tuple[str, str], right: tuple[float, float], left: tuple[float, float]
) -> None:
    """However the picture is stored: R at the patient's right, L at the left."""
    sides = _sides(drawing_of(_oriented(image, *orientation)))
    assert sides == {"R": pytest.approx(right, abs=0.02), "L": pytest.approx(left, abs=0.02)}


@pytest.mark.parametrize("orientation", [(), ("L",), ("A", "F"), ("X", "Y")])
def test_no_marker_is_drawn_where_nobody_states_the_sides(image: ImageResult, orientation: tuple[str, ...]) -> None:
    """A marker would be taken for a fact; a sentence says what is assumed, once."""
    drawing = drawing_of(_oriented(image, *orientation))
    assert _sides(drawing) == {}
    assert [s.text for s in drawing.caption].count(
        "Note: The patient orientation is not stated; the patient's right is taken to be on the left"
    ) == 1


@pytest.mark.parametrize("changes", [{"rows": 600, "cols": 300}, {"rows": 300, "cols": 700}])
def test_no_text_lies_on_another_or_outside(tmp_path: Path, changes: dict[str, object]) -> None:
    """Portrait and landscape, with everything that four models can say."""
    drawing = drawing_of(case(tmp_path, **changes).full_study().images[0])
    assert len(drawing.texts) == 10
    assert not [(a.text, b.text) for a, b in combinations(drawing.texts, 2) if a.covers(b)]
    for text in drawing.texts:
        assert 0 <= text.left < text.right <= drawing.columns
        assert 0 <= text.top < text.bottom <= drawing.rows


def test_texts_that_would_lie_on_each_other_are_moved(image: ImageResult) -> None:
    """Two boxes with one upper side: their words stand one above the other."""
    first, second = (text for text in drawing_of(image).texts if text.label == "lung_opacity")
    assert first.anchor == second.anchor
    assert not first.covers(second)


def test_the_caption_says_what_is_found_what_is_not_by_whom_and_for_what(image: ImageResult) -> None:
    """In this order, in ASCII, the intended use last."""
    said = [sentence.text for sentence in drawing_of(image).caption]
    assert said[:5] == [
        "Pneumothorax by the model pneumothorax: present, right and left (0.81), off by default. "
        + ". ".join(CAVEATS[one] for one in ("side_from_half", "outside_lungs", "other_side_stated")),
        "Appearance of viral pneumonia: present (0.25), learned from children, off by default",
        f"Abnormal chest: present (0.25). {CAVEATS['normal_and_finding']}",
        "Lung opacity by the model opacity: indeterminate (0.90, undecided from 0.40 to 0.95). "
        + ". ".join(CAVEATS[one] for one in ("in_heart", "models_disagree")),
        f"Appearance of COVID-19 pneumonia: indeterminate (0.25). {CAVEATS['outside_thorax']}",
    ]
    assert "Absent: pneumothorax by the model lungs, lung opacity by the model classifier" in said
    assert "Cardiothoracic ratio: 0.49 (white lines)" in said
    assert "No result of gate, because the model failed on it" in said
    assert said[-2:] == ["Models: lungs 0.1.0, pneumothorax 0.2.0, opacity 0.3.0, classifier 0.4.0", INTENDED_USE]
    assert all(text.isascii() for text in said)
    assert not any("detector" in text for text in said), "no millimetre is on the picture"


def test_an_organ_that_was_not_found_is_not_called_absent(image: ImageResult) -> None:
    """A patient has a heart."""
    lungs = replace(image.results[0], absent=("heart", "pneumothorax"))
    said = [sentence.text for sentence in drawing_of(replace(image, results=(lungs,))).caption]
    assert "Not found: heart" in said
    assert "Absent: pneumothorax" in said


def test_the_ratio_carries_its_reserve(image: ImageResult) -> None:
    """On an AP film the ratio reads high, and the picture says so."""
    ratio = Measurement(
        name="cardiothoracic_ratio", value=0.6, unit="1", lines=(((1, 2), (3, 2)),), caveats=("ap_view",)
    )
    result = replace(image.results[0], measurements=(ratio,))
    said = [sentence.text for sentence in drawing_of(replace(image, results=(result,), caveats=())).caption]
    assert "Note: AP view: the heart is magnified, the cardiothoracic ratio reads high" in said


def test_nothing_of_the_patient_is_in_a_drawing(made: Case, image: ImageResult) -> None:
    """Neither name nor number: what is drawn may leave the house as a picture."""
    patient = made.source.description.patient
    assert patient.name
    assert not any(value and value in repr(drawing_of(image)) for value in (patient.name, patient.patient_id))


def test_pixels_that_are_not_square_give_letters_that_are(made: Case, image: ImageResult) -> None:
    """A pixel twice as high as wide: a letter takes half as many rows."""
    description = image.source.description
    tall = replace(description, facts=replace(description.facts, spacing=(0.4, 0.2)))
    drawing = drawing_of(replace(image, source=replace(image.source, description=tall)))
    text = drawing.texts[-1]
    assert drawing.aspect == pytest.approx(2.0)
    assert (text.bottom - text.top) * drawing.aspect == pytest.approx(LINE_HEIGHT * drawing.letter, abs=0.03)
