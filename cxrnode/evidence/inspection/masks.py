"""The masks in a segmentation, as they come out of its pixels, and whether they can be those of the image.

Hides bits, frames and functional groups. Promises planes on the source's rows and columns with what is said of each:
whose image it lies on, its tracking UID, what it shows and on which side.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np

from cxrnode.domain.finding import Mask
from cxrnode.evidence.inspection.reading import Item


@dataclass(frozen=True, kw_only=True, eq=False)
class Plane:
    """One frame: the mask of one segment on one image. Not slotted: what is counted once is kept."""

    segmentation: str
    frame: int
    segment: int
    title: str
    tracking_uid: str
    kind: str
    laterality: str
    source: str
    mask: Mask

    @cached_property
    def count(self) -> int:
        """The number of pixels."""
        return int(np.count_nonzero(self.mask))

    @cached_property
    def largest(self) -> tuple[float, float, float, float]:
        """The bounds of its largest piece: a report outlines no more than that."""
        from scipy import ndimage  # when it is first needed: most masks are of one piece

        pieces, _ = ndimage.label(self.mask, structure=np.ones((3, 3)))
        sizes = np.bincount(pieces.ravel())
        rows, columns = ndimage.find_objects(pieces)[int(np.argmax(sizes[1:]))]
        return float(columns.start), float(rows.start), float(columns.stop), float(rows.stop)

    @cached_property
    def bounds(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of what is not empty, at the corners of its outermost pixels."""
        rows, columns = np.flatnonzero(self.mask.any(axis=1)), np.flatnonzero(self.mask.any(axis=0))
        return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def planes_of(root: Item) -> tuple[Plane, ...]:
    """Give the frames of a segmentation; none where its pixels are not as many as it says."""
    rows, columns, count = (root.number(keyword) for keyword in ("Rows", "Columns", "NumberOfFrames"))
    size = count * rows * columns
    described = [*_described(root)]
    pixels = _pixels(root, size)
    if pixels.size < size or len(described) != count or not size:
        return ()
    masks = pixels.reshape(count, rows, columns)
    segments = {segment.number("SegmentNumber"): segment for segment in root.items("SegmentSequence")}
    return tuple(
        _plane(root, number, segment, segments.get(segment, Item()), source, mask)
        for number, ((segment, source), mask) in enumerate(zip(described, masks, strict=True), 1)
    )


def _pixels(root: Item, size: int) -> Mask:
    """Give the pixels of all frames, fewer where there are fewer."""
    stored = np.frombuffer(root.value("PixelData"), dtype=np.uint8)
    return np.unpackbits(stored, bitorder="little")[:size].view(np.bool_)


def _plane(root: Item, frame: int, number: int, segment: Item, source: str, mask: Mask) -> Plane:
    kind = next(iter(segment.items("SegmentedPropertyTypeCodeSequence")), Item())
    return Plane(
        segmentation=root.text("SOPInstanceUID"),
        frame=frame,
        segment=number,
        title=segment.text("SegmentLabel"),
        tracking_uid=segment.text("TrackingUID"),
        kind=segment.code("SegmentedPropertyTypeCodeSequence")[0],
        laterality=kind.code("SegmentedPropertyTypeModifierCodeSequence")[0],
        source=source,
        mask=mask,
    )


def _described(root: Item) -> Iterator[tuple[int, str]]:
    """Give segment and image of each frame: from its own groups, else from the shared ones (PS3.3 C.7.6.16)."""
    shared = next(iter(root.items("SharedFunctionalGroupsSequence")), Item())
    for own in root.items("PerFrameFunctionalGroupsSequence"):
        named = _first(own, shared, "SegmentIdentificationSequence")
        derived = _first(own, shared, "DerivationImageSequence")
        source = next(iter(derived.items("SourceImageSequence")), Item())
        yield named.number("ReferencedSegmentNumber"), source.text("ReferencedSOPInstanceUID")


def _first(own: Item, shared: Item, keyword: str) -> Item:
    return next(iter((*own.items(keyword), *shared.items(keyword))), Item())


def misshapen(root: Item, planes: tuple[Plane, ...]) -> Iterator[str]:
    """Give an objection where frames, segments and pixels do not go together."""
    numbers = [segment.number("SegmentNumber") for segment in root.items("SegmentSequence")]
    if numbers != [*range(1, len(numbers) + 1)]:
        yield "SegmentSequence: SegmentNumber does not count from 1 without a gap (PS3.3 C.8.20.2)"
    count, described = root.number("NumberOfFrames"), len(root.items("PerFrameFunctionalGroupsSequence"))
    if count != described:
        yield f"NumberOfFrames: {count}, but {described} items in PerFrameFunctionalGroupsSequence"
    needed = -(-root.number("Rows") * root.number("Columns") * count // 8)
    if len(root.value("PixelData")) != needed + needed % 2:
        yield f"PixelData: {len(root.value('PixelData'))} bytes, not {needed} and its padding"
    yield from _frames_at_fault(numbers, planes)
    if root.text("SegmentsOverlap") == "NO" and any((a.mask & b.mask).any() for a, b in combinations(planes, 2)):
        yield "SegmentsOverlap: NO, but segments share pixels"


def _frames_at_fault(numbers: list[int], planes: tuple[Plane, ...]) -> Iterator[str]:
    for plane in planes:
        where = f"PerFrameFunctionalGroupsSequence[{plane.frame}]"
        if plane.segment not in numbers:
            yield f"{where}: its segment {plane.segment} is not in SegmentSequence"
        if not plane.source:
            yield f"{where}: names no image that it was derived from"
        if not plane.count:
            yield f"PixelData: frame {plane.frame} is empty"
    for number in sorted(set(numbers) - {plane.segment for plane in planes} if planes else ()):
        yield f"SegmentSequence[{number}]: has no frame"
