"""The content tree of a structured report or a key object selection: its grammar, and what its groups say.

Hides content items. Promises an objection for an item without its value, for a relationship that the SOP class has not,
and groups as plain values, each with its path, for what compares them with the masks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from cxrnode.domain.capability import KEY_OBJECT_SELECTION
from cxrnode.evidence.inspection.macros import CODE, INSTANCE
from cxrnode.evidence.inspection.reading import Item
from cxrnode.evidence.inspection.required import Attribute, must, unmet

TRACKING_IDENTIFIER, TRACKING_UID = ("112039", "DCM"), ("112040", "DCM")
SEGMENTATION_FRAME, SEGMENTATION_SOURCE = ("121214", "DCM"), ("121233", "DCM")
LATERALITY = ("272741003", "SCT")
FINDING = ("121071", "DCM")
_MEASUREMENT_GROUP = ("125007", "DCM")

_SECTION = "C.17.3"
_NAME = must("ConceptNameCodeSequence", within=CODE, single=True)
_UNIT = must("MeasurementUnitsCodeSequence", within=CODE, single=True)
_GRAPHICS = ("POINT", "MULTIPOINT", "POLYLINE", "CIRCLE", "ELLIPSE")

_VALUES: Mapping[str, tuple[Attribute, ...]] = {
    "CONTAINER": (must("ContinuityOfContent", "SEPARATE", "CONTINUOUS"),),
    "CODE": (_NAME, must("ConceptCodeSequence", within=CODE, single=True)),
    "TEXT": (_NAME, must("TextValue")),
    "NUM": (_NAME, must("MeasuredValueSequence", within=(must("NumericValue"), _UNIT), single=True)),
    "UIDREF": (_NAME, must("UID")),
    "PNAME": (_NAME, must("PersonName")),
    "DATE": (_NAME, must("Date")),
    "TIME": (_NAME, must("Time")),
    "DATETIME": (_NAME, must("DateTime")),
    "IMAGE": (must("ReferencedSOPSequence", within=INSTANCE, single=True),),
    "COMPOSITE": (must("ReferencedSOPSequence", within=INSTANCE, single=True),),
    "SCOORD": (must("GraphicType", *_GRAPHICS), must("GraphicData")),
}
"""What an item of each value type holds (PS3.3 C.17.3.2.1, C.18); no other value type is written."""

_PLAIN = frozenset({"TEXT", "CODE", "NUM", "DATETIME", "DATE", "TIME", "UIDREF", "PNAME"})
_CONTENTS = _PLAIN | {"IMAGE", "COMPOSITE", "SCOORD"}
_MEASURED = ("TEXT", "CODE", "NUM")

_REPORT_RELATIONS: Mapping[tuple[str, str], frozenset[str]] = {
    ("CONTAINER", "CONTAINS"): _CONTENTS | {"CONTAINER"},
    ("CONTAINER", "HAS OBS CONTEXT"): _PLAIN | {"COMPOSITE"},
    **{(source, "HAS CONCEPT MOD"): frozenset({"TEXT", "CODE"}) for source in _VALUES},
    **{(source, "HAS OBS CONTEXT"): _PLAIN | {"COMPOSITE"} for source in _MEASURED},
    **{(source, "HAS PROPERTIES"): _CONTENTS for source in _MEASURED},
    **{(source, "INFERRED FROM"): _CONTENTS for source in _MEASURED},
    **{(source, "HAS ACQ CONTEXT"): _PLAIN for source in ("CONTAINER", "IMAGE", "COMPOSITE", "NUM")},
    ("SCOORD", "SELECTED FROM"): frozenset({"IMAGE"}),
}
"""By value only, and without what only Comprehensive has beyond Enhanced (Tables A.35.2-2, A.35.3-2, A.35.13-2)."""

_KEY_OBJECT_RELATIONS: Mapping[tuple[str, str], frozenset[str]] = {
    ("CONTAINER", "CONTAINS"): frozenset({"TEXT", "IMAGE", "COMPOSITE"}),
    ("CONTAINER", "HAS OBS CONTEXT"): frozenset({"TEXT", "CODE", "UIDREF", "PNAME"}),
    ("CONTAINER", "HAS CONCEPT MOD"): frozenset({"CODE"}),
}
"""Table A.35.4-2."""

_LEAST_POINTS = {"POINT": 1, "MULTIPOINT": 1, "POLYLINE": 2, "CIRCLE": 2, "ELLIPSE": 4}


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A value as it is printed, with the value of its concept's code and of its unit's."""

    path: str
    concept: str
    unit: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """The points of a coordinate, (column, row), and the image that they lie on."""

    path: str
    points: tuple[tuple[float, float], ...]
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """What one measurement group says (PS3.16 TID 1410, 1501)."""

    path: str
    title: str
    tracking_uid: str
    numbers: tuple[Number, ...]
    outlines: tuple[Outline, ...]
    frames: tuple[tuple[str, int], ...]
    """Segmentation and frame number that it refers to."""
    sources: tuple[str, ...]
    laterality: str
    finding: str
    judgments: tuple[tuple[str, str], ...]
    """Values of concept and code of what is coded in it."""


def ungrammatical(root: Item) -> Iterator[str]:
    """Give an objection for each item that lacks its value or stands where the SOP class has no place for it."""
    key_objects = root.text("SOPClassUID") == KEY_OBJECT_SELECTION
    relations = _KEY_OBJECT_RELATIONS if key_objects else _REPORT_RELATIONS
    for above, path, item in _children(root, ""):
        kind, relation = item.text("ValueType"), item.text("RelationshipType")
        if kind not in _VALUES:
            yield f"{path}ValueType: {kind or 'missing'}, which is not written"
            continue
        if kind not in relations.get((above, relation), ()):
            yield f"{path}RelationshipType: {above} {relation or 'nothing'} {kind} has no place in this SOP class"
        yield from unmet(item, _VALUES[kind], _SECTION, path)
        yield from _figure_at_fault(item, path)


def groups_of(root: Item) -> tuple[Group, ...]:
    """Give every measurement group of a report."""
    return tuple(
        _group(item, path)
        for _, path, item in _children(root, "")
        if item.text("ValueType") == "CONTAINER" and item.code("ConceptNameCodeSequence") == _MEASUREMENT_GROUP
    )


def references(root: Item) -> Iterator[tuple[str, Item]]:
    """Give every instance that the tree refers to, with its path."""
    for _, path, item in _children(root, ""):
        for number, reference in enumerate(item.items("ReferencedSOPSequence"), 1):
            yield f"{path}ReferencedSOPSequence[{number}].", reference


def _children(item: Item, path: str) -> Iterator[tuple[str, str, Item]]:
    """Give every content item below, with the value type that it hangs from and its path."""
    for number, child in enumerate(item.items("ContentSequence"), 1):
        where = f"{path}ContentSequence[{number}]."
        yield item.text("ValueType"), where, child
        yield from _children(child, where)


def _figure_at_fault(item: Item, path: str) -> Iterator[str]:
    """Points come in pairs, enough for their figure (C.18.6); a frame comes without a segment (C.18.4.1)."""
    if item.text("ValueType") == "SCOORD":
        count = len(item.numbers("GraphicData"))
        if count % 2 or count < 2 * _LEAST_POINTS.get(item.text("GraphicType"), 1):
            yield f"{path}GraphicData: {count} numbers are no {item.text('GraphicType')} (PS3.3 C.18.6)"
    for reference in item.items("ReferencedSOPSequence"):
        if not reference.empty("ReferencedFrameNumber") and not reference.empty("ReferencedSegmentNumber"):
            yield f"{path}ReferencedSOPSequence[1].ReferencedSegmentNumber: beside a frame (PS3.3 C.18.4.1)"


def _group(group: Item, path: str) -> Group:
    inside = [*_children(group, path)]
    own = [*_direct(group, path)]
    plain = [item for _, item in own]
    images = [item for item in plain if item.text("ValueType") == "IMAGE"]
    outlines = tuple(_outline(item, where) for where, item in own if item.text("ValueType") == "SCOORD")
    return Group(
        path=path,
        title=_said(own, TRACKING_IDENTIFIER, "TextValue"),
        tracking_uid=_said(own, TRACKING_UID, "UID"),
        numbers=tuple(_number(item, where) for where, item in own if item.text("ValueType") == "NUM"),
        outlines=outlines,
        frames=tuple(_frame(item) for item in images if _concept(item) == SEGMENTATION_FRAME),
        sources=(
            *(_referred(item) for item in images if _concept(item) != SEGMENTATION_FRAME),
            *(outline.source for outline in outlines),
        ),
        laterality=_coded([item for _, _, item in inside], LATERALITY),
        finding=_coded(plain, FINDING),
        judgments=tuple(
            (_concept(i)[0], i.code("ConceptCodeSequence")[0]) for i in plain if i.text("ValueType") == "CODE"
        ),
    )


def _direct(item: Item, path: str) -> Iterator[tuple[str, Item]]:
    for number, child in enumerate(item.items("ContentSequence"), 1):
        yield f"{path}ContentSequence[{number}].", child


def _concept(item: Item) -> tuple[str, str]:
    return item.code("ConceptNameCodeSequence")


def _said(own: list[tuple[str, Item]], concept: tuple[str, str], keyword: str) -> str:
    return next((item.text(keyword) for _, item in own if _concept(item) == concept), "")


def _coded(items: list[Item], concept: tuple[str, str]) -> str:
    return next((item.code("ConceptCodeSequence")[0] for item in items if _concept(item) == concept), "")


def _referred(item: Item) -> str:
    return next((one.text("ReferencedSOPInstanceUID") for one in item.items("ReferencedSOPSequence")), "")


def _frame(item: Item) -> tuple[str, int]:
    reference = next(iter(item.items("ReferencedSOPSequence")), Item())
    return reference.text("ReferencedSOPInstanceUID"), reference.number("ReferencedFrameNumber")


def _outline(item: Item, path: str) -> Outline:
    numbers = item.numbers("GraphicData")
    selected = next(iter(item.items("ContentSequence")), Item())
    points = tuple(zip(numbers[::2], numbers[1::2], strict=False))
    return Outline(path=path, points=points, source=_referred(selected))


def _number(item: Item, path: str) -> Number:
    measured = next(iter(item.items("MeasuredValueSequence")), Item())
    return Number(
        path=path,
        concept=_concept(item)[0],
        unit=measured.code("MeasurementUnitsCodeSequence")[0],
        text=measured.text("NumericValue"),
    )
