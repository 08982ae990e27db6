"""The modules of what we write, with their required attributes and enumerated values: a table each (PS3.3 A, C).

Hides nothing. Promises every attribute of type 1 and 2 of the mandatory modules, held by a test against an independent
reading of the standard, the conditions (1C, 2C) that our objects can come to, and the values that we write: a segment
of another algorithm type than AUTOMATIC is none of ours.
"""

from __future__ import annotations

from collections.abc import Mapping

from cxrnode.domain.capability import (
    ENCAPSULATED_PDF,
    KEY_OBJECT_SELECTION,
    PRESENTATION_STATE,
    REPORT_CLASSES,
    SECONDARY_CAPTURE,
    SEGMENTATION,
)
from cxrnode.domain.selection import OWN_MANUFACTURER
from cxrnode.evidence.inspection.required import (
    Attribute,
    Module,
    has,
    has_none,
    may_be_empty,
    must,
    optional,
    states,
)

CODE: tuple[Attribute, ...] = (
    must("CodeValue", when=has_none("LongCodeValue", "URNCodeValue")),
    must("CodingSchemeDesignator", when=has_none("URNCodeValue")),
    must("CodeMeaning"),
)
"""Table 8.8-1, Code Sequence Macro."""

INSTANCE: tuple[Attribute, ...] = (must("ReferencedSOPClassUID"), must("ReferencedSOPInstanceUID"))
"""Table 10-11, SOP Instance Reference Macro."""

_IMAGES = optional("ReferencedImageSequence", within=INSTANCE)
_PURPOSE = optional("PurposeOfReferenceCodeSequence", within=CODE, single=True)
_SERIES = (must("SeriesInstanceUID"), must("ReferencedSOPSequence", within=INSTANCE))
_HIERARCHY = (must("StudyInstanceUID"), must("ReferencedSeriesSequence", within=_SERIES))
"""Table 10-3, Hierarchical SOP Instance Reference Macro."""


def _module(name: str, section: str, *attributes: Attribute) -> Module:
    return Module(name=name, section=section, attributes=attributes)


_PATIENT = _module(
    "patient",
    "C.7.1.1",
    *(may_be_empty(keyword) for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex")),
)
_STUDY = _module(
    "general-study",
    "C.7.2.1",
    must("StudyInstanceUID"),
    *(may_be_empty(keyword) for keyword in ("StudyDate", "StudyTime", "ReferringPhysicianName")),
    *(may_be_empty(keyword) for keyword in ("StudyID", "AccessionNumber")),
)
# Type 2 here; by Manufacturer the node knows its own objects when they come back.
_EQUIPMENT = _module("general-equipment", "C.7.5.1", must("Manufacturer", OWN_MANUFACTURER))
_ENHANCED_EQUIPMENT = _module(
    "enhanced-general-equipment",
    "C.7.5.2",
    *(must(keyword) for keyword in ("Manufacturer", "ManufacturerModelName", "DeviceSerialNumber", "SoftwareVersions")),
)
_SOP_COMMON = _module(
    "sop-common",
    "C.12.1",
    must("SOPClassUID"),
    must("SOPInstanceUID"),
    optional("CodingSchemeIdentificationSequence", within=(must("CodingSchemeDesignator"),)),
)


def _series(modality: str, *more: Attribute) -> Module:
    return _module(
        "general-series",
        "C.7.3.1",
        must("Modality", *([modality] if modality else [])),
        must("SeriesInstanceUID"),
        must("SeriesNumber"),
        *more,
    )


_GENERAL_IMAGE = _module(
    "general-image",
    "C.7.6.1",
    may_be_empty("InstanceNumber"),
    may_be_empty("PatientOrientation", when=has_none("ImageOrientationPatient")),
    optional("LossyImageCompression", "00", "01"),
    must("LossyImageCompressionRatio", when=states("LossyImageCompression", "01")),
    optional("SourceImageSequence", within=(*INSTANCE, _PURPOSE)),
    optional("DerivationCodeSequence", within=CODE),
    optional("BurnedInAnnotation", "YES", "NO"),
    optional("PresentationLUTShape", "IDENTITY", "INVERSE"),
)
_PIXELS = _module(
    "image-pixel",
    "C.7.6.3",
    must("SamplesPerPixel", "1", "3"),
    must("PhotometricInterpretation", "MONOCHROME2", "RGB"),
    must("Rows"),
    must("Columns"),
    must("BitsAllocated", "1", "8"),
    must("BitsStored", "1", "8"),
    must("HighBit", "0", "7"),
    must("PixelRepresentation", "0"),
    must("PlanarConfiguration", "0", when=states("SamplesPerPixel", "3")),
    must("PixelData"),
)
_FRAME_OF_REFERENCE = Module(
    name="frame-of-reference",
    section="C.7.4.1",
    attributes=(must("FrameOfReferenceUID"), may_be_empty("PositionReferenceIndicator")),
    when=lambda item: "FrameOfReferenceUID" in item or "PositionReferenceIndicator" in item,
)
_SEGMENT = (
    must("SegmentNumber"),
    must("SegmentLabel"),
    must("SegmentAlgorithmType", "AUTOMATIC"),
    must("SegmentAlgorithmName", when=states("SegmentAlgorithmType", "AUTOMATIC", "SEMIAUTOMATIC")),
    must("SegmentedPropertyCategoryCodeSequence", within=CODE, single=True),
    must(
        "SegmentedPropertyTypeCodeSequence",
        within=(*CODE, optional("SegmentedPropertyTypeModifierCodeSequence", within=CODE)),
        single=True,
    ),
    optional("AnatomicRegionSequence", within=CODE),
    # Types 1C and 3 there; the report names a segment by its tracking UID, and its algorithm.
    must("TrackingID"),
    must("TrackingUID"),
    must(
        "SegmentationAlgorithmIdentificationSequence",
        within=(
            must("AlgorithmFamilyCodeSequence", within=CODE, single=True),
            must("AlgorithmName"),
            must("AlgorithmVersion"),
        ),
    ),
)
_SEGMENTATION_IMAGE = _module(
    "segmentation-image",
    "C.8.20.2",
    must("ImageType", "DERIVED", "PRIMARY"),
    must("InstanceNumber"),
    must("SegmentationType", "BINARY"),
    must("ContentLabel"),
    may_be_empty("ContentDescription"),
    may_be_empty("ContentCreatorName"),
    must("SamplesPerPixel", "1"),
    must("PhotometricInterpretation", "MONOCHROME2"),
    must("BitsAllocated", "1"),
    must("BitsStored", "1"),
    must("HighBit", "0"),
    must("PixelRepresentation", "0"),
    must("LossyImageCompression", "00", "01"),
    must("LossyImageCompressionMethod", when=states("LossyImageCompression", "01")),
    must("SegmentSequence", within=_SEGMENT),
)
_DERIVATION = optional(
    "DerivationImageSequence",
    within=(
        must("DerivationCodeSequence", within=CODE),
        must(
            "SourceImageSequence",
            within=(
                *INSTANCE,
                must("PurposeOfReferenceCodeSequence", within=CODE, single=True),
                must("SpatialLocationsPreserved", "YES"),
            ),
        ),
    ),
)
_GROUPS = (
    _DERIVATION,
    optional("SegmentIdentificationSequence", within=(must("ReferencedSegmentNumber"),), single=True),
    optional("PlanePositionSequence", within=(must("ImagePositionPatient"),), single=True),
    optional("PlaneOrientationSequence", within=(must("ImageOrientationPatient"),), single=True),
    optional(
        "PixelMeasuresSequence",
        within=(must("PixelSpacing"), must("SliceThickness")),
        single=True,
    ),
)
_FUNCTIONAL_GROUPS = _module(
    "segmentation-multi-frame-functional-groups",
    "C.7.6.16",
    must("InstanceNumber"),
    must("ContentDate"),
    must("ContentTime"),
    must("NumberOfFrames"),
    # A group may be shared, so that the item may be empty.
    must("SharedFunctionalGroupsSequence", within=_GROUPS, single=True),
    must("PerFrameFunctionalGroupsSequence", within=_GROUPS),
)
_DIMENSIONS = _module(
    "multi-frame-dimension",
    "C.7.6.17",
    must("DimensionOrganizationSequence", within=(must("DimensionOrganizationUID"),)),
    must(
        "DimensionIndexSequence",
        within=(must("DimensionOrganizationUID"), must("DimensionIndexPointer")),
    ),
)
_INSTANCE_REFERENCE = _module(
    "common-instance-reference",
    "C.12.2",
    must(
        "ReferencedSeriesSequence",
        within=(must("SeriesInstanceUID"), must("ReferencedInstanceSequence", within=INSTANCE)),
    ),
)
_DOCUMENT = _module(
    "sr-document-general",
    "C.17.2",
    must("InstanceNumber"),
    must("CompletionFlag", "COMPLETE", "PARTIAL"),
    must("VerificationFlag", "UNVERIFIED"),
    must("ContentDate"),
    must("ContentTime"),
    may_be_empty("PerformedProcedureCodeSequence"),
    must("CurrentRequestedProcedureEvidenceSequence", within=_HIERARCHY),
    optional("PertinentOtherEvidenceSequence", within=_HIERARCHY),
    optional("PredecessorDocumentsSequence", within=_HIERARCHY),
    optional("IdenticalDocumentsSequence", within=_HIERARCHY),
)
_KEY_OBJECTS = _module(
    "key-object-document",
    "C.17.6.2",
    must("InstanceNumber"),
    must("ContentDate"),
    must("ContentTime"),
    must("CurrentRequestedProcedureEvidenceSequence", within=_HIERARCHY),
)
_CONTENT = _module(
    "sr-document-content",
    "C.17.3",
    must("ValueType", "CONTAINER"),
    must("ConceptNameCodeSequence", within=CODE, single=True),
    must("ContinuityOfContent", "SEPARATE", "CONTINUOUS"),
    must("ContentSequence"),
    must(
        "ContentTemplateSequence",
        within=(must("MappingResource", "DCMR"), must("TemplateIdentifier")),
        single=True,
    ),
)
_PRESENTATION_STATE = _module(
    "presentation-state-identification",
    "C.11.10",
    must("PresentationCreationDate"),
    must("PresentationCreationTime"),
    must("InstanceNumber"),
    must("ContentLabel"),
    may_be_empty("ContentDescription"),
    may_be_empty("ContentCreatorName"),
)
_PRESENTED = _module(
    "presentation-state-relationship",
    "C.11.11",
    must(
        "ReferencedSeriesSequence",
        within=(must("SeriesInstanceUID"), must("ReferencedImageSequence", within=INSTANCE)),
    ),
)
_DISPLAYED_AREA = _module(
    "displayed-area",
    "C.10.4",
    must(
        "DisplayedAreaSelectionSequence",
        within=(
            _IMAGES,
            must("DisplayedAreaTopLeftHandCorner"),
            must("DisplayedAreaBottomRightHandCorner"),
            must("PresentationSizeMode", "SCALE TO FIT", "TRUE SIZE", "MAGNIFY"),
            must("PresentationPixelSpacing", when=states("PresentationSizeMode", "TRUE SIZE")),
            must("PresentationPixelAspectRatio", when=has_none("PresentationPixelSpacing")),
            must("PresentationPixelMagnificationRatio", when=states("PresentationSizeMode", "MAGNIFY")),
        ),
    ),
)
_GRAPHIC = (
    must("GraphicAnnotationUnits", "PIXEL", "DISPLAY"),
    must("GraphicDimensions", "2"),
    must("NumberOfGraphicPoints"),
    must("GraphicData"),
    must("GraphicType", "POINT", "POLYLINE", "INTERPOLATED", "CIRCLE", "ELLIPSE"),
    must("GraphicFilled", "Y", "N", when=states("GraphicType", "CIRCLE", "ELLIPSE")),
)
_TEXT = (
    must("UnformattedTextValue"),
    must("BoundingBoxAnnotationUnits", "PIXEL", "DISPLAY", when=has("BoundingBoxTopLeftHandCorner")),
    must("BoundingBoxTopLeftHandCorner", when=has_none("AnchorPoint")),
    must("BoundingBoxBottomRightHandCorner", when=has("BoundingBoxTopLeftHandCorner")),
    must(
        "BoundingBoxTextHorizontalJustification",
        *("LEFT", "RIGHT", "CENTER"),
        when=has("BoundingBoxTopLeftHandCorner"),
    ),
    must("AnchorPoint", when=has_none("BoundingBoxTopLeftHandCorner")),
    must("AnchorPointAnnotationUnits", "PIXEL", "DISPLAY", when=has("AnchorPoint")),
    must("AnchorPointVisibility", "Y", "N", when=has("AnchorPoint")),
)
_GRAPHICS = _module(
    "graphic-annotation",
    "C.10.5",
    must(
        "GraphicAnnotationSequence",
        within=(
            _IMAGES,
            must("GraphicLayer"),
            must("TextObjectSequence", within=_TEXT, when=has_none("GraphicObjectSequence")),
            must("GraphicObjectSequence", within=_GRAPHIC, when=has_none("TextObjectSequence")),
        ),
    ),
)
_LAYERS = _module(
    "graphic-layer",
    "C.10.7",
    must("GraphicLayerSequence", within=(must("GraphicLayer"), must("GraphicLayerOrder"))),
)
_LUT = (must("LUTDescriptor"), must("LUTData"))
_GRAYSCALE = _module(
    "softcopy-presentation-lut",
    "C.11.6",
    must("PresentationLUTSequence", within=_LUT, when=has_none("PresentationLUTShape")),
    must("PresentationLUTShape", "IDENTITY", "INVERSE", when=has_none("PresentationLUTSequence")),
    # Softcopy VOI LUT (C.11.8) and Modality LUT (C.11.1), where they are there.
    optional(
        "SoftcopyVOILUTSequence",
        within=(
            _IMAGES,
            must("WindowCenter", when=has_none("VOILUTSequence")),
            must("WindowWidth", when=has("WindowCenter")),
            optional("VOILUTSequence", within=_LUT),
        ),
    ),
    must("RescaleIntercept", when=has("RescaleSlope")),
    must("RescaleSlope", when=has("RescaleIntercept")),
    must("RescaleType", when=has("RescaleIntercept")),
    optional("ModalityLUTSequence", within=(*_LUT, must("ModalityLUTType")), single=True),
)
_CAPTURE_EQUIPMENT = _module("sc-equipment", "C.8.6.1", must("ConversionType", "SYN", "WSD", "DI", "SI"))
_PDF = _module(
    "encapsulated-document",
    "C.24.2",
    must("InstanceNumber"),
    may_be_empty("ContentDate"),
    may_be_empty("ContentTime"),
    may_be_empty("AcquisitionDateTime"),
    must("BurnedInAnnotation", "YES", "NO"),
    must("SourceInstanceSequence", within=(*INSTANCE, _PURPOSE)),
    may_be_empty("DocumentTitle"),
    may_be_empty("ConceptNameCodeSequence"),
    must("MIMETypeOfEncapsulatedDocument", "application/pdf"),
    must("EncapsulatedDocument"),
)

_ALWAYS = (_PATIENT, _STUDY, _EQUIPMENT, _SOP_COMMON)
_STEP = may_be_empty("ReferencedPerformedProcedureStepSequence")
_REPORT = (*_ALWAYS, _series("SR", _STEP), _DOCUMENT, _CONTENT)

IODS: Mapping[str, tuple[Module, ...]] = {
    SEGMENTATION: (
        *_ALWAYS,
        _series("SEG"),
        _FRAME_OF_REFERENCE,
        _ENHANCED_EQUIPMENT,
        _GENERAL_IMAGE,
        _PIXELS,
        _SEGMENTATION_IMAGE,
        _FUNCTIONAL_GROUPS,
        _DIMENSIONS,
        _INSTANCE_REFERENCE,
    ),
    **dict.fromkeys(REPORT_CLASSES.values(), _REPORT),
    KEY_OBJECT_SELECTION: (*_ALWAYS, _series("KO", _STEP), _KEY_OBJECTS, _CONTENT),
    PRESENTATION_STATE: (
        *_ALWAYS,
        _series("PR"),
        _PRESENTATION_STATE,
        _PRESENTED,
        _DISPLAYED_AREA,
        _GRAPHICS,
        _LAYERS,
        _GRAYSCALE,
    ),
    SECONDARY_CAPTURE: (*_ALWAYS, _series(""), _CAPTURE_EQUIPMENT, _GENERAL_IMAGE, _PIXELS),
    ENCAPSULATED_PDF: (*_ALWAYS, _series("DOC"), _CAPTURE_EQUIPMENT, _PDF),
}
"""The modules of each SOP class that we write (PS3.3 A.51, A.35.2, A.35.3, A.35.13, A.35.4, A.33.1, A.8.1, A.45.1)."""
