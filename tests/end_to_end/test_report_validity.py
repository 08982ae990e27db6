"""SRs of every class and kind before independent checkers and readers: dciodvfy, PixelMed, dcmqi, DCMTK."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pydicom
import pytest

from cxrnode.domain.capability import REPORT_CLASSES, ReportClass
from cxrnode.domain.finding import RefusedImage, StudyResult
from tests import checkers
from tests.evidence_cases import Case, case, composer, instance_of, kept, segmentations_of

pytestmark = pytest.mark.peers

NAMES = {
    "Kanji": (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    "Latin-1": ("ISO_IR 100", "Müller^Jörg"),
    "UTF-8": ("ISO_IR 192", "Ζήνων^Œuvre"),
}


def _nothing_analysed(made: Case) -> StudyResult:
    refused = (RefusedImage(source=made.lateral, code="lateral"),)
    return StudyResult(study_uid=made.source.study_uid, images=(), refused=refused)


def _taken_back(made: Case) -> StudyResult:
    return StudyResult(
        study_uid=made.source.study_uid,
        images=(),
        retraction="wrong_patient",
        retracted=(made.source, made.lateral),
        predecessor="2.25.42",
        revision=2,
    )


def _after_another_class(made: Case) -> StudyResult:
    before = REPORT_CLASSES[ReportClass.ENHANCED]
    return replace(made.study(), predecessor="2.25.42", predecessor_class=before, revision=12)


def _two_images(made: Case) -> StudyResult:
    study = made.study()
    return replace(study, images=(*study.images, replace(study.images[0], source=made.lateral)))


REPORTS: dict[str, Callable[[Case], StudyResult]] = {
    "every kind of finding": lambda made: made.full_study(),
    "nothing analysed": _nothing_analysed,
    "taken back": _taken_back,
    "after a report of another class": _after_another_class,
    "two images": _two_images,
}
TEMPLATES = [
    *((kind, ReportClass.COMPREHENSIVE_3D) for kind in REPORTS),
    *(("every kind of finding", one) for one in ReportClass if one is not ReportClass.COMPREHENSIVE_3D),
]
"""Each kind once, and all there is to say in each class: PixelMed takes its time."""


@pytest.mark.parametrize("report_class", list(ReportClass))
@pytest.mark.parametrize("kind", REPORTS)
def test_dciodvfy_finds_no_error_in_a_report_of_each_class(kind, report_class, tmp_path, checked):
    """Whatever it says, and where it says that there is nothing to say."""
    made = case(tmp_path)
    path = kept(tmp_path, _report(made, REPORTS[kind](made), report_class))
    assert checked(checkers.dciodvfy_errors, path) == []


@pytest.mark.parametrize(("kind", "report_class"), TEMPLATES)
def test_pixelmed_finds_no_error_in_a_report(kind, report_class, tmp_path, checked):
    """By the templates of TID 1500 and by the relations that the class allows."""
    made = case(tmp_path)
    path = kept(tmp_path, _report(made, REPORTS[kind](made), report_class))
    assert checked(checkers.pixelmed_errors, path) == []


@pytest.mark.parametrize("report_class", list(ReportClass))
@pytest.mark.parametrize("script", NAMES)
def test_a_report_of_each_class_keeps_the_sources_script(script, report_class, tmp_path, checked):
    """The patient's name as it was sent, in the source's character set and time zone."""
    made = case(tmp_path)
    source = pydicom.dcmread(made.path)
    source.SpecificCharacterSet, source.PatientName = NAMES[script]
    source.TimezoneOffsetFromUTC = "+0900"
    source.save_as(made.path)
    made = replace(made, source=instance_of(made.path))
    path = kept(tmp_path, _report(made, made.full_study(), report_class))
    report = pydicom.dcmread(path)
    assert str(report.PatientName) == NAMES[script][1]
    assert report.SpecificCharacterSet == source.SpecificCharacterSet
    assert report.TimezoneOffsetFromUTC == "+0900"
    assert checked(checkers.dciodvfy_errors, path) == []


@pytest.mark.parametrize("report_class", list(ReportClass))
def test_dcmqi_reads_the_findings_of_each_class(report_class, tmp_path, checked):
    """tid1500reader gives back number, unit, judgment and algorithm of each group."""
    made = case(tmp_path)
    groups = checked(checkers.tid1500_measurements, kept(tmp_path, _report(made, made.full_study(), report_class)))
    assert isinstance(groups, list)
    numbers = {
        (group["TrackingIdentifier"], item["quantity"]["CodeMeaning"], item["value"], item["units"]["CodeValue"])
        for group in groups
        for item in group.get("measurementItems", ())
    }
    assert ("Right lung", "Area", "12346", "mm2") in numbers
    assert ("Cardiothoracic ratio", "Cardiothoracic ratio", "0.488", "1") in numbers
    assert ("Pneumothorax: present, right and left", "Probability of pneumothorax", "81.2", "%") in numbers
    assert all(group["measurementAlgorithmIdentification"]["AlgorithmVersion"] for group in groups)
    (judged,) = (group for group in groups if group["TrackingIdentifier"] == "Pneumothorax: present, right and left")
    said = [(one["conceptCode"]["CodeMeaning"], one["conceptValue"]) for one in judged["qualitativeEvaluations"]]
    assert [value["CodeMeaning"] for name, value in said if name == "Pneumothorax"] == ["Present"]


def test_dcmtk_prints_a_number_with_its_name(tmp_path, checked):
    """A percentage alone says nothing; DCMTK leaves names out of what is continuous text."""
    made = case(tmp_path)
    page = str(checked(checkers.dsr2html, kept(tmp_path, _report(made, made.full_study(), ReportClass.ENHANCED))))
    for name in (
        "Probability of pneumothorax",
        "Cardiothoracic ratio",
        "Pneumothorax, share of the hemithorax by area",
    ):
        assert f"<b>{name}:</b>" in page
    assert (
        page.index("Pneumothorax: present, right and left")
        < page.index("indeterminate")
        < page.index("Pneumothorax: absent")
    )


def test_dcmtk_prints_what_was_taken_back_and_why(tmp_path, checked):
    """In one sentence, beside the intended use."""
    made = case(tmp_path)
    page = str(checked(checkers.dsr2html, kept(tmp_path, _report(made, _taken_back(made), ReportClass.ENHANCED))))
    assert "The results of report 2.25.42 were taken back, because the images are not of this patient" in page
    assert "Research use only, not a medical device" in page


def _report(made: Case, study: StudyResult, report_class: ReportClass):
    return composer().report(study, made.paths(), segmentations_of(study), report_class)
