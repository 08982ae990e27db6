"""Identity is a function: the same statements give the same bytes, and another statement another UID."""

from __future__ import annotations

import datetime
import hashlib
import io
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import highdicom.base
import pydicom
import pytest

from cxrnode.domain.capability import REPORT_CLASSES, ReportClass
from cxrnode.domain.delivery import Geometry
from cxrnode.errors import NeedsOperator, SettingsInvalid
from cxrnode.evidence import segmentation, settle
from tests.evidence_cases import Case, case, composer, four_kinds, segmentations_of

IN_ANOTHER_PROCESS = """
import hashlib, sys
from pathlib import Path
from cxrnode.domain.delivery import Geometry
from tests.evidence_cases import case, composer, segmentations_of
folder = Path(sys.argv[1])
made = case(folder)
segmentation = composer().segmentation(made.source, made.path, made.result, Geometry.VIEWER)
report = composer().report(made.study(), made.paths(), segmentations_of(made.study()))
print(hashlib.sha256(segmentation.encoded + report.encoded).hexdigest())
"""


@pytest.fixture
def made(tmp_path: Path) -> Case:
    """One case."""
    return case(tmp_path)


def _segmentation(made: Case, **author: str):
    evidence = composer(**author).segmentation(made.source, made.path, made.result, Geometry.VIEWER)
    assert evidence is not None
    return evidence


def _report(made: Case, *, with_lateral: bool = False, **author: str):
    study = made.study(with_lateral=with_lateral)
    return composer(**author).report(study, made.paths(), segmentations_of(study, **author))


class _AnotherClock(datetime.datetime):
    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:
        return datetime.datetime(1999, 12, 31, 23, 59, 58, tzinfo=tz)


@pytest.fixture
def another_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give highdicom another moment; its random UIDs differ from call to call by themselves."""
    monkeypatch.setattr(highdicom.base.datetime, "datetime", _AnotherClock)


def test_segmentation_is_the_same_bytes_under_another_clock(made, request):
    """Nothing in the file comes from the clock or from chance."""
    first = _segmentation(made)
    request.getfixturevalue("another_clock")
    assert _segmentation(made).encoded == first.encoded


def test_report_is_the_same_bytes_under_another_clock(made, request):
    """Nothing in the file comes from the clock or from chance."""
    first = _report(made, with_lateral=True)
    request.getfixturevalue("another_clock")
    assert _report(made, with_lateral=True).encoded == first.encoded


def test_evidence_is_the_same_bytes_in_another_process(made, tmp_path):
    """Another hash seed, another folder, another process: the same files."""
    other = tmp_path / "other"
    other.mkdir()
    here = hashlib.sha256(_segmentation(made).encoded + _report(made).encoded).hexdigest()
    there = subprocess.run(
        [sys.executable, "-c", IN_ANOTHER_PROCESS, str(other)],
        env={**os.environ, "PYTHONHASHSEED": "4711", "TZ": "Asia/Tokyo", "PYTHONPATH": str(Path.cwd())},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert there.stdout.strip() == here


def test_an_object_that_was_not_settled_is_refused(made, monkeypatch):
    """The walk finds what the overwriting would have missed."""
    monkeypatch.setattr(segmentation.settle, "settle", lambda built, moment: setattr(built, "ContentDate", "20260704"))
    with pytest.raises(NeedsOperator, match="ContentDate holds a value of the clock or of chance"):
        _segmentation(made)


def test_walk_finds_a_random_uid_in_a_nested_sequence():
    """However deep it stands."""
    leaf, middle, top = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
    leaf.TrackingUID = "2.25.4711"
    middle.SegmentSequence = [leaf]
    top.SOPInstanceUID, top.SharedFunctionalGroupsSequence = "2.25.1", [middle]
    settle.prove_settled(top, ("20260101", "101500"), {"2.25.1", "2.25.4711"})
    with pytest.raises(NeedsOperator, match="TrackingUID"):
        settle.prove_settled(top, ("20260101", "101500"), {"2.25.1"})


def test_walk_finds_a_random_uid_in_an_item_that_stands_in_many_places():
    """An item is walked once, wherever it is met first."""
    shared, first, second = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
    shared.TrackingUID = "2.25.4711"
    first.SegmentSequence = [shared]
    second.SOPInstanceUID, second.SharedFunctionalGroupsSequence, second.SegmentSequence = "2.25.1", [first], [shared]
    settle.prove_settled(second, ("20260101", "101500"), {"2.25.1", "2.25.4711"})
    with pytest.raises(NeedsOperator, match="TrackingUID"):
        settle.prove_settled(second, ("20260101", "101500"), {"2.25.1"})


def test_uids_are_known_before_composing(made):
    """The line asks for the UID first, and composes only what is not kept."""
    segmentation_uid = composer().segmentation_uid(made.source, made.result, Geometry.VIEWER)
    assert _segmentation(made).sop_instance_uid == segmentation_uid
    report_uid = composer().single_report_uid(made.study(), segmentations_of(made.study()))
    assert _report(made).sop_instance_uid == report_uid


@pytest.mark.parametrize("changed", ["header_digest", "pixel_digest"])
def test_another_content_of_the_source_makes_other_objects(made, changed):
    """A corrected name or other pixels under the same SOP Instance UID."""
    other = replace(made.source, description=replace(made.source.description, **{changed: "0" * 64}))
    writer = composer()
    before, after = (writer.segmentation_uid(source, made.result, Geometry.VIEWER) for source in (made.source, other))
    assert before != after
    study = made.study()
    changed_study = replace(study, images=(replace(study.images[0], source=other),))
    assert writer.single_report_uid(study, {}) != writer.single_report_uid(changed_study, {})


def test_each_class_of_report_is_an_object_of_its_own(made):
    """Two destinations that take other classes get two objects, each of its class."""
    reports = [composer().report(made.study(), made.paths(), {}, one) for one in ReportClass]
    assert [report.sop_class_uid for report in reports] == [REPORT_CLASSES[one] for one in ReportClass]
    assert len({report.sop_instance_uid for report in reports}) == len(ReportClass)


@pytest.mark.parametrize("changed", ["name", "version", "digest", "backend"])
def test_another_model_makes_another_segmentation(made, changed):
    """All of a model's identity counts, the backend as well."""
    model = replace(made.result.model, **{changed: "other"})
    other = replace(made.result, model=model)
    writer = composer()
    assert writer.segmentation_uid(made.source, made.result, Geometry.VIEWER) != writer.segmentation_uid(
        made.source, other, Geometry.VIEWER
    )


@pytest.mark.parametrize("changed", ["device_name", "timezone_offset", "software_version"])
def test_another_author_makes_another_object(made, changed):
    """Whatever stands in the object is part of its identity."""
    other = {"timezone_offset": "-0500"} if changed == "timezone_offset" else {changed: "other"}
    assert _segmentation(made).sop_instance_uid != _segmentation(made, **other).sop_instance_uid


def test_each_geometry_is_an_object_of_its_own(made):
    """Two destinations with two geometries get two objects."""
    uids = {composer().segmentation_uid(made.source, made.result, geometry) for geometry in Geometry}
    assert len(uids) == len(Geometry)


def test_report_uid_follows_what_is_stated(made):
    """A number that rounds to the same text is the same statement; one that does not is another."""
    writer, study = composer(), made.study()
    first, *rest = made.result.measurements
    same = replace(first, value=first.value + 1e-6)
    other = replace(first, value=first.value + 0.01)
    uids = []
    for measurement in (first, same, other):
        result = replace(made.result, measurements=(measurement, *rest))
        uids.append(writer.single_report_uid(replace(study, images=(replace(study.images[0], results=(result,)),)), {}))
    assert uids[0] == uids[1] != uids[2]


def test_report_uid_follows_refusals_missing_models_caveats_and_predecessor(made):
    """Everything that a report says beside its numbers counts too."""
    writer, study = composer(), made.study()
    image = study.images[0]
    variants = [
        study,
        made.study(with_lateral=True),
        made.study(predecessor="2.25.42"),
        replace(made.study(predecessor="2.25.42"), predecessor_class="1.2.840.10008.5.1.4.1.1.88.22"),
        replace(study, revision=2),
        replace(study, images=(replace(image, missing=(("opacity", "model_failed"),)),)),
        replace(study, images=(replace(image, caveats=()),)),
    ]
    assert len({writer.single_report_uid(variant, {}) for variant in variants}) == len(variants)
    assert writer.single_report_uid(study, {made.source.uid: ["2.25.1"]}) != writer.single_report_uid(study, {})


def test_a_late_lateral_leaves_the_segmentation_as_it_is(made):
    """The frontal's SEG is a function of the frontal; only the report is another."""
    alone, with_lateral = _report(made), _report(made, with_lateral=True)
    assert alone.sop_instance_uid != with_lateral.sop_instance_uid
    assert _referenced_segmentations(alone) == _referenced_segmentations(with_lateral) != []


def test_segmentations_that_are_not_those_of_the_results_are_refused(made):
    """A frame must not be taken for another model's."""
    writer, study = composer(), made.full_study()
    (uids,) = segmentations_of(study).values()
    with pytest.raises(ValueError, match="zip"):
        writer.report(study, made.paths(), {made.source.uid: uids[:1]})


def _referenced_segmentations(report):
    document = pydicom.dcmread(io.BytesIO(report.encoded))
    return [
        str(instance.ReferencedSOPInstanceUID)
        for study in document.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for instance in series.ReferencedSOPSequence
        if instance.ReferencedSOPClassUID == "1.2.840.10008.5.1.4.1.1.66.4"
    ]


@pytest.mark.parametrize(
    "wrong", [{"device_name": ""}, {"device_name": "Röntgen"}, {"device_name": "A\\B"}, {"timezone_offset": "CET"}]
)
def test_an_author_that_cannot_be_written_is_refused(wrong):
    """Before the first object, not in it."""
    with pytest.raises(SettingsInvalid):
        composer(**wrong)


def test_a_models_foreign_name_is_written_as_ascii(made):
    """Beside a source's text in any character set."""
    model = replace(made.result.model, name="Lungenflügel", version="1\\2", backend="gerät")
    foreign = replace(made, result=replace(made.result, model=model))
    document = pydicom.dcmread(io.BytesIO(_segmentation(foreign).encoded))
    assert document.SegmentSequence[0].SegmentAlgorithmName == "Lungenfl?gel"
    assert b"Lungenfl?gel" in _report(foreign).encoded


def test_every_object_has_a_series_of_its_own(made):
    """Viewers show one SEG or SR of a series."""
    objects = [_segmentation(made), _report(made), _report(made, with_lateral=True)]
    assert len({evidence.series_uid for evidence in objects}) == len(objects)


def test_another_side_or_another_models_lungs_make_another_segmentation(made):
    """Which segments there are does not follow from the one model alone."""
    result = four_kinds(made.masks())[1]
    fewer = replace(result, regions=result.regions[:1])
    renamed = replace(result, regions=(replace(result.regions[0], label="pneumothorax"), result.regions[1]))
    elsewhere = replace(result, leaning_on=(replace(result.leaning_on[0], version="9"),))
    writer = composer()
    uids = {
        writer.segmentation_uid(made.source, one, Geometry.VIEWER)
        for one in (result, fewer, renamed, elsewhere, replace(result, leaning_on=()))
    }
    assert len(uids) == 5
