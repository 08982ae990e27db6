"""Which attributes an object has, by type, presence and source: read in the samples, not written down.

Hides how it is told where a value comes from: it changes with the image, with the author, with the study, or never.
Promises a row for every attribute that any sample of a kind has, whatever code put it there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256

from pydicom.datadict import dictionary_description, dictionary_VR, keyword_for_tag, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from cxrnode.conformance.samples import DEVICES, VERSION, Sample, Samples
from cxrnode.domain.capability import Kind, ReportClass, class_of
from cxrnode.evidence.inspection.required import Attribute
from cxrnode.evidence.inspection.tables import IODS

Path = tuple[int, ...]
"""The tags of an attribute and of the sequences that it is in."""

_TREE = 0x0040A730
_ITEMS = "items"
_BYTES = "bytes "
_LONGEST = 100
_SEVERAL = 3
"""More values than these are not listed: what is said depends on the study."""
_EITHER = 2
"""An enumerated value (CS) that is one of two is worth listing."""
_OF_THE_MOMENT = frozenset(
    {"SeriesDate", "SeriesTime", "ContentDate", "ContentTime", "PresentationCreationDate", "PresentationCreationTime"}
)
_CODE = frozenset({"CodeValue", "CodingSchemeDesignator", "CodeMeaning"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """An attribute of a kind of object. `source` is one of the statement's words.

    `value` is what never changes, or the two values that there are.
    """

    path: Path
    type: str
    presence: str
    source: str
    value: str = ""

    @property
    def cells(self) -> tuple[str, ...]:
        """Its line in a table."""
        tag = self.path[-1]
        name = f"{'>' * (len(self.path) - 1)}{dictionary_description(tag)}"
        return name, f"({tag >> 16:04X},{tag & 0xFFFF:04X})", self.type, self.presence, self.source, self.value


def rows_of(samples: Samples, kind: Kind) -> list[Row]:
    """Give every attribute of a kind, in the order of tags."""
    objects = [one for sample in samples.all() for one in _objects(sample, kind)]
    types = dict(_types(kind))
    paths = sorted({path for one in objects for path in one.found})
    return [_row(path, types.get(path, ""), objects) for path in paths]


def shared(all_rows: Mapping[Kind, Sequence[Row]]) -> list[Row]:
    """Give the rows that are the same in all kinds, with the strictest of their types."""
    first, *others = all_rows.values()
    alike = [{_alike(row) for row in rows} for rows in others]
    same = [row for row in first if all(_alike(row) in rows for rows in alike)]
    every = [row for rows in all_rows.values() for row in rows]
    return [replace(row, type=min(_types_in(every, row.path), default="")) for row in same]


def without(rows: Iterable[Row], others: Iterable[Row]) -> list[Row]:
    """Give the rows that are not among others."""
    known = {_alike(row) for row in others}
    return [row for row in rows if _alike(row) not in known]


def _alike(row: Row) -> Row:
    return replace(row, type="")


def _types_in(rows: Iterable[Row], path: Path) -> Iterator[str]:
    return (row.type for row in rows if row.path == path and row.type)


@dataclass(slots=True, kw_only=True)
class _Found:
    """What stands under a path in one object: its values, how often it is there, and how many items it has."""

    texts: set[str] = field(default_factory=set)
    times: int = 0
    items: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Object:
    """One object by paths, and what its sources state by keyword. `sample` names the sample that it is of."""

    sample: int
    found: Mapping[Path, _Found]
    stated: Mapping[str, set[str]]

    def texts(self, path: Path) -> set[str]:
        """Give the values under a path."""
        return self.found[path].texts if path in self.found else set()

    def lacks(self, path: Path) -> bool:
        """Tell whether it is missing at the top, or in one of the items that it could be in."""
        above = self.found.get(path[:-1])
        places = 1 if len(path) == 1 else above.items if above else 0
        return (self.found[path].times if path in self.found else 0) < places


def _objects(sample: Sample, kind: Kind) -> list[_Object]:
    stated: dict[str, set[str]] = {}
    for header in sample.headers:
        for path, held in _found(header).items():
            stated.setdefault(keyword_for_tag(path[-1]), set()).update(held.texts)
    return [_Object(sample=id(sample), found=_found(one), stated=stated) for one in sample.objects.get(kind, ())]


def _row(path: Path, type_: str, objects: Sequence[_Object]) -> Row:
    texts = {text for one in objects for text in one.texts(path)}
    presence, source = _presence(path, objects), _source(path, texts, objects)
    if presence == "EMPTY" or (source != "SRC" and texts <= {_ITEMS, ""}):
        source = ""
    listed = source == "FIXED" or (source == "AUTO" and len(texts) == _EITHER and dictionary_VR(path[-1]) == "CS")
    value = ", ".join(_shown(text) for text in sorted(texts)) if listed else ""
    return Row(path=path, type=type_, presence=presence, source=source, value=value)


def _presence(path: Path, objects: Sequence[_Object]) -> str:
    """Tell how sure a reader can be to find it, in the words of PS3.2. Within a sequence: in each of its items."""
    if any(one.lacks(path) for one in objects):
        return "ANAP"
    filled = [any(one.texts(path)) for one in objects if path in one.found]
    if all(filled):
        return "ALWAYS"
    return "VNAP" if any(filled) else "EMPTY"


def _source(path: Path, texts: set[str], objects: Sequence[_Object]) -> str:
    keyword = keyword_for_tag(path[-1])
    # A source's own identity is what a reference to it says.
    known = keyword.removeprefix("Referenced")
    if all(one.texts(path) - {""} <= one.stated.get(known, set()) for one in objects):
        return "SRC"
    if keyword in _OF_THE_MOMENT and len(path) == 1:
        return "MOMENT"
    if texts == set(DEVICES):
        return "CONFIG"
    changing = len(texts) > _SEVERAL or any(len(text) > _LONGEST for text in texts) or not any(texts)
    return "AUTO" if changing or _differs(path, objects) else "FIXED"


def _differs(path: Path, objects: Sequence[_Object]) -> bool:
    """Tell whether what is said depends on the study: an attribute that two samples have says different things."""
    said: dict[int, set[str]] = {}
    for one in objects:
        said.setdefault(one.sample, set()).update(one.texts(path))
    return len({frozenset(texts) for texts in said.values() if texts}) > 1


def _found(held: Dataset, above: Path = (), into: dict[Path, _Found] | None = None) -> dict[Path, _Found]:
    """Give what stands under every path, the items of a sequence together; nothing below a content tree."""
    found = {} if into is None else into
    for element in held:
        path = (*above, int(element.tag))
        if above and _is_code(held) and element.keyword in _CODE:
            continue
        here = found.setdefault(path, _Found())
        here.times += 1
        here.texts.update(_texts(element))
        if element.VR == "SQ" and int(element.tag) != _TREE:
            here.items += len(element.value)
            for item in element.value:
                _found(item, path, found)
    return found


def _texts(element: DataElement) -> set[str]:
    if element.VR == "SQ":
        coded = {_code(item) for item in element.value if _is_code(item)}
        return coded or ({_ITEMS} if element.value else {""})
    if isinstance(element.value, bytes):
        return {f"{_BYTES}{sha256(element.value).hexdigest()}"}
    values = element.value if isinstance(element.value, (MultiValue, list)) else [element.value]
    return {"\\".join("" if value is None else str(value) for value in values)}


def _is_code(item: Dataset) -> bool:
    return all(keyword in item for keyword in _CODE)


def _code(item: Dataset) -> str:
    return f'({item.CodeValue}, {item.CodingSchemeDesignator}, "{item.CodeMeaning}")'


def _shown(text: str) -> str:
    """Give a value that never changes; the items of a sequence are listed below it."""
    if text in {_ITEMS, ""} or text.startswith(_BYTES):
        return ""
    return text if text.startswith("(") else f"`{text.replace(VERSION, '<version>')}`"


def _types(kind: Kind) -> Iterator[tuple[Path, str]]:
    sop_class = class_of(kind, ReportClass.COMPREHENSIVE_3D)
    for module in IODS[sop_class]:
        yield from _types_below(module.attributes, ())


def _types_below(attributes: Iterable[Attribute], above: Path) -> Iterator[tuple[Path, str]]:
    for attribute in attributes:
        path = (*above, tag_for_keyword(attribute.keyword) or 0)
        yield path, attribute.type
        yield from _types_below(attribute.within, path)
