"""Radiographs' headers made up: one that states all that is read of a source, one that states nothing, one with tables.

Hides what a plausible value of each kind is. Promises that whatever is taken over from a source can be found again in
an object by comparing the two: an attribute that `headers` begins to read is in the next statement.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian

from cxrnode.domain.identity import AETitle, InstanceUID, SeriesUID, StudyUID, derived_uid
from cxrnode.domain.selection import ImageFacts
from cxrnode.domain.study import Description, Instance, Patient, Sender
from cxrnode.evidence.headers import READ

_OF_A_KIND: dict[str, str] = {
    "PN": "Doe^Jane",
    "LO": "stated",
    "SH": "stated",
    "LT": "stated",
    "ST": "stated",
    "UT": "stated",
    "CS": "NO",
    "DA": "20200304",
    "TM": "050607",
    "AS": "050Y",
    "DS": "1.5",
    "UI": derived_uid("conformance", "frame of reference"),
}
_SPECIAL: dict[str, object] = {
    "SpecificCharacterSet": "ISO_IR 100",
    "TimezoneOffsetFromUTC": "+0200",
    "PatientSex": "F",
    "Rows": 65,
    "Columns": 67,
    "PixelSpacing": ["0.2", "0.2"],
    "ImagerPixelSpacing": ["0.2", "0.2"],
    "PatientOrientation": ["L", "F"],
    "LossyImageCompression": "01",
    "LossyImageCompressionMethod": "ISO_15444_1",
    "PhotometricInterpretation": "MONOCHROME1",
    "PixelRepresentation": 1,
    "RescaleType": "US",
    "VOILUTFunction": "LINEAR",
    "Modality": "DX",
    "ShutterShape": "RECTANGULAR",
    "CenterOfCircularShutter": [32, 32],
    "VerticesOfThePolygonalShutter": [1, 1, 1, 64, 64, 64],
}
_NEEDED = ("Modality", "Rows", "Columns", "PhotometricInterpretation", "PixelRepresentation")
_TABLES = ("ModalityLUTSequence", "VOILUTSequence")
_SENDER = Sender(calling_ae=AETitle("MODALITY"), called_ae=AETitle("CXRNODE"), address="", association="1")


def full_header() -> Dataset:
    """Give a header that states all that is read, with a window and no table; planes of its size end amid a byte."""
    return _header(keyword for keyword in READ if keyword not in _TABLES)


def bare_header() -> Dataset:
    """Give a header that states nothing but what it is and how large, which is larger than the others."""
    held = _header(_NEEDED)
    held.Rows, held.Columns, held.PixelRepresentation = 900, 800, 0
    held.PhotometricInterpretation = "MONOCHROME2"
    return held


def header_with_tables() -> Dataset:
    """Give a header whose gray values go through tables, behind a round shutter, on pixels that are not square."""
    held = _header((*_NEEDED, *_TABLES))
    held.PixelSpacing = ["0.2", "0.1"]
    held.ShutterShape, held.CenterOfCircularShutter, held.RadiusOfCircularShutter = "CIRCULAR", [32, 32], 30
    return held


def instance_of(header: Dataset, sop_class_uid: str, *names: str) -> Instance:
    """Give the instance of a header, and write its identity into that: the first name is the study's."""
    header.SOPClassUID = sop_class_uid
    header.SOPInstanceUID = derived_uid("conformance", "source", *names)
    header.StudyInstanceUID = derived_uid("conformance", "study", names[0])
    header.SeriesInstanceUID = derived_uid("conformance", "series", *names)
    description = Description(
        sop_class_uid=sop_class_uid,
        sop_instance_uid=InstanceUID(header.SOPInstanceUID),
        study_uid=StudyUID(header.StudyInstanceUID),
        series_uid=SeriesUID(header.SeriesInstanceUID),
        transfer_syntax_uid=ExplicitVRLittleEndian,
        patient=Patient(),
        facts=ImageFacts(
            sop_class_uid=sop_class_uid,
            modality="DX",
            rows=header.Rows,
            columns=header.Columns,
            spacing=tuple(float(side) for side in header.get("PixelSpacing") or ()),
        ),
        header_digest="",
        pixel_digest="",
        bytes_digest="",
        size=0,
    )
    moment = datetime(2020, 3, 4, tzinfo=UTC)
    return Instance(row=len(names), description=description, sender=_SENDER, key=names[-1], received_at=moment)


def _header(keywords: Iterable[str]) -> Dataset:
    held = Dataset()
    for keyword in keywords:
        vr = dictionary_VR(keyword)
        held.add_new(keyword, "US" if vr == "US or SS" else vr, _value(keyword, vr))
    return held


def _value(keyword: str, vr: str) -> object:
    if keyword in _SPECIAL:
        return _SPECIAL[keyword]
    if vr == "SQ":
        return Sequence([_table() if keyword in _TABLES else _code()])
    return 1 if vr in {"US", "IS"} else _OF_A_KIND[vr]


def _code() -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "1", "99STATED", "stated"
    return item


def _table() -> Dataset:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [4, 0, 16])
    item.add_new("LUTData", "OW", bytes(range(8)))
    item.ModalityLUTType = "US"
    return item
