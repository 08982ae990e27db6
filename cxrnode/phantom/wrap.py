"""A plain picture of a radiograph as a DICOM object, for the demo and the tests.

Hides how a JPEG or PNG is read. Promises an 8 bit CR that displays as the picture does, states nothing about the
patient that the caller did not give, and is the same object for the same picture. It says of itself that it is an
original, as no converted picture may: it is for trying the line out, not for an archive.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian

from cxrnode.domain.identity import derived_uid, digest
from cxrnode.errors import NeedsOperator
from cxrnode.phantom.encode import encoded


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """What the object states beside the picture; empty leaves an attribute empty or out.

    `view`: View Position; `age`: Patient's Age such as 045Y; `sex`: M, F or O; `aspect`: the true width over height
    of a picture that was squashed; `study`: pictures of equal `study` share one.
    """

    view: str = ""
    age: str = ""
    sex: str = ""
    aspect: float | None = None
    study: str = ""


def wrapped(picture: NDArray[np.uint8], stated: Stated | None = None) -> bytes:
    """Give the file (PS3.10) of a CR that shows `picture` (rows, cols), 0 black to 255 white."""
    stated = stated or Stated()
    ds = _described(digest(picture.shape, picture.tobytes().hex(), repr(stated)), stated)
    _add_pixels(ds, picture, stated.aspect)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    return encoded(ds, ExplicitVRLittleEndian)


def wrap_file(source: Path, target: Path, stated: Stated | None = None) -> Path:
    """Write the JPEG or PNG at `source` as a CR at `target`. NeedsOperator where it cannot be read as a picture."""
    target.write_bytes(wrapped(read_plain(source), stated))
    return target


def read_plain(source: Path) -> NDArray[np.uint8]:
    """Read a JPEG, PNG or the like as (rows, cols), 8 bits gray; more bits are scaled down."""
    try:
        with Image.open(source) as opened:
            if opened.mode.startswith("I"):
                return np.asarray(np.asarray(opened, dtype=np.uint32) >> 8, dtype=np.uint8)
            return np.asarray(opened.convert("L"))
    except (UnidentifiedImageError, OSError) as error:
        hint = "give a DICOM radiograph, a JPEG or a PNG"
        raise NeedsOperator("the picture cannot be read", subject=str(source), hint=hint) from error


def _described(own: str, stated: Stated) -> Dataset:
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID = ComputedRadiographyImageStorage
    ds.SOPInstanceUID, ds.SeriesInstanceUID = (derived_uid("wrapped", kind, own) for kind in ("instance", "series"))
    ds.StudyInstanceUID = derived_uid("wrapped", "study", stated.study or own)
    ds.PatientName, ds.PatientID = "Wrapped^Film", f"WRAPPED-{(stated.study or own)[:12]}"
    ds.PatientBirthDate, ds.PatientSex, ds.PatientAge = "", stated.sex, stated.age
    ds.StudyDate = ds.StudyTime = ds.AccessionNumber = ds.StudyID = ds.ReferringPhysicianName = ""
    ds.Modality, ds.SeriesNumber, ds.InstanceNumber, ds.Manufacturer = "CR", 1, 1, ""
    ds.ImageType = ["ORIGINAL", "PRIMARY"]
    ds.BodyPartExamined, ds.ViewPosition = "CHEST", stated.view
    ds.PatientOrientation = ["L", "F"]
    return ds


def _add_pixels(ds: Dataset, picture: NDArray[np.uint8], aspect: float | None) -> None:
    """Eight bits, and the window whose ends are 0 and 255 (PS3.3 C.11.2.1.2.1)."""
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = picture.shape
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit, ds.PixelRepresentation = 7, 0
    ds.WindowCenter, ds.WindowWidth = "128", "256"
    if aspect:
        # PS3.3 C.7.6.3.1.7: the height of a pixel over its width.
        ratio = Fraction(picture.shape[1] / (picture.shape[0] * aspect)).limit_denominator(1000)
        ds.PixelAspectRatio = [ratio.numerator, ratio.denominator]
    pixels = np.ascontiguousarray(picture).tobytes()
    ds.add_new("PixelData", "OB", pixels + b"\0" * (len(pixels) % 2))
