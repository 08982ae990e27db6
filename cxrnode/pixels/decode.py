"""Stored pixel values out of a radiograph's file, whatever its transfer syntax.

Hides codecs, byte order, packing and broken files. Promises the values that were stored, on the rows and columns
that the header states, or Unsuitable: never a picture padded out with zeros, never another codec because it happens
to be installed (one table says which), and no warning of pydicom's (they quote names and values).
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import NoReturn

import gdcm
import jpeg_ls  # type: ignore[import-untyped]
import numpy as np
import pydicom
from numpy.typing import NDArray
from openjpeg.utils import decode_pixel_data
from PIL import Image
from pydicom import uid
from pydicom.dataset import Dataset

from cxrnode.errors import Unsuitable
from cxrnode.pixels.codestream import Stream, joined, rle_planes, stream_of

Integers = NDArray[np.integer]

MOST_PIXELS = 150_000_000
"""Rows times columns past which a header lies or means harm; the largest detectors have 30 million."""

gdcm.Trace.WarningOff()
gdcm.Trace.ErrorOff()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StoredPixels:
    """Stored values as integers, (rows, cols), before any transformation, and the header they came with."""

    values: Integers
    header: Dataset


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """What the header says about the values (PS3.3 C.7.6.3): how many, how wide, where in their words."""

    rows: int
    cols: int
    allocated: int
    stored: int
    high: int
    signed: bool


def decode(source: Path | Dataset) -> StoredPixels:
    """Decode the one frame of a file, or of a data set that carries its file meta information.

    A file without meta information is read as implicit little endian, PS3.10's default, unless its first element
    plainly has a VR. Raises Unsuitable, with a code of domain.selection.REASONS: "unreadable", "no_pixels",
    "multi_frame" or "colour".
    """
    with _quiet():
        ds = source if isinstance(source, Dataset) else _read(source)
        layout = _layout(ds)
        values = _arranged(_words(ds, layout), layout, _shares_bits(ds))
    if not isinstance(source, Dataset):
        del ds.PixelData
    return StoredPixels(values=values, header=ds)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence pydicom: its warnings and log lines quote file names and values."""
    logger = logging.getLogger("pydicom")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


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
        ds = pydicom.dcmread(path, force=True)
        present = "PixelData" in ds
        named = "SOPClassUID" in ds
    except OSError:
        raise
    except Exception as error:
        raise Unsuitable("the file cannot be read as DICOM", code="unreadable", operation="decode") from error
    if not present and not named:
        _refuse("the file is not DICOM, or ends within its header")
    if not present and _cut_off(path):
        _refuse("the file ends within its pixels", ds)
    return ds


def _cut_off(path: Path) -> bool:
    """Whether the header is followed by Pixel Data (7FE0,0010), which pydicom drops where it has no end."""
    with path.open("rb") as file:
        pydicom.dcmread(file, stop_before_pixels=True, force=True)
        return file.read(4) in (b"\xe0\x7f\x10\x00", b"\x7f\xe0\x00\x10")


def _layout(ds: Dataset) -> _Layout:
    """Check the Image Pixel module as far as decoding depends on it."""
    if "PixelData" not in ds:
        _refuse("there is no Pixel Data", ds, code="no_pixels")
    try:
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
    if not 0 < rows * cols <= MOST_PIXELS:
        _refuse(f"a picture of {rows} by {cols} pixels is not supported", ds)
    return _Layout(rows=rows, cols=cols, allocated=allocated, stored=stored, high=high, signed=signed)


def _words(ds: Dataset, layout: _Layout) -> Integers:
    """The values as unsigned words (rows, cols), not yet cut to their bits."""
    syntax, big = _syntax(ds)
    value = ds.get_item("PixelData").value
    if syntax in NATIVE:
        swapped = ds["PixelData"].VR == "OW" and layout.allocated == 8 and big
        return _native(value, layout, ds, big=big, swapped=swapped)
    codec = CODECS.get(syntax)
    if codec is None:
        _refuse("its transfer syntax is not supported", ds)
    try:
        return _compressed(codec, value, layout)
    except Unsuitable as error:
        error.subject = _name(ds)
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
    element = ds.get_item("PixelData")
    if getattr(element, "is_undefined_length", False):
        _refuse("the file does not state its transfer syntax and its pixels are compressed", ds)
    return uid.ImplicitVRLittleEndian, ds.original_encoding[1] is False


def _native(value: bytes, layout: _Layout, ds: Dataset, *, big: bool, swapped: bool) -> Integers:
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


def _compressed(codec: Callable[[bytes, _Layout], Integers], value: bytes, layout: _Layout) -> Integers:
    """One frame out of its fragments (PS3.5 A.4). A codec checks what its own stream says against the header."""
    words = codec(joined(value), layout)
    if words.shape != (layout.rows, layout.cols):
        _refuse("the compressed picture has other rows and columns than its header says")
    return words


def _checked(frame: bytes, layout: _Layout) -> Stream:
    """The facts of a code stream, which must be whole, of one component and of the header's size."""
    stream = stream_of(frame)
    if stream.components != 1:
        _refuse("the compressed picture is in colour", code="colour")
    if (stream.rows, stream.cols) != (layout.rows, layout.cols):
        _refuse("the compressed picture has other rows and columns than its header says")
    if not stream.ended:
        _refuse("the compressed picture ends too soon")
    return stream


def _words_of(buffer: bytes | bytearray, stream: Stream) -> Integers:
    kind = "<u2" if stream.precision > 8 else np.uint8
    return np.frombuffer(buffer, dtype=kind).reshape(stream.rows, stream.cols)


def _pillow(frame: bytes, layout: _Layout) -> Integers:
    stream = _checked(frame, layout)
    if stream.precision != 8:
        return _gdcm(uid.JPEGExtended12Bit)(frame, layout)
    with Image.open(BytesIO(frame), formats=["JPEG"]) as image:
        return np.asarray(image.convert("L"))


def _charls(frame: bytes, layout: _Layout) -> Integers:
    stream = _checked(frame, layout)
    return _words_of(jpeg_ls.decode_pixel_data(frame)[0], stream)


def _openjpeg(frame: bytes, layout: _Layout) -> Integers:
    stream = _checked(frame, layout)
    return _words_of(bytes(decode_pixel_data(frame, version=2)), stream)


def _rle(frame: bytes, layout: _Layout) -> Integers:
    """Planes of bytes, the most significant first (PS3.5 G.2)."""
    planes = rle_planes(frame, layout.allocated // 8, layout.rows * layout.cols, layout.cols)
    words = np.frombuffer(planes[-1], dtype=np.uint8).astype(f"<u{layout.allocated // 8}")
    if len(planes) == 2:
        words += np.frombuffer(planes[0], dtype=np.uint8).astype("<u2") << 8
    return words.reshape(layout.rows, layout.cols)


def _gdcm(syntax: str) -> Callable[[bytes, _Layout], Integers]:
    """python-gdcm on the bare stream: pydicom's plugin of it refuses JPEG Extended of 12 bits."""

    def decoded(frame: bytes, layout: _Layout) -> Integers:
        stream = _checked(frame, layout)
        fragment = gdcm.Fragment()
        fragment.SetByteStringValue(frame)
        fragments = gdcm.SequenceOfFragments.New()
        fragments.AddFragment(fragment)
        element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
        element.SetValue(fragments.__ref__())
        image = gdcm.Image()
        image.SetNumberOfDimensions(2)
        image.SetDimensions((stream.cols, stream.rows, 1))
        image.SetDataElement(element)
        image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(gdcm.PhotometricInterpretation.MONOCHROME2))
        image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(syntax)))
        # GDCM chooses its libjpeg by the bits allocated, and the one for lossy 12 bits wants just these.
        wide = {8: 8, 12: 12}.get(stream.precision, 16) if syntax == uid.JPEGExtended12Bit else layout.allocated
        image.SetPixelFormat(gdcm.PixelFormat(1, wide, stream.precision, stream.precision - 1, 0))
        return _words_of(image.GetBuffer().encode("utf-8", "surrogateescape"), stream)

    return decoded


NATIVE = frozenset(
    {
        uid.ImplicitVRLittleEndian,
        uid.ExplicitVRLittleEndian,
        uid.DeflatedExplicitVRLittleEndian,
        uid.ExplicitVRBigEndian,
    }
)

CODECS: dict[str, Callable[[bytes, _Layout], Integers]] = {
    uid.RLELossless: _rle,
    uid.JPEGBaseline8Bit: _pillow,
    uid.JPEGExtended12Bit: _pillow,
    uid.JPEGLossless: _gdcm(uid.JPEGLossless),
    uid.JPEGLosslessSV1: _gdcm(uid.JPEGLosslessSV1),
    uid.JPEGLSLossless: _charls,
    uid.JPEGLSNearLossless: _charls,
    uid.JPEG2000Lossless: _openjpeg,
    uid.JPEG2000: _openjpeg,
    uid.HTJ2KLossless: _openjpeg,
    uid.HTJ2KLosslessRPCL: _openjpeg,
    uid.HTJ2K: _openjpeg,
}
"""Which decoder reads which transfer syntax: the answer must not depend on what else is installed."""


def _shares_bits(ds: Dataset) -> bool:
    """Whether overlays are kept in the unused bits (retired; PS3.5 8.1.2 of 2004)."""
    return any(int(ds.get((group, 0x0102), _NONE).value or 0) > 0 for group in range(0x6000, 0x6020, 2))


_NONE = pydicom.DataElement(0x60000102, "US", 0)


def _arranged(words: Integers, layout: _Layout, shares_bits: bool) -> Integers:
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
