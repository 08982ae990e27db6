"""From a data set to the bytes of a DICOM file in any transfer syntax that a radiograph comes in.

Hides the encoders: python-gdcm for the JPEG family (it alone writes 12 bit JPEG Extended), pyjpegls for JPEG-LS,
OpenJPEG through pylibjpeg for JPEG 2000, pydicom for the rest. One table, so that the same specification gives the
same bytes.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gdcm
import numpy as np
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders.base import get_encoder

JPEG_QUALITY = 90
JLS_ERROR = 2
"""Greatest difference of a near-lossless value from its original."""
J2K_RATIO = 10

IMPLEMENTATION_UID = uid.UID("2.25.199215764393214938713290174163829201456")


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """How one transfer syntax is written. `method` is its Lossy Image Compression Method (PS3.3 C.7.6.1.1.5)."""

    pack: Callable[[Dataset, str], bytes] | None = None
    method: str = ""
    most_bits: int = 16
    signed: bool = True


def _jpeg(ds: Dataset, syntax: str) -> bytes:
    """Encode with python-gdcm: lossy at JPEG_QUALITY or lossless, as the syntax says."""
    if ds.BitsAllocated == 8 and ds.Rows * ds.Columns % 2:
        raise ValueError(
            "python-gdcm writes no eight bit picture of an odd number of pixels: make rows or columns even"
        )
    lossless = not ENCODINGS[syntax].method
    # GDCM takes the precision of a lossy stream from the bits allocated: 12 makes it JPEG Extended.
    allocated = ds.BitsAllocated if lossless or ds.BitsAllocated == 8 else 12
    kind = gdcm.PhotometricInterpretation(gdcm.PhotometricInterpretation.MONOCHROME2)
    codec = gdcm.JPEGCodec()
    codec.SetNumberOfDimensions(2)
    codec.SetDimensions((ds.Columns, ds.Rows, 1))
    codec.SetPhotometricInterpretation(kind)
    codec.SetPixelFormat(gdcm.PixelFormat(1, allocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation))
    codec.SetLossless(lossless)
    codec.SetQuality(100 if lossless else JPEG_QUALITY)
    plain, packed = (gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010)) for _ in range(2))
    plain.SetByteStringValue(ds.PixelData)
    if not codec.Code(plain, packed):
        raise ValueError(f"python-gdcm could not write {uid.UID(syntax).name} of {ds.BitsStored} bits")
    # Each of these only borrows from the one before: names keep them all alive until the bytes are copied.
    fragments = packed.GetSequenceOfFragments()
    fragment = fragments.GetFragment(0)
    value = fragment.GetByteValue()
    return bytes(value.GetBuffer().encode("utf-8", "surrogateescape"))


def _pydicom(plugin: str, **options: Any) -> Callable[[Dataset, str], bytes]:
    def pack(ds: Dataset, syntax: str) -> bytes:
        return get_encoder(syntax).encode(ds, encoding_plugin=plugin, **options)

    return pack


ENCODINGS: dict[str, Encoding] = {
    uid.ExplicitVRLittleEndian: Encoding(),
    uid.ImplicitVRLittleEndian: Encoding(),
    uid.ExplicitVRBigEndian: Encoding(),
    uid.DeflatedExplicitVRLittleEndian: Encoding(),
    uid.RLELossless: Encoding(pack=_pydicom("pydicom")),
    uid.JPEGBaseline8Bit: Encoding(pack=_jpeg, method="ISO_10918_1", most_bits=8, signed=False),
    uid.JPEGExtended12Bit: Encoding(pack=_jpeg, method="ISO_10918_1", most_bits=12, signed=False),
    uid.JPEGLossless: Encoding(pack=_jpeg),
    uid.JPEGLosslessSV1: Encoding(pack=_jpeg),
    uid.JPEGLSLossless: Encoding(pack=_pydicom("pyjpegls")),
    uid.JPEGLSNearLossless: Encoding(
        pack=_pydicom("pyjpegls", jls_error=JLS_ERROR), method="ISO_14495_1", signed=False
    ),
    uid.JPEG2000Lossless: Encoding(pack=_pydicom("pylibjpeg")),
    uid.JPEG2000: Encoding(pack=_pydicom("pylibjpeg", j2k_cr=[J2K_RATIO]), method="ISO_15444_1"),
}
"""Every transfer syntax the phantom can be written in."""


def check(syntax: str, bits_stored: int, signed: bool) -> None:
    """Raise ValueError where a transfer syntax cannot carry such values (PS3.5 8.2, 10)."""
    encoding = ENCODINGS.get(syntax)
    name = uid.UID(syntax).name
    if encoding is None:
        raise ValueError(f"the phantom has no encoder for {name}")
    if bits_stored > encoding.most_bits:
        raise ValueError(f"{name} holds at most {encoding.most_bits} bits, not {bits_stored}")
    if signed and not encoding.signed:
        raise ValueError(f"{name} does not hold signed values")


def encoded(ds: Dataset, syntax: str, finish: Callable[[Dataset], None] = lambda _: None) -> bytes:
    """The file (PS3.10) of an explicit little endian data set, rewritten in `syntax`; `ds` is changed on the way.

    `finish` is called with the data set once its pixels are in that syntax.
    """
    encoding = ENCODINGS[syntax]
    if encoding.pack:
        _compress(ds, syntax, encoding)
    if syntax == uid.ExplicitVRBigEndian:
        _swap(ds)
    finish(ds)
    ds.file_meta.TransferSyntaxUID = uid.UID(syntax)
    ds.file_meta.ImplementationClassUID = IMPLEMENTATION_UID
    ds.file_meta.ImplementationVersionName = "CXRNODE_PHANTOM"
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds.save_as(file, enforce_file_format=True)
    return file.getvalue()


def _compress(ds: Dataset, syntax: str, encoding: Encoding) -> None:
    assert encoding.pack is not None
    before = len(ds.PixelData)
    frame = encoding.pack(ds, syntax)
    if encoding.method:
        ds.LossyImageCompression, ds.LossyImageCompressionMethod = "01", encoding.method
        ds.LossyImageCompressionRatio = f"{before / len(frame):.2f}"
    ds.PixelData = encapsulate([frame])
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True


def _swap(ds: Dataset) -> None:
    """Turn the bytes of every OW value round, which pydicom leaves as they are."""
    for element in ds.iterall():
        if element.VR == "OW":
            element.value = np.frombuffer(element.value, dtype="<u2").astype(">u2").tobytes()
