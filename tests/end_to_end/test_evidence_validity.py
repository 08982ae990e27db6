"""SEG and SR before independent readers: dciodvfy, PixelMed, dcmqi, DCMTK; and what they must refuse."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from cxrnode.domain.delivery import Geometry
from cxrnode.domain.finding import ImageResult, StudyResult
from cxrnode.domain.selection import View
from cxrnode.evidence.codes import STRUCTURES
from tests import checkers
from tests.evidence_cases import Case, case, composer, instance_of, kept, result_of, segmentations_of

pytestmark = pytest.mark.peers

KINDS = {
    "dx": {},
    "dx_monochrome1": {"photometric": "MONOCHROME1"},
    "cr_monochrome1": {"modality": "CR", "photometric": "MONOCHROME1", "rows": 301, "cols": 263},
    "turned": {"orientation": "F\\R"},
}
REAL_CHESTS = ("RG1_J2KI.dcm", "CR-MONO1-10-chest.dcm", "1.2.276.0.7230010.3.1.4.8323329.6904.1517875201.850819.dcm")


@pytest.fixture(params=KINDS)
def frontal(request: pytest.FixtureRequest, tmp_path: Path) -> Case:
    """A frontal radiograph of each kind."""
    return case(tmp_path, **KINDS[request.param])


@pytest.mark.parametrize("geometry", list(Geometry))
def test_dciodvfy_finds_no_error_in_a_segmentation(frontal, geometry, tmp_path, checked):
    """Either geometry on either modality."""
    evidence = composer().segmentation(frontal.source, frontal.path, frontal.result, geometry)
    assert checked(checkers.dciodvfy_errors, kept(tmp_path, evidence)) == []


def test_dcmqi_reads_exactly_the_areas_that_were_written(frontal, tmp_path, checked):
    """An independent C++ reader counts the pixels of each segment."""
    path = kept(tmp_path, composer().segmentation(frontal.source, frontal.path, frontal.result, Geometry.VIEWER))
    wanted = {STRUCTURES[label].title: int(mask.sum()) for label, mask in frontal.masks().items()}
    assert checked(checkers.dcmqi_areas, path) == wanted


def test_dciodvfy_finds_no_error_in_a_report(frontal, tmp_path, checked):
    """With regions, lines, findings, boxes, a refused lateral and a predecessor."""
    report = _report(frontal, with_lateral=True, predecessor="2.25.42")
    assert checked(checkers.dciodvfy_errors, kept(tmp_path, report)) == []


def test_evidence_of_all_four_kinds_is_valid(frontal, tmp_path, checked):
    """One report of what four models said, each mask's SEG its own; dcmqi counts each side of the pneumothorax."""
    study = frontal.full_study()
    (image,) = study.images
    segmentations = []
    for result in image.results:
        evidence = composer().segmentation(frontal.source, frontal.path, result, Geometry.VIEWER)
        if evidence is None:
            continue
        segmentations.append(kept(tmp_path, evidence))
        assert checked(checkers.dciodvfy_errors, segmentations[-1]) == []
        wanted = {STRUCTURES[region.label].title: int(region.mask.sum()) for region in result.regions}
        assert checked(checkers.dcmqi_areas, segmentations[-1]) == wanted
    assert len(segmentations) == 2
    report = composer().report(study, frontal.paths(), segmentations_of(study))
    assert checked(checkers.dciodvfy_errors, kept(tmp_path, report)) == []


def test_dcmtk_prints_a_report(tmp_path, checked):
    """A reader of the DCMTK family sees the statement of intended use."""
    text = str(checked(checkers.dsrdump, kept(tmp_path, _report(case(tmp_path)))))
    assert "Research use only, not a medical device" in text
    assert "Imaging Measurement Report" in text


@pytest.mark.data
@pytest.mark.parametrize("name", REAL_CHESTS)
def test_evidence_of_real_chests_is_valid(name, data, tmp_path, checked):
    """Real headers: no dates, no spacing or a spacing of zero, an age without unit, Secondary Capture."""
    path = data / "dicom" / name
    source = instance_of(path)
    result = result_of(_ellipses(source.facts.rows, source.facts.columns))
    for geometry in Geometry:
        segmentation = kept(tmp_path, composer().segmentation(source, path, result, geometry))
        assert checked(checkers.dciodvfy_errors, segmentation) == []
    viewer = kept(tmp_path, composer().segmentation(source, path, result, Geometry.VIEWER))
    areas = {STRUCTURES[region.label].title: int(region.mask.sum()) for region in result.regions}
    assert checked(checkers.dcmqi_areas, viewer) == areas
    image = ImageResult(source=source, view=View.PA, results=(result,))
    study = StudyResult(study_uid=source.study_uid, images=(image,))
    report = composer().report(study, {source.row: path}, segmentations_of(study))
    assert checked(checkers.dciodvfy_errors, kept(tmp_path, report)) == []


def test_checkers_refuse_what_highdicom_writes_by_default(tmp_path, checked):
    """Negative control: highdicom's own SEG of a radiograph has an error for dciodvfy, and dcmqi cannot read it."""
    made = case(tmp_path)
    source = pydicom.dcmread(made.path)
    path = tmp_path / "default.dcm"
    _default_segmentation(source, made.masks()["right_lung"]).save_as(path)
    assert checked(checkers.dciodvfy_errors, path)
    with pytest.raises(checkers.CheckerFailed):
        checked(checkers.dcmqi_areas, path)


def test_checkers_refuse_a_measurement_group_without_coordinates(tmp_path, checked):
    """Negative control: the same report without its coordinates is an error for PixelMed's templates."""
    path = kept(tmp_path, _report(case(tmp_path)))
    report = pydicom.dcmread(path)
    for item in _groups(report):
        item.ContentSequence = [child for child in item.ContentSequence if child.ValueType != "SCOORD"]
    report.save_as(path)
    assert checked(checkers.pixelmed_errors, path)


def test_dcmqi_counts_differently_when_a_pixel_is_flipped(tmp_path, checked):
    """Negative control: the comparison of areas can fail."""
    made = case(tmp_path)
    path = kept(tmp_path, composer().segmentation(made.source, made.path, made.result, Geometry.VIEWER))
    altered = pydicom.dcmread(path)
    pixels = bytearray(altered.PixelData)
    pixels[0] ^= 1
    altered.PixelData = bytes(pixels)
    altered.save_as(path)
    areas = checked(checkers.dcmqi_areas, path)
    assert areas != {STRUCTURES[label].title: int(mask.sum()) for label, mask in made.masks().items()}


def _report(made: Case, *, with_lateral: bool = False, predecessor: str = ""):
    study = made.study(with_lateral=with_lateral, predecessor=predecessor)
    return composer().report(study, made.paths(), segmentations_of(study))


def _groups(report: Dataset) -> Sequence[Dataset]:
    measured = [item for item in report.ContentSequence if item.ConceptNameCodeSequence[0].CodeValue == "126010"]
    return measured[0].ContentSequence


def _default_segmentation(source: Dataset, mask: np.ndarray) -> hd.seg.Segmentation:
    algorithm = hd.AlgorithmIdentificationSequence(
        name="any", family=Code("123110", "DCM", "Artificial Intelligence"), version="1"
    )
    description = hd.seg.SegmentDescription(
        segment_number=1,
        segment_label="Lung",
        segmented_property_category=Code("91723000", "SCT", "Anatomical Structure"),
        segmented_property_type=Code("39607008", "SCT", "Lung"),
        algorithm_type="AUTOMATIC",
        algorithm_identification=algorithm,
    )
    return hd.seg.Segmentation(
        source_images=[source],
        pixel_array=mask,
        segmentation_type="BINARY",
        segment_descriptions=[description],
        series_instance_uid=hd.UID(),
        series_number=2,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer="any",
        manufacturer_model_name="any",
        software_versions="1",
        device_serial_number="1",
    )


def _ellipses(rows: int, columns: int) -> dict[str, np.ndarray]:
    row, column = np.ogrid[:rows, :columns]

    def ellipse(middle: float) -> np.ndarray:
        across, down = (column - columns * middle) / (columns * 0.15), (row - rows * 0.5) / (rows * 0.3)
        return across**2 + down**2 < 1

    return {"right_lung": ellipse(0.3), "left_lung": ellipse(0.7), "heart": ellipse(0.5)}
