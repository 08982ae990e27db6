"""highdicom and dcmjs read SEG and SR back, without our code, to the same findings that were written."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pytest
from highdicom.sr import CodedConcept

from cxrnode.domain.capability import ReportClass
from cxrnode.domain.delivery import Geometry
from cxrnode.domain.finding import ModelResult
from cxrnode.evidence.codes import STRUCTURES
from cxrnode.evidence.identity import region_uid
from cxrnode.evidence.stating import groups_of
from tests import checkers
from tests.evidence_cases import Case, case, composer, kept

pytestmark = pytest.mark.peers

KINDS: dict[str, dict[str, object]] = {
    "dx": {},
    "cr, odd, inverted": {"modality": "CR", "photometric": "MONOCHROME1", "rows": 301, "cols": 263},
    "turned": {"orientation": "F\\R"},
}


@pytest.fixture(params=KINDS)
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Case:
    """A frontal radiograph of each kind, with what four models said of it."""
    return case(tmp_path, **KINDS[request.param])


@pytest.mark.parametrize("geometry", list(Geometry))
def test_both_readers_see_the_segments_that_were_written(made, geometry, tmp_path, checked):
    """Number, name, codes, sides, tracking and each single pixel, on the image that was looked at."""
    for result in made.full_study().images[0].results:
        evidence = composer().segmentation(made.source, made.path, result, geometry)
        if evidence is None:
            continue
        path = kept(tmp_path, evidence)
        written = _written(made, result)
        assert _by_highdicom(path, made) == written
        assert _by_dcmjs(checked(checkers.dcmjs_readings, path)[0]) == written


@pytest.mark.parametrize("report_class", list(ReportClass))
def test_both_readers_see_the_findings_that_were_written(made, report_class, tmp_path, checked):
    """Names, tracking, numbers with units, judgments, sites, regions and frames of each measurement group."""
    path, segmentations = _report(made, tmp_path, report_class)
    read = [_dcmjs_group(group) for group in checked(checkers.dcmjs_readings, path)[0]["groups"]]
    assert read == [_highdicom_group(group) for group in _highdicom_groups(path)]
    wanted = {group.tracking_uid: group for group in groups_of(made.full_study())}
    assert {group["tracking"] for group in read} == set(wanted)
    for uid, group in wanted.items():
        said = [one for one in read if one["tracking"] == uid]
        assert {one["title"] for one in said} == {group.title}
        assert _united(said, "numbers") == sorted((n.concept.value, float(n.text), n.unit.value) for n in group.numbers)
        judged = [(concept.value, value.value) for concept, value in group.judgments]
        assert [one for one in _united(said, "codes") if one in judged] == sorted(judged)
    frames = {frame for one in read for frame in one["frames"]}
    assert {uid for uid, _ in frames} == set(segmentations)


def test_dcmjs_sees_a_pixel_that_was_flipped(made, tmp_path, checked):
    """Negative control: the comparison of pixels can fail."""
    path = kept(tmp_path, composer().segmentation(made.source, made.path, made.result, Geometry.VIEWER))
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(bytes(content))
    assert _by_dcmjs(checked(checkers.dcmjs_readings, path)[0]) != _written(made, made.result)
    assert _by_highdicom(path, made) != _written(made, made.result)


def _written(made: Case, result: ModelResult) -> list[dict[str, Any]]:
    regions = [region for region in result.regions if region.mask.any()]
    segments = [(region, STRUCTURES[region.label]) for region in regions]
    return [
        {
            "number": number,
            "label": what.title,
            "category": _code(what.category),
            "kind": _code(what.kind),
            "sides": [_code(what.laterality)] if what.laterality else [],
            "tracking": region_uid(made.source, result.model, region.label),
            **_plane(region.mask),
        }
        for number, (region, what) in enumerate(segments, 1)
    ]


def _by_dcmjs(reading: dict[str, Any]) -> list[dict[str, Any]]:
    frames = {frame["segment"]: {key: frame[key] for key in ("pixels", "sha256")} for frame in reading["frames"]}
    described = [{key: value for key, value in one.items() if key != "colour"} for one in reading["segments"]]
    return [{**one, **frames[one["number"]]} for one in described]


def _by_highdicom(path: Path, made: Case) -> list[dict[str, Any]]:
    seg = hd.seg.segread(path)
    planes = seg.get_pixels_by_source_instance([made.source.uid], ignore_spatial_locations=True)[0]
    described = [seg.get_segment_description(number) for number in seg.segment_numbers]
    return [
        {
            "number": one.segment_number,
            "label": one.segment_label,
            "category": _code(one.segmented_property_category),
            "kind": _code(one.segmented_property_type),
            "sides": [_code(side) for side in _modifiers(one)],
            "tracking": one.tracking_uid,
            **_plane(planes[..., number]),
        }
        for number, one in enumerate(described)
    ]


def _modifiers(segment: hd.seg.SegmentDescription) -> Sequence[CodedConcept]:
    kind = segment.SegmentedPropertyTypeCodeSequence[0]
    return [CodedConcept.from_dataset(one) for one in kind.get("SegmentedPropertyTypeModifierCodeSequence", [])]


def _plane(mask: np.ndarray) -> dict[str, Any]:
    plane = (mask > 0).astype(np.uint8)
    return {"pixels": int(plane.sum()), "sha256": hashlib.sha256(plane.tobytes()).hexdigest()}


def _code(code: Any) -> list[str]:
    return [code.value, code.scheme_designator, code.meaning]


def _report(made: Case, folder: Path, report_class: ReportClass) -> tuple[Path, list[str]]:
    study = made.full_study()
    composed = (composer().segmentation(made.source, made.path, r, Geometry.VIEWER) for r in study.images[0].results)
    segmentations = [evidence.sop_instance_uid for evidence in composed if evidence]
    report = composer().report(study, made.paths(), {made.source.uid: segmentations}, report_class)
    return kept(folder, report), segmentations


def _highdicom_groups(path: Path) -> Sequence[hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations]:
    return hd.sr.srread(path).content.get_planar_roi_measurement_groups()


def _highdicom_group(group: hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations) -> dict[str, Any]:
    region, frame = group.roi, group.referenced_segmentation_frame
    evaluations = [(one.name.value, one.value.value) for one in group.get_qualitative_evaluations()]
    sites = [(site.value.value, site.laterality.value if site.laterality else "") for site in group.finding_sites]
    return {
        "title": group.tracking_identifier,
        "tracking": group.tracking_uid,
        "numbers": sorted((m.name.value, float(m.value), m.unit.value) for m in group.get_measurements()),
        "codes": sorted(evaluations),
        "sites": sites,
        "regions": [(region.graphic_type.value, region.value.ravel().tolist())] if region is not None else [],
        "frames": [(frame.referenced_sop_instance_uid, *frame.referenced_frame_numbers)] if frame is not None else [],
    }


NO_EVALUATION = {"121071", "363698007"}
"""Finding and Finding Site: every other coded statement of a group is an evaluation to highdicom."""


def _dcmjs_group(items: list[dict[str, Any]]) -> dict[str, Any]:
    def of(kind: str) -> list[dict[str, Any]]:
        return [item for item in items if item["type"] == kind]

    codes = [(item["concept"][0], item["value"][0]) for item in of("CODE")]
    (title,) = (item["value"] for item in of("TEXT") if item["concept"][0] == "112039")
    sites = [item for item in of("CODE") if item["concept"][0] == "363698007"]
    return {
        "title": title,
        "tracking": of("UIDREF")[0]["value"],
        "numbers": sorted((i["concept"][0], i["value"][0], i["value"][1][0]) for i in of("NUM")),
        "codes": sorted(code for code in codes if code[0] not in NO_EVALUATION),
        "sites": [(item["value"][0], next((b["value"][0] for b in item.get("below", [])), "")) for item in sites],
        "regions": [(kind, coordinates) for kind, coordinates in (item["value"] for item in of("SCOORD"))],
        "frames": [tuple(item["value"]) for item in of("IMAGE") if len(item["value"]) > 1],
    }


def _united(groups: Sequence[dict[str, Any]], what: str) -> list[Any]:
    return sorted(one for group in groups for one in group[what])
