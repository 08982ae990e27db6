"""Composes the SEG of one model on one source: Segmentation Storage, BINARY, on the source's own rows and columns.

Hides how highdicom is led around what it does to radiographs. Promises an object that dciodvfy finds no error in, that
dcmqi reads with exactly the areas that were given, and that OHIF shows (PS3.3 A.51, C.8.20.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.sr.coding import Code

from cxrnode.domain.delivery import Geometry
from cxrnode.domain.finding import ModelIdentity, ModelResult, Region
from cxrnode.domain.selection import OWN_MANUFACTURER
from cxrnode.domain.study import Instance
from cxrnode.errors import NeedsOperator
from cxrnode.evidence import headers, settle
from cxrnode.evidence.codes import INTENDED_USE, plain, structure
from cxrnode.evidence.geometry import add_geometry
from cxrnode.evidence.identity import Author, region_uid, segmentation_uid, series_uid

SERIES_NUMBER = 7001
ARTIFICIAL_INTELLIGENCE = Code("123110", "DCM", "Artificial Intelligence")
"""PS3.16 CID 7162, Algorithm Family."""


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
    image, moment = headers.stand_in(source), headers.moment_of(header)
    built = _skeleton(author, source, image, result.model, regions, uid)
    put_pixels(built, [region.mask for region in regions])
    _segments_per_frame(built)
    add_geometry(built, header, geometry)
    settle.settle(built, moment)
    settle.prove_settled(built, moment, _given_uids(source, result.model, regions, uid))
    _take_over(header, built, author)
    return built


def _skeleton(
    author: Author, source: Instance, image: Dataset, model: ModelIdentity, regions: Sequence[Region], uid: str
) -> Dataset:
    """Let highdicom write everything but the pixels, over 8 by 8 of them: its checks of full planes cost too much."""
    built: Dataset = hd.seg.Segmentation(
        source_images=[image],
        pixel_array=np.ones((1, 8, 8, len(regions)), dtype=bool),
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[_describe(source, model, number, region) for number, region in enumerate(regions, 1)],
        series_instance_uid=series_uid(uid),
        series_number=SERIES_NUMBER,
        sop_instance_uid=uid,
        instance_number=1,
        manufacturer=OWN_MANUFACTURER,
        manufacturer_model_name="cxrnode",
        software_versions=author.software_version,
        device_serial_number=author.device_name,
        series_description=plain(f"cxrnode {model.name} segmentation"),
        content_label=_content_label(model.name),
        content_description=INTENDED_USE,
        content_creator_name=f"{OWN_MANUFACTURER}^",
    )
    return built


def _describe(source: Instance, model: ModelIdentity, number: int, region: Region) -> hd.seg.SegmentDescription:
    what = structure(region.label)
    description = hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=what.title,
        segmented_property_category=what.category,
        segmented_property_type=what.kind,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=plain(model.name),
            version=plain(model.version),
            family=ARTIFICIAL_INTELLIGENCE,
            source=OWN_MANUFACTURER,
            parameters={"digest": model.digest, "backend": plain(model.backend, 256)},
        ),
        tracking_id=what.title,
        tracking_uid=region_uid(source, model, region.label),
        anatomic_regions=[what.site] if what.site else None,
        display_color=hd.color.CIELabColor(*what.colour),
    )
    if what.laterality:
        kind = description.SegmentedPropertyTypeCodeSequence[0]
        kind.SegmentedPropertyTypeModifierCodeSequence = DicomSequence([hd.sr.CodedConcept.from_code(what.laterality)])
    return description


def put_pixels(built: Dataset, planes: Sequence[NDArray[np.bool_]]) -> None:
    """Pack the planes one after the other, eight pixels a byte, first pixel lowest (PS3.5 8.1.1, D.1)."""
    packed = np.packbits(np.concatenate([plane.ravel() for plane in planes]), bitorder="little").tobytes()
    built.Rows, built.Columns = planes[0].shape
    built.PixelData = packed + b"\x00" * (len(packed) % 2)
    built["PixelData"].VR = "OB"
    built.SegmentsOverlap = "YES" if any(bool((a & b).any()) for a, b in combinations(planes, 2)) else "NO"


def _segments_per_frame(built: Dataset) -> None:
    """Put the segment's number into each frame even where there is one: highdicom then shares it, viewers look here."""
    shared = built.SharedFunctionalGroupsSequence[0]
    if "SegmentIdentificationSequence" in shared:
        built.PerFrameFunctionalGroupsSequence[0].SegmentIdentificationSequence = shared.SegmentIdentificationSequence
        del shared.SegmentIdentificationSequence


def _take_over(header: Dataset, built: Dataset, author: Author) -> None:
    """Copy what the source states of the patient, the study and the image's own properties."""
    headers.copy_patient_and_study(header, built, author.timezone_offset)
    # Type 2C for an image without Image Orientation at its root (PS3.3 C.7.6.1): empty where the source has none.
    built.PatientOrientation = None
    for keyword in ("PatientOrientation", "FrameOfReferenceUID"):
        if header.get(keyword):
            headers.copy_element(header, built, keyword)
    if "FrameOfReferenceUID" in built:
        built.PositionReferenceIndicator = None
    lossy = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")
    if header.get("LossyImageCompression") == "01":
        for keyword in lossy:
            if header.get(keyword):
                headers.copy_element(header, built, keyword)


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
