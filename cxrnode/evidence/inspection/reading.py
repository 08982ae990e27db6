"""A kept object as it lies in its file: elements as bytes, sequences as items, nothing interpreted.

Hides pydicom, which is asked for structure alone. Promises that what is looked at is what will be sent,
value for value, and that no value is logged.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import pydicom
from pydicom.datadict import keyword_for_tag, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

_PADDED = frozenset(
    {"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT"}
)
_BINARY = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d", "AT": "I"}


@dataclass(frozen=True, slots=True)
class Element:
    """One element: its VR and its bytes, or the items of a sequence."""

    vr: str
    value: bytes = b""
    items: tuple[Item, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether it has no value: nothing, or nothing but the padding of a text."""
        return not self.items and not (self.value.strip(b" \0") if self.vr in _PADDED else self.value)


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """A data set, or an item of a sequence: elements by tag. What is missing or empty gives empty answers."""

    elements: Mapping[int, Element] = field(default_factory=dict)

    def __contains__(self, keyword: str) -> bool:
        """Whether the element is there at all."""
        return _tag(keyword) in self.elements

    def empty(self, keyword: str) -> bool:
        """Whether the element is missing or has no value."""
        held = self.elements.get(_tag(keyword))
        return held is None or held.empty

    def raw(self, keyword: str) -> bytes:
        """Give the bytes of a value without their padding."""
        held = self.elements.get(_tag(keyword))
        return b"" if held is None else held.value.strip(b" \0")

    def value(self, keyword: str) -> bytes:
        """Give the bytes of a value as they stand."""
        held = self.elements.get(_tag(keyword))
        return b"" if held is None else held.value

    def texts(self, keyword: str) -> tuple[str, ...]:
        """Give the values of an element as text, those of a binary one as well."""
        held = self.elements.get(_tag(keyword))
        if held is None or held.empty:
            return ()
        if held.vr in _BINARY:
            return tuple(str(number) for number in _unpacked(held))
        return tuple(text.strip(" \0") for text in held.value.decode("ascii", "replace").split("\\"))

    def text(self, keyword: str) -> str:
        """Give the first value of an element as text."""
        return next(iter(self.texts(keyword)), "")

    def numbers(self, keyword: str) -> tuple[float, ...]:
        """Give the values of an element as numbers; none where one of them is not."""
        try:
            return tuple(float(text) for text in self.texts(keyword))
        except ValueError:
            return ()

    def number(self, keyword: str) -> int:
        """Give the first value of an element as a whole number, or 0."""
        return int(next(iter(self.numbers(keyword)), 0))

    def items(self, keyword: str) -> tuple[Item, ...]:
        """Give the items of a sequence."""
        held = self.elements.get(_tag(keyword))
        return () if held is None else held.items

    def code(self, keyword: str) -> tuple[str, str]:
        """Give the value and the scheme of the first code in a sequence."""
        first = next(iter(self.items(keyword)), Item())
        return first.text("CodeValue"), first.text("CodingSchemeDesignator")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Kept:
    """A file: its meta information, and its data set."""

    meta: Item
    root: Item


def read(path: Path) -> Kept:
    """Read a whole file. Raises whatever pydicom raises where it is none."""
    dataset = pydicom.dcmread(path)
    return Kept(meta=_item(dataset.file_meta), root=_item(dataset))


@lru_cache(maxsize=2048)
def named(tag: int) -> str:
    """Give the keyword of an element, or its tag where it has none."""
    return keyword_for_tag(tag) or f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


def every_element(item: Item, path: str = "") -> Iterator[tuple[str, int, Element]]:
    """Give every element below, with the path of the item that holds it."""
    for tag, element in item.elements.items():
        yield path, tag, element
        for number, inner in enumerate(element.items, 1):
            yield from every_element(inner, f"{path}{named(tag)}[{number}].")


def every_item(item: Item, path: str = "") -> Iterator[tuple[str, Item]]:
    """Give every item below, and this one, with its path."""
    yield path, item
    for tag, element in item.elements.items():
        for number, inner in enumerate(element.items, 1):
            yield from every_item(inner, f"{path}{named(tag)}[{number}].")


def _item(dataset: Dataset) -> Item:
    return Item({int(tag): _element(dataset, int(tag)) for tag in dataset.keys()})  # noqa: SIM118 - raw values


def _element(dataset: Dataset, tag: int) -> Element:
    held = dataset.get_item(tag)
    vr = str(held.VR or "UN")
    if vr == "SQ":
        return Element("SQ", items=tuple(_item(item) for item in dataset[tag].value or ()))
    if isinstance(held, RawDataElement) or isinstance(held.value, bytes):
        return Element(vr, held.value or b"")
    return Element(vr, _packed(vr, held.value))


def _packed(vr: str, value: object) -> bytes:
    """Give the bytes of what pydicom reads by itself: character set, pixel representation, file meta."""
    if vr in _BINARY and isinstance(value, int):
        return struct.pack(f"<{_BINARY[vr]}", value)
    values = value if isinstance(value, (list, tuple, MultiValue)) else [value]
    return "\\".join("" if one is None else str(one) for one in values).encode("ascii", "replace")


@lru_cache(maxsize=1024)
def _tag(keyword: str) -> int:
    tag = tag_for_keyword(keyword)
    assert tag is not None, keyword
    return tag


def _unpacked(element: Element) -> tuple[float, ...]:
    letter = _BINARY[element.vr]
    count = len(element.value) // struct.calcsize(letter)
    return struct.unpack(f"<{count}{letter}", element.value[: count * struct.calcsize(letter)])
