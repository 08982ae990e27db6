"""Writes a finished object as a DICOM file, the same bytes for the same object.

Hides the file meta information (PS3.10 7.1) and the grammar of explicit VR little endian (PS3.5 7.1.2, 7.5). Promises
what pydicom would write, byte for byte, and our own implementation identity. pydicom's writer is made for every
transfer syntax and for data sets from anywhere: a report has a thousand elements, and half of them stand in coded
concepts that come again and again.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from io import BytesIO

from pydicom.charset import default_encoding
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomFileLike
from pydicom.filewriter import write_data_element
from pydicom.uid import UID, ExplicitVRLittleEndian
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32, IS, DSdecimal, DSfloat

from cxrnode.domain.identity import derived_uid

IMPLEMENTATION_CLASS_UID = derived_uid("implementation")
_CHARACTER_SET = 0x00080005
_PREAMBLE = b"\x00" * 128 + b"DICM"
_ITEM = b"\xfe\xff\x00\xe0"
_LONG = frozenset(str(vr) for vr in EXPLICIT_VR_LENGTH_32)
_TEXT = frozenset({"AE", "AS", "CS", "DA", "DS", "IS", "LO", "LT", "SH", "ST", "TM", "UC", "UI", "UR", "UT"})
_NUMBERS = {"US": "H", "SS": "h", "UL": "L", "SL": "l", "FL": "f", "FD": "d"}

_Items = dict[int, bytes]
"""Items already encoded, by the identity of their data set: one that stands in many places is encoded once."""


def encoded(built: Dataset, software_version: str) -> bytes:
    """Give the whole file: preamble, file meta and data set."""
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = built.SOPClassUID
    meta.MediaStorageSOPInstanceUID = built.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = f"CXRNODE_{software_version}"[:16]
    about = b"".join(_elements(meta, {}))
    group_length = struct.pack("<HH2sHL", 0x0002, 0x0000, b"UL", 4, len(about))
    return b"".join((_PREAMBLE, group_length, about, *_elements(built, {})))


def _elements(dataset: Dataset, items: _Items) -> Iterator[bytes]:
    """Give the elements in the order of their tags; raw ones are the bytes that they are."""
    # As plain integers: a tag of pydicom compares itself in Python, and a thousand are sorted.
    for tag, element in sorted((int(tag), element) for tag, element in dataset.items()):
        if tag == _CHARACTER_SET:
            yield _character_set(dataset)
        elif isinstance(element, DataElement) and element.VR == "SQ":
            yield _element(tag, "SQ", b"".join(_item(item, items) for item in element.value or ()))
        else:
            value = _value(element)
            yield _by_pydicom(element) if value is None else _element(tag, str(element.VR), value)


def _element(tag: int, vr: str, value: bytes) -> bytes:
    """Put tag, VR and length before a value (PS3.5 7.1.2)."""
    form = "<HH2s2xL" if vr in _LONG else "<HH2sH"
    return struct.pack(form, tag >> 16, tag & 0xFFFF, vr.encode("ascii"), len(value)) + value


def _item(dataset: Dataset, items: _Items) -> bytes:
    """Give an item of a sequence with its length (PS3.5 7.5.1)."""
    known = items.get(id(dataset))
    if known is None:
        content = b"".join(_elements(dataset, items))
        known = items[id(dataset)] = _ITEM + struct.pack("<L", len(content)) + content
    return known


def _value(element: DataElement | RawDataElement) -> bytes | None:
    """Give a value of the frequent kinds, of even length; None for what is left to pydicom."""
    vr, value = str(element.VR), element.value
    if isinstance(value, bytes):
        found = value if element.is_raw or vr == "UN" else value + b"\x00" * (len(value) % 2)
    elif value is None or (isinstance(value, str) and not value):
        found = b""
    elif vr in _NUMBERS:
        numbers = value if isinstance(value, Sequence) else [value]
        found = struct.pack(f"<{len(numbers)}{_NUMBERS[vr]}", *numbers)
    elif vr in _TEXT and (text := _text(value)) is not None:
        found = text.encode("ascii") + (b"\x00" if vr == "UI" else b" ") * (len(text) % 2)
    else:
        return None
    return found if vr in _LONG or len(found) <= 0xFFFF else None


def _text(value: object) -> str | None:
    """Give a value, or several with backslashes between them, as ASCII; a decimal as it was put; None for others."""
    if isinstance(value, str):
        return value if value.isascii() else None
    if isinstance(value, Sequence):
        texts = [_text(one) for one in value]
        return None if None in texts else "\\".join(text for text in texts if text is not None)
    if isinstance(value, (DSfloat, DSdecimal, IS)):
        return str(getattr(value, "original_string", value))
    return None


def _by_pydicom(element: DataElement | RawDataElement) -> bytes:
    """Let pydicom write an element of a rare kind. Nothing waits for a character set: see `_character_set`."""
    buffer = BytesIO()
    written = DicomFileLike(buffer)
    written.is_implicit_VR, written.is_little_endian = False, True
    write_data_element(written, element, [default_encoding])
    return buffer.getvalue()


def _character_set(built: Dataset) -> bytes:
    """Write Specific Character Set (PS3.3 C.12.1.1.2) as it is stated: a CS of even length.

    No text of the object waits to be encoded: ours is ASCII, the source's is bytes. pydicom, given the character set,
    would warn of a misspelt one once for every item of every sequence.
    """
    stated = built[_CHARACTER_SET].value
    terms = [stated] if isinstance(stated, str) else [str(term) for term in stated or ()]
    text = "\\".join(terms).encode("ascii", "replace")
    return _element(_CHARACTER_SET, "CS", text + b" " * (len(text) % 2))
