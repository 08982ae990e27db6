"""What the line relies on in a Composer, held against the real one and the fake."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cxrnode.domain.delivery import Geometry
from cxrnode.domain.finding import RefusedImage, StudyResult
from cxrnode.ports import Composer
from tests.evidence_cases import Case, case, composer, kept
from tests.fakes.composer import FakeComposer


@pytest.fixture(params=["real", "fake"])
def writer(request: pytest.FixtureRequest) -> Composer:
    """The real composer and the fake."""
    return composer() if request.param == "real" else FakeComposer()


@pytest.fixture
def made(tmp_path: Path) -> Case:
    """One case."""
    return case(tmp_path)


def test_same_arguments_give_the_same_bytes(writer, made):
    """Law 4, for both kinds of object."""
    first, second = (writer.segmentation(made.source, made.path, made.result, Geometry.VIEWER) for _ in range(2))
    assert first == second
    segmentations = {made.source.uid: [first.sop_instance_uid]}
    assert writer.report(made.study(), made.paths(), segmentations) == writer.report(
        made.study(), made.paths(), segmentations
    )


def test_what_is_written_has_the_uid_that_was_foretold(writer, made):
    """The line asks what is kept before it composes."""
    segmentation = writer.segmentation(made.source, made.path, made.result, Geometry.VIEWER)
    assert segmentation.sop_instance_uid == writer.segmentation_uid(made.source, made.result, Geometry.VIEWER)
    segmentations = {made.source.uid: [segmentation.sop_instance_uid]}
    report = writer.report(made.study(with_lateral=True), made.paths(), segmentations)
    assert report.sop_instance_uid == writer.report_uid(made.study(with_lateral=True), segmentations)
    assert (segmentation.kind, segmentation.source, segmentation.model) == ("SEG", made.source.uid, "lungs")
    assert (report.kind, report.source, report.sop_class_uid) == ("SR", "", writer.report_class_uid)


def test_each_geometry_has_its_own_uid(writer, made):
    """Two destinations may ask for two."""
    uids = {writer.segmentation_uid(made.source, made.result, geometry) for geometry in Geometry}
    assert len(uids) == len(Geometry)


def test_no_region_makes_no_segmentation(writer, made):
    """The report says what was not found."""
    assert writer.segmentation(made.source, made.path, replace(made.result, regions=()), Geometry.VIEWER) is None


def test_a_kept_report_names_its_predecessor(writer, made, tmp_path):
    """The line follows the chain of reports through what is kept."""
    first = writer.report(made.study(), made.paths(), {})
    second = writer.report(made.study(predecessor=first.sop_instance_uid), made.paths(), {})
    assert first.sop_instance_uid != second.sop_instance_uid
    assert writer.predecessor_of(kept(tmp_path, first)) == ""
    assert writer.predecessor_of(kept(tmp_path, second)) == first.sop_instance_uid


def test_a_report_can_say_that_nothing_was_analysed(writer, made):
    """Only refused candidates; another reason is another report."""
    reports = []
    for code in ("lateral", "unreadable"):
        refused = (RefusedImage(source=made.lateral, code=code),)
        study = StudyResult(study_uid=made.source.study_uid, images=(), refused=refused)
        reports.append(writer.report(study, made.paths(), {}))
    assert reports[0].sop_instance_uid != reports[1].sop_instance_uid
