"""A drawing in the words of Graphic Annotation and Graphic Layer (PS3.3 C.10.5, C.10.7).

Hides units, text boxes and layer names. Promises a layer in its own colour for each thing that is shown, the caption in
one of its own, and values that fit a length of 16 bits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence

from cxrnode.evidence.colours import WHITE, Colour
from cxrnode.evidence.contour import Point
from cxrnode.evidence.drawing import Drawing, Mark
from cxrnode.evidence.lettering import Text

CAPTION = "caption"
LONGEST_TEXT = 1024
"""Characters of Unformatted Text Value, an ST (PS3.5 6.2)."""

_LINE = 0.025
"""A line of the caption, as a share of the displayed area's height."""
_LESS = "More is in the report."


def layers(drawing: Drawing) -> Iterator[Dataset]:
    """Give the layers, the lowest first: what is outlined, then what is said."""
    for number, (name, colour) in enumerate(_named(drawing).items(), 1):
        layer = Dataset()
        layer.GraphicLayer, layer.GraphicLayerOrder = name, number
        layer.GraphicLayerRecommendedDisplayCIELabValue = colour.encoded_cielab
        yield layer


def annotated(drawing: Drawing) -> Iterator[Dataset]:
    """Give what stands in each layer."""
    for name in _named(drawing):
        lines = [line for mark in drawing.marks if _layer(mark.label) == name for line in _graphics(mark)]
        texts = [_text(text) for text in drawing.texts if _layer(text.label) == name]
        item = Dataset()
        item.GraphicLayer = name
        if lines:
            item.GraphicObjectSequence = DicomSequence(lines)
        if texts or name == _layer(CAPTION):
            item.TextObjectSequence = DicomSequence(texts or [_caption(drawing)])
        yield item


def _named(drawing: Drawing) -> dict[str, Colour]:
    shown: Sequence[Mark | Text] = (*drawing.marks, *drawing.texts)
    return {_layer(one.label): one.colour for one in shown} | {_layer(CAPTION): WHITE}


def _layer(label: str) -> str:
    """Give a label as a CS: 16 upper-case letters, digits and underscores (PS3.5 6.2)."""
    return "".join(letter if letter.isalnum() and letter.isascii() else "_" for letter in label.upper())[:16] or "OTHER"


def _graphics(mark: Mark) -> Iterator[Dataset]:
    for line in mark.lines:
        graphic = Dataset()
        graphic.GraphicAnnotationUnits, graphic.GraphicDimensions = "PIXEL", 2
        graphic.NumberOfGraphicPoints = len(line)
        graphic.GraphicData = [number for point in line for number in point]
        graphic.GraphicType = "POLYLINE"
        if line[0] == line[-1]:
            graphic.GraphicFilled = "N"
        if not mark.certain:
            graphic.LineStyleSequence = DicomSequence([_dashed(mark.colour)])
        yield graphic


def _dashed(colour: Colour) -> Dataset:
    """PS3.3 C.10.5.1.1.2, Line Style: what is not certain is dashed, where a viewer knows how."""
    style = Dataset()
    style.PatternOnColorCIELabValue, style.PatternOnOpacity = colour.encoded_cielab, 1.0
    style.LineThickness, style.LineDashingStyle = 1.0, "DASHED"
    style.LinePattern = 0x00FF00FF
    style.ShadowStyle = "OFF"
    style.ShadowOffsetX, style.ShadowOffsetY = 0.0, 0.0
    style.ShadowColorCIELabValue, style.ShadowOpacity = [0, 32896, 32896], 0.0
    return style


def _text(text: Text) -> Dataset:
    """A text in its box; the anchor says what it belongs to, without a line of its own."""
    item = _boxed(text.text, "PIXEL", (text.left, text.top), (text.right, text.bottom), "CENTER")
    item.AnchorPointAnnotationUnits, item.AnchorPoint = "PIXEL", list(text.anchor)
    item.AnchorPointVisibility = "N"
    return item


def _caption(drawing: Drawing) -> Dataset:
    lines = _shortened([sentence.text for sentence in drawing.caption])
    top = max(0.0, 0.99 - _LINE * len(lines))
    return _boxed("\r\n".join(lines), "DISPLAY", (0.01, top), (0.99, 0.99), "LEFT")


def _shortened(lines: Sequence[str]) -> list[str]:
    """Leave out sentences before the last two (models, intended use) until the rest is short enough."""
    said, ends = list(lines[:-2]), list(lines[-2:])
    if len("\r\n".join(lines)) <= LONGEST_TEXT:
        return [*said, *ends]
    while said and len("\r\n".join([*said, _LESS, *ends])) > LONGEST_TEXT:
        said.pop()
    return [*said, _LESS, *(end[: LONGEST_TEXT // 3] for end in ends)]


def _boxed(text: str, units: str, top_left: Point, bottom_right: Point, justified: str) -> Dataset:
    item = Dataset()
    item.BoundingBoxAnnotationUnits, item.UnformattedTextValue = units, text
    item.BoundingBoxTopLeftHandCorner, item.BoundingBoxBottomRightHandCorner = list(top_left), list(bottom_right)
    item.BoundingBoxTextHorizontalJustification = justified
    return item
