"""Stored pixel values out of a radiograph's file, whatever its transfer syntax.

Hides byte order, packing and broken files. Promises the values that were stored, on the rows and columns
that the header states, or Unsuitable: never a picture padded out with zeros, no warning of pydicom's (they
quote names and values), and no more memory than MOST_PIXELS need, whatever a file of a few kilobytes unpacks to.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
import pydicom
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from cxrnode.errors import Unsuitable
from cxrnode.pixels.codecs import CODECS, Integers, Layout, unpacked
from cxrnode.pixels.frugal import MOST_HEADER, Inflating, whole
from cxrnode.pixels.quiet import quiet

_PIXEL_DATA = Tag(0x7FE0, 0x0010)

MOST_PIXELS = 100_000_000
"""Rows times columns past which a header lies or means harm; the largest detectors have 30 million, digitisers 60."""
_MOST_INFLATED = 2 * MOST_PIXELS + MOST_HEADER
"""Bytes of a deflated data set."""
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StoredPixels:
    """Stored values as integers, (rows, cols), before any transformation, and the header they came with."""

    values: Integers
    header: Dataset


def decode(source: Path | Dataset) -> StoredPixels:
    """Decode the one frame of a file, or of a data set that carries its file meta information.

    A file without meta information is read as implicit little endian, PS3.10's default, unless its first element
    plainly has a VR. Raises Unsuitable, with a code of domain.selection.REASONS: "unreadable", "no_pixels",
    "multi_frame" or "colour".
    """
    with quiet():
        ds = source if isinstance(source, Dataset) else _read(source)
        layout = _layout(ds)
        values = _arranged(_words(ds, layout), layout, _shares_bits(ds))
    if not isinstance(source, Dataset):
        del ds[_PIXEL_DATA]
    return StoredPixels(values=values, header=ds)


def _refuse(happened: str, ds: Dataset | None = None, *, code: str = "unreadable") -> NoReturn:
    raise Unsuitable(happened, code=code, operation="decode", subject=_name(ds))


def _name(ds: Dataset | None) -> str:
    """The SOP Instance UID, where it is one: a broken header may hold anything in its place."""
    try:
        name = str(ds.SOPInstanceUID) if ds is not None else ""
    except Exception:  # noqa: BLE001 - pydicom raises whatever a broken header makes it stumble on
        return ""
    return name if uid.UID(name).is_valid else ""


def _read(path: Path) -> Dataset:
    """The data set of a file; Unsuitable where it is none or ends too soon."""
    try:
        _refuse_bomb(path)
        with path.open("rb") as file:
            # pydicom asks for as many bytes as a length claims, and Python makes room for them before it looks.
            ds = pydicom.dcmread(whole(file), force=True)
        present = "PixelData" in ds
        named = "SOPClassUID" in ds
    except (MemoryError, Unsuitable):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's; pydicom's own, of a sequence that ends too soon, has no number
        raise Unsuitable("the file cannot be read as DICOM", code="unreadable", operation="decode") from error
    if not present and not named:
        _refuse("the file is not DICOM, or ends within its header")
    if not present and _cut_off(path):
        _refuse("the file ends within its pixels", ds)
    return ds


def _refuse_bomb(path: Path) -> None:
    """Refuse a deflated data set that inflates to more than a picture: pydicom inflates it whole (PS3.5 A.5)."""
    with path.open("rb") as file:
        frugal = whole(file)
        pydicom.filereader.read_preamble(frugal, force=True)
        meta = pydicom.filereader._read_file_meta_info(frugal)
        if meta.get("TransferSyntaxUID", "") != uid.DeflatedExplicitVRLittleEndian:
            return
        inflating, size = Inflating(file, _MOST_INFLATED), 0
        while chunk := inflating.read(_CHUNK):
            size += len(chunk)
            if size > _MOST_INFLATED:
                _refuse("the deflated data set inflates to more than a picture")


def _cut_off(path: Path) -> bool:
    """Whether the header is followed by Pixel Data (7FE0,0010), which pydicom drops where it has no end."""
    with path.open("rb") as file:
        pydicom.dcmread(whole(file), stop_before_pixels=True, force=True)
        return file.read(4) in (b"\xe0\x7f\x10\x00", b"\x7f\xe0\x00\x10")


def _layout(ds: Dataset) -> Layout:
    """Check the Image Pixel module as far as decoding depends on it."""
    if "PixelData" not in ds:
        _refuse("there is no Pixel Data", ds, code="no_pixels")
    try:
        ds.get_item(_PIXEL_DATA)
        frames, samples = int(ds.get("NumberOfFrames", 1) or 1), int(ds.get("SamplesPerPixel", 1) or 1)
        rows, cols, allocated = int(ds.Rows), int(ds.Columns), int(ds.BitsAllocated)
        stored = int(ds.get("BitsStored", allocated) or allocated)
        high = int(ds.get("HighBit", stored - 1))
        signed = int(ds.get("PixelRepresentation", 0) or 0) == 1
    except Exception as error:
        raise Unsuitable(
            "the header does not describe its pixels", code="unreadable", operation="decode", subject=_name(ds)
        ) from error
    if frames > 1:
        _refuse("there is more than one frame", ds, code="multi_frame")
    if samples != 1:
        _refuse("the image is in colour", ds, code="colour")
    if allocated not in (8, 16) or not 1 <= stored <= allocated or not stored - 1 <= high < allocated:
        _refuse(f"values of {stored} bits in {allocated} are not supported", ds)
    if rows < 1 or cols < 1 or rows * cols > MOST_PIXELS:
        _refuse(f"a picture of {rows} by {cols} pixels is not supported", ds)
    return Layout(rows=rows, cols=cols, allocated=allocated, stored=stored, high=high, signed=signed)


def _words(ds: Dataset, layout: Layout) -> Integers:
    """The values as unsigned words (rows, cols), not yet cut to their bits."""
    syntax, big = _syntax(ds)
    element = ds.get_item(_PIXEL_DATA)
    value = element.value or b""
    if syntax in NATIVE:
        swapped = element.VR == "OW" and layout.allocated == 8 and big
        return _native(value, layout, ds, big=big, swapped=swapped)
    if syntax not in CODECS:
        _refuse("its transfer syntax is not supported", ds)
    try:
        return unpacked(syntax, value, layout)
    except Unsuitable as error:
        error.subject = _name(ds)
        raise
    except MemoryError:
        raise
    except Exception as error:
        raise Unsuitable(
            "the pixels cannot be decoded", code="unreadable", operation="decode", subject=_name(ds)
        ) from error


def _syntax(ds: Dataset) -> tuple[str, bool]:
    """The transfer syntax, and whether values are big endian; without meta information, what pydicom found."""
    stated = str(getattr(ds, "file_meta", {}).get("TransferSyntaxUID", "") or "")
    if stated:
        return stated, stated == uid.ExplicitVRBigEndian
    element = ds.get_item(_PIXEL_DATA)
    if getattr(element, "is_undefined_length", False):
        _refuse("the file does not state its transfer syntax and its pixels are compressed", ds)
    return uid.ImplicitVRLittleEndian, ds.original_encoding[1] is False


def _native(value: bytes, layout: Layout, ds: Dataset, *, big: bool, swapped: bool) -> Integers:
    """Uncompressed values (PS3.5 8.1.1); `swapped`: pairs of bytes stand the other way round."""
    size = layout.rows * layout.cols * layout.allocated // 8
    if not size <= len(value) < size + layout.cols * layout.allocated // 8:
        _refuse("the pixels are not as many as rows and columns say", ds)
    if layout.allocated == 16:
        words = np.frombuffer(value, dtype=">u2" if big else "<u2", count=layout.rows * layout.cols)
    elif swapped:
        words = np.frombuffer(value, dtype=">u2").astype("<u2").view(np.uint8)[:size]
    else:
        words = np.frombuffer(value, dtype=np.uint8, count=size)
    return words.reshape(layout.rows, layout.cols)


NATIVE = frozenset(
    {
        uid.ImplicitVRLittleEndian,
        uid.ExplicitVRLittleEndian,
        uid.DeflatedExplicitVRLittleEndian,
        uid.ExplicitVRBigEndian,
    }
)


def _shares_bits(ds: Dataset) -> bool:
    """Whether overlays are kept in the unused bits: Overlay Bit Position (60xx,0102) is not 0 (retired)."""
    try:
        positions = [ds[group, 0x0102].value for group in range(0x6000, 0x6020, 2) if (group, 0x0102) in ds]
        return any(int(position or 0) > 0 for position in positions)
    except Exception:  # noqa: BLE001 - pydicom raises whatever a broken header makes it stumble on
        return False


def _arranged(words: Integers, layout: Layout, shares_bits: bool) -> Integers:
    """Move the stored bits to the low end, drop what is not theirs, extend the sign.

    Unsigned values that use more bits than Bits Stored says are believed, unless overlays lie in those bits: cutting
    them would wrap bright tissue round to black.
    """
    wide = words.dtype.itemsize * 8
    shift = layout.high + 1 - layout.stored if wide == layout.allocated else 0
    if shift:
        words = words >> shift
    if layout.signed:
        spare = wide - min(wide, layout.stored)
        signed = (words << spare).astype(f"u{wide // 8}").view(f"i{wide // 8}")
        return signed >> spare
    if shares_bits and wide > layout.stored:
        words = words & ((1 << layout.stored) - 1)
    return words.astype(words.dtype.newbyteorder("="), copy=False)
