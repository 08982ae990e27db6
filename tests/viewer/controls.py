"""What must not pass: the objects that toolkits write by default and that viewers do not show.

Hides how they are made. Promises objects that are read without complaint by their own toolkit, beside a sound source.
"""

from __future__ import annotations

from pathlib import Path

import highdicom as hd
import pydicom
from pydicom.sr.coding import Code

from tests.viewer.written import MEASUREMENT_GROUP, Mask


def default_segmentation(source: Path, mask: Mask, path: Path) -> Path:
    """Write highdicom's own SEG of a radiograph: without frame of reference it has no plane groups."""
    algorithm = hd.AlgorithmIdentificationSequence(
        name="any", family=Code("123110", "DCM", "Artificial Intelligence"), version="1"
    )
    description = hd.seg.SegmentDescription(
        segment_number=1,
        segment_label="Right lung",
        segmented_property_category=Code("91723000", "SCT", "Anatomical Structure"),
        segmented_property_type=Code("39607008", "SCT", "Lung"),
        algorithm_type="AUTOMATIC",
        algorithm_identification=algorithm,
    )
    segmentation = hd.seg.Segmentation(
        source_images=[pydicom.dcmread(source)],
        pixel_array=mask,
        segmentation_type="BINARY",
        segment_descriptions=[description],
        series_instance_uid=hd.UID(),
        series_number=2,
        series_description="default segmentation",
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer="any",
        manufacturer_model_name="any",
        software_versions="1",
        device_serial_number="1",
    )
    segmentation.save_as(path)
    return path


def without_coordinates(report: Path) -> Path:
    """Take the coordinates out of the report's first measurement group."""
    ds = pydicom.dcmread(report)
    (measured,) = (item for item in ds.ContentSequence if item.ConceptNameCodeSequence[0].CodeValue == "126010")
    first = measured.ContentSequence[0]
    assert first.ConceptNameCodeSequence[0].CodeValue == MEASUREMENT_GROUP
    first.ContentSequence = [item for item in first.ContentSequence if item.ValueType != "SCOORD"]
    ds.save_as(report)
    return report
