"""The presentation state: the drawing's own coordinates, the source's own grayscale."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag

from cxrnode.domain.reasons import CAVEATS
from cxrnode.evidence import shown
from cxrnode.evidence.codes import INTENDED_USE
from cxrnode.evidence.colours import COLOURS
from cxrnode.evidence.drawing import drawing_of
from cxrnode.evidence.graphics import LONGEST_TEXT, annotated
from cxrnode.evidence.headers import read_header
from cxrnode.phantom import Voi
from tests.evidence_cases import case
from tests.plain_viewers import Plain, plain


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Plain:
    """One presentation state; nobody changes it."""
    return plain(tmp_path_factory.mktemp("made"))


def _in_layer(ds: Dataset, layer: str) -> Dataset:
    (item,) = (item for item in ds.GraphicAnnotationSequence if item.GraphicLayer == layer)
    return item


def test_every_line_of_the_drawing_is_a_polyline_at_its_place(made: Plain) -> None:
    """In source pixel coordinates, to the precision of a 32-bit number; closed ones are not filled."""
    items = [g for item in made.presentation.GraphicAnnotationSequence for g in item.get("GraphicObjectSequence", ())]
    lines = [line for mark in drawing_of(made.image).marks for line in mark.lines]
    assert len(items) == len(lines)
    found = {tuple(np.float32(item.GraphicData)) for item in items}
    assert found == {tuple(np.float32([number for point in line for number in point])) for line in lines}
    for item in items:
        assert (item.GraphicType, item.GraphicAnnotationUnits) == ("POLYLINE", "PIXEL")
        assert item.NumberOfGraphicPoints == len(item.GraphicData) / 2
        closed = item.GraphicData[:2] == item.GraphicData[-2:]
        assert item.get("GraphicFilled") == ("N" if closed else None)


def test_each_thing_has_a_layer_in_its_own_colour(made: Plain) -> None:
    """A reader can switch the lungs off and keep the rest; the colours are those of the SEG."""
    layers = {layer.GraphicLayer: layer for layer in made.presentation.GraphicLayerSequence}
    assert {"RIGHT_LUNG", "LEFT_LUNG", "HEART", "LUNG_OPACITY", "SIDES", "CAPTION"} <= set(layers)
    wanted = COLOURS["heart"].encoded_cielab
    assert list(layers["HEART"].GraphicLayerRecommendedDisplayCIELabValue) == wanted
    assert sorted(layer.GraphicLayerOrder for layer in layers.values()) == list(range(1, len(layers) + 1))
    assert {item.GraphicLayer for item in made.presentation.GraphicAnnotationSequence} == set(layers)


def test_words_stand_where_the_drawing_puts_them(made: Plain) -> None:
    """With a box of their own, and an anchor that draws no line."""
    texts = {text.text: text for text in drawing_of(made.image).texts if text.label == "heart"}
    (item,) = _in_layer(made.presentation, "HEART").TextObjectSequence
    text = texts[item.UnformattedTextValue]
    assert np.allclose(item.BoundingBoxTopLeftHandCorner, (text.left, text.top))
    assert np.allclose(item.BoundingBoxBottomRightHandCorner, (text.right, text.bottom))
    assert (item.AnchorPointVisibility, item.AnchorPointAnnotationUnits) == ("N", "PIXEL")


def test_what_is_not_certain_is_dashed(made: Plain) -> None:
    """And nothing else is."""
    dashed = {
        item.GraphicLayer
        for item in made.presentation.GraphicAnnotationSequence
        for graphic in item.get("GraphicObjectSequence", ())
        if "LineStyleSequence" in graphic
    }
    assert dashed == {"LUNG_OPACITY"}


def test_a_caption_that_is_too_long_ends_with_the_models_and_the_intended_use(made: Plain) -> None:
    """An ST holds 1024 characters; what is left out is in the report, and that is said."""
    assert len(CAVEATS) > 10, "the case has every reserve, which is more than fits"
    (text,) = _in_layer(made.presentation, "CAPTION").TextObjectSequence
    lines = text.UnformattedTextValue.split("\r\n")
    assert len(text.UnformattedTextValue) <= LONGEST_TEXT
    assert lines[-3] == "More is in the report."
    assert lines[-2].startswith("Models: ")
    assert lines[-1] == INTENDED_USE
    assert lines[0].startswith("Pneumothorax by the model pneumothorax: present")


def test_a_short_caption_is_whole(made: Plain) -> None:
    """Nothing is left out without need."""
    results = tuple(
        replace(one, findings=tuple(replace(finding, caveats=()) for finding in one.findings))
        for one in made.image.results
    )
    short = drawing_of(replace(made.image, results=results, caveats=(), missing=()))
    item = list(annotated(short))[-1]
    (text,) = item.TextObjectSequence
    assert text.UnformattedTextValue.split("\r\n") == [sentence.text for sentence in short.caption]


def test_the_whole_image_is_shown_with_square_pixels(made: Plain) -> None:
    """From the first pixel to the last, fitted to the screen."""
    (area,) = made.presentation.DisplayedAreaSelectionSequence
    facts = made.made.source.facts
    assert (list(area.DisplayedAreaTopLeftHandCorner), area.PresentationSizeMode) == ([1, 1], "SCALE TO FIT")
    assert list(area.DisplayedAreaBottomRightHandCorner) == [facts.columns, facts.rows]
    assert list(area.PresentationPixelAspectRatio) == [1, 1]


@pytest.mark.parametrize(("photometric", "shape"), [("MONOCHROME1", "INVERSE"), ("MONOCHROME2", "IDENTITY")])
def test_the_polarity_is_that_of_the_source(tmp_path: Path, photometric: str, shape: str) -> None:
    """Air is dark, however it is stored."""
    assert plain(tmp_path, photometric=photometric).presentation.PresentationLUTShape == shape


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"])
def test_a_voi_table_is_the_same_words_in_every_transfer_syntax(tmp_path: Path, syntax: str) -> None:
    """Implicit VR does not say of what kind it is, big endian turns its bytes round."""
    made = case(tmp_path, voi=Voi.LUT, transfer_syntax=syntax)
    said = shown.voi_of(read_header(made.source, made.path))
    assert said is not None
    (table,) = said.VOILUTSequence
    entries = np.frombuffer(table.LUTData, dtype="<u2")
    assert list(table.LUTDescriptor) == [4096, 0, 16]
    assert (entries[0], entries[-1]) == (0, 65535)
    assert (np.diff(entries.astype(int)) >= 0).all()


def _header(**stated: object) -> Dataset:
    header = Dataset()
    header.set_original_encoding(is_implicit_vr=False, is_little_endian=True)
    for keyword, value in stated.items():
        setattr(header, keyword, value)
    return header


def test_the_first_of_several_windows_is_stated() -> None:
    """With its function, where that is one of the standard's."""
    said = shown.voi_of(_header(WindowCenter=["100.5", "7"], WindowWidth=["200", "8"], VOILUTFunction="SIGMOID"))
    assert said is not None
    assert (said.WindowCenter, said.WindowWidth, said.VOILUTFunction) == (100.5, 200, "SIGMOID")


@pytest.mark.parametrize(
    "stated",
    [
        {},
        {"WindowCenter": "100"},
        {"WindowCenter": "100", "WindowWidth": "0"},
        {"WindowCenter": "100", "WindowWidth": "0.5"},
        {"WindowCenter": "100", "WindowWidth": "-4", "VOILUTFunction": "SIGMOID"},
        {"WindowCenter": "", "WindowWidth": ""},
        {"WindowCenter": "100", "WindowWidth": "1_000"},
    ],
)
def test_a_window_that_is_none_is_not_stated(stated: dict[str, str]) -> None:
    """A viewer then shows what the image's own header makes it show (PS3.3 C.11.2.1.2: a width of 1 or more)."""
    assert shown.voi_of(_header(**stated)) is None


def test_a_table_of_bytes_stays_one() -> None:
    """Entries of 8 bits are 8 bits allocated (PS3.3 C.11.2.1.1), however the source packs them."""
    for stored in (bytes(range(3)) + b"\0", np.arange(3, dtype="<u2").tobytes()):
        item = Dataset()
        item.add_new("LUTDescriptor", "US", [3, 0, 8])
        item.add_new("LUTData", "OW", stored)
        said = shown.voi_of(_header(VOILUTSequence=Sequence([item])))
        assert said is not None
        assert said.VOILUTSequence[0].LUTData == b"\0\1\2\0"


@pytest.mark.parametrize("change", ["descriptor", "short", "words", "bits", "large"])
def test_a_table_that_is_none_gives_way_to_the_window(change: str) -> None:
    """A descriptor that does not fit its data is not believed."""
    item = Dataset()
    bits = {"bits": 7, "large": 12}.get(change, 16)
    item.add_new("LUTDescriptor", "US", [4096, 0] if change == "descriptor" else [4096, 0, bits])
    if change != "words":
        item.add_new("LUTData", "OW", b"\x10" * (100 if change == "short" else 8192))
    said = shown.voi_of(_header(VOILUTSequence=Sequence([item]), WindowCenter="5", WindowWidth="6"))
    assert said is not None
    assert "VOILUTSequence" not in said
    assert said.WindowWidth == 6


def test_a_slope_of_zero_is_not_believed() -> None:
    """It would leave nothing; an intercept alone has a slope of one."""
    assert list(shown.modality_of(_header(RescaleSlope="0", RescaleIntercept="7"))) == []
    said = shown.modality_of(_header(RescaleIntercept="-1024"))
    assert (said.RescaleSlope, said.RescaleIntercept, said.RescaleType) == (1, -1024, "US")


def test_a_shutter_is_taken_over_whole_or_not_at_all() -> None:
    """Without it the presentation state would light up what the source hides."""
    edges = {
        "ShutterLeftVerticalEdge": "10",
        "ShutterRightVerticalEdge": "90",
        "ShutterUpperHorizontalEdge": "5",
        "ShutterLowerHorizontalEdge": "80",
    }
    said = shown.shutter_of(_header(ShutterShape="RECTANGULAR", **edges))
    assert (said.ShutterShape, said.ShutterLowerHorizontalEdge, said.ShutterPresentationValue) == ("RECTANGULAR", 80, 0)
    both = shown.shutter_of(
        _header(ShutterShape=["RECTANGULAR", "CIRCULAR"], CenterOfCircularShutter=["4", "5"], **edges)
    )
    assert list(both) == [], "no radius"
    assert list(shown.shutter_of(_header(ShutterShape="BITMAP"))) == []


def test_a_shutter_of_no_shade_that_there_is_is_black() -> None:
    """A P-Value is a US; a film that writes text there may say anything."""
    header = _header(ShutterShape="CIRCULAR", CenterOfCircularShutter=["4", "5"], RadiusOfCircularShutter="3")
    for stated in ("70000", "-5"):
        tag = Tag("ShutterPresentationValue")
        header[tag] = RawDataElement(tag, "IS", len(stated), stated.encode(), 0, False, True)
        assert shown.shutter_of(header).ShutterPresentationValue == 0
