"""What is drawn over an image: one description for overlay pictures, Secondary Captures and presentation states.

Hides how results become lines, words and their places. Promises source pixel coordinates, corner based ((0.5, 0.5) is
the centre of the first pixel, PS3.3 C.10.5.1.2), the same drawing for the same result, and no text upon another.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from cxrnode.domain.finding import Finding, ImageResult, ModelResult, Presence, Region
from cxrnode.domain.selection import ImageFacts
from cxrnode.domain.wording import likelihood, name_of
from cxrnode.evidence.caption import Sentence, caption_of, measured_text
from cxrnode.evidence.codes import plain
from cxrnode.evidence.colours import WHITE, Colour, colour_of
from cxrnode.evidence.contour import Point, rings
from cxrnode.evidence.lettering import Text, Wanted, placed
from cxrnode.pixels import orientation
from cxrnode.pixels.orientation import Orientation

PICTURE_SIDE = 1024
"""Pixels of the longer side of the largest picture: an outline is true to half of one of them."""

LETTERS_HIGH = 40
"""How many letters, one on the other, are as high as the longer side."""

SIDES = "sides"
"""The label of the side markers."""

_MARKER = (0.04, 0.95)
"""Where the side markers stand on an upright picture, from its side and from its top: lead markers are put higher."""
_MARKER_SIZE = 1.6
_LATELY = 2
"""Drawings that are remembered: the UID of an object and the object are made of the same one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """The lines that show one thing; closed ones end in their first point. Dashed where it is not `certain`.

    `label` is that of a region or a box, or the name of what is measured.
    """

    label: str
    colour: Colour
    lines: tuple[tuple[Point, ...], ...]
    certain: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """All that is drawn over an image of so many rows and columns. `aspect`: a pixel's height over its width.

    `marks` are the outlines of regions (a hole is a ring of its own), boxes, and measured lines.
    """

    rows: int
    columns: int
    aspect: float
    letter: float
    """The height of a letter, in columns."""
    marks: tuple[Mark, ...]
    texts: tuple[Text, ...]
    caption: tuple[Sentence, ...]


@lru_cache(maxsize=_LATELY)
def drawing_of(image: ImageResult, shape: tuple[int, int] | None = None) -> Drawing:
    """Describe what is drawn of one image's result. `shape`: rows and columns, where they are not the source's own."""
    facts = image.source.facts
    if shape:
        facts = replace(facts, rows=shape[0], columns=shape[1])
    lies = orientation.of(facts.patient_orientation)
    aspect = _aspect(facts)
    letter = max(facts.columns, facts.rows * aspect) / LETTERS_HIGH
    wanted = [*_side_markers(facts, lies), *_words(image)]
    return Drawing(
        rows=facts.rows,
        columns=facts.columns,
        aspect=aspect,
        letter=letter,
        marks=tuple(_marks(image, facts)),
        texts=placed(wanted, (facts.rows, facts.columns), (letter, letter / aspect)),
        caption=caption_of(image, sides_known=not lies.assumed),
    )


def _aspect(facts: ImageFacts) -> float:
    return facts.spacing[0] / facts.spacing[1] if len(facts.spacing) == 2 and all(facts.spacing) else 1.0


def _marks(image: ImageResult, facts: ImageFacts) -> Iterator[Mark]:
    """Regions below, boxes and measured lines on them."""
    tolerance = max(facts.rows, facts.columns) / (2 * PICTURE_SIDE)
    for one in image.results:
        for region in one.regions:
            lines = rings(region.mask, tolerance)
            if lines:
                colour = colour_of(region.label)
                yield Mark(label=region.label, colour=colour, lines=lines, certain=_is_certain(region, one))
    for one in image.results:
        yield from _boxes(one)
        for number in one.measurements:
            if number.lines:
                yield Mark(label=number.name, colour=WHITE, lines=tuple(_rounded(line) for line in number.lines))


def _boxes(result: ModelResult) -> Iterator[Mark]:
    for finding in result.findings:
        for box in finding.boxes:
            around = _rounded(
                (
                    (box.left, box.top),
                    (box.right, box.top),
                    (box.right, box.bottom),
                    (box.left, box.bottom),
                    (box.left, box.top),
                )
            )
            certain = finding.presence_of(box) is Presence.PRESENT
            yield Mark(label=box.label, colour=colour_of(box.label), lines=(around,), certain=certain)


def _words(image: ImageResult) -> Iterator[Wanted]:
    """Name each mark: above what is outlined, below what is measured, so that no word lies in a lung."""
    for one in image.results:
        for region in one.regions:
            top = _topmost(region)
            if top:
                text = name_of(region.label).short + ("" if _is_certain(region, one) else "?")
                yield Wanted(label=region.label, text=plain(text), colour=colour_of(region.label), anchor=top)
        for finding in one.findings:
            yield from _box_words(finding)
        for number in one.measurements:
            if number.lines:
                (left, first), (right, last) = number.lines[-1][0], number.lines[-1][-1]
                text = measured_text(number.name, number.value, number.unit)
                middle = (left + right) / 2, (first + last) / 2
                yield Wanted(label=number.name, text=text, colour=WHITE, anchor=middle, above=False)


def _box_words(finding: Finding) -> Iterator[Wanted]:
    for box in finding.boxes:
        doubt = "" if finding.presence_of(box) is Presence.PRESENT else "?"
        text = plain(f"{name_of(box.label).short}{doubt} {likelihood(box.probability)}")
        middle = (box.left + box.right) / 2, box.top
        yield Wanted(label=box.label, text=text, colour=colour_of(box.label), anchor=middle)


def _side_markers(facts: ImageFacts, lies: Orientation) -> Iterator[Wanted]:
    """R and L at the patient's right and left; none where the image does not say which side is which.

    The assumption that judgment makes then is a sentence of the caption: a marker would look like a fact.
    """
    if lies.assumed:
        return
    stored = (facts.rows, facts.columns)
    across, down = (facts.rows, facts.columns) if lies.turned else (facts.columns, facts.rows)
    upright = [(share * across, _MARKER[1] * down) for share in (_MARKER[0], 1 - _MARKER[0])]
    for side, (column, row) in zip("RL", lies.undo_points(upright, stored).tolist(), strict=True):
        yield Wanted(label=SIDES, text=side, colour=WHITE, anchor=(column, row), centred=True, size=_MARKER_SIZE)


def _is_certain(region: Region, result: ModelResult) -> bool:
    return result.presence_of(region.label) is Presence.PRESENT


def _topmost(region: Region) -> Point | None:
    """Give the middle of a region's first row, on its upper border."""
    filled = region.mask.any(axis=1)
    if not filled.any():
        return None
    row = int(filled.argmax())
    columns = region.mask[row].nonzero()[0]
    return (float(columns[0]) + float(columns[-1]) + 1) / 2, float(row)


def _rounded(line: Sequence[Point]) -> tuple[Point, ...]:
    """Round to a hundredth of a pixel: the same numbers on every machine, and as a report states them."""
    return tuple((round(column, 2), round(row, 2)) for column, row in line)
