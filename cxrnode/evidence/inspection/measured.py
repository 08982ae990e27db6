"""Whether the numbers and places of a report are those of the masks.

Hides how a number follows from a mask. Promises that an area, a share, an asymmetry and a diameter agree within what is
printed, that a region's box is that of its mask, and that no point lies outside of its image. A number that nothing
here can be made from (a probability) is not looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from cxrnode.domain.chest import hemithorax_share
from cxrnode.evidence import codes
from cxrnode.evidence.inspection.masks import Plane
from cxrnode.evidence.inspection.tree import Group, Number, Outline

_CLOSE = 0.02
"""Pixels: coordinates are rounded to two digits and written as single floats."""

_COARSE = 1024
"""An outline may be simplified by as much as shows on a picture with so many pixels along its long side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """An image: its size, and the spacing between rows and columns in mm where it states one."""

    rows: int
    columns: int
    spacing: tuple[float, float] | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Chart:
    """All that the numbers of a report are looked up in: its groups, the masks, and the images by UID."""

    groups: Sequence[Group]
    planes: Sequence[Plane]
    places: Mapping[str, Place]

    def shown(self, group: Group) -> list[Plane]:
        """Give the masks that a group speaks of: its frames, else all of its tracking UID."""
        named = [plane for plane in self.planes if (plane.segmentation, plane.frame) in group.frames]
        return named or [plane for plane in self.planes if plane.tracking_uid == group.tracking_uid]

    def lungs(self, source: str, laterality: str) -> list[Plane]:
        """Give the masks of one lung on an image, of every segmentation."""
        lungs = (plane for plane in self.planes if plane.kind == codes.LUNG.value and plane.source == source)
        return [plane for plane in lungs if plane.laterality == laterality]

    def hearts(self, source: str) -> list[Plane]:
        """Give the masks of the heart on an image."""
        return [plane for plane in self.planes if plane.kind == codes.HEART.value and plane.source == source]


def disagreeing(chart: Chart) -> Iterator[str]:
    """Give an objection for each number or place that the masks and images do not bear out."""
    for group in chart.groups:
        yield from _untracked(group, chart)
        for number in group.numbers:
            yield from _number_at_fault(number, group, chart)
        for outline in group.outlines:
            yield from _outside(outline, chart.places)
            yield from _beside_its_mask(outline, group, chart)


def _untracked(group: Group, chart: Chart) -> Iterator[str]:
    if not group.tracking_uid:
        yield f"{group.path}: a group without tracking UID"
    for segmentation, frame in group.frames:
        named = [plane for plane in chart.planes if (plane.segmentation, plane.frame) == (segmentation, frame)]
        if not named:
            yield f"{group.path}: frame {frame} of the segmentation that it names is not there"
        elif named[0].tracking_uid != group.tracking_uid:
            yield f"{group.path}: its tracking UID is not that of the segment in frame {frame}"
        elif named[0].source not in group.sources:
            yield f"{group.path}: frame {frame} lies on another image"


def _number_at_fault(number: Number, group: Group, chart: Chart) -> Iterator[str]:
    if number.unit not in _UNITS.get(number.concept, {number.unit}):
        yield f"{number.path}MeasuredValueSequence: not in a unit of this concept"
    rule = _RULES.get((number.concept, number.unit))
    if rule is None:
        return
    expected = rule(group, chart)
    if expected is None:
        yield f"{number.path}NumericValue: nothing shows what this was measured on"
    elif expected and not any(is_printed(number.text, value) for value in expected):
        yield f"{number.path}NumericValue: {number.text} {number.unit}, but the masks give {expected[0]:.6g}"


def is_printed(text: str, value: float) -> bool:
    """Tell whether a number is printed like this: within half of the last digit."""
    try:
        printed = float(text)
    except ValueError:
        return False
    half = 0.5 * 10.0 ** -len(text.partition(".")[2])
    return abs(printed - value) <= half * (1 + 1e-6) + 1e-9 * abs(value)


def _areas(group: Group, chart: Chart) -> list[float] | None:
    """In mm2: None where there is no mask, or no spacing to say mm2 with."""
    spacings = [(plane.count, chart.places[plane.source].spacing) for plane in chart.shown(group)]
    return [count * spacing[0] * spacing[1] for count, spacing in spacings if spacing] or None


def _image_shares(group: Group, chart: Chart) -> list[float] | None:
    return [100 * plane.count / plane.mask.size for plane in chart.shown(group)] or None


def _hemithorax_shares(group: Group, chart: Chart) -> list[float] | None:
    """An empty list where no lung is shown: its mask is with a model that is not."""
    parts = chart.shown(group)
    lungs = [lung for part in parts for lung in chart.lungs(part.source, part.laterality)]
    return [100 * hemithorax_share(part.mask, lung.mask) for part in parts for lung in lungs] if parts else None


def _asymmetries(group: Group, chart: Chart) -> list[float] | None:
    pairs = [
        (right.count, left.count)
        for source in set(group.sources)
        for right in chart.lungs(source, codes.RIGHT.value)
        for left in chart.lungs(source, codes.LEFT.value)
    ]
    return [(right - left) / (right + left) for right, left in pairs] or None


def _ratios(group: Group, chart: Chart) -> list[float] | None:
    """The heart's line over the thorax's, where both are drawn; the heart's line is as long as the heart is wide."""
    hearts = _lines(group, chart, _HEART_LINE)
    thoraces = _lines(group, chart, _THORAX_LINE)
    masks = [plane for source in set(group.sources) for plane in chart.hearts(source)]
    hearts = [line for line in hearts if any(_spans(line, plane) for plane in masks if plane.count)]
    return [_length(heart) / _length(thorax) for heart in hearts for thorax in thoraces if _length(thorax)] or None


_HEART_LINE, _THORAX_LINE = (concept.value for _, concept in codes.QUANTITIES[("cardiothoracic_ratio", "1")].lines)


def _lines(group: Group, chart: Chart, concept: str) -> list[Outline]:
    return [
        outline
        for other in chart.groups
        if other.finding == concept
        for outline in other.outlines
        if outline.source in group.sources and len(outline.points) == 2
    ]


def _length(line: Outline) -> float:
    (x0, y0), (x1, y1) = line.points
    return max(abs(x1 - x0), abs(y1 - y0))


def _spans(line: Outline, plane: Plane) -> bool:
    """Tell whether a line runs from one side of a mask to the other, along rows or along columns."""
    (x0, y0), (x1, y1) = line.points
    left, top, right, bottom = plane.bounds
    across = abs(x1 - x0) > abs(y1 - y0)
    ends, sides = (sorted((x0, x1)), (left, right)) if across else (sorted((y0, y1)), (top, bottom))
    return all(abs(end - side) <= _CLOSE for end, side in zip(ends, sides, strict=True))


def _outside(outline: Outline, places: Mapping[str, Place]) -> Iterator[str]:
    place = places.get(outline.source)
    if place is None:
        yield f"{outline.path}ContentSequence: selected from no image of the study"
    elif not all(
        -_CLOSE <= x <= place.columns + _CLOSE and -_CLOSE <= y <= place.rows + _CLOSE for x, y in outline.points
    ):
        yield f"{outline.path}GraphicData: outside of the image"


def _beside_its_mask(outline: Outline, group: Group, chart: Chart) -> Iterator[str]:
    """Only what shares its tracking UID with a mask lies around one."""
    masks = [plane for plane in chart.planes if plane.tracking_uid == group.tracking_uid and plane.count]
    if not masks or not outline.points:
        return
    near = _CLOSE if len(outline.points) == 5 else _CLOSE + max(masks[0].mask.shape) / _COARSE
    if not any(lies(outline, plane.bounds, near) or lies(outline, plane.largest, near) for plane in masks):
        yield f"{outline.path}GraphicData: not around the mask of the same tracking UID, nor around its largest piece"


def lies(outline: Outline, sides: Sequence[float], near: float = _CLOSE) -> bool:
    """Tell whether points reach from left, top to right, bottom, no further and no less."""
    if not outline.points:
        return False
    columns, rows = zip(*outline.points, strict=True)
    drawn = (min(columns), min(rows), max(columns), max(rows))
    return all(abs(a - b) <= near for a, b in zip(drawn, sides, strict=True))


def _concept(name: str, unit: str) -> tuple[str, str]:
    how = codes.QUANTITIES[(name, unit)]
    return how.concept.value, how.unit.value


_RULES = {
    _concept("area", "mm2"): _areas,
    _concept("area", "%"): _image_shares,
    _concept("hemithorax_share", "%"): _hemithorax_shares,
    _concept("lung_asymmetry", "1"): _asymmetries,
    _concept("cardiothoracic_ratio", "1"): _ratios,
}
"""What gives the number that a concept with its unit should have: several where several masks could have been meant."""

_STATED = (*codes.QUANTITIES.values(), codes.PROBABILITY, codes.OPERATING_POINT, *codes.BAND)
_UNITS = {how.concept.value: {one.unit.value for one in _STATED if one.concept == how.concept} for how in _STATED}
"""In which units each concept is stated."""
