"""Content trees as an outline: which content items a document may hold, where, and what of them never changes.

Hides how many groups a study has. Promises each kind of item once, under the item that it stands below, for every
item that any sample holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from cxrnode.conformance.markdown import concept
from cxrnode.conformance.samples import DEVICES
from cxrnode.domain.reasons import REASONS, RETRACTIONS
from cxrnode.evidence import codes

_Key = tuple[str, str, str]
"""Relationship, value type, name."""


@dataclass(slots=True, kw_only=True)
class _Item:
    """A content item of all samples together."""

    said: set[str] = field(default_factory=set)
    templates: set[str] = field(default_factory=set)
    below: dict[_Key, _Item] = field(default_factory=dict)


def outline(documents: Iterable[Dataset]) -> list[str]:
    """Give the lines of the outline of some documents."""
    top = _Item()
    for document in documents:
        _add(top, document)
    return list(_lines(top, 0))


def _add(above: _Item, content: Dataset) -> None:
    relationship, value_type = content.get("RelationshipType", ""), content.ValueType
    here = above.below.setdefault((relationship, value_type, _name(content)), _Item())
    here.said.add(_value(content))
    here.templates.update(one.TemplateIdentifier for one in content.get("ContentTemplateSequence") or ())
    for inner in content.get("ContentSequence") or ():
        _add(here, inner)


def _lines(above: _Item, depth: int) -> Iterator[str]:
    for (relationship, value_type, name), item in above.below.items():
        words = (relationship, value_type, name, *(f"TID {one}" for one in sorted(item.templates)), _fixed(item.said))
        yield "  " * depth + " ".join(word for word in words if word)
        yield from _lines(item, depth + 1)


def _fixed(said: set[str]) -> str:
    value = next(iter(said)) if len(said) == 1 else ""
    return f"= {value}" if value else ""


def _name(content: Dataset) -> str:
    named: Sequence[Dataset] = content.get("ConceptNameCodeSequence") or ()
    return _coded(named[0]) if named else ""


def _coded(item: Dataset) -> str:
    """Give a concept that names something, or what it is one of: the tables of the statement list them."""
    return _one_of(_NAMES, _code(item))


def _code(item: Dataset) -> Code:
    return Code(item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning)


def _one_of(tables: Mapping[str, frozenset[Code]], code: Code) -> str:
    return next((word for word, some in tables.items() if code in some), concept(code))


_NAMES: Mapping[str, frozenset[Code]] = {
    "<finding or structure>": frozenset(
        [*(one.concept for one in codes.ABNORMALITIES.values()), *(one.kind for one in codes.STRUCTURES.values())]
    ),
    "<measurement>": frozenset(one.concept for one in codes.QUANTITIES.values()),
}
_REASONS: Mapping[str, frozenset[Code]] = {
    "<reason>": frozenset([*map(codes.reason, REASONS), *map(codes.retraction, RETRACTIONS)])
}


def _value(content: Dataset) -> str:
    """Give what an item says where that may be the same in every document."""
    if content.ValueType == "CODE":
        return _one_of(_REASONS, _code(content.ConceptCodeSequence[0]))
    if content.ValueType == "TEXT":
        return f'"{content.TextValue}"' if content.TextValue not in {*DEVICES, ""} else ""
    if content.ValueType == "NUM":
        unit = content.MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0]
        return f"a number in {concept(_code(unit))}"
    return str(content.get("GraphicType", ""))
