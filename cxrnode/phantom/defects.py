"""What may be wrong with an object: one function a defect, applied to a sound object's data set or to its bytes.

Hides how each defect is made. Promises that nothing else about the object changes.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable

import pydicom
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames

from cxrnode.phantom.radiograph import Defect

_PREAMBLE = 132
"""Bytes before the file meta information (PS3.10 7.1)."""


def _no_pixels(ds: Dataset) -> None:
    del ds.PixelData


def _wrong_rows(ds: Dataset) -> None:
    ds.Rows = ds.Rows * 3 // 2


def _lying_bits(ds: Dataset) -> None:
    ds.BitsStored, ds.HighBit = ds.BitsStored - 4, ds.HighBit - 4


def _no_study_uid(ds: Dataset) -> None:
    ds.StudyInstanceUID = ""


def _multi_frame(ds: Dataset) -> None:
    ds.NumberOfFrames = 2
    if ds["PixelData"].is_undefined_length:
        ds["PixelData"].value = encapsulate([*generate_frames(ds.PixelData, number_of_frames=1)] * 2)
    else:
        ds["PixelData"].value = ds.PixelData * 2


def _no_view(ds: Dataset) -> None:
    ds.ViewPosition = ds.BodyPartExamined = ds.StudyDescription = ds.SeriesDescription = ""
    for keyword in ("ViewCodeSequence", "AnatomicRegionSequence"):
        if keyword in ds:
            del ds[keyword]


def _wrong_character_set(ds: Dataset) -> None:
    ds.add_new("PatientName", "PN", b"Ph\xe4ntom^Br\xfcst")


def _zero_spacing(ds: Dataset) -> None:
    ds.PixelSpacing = ["0.000", "0.000"]


def _hand(ds: Dataset) -> None:
    ds.BodyPartExamined, ds.StudyDescription, ds.SeriesDescription = "HAND", "Hand", "Hand PA"
    if "AnatomicRegionSequence" in ds:
        item = ds.AnatomicRegionSequence[0]
        item.CodeValue, item.CodeMeaning = "85562004", "Hand"


def _derived(ds: Dataset) -> None:
    ds.ImageType = ["DERIVED", "SECONDARY", *ds.ImageType[2:]]
    ds.DerivationDescription = "edges enhanced"


CHANGES: dict[Defect, Callable[[Dataset], None]] = {
    Defect.NO_PIXELS: _no_pixels,
    Defect.WRONG_ROWS: _wrong_rows,
    Defect.LYING_BITS: _lying_bits,
    Defect.NO_STUDY_UID: _no_study_uid,
    Defect.MULTI_FRAME: _multi_frame,
    Defect.NO_VIEW: _no_view,
    Defect.WRONG_CHARACTER_SET: _wrong_character_set,
    Defect.ZERO_SPACING: _zero_spacing,
    Defect.HAND: _hand,
    Defect.DERIVED: _derived,
}
"""Defects of the data set; made before it is encoded."""

AFTER_ENCODING = frozenset({Defect.WRONG_ROWS, Defect.LYING_BITS, Defect.NO_PIXELS, Defect.MULTI_FRAME})
"""Of these, the ones that an encoder would refuse or repair: made on the encoded data set."""


def change(ds: Dataset, defect: Defect | None, *, encoded: bool) -> None:
    """Make a defect of the data set; `encoded` tells whether its pixels are already in their transfer syntax."""
    if defect in CHANGES and (defect in AFTER_ENCODING) is encoded:
        CHANGES[defect](ds)


def _truncated(file: bytes) -> bytes:
    """Cut where two thirds of the file are left: with a radiograph that is amid the pixels."""
    return file[: len(file) * 2 // 3]


def _no_transfer_syntax(file: bytes) -> bytes:
    """Take Transfer Syntax UID (0002,0010) out of the file meta information, its group length being corrected."""
    at = file.index(b"\x02\x00\x10\x00UI", _PREAMBLE)
    length = 8 + struct.unpack_from("<H", file, at + 6)[0]
    (group,) = struct.unpack_from("<I", file, _PREAMBLE + 8)
    shorter = file[: _PREAMBLE + 8] + struct.pack("<I", group - length) + file[_PREAMBLE + 12 :]
    return shorter[:at] + shorter[at + length :]


def _no_meta(file: bytes) -> bytes:
    """The bare data set, in implicit little endian whatever it was."""
    ds = pydicom.dcmread(io.BytesIO(file))
    bare = io.BytesIO()
    pydicom.dcmwrite(bare, Dataset(ds), implicit_vr=True, little_endian=True)
    return bare.getvalue()


def _garbage(_: bytes) -> bytes:
    return b"This is a text file, not a radiograph.\n" * 20


def _empty(_: bytes) -> bytes:
    return b""


DAMAGES: dict[Defect, Callable[[bytes], bytes]] = {
    Defect.TRUNCATED: _truncated,
    Defect.NO_TRANSFER_SYNTAX: _no_transfer_syntax,
    Defect.NO_META: _no_meta,
    Defect.GARBAGE: _garbage,
    Defect.EMPTY: _empty,
}
"""Defects of the file."""


def damage(file: bytes, defect: Defect | None) -> bytes:
    """The file with its defect, where the defect is one of files."""
    return DAMAGES[defect](file) if defect in DAMAGES else file
