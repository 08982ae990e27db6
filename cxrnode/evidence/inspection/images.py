"""The modules of images: pixels, segments, frames (PS3.3 C.7.6, C.8.6, C.8.20).

Hides nothing. Promises the values that we write: a segment of another algorithm type than AUTOMATIC is none of ours.
"""

from __future__ import annotations

from cxrnode.evidence.inspection.macros import CODE, INSTANCE, PURPOSE, module
from cxrnode.evidence.inspection.required import Module, has_none, may_be_empty, must, optional, states

GENERAL_IMAGE = module(
    "general-image",
    "C.7.6.1",
    may_be_empty("InstanceNumber"),
    may_be_empty("PatientOrientation", when=has_none("ImageOrientationPatient")),
    optional("LossyImageCompression", "00", "01"),
    # Type 1C beside 01: the source's to state. Real films leave it out, and nobody else knows it.
    optional("LossyImageCompressionRatio"),
    optional("SourceImageSequence", within=(*INSTANCE, PURPOSE)),
    optional("DerivationCodeSequence", within=CODE),
    optional("BurnedInAnnotation", "YES", "NO"),
    optional("PresentationLUTShape", "IDENTITY", "INVERSE"),
)
PIXELS = module(
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
FRAME_OF_REFERENCE = Module(
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
SEGMENTATION_IMAGE = module(
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
    optional("LossyImageCompressionMethod"),
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
_FRAME = must("FrameContentSequence", within=(must("DimensionIndexValues"),), single=True)
FUNCTIONAL_GROUPS = module(
    "segmentation-multi-frame-functional-groups",
    "C.7.6.16",
    must("InstanceNumber"),
    must("ContentDate"),
    must("ContentTime"),
    must("NumberOfFrames"),
    # A group stands in one of the two; what a frame must have of them is looked for where the masks are read.
    must("SharedFunctionalGroupsSequence", within=_GROUPS, single=True),
    must("PerFrameFunctionalGroupsSequence", within=(*_GROUPS, _FRAME)),
)
DIMENSIONS = module(
    "multi-frame-dimension",
    "C.7.6.17",
    must("DimensionOrganizationSequence", within=(must("DimensionOrganizationUID"),)),
    must(
        "DimensionIndexSequence",
        within=(must("DimensionOrganizationUID"), must("DimensionIndexPointer")),
    ),
)
INSTANCE_REFERENCE = module(
    "common-instance-reference",
    "C.12.2",
    must(
        "ReferencedSeriesSequence",
        within=(must("SeriesInstanceUID"), must("ReferencedInstanceSequence", within=INSTANCE)),
    ),
)
CAPTURE_EQUIPMENT = module("sc-equipment", "C.8.6.1", must("ConversionType", "SYN", "WSD", "DI", "SI"))
# Types 3: without them a capture could be taken for the radiograph.
CAPTURE = module(
    "sc-image",
    "C.7.6.1",
    must("ImageType", "DERIVED", "SECONDARY"),
    must("DerivationDescription"),
    must("SourceImageSequence", within=(*INSTANCE, PURPOSE)),
)
