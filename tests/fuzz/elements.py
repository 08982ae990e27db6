"""DICOM files written byte by byte, as no library would write them (PS3.5 7.1, PS3.10 7.1)."""

from __future__ import annotations

import struct
import zlib

from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

_LONG = frozenset({"OB", "OW", "SQ", "UN", "UT", "OF", "UC", "UR"})
UNDEFINED = 0xFFFFFFFF
ITEM, END_ITEM, END_SEQUENCE = b"\xfe\xff\x00\xe0", b"\xfe\xff\x0d\xe0" + bytes(4), b"\xfe\xff\xdd\xe0" + bytes(4)
CR = "1.2.840.10008.5.1.4.1.1.1"


def element(group: int, number: int, vr: str, value: bytes, *, length: int | None = None) -> bytes:
    """Give one element in explicit little endian; `length` says what it claims, whatever its value is."""
    value += (b"\0" if vr in {"UI", "OB", "OW", "UN", "SQ"} else b" ") * (len(value) % 2)
    stated = len(value) if length is None else length
    head = struct.pack("<HH2s", group, number, vr.encode())
    return head + (struct.pack("<HL", 0, stated) if vr in _LONG else struct.pack("<H", stated & 0xFFFF)) + value


def meta(syntax: str = ExplicitVRLittleEndian, *, sop_class: str = CR, sop_instance: str = "1.2.3") -> bytes:
    """Give a preamble and file meta information."""
    body = (
        element(2, 1, "OB", b"\0\1")
        + element(2, 2, "UI", sop_class.encode())
        + element(2, 3, "UI", sop_instance.encode())
        + element(2, 0x10, "UI", syntax.encode())
    )
    return bytes(128) + b"DICM" + element(2, 0, "UL", struct.pack("<L", len(body))) + body


def header(*, study: str = "1.2.4", sop_instance: str = "1.2.3", more: bytes = b"") -> bytes:
    """Give the elements that name an instance, and `more` before its pixels."""
    return (
        element(8, 0x16, "UI", CR.encode())
        + element(8, 0x18, "UI", sop_instance.encode())
        + element(8, 0x60, "CS", b"CR")
        + element(0x20, 0xD, "UI", study.encode())
        + element(0x20, 0xE, "UI", b"1.2.5")
        + more
    )


def image(rows: int = 16, columns: int = 16) -> bytes:
    """Give the Image Pixel module of a picture of 8 bits, without its pixels."""
    numbers = {0x02: 1, 0x10: rows, 0x11: columns, 0x100: 8, 0x101: 8, 0x102: 7, 0x103: 0}
    described = b"".join(element(0x28, number, "US", struct.pack("<H", value)) for number, value in numbers.items())
    return described[:10] + element(0x28, 0x04, "CS", b"MONOCHROME2") + described[10:]


def pixels(value: bytes = bytes(256), *, length: int | None = None) -> bytes:
    """Give Pixel Data."""
    return element(0x7FE0, 0x10, "OB", value, length=length)


def deflated(data_set: bytes) -> bytes:
    """Give a file whose data set is deflated (PS3.5 A.5)."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return meta(DeflatedExplicitVRLittleEndian) + packer.compress(data_set) + packer.flush()


def deflated_zeros(data_set: bytes, zeros: int) -> bytes:
    """Give a deflated file that goes on with so many zero bytes, without making them."""
    packer, chunk = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS), bytes(1 << 20)
    parts = [packer.compress(data_set), *(packer.compress(chunk) for _ in range(zeros >> 20)), packer.flush()]
    return meta(DeflatedExplicitVRLittleEndian) + b"".join(parts)


def nested(depth: int, *, undefined: bool) -> bytes:
    """Give sequences within sequences (Referenced Image Sequence), so many deep."""
    if undefined:
        opening = element(8, 0x1140, "SQ", b"", length=UNDEFINED) + ITEM + struct.pack("<L", UNDEFINED)
        return opening * depth + (END_ITEM + END_SEQUENCE) * depth
    value = b""
    for _ in range(depth):
        value = element(8, 0x1140, "SQ", ITEM + struct.pack("<L", len(value)) + value)
    return value
