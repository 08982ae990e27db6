"""Which attributes of our objects are the source's: carried over as they stand, and none of our faults.

Hides nothing. Promises that every attribute of patient and study that evidence is given is in here (held by a test), so
that a modality's odd date keeps no object back, and nothing of a patient is handed to another program.
"""

from __future__ import annotations

from collections.abc import Iterator

from pydicom.datadict import tag_for_keyword

EMPTIED = (
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
"""Type 2 in Patient and General Study (PS3.3 C.7.1.1, C.7.2.1)."""

_BESIDES = (
    "SpecificCharacterSet",
    "TimezoneOffsetFromUTC",
    "StudyDescription",
    "IssuerOfAccessionNumberSequence",
    "ProcedureCodeSequence",
    "ConsultingPhysicianName",
    "ConsultingPhysicianIdentificationSequence",
    "PhysiciansOfRecord",
    "PhysiciansOfRecordIdentificationSequence",
    "NameOfPhysiciansReadingStudy",
    "PhysiciansReadingStudyIdentificationSequence",
    "ReferringPhysicianIdentificationSequence",
    "RequestAttributesSequence",
)
OF_THE_IMAGE = (
    "PatientOrientation",
    "FrameOfReferenceUID",
    "PositionReferenceIndicator",
    "LossyImageCompression",
    "LossyImageCompressionRatio",
    "LossyImageCompressionMethod",
)
"""What a picture of the source is like: stated where the source states it."""

_GROUPS = (0x0010, 0x0012, 0x0032, 0x0038)
"""Patient, clinical trial, study and visit."""


class _Tags(frozenset[int]):
    """Single tags, and every tag of a group of them."""

    def __contains__(self, tag: object) -> bool:
        """Whether a tag is one of these."""
        return isinstance(tag, int) and (tag >> 16 in _GROUPS or super().__contains__(tag))


def tags_of(*keywords: str) -> Iterator[int]:
    """Give the tags of keywords of the dictionary."""
    for keyword in keywords:
        tag = tag_for_keyword(keyword)
        assert tag is not None, keyword
        yield tag


PATIENT_AND_STUDY = _Tags(tags_of(*EMPTIED, *_BESIDES))
"""What another program is not to see."""

CARRIED_OVER = _Tags(tags_of(*EMPTIED, *_BESIDES, *OF_THE_IMAGE))
"""What may hold what the source holds, well formed or not."""
