"""What a report states, as plain values, before any DICOM is made of it.

Hides how a number becomes text and a mask a place on the image. Promises the same text on every machine: values depend
on what was given alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.sr.coding import Code

from cxrnode.domain.finding import Mask, ModelIdentity
from cxrnode.domain.study import Instance
from cxrnode.errors import NeedsOperator
from cxrnode.evidence import codes

Point = tuple[float, float]

_ROWS = 48
"""How many rows of a mask its border is drawn through."""

_COARSE = 400
"""Long side of the picture on which a mask's pieces are looked for first: what it misses is a speck."""

_CORNERS = np.ones((3, 3))


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A value as it is printed, with its concept and unit."""

    concept: Code
    text: str
    unit: Code


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """One measurement group (PS3.16 TID 1410): what is said of one place on one image.

    `outline` is a polyline of (column, row) coordinates, (0.5, 0.5) being the centre of the first pixel (PS3.3
    C.10.5.1.2). `region` is the label of the segment that shows the same thing, or empty.
    """

    title: str
    tracking_uid: str
    source: str
    model: ModelIdentity
    outline: tuple[Point, ...]
    bounded_by: bool = False
    region: str = ""
    category: Code | None = None
    finding: Code | None = None
    site: Code | None = None
    laterality: Code | None = None
    numbers: tuple[Number, ...] = ()
    judgments: tuple[tuple[Code, Code], ...] = ()
    caveats: tuple[str, ...] = ()
    leaning_on: tuple[ModelIdentity, ...] = ()
    """Other models that the numbers or the laterality are made with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A sentence about the study or about one image, with a coded reason where there is one."""

    text: str
    source: str = ""
    concept: Code | None = None
    reason: Code | None = None


def number(how: codes.Quantity, value: float, source: Instance) -> Number:
    """Round to the decimals of its kind. Raises NeedsOperator for what is no number."""
    if not math.isfinite(value):
        raise NeedsOperator(
            f"{how.title} is no number",
            operation="compose evidence",
            subject=source.uid,
            hint="see 'Evidence cannot be composed' in docs/operations.md",
        )
    return Number(concept=how.concept, text=f"{round(value, how.decimals) + 0.0:.{how.decimals}f}", unit=how.unit)


def whole(source: Instance) -> tuple[Point, ...]:
    """Give the whole image: viewers need a place to show what is said of the image (OHIF stays black without one)."""
    return around((0.0, 0.0, float(source.facts.columns), float(source.facts.rows)))


def largest_piece(mask: Mask) -> tuple[Mask, int]:
    """Give the largest piece of a mask that has a pixel, and how many pieces there are; those join at corners, too.

    A report has one line for a region: around pieces that lie apart it would run across what lies between them.
    """
    from scipy import ndimage  # when it is first needed: the node's port opens before

    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    window = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    step = max(1, max(mask.shape) // _COARSE)  # a lung is of one piece, and to label all of it costs 50 ms
    if step > 1 and ndimage.label(mask[window][::step, ::step], structure=_CORNERS)[1] == 1:
        return mask, 1
    pieces, count = ndimage.label(mask[window], structure=_CORNERS)
    if count == 1:
        return mask, 1
    largest = np.zeros_like(mask)
    sizes = np.bincount(pieces.ravel())
    largest[window] = pieces == 1 + int(np.argmax(sizes[1:]))
    return largest, count


def border(mask: Mask) -> tuple[Point, ...]:
    """Give the closed line around one piece of a mask, as it runs from row to row; exact where it reaches furthest.

    A box around a lung would be taken for a lesion, and hide those that are. What is hollow is closed: the SEG has each
    pixel.
    """
    rows = np.flatnonzero(mask.any(axis=1))
    taken = _taken(mask, rows)
    left = [float(np.argmax(mask[row])) for row in taken]
    right = [float(mask.shape[1] - np.argmax(mask[row, ::-1])) for row in taken]
    heights = [float(row) + 0.5 for row in taken]
    top, bottom = float(rows[0]), float(rows[-1] + 1)
    down = [(left[0], top), *zip(left, heights, strict=True), (left[-1], bottom)]
    up = [(right[-1], bottom), *zip(reversed(right), reversed(heights), strict=True), (right[0], top)]
    return (*down, *up, down[0])


def _taken(mask: Mask, rows: NDArray[np.intp]) -> list[int]:
    """Choose some of a mask's rows, among them those that reach furthest."""
    even = rows[np.linspace(0, rows.size - 1, min(rows.size, _ROWS)).round().astype(int)]
    columns = np.flatnonzero(mask.any(axis=0))
    furthest = (int(np.argmax(mask[:, column])) for column in (columns[0], columns[-1]))
    return sorted({*(int(row) for row in even), *furthest})


def around(sides: Sequence[float]) -> tuple[Point, ...]:
    """Give a closed polyline of five points: top left, top right, bottom right, bottom left, top left."""
    left, top, right, bottom = (round(side, 2) for side in sides)
    return (left, top), (right, top), (right, bottom), (left, bottom), (left, top)
