"""What every object of ours has, and what stands in many places: macros, and the modules of patient, study and series.

Hides nothing. Promises tables of PS3.3, each with its section.
"""

from __future__ import annotations

from cxrnode.domain.selection import OWN_MANUFACTURER
from cxrnode.evidence.inspection.required import Attribute, Module, has_none, may_be_empty, must, optional

CODE: tuple[Attribute, ...] = (
    must("CodeValue", when=has_none("LongCodeValue", "URNCodeValue")),
    must("CodingSchemeDesignator", when=has_none("URNCodeValue")),
    must("CodeMeaning"),
)
"""Table 8.8-1, Code Sequence Macro."""

INSTANCE: tuple[Attribute, ...] = (must("ReferencedSOPClassUID"), must("ReferencedSOPInstanceUID"))
"""Table 10-11, SOP Instance Reference Macro."""

IMAGES = optional("ReferencedImageSequence", within=INSTANCE)
PURPOSE = optional("PurposeOfReferenceCodeSequence", within=CODE, single=True)
_SERIES = (must("SeriesInstanceUID"), must("ReferencedSOPSequence", within=INSTANCE))
HIERARCHY = (must("StudyInstanceUID"), must("ReferencedSeriesSequence", within=_SERIES))
"""Table 10-3, Hierarchical SOP Instance Reference Macro."""


def module(name: str, section: str, *attributes: Attribute) -> Module:
    """Give a module that every object of its class has."""
    return Module(name=name, section=section, attributes=attributes)


PATIENT = module(
    "patient",
    "C.7.1.1",
    *(may_be_empty(keyword) for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex")),
)
STUDY = module(
    "general-study",
    "C.7.2.1",
    must("StudyInstanceUID"),
    *(may_be_empty(keyword) for keyword in ("StudyDate", "StudyTime", "ReferringPhysicianName")),
    *(may_be_empty(keyword) for keyword in ("StudyID", "AccessionNumber")),
)
# Type 2 here; by Manufacturer the node knows its own objects when they come back.
EQUIPMENT = module("general-equipment", "C.7.5.1", must("Manufacturer", OWN_MANUFACTURER))
ENHANCED_EQUIPMENT = module(
    "enhanced-general-equipment",
    "C.7.5.2",
    *(must(keyword) for keyword in ("Manufacturer", "ManufacturerModelName", "DeviceSerialNumber", "SoftwareVersions")),
)
SOP_COMMON = module(
    "sop-common",
    "C.12.1",
    must("SOPClassUID"),
    must("SOPInstanceUID"),
    optional("CodingSchemeIdentificationSequence", within=(must("CodingSchemeDesignator"),)),
    # By Device UID and version a reader tells one model from another.
    optional(
        "ContributingEquipmentSequence",
        within=(
            must("PurposeOfReferenceCodeSequence", within=CODE, single=True),
            *(must(keyword) for keyword in ("Manufacturer", "ManufacturerModelName", "DeviceUID", "SoftwareVersions")),
        ),
    ),
)


def series(modality: str, *more: Attribute) -> Module:
    """Give the module of a series of this modality, of any where it is empty."""
    return module(
        "general-series",
        "C.7.3.1",
        must("Modality", *([modality] if modality else [])),
        must("SeriesInstanceUID"),
        must("SeriesNumber"),
        *more,
    )
