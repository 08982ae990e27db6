"""Composes the SEG of one model on one source: Segmentation Storage on the source's own rows and columns.

Hides the attributes of the IOD, written as a template: a general constructor checks and copies whole planes, and leaves
out of a radiograph's SEG what viewers need. Promises an object that dciodvfy finds no error in, that
dcmqi reads with exactly the areas that were given, and that OHIF shows (PS3.3 A.51, C.8.20.2).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code
from pydicom.tag import Tag

from cxrnode.domain.capability import SEGMENTATION
from cxrnode.domain.delivery import Geometry
from cxrnode.domain.finding import ModelIdentity, ModelResult, Region
from cxrnode.domain.selection import OWN_MANUFACTURER
from cxrnode.domain.study import Instance
from cxrnode.domain.wording import name_of
from cxrnode.errors import NeedsOperator
from cxrnode.evidence import headers, settle
from cxrnode.evidence.algorithms import add_algorithms, model_uid
from cxrnode.evidence.codes import INTENDED_USE, Structure, plain, structure
from cxrnode.evidence.geometry import add_geometry
from cxrnode.evidence.identity import Author, region_uid, segmentation_uid, series_uid
from cxrnode.evidence.items import code_item, data_set, reference

SERIES_NUMBER = 7001
ARTIFICIAL_INTELLIGENCE = Code("123110", "DCM", "Artificial Intelligence")
"""PS3.16 CID 7162, Algorithm Family."""
SOURCE_IMAGE = Code("121322", "DCM", "Source image for image processing operation")
"""PS3.16 CID 7202, Source Image Purposes of Reference."""
DERIVED_BY_SEGMENTATION = Code("113076", "DCM", "Segmentation")
"""PS3.16 CID 7203, Image Derivation."""


def segmented(result: ModelResult, geometry: Geometry) -> tuple[ModelResult, ...]:
    """Give what of a result each of its SEGs shows: all regions that have a pixel; one each where frames share a byte.

    Frames that do not end with a byte run into each other (PS3.5 8.1.1). OHIF cannot unpack them, nor a DICOMweb server
    give them singly; alone in its object every reader has a frame as it is.
    """
    regions = tuple(region for region in result.regions if region.mask.any())
    if geometry is Geometry.VIEWER and len(regions) > 1 and regions[0].mask.size % 8:
        return tuple(replace(result, regions=(region,)) for region in regions)
    return (replace(result, regions=regions),) if regions else ()


def compose_segmentation(
    author: Author, source: Instance, header: Dataset, result: ModelResult, geometry: Geometry
) -> Dataset | None:
    """Compose the SEG, settled and complete; None where no region has a pixel. Raises UnknownConcept, NeedsOperator."""
    regions = [region for region in result.regions if region.mask.any()]
    if not regions:
        return None
    for region in regions:
        _check_plane(source, region)
    uid = segmentation_uid(author, source, result, geometry)
    moment = headers.moment_of(header)
    built = _template(author, source, result, regions, uid)
    planes = [region.mask for region in regions]
    put_pixels(built, planes)
    add_geometry(built, header, geometry)
    settle.settle(built, moment)
    models = (result.model, *result.leaning_on)
    add_algorithms(built, models)
    given = _given_uids(source, result.model, regions, uid) | {model_uid(model) for model in models}
    settle.prove_settled(built, moment, given)
    _take_over(header, built, author)
    return built


def _template(author: Author, source: Instance, result: ModelResult, regions: Sequence[Region], uid: str) -> Dataset:
    """Give all that does not come from the source's header or the masks (PS3.3 A.51.3)."""
    model = result.model
    image, derivation = reference(source.description.sop_class_uid, source.uid), _derivation(source)
    referenced = data_set(SeriesInstanceUID=source.description.series_uid, ReferencedInstanceSequence=[image])
    built = data_set(
        ImageType=["DERIVED", "PRIMARY"],
        SOPClassUID=SEGMENTATION,
        SOPInstanceUID=uid,
        Modality="SEG",
        Manufacturer=OWN_MANUFACTURER,
        SeriesDescription=plain(_series_description(result.model, regions)),
        ManufacturerModelName="cxrnode",
        ReferencedSeriesSequence=[referenced],
        SourceImageSequence=[image],
        DeviceSerialNumber=author.device_name,
        SoftwareVersions=author.software_version,
        StudyInstanceUID=source.study_uid,
        SeriesInstanceUID=series_uid(uid),
        SeriesNumber=SERIES_NUMBER,
        InstanceNumber=1,
        ContentLabel=_content_label(model.name),
        ContentDescription=INTENDED_USE,
        ContentCreatorName=f"{OWN_MANUFACTURER}^",
        PresentationLUTShape="IDENTITY",
        SegmentSequence=_segments(source, result, regions),
        DimensionOrganizationSequence=[Dataset()],
        DimensionIndexSequence=[_dimension()],
        SharedFunctionalGroupsSequence=[Dataset()],
        PerFrameFunctionalGroupsSequence=[_frame(number, derivation) for number, _ in enumerate(regions, 1)],
    )
    built.update(data_set(**_PIXELS, NumberOfFrames=len(regions)))
    return built


def _series_description(model: ModelIdentity, regions: Sequence[Region]) -> str:
    """Say what an object of one segment shows first: lists of series show some twenty letters."""
    alone = f"{name_of(regions[0].label).short}, " if len(regions) == 1 else ""
    return f"cxrnode {alone}{model.name} segmentation"


_PIXELS: Mapping[str, object] = {
    "SamplesPerPixel": 1,
    "PhotometricInterpretation": "MONOCHROME2",
    "PixelRepresentation": 0,
    "LossyImageCompression": "00",
    "SegmentationType": "BINARY",
    "BitsAllocated": 1,
    "BitsStored": 1,
    "HighBit": 0,
}


def _segments(source: Instance, result: ModelResult, regions: Sequence[Region]) -> list[Dataset]:
    model = result.model
    algorithm = data_set(
        AlgorithmSource=OWN_MANUFACTURER,
        AlgorithmFamilyCodeSequence=[code_item(ARTIFICIAL_INTELLIGENCE)],
        AlgorithmVersion=plain(model.version),
        AlgorithmParameters=f"digest={model.digest},backend={plain(model.backend, 256)}",
        AlgorithmName=plain(model.name),
    )
    return [_segment(source, result, algorithm, number, region) for number, region in enumerate(regions, 1)]


def _segment(source: Instance, result: ModelResult, algorithm: Dataset, number: int, region: Region) -> Dataset:
    """Describe a segment (PS3.3 Table C.8.20-4). Viewers list segments by their label: it says what is not certain."""
    what = structure(region.label)
    segment = data_set(
        SegmentedPropertyCategoryCodeSequence=[code_item(what.category)],
        SegmentNumber=number,
        SegmentLabel=what.called(result.presence_of(region.label)),
        SegmentationAlgorithmIdentificationSequence=[algorithm],
        SegmentAlgorithmType="AUTOMATIC",
        SegmentAlgorithmName=plain(result.model.name),
        RecommendedDisplayCIELabValue=_cielab(*what.colour),
        SegmentedPropertyTypeCodeSequence=[_kind(what)],
        TrackingID=what.title,
        TrackingUID=region_uid(source, result.model, region.label),
    )
    if what.site:
        segment.update(data_set(AnatomicRegionSequence=[code_item(what.site)]))
    return segment


def _kind(what: Structure) -> Dataset:
    if not what.laterality:
        return code_item(what.kind)
    return data_set(
        CodeValue=what.kind.value,
        CodingSchemeDesignator=what.kind.scheme_designator,
        CodeMeaning=what.kind.meaning,
        SegmentedPropertyTypeModifierCodeSequence=[code_item(what.laterality)],
    )


def _dimension() -> Dataset:
    """Say that frames are told apart by their segment (PS3.3 C.7.6.17); settle gives the UID."""
    return data_set(
        DimensionIndexPointer=Tag(0x0062, 0x000B),
        FunctionalGroupPointer=Tag(0x0062, 0x000A),
        DimensionDescriptionLabel="Referenced Segment Number",
    )


def _cielab(lightness: float, a: float, b: float) -> list[int]:
    """Scale L* 0..100 and a*, b* -128..127 to 16 bits (PS3.3 C.10.7.1.1)."""
    return [round(lightness * 0xFFFF / 100), round((a + 128) * 0xFFFF / 255), round((b + 128) * 0xFFFF / 255)]


def _derivation(source: Instance) -> Dataset:
    """Say which image a frame was made from: viewers look for it in each frame, shared or not."""
    image = data_set(
        ReferencedSOPClassUID=source.description.sop_class_uid,
        ReferencedSOPInstanceUID=source.uid,
        SpatialLocationsPreserved="YES",
        PurposeOfReferenceCodeSequence=[code_item(SOURCE_IMAGE)],
    )
    return data_set(SourceImageSequence=[image], DerivationCodeSequence=[code_item(DERIVED_BY_SEGMENTATION)])


def _frame(number: int, derivation: Dataset) -> Dataset:
    """Say which segment a frame shows."""
    return data_set(
        DerivationImageSequence=[derivation],
        FrameContentSequence=[data_set(DimensionIndexValues=number)],
        SegmentIdentificationSequence=[data_set(ReferencedSegmentNumber=number)],
    )


def put_pixels(built: Dataset, planes: Sequence[NDArray[np.bool_]]) -> None:
    """Pack the planes one after the other, eight pixels a byte, first pixel lowest (PS3.5 8.1.1, D.1)."""
    alone = [np.packbits(plane.ravel(), bitorder="little") for plane in planes]
    # A plane that does not end with a byte shares that byte with the next one.
    flush = planes[0].size % 8 == 0
    frames = alone if flush else [np.packbits(np.concatenate([p.ravel() for p in planes]), bitorder="little")]
    length = sum(frame.size for frame in frames)
    built.Rows, built.Columns = planes[0].shape
    built.PixelData = b"".join([*(frame.tobytes() for frame in frames), b"\x00" * (length % 2)])
    built["PixelData"].VR = "OB"
    built.SegmentsOverlap = "YES" if any(bool((a & b).any()) for a, b in combinations(alone, 2)) else "NO"


def _take_over(header: Dataset, built: Dataset, author: Author) -> None:
    """Copy what the source states of the patient, the study and the image's own properties."""
    headers.copy_patient_and_study(header, built, author.timezone_offset)
    # Type 2C for an image without Image Orientation at its root (PS3.3 C.7.6.1).
    headers.copy_orientation(header, built)
    if header.get("FrameOfReferenceUID"):
        headers.copy_element(header, built, "FrameOfReferenceUID")
        built.PositionReferenceIndicator = None
    headers.copy_lossy(header, built)


def _given_uids(source: Instance, model: ModelIdentity, regions: Sequence[Region], uid: str) -> set[str]:
    tracked = {region_uid(source, model, region.label) for region in regions}
    return {uid, series_uid(uid), source.uid, source.study_uid, source.description.series_uid, *tracked}


def _check_plane(source: Instance, region: Region) -> None:
    if region.mask.dtype != np.bool_ or region.mask.shape != (source.facts.rows, source.facts.columns):
        raise NeedsOperator(
            f"the mask of {region.label} is not a boolean plane on the image's rows and columns",
            operation="compose evidence",
            subject=source.uid,
            hint="see 'Evidence cannot be composed' in docs/operations.md",
        )


def _content_label(name: str) -> str:
    """Give a name as a CS: 16 upper-case letters, digits, spaces and underscores (PS3.5 6.2)."""
    return "".join(letter if letter.isalnum() and letter.isascii() else "_" for letter in name.upper())[:16] or "SEG"
