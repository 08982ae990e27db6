"""Compressed pictures to words: which decoder reads which transfer syntax.

Hides the codecs. Promises that the answer does not depend on what else is installed (the table CODECS says which
decoder it is), and that a stream reaches its codec only when its own markers say that it is whole, gray and of the
header's size: codecs fill what is missing with gray, and GDCM ends the process on headers that make no sense.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import NoReturn

import gdcm
import jpeg_ls  # type: ignore[import-untyped]
import numpy as np
from numpy.typing import NDArray
from openjpeg.utils import decode_pixel_data
from PIL import Image
from pydicom import uid

from cxrnode.errors import Unsuitable
from cxrnode.pixels.codestream import Stream, joined, rle_planes, stream_of

Integers = NDArray[np.integer]

gdcm.Trace.WarningOff()
gdcm.Trace.ErrorOff()


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What the header says about the values (PS3.3 C.7.6.3): how many, how wide, where in their words."""

    rows: int
    cols: int
    allocated: int
    stored: int
    high: int
    signed: bool


def _refuse(happened: str, *, code: str = "unreadable") -> NoReturn:
    raise Unsuitable(happened, code=code, operation="decode")


def _checked(frame: bytes, layout: Layout) -> Stream:
    """The facts of a code stream, which must be whole, of one component and of the header's size."""
    stream = stream_of(frame)
    if stream.components != 1:
        _refuse("the compressed picture is in colour", code="colour")
    if (stream.rows, stream.cols) != (layout.rows, layout.cols):
        _refuse("the compressed picture has other rows and columns than its header says")
    if not 2 <= stream.precision <= (16 if layout.allocated == 16 else 8):
        _refuse("the compressed picture has other bits than its header says")
    if not stream.ended:
        _refuse("the compressed picture ends too soon")
    return stream


def _words_of(buffer: bytes | bytearray, stream: Stream) -> Integers:
    kind = "<u2" if stream.precision > 8 else np.uint8
    return np.frombuffer(buffer, dtype=kind).reshape(stream.rows, stream.cols)


def _pillow(frame: bytes, layout: Layout) -> Integers:
    stream = _checked(frame, layout)
    if stream.precision != 8:
        return _gdcm(uid.JPEGExtended12Bit)(frame, layout)
    with Image.open(BytesIO(frame), formats=["JPEG"]) as image:
        return np.asarray(image.convert("L"))


def _charls(frame: bytes, layout: Layout) -> Integers:
    stream = _checked(frame, layout)
    return _words_of(jpeg_ls.decode_pixel_data(frame)[0], stream)


def _openjpeg(frame: bytes, layout: Layout) -> Integers:
    stream = _checked(frame, layout)
    return _words_of(bytes(decode_pixel_data(frame, version=2)), stream)


def _rle(frame: bytes, layout: Layout) -> Integers:
    """Planes of bytes, the most significant first (PS3.5 G.2)."""
    planes = rle_planes(frame, layout.allocated // 8, layout.rows * layout.cols, layout.cols)
    words = np.frombuffer(planes[-1], dtype=np.uint8).astype(f"<u{layout.allocated // 8}")
    if len(planes) == 2:
        words += np.frombuffer(planes[0], dtype=np.uint8).astype("<u2") << 8
    return words.reshape(layout.rows, layout.cols)


def _gdcm(syntax: str) -> Callable[[bytes, Layout], Integers]:
    """python-gdcm on the bare stream: pydicom's plugin of it refuses JPEG Extended of 12 bits."""

    def decoded(frame: bytes, layout: Layout) -> Integers:
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


CODECS: dict[str, Callable[[bytes, Layout], Integers]] = {
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


def unpacked(syntax: str, value: bytes, layout: Layout) -> Integers:
    """The words (rows, cols) of encapsulated Pixel Data of one frame, unsigned, not yet cut to their bits.

    KeyError for a syntax that is not in CODECS; Unsuitable for a picture that is not whole, not gray or not of the
    header's size; whatever its codec raises for one that is damaged within.
    """
    return CODECS[syntax](joined(value), layout)
