"""Compares what the page shows with what was written: each difference is a sentence.

Hides arithmetic. Promises an empty list only where pixel for pixel, colour for colour and value for value it is the
same; knows no browser.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tests.viewer.written import Mask, Region, Segment, Segmented, Value

Colours = Callable[[list[list[float]]], list[list[int] | None]]
"""What the canvas shows at image coordinates."""

GRAY_OFF = 4.0
"""How far the picture's grays may be from the truth on the average, of 255: it is smoothed when it is enlarged, which
costs 2. A chest in a mirror is off by 10."""
TINT_OFF = 8.0
"""How far a drawn colour may be from the written one, of 255: the picture below it is gray only within its noise."""
FAINTEST = 0.15
"""The least opacity that can be seen."""
COORDINATE_OFF = 0.01
"""Pixels of the image: GraphicData is a 32 bit float."""
DRAWN_OFF = 0.75
"""Pixels of the image: a line on the screen is stated to a tenth of a pixel of the screen."""


def picture_objections(image: dict[str, Any], display: NDArray[np.float32], colours: Colours) -> Iterator[str]:
    """Compare the picture with `display`, 0 black to 1 white, at points all over it."""
    if (image["rows"], image["columns"]) != display.shape:
        yield f"the image has {image['rows']} x {image['columns']} pixels, not {display.shape}"
        return
    rows, columns = (np.linspace(0.06, 0.94, 16) * size for size in display.shape)
    points = [[column, row] for row in rows for column in columns]
    seen = colours(points)
    pairs = [(c, display[int(y), int(x)] * 255) for c, (x, y) in zip(seen, points, strict=True) if c is not None]
    if len(pairs) < len(points) / 2:
        yield f"only {len(pairs)} of {len(points)} points are on the screen"
        return
    shown, true = np.array([c for c, _ in pairs], dtype=float), np.array([t for _, t in pairs])
    if np.ptp(shown, axis=1).max() > 0:
        yield "the picture is not gray"
    off = float(np.abs(shown.mean(axis=1) - true).mean())
    if off > GRAY_OFF:
        yield f"the picture's grays are off by {off:.0f} of 255 on the average"


def segmentation_objections(wanted: Segmented, held: Sequence[dict[str, Any]], colours: Colours) -> Iterator[str]:
    """Compare a SEG with what the viewer holds and draws; `held` are all its segmentations."""
    found = [each for each in held if each["label"] == wanted.label]
    if len(found) != 1:
        yield f"{wanted.label} is not shown: the viewer holds {[each['label'] for each in held]}"
        return
    named = {each["number"]: each for each in found[0]["segments"]}
    if sorted(named) != [segment.number for segment in wanted.segments]:
        yield f"the segments are numbered {sorted(named)}"
        return
    masks = _masks(found[0]["labelmaps"])
    for segment in wanted.segments:
        yield from _held_objections(segment, named[segment.number], masks)
    yield from _drawn_objections(wanted.segments, colours)


def _held_objections(segment: Segment, named: dict[str, Any], masks: dict[int, Mask]) -> Iterator[str]:
    mask = masks.get(segment.number)
    if mask is None or mask.shape != segment.mask.shape:
        yield f"{segment.label} has no plane of the image's rows and columns"
    elif (mask != segment.mask).any():
        counts = int(mask.sum()), int(segment.mask.sum()), int((mask != segment.mask).sum())
        yield "{}: {} pixels are shown, {} were written, {} differ".format(segment.label, *counts)
    if named["label"] != segment.label:
        yield f"{segment.label} is called {named['label']}"
    if segment.colour and list(segment.colour) != (named["colour"] or [])[:3]:
        yield f"{segment.label} has the colour {named['colour']}, not {segment.colour}"


def _masks(labelmaps: Sequence[dict[str, Any]]) -> dict[int, Mask]:
    """The mask of each segment; where segments overlap the viewer holds several label maps."""
    masks: dict[int, Mask] = {}
    for labelmap in labelmaps:
        for image in labelmap["images"]:
            values = np.frombuffer(base64.b64decode(image["values"]), dtype=np.uint8)
            plane = values.reshape(image["rows"], image["columns"])
            for value, number in labelmap["segments"].items():
                mask = plane == int(value)
                masks[int(number)] = masks.get(int(number), np.zeros_like(mask)) | mask
    return masks


def _drawn_objections(segments: Sequence[Segment], colours: Colours) -> Iterator[str]:
    """Look at the canvas where only one segment lies, and where none does."""
    together = sum(segment.mask.astype(int) for segment in segments)
    alone = [(segment, point) for segment in segments for point in _deep(segment.mask & (together == 1))]
    outside = _deep(together == 0)
    seen = colours([*(point for _, point in alone), *outside])
    for (segment, _), colour in zip(alone, seen[: len(alone)], strict=True):
        if colour is not None and segment.colour and not _tinted(colour, segment.colour):
            yield f"{segment.label} is drawn as {colour}, not in {segment.colour}"
    for colour in seen[len(alone) :]:
        if colour is not None and max(colour) - min(colour) > TINT_OFF:
            yield f"outside all segments there is the colour {colour}"


def _tinted(seen: Sequence[int], colour: Sequence[int]) -> bool:
    """Whether `seen` is this colour over some gray: the differences of the channels do not know the gray."""
    got, full = np.diff(np.array(seen, dtype=float)), np.diff(np.array(colour, dtype=float))
    opacity = float(got @ full / (full @ full))
    return FAINTEST <= opacity <= 1.05 and float(np.abs(got - opacity * full).max()) <= TINT_OFF


def _deep(mask: Mask, points: int = 5, at_least: float = 4.0) -> list[list[float]]:
    """Give the middles of pixels that lie deep in a mask, far from each other; the image's own edge is an edge."""
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    rows, columns = np.indices(mask.shape)
    found = []
    for _ in range(points):
        row, column = np.unravel_index(int(depth.argmax()), depth.shape)
        if depth[row, column] < at_least:
            break
        found.append([float(column) + 0.5, float(row) + 0.5])
        depth[(rows - row) ** 2 + (columns - column) ** 2 < (2 * depth[row, column]) ** 2] = 0
    return found


def report_objections(
    regions: Sequence[Region], held: Sequence[dict[str, Any]], drawn: Sequence[Sequence[Sequence[float]]]
) -> Iterator[str]:
    """Compare a report's regions with those that the viewer holds, their text, and the lines on the screen."""
    found = {each["tracked"]: each for each in held}
    if len(found) != len(held) or set(found) != {region.tracked for region in regions}:
        yield f"{len(regions)} regions were written, {len(held)} are held"
    lines = [np.array(line, dtype=float) for line in drawn]
    for region in regions:
        if region.tracked in found:
            yield from _region_objections(region, found[region.tracked], lines)
        else:
            yield f"{region.title} is not shown"


def text_objections(said: Sequence[str], read: str) -> Iterator[str]:
    """Compare a report without regions with what can be read."""
    for sentence in said:
        if sentence not in read:
            yield f"it cannot be read that: {sentence}"


def _region_objections(region: Region, held: dict[str, Any], lines: Sequence[NDArray[np.float64]]) -> Iterator[str]:
    if f"/instances/{region.image}/" not in held["image"]:
        yield f"{region.title} is on another image"
    shapes = [np.array(shape, dtype=float) for shape in held["shapes"]]
    for wanted in region.shapes:
        if not any(_close(wanted, shape, COORDINATE_OFF) for shape in shapes):
            yield f"{region.title} lies at {[shape.tolist() for shape in shapes]}, not at {wanted.tolist()}"
        if not any(_close(wanted, line, DRAWN_OFF) for line in lines):
            yield f"{region.title} is not drawn where it was written"
    for value in region.values:
        if not any(_says(line, value) for line in held["text"]):
            yield f"{region.title} does not say {value.name} {value.number} {value.unit}: {held['text']}"


def _close(wanted: NDArray[np.float64], shape: NDArray[np.float64], off: float) -> bool:
    return wanted.shape == shape.shape and bool(np.abs(wanted - shape).max() <= off)


def _says(line: str, value: Value) -> bool:
    """OHIF prints every number with two decimals, and the code of its unit."""
    name, _, rest = line.rpartition(": ")
    number, _, unit = rest.partition(" ")
    try:
        return name == value.name and unit == value.unit and abs(float(number) - value.number) <= 0.00501
    except ValueError:
        return False
