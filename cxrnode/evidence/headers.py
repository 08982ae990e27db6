"""What our objects take over from their source: patient, study, character set, orientation.

Hides how values are carried: as the bytes the source holds, under the source's character set, so that a name in
Kanji comes back as it was sent. A date, age or code that is none (an age of "62") is left out, or empty where the
attribute must be there, so that a source's fault does not become ours; names and identifiers are never touched.
Promises that no value of these attributes reaches a library's constructor (which may log it), a log or an error.
"""

from __future__ import annotations

import re
from pathlib import Path

import pydicom
from pydicom.charset import default_encoding
from pydicom.config import RAISE
from pydicom.datadict import dictionary_has_tag, dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag, Tag
from pydicom.valuerep import VR, validate_value

from cxrnode.domain.study import Instance
from cxrnode.errors import NeedsOperator

# A warning about a value would quote it.
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE

# PS3.3 C.7.1.1 Patient, C.7.2.1 General Study, C.7.2.2 Patient Study, C.7.1.3 and C.7.2.3 Clinical Trial.
_EMPTY_IF_MISSING = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
    "StudyID",
    "AccessionNumber",
)
_WHERE_STATED = (
    "SpecificCharacterSet",
    "TimezoneOffsetFromUTC",
    "IssuerOfPatientID",
    "IssuerOfPatientIDQualifiersSequence",
    "TypeOfPatientID",
    "PatientBirthTime",
    "OtherPatientIDsSequence",
    "OtherPatientNames",
    "EthnicGroup",
    "PatientComments",
    "QualityControlSubject",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
    "StudyDescription",
    "IssuerOfAccessionNumberSequence",
    "ProcedureCodeSequence",
    "ConsultingPhysicianName",
    "PhysiciansOfRecord",
    "NameOfPhysiciansReadingStudy",
    "RequestingService",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "AdmissionID",
    "IssuerOfAdmissionIDSequence",
    "ServiceEpisodeID",
    "PatientState",
    "AdditionalPatientHistory",
    "ClinicalTrialSponsorName",
    "ClinicalTrialProtocolID",
    "ClinicalTrialProtocolName",
    "ClinicalTrialSiteID",
    "ClinicalTrialSiteName",
    "ClinicalTrialSubjectID",
    "ClinicalTrialSubjectReadingID",
    "ClinicalTrialTimePointID",
    "ClinicalTrialTimePointDescription",
)
_GEOMETRY = (
    "Rows",
    "Columns",
    "PixelSpacing",
    "ImagerPixelSpacing",
    "EstimatedRadiographicMagnificationFactor",
    "FrameOfReferenceUID",
    "PositionReferenceIndicator",
    "PatientOrientation",
)
_LOSSY = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")
# PS3.3 C.11.1 Modality LUT, C.11.2 VOI LUT, C.7.6.11 Display Shutter: how the source is to be shown. The VRs of a LUT
# depend on the pixels' kind.
_DISPLAY = (
    "PhotometricInterpretation",
    "PixelRepresentation",
    "BurnedInAnnotation",
    "RescaleIntercept",
    "RescaleSlope",
    "RescaleType",
    "ModalityLUTSequence",
    "WindowCenter",
    "WindowWidth",
    "VOILUTFunction",
    "VOILUTSequence",
    "ShutterShape",
    "ShutterLeftVerticalEdge",
    "ShutterRightVerticalEdge",
    "ShutterUpperHorizontalEdge",
    "ShutterLowerHorizontalEdge",
    "CenterOfCircularShutter",
    "RadiusOfCircularShutter",
    "VerticesOfThePolygonalShutter",
    "ShutterPresentationValue",
)
_IDENTITY = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Modality")
_MOMENTS = (
    ("ContentDate", "ContentTime"),
    ("AcquisitionDate", "AcquisitionTime"),
    ("SeriesDate", "SeriesTime"),
    ("StudyDate", "StudyTime"),
)
_TEXT = frozenset(
    {"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT"}
)
_VRS = frozenset(VR)
_DIRECTION = re.compile("[LRAPFH]{1,3}")
_NARROW = frozenset({"AS", "CS", "DA", "DS", "TM"})
READ = (
    *_EMPTY_IF_MISSING,
    *_WHERE_STATED,
    *_GEOMETRY,
    *_LOSSY,
    *_DISPLAY,
    *_IDENTITY,
    *(keyword for moment in _MOMENTS for keyword in moment),
)
"""All that is read of a source."""


def read_header(source: Instance, path: Path) -> Dataset:
    """Read what we need of a kept source, up to the pixels. Raises NeedsOperator where the file is damaged.

    A file without meta header is read as implicit little endian (the node keeps what it was sent).
    """
    try:
        header = pydicom.dcmread(path, stop_before_pixels=True, force=True, specific_tags=list(READ))
    except (OSError, InvalidDicomError, ValueError, EOFError) as error:
        raise NeedsOperator(
            "the kept source cannot be read",
            operation="compose evidence",
            subject=source.uid,
            hint="see 'A kept instance cannot be read' in docs/operations.md",
        ) from error
    return _without_broken(header)


def _without_broken(header: Dataset) -> Dataset:
    """Leave out what pydicom cannot take at all, as if it was not stated; the rest stays the bytes that it is."""
    for tag in list(header.keys()):
        if not _can_be_read(header, tag):
            del header[tag]
    return header


def _can_be_read(holder: Dataset, tag: BaseTag) -> bool:
    """Tell whether an element's VR is one, and a sequence's items are items."""
    try:
        held = holder.get_item(tag)
        if isinstance(held, RawDataElement) and held.VR is not None and held.VR not in _VRS:
            return False
        is_sequence = dictionary_has_tag(tag) and dictionary_VR(tag) == "SQ"
        items = holder[tag].value if is_sequence else ()
        return all(_can_be_read(item, inner) for item in items for inner in list(item.keys()))
    except Exception:  # noqa: BLE001 - pydicom raises whatever a broken element makes it stumble on
        return False


def copy_patient_and_study(header: Dataset, target: Dataset, timezone_offset: str) -> None:
    """Put the source's patient, study and character set into `target`, byte for byte; type 2 is empty where missing.

    `timezone_offset` is stated where the source does not state its own (PS3.3 C.12.1.1.8).
    """
    for keyword in (*_EMPTY_IF_MISSING, *_WHERE_STATED):
        if keyword in header and _is_valid(header, keyword):
            copy_element(header, target, keyword)
        elif keyword in _EMPTY_IF_MISSING:
            setattr(target, keyword, None)
    if timezone_offset and "TimezoneOffsetFromUTC" not in header:
        target.TimezoneOffsetFromUTC = timezone_offset


def copy_image_properties(header: Dataset, target: Dataset) -> None:
    """Copy what holds for a picture of the source, too: how it lies (type 2C), what was lost, what is burned in.

    Burned In Annotation asks whether the patient can be identified (PS3.3 C.7.6.1), which no text of ours does.
    """
    copy_orientation(header, target)
    copy_lossy(header, target)
    if header.get("BurnedInAnnotation") in ("YES", "NO"):
        target.BurnedInAnnotation = header.BurnedInAnnotation


def copy_lossy(header: Dataset, target: Dataset) -> None:
    """Say what lossy compression took (PS3.3 C.7.6.1.1.5), as far as the source says it in ASCII."""
    for keyword in _LOSSY if header.get("LossyImageCompression") == "01" else ():
        if header.get(keyword) and str(header[keyword].value).isascii():
            copy_element(header, target, keyword)


def copy_orientation(header: Dataset, target: Dataset) -> None:
    """Copy Patient Orientation where it is one (PS3.3 C.7.6.1.1.1); empty otherwise (type 2C)."""
    target.PatientOrientation = None
    stated = header.get("PatientOrientation")
    values = [str(value) for value in stated] if isinstance(stated, MultiValue) else []
    if len(values) == 2 and all(_DIRECTION.fullmatch(value) for value in values) and values[0] != values[1]:
        copy_element(header, target, "PatientOrientation")


def copy_element(header: Dataset, target: Dataset, keyword: str) -> None:
    """Copy one element as the bytes that the source holds, the items of a sequence as well."""
    tag = Tag(tag_for_keyword(keyword) or 0)
    target[tag] = _as_it_stands(header, tag)


def _as_it_stands(holder: Dataset, tag: BaseTag) -> DataElement | RawDataElement:
    """Give an element for explicit VR little endian: text is the same bytes in every transfer syntax."""
    held, vr = holder.get_item(tag), dictionary_VR(tag)
    if vr == "SQ":
        return DataElement(tag, vr, [_item(item) for item in holder[tag].value])
    if isinstance(held, RawDataElement) and held.value is not None and vr in _TEXT:
        return held._replace(VR=vr, is_implicit_VR=False, is_little_endian=True, length=len(held.value))
    return holder[tag]


def _item(item: Dataset) -> Dataset:
    copy = Dataset()
    for tag in item.keys():  # noqa: SIM118 - a Dataset iterates elements
        if dictionary_has_tag(tag):
            copy[tag] = _as_it_stands(item, tag)
    # What is text in here is bytes already: pydicom is not to decode and encode it again.
    copy.set_original_encoding(is_implicit_vr=False, is_little_endian=True, character_encoding=default_encoding)
    return copy


def _is_valid(header: Dataset, keyword: str) -> bool:
    """Tell whether a value of a narrow kind is one at all; text, names and identifiers always pass."""
    tag = tag_for_keyword(keyword) or 0
    held, vr = header.get_item(tag), dictionary_VR(tag)
    if keyword == "SpecificCharacterSet" or vr not in _NARROW or not isinstance(held, RawDataElement):
        return True
    try:
        texts = (held.value or b"").decode("ascii").strip(" \0").split("\\")
        for text in texts:
            validate_value(vr, text.strip(" "), RAISE)
    except (ValueError, UnicodeDecodeError):
        return False
    return keyword != "PatientSex" or texts[0] in {"", "M", "F", "O"}


def moment_of(header: Dataset) -> tuple[str, str]:
    """Give the date and time that our objects state: those of the source's content, else of its acquisition or study.

    The clock is not asked: the same input gives the same object on any day (docs/decisions/0006). A source without
    any date gives 19000101 and 000000.
    """
    for date_keyword, time_keyword in _MOMENTS:
        date = _digits(header, date_keyword, 8)
        if date:
            return date, _digits(header, time_keyword, 6) or "000000"
    return "19000101", "000000"


def _digits(header: Dataset, keyword: str, count: int) -> str:
    """Give the first digits of a date or time as the source holds it, or nothing where it is no valid one."""
    tag = tag_for_keyword(keyword) or 0
    held = header.get_item(tag) if tag in header else None
    value = held.value if held is not None else None
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value or "")
    text = text.strip(" \0")[:count].ljust(count if count == 6 else 0, "0") if text.strip(" \0") else ""
    return text if len(text) == count and text.isascii() and text.isdigit() and _is_moment(text) else ""


def _is_moment(text: str) -> bool:
    if len(text) == 6:
        return int(text[:2]) < 24 and int(text[2:4]) < 60 and int(text[4:]) < 60
    return int(text[:4]) > 0 and 1 <= int(text[4:6]) <= 12 and 1 <= int(text[6:]) <= 31
