"""The overlay picture: outlines where the masks are, sides named, nothing of the patient."""

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


def _drawn(result: ImageResult, size: tuple[int, int] = (400, 400)) -> np.ndarray:
    encoded = overlay(np.full(size, 60, dtype=np.uint8), result, (800, 800))
    picture = Image.open(io.BytesIO(encoded))
    assert (picture.format, picture.size, picture.info) == ("PNG", size[::-1], {})
    return np.asarray(picture.convert("RGB")).astype(int)


def _mask(rows: slice, cols: slice) -> np.ndarray:
    mask = np.zeros((800, 800), dtype=bool)
    mask[rows, cols] = True
    return mask


def test_a_region_is_outlined_where_its_mask_is() -> None:
    """Colour along the scaled mask's border, none outside it."""
    drawn = _drawn(_result(right_lung=_mask(slice(100, 500), slice(80, 320))))
    assert tuple(drawn[100, 40]) == (70, 190, 255)
    assert tuple(drawn[100, 20]) == (60, 60, 60)
    assert tuple(drawn[100, 380]) == (60, 60, 60)


def test_measured_lines_are_scaled_to_the_picture() -> None:
    """From (100, 600) to (700, 600) of 800 is row 300 of 400."""
    drawn = _drawn(_result())
    assert tuple(drawn[300, 200]) == (255, 255, 255)
    assert tuple(drawn[300, 45]) == (60, 60, 60)


def _found(presence: Presence) -> ImageResult:
    box = Box(label="lung_opacity", probability=0.8, left=200, top=300, right=600, bottom=700)
    finding = Finding(name="lung_opacity", presence=presence, probability=0.8, operating_point=0.5, boxes=(box,))
    result = ModelResult(model=MODEL, findings=(finding,))
    return ImageResult(source=SOURCE, view=View.PA, results=(result,))


def test_a_box_is_drawn_where_it_is_and_dashed_where_nothing_is_certain() -> None:
    """From (200, 300) to (600, 700) of 800 is columns 100 to 300 and rows 150 to 350 of 400."""
    certain, open_ = (
        (_drawn(_found(presence))[160:340, 100] == (255, 130, 255)).all(axis=1)
        for presence in (Presence.PRESENT, Presence.INDETERMINATE)
    )
    assert certain.all()
    assert 0.3 < open_.mean() < 0.7
    assert tuple(_drawn(_found(Presence.PRESENT))[250, 200]) == (60, 60, 60)


def test_what_is_not_ruled_out_stands_at_the_foot_of_the_picture() -> None:
    """An absent finding writes nothing there, a present one does; the apices stay free."""
    foot = {presence: _drawn(_found(presence))[365:380] for presence in Presence}
    assert (foot[Presence.ABSENT] == 60).all()
    assert (foot[Presence.PRESENT] != 60).any()
    assert (foot[Presence.PRESENT] != foot[Presence.INDETERMINATE]).any()
    assert (_drawn(_found(Presence.PRESENT))[:100] == 60).all()


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
        "lung opacity by lungs: present over 0.99",
        "appearance of COVID-19 pneumonia: present 0.75 (off by default)",
        "lung opacity by opacity: indeterminate 0.40, between 0.30 and 0.60",
        "research use, not a medical device",
    ]
    assert [text for text, *_ in _texts(result, monkeypatch, cols=1000)] == statements
    narrow = _texts(result, monkeypatch, cols=240)
    assert " ".join(text for text, *_ in narrow) == " ".join(statements)
    assert len(narrow) > len(statements)
    assert all(left >= 0 and right <= 240 for _, left, right, _ in narrow), "no line is cut off at the edge"
    rows = [row for *_, row in narrow]
    assert rows == sorted(set(rows)), "one below the other"


def _texts(result: ImageResult, monkeypatch: pytest.MonkeyPatch, cols: int) -> list[tuple[str, float, float, float]]:
    """Give what is written on a picture of so many columns: text, left and right end, row. It is written, too."""
    said: list[tuple[str, float, float, float]] = []
    write = ImageDraw.ImageDraw.text

    def heard(pen: ImageDraw.ImageDraw, at: tuple[float, float], text: str, **style: object) -> None:
        left, _, right, _ = pen.textbbox(at, text, font_size=style["font_size"], anchor="mm")  # type: ignore[arg-type]
        said.append((text, left, right, at[1]))
        write(pen, at, text, **style)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(ImageDraw.ImageDraw, "text", heard)
        _drawn(result, (400, cols))
    return said


def test_a_name_at_the_edge_is_written_whole() -> None:
    """A region at the left edge has its name inside the picture: the same ink as that of one in the middle."""
    wide = _mask(slice(100, 104), slice(0, 2)), _mask(slice(100, 104), slice(400, 402))
    inks = [int((_drawn(_result(left_pneumothorax=mask))[:150] == (190, 255, 70)).all(axis=2).sum()) for mask in wide]
    assert abs(inks[0] - inks[1]) < 0.2 * inks[1]


def test_the_same_result_gives_the_same_picture() -> None:
    """Byte for byte."""
    result = _result(heart=_mask(slice(300, 600), slice(300, 500)))
    preview = np.full((400, 400), 60, dtype=np.uint8)
    assert overlay(preview, result, (800, 800)) == overlay(preview, result, (800, 800))


@pytest.mark.parametrize("label", ["left_lung", "something_new"])
def test_empty_masks_and_new_labels_are_drawn_as_far_as_they_go(label: str) -> None:
    """An empty mask draws nothing; a label without a colour of its own has one all the same."""
    nothing = _drawn(_result(**{label: _mask(slice(0, 0), slice(0, 0))}))
    assert np.array_equal(nothing, _drawn(_result()))
    assert not np.array_equal(_drawn(_result(**{label: _mask(slice(100, 400), slice(100, 400))})), nothing)
