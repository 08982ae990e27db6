"""Key Object Selections: which images they flag, and what a rejection note takes back."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset

from cxrnode.domain.capability import (
    ENCAPSULATED_PDF,
    KEY_OBJECT_SELECTION,
    PRESENTATION_STATE,
    REPORT_CLASSES,
    SECONDARY_CAPTURE,
    SEGMENTATION,
)
from cxrnode.domain.finding import Presence, StudyResult
from cxrnode.domain.reasons import RETRACTIONS
from cxrnode.evidence import key_objects
from cxrnode.evidence.encode import encoded
from cxrnode.evidence.identity import series_uid
from cxrnode.evidence.key_objects import Rejected
from tests.evidence_cases import Case, case, composer

AUTHOR = composer().author
OURS = (SEGMENTATION, *REPORT_CLASSES.values(), PRESENTATION_STATE, ENCAPSULATED_PDF, KEY_OBJECT_SELECTION)


@pytest.fixture
def made(tmp_path: Path) -> Case:
    """One case."""
    return case(tmp_path)


def _read(built: Dataset) -> Dataset:
    return pydicom.dcmread(io.BytesIO(encoded(built, AUTHOR.software_version)))


def _selected(made: Case, study: StudyResult) -> Dataset:
    return _read(key_objects.compose_key_objects(AUTHOR, study, made.headers()))


def _note(made: Case, rejected: Sequence[Rejected], code: str = "wrong_result") -> Dataset:
    study_uid, header = made.source.study_uid, made.headers()[made.source.row]
    return _read(key_objects.compose_rejection(AUTHOR, study_uid, made.source, header, rejected, code))


def _rejected() -> list[Rejected]:
    """One of each class of ours, and two pages of one series."""
    alone = [Rejected(sop_class_uid=found, sop_instance_uid=f"2.25.{n}") for n, found in enumerate(OURS, 1)]
    paged = [
        Rejected(sop_class_uid=SECONDARY_CAPTURE, sop_instance_uid=f"2.25.{n}", series="2.25.70") for n in (71, 72)
    ]
    return [*alone, *paged]


def _title(document: Dataset) -> tuple[str, str]:
    (title,) = document.ConceptNameCodeSequence
    return title.CodeValue, title.CodeMeaning


def _description(document: Dataset) -> str:
    (said,) = (
        item.TextValue
        for item in document.ContentSequence
        if item.ValueType == "TEXT" and item.ConceptNameCodeSequence[0].CodeValue == "113012"
    )
    return str(said)


def _referred(document: Dataset) -> list[tuple[str, str, str]]:
    """Value type, class and instance of each reference."""
    return [
        (item.ValueType, one.ReferencedSOPClassUID, one.ReferencedSOPInstanceUID)
        for item in document.ContentSequence
        for one in item.get("ReferencedSOPSequence", ())
    ]


def _evidence(document: Dataset) -> list[tuple[str, str, str]]:
    """Series, class and instance of each that the document lists."""
    (study,) = document.CurrentRequestedProcedureEvidenceSequence
    assert study.StudyInstanceUID == document.StudyInstanceUID
    return [
        (series.SeriesInstanceUID, one.ReferencedSOPClassUID, one.ReferencedSOPInstanceUID)
        for series in study.ReferencedSeriesSequence
        for one in series.ReferencedSOPSequence
    ]


def test_an_image_with_something_present_is_flagged(made):
    """And no other: the lateral of the study is not."""
    document = _selected(made, made.study(with_lateral=True))
    assert _title(document) == ("113000", "Of Interest")
    assert _referred(document) == [("IMAGE", made.source.description.sop_class_uid, made.source.uid)]
    description = made.source.description
    assert _evidence(document) == [(description.series_uid, description.sop_class_uid, made.source.uid)]
    assert _description(document) == "Present: lung opacity. Research use only, not a medical device."
    assert document.PatientID == "PHANTOM-1"


@pytest.mark.parametrize("presence", [Presence.ABSENT, Presence.INDETERMINATE])
def test_what_is_only_suspected_flags_nothing(made, presence):
    """A flag says that something is there."""
    findings = tuple(replace(finding, presence=presence) for finding in made.result.findings)
    image = replace(made.study().images[0], results=(replace(made.result, findings=findings),))
    assert key_objects.positive(replace(made.study(), images=(image,))) == ()
    assert key_objects.positive(made.study()) != ()


def test_what_is_said_of_other_images_does_not_change_the_selection(made):
    """A lateral that comes late leaves it as it is."""
    assert _selected(made, made.study(with_lateral=True)) == _selected(made, made.study(predecessor="2.25.42"))


def test_two_images_are_flagged_by_one_selection(made):
    """Each finding is named once."""
    image = made.study().images[0]
    both = replace(made.study(), images=(image, replace(image, source=made.lateral)))
    document = _selected(made, both)
    assert [uid for _, _, uid in _referred(document)] == [made.source.uid, made.lateral.uid]
    assert _description(document).count("lung opacity") == 1
    assert document.SOPInstanceUID != _selected(made, made.study()).SOPInstanceUID


def test_a_note_refers_to_exactly_what_is_taken_back(made):
    """Each in its own series, pages in theirs; pictures as images, the rest as composite objects."""
    rejected = _rejected()
    document = _note(made, rejected)
    wanted = {
        ("IMAGE" if one.sop_class_uid in {SEGMENTATION, SECONDARY_CAPTURE} else "COMPOSITE", one.sop_instance_uid)
        for one in rejected
    }
    assert {(kind, uid) for kind, _, uid in _referred(document)} == wanted
    assert len(_referred(document)) == len(_evidence(document)) == len(rejected)
    series = {uid: found for found, _, uid in _evidence(document)}
    assert series["2.25.71"] == series["2.25.72"] == "2.25.70"
    assert series["2.25.1"] == series_uid("2.25.1")


def test_references_state_no_purpose(made):
    """TID 2010 forbids a concept name on them."""
    for document in (_note(made, _rejected()), _selected(made, made.study())):
        references = [item for item in document.ContentSequence if "ReferencedSOPSequence" in item]
        assert references and not any("ConceptNameCodeSequence" in item for item in references)


@pytest.mark.parametrize("code", RETRACTIONS)
def test_the_title_of_a_note_says_whether_what_it_rejects_is_unsafe(made, code):
    """Archives keep from everybody what is unsafe, and the rest from those who do not ask for it."""
    document = _note(made, _rejected(), code)
    unsafe = ("113037", "Rejected for Patient Safety Reasons")
    assert _title(document) == (unsafe if RETRACTIONS[code].unsafe else ("113001", "Rejected for Quality Reasons"))
    because = f"The results were taken back, because {RETRACTIONS[code].text}."
    assert _description(document) == f"{because} Research use only, not a medical device."


def test_a_note_is_the_same_in_whatever_order_its_objects_come(made):
    """Its UID and its bytes."""
    assert _note(made, _rejected()) == _note(made, _rejected()[::-1])


def test_another_note_has_another_uid(made):
    """Another reason, another object, another series, a corrected header, another author."""
    rejected = _rejected()
    corrected = replace(made.source, description=replace(made.source.description, header_digest="another"))
    study_uid = made.source.study_uid
    notes = [
        (AUTHOR, study_uid, made.source, rejected, "wrong_result"),
        (AUTHOR, study_uid, made.source, rejected, "wrong_patient"),
        (AUTHOR, study_uid, made.source, rejected[1:], "wrong_result"),
        (AUTHOR, study_uid, made.source, [replace(rejected[0], series="2.25.9"), *rejected[1:]], "wrong_result"),
        (AUTHOR, study_uid, corrected, rejected, "wrong_result"),
        (replace(AUTHOR, device_name="OTHER"), study_uid, made.source, rejected, "wrong_result"),
    ]
    assert len({key_objects.rejection_uid(*note) for note in notes}) == len(notes)


def test_a_document_names_the_device_that_selects(made):
    """Nobody takes a machine's selection for a person's."""
    said = {
        item.ConceptNameCodeSequence[0].CodeMeaning: item
        for item in _selected(made, made.study()).ContentSequence
        if "ConceptNameCodeSequence" in item
    }
    assert said["Observer Type"].ConceptCodeSequence[0].CodeMeaning == "Device"
    assert AUTHOR.device_uid == said["Device Observer UID"].UID
    assert said["Device Observer Name"].TextValue == "CXRNODE-TEST"
