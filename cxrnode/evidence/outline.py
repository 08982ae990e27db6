"""What an evidence object states, line by line, for people without a viewer.

Hides the data sets. Promises that a line is what is written in the object, with its code and coding scheme: it is read
back from the file, not from what was meant to be written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset

_MEASUREMENTS = "126010"
"""Imaging Measurements (PS3.16 TID 1500): below it stands what was found, in groups."""
_TRACKING = "112039"
_ASIDE = {_TRACKING, "276214006", "111001", "111003", "111002", "130400"}
"""What every group repeats: its name, its category, the algorithm with version and parameters, the region's purpose."""


def outline(path: Path) -> tuple[str, ...]:
    """Give a line for each segment of a SEG, or for each group of statements of an SR."""
    ds = pydicom.dcmread(path)
    if ds.Modality == "SEG":
        return tuple(_segments(ds))
    groups = [group for top in ds.ContentSequence if _concept(top) == _MEASUREMENTS for group in _within(top)]
    return tuple(_group(group) for group in groups)


def _segments(ds: Dataset) -> Iterator[str]:
    for segment in ds.SegmentSequence:
        kind = segment.SegmentedPropertyTypeCodeSequence[0]
        sides = kind.get("SegmentedPropertyTypeModifierCodeSequence") or ()
        codes = [_code(kind), *(_code(side) for side in sides)]
        yield f"segment {segment.SegmentNumber}: {segment.SegmentLabel}, {', '.join(codes)}"


def _within(content: Dataset) -> Iterator[Dataset]:
    yield from content.get("ContentSequence") or ()


def _group(group: Dataset) -> str:
    """Give a group's name and its statements; a number's and a finding's own details follow them."""
    named = [content.TextValue for content in _within(group) if _concept(content) == _TRACKING]
    return f"{named[0] if named else 'unnamed'}: {'; '.join(_statements(group))}"


def _statements(above: Dataset) -> Iterator[str]:
    for content in _within(above):
        if content.ValueType in _READ and _concept(content) not in _ASIDE:
            yield f"{_code(content.ConceptNameCodeSequence[0])} {_READ[content.ValueType](content)}"
            yield from _statements(content)


def _number(content: Dataset) -> str:
    (measured,) = content.MeasuredValueSequence
    return f"= {measured.NumericValue} {measured.MeasurementUnitsCodeSequence[0].CodeValue}"


def _concept(content: Dataset) -> str:
    name = content.get("ConceptNameCodeSequence")
    return str(name[0].CodeValue) if name else ""


def _code(code: Dataset) -> str:
    return f"{code.CodeMeaning} ({code.get('CodeValue', '')}, {code.CodingSchemeDesignator})"


_READ: Mapping[str, Callable[[Dataset], str]] = {
    "CODE": lambda content: f"= {_code(content.ConceptCodeSequence[0])}",
    "NUM": _number,
    "TEXT": lambda content: f"= {content.TextValue}",
    "SCOORD": lambda content: f"= {content.GraphicType.lower()} of {len(content.GraphicData) // 2} points",
}
"""How the value of each value type is read; other types are not shown."""
