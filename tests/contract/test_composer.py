"""What the line relies on in a Composer, held against the real one and the fake."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

from cxrnode.domain.capability import CLASSES, Choice, Kind, ReportClass, class_of
from cxrnode.domain.delivery import Geometry
from cxrnode.domain.finding import RefusedImage, StudyResult
from cxrnode.ports import Composer, Draft, KeptEvidence, StatedEvidence
from tests.evidence_cases import Case, case, composer
from tests.fakes.composer import FakeComposer
from tests.inspecting import study_of

EVERYTHING = tuple(kind for kind in Kind if kind is not Kind.REJECTION)
PREVIEW = np.zeros((300, 261), np.uint8)


@pytest.fixture(params=["real", "fake"])
def writer(request: pytest.FixtureRequest) -> Composer:
    """The real composer and the fake."""
    return composer() if request.param == "real" else FakeComposer()


@pytest.fixture
def made(tmp_path: Path) -> Case:
    """One case."""
    return case(tmp_path, rows=304, cols=264)


@pytest.fixture
def kept(tmp_path: Path) -> Callable[[Draft], Path]:
    """Compose a draft and keep its file."""

    def keep(draft: Draft) -> Path:
        path = tmp_path / f"{draft.sop_instance_uid}.dcm"
        path.write_bytes(draft.compose())
        return path

    return keep


def _choice(*kinds: Kind, **changes: object) -> Choice:
    first = {"report_class": ReportClass.COMPREHENSIVE_3D, "geometry": Geometry.VIEWER}
    return Choice(kinds=kinds or (Kind.SEG, Kind.SR), **first | changes)  # type: ignore[arg-type]


def _drafts(writer: Composer, made: Case, study: StudyResult, choice: Choice) -> Sequence[Draft]:
    return writer.drafts(study, choice, made.paths(), {made.source.row: PREVIEW})


def test_same_arguments_give_the_same_bytes(writer, made):
    """Law 4, for every kind of object."""
    first, second = (_drafts(writer, made, made.full_study(), _choice(*EVERYTHING)) for _ in range(2))
    assert {draft.kind for draft in first} == set(EVERYTHING)
    assert [draft.sop_instance_uid for draft in first] == [draft.sop_instance_uid for draft in second]
    assert [draft.compose() for draft in first] == [draft.compose() for draft in second]


def test_the_report_is_among_the_drafts_under_the_uid_that_was_foretold(writer, made):
    """The line asks what is kept before it composes; the report is drafted whoever gets it, after the SEGs."""
    for choice in (_choice(), _choice(Kind.PDF), _choice(Kind.SR, report_class=ReportClass.ENHANCED)):
        drafts = _drafts(writer, made, made.study(with_lateral=True), choice)
        (report,) = (draft for draft in drafts if draft.kind is Kind.SR)
        assert report.sop_instance_uid == writer.report_uid(made.study(with_lateral=True), choice)
        assert (report.line, report.source) == (choice.report_line, "")
        assert report.sop_class_uid == class_of(Kind.SR, choice.report_class)
        assert Kind.SEG not in {draft.kind for draft in drafts[drafts.index(report) :]}
    assert [draft.kind for draft in drafts] == [Kind.SR]


def test_a_segmentation_names_its_source_and_its_model(writer, made):
    """As the ledger files it."""
    (segmentation,) = (d for d in _drafts(writer, made, made.study(), _choice()) if d.kind is Kind.SEG)
    assert (segmentation.source, segmentation.model) == (made.source.uid, "lungs")
    assert segmentation.sop_class_uid == CLASSES[Kind.SEG]


def test_what_differs_by_the_destination_differs_by_its_uid(writer, made):
    """Two geometries are two SEGs; a report with SEGs, one without, and one of another class are three reports."""
    choices = (
        _choice(),
        _choice(geometry=Geometry.STRICT),
        _choice(Kind.SR),
        _choice(report_class=ReportClass.ENHANCED),
    )
    drafts = [draft for choice in choices for draft in _drafts(writer, made, made.study(), choice)]
    assert len({draft.sop_instance_uid for draft in drafts if draft.kind is Kind.SEG}) == 2
    assert len({draft.sop_instance_uid for draft in drafts if draft.kind is Kind.SR}) == 4


def test_no_region_makes_no_segmentation(writer, made):
    """The report says what was not found."""
    study = made.study()
    bare = replace(study.images[0], results=(replace(made.result, regions=()),))
    drafts = _drafts(writer, made, replace(study, images=(bare,)), _choice())
    assert [draft.kind for draft in drafts] == [Kind.SR]


def test_a_kept_report_says_its_place_in_its_line(writer, made, kept):
    """The line follows the chain of reports through what is kept."""
    (first,) = _drafts(writer, made, made.study(), _choice(Kind.SR))
    follower = replace(made.study(predecessor=first.sop_instance_uid), revision=2)
    (second,) = _drafts(writer, made, follower, _choice(Kind.SR, report_class=ReportClass.COMPREHENSIVE))
    assert first.sop_instance_uid != second.sop_instance_uid
    links = [writer.link_of(kept(draft)) for draft in (first, second)]
    assert [(link.predecessor, link.revision) for link in links] == [("", 1), (first.sop_instance_uid, 2)]
    assert [link.sop_class_uid for link in links] == [first.sop_class_uid, second.sop_class_uid]


def test_a_report_can_say_that_nothing_was_analysed(writer, made):
    """Only refused candidates; another reason is another report."""
    uids = set()
    for code in ("lateral", "unreadable"):
        refused = (RefusedImage(source=made.lateral, code=code),)
        study = StudyResult(study_uid=made.source.study_uid, images=(), refused=refused)
        uids.add(writer.report_uid(study, _choice()))
        assert [draft.kind for draft in _drafts(writer, made, study, _choice())] == [Kind.SR]
    assert len(uids) == 2


def test_a_retraction_is_a_report_without_a_finding(writer, made, kept):
    """It draws nothing, selects nothing, and is another one for another reason."""
    uids = set()
    for because in ("wrong_result", "test"):
        study = StudyResult(
            study_uid=made.source.study_uid, images=(), retraction=because, retracted=(made.source,), revision=2
        )
        drafts = _drafts(writer, made, study, _choice(*EVERYTHING))
        assert {draft.kind for draft in drafts} <= {Kind.SR, Kind.PDF, Kind.PAGES}
        uids.add(writer.report_uid(study, _choice(*EVERYTHING)))
        assert all(kept(draft).stat().st_size for draft in drafts)
    assert len(uids) == 2


def test_a_rejection_note_names_what_it_rejects(writer, made, kept):
    """Other objects, or another reason, are another note."""
    drafts = _drafts(writer, made, made.study(), _choice())
    files = {draft.sop_instance_uid: kept(draft) for draft in drafts}
    stated = [
        StatedEvidence(kind=d.line, sop_class_uid=d.sop_class_uid, sop_instance_uid=d.sop_instance_uid, key="k")
        for d in drafts
    ]
    notes = [
        writer.rejection(made.source, made.path, rejected, files, because)
        for rejected, because in ((stated, "test"), (stated, "wrong_result"), (stated[:1], "test"))
    ]
    assert len({note.sop_instance_uid for note in notes}) == 3
    assert {(note.kind, note.sop_class_uid) for note in notes} == {(Kind.REJECTION, CLASSES[Kind.REJECTION])}
    again = writer.rejection(made.source, made.path, stated[::-1], files, "test")
    assert (again.sop_instance_uid, again.compose()) == (notes[0].sop_instance_uid, notes[0].compose())


def test_the_real_composer_objects_to_a_damaged_object_and_to_what_refers_to_it(made, kept):
    """The report names the SEG, so neither may leave; what is sound is not objected to."""
    writer, study, choice = composer(), study_of(made), _choice()
    drafts = _drafts(writer, made, study, choice)
    files = {draft.sop_instance_uid: kept(draft) for draft in drafts}
    objects = [_kept_evidence(draft) for draft in drafts]
    assert writer.inspect(study, objects, files, made.paths()) == {}
    segmentation = files[drafts[0].sop_instance_uid]
    damaged = pydicom.dcmread(segmentation)
    del damaged.SegmentSequence
    damaged.save_as(segmentation)
    objections = writer.inspect(study, objects, files, made.paths())
    assert set(objections) == {drafts[0].sop_instance_uid, writer.report_uid(study, choice)}
    assert "SegmentSequence" in objections[drafts[0].sop_instance_uid]


def _kept_evidence(draft: Draft) -> KeptEvidence:
    return KeptEvidence(
        kind=draft.line,
        sop_class_uid=draft.sop_class_uid,
        sop_instance_uid=draft.sop_instance_uid,
        source=draft.source,
        model=draft.model,
        key="",
        sha256="",
        destinations=(),
    )
