"""The same SEG and SR made with highdicom's constructors, as its documentation shows: the baseline of composing.py.

Hides highdicom's templates. Promises no work that the constructors do not ask for: the planes are one contiguous
boolean array, every statement (wording, rounding, outlines) is worked out beforehand and given, and the bytes are
written by pydicom as for any data set of highdicom's.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes as standard
from pydicom.sr.coding import Code

from cxrnode.domain.finding import ModelResult
from cxrnode.domain.study import Instance
from cxrnode.evidence.codes import INTENDED_USE, structure
from cxrnode.evidence.identity import region_uid
from cxrnode.evidence.segmentation import ARTIFICIAL_INTELLIGENCE
from cxrnode.evidence.statements import Group

PROCEDURE = Code("363679005", "SCT", "Imaging procedure")
MEASUREMENT_REPORT = Code("126000", "DCM", "Imaging Measurement Report")
BOUNDED_BY = Code("75958009", "SCT", "Bounded by")
ABOUT = {
    "manufacturer": "cxrnode",
    "manufacturer_model_name": "cxrnode",
    "software_versions": "1.0",
    "device_serial_number": "BENCH",
}


def read_source(path: Path) -> Dataset:
    """Read the source up to its pixels."""
    return pydicom.dcmread(path, stop_before_pixels=True)


def segments_last(planes: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Give planes (segment, row, column) in the constructor's order of axes; each stays contiguous in memory."""
    return np.moveaxis(planes, 0, -1)[None]


def segmentation(path: Path, source: Instance, result: ModelResult, pixels: NDArray[np.bool_]) -> Dataset:
    """Make the SEG of a result; `pixels` is (1, row, column, segment)."""
    return hd.seg.Segmentation(
        source_images=[read_source(path)],
        pixel_array=pixels,
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[_segment(source, result, number) for number, _ in enumerate(result.regions, 1)],
        series_instance_uid=hd.UID(),
        series_number=1,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        series_description=f"cxrnode {result.model.name} segmentation",
        content_label="LUNGS",
        content_description=INTENDED_USE,
        content_creator_name="cxrnode^",
        **ABOUT,
    )


def _segment(source: Instance, result: ModelResult, number: int) -> hd.seg.SegmentDescription:
    region, model = result.regions[number - 1], result.model
    what = structure(region.label)
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=what.title,
        segmented_property_category=what.category,
        segmented_property_type=what.kind,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=model.name,
            version=model.version,
            family=ARTIFICIAL_INTELLIGENCE,
            source="cxrnode",
            parameters={"digest": model.digest, "backend": model.backend},
        ),
        tracking_id=what.title,
        tracking_uid=region_uid(source, model, region.label),
        anatomic_regions=[what.site] if what.site else None,
        display_color=hd.color.CIELabColor(*what.colour),
    )


def report(path: Path, groups: Sequence[Group], seg: Dataset, numbers: dict[str, int]) -> Dataset:
    """Make the SR of statements; `seg` shows those whose region is a key of `numbers`, in that segment."""
    source = read_source(path)
    content = hd.sr.MeasurementReport(
        observation_context=_context(),
        procedure_reported=PROCEDURE,
        imaging_measurements=[
            said for group in groups for said in _groups(source, group, seg, numbers.get(group.region))
        ],
        title=MEASUREMENT_REPORT,
        referenced_images=[source],
    )
    return hd.sr.Comprehensive3DSR(
        evidence=[source, seg],
        content=content,
        series_instance_uid=hd.UID(),
        series_number=1,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        series_description="cxrnode report",
        is_complete=True,
        **ABOUT,
    )


def _context() -> hd.sr.ObservationContext:
    device = hd.sr.DeviceObserverIdentifyingAttributes(
        uid="2.25.4711", name="BENCH", manufacturer_name="cxrnode", model_name="cxrnode", serial_number="BENCH"
    )
    observer = hd.sr.ObserverContext(observer_type=standard.DCM.Device, observer_identifying_attributes=device)
    return hd.sr.ObservationContext(observer_device_context=observer)


def _groups(
    source: Dataset, group: Group, seg: Dataset, segment: int | None
) -> list[hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations]:
    """Give a group with its outline, and one with the numbers at the segment where there is one, as ours has them."""
    if segment is None:
        return [_group(group, region=_region(source, group))]
    shown = hd.sr.ReferencedSegmentationFrame.from_segmentation(seg, segment_number=segment)
    return [_group(group, region=_region(source, group), said=False), _group(group, segment=shown)]


def _group(
    group: Group,
    *,
    region: hd.sr.ImageRegion | None = None,
    segment: hd.sr.ReferencedSegmentationFrame | None = None,
    said: bool = True,
) -> hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations:
    measurements = [
        hd.sr.Measurement(name=n.concept, value=float(n.text), unit=n.unit, algorithm_id=_algorithm(group))
        for n in (group.numbers if said else ())
    ]
    return hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(uid=group.tracking_uid, identifier=group.title),
        referenced_region=region,
        referenced_segment=segment,
        finding_category=group.category,
        finding_type=group.finding or (group.judgments[0][0] if group.judgments else None),
        finding_sites=[hd.sr.FindingSite(group.site, laterality=group.laterality)] if group.site else None,
        algorithm_id=None if measurements else _algorithm(group),
        measurements=measurements or None,
        qualitative_evaluations=[hd.sr.QualitativeEvaluation(*one) for one in (group.judgments if said else ())]
        or None,
        geometric_purpose=BOUNDED_BY if region is not None and group.bounded_by else None,
    )


def _region(source: Dataset, group: Group) -> hd.sr.ImageRegion:
    return hd.sr.ImageRegion(
        graphic_type=hd.sr.GraphicTypeValues.POLYLINE,
        graphic_data=np.array(group.outline),
        source_image=hd.sr.SourceImageForRegion.from_source_image(source),
    )


def _algorithm(group: Group) -> hd.sr.AlgorithmIdentification:
    model = group.model
    parameters = [f"digest={model.digest}", f"backend={model.backend}"]
    return hd.sr.AlgorithmIdentification(name=model.name, version=model.version, parameters=parameters)


def written(made: Dataset) -> bytes:
    """Give the file."""
    buffer = BytesIO()
    made.save_as(buffer)
    return buffer.getvalue()
