"""Whether what is drawn lies on its image, and whether pixels and pages are what they say that they are.

Hides graphic objects and pixel counts. Promises an objection for a point outside of the image, a graphic on a layer
that is not there, pixels that are too few or too many, and a document that is no PDF.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cxrnode.domain.capability import Kind
from cxrnode.evidence.inspection.measured import Place
from cxrnode.evidence.inspection.reading import Item

_CLOSE = 0.02
_CORNERS = ("GraphicData", "AnchorPoint", "BoundingBoxTopLeftHandCorner", "BoundingBoxBottomRightHandCorner")
_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
_PLANE = ("PixelMeasuresSequence", "PlaneOrientationSequence", "PlanePositionSequence")
_UNITS = ("GraphicAnnotationUnits", "AnchorPointAnnotationUnits", "BoundingBoxAnnotationUnits")


def misdrawn(kind: Kind, root: Item, source: str, places: Mapping[str, Place]) -> Iterator[str]:
    """Give what is wrong with the picture of an object of this kind; `source`: UID of the image that it is of."""
    place = places.get(source)
    if kind in (Kind.SC, Kind.PAGES):
        yield from _pixels_at_fault(root)
    if kind is Kind.PDF and not root.value("EncapsulatedDocument").startswith(b"%PDF-"):
        yield "EncapsulatedDocument: no PDF"
    if kind is Kind.SEG and place and (root.number("Rows"), root.number("Columns")) != (place.rows, place.columns):
        yield "Rows, Columns: not those of the image"
    if kind is Kind.SEG:
        yield from _planes_at_fault(root, place)
    if kind is Kind.GSPS:
        yield from _graphics_at_fault(root, place)


def _planes_at_fault(root: Item, place: Place | None) -> Iterator[str]:
    """A segmentation has all of the plane groups or none, and its pixels are as large as the image's."""
    shared, frames = (root.items(keyword) for keyword in _GROUPS)
    groups = [*shared, *frames]
    for number, frame in enumerate(frames, 1):
        there = [keyword for keyword in _PLANE if any(keyword in group for group in (*shared, frame))]
        if there and there != [*_PLANE]:
            yield f"PerFrameFunctionalGroupsSequence[{number}]: {', '.join(there)} without the other plane groups"
    for measures in (item for group in groups for item in group.items("PixelMeasuresSequence")):
        # Where nothing is known 1 mm is what viewers take anyway.
        if place and measures.numbers("PixelSpacing") != (place.spacing or (1.0, 1.0)):
            yield "PixelMeasuresSequence[1].PixelSpacing: not that of the image"


def _pixels_at_fault(root: Item) -> Iterator[str]:
    rows, columns, samples = (root.number(keyword) for keyword in ("Rows", "Columns", "SamplesPerPixel"))
    needed = rows * columns * samples * root.number("BitsAllocated") // 8
    if len(root.value("PixelData")) != needed + needed % 2:
        yield f"PixelData: {len(root.value('PixelData'))} bytes, not {needed} and its padding"


def _graphics_at_fault(root: Item, place: Place | None) -> Iterator[str]:
    layers = {layer.text("GraphicLayer") for layer in root.items("GraphicLayerSequence")}
    for number, annotation in enumerate(root.items("GraphicAnnotationSequence"), 1):
        path = f"GraphicAnnotationSequence[{number}]."
        if annotation.text("GraphicLayer") not in layers:
            yield f"{path}GraphicLayer: not in GraphicLayerSequence"
        for keyword in ("GraphicObjectSequence", "TextObjectSequence"):
            for position, drawn in enumerate(annotation.items(keyword), 1):
                yield from _figure_at_fault(drawn, place, f"{path}{keyword}[{position}].")
    for number, area in enumerate(root.items("DisplayedAreaSelectionSequence"), 1):
        first, last = (area.numbers(f"DisplayedArea{c}HandCorner") for c in ("TopLeft", "BottomRight"))
        if place and (first, last) != ((1.0, 1.0), (float(place.columns), float(place.rows))):
            yield f"DisplayedAreaSelectionSequence[{number}]: not the whole image"


def _figure_at_fault(drawn: Item, place: Place | None, path: str) -> Iterator[str]:
    points = drawn.numbers("GraphicData")
    if points and len(points) != 2 * drawn.number("NumberOfGraphicPoints"):
        yield f"{path}NumberOfGraphicPoints: not as many as in GraphicData"
    units = {keyword: drawn.text(keyword) for keyword in _UNITS}
    for keyword in _CORNERS:
        unit = units[_UNITS[min(_CORNERS.index(keyword), 2)]]
        wide, high = (1, 1) if unit == "DISPLAY" else (place.columns, place.rows) if place else (0, 0)
        numbers = drawn.numbers(keyword)
        inside = all(-_CLOSE <= x <= wide + _CLOSE for x in numbers[::2])
        inside = inside and all(-_CLOSE <= y <= high + _CLOSE for y in numbers[1::2])
        if wide and not inside:
            yield f"{path}{keyword}: outside of the image"
