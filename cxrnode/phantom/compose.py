"""From a picture to a DICOM data set: the grayscale chain backwards, attributes.

Hides which attributes DX and CR want (PS3.3 A.26, A.2). Promises that the object's own grayscale chain (modality
LUT, VOI LUT, presentation LUT: PS3.4 N.2) leads back to the picture it was made from, but for quantisation.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    ExplicitVRLittleEndian,
)

from cxrnode.phantom.radiograph import Radiograph, Truth, View, Voi
from cxrnode.phantom.shapes import Floats

Integers = NDArray[np.integer]

DARKEST, BRIGHTEST = 0.04, 0.96
"""The share of the range of values that a picture fills; padding stands outside it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scale:
    """The ends of what can be stored, and the modality values (units of the VOI window) that they stand for."""

    low: int
    high: int
    first: float
    last: float


def _scale(spec: Radiograph) -> _Scale:
    span = 2**spec.bits_stored - 1
    low = -(2 ** (spec.bits_stored - 1)) if spec.signed else 0
    slope, intercept = spec.rescale or (1.0, 0.0)
    if spec.modality_lut:
        return _Scale(low=low, high=low + span, first=0.0, last=65535.0)
    return _Scale(low=low, high=low + span, first=low * slope + intercept, last=(low + span) * slope + intercept)


def _window(scale: _Scale) -> tuple[float, float]:
    """Centre and width of the linear window (PS3.3 C.11.2.1.2.1) whose ends are the picture's black and white."""
    span = abs(scale.last - scale.first)
    centre, width = (scale.first + scale.last) / 2, (BRIGHTEST - DARKEST) * span
    return centre + 0.5, width + 1


def _sigmoid_width(scale: _Scale) -> float:
    return abs(scale.last - scale.first) / 2.6


def _voi_table() -> NDArray[np.uint16]:
    """A VOI LUT of 4096 entries that brightens the middle; steep nowhere, so that it can be turned round."""
    x = np.linspace(0, 1, 4096)
    return np.asarray(np.round(65535 * (1.5 * x - 0.5 * x**2)), dtype=np.uint16)


def _modality_table(spec: Radiograph) -> NDArray[np.uint16]:
    """A rising modality LUT over every stored value, as a digitiser's correction of its density scale might be."""
    entries = 2**spec.bits_stored
    x = np.linspace(0, 1, entries)
    return np.asarray(np.round(65535 * (0.75 * x + 0.25 * x**2)), dtype=np.uint16)


def _modality_values(shown: Floats, spec: Radiograph, scale: _Scale) -> NDArray[np.float64]:
    """Modality values whose VOI transformation gives `shown` (0 to 1, before any inversion)."""
    low, high = sorted((scale.first, scale.last))
    y = shown.astype(np.float64)
    if spec.voi is Voi.SIGMOID:
        y = np.clip(y, 0.008, 0.992)
        return (low + high) / 2 - _sigmoid_width(scale) / 4 * np.log(1 / y - 1)
    if spec.voi is Voi.LUT:
        x = np.interp(y * 65535, _voi_table(), np.linspace(0, 1, 4096))
        return np.asarray(low + x * (high - low))
    return low + (DARKEST + (BRIGHTEST - DARKEST) * y) * (high - low)


def _stored(truth: Truth, spec: Radiograph) -> Integers:
    """The stored values of the picture, in the smallest integer type that PS3.5 8.1.1 allows."""
    scale = _scale(spec)
    shown = 1 - truth.display if spec.photometric == "MONOCHROME1" else truth.display
    modality = _modality_values(shown, spec, scale)
    if spec.modality_lut:
        table = _modality_table(spec).astype(np.float64)
        values = scale.low + np.interp(modality, table, np.arange(table.size))
    else:
        slope, intercept = spec.rescale or (1.0, 0.0)
        values = (modality - intercept) / slope
    room = 2 if spec.padding else 0
    values = np.clip(np.round(values), scale.low + room, scale.high - room)
    values[truth.padding] = scale.low
    if spec.padding_range:
        values[truth.padding & (np.indices(values.shape).sum(axis=0) % 2 == 1)] = scale.low + 1
    kind = f"{'i' if spec.signed else 'u'}{1 if spec.bits_stored <= 8 else 2}"
    return values.astype(kind)


def _code(value: str, meaning: str, scheme: str = "SCT") -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def _table_item(spec: Radiograph, table: NDArray[np.uint16], first: int) -> Dataset:
    """A LUT item (PS3.3 C.11.1.1, C.11.2.1.1); 65536 entries are written as 0, the first value has US or SS."""
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if spec.signed else "US", [table.size % 65536, first, 16])
    item.LUTExplanation = "made for the phantom"
    item.add_new("LUTData", "OW", table.astype("<u2").tobytes())
    return item


def _add_modality(ds: Dataset, spec: Radiograph) -> None:
    if spec.modality_lut:
        item = _table_item(spec, _modality_table(spec), _scale(spec).low)
        item.ModalityLUTType = "US"
        ds.ModalityLUTSequence = Sequence([item])
    elif spec.rescale or spec.modality == "DX":
        slope, intercept = spec.rescale or (1, 0)
        ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = f"{intercept:g}", f"{slope:g}", "US"


def _add_voi(ds: Dataset, spec: Radiograph) -> None:
    scale = _scale(spec)
    centre, width = _window(scale)
    if spec.voi is Voi.NONE or spec.for_processing:
        return
    if spec.voi is Voi.LUT:
        low, high = sorted((scale.first, scale.last))
        ds.VOILUTSequence = Sequence([_voi_item(spec, low, high)])
        return
    if spec.voi is Voi.SIGMOID:
        centre, width, ds.VOILUTFunction = centre - 0.5, _sigmoid_width(scale), "SIGMOID"
    if spec.voi is Voi.LINEAR_EXACT:
        centre, width, ds.VOILUTFunction = centre - 0.5, width - 1, "LINEAR_EXACT"
    if spec.voi is Voi.WINDOWS:
        ds.WindowCenter, ds.WindowWidth = [f"{centre:.8g}", f"{centre:.8g}"], [f"{width:.8g}", f"{width / 3:.8g}"]
        ds.WindowCenterWidthExplanation = ["NORMAL", "HARDER"]
        return
    ds.WindowCenter, ds.WindowWidth = f"{centre:.8g}", f"{width:.8g}"


def _voi_item(spec: Radiograph, low: float, high: float) -> Dataset:
    """A VOI LUT over every modality value from `low` to `high`, which sixteen bits must hold (PS3.3 C.11.2.1.1)."""
    entries = round(high - low) + 1
    if entries > 65536 or low < -32768 or high > (32767 if low < 0 else 65535):
        raise ValueError(f"a VOI LUT cannot be given for modality values from {low:g} to {high:g}")
    table = np.interp(np.linspace(0, 1, entries), np.linspace(0, 1, 4096), _voi_table())
    return _table_item(replace(spec, signed=low < 0), np.round(table).astype(np.uint16), round(low))


def _add_pixels(ds: Dataset, spec: Radiograph, stored: Integers) -> None:
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, spec.photometric
    ds.Rows, ds.Columns = stored.shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = stored.itemsize * 8, spec.bits_stored, spec.bits_stored - 1
    ds.PixelRepresentation = int(spec.signed)
    if spec.padding:
        vr = "SS" if spec.signed else "US"
        ds.add_new("PixelPaddingValue", vr, _scale(spec).low)
        if spec.padding_range:
            ds.add_new("PixelPaddingRangeLimit", vr, _scale(spec).low + 1)
    pixels = stored.astype(stored.dtype.newbyteorder("<")).tobytes()
    ds.add_new("PixelData", "OB" if stored.itemsize == 1 else "OW", pixels + b"\0" * (len(pixels) % 2))


def _add_identity(ds: Dataset, spec: Radiograph) -> None:
    """Patient, study, series and equipment; every date is fixed, for the object must not know when it was made."""
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.PatientName, ds.PatientID = spec.patient.name, spec.patient.patient_id
    ds.PatientBirthDate, ds.PatientSex = spec.patient.birth_date, spec.patient.sex
    ds.StudyInstanceUID, ds.SeriesInstanceUID = spec.uid("study"), spec.uid("series")
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = "20260102"
    ds.StudyTime = ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = "101500"
    ds.AccessionNumber, ds.StudyID, ds.ReferringPhysicianName = spec.accession_number, "1", ""
    ds.StudyDescription, ds.SeriesDescription = "Chest", f"Chest {spec.view.value}"
    ds.Modality, ds.SeriesNumber, ds.InstanceNumber = spec.modality, spec.series_number, spec.instance_number
    ds.Manufacturer, ds.ManufacturerModelName = "Synthetic", "Chest phantom"
    ds.DeviceSerialNumber, ds.SoftwareVersions = "1", "1"


def _add_acquisition(ds: Dataset, spec: Radiograph) -> None:
    """How the film was taken, as DX and CR both say it."""
    side = spec.spacing * 2048 / max(1, min(spec.rows, spec.cols))
    ds.ImagerPixelSpacing = [f"{side:.6g}", f"{side:.6g}"]
    ds.BodyPartExamined, ds.ViewPosition = "CHEST", spec.subject_view
    ds.PatientOrientation = spec.stated_orientation.split("\\") if spec.stated_orientation else None
    ds.BurnedInAnnotation, ds.LossyImageCompression, ds.KVP = "YES" if spec.marker else "NO", "00", "120"
    ds.ImageType = ["ORIGINAL", "PRIMARY", ""] if spec.modality == "DX" else ["ORIGINAL", "PRIMARY"]
    if spec.presentation_lut_shape:
        ds.PresentationLUTShape = "INVERSE" if spec.photometric == "MONOCHROME1" else "IDENTITY"


VIEW_CODES = {
    View.PA: ("272479007", "postero-anterior"),
    View.AP: ("399348003", "antero-posterior"),
    View.LATERAL: ("399173006", "left lateral"),
}
"""CID 4010 DX View."""


def _add_dx(ds: Dataset, spec: Radiograph) -> None:
    """What a digital X-ray object says beyond CR (PS3.3 C.8.11.1 to C.8.11.5)."""
    ds.PresentationIntentType = "FOR PROCESSING" if spec.for_processing else "FOR PRESENTATION"
    ds.ImageLaterality = "U"
    ds.PixelIntensityRelationship = "LOG"
    ds.PixelIntensityRelationshipSign = 1 if spec.photometric == "MONOCHROME1" else -1
    ds.AnatomicRegionSequence = Sequence([_code("816094009", "Chest")])
    ds.DetectorType, ds.AcquisitionContextSequence = "SCINTILLATOR", Sequence([])
    view = _code(*VIEW_CODES[spec.view])
    view.ViewModifierCodeSequence = Sequence([])
    ds.ViewCodeSequence = Sequence([view])
    ds.PositionerType = ""


def _sop_class(spec: Radiograph) -> str:
    if spec.modality == "CR":
        return ComputedRadiographyImageStorage
    if spec.for_processing:
        return DigitalXRayImageStorageForProcessing
    return DigitalXRayImageStorageForPresentation


def compose(spec: Radiograph, truth: Truth) -> Dataset:
    """The data set of a specification, explicit little endian, without any defect; its file meta is attached."""
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = _sop_class(spec), spec.uid("instance")
    _add_identity(ds, spec)
    _add_acquisition(ds, spec)
    if spec.modality == "DX":
        _add_dx(ds, spec)
    _add_modality(ds, spec)
    _add_voi(ds, spec)
    _add_pixels(ds, spec, _stored(truth, spec))
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return ds
