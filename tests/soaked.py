"""Films with a sentinel in every attribute that holds text: its own ones, all the others there are, nested and private.

A sentinel stands in the bytes as they are, whatever the value representation allows: that is what a hostile or broken
sender writes, and what libraries quote.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydicom import Dataset
from pydicom.datadict import DicomDictionary
from pydicom.dataelem import RawDataElement
from pydicom.tag import BaseTag, Tag

from cxrnode.phantom import Patient, Radiograph, render

FREE = frozenset({"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"})
TYPED = frozenset({"AS", "DA", "DS", "DT", "IS", "TM", "UI"})
_LENGTHS_OF_32_BITS = frozenset({"UC", "UR", "UT", "SQ", "UN"})

_DECIDES = frozenset({0x00102201})
"""The species: a film of an animal is looked at by no model, and the soaked one is to go all the way."""


def text_attributes(ds: Dataset) -> list[tuple[tuple[int, ...], BaseTag]]:
    """Give every element of text of a data set, nested ones too: the way through sequences, and the tag."""
    found: list[tuple[tuple[int, ...], BaseTag]] = []
    for element in ds:
        if element.VR == "SQ":
            for number, item in enumerate(element.value):
                found += [((int(element.tag), number, *way), tag) for way, tag in text_attributes(item)]
        elif element.VR in FREE | TYPED:
            found.append(((), element.tag))
    return found


def with_text(base: Radiograph, places: Sequence[tuple[tuple[int, ...], BaseTag]], sentinel: str) -> bytes:
    """Give a film with the sentinel in place of what stands in these elements."""
    film = render(base).dataset
    for way, tag in places:
        ds = film
        for sequence, number in zip(way[::2], way[1::2], strict=True):
            ds = ds[sequence].value[number]
        _put(ds, tag, str(ds[tag].VR), sentinel)
    return encoded(film)


def soaked(base: Radiograph, sentinel: str, kinds: frozenset[str]) -> bytes:
    """Give a film that has, besides its own, every attribute of these kinds, and nested and private ones."""
    ds = render(base).dataset
    _soak(ds, sentinel, kinds)
    for keyword in ("RequestAttributesSequence", "OtherPatientIDsSequence", "ProcedureCodeSequence"):
        outer, inner = Dataset(), Dataset()
        for item in (outer, inner):
            for tag in (0x00100010, 0x00100020, 0x00080050, 0x00400275 + 0x7, 0x0040A160, 0x00081030):
                _put(item, Tag(tag), "LO", sentinel)
        outer.ReferencedStudySequence = [inner]
        setattr(ds, keyword, [outer])
    block = ds.private_block(0x0029, sentinel, create=True)
    for offset, vr in enumerate(sorted(kinds | {"UN"})):
        _put(ds, block.get_tag(offset), vr, sentinel)
    nested = Dataset()
    _put(nested, Tag(0x00100010), "PN", sentinel)
    block.add_new(0xF0, "SQ", [nested])
    return encoded(ds)


def patient_of(sentinel: str, patient_id: str, birth_date: str) -> Patient:
    """Give the patient of these films."""
    return Patient(name=f"{sentinel}^QUXA", patient_id=patient_id, birth_date=birth_date)


def encoded(ds: Dataset) -> bytes:
    """Give a data set as a file."""
    from io import BytesIO

    buffer = BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _soak(ds: Dataset, sentinel: str, kinds: frozenset[str]) -> None:
    for number, vr in _dictionary(kinds):
        if number not in ds and number not in _DECIDES:
            _put(ds, Tag(number), vr, sentinel)


def _dictionary(kinds: frozenset[str]) -> Iterator[tuple[int, str]]:
    """Give the attributes that a data set of an image may have: no command, no file meta, no group lengths."""
    for number, (vr, *_) in DicomDictionary.items():
        if vr in kinds and number >> 16 >= 0x0008 and number & 0xFFFF:
            yield number, vr


def _put(ds: Dataset, tag: BaseTag, vr: str, sentinel: str) -> None:
    value = sentinel.encode() + b" " * (len(sentinel) % 2)
    ds[tag] = RawDataElement(Tag(tag), vr, len(value), value, 0, False, True)
