"""Words that mean something to whoever reads them, and films that state them in every text attribute."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager

import pydicom
from pydicom import config
from pydicom.dataset import Dataset

from cxrnode.phantom import Radiograph, View, render

WORDS: dict[str, str | bytes] = {
    "control characters": "A\x01\x02\x07\x08\x7fB\x85",
    "terminal escapes": "\x1b[2J\x1b[31mred\x1b]0;title\x07\x1b[6n\x9b31m",
    "lines of its own": "one\r\ntwo\njob 7777: COMPLETED\ttab",
    "DICOM delimiters": "a\\b\\\\c^d^^e=f==g",
    "nothing but delimiters": "\\^=\\^=\\^=",
    "markup of terminals": "[bold]x[/bold] [/] [link=file:///etc/passwd]y[/link] [unknown",
    "HTML": "<script>alert(1)</script><img src=x onerror=alert(1)>&lt;&#60;",
    "XML": "]]><!ENTITY x SYSTEM 'file:///etc/passwd'><para>&x;</para></font>",
    "SQL": "'; DROP TABLE instances; -- \" OR 1=1",
    "format strings": "%s%n%x%(name)s {0} {__class__} ${HOME} $(id) `id`",
    "formula": "=cmd|' /C calc'!A0",
    "other formulas": "+1+1@SUM(A1)-2",
    "paths": "../../../../tmp/escaped",
    "absolute paths": "/etc/passwd",
    "NUL": "a\0b",
    "right to left": "\u202egnp.exe\u202c \u2066x\u2069 \u200f",
    "far planes": "\U0001f4a9 \U000e0041 \ufeff \uffff \u0301\u0301\u0301",
    "long": "x" * 64_000,
    "long without a word": "漢" * 20_000,
    "spaces": "   \u00a0 \u2003  ",
    "numbers": "1e400",
    "not a number": "NaN",
    "bytes of no character set": b"\xff\xfe\x80\xe4\xfc",
    "broken escapes": b"\x1b$B\x1b(Z\x1b-F\xff\x1b",
    "cut UTF-8": b"\xe2\x82\xf0\x9f",
}
DECIDING = frozenset(
    {
        "SpecificCharacterSet", "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Modality",
        "BodyPartExamined", "ViewPosition", "ImageType", "PhotometricInterpretation", "PresentationIntentType",
        "PatientOrientation", "PatientAge", "PatientBirthDate", "PatientSpeciesDescription", "StudyDescription",
        "SeriesDescription", "ProtocolName", "PixelIntensityRelationship", "PresentationLUTShape", "VOILUTFunction",
        "PixelSpacing", "ImagerPixelSpacing", "WindowCenter", "WindowWidth", "RescaleSlope", "RescaleIntercept",
        "RescaleType", "LossyImageCompression", "BurnedInAnnotation", "NumberOfFrames", "ImageLaterality",
        "EstimatedRadiographicMagnificationFactor",
    }
)  # fmt: skip
"""What is looked at to decide whether, and how, a film is analysed."""
TEXT = frozenset({"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UT", "UI", "UR"})
MORE = (
    "AccessionNumber", "InstitutionName", "ReferringPhysicianName", "OperatorsName", "PatientComments",
    "OtherPatientIDs", "IssuerOfPatientID", "StudyID", "Manufacturer", "ManufacturerModelName", "DeviceSerialNumber",
    "SoftwareVersions",
    "StationName", "ImageComments", "RequestedProcedureDescription", "PerformedProcedureStepDescription",
    "AdmittingDiagnosesDescription", "PatientAddress", "EthnicGroup", "Occupation", "AdditionalPatientHistory",
    "TimezoneOffsetFromUTC", "DerivationDescription", "PatientSex",
)  # fmt: skip
"""Attributes that the phantom leaves out."""


@contextmanager
def unchecked() -> Iterator[None]:
    """Let pydicom write what no program should."""
    before = config.settings.writing_validation_mode
    config.settings.writing_validation_mode = config.IGNORE
    try:
        yield
    finally:
        config.settings.writing_validation_mode = before


def film(word: str | bytes, *, attributes: frozenset[str] | None = None, seed: int = 1) -> bytes:
    """Give a film that states `word` in these attributes; by default in all text but that which decides."""
    spec = Radiograph(rows=320, cols=320, seed=seed, identity=f"hostile-{seed}", study=f"hostile-{seed}", view=View.PA)
    dataset = render(spec).dataset
    # Explicit VR has lengths of two bytes.
    value = word[:64_000] if isinstance(word, bytes) else word.encode()[:64_000]
    _state(dataset, value, attributes)
    if attributes is None:
        for keyword in MORE:
            _write(dataset, keyword, value)
    with unchecked():
        content = io.BytesIO()
        pydicom.dcmwrite(content, dataset)
        return content.getvalue()


def _state(dataset: Dataset, value: bytes, attributes: frozenset[str] | None) -> None:
    for element in list(dataset):
        if element.VR == "SQ":
            for item in element.value:
                _state(item, value, attributes or frozenset({"CodeMeaning", "CodingSchemeVersion"}))
        elif element.VR in TEXT and (element.keyword in attributes if attributes else element.keyword not in DECIDING):
            _write(dataset, element.keyword, value)


def _write(dataset: Dataset, keyword: str, value: bytes) -> None:
    """Put bytes where text belongs; a text of its own VR, so that they are written as they are."""
    tag = pydicom.datadict.tag_for_keyword(keyword)
    vr = pydicom.datadict.dictionary_VR(keyword)
    assert tag is not None
    padding = b"\0" if vr == "UI" else b" "
    raw = pydicom.dataelem.RawDataElement(
        pydicom.tag.Tag(tag), vr, len(value), value + padding * (len(value) % 2), 0, False, True
    )
    dataset[keyword] = raw  # written without being converted
