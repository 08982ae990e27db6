"""What our objects say, read back from their files: what a viewer has to show.

Hides DICOM. Promises nothing of how the objects are composed: masks, colours, coordinates and values come from the
file alone, so that a change of wording is no change of a test.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset

MEASUREMENT_GROUP = "125007"
TRACKING_UID = "112040"
TRACKING_IDENTIFIER = "112039"

Colour = tuple[int, int, int]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One segment: its number and label, its pixels, its colour as sRGB (None where the file recommends none)."""

    number: int
    label: str
    mask: Mask
    colour: Colour | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Segmented:
    """A SEG."""

    series_uid: str
    label: str
    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """A number with its name and unit."""

    name: str
    number: float
    unit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """What a report says of one tracked thing: (column, row) coordinates on an image, and numbers.

    `shapes` is empty where none of its measurement groups has coordinates.
    """

    tracked: str
    title: str
    image: str
    shapes: tuple[NDArray[np.float64], ...]
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """A SR: its regions, and every sentence and coded answer that is in it."""

    series_uid: str
    regions: tuple[Region, ...]
    said: tuple[str, ...]


def segmented(path: Path) -> Segmented:
    """Read a SEG."""
    ds = pydicom.dcmread(path)
    frames = ds.pixel_array.reshape(-1, ds.Rows, ds.Columns) > 0
    shared = ds.SharedFunctionalGroupsSequence[0]
    masks: dict[int, Mask] = {}
    for groups, frame in zip(ds.PerFrameFunctionalGroupsSequence, frames, strict=True):
        identification = groups.get("SegmentIdentificationSequence") or shared.SegmentIdentificationSequence
        number = int(identification[0].ReferencedSegmentNumber)
        masks[number] = masks.get(number, np.zeros_like(frame)) | frame
    return Segmented(
        series_uid=str(ds.SeriesInstanceUID),
        label=str(ds.get("SeriesDescription", "")),
        segments=tuple(
            Segment(
                number=int(item.SegmentNumber),
                label=str(item.SegmentLabel),
                mask=masks[int(item.SegmentNumber)],
                colour=_colour(item),
            )
            for item in ds.SegmentSequence
        ),
    )


def _colour(segment: Dataset) -> Colour | None:
    """PS3.3 C.10.7.1.1: each of L*, a*, b* on 16 bits."""
    stored = segment.get("RecommendedDisplayCIELabValue")
    if not stored:
        return None
    lightness, a, b = (value / 0xFFFF for value in stored)
    red, green, blue = hd.color.CIELabColor(lightness * 100, a * 255 - 128, b * 255 - 128).to_rgb()
    return int(red), int(green), int(blue)


def reported(path: Path) -> Reported:
    """Read a SR: the measurement groups of one Tracking Unique Identifier are of one region."""
    ds = pydicom.dcmread(path)
    grouped: dict[str, list[Dataset]] = {}
    for item in _items(ds):
        if item.ValueType == "CONTAINER" and _concept(item) == MEASUREMENT_GROUP:
            (tracked,) = (child.UID for child in item.ContentSequence if _concept(child) == TRACKING_UID)
            grouped.setdefault(str(tracked), []).append(item)
    return Reported(
        series_uid=str(ds.SeriesInstanceUID),
        regions=tuple(_region(tracked, groups) for tracked, groups in grouped.items()),
        said=tuple(filter(None, map(_answer, _items(ds)))),
    )


def _answer(item: Dataset) -> str:
    if item.ValueType == "TEXT":
        return str(item.TextValue)
    return str(item.ConceptCodeSequence[0].CodeMeaning) if item.ValueType == "CODE" else ""


def _region(tracked: str, groups: list[Dataset]) -> Region:
    items = [item for group in groups for item in group.ContentSequence]
    drawn = [item for item in items if item.ValueType == "SCOORD"]
    images = {str(item.ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID) for item in drawn}
    (title,) = {str(item.TextValue) for item in items if _concept(item) == TRACKING_IDENTIFIER}
    return Region(
        tracked=tracked,
        title=title,
        image=images.pop() if images else "",
        shapes=tuple(np.array(item.GraphicData, dtype=np.float64).reshape(-1, 2) for item in drawn),
        values=tuple(_value(item) for item in items if item.ValueType == "NUM"),
    )


def _value(item: Dataset) -> Value:
    measured = item.MeasuredValueSequence[0]
    return Value(
        name=str(item.ConceptNameCodeSequence[0].CodeMeaning),
        number=float(measured.NumericValue),
        unit=str(measured.MeasurementUnitsCodeSequence[0].CodeValue),
    )


def _items(item: Dataset) -> Iterator[Dataset]:
    for child in item.get("ContentSequence") or ():
        yield child
        yield from _items(child)


def _concept(item: Dataset) -> str:
    named = item.get("ConceptNameCodeSequence")
    return str(named[0].CodeValue) if named else ""
