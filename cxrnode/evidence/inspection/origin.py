"""Whether an object is of the patient and study of its source, says who wrote it, and is the file that it claims to be.

Hides encodings: text is compared as bytes. Promises that no objection quotes a value.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset

from cxrnode.domain.capability import Kind
from cxrnode.domain.finding import StudyResult
from cxrnode.evidence.codes import INTENDED_USE
from cxrnode.evidence.identity import series_uid
from cxrnode.evidence.inspection.reading import Item, Kept, every_element

_ALWAYS = (
    "SpecificCharacterSet",
    "PatientName",
    "PatientID",
    "StudyInstanceUID",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
)
"""What is the source's whatever it holds."""

_WHERE_VALID = (
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "IssuerOfPatientID",
    "PatientOrientation",
    "FrameOfReferenceUID",
    "StudyDescription",
)
"""What is the source's, or empty where the source holds something that is none, or the object has no use for it."""

_EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
_PIXELS = {0x7FE00010, 0x00420011}
_TEXTS = frozenset({"LO", "ST", "LT", "UT", "UC", "SH"})


def mistaken(kept: Kept, sop_class_uids: Sequence[str], sop_instance_uid: str) -> Iterator[str]:
    """Give an objection where the file is not the object that it is kept as."""
    meta, root = kept.meta, kept.root
    if root.text("SOPInstanceUID") != sop_instance_uid:
        yield "SOPInstanceUID: not the one that it is kept under"
    if root.text("SOPClassUID") not in sop_class_uids:
        yield "SOPClassUID: not that of its kind"
    for in_meta, in_root in (
        ("MediaStorageSOPClassUID", "SOPClassUID"),
        ("MediaStorageSOPInstanceUID", "SOPInstanceUID"),
    ):
        if meta.text(in_meta) != root.text(in_root):
            yield f"{in_meta}: not {in_root}"
    if meta.text("TransferSyntaxUID") != _EXPLICIT_LITTLE_ENDIAN:
        yield "TransferSyntaxUID: not explicit VR little endian"


def misfiled(root: Item, kind: Kind, study: StudyResult, objects: Collection[str]) -> Iterator[str]:
    """Give an objection where the series or the number is not the object's; pages share the series of the first."""
    uids = objects if kind is Kind.PAGES else [root.text("SOPInstanceUID")]
    if root.text("SeriesInstanceUID") not in {series_uid(uid) for uid in uids}:
        yield "SeriesInstanceUID: not the series of this object"
    if kind is Kind.SR and root.number("InstanceNumber") != study.revision:
        yield f"InstanceNumber: not the revision {study.revision}"


def stated(header: Dataset) -> Mapping[str, bytes]:
    """Give what a source states of patient and study, as bytes: of a header that nobody has asked for values yet."""
    return {keyword: _raw(header, keyword) for keyword in (*_ALWAYS, *_WHERE_VALID)}


def estranged(root: Item, sources: Sequence[Mapping[str, bytes]]) -> Iterator[str]:
    """Give an objection for each attribute of patient and study that the source, or the nearest, does not state."""
    candidates = [[*_unlike(root, source)] for source in sources]
    yield from min(candidates, key=len, default=())


def unsaid(root: Item) -> Iterator[str]:
    """Give an objection where the object does not say that it is for research."""
    sentence = INTENDED_USE.encode()
    texts = (element.value for _, tag, element in every_element(root) if element.vr in _TEXTS and tag not in _PIXELS)
    if not any(sentence in text for text in texts):
        yield "the intended use is not stated"


def _unlike(root: Item, source: Mapping[str, bytes]) -> Iterator[str]:
    for keyword in _ALWAYS:
        if root.raw(keyword) != source[keyword]:
            yield f"{keyword}: not what the source states"
    for keyword in _WHERE_VALID:
        if root.raw(keyword) not in (b"", source[keyword]):
            yield f"{keyword}: not what the source states"


def _raw(header: Dataset, keyword: str) -> bytes:
    """Give the bytes that the source holds, without padding."""
    held = header.get_item(keyword) if keyword in header else None
    if held is None or held.value is None:
        return b""
    if isinstance(held, RawDataElement) or isinstance(held.value, bytes):
        return bytes(held.value).strip(b" \0")
    values = [held.value] if isinstance(held.value, str) else [str(value) for value in held.value]
    return "\\".join(values).encode("ascii", "replace").strip(b" \0")
