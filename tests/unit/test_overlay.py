"""The overlay picture: outlines where the masks are, sides named, words beside the picture, nothing of the patient."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from PIL import Image, ImageDraw

from cxrnode.domain.finding import Box, Finding, ImageResult, Measurement, ModelIdentity, ModelResult, Presence, Region
from cxrnode.domain.selection import View
from cxrnode.domain.study import Instance
from cxrnode.evidence.colours import COLOURS, colour_of
from cxrnode.evidence.overlay import overlay
from tests.fakes.instances import MODALITY, described

MODEL = ModelIdentity(name="lungs", version="1", digest="d", backend="cpu")
SOURCE = Instance(
    row=1, description=described(), sender=MODALITY, key="k", received_at=datetime(2026, 1, 1, tzinfo=UTC)
)


def _result(**masks: np.ndarray) -> ImageResult:
    line = ((100.0, 600.0), (700.0, 600.0))
    ratio = Measurement(name="cardiothoracic_ratio", value=0.5, unit="1", lines=(line,))
    regions = tuple(Region(label=label, mask=mask, model=MODEL) for label, mask in masks.items())
    result = ModelResult(model=MODEL, regions=regions, measurements=(ratio,))
    return ImageResult(source=SOURCE, view=View.PA, results=(result,))


def _drawn(result: ImageResult, size: tuple[int, int] = (800, 800)) -> np.ndarray:
    encoded = overlay(np.full(size, 60, dtype=np.uint8), result, (1600, 1600))
    picture = Image.open(io.BytesIO(encoded))
    assert (picture.format, picture.info) == ("PNG", {})
    assert picture.width == size[1]
    return np.asarray(picture.convert("RGB")).astype(int)


def _mask(rows: slice, cols: slice) -> np.ndarray:
    mask = np.zeros((1600, 1600), dtype=bool)
    mask[rows, cols] = True
    return mask


def test_a_region_is_outlined_where_its_mask_is() -> None:
    """Colour along the scaled mask's border, the film inside it and outside it."""
    drawn = _drawn(_result(right_lung=_mask(slice(200, 1000), slice(160, 640))))
    assert tuple(drawn[400, 80]) == COLOURS["right_lung"].rgb
    assert tuple(drawn[400, 40]) == (60, 60, 60)
    assert tuple(drawn[400, 200]) == (60, 60, 60)
    assert tuple(drawn[400, 700]) == (60, 60, 60)


def test_measured_lines_are_scaled_to_the_picture() -> None:
    """From (100, 600) to (700, 600) of 1600 is row 300 of 800."""
    drawn = _drawn(_result())
    assert tuple(drawn[300, 200]) == (255, 255, 255)
    assert tuple(drawn[300, 40]) == (60, 60, 60)


def _found(presence: Presence) -> ImageResult:
    box = Box(label="lung_opacity", probability=0.8, left=400, top=600, right=1200, bottom=1400)
    finding = Finding(name="lung_opacity", presence=presence, probability=0.8, operating_point=0.5, boxes=(box,))
    result = ModelResult(model=MODEL, findings=(finding,))
    return ImageResult(source=SOURCE, view=View.PA, results=(result,))


def test_a_box_is_drawn_where_it_is_and_dashed_where_nothing_is_certain() -> None:
    """From (400, 600) to (1200, 1400) of 1600 is columns 200 to 600 and rows 300 to 700 of 800."""
    colour = colour_of("lung_opacity").rgb
    certain, open_ = (
        (_drawn(_found(presence))[320:680, 200] == colour).all(axis=1)
        for presence in (Presence.PRESENT, Presence.INDETERMINATE)
    )
    assert certain.all()
    assert 0.3 < open_.mean() < 0.7
    assert tuple(_drawn(_found(Presence.PRESENT))[500, 400]) == (60, 60, 60)


def test_what_is_said_of_the_image_stands_below_it() -> None:
    """The film is whole; what is said differs with what is found."""
    below = {presence: _drawn(_found(presence))[800:] for presence in Presence}
    assert all(len(words) > 40 and words.any() for words in below.values())
    assert below[Presence.PRESENT].shape == below[Presence.INDETERMINATE].shape
    assert (below[Presence.PRESENT] != below[Presence.INDETERMINATE]).any()
    assert (_drawn(_found(Presence.PRESENT))[:250] == 60).all()


def test_the_foot_says_whose_answer_is_whose_and_what_is_off_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two models on one finding are named there, one is not; a withheld finding carries its reserve."""
    findings = (
        Finding(name="lung_opacity", presence=Presence.PRESENT, probability=0.9991),
        Finding(name="covid19_pneumonia", presence=Presence.PRESENT, probability=0.75, caveats=("withheld",)),
    )
    open_ = replace(findings[0], presence=Presence.INDETERMINATE, probability=0.4, band=(0.3, 0.6))
    other = ModelResult(model=replace(MODEL, name="opacity"), findings=(open_,))
    result = ImageResult(source=SOURCE, view=View.PA, results=(ModelResult(model=MODEL, findings=findings), other))
    statements = [
        "Lung opacity by the model lungs: present (over 0.99)",
        "Appearance of COVID-19 pneumonia: present (0.75), off by default",
        "Lung opacity by the model opacity: indeterminate (0.40, undecided from 0.30 to 0.60)",
        "Note: The patient orientation is not stated; the patient's right is taken to be on the left",
        "Models: lungs 1, opacity 1",
        "Research use only, not a medical device",
    ]
    assert [text for text, *_ in _texts(result, monkeypatch, (800, 1000))] == statements
    narrow = _texts(result, monkeypatch, (1000, 500))
    assert " ".join(text for text, *_ in narrow) == " ".join(statements)
    assert len(narrow) > len(statements)
    assert all(left >= 0 and right <= 500 for _, left, right, _ in narrow), "no line is cut off at the edge"
    rows = [row for *_, row in narrow]
    assert rows == sorted(set(rows)), "one below the other"


def _texts(
    result: ImageResult, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> list[tuple[str, float, float, float]]:
    """Give what is written on a picture of (rows, columns): text, left and right end, row. It is written, too."""
    said: list[tuple[str, float, float, float]] = []
    write = ImageDraw.ImageDraw.text

    def heard(pen: ImageDraw.ImageDraw, at: tuple[float, float], text: str, **style: object) -> None:
        left, _, right, _ = pen.textbbox(at, text, font_size=style["font_size"], anchor=style["anchor"])  # type: ignore[arg-type]
        said.append((text, left, right, at[1]))
        write(pen, at, text, **style)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(ImageDraw.ImageDraw, "text", heard)
        overlay(np.full(size, 60, dtype=np.uint8), result, (2 * size[0], 2 * size[1]))
    return said


def test_a_name_at_the_edge_is_written_whole() -> None:
    """A region at the left edge has its name inside the picture: the same ink as that of one in the middle."""
    colour = COLOURS["left_pneumothorax"].rgb
    wide = _mask(slice(200, 208), slice(0, 4)), _mask(slice(200, 208), slice(800, 804))
    inks = [int((_drawn(_result(left_pneumothorax=mask))[:250] == colour).all(axis=2).sum()) for mask in wide]
    assert min(inks) > 100
    assert abs(inks[0] - inks[1]) < 0.2 * inks[1]


def test_the_same_result_gives_the_same_picture() -> None:
    """Byte for byte."""
    preview = np.full((800, 800), 60, dtype=np.uint8)
    one, again = (
        overlay(preview, _result(heart=_mask(slice(600, 1200), slice(600, 1000))), (1600, 1600)) for _ in range(2)
    )
    assert one == again


def test_a_small_picture_is_made_large_enough_for_words() -> None:
    """256 pixels leave no room for a letter that can be read."""
    encoded = overlay(np.full((256, 200), 60, dtype=np.uint8), _found(Presence.PRESENT), (256, 200))
    assert Image.open(io.BytesIO(encoded)).width == 600


@pytest.mark.parametrize("label", ["left_lung", "something_new"])
def test_empty_masks_and_new_labels_are_drawn_as_far_as_they_go(label: str) -> None:
    """An empty mask draws nothing upon the film; a label without a colour of its own has one all the same."""
    nothing = _drawn(_result(**{label: _mask(slice(0, 0), slice(0, 0))}))
    assert np.array_equal(nothing[:800], _drawn(_result())[:800])
    drawn = _drawn(_result(**{label: _mask(slice(200, 800), slice(200, 800))}))
    assert not np.array_equal(drawn[:800], nothing[:800])
