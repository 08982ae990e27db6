"""What stands in an SR: statements, in the grammar of TID 1500, each with a place on the image."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from cxrnode.domain.capability import REPORT_CLASSES, ReportClass
from cxrnode.domain.delivery import Geometry
from cxrnode.domain.finding import Box, Finding, Measurement, ModelResult, Presence, RefusedImage, StudyResult
from cxrnode.domain.reasons import CAVEATS, RETRACTIONS
from cxrnode.errors import NeedsOperator
from cxrnode.evidence.report import link_of
from cxrnode.evidence.segmentation import segmented
from cxrnode.ports import ReportLink
from tests.evidence_cases import CLASSIFIER, OPACITY, Case, case, composer, kept, segmentations_of


@pytest.fixture
def made(tmp_path: Path) -> Case:
    """One case."""
    return case(tmp_path)


def _read(made: Case, study: StudyResult | None = None) -> Dataset:
    study = study or made.study(with_lateral=True)
    report = composer().report(study, made.paths(), segmentations_of(study))
    return pydicom.dcmread(io.BytesIO(report.encoded))


def _with(made: Case, **changes: object) -> StudyResult:
    study = made.study()
    image = replace(study.images[0], results=(replace(made.result, **changes),))
    return replace(study, images=(image,))


def _name(item: Dataset) -> str:
    return str(item.ConceptNameCodeSequence[0].CodeMeaning)


def _below(item: Dataset) -> Iterator[Dataset]:
    for child in item.get("ContentSequence", ()):
        yield child
        yield from _below(child)


def _groups(report: Dataset) -> list[Dataset]:
    return [item for item in _below(report) if item.ValueType == "CONTAINER" and _name(item) == "Measurement Group"]


def _title(group: Dataset) -> str:
    return next(item.TextValue for item in group.ContentSequence if _name(item) == "Tracking Identifier")


def _tracking(group: Dataset) -> str:
    return next(item.UID for item in group.ContentSequence if _name(item) == "Tracking Unique Identifier")


def _numbers(group: Dataset) -> dict[str, tuple[str, str]]:
    return {
        _name(item): (
            str(item.MeasuredValueSequence[0].NumericValue.original_string),
            item.MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0].CodeValue,
        )
        for item in group.ContentSequence
        if item.ValueType == "NUM"
    }


def _codes(group: Dataset) -> dict[str, str]:
    return {
        _name(item): item.ConceptCodeSequence[0].CodeMeaning
        for item in group.ContentSequence
        if item.ValueType == "CODE"
    }


def _comments(group: Dataset) -> list[str]:
    return [item.TextValue for item in group.ContentSequence if _name(item) == "Comment"]


def _sentences(report: Dataset) -> list[str]:
    return [item.TextValue for item in _below(report) if item.ValueType == "TEXT"]


def test_every_measurement_group_has_a_coordinate_or_shares_its_tracking_uid_with_one(made):
    """OHIF's viewport goes black otherwise."""
    groups = _groups(_read(made))
    placed = {_tracking(g) for g in groups if any(item.ValueType == "SCOORD" for item in g.ContentSequence)}
    assert len(groups) > len(placed) > 0
    assert {_tracking(group) for group in groups} == placed


def test_regions_are_tracked_by_the_same_uid_in_segmentation_and_report(made):
    """One UID a structure, and the frame that shows it."""
    parts = segmented(made.result, Geometry.VIEWER)
    written = [composer().segmentation(made.source, made.path, part, Geometry.VIEWER) for part in parts]
    read = [pydicom.dcmread(io.BytesIO(one.encoded)) for one in written if one]
    tracked = {
        (one.SOPInstanceUID, segment.SegmentNumber): segment.TrackingUID
        for one in read
        for segment in one.SegmentSequence
    }
    frames = {}
    for group in _groups(_read(made)):
        for item in group.ContentSequence:
            if item.ValueType == "IMAGE" and _name(item) == "Referenced Segmentation Frame":
                reference = item.ReferencedSOPSequence[0]
                assert "ReferencedSegmentNumber" not in reference
                frames[reference.ReferencedSOPInstanceUID, reference.ReferencedFrameNumber] = _tracking(group)
    assert frames == tracked


def test_numbers_are_rounded_text_with_their_units(made):
    """The same text on every machine; the area stands with the segment, not with the line around it."""
    groups = _groups(_read(made))
    stated = {(_title(group), *pair) for group in groups for pair in _numbers(group).items()}
    assert ("Cardiothoracic ratio", "Cardiothoracic ratio", ("0.488", "1")) in stated
    assert ("Right lung", "Area", ("12346", "mm2")) in stated
    assert (
        "Right-left asymmetry of lung area",
        "Lung area asymmetry, (right - left) / (right + left)",
        ("-0.012", "1"),
    ) in stated
    outlined, segmented = (group for group in groups if _title(group) == "Right lung")
    assert [item.ValueType for item in outlined.ContentSequence].count("SCOORD") == 1
    assert (_numbers(outlined), _numbers(segmented)) == ({}, {"Area": ("12346", "mm2")})


def test_the_lines_of_a_ratio_are_drawn(made):
    """Two groups of two points each, where the model laid them; the number stands beside the thorax's."""
    drawn = {
        _title(group): list(item.GraphicData)
        for group in _groups(_read(made))
        for item in group.ContentSequence
        if item.ValueType == "SCOORD"
    }
    assert drawn["Transverse cardiac diameter"] == pytest.approx([100, 200, 300.12, 200])
    assert drawn["Transverse thoracic diameter"] == pytest.approx([50, 250, 450, 250])
    assert drawn["Cardiothoracic ratio"] == drawn["Transverse thoracic diameter"]


def test_a_box_is_a_closed_polyline_in_corner_coordinates(made):
    """Top left, top right, bottom right, bottom left, top left."""
    boxes = {
        _title(group): np.array(item.GraphicData).reshape(-1, 2)
        for group in _groups(_read(made))
        for item in group.ContentSequence
        if item.ValueType == "SCOORD"
    }
    assert boxes["Lung opacity 1"].tolist() == [[10.5, 20], [60, 20], [60, 80], [10.5, 80], [10.5, 20]]
    whole = boxes["Pneumothorax: absent"]
    assert whole[2].tolist() == [made.source.facts.columns, made.source.facts.rows]


def test_an_organ_is_outlined_and_not_boxed(made):
    """A reader takes a box for a lesion, and OHIF makes a rectangle with an area of its own of five points."""
    (outlined, _) = (group for group in _groups(_read(made)) if _title(group) == "Heart")
    (line,) = (item for item in outlined.ContentSequence if item.ValueType == "SCOORD")
    points = np.array(line.GraphicData).reshape(-1, 2)
    rows, columns = np.nonzero(made.masks()["heart"])
    assert points.min(axis=0).tolist() == [columns.min(), rows.min()]
    assert points.max(axis=0).tolist() == [columns.max() + 1, rows.max() + 1]
    assert points[0].tolist() == points[-1].tolist()
    assert 50 < len(points) < 120
    assert "Geometric purpose of region" not in _codes(outlined)


def test_findings_state_probability_operating_point_and_judgment(made):
    """Finding is said of what is present only; what is absent is judged, not found."""
    groups = {_title(group): group for group in _groups(_read(made))}
    absent, present = groups["Pneumothorax: absent"], groups["Lung opacity: present"]
    assert _numbers(absent) == {"Probability of pneumothorax": ("1.0", "%"), "Threshold Value": ("50.0", "%")}
    assert _codes(absent)["Pneumothorax"] == "Absent"
    assert "Finding" not in _codes(absent)
    assert _codes(present)["Opacity"] == "Present"
    assert _codes(present)["Finding"] == "Opacity"


def test_an_indeterminate_finding_is_said(made):
    """Neither present nor absent."""
    finding = Finding(name="pneumothorax", presence=Presence.INDETERMINATE, probability=0.4)
    study = _with(made, findings=(finding,))
    groups = {_title(group): group for group in _groups(_read(made, study))}
    assert _codes(groups["Pneumothorax: indeterminate"])["Pneumothorax"] == "Indeterminate"


def test_what_lies_in_the_band_of_its_card_says_between_which_bounds(made):
    """The bounds alone: 67 % over a threshold of 49 % would read as a contradiction."""
    finding = Finding(
        name="lung_opacity",
        presence=Presence.INDETERMINATE,
        probability=0.67,
        operating_point=0.49,
        band=(0.48, 0.915),
    )
    (group,) = _groups(_read(made, _with(made, measurements=(), regions=(), absent=(), findings=(finding,))))
    assert _numbers(group) == {
        "Probability of lung opacity": ("67.0", "%"),
        "Absent below this probability": ("48.0", "%"),
        "Present from this probability on": ("91.5", "%"),
    }
    assert _comments(group) == []


@pytest.mark.parametrize(
    ("probability", "printed"),
    [(0.72304, "72.30"), (0.9997, "99.97"), (0.0004, "0.04"), (1.0, "100.0"), (0.5, "50.0")],
)
def test_a_probability_is_never_rounded_to_its_bound_nor_to_certainty(made, probability, printed):
    """72.3 % that is indeterminate beside a bound of 72.3 % from which on it is present is a contradiction."""
    finding = Finding(
        name="lung_opacity", presence=Presence.INDETERMINATE, probability=probability, band=(0.4, 0.72306)
    )
    (group,) = _groups(_read(made, _with(made, measurements=(), regions=(), absent=(), findings=(finding,))))
    assert _numbers(group)["Probability of lung opacity"] == (printed, "%")


@pytest.mark.parametrize("band", [(0.49, 0.49), None])
def test_without_a_band_the_point_is_stated_that_decided(made, band):
    """A band of one point is that point."""
    finding = Finding(name="lung_opacity", presence=Presence.PRESENT, probability=0.67, operating_point=0.49, band=band)
    (group,) = _groups(_read(made, _with(made, measurements=(), regions=(), absent=(), findings=(finding,))))
    assert _numbers(group) == {"Probability of lung opacity": ("67.0", "%"), "Threshold Value": ("49.0", "%")}


def test_absence_is_said_and_a_structure_not_found_is_not_called_absent(made):
    """A patient has lungs; a pneumothorax can be absent."""
    study = _with(made, absent=("left_lung", "pneumothorax"), findings=())
    groups = {_title(group): group for group in _groups(_read(made, study))}
    assert _codes(groups["Left lung: looked for and not found"])["Lung"] == "Looked for and not found"
    assert _codes(groups["Pneumothorax: absent"])["Pneumothorax"] == "Absent"


def test_every_group_names_the_algorithm_once(made):
    """Name, version and digest, for all that the group says."""
    for group in _groups(_read(made)):
        assert [(_name(item), item.TextValue) for item in _below(group) if _name(item).startswith("Algorithm")] == [
            ("Algorithm Name", "lungs"),
            ("Algorithm Version", "0.1.0"),
            ("Algorithm Parameters", f"digest={'ab' * 32}"),
        ]


def test_the_header_names_every_model_with_digest_and_backend(made):
    """Whoever searches an archive for what a model wrote does not read content trees; where none ran none is named."""
    named = _read(made, made.full_study()).ContributingEquipmentSequence
    assert [(one.ManufacturerModelName, one.SoftwareVersions) for one in named] == [
        ("lungs", "0.1.0"),
        ("pneumothorax", "0.2.0"),
        ("opacity", "0.3.0"),
        ("classifier", "0.4.0"),
    ]
    assert named[0].ContributionDescription == f"digest={'ab' * 32}, backend=cpu torch fp32"
    assert len({one.DeviceUID for one in named}) == 4
    refused = StudyResult(
        study_uid=made.source.study_uid, images=(), refused=(RefusedImage(source=made.lateral, code="lateral"),)
    )
    assert "ContributingEquipmentSequence" not in _read(made, refused)


def test_every_report_says_that_it_is_for_research(made):
    """With findings or without."""
    refused = StudyResult(
        study_uid=made.source.study_uid, images=(), refused=(RefusedImage(source=made.lateral, code="lateral"),)
    )
    for study in (made.study(), refused):
        assert "Research use only, not a medical device" in _sentences(_read(made, study))


def test_refused_images_and_missing_models_are_said_with_coded_reasons(made):
    """A reader must not take silence for a negative."""
    study = made.study(with_lateral=True)
    image = replace(study.images[0], missing=(("opacity", "model_failed"),))
    report = _read(made, replace(study, images=(image,)))
    sentences = _sentences(report)
    numbers = {source.uid: number for number, source in enumerate(study.sources, 1)}
    frontal, lateral = numbers[made.source.uid], numbers[made.lateral.uid]
    assert f"Image {lateral}: Not analysed, because it is a lateral view; the models read frontal views" in sentences
    assert f"Image {frontal}: No result of the model opacity, because the model failed on it" in sentences
    reasons = {
        _name(item): (item.ConceptCodeSequence[0].CodeValue, item.ContentSequence[0].ReferencedSOPSequence[0])
        for item in _below(report)
        if item.ValueType == "CODE" and item.ConceptNameCodeSequence[0].CodingSchemeDesignator == "99CXRNODE"
    }
    code, reference = reasons["Not analysed, because"]
    assert code == "LATERAL"
    assert reference.ReferencedSOPInstanceUID == made.lateral.uid
    assert reasons["No result of a model, because"][0] == "MODELFAILED"


def test_caveats_stand_with_what_they_are_about(made):
    """A measurement's own caveat in its group, an image's at the end."""
    report = _read(made)
    (group,) = [g for g in _groups(report) if _numbers(g).get("Area") == ("12346", "mm2")]
    caveat = CAVEATS["detector_plane"]
    assert caveat in [item.TextValue for item in group.ContentSequence if item.ValueType == "TEXT"]
    assert len([sentence for sentence in _sentences(report) if sentence.endswith(caveat)]) == 3


def test_the_images_come_first_in_the_list_of_references(made):
    """Slicer reads the first item; every instance that the tree refers to is listed once."""
    report = _read(made)
    (study,) = report.CurrentRequestedProcedureEvidenceSequence
    assert study.StudyInstanceUID == made.source.study_uid
    listed = [
        instance.ReferencedSOPInstanceUID
        for series in study.ReferencedSeriesSequence
        for instance in series.ReferencedSOPSequence
    ]
    referred = {
        item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        for item in _below(report)
        if "ReferencedSOPSequence" in item
    }
    assert set(listed) == referred
    assert len(listed) == len(referred)
    assert set(listed[:2]) == {made.source.uid, made.lateral.uid}


@pytest.mark.parametrize("before", ["", REPORT_CLASSES[ReportClass.ENHANCED]])
def test_a_report_names_its_predecessor_in_the_predecessors_own_series(made, before):
    """The series of each of our objects follows from its UID; the class may be another than this report's."""
    first = composer().report(made.study(), made.paths(), {})
    second = _read(made, replace(made.study(predecessor=first.sop_instance_uid), predecessor_class=before))
    (study,) = second.PredecessorDocumentsSequence
    (series,) = study.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == first.series_uid
    (reference,) = series.ReferencedSOPSequence
    assert reference.ReferencedSOPInstanceUID == first.sop_instance_uid
    assert reference.ReferencedSOPClassUID == (before or second.SOPClassUID)


def test_a_kept_report_says_where_it_stands_in_its_line(made, tmp_path):
    """Its class and number, and the report before it with its class."""
    before = REPORT_CLASSES[ReportClass.ENHANCED]
    study = replace(made.study(predecessor="2.25.42"), predecessor_class=before, revision=3)
    path = kept(tmp_path, composer().report(study, made.paths(), {}, ReportClass.COMPREHENSIVE_3D))
    assert link_of(path) == ReportLink(
        sop_class_uid=REPORT_CLASSES[ReportClass.COMPREHENSIVE_3D],
        revision=3,
        predecessor="2.25.42",
        predecessor_class=before,
    )


def test_a_list_of_series_tells_the_current_report_from_those_before_it(made):
    """Each has a series of its own, and a viewer lists them by their description and number."""
    first, second = _read(made), _read(made, replace(made.study(), revision=2))
    assert (first.SeriesDescription, first.InstanceNumber) == ("cxrnode report", 1)
    assert (second.SeriesDescription, second.InstanceNumber) == ("cxrnode report, revision 2", 2)


def test_the_document_is_complete_and_unverified(made):
    """A machine wrote it and no physician signed it."""
    report = _read(made)
    assert (report.CompletionFlag, report.VerificationFlag) == ("COMPLETE", "UNVERIFIED")
    assert report.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    assert report.CodingSchemeIdentificationSequence[0].CodingSchemeDesignator == "99CXRNODE"


def test_a_measurement_that_is_no_number_is_refused(made):
    """Not stated as nan, and not silently left out."""
    study = _with(made, measurements=(Measurement(name="cardiothoracic_ratio", value=float("nan"), unit="1"),))
    with pytest.raises(NeedsOperator, match="no number"):
        _read(made, study)


def test_no_number_is_stated_as_minus_zero(made):
    """A tiny negative asymmetry rounds to zero, without a sign."""
    study = _with(made, measurements=(Measurement(name="lung_asymmetry", value=-0.0001, unit="1"),))
    numbers = [pair for group in _groups(_read(made, study)) for pair in _numbers(group).items()]
    assert ("Lung area asymmetry, (right - left) / (right + left)", ("0.000", "1")) in numbers


def test_a_report_of_no_image_is_refused(made):
    """There is nothing that it could be about."""
    with pytest.raises(NeedsOperator):
        composer().report(StudyResult(study_uid=made.source.study_uid, images=()), {}, {})


def _full(made: Case) -> dict[str, list[Dataset]]:
    """The measurement groups of a report of all four kinds, by title."""
    return _groups_by_title(made, made.full_study())


def _groups_by_title(made: Case, study: StudyResult) -> dict[str, list[Dataset]]:
    groups: dict[str, list[Dataset]] = {}
    for group in _groups(_read(made, study)):
        groups.setdefault(_title(group), []).append(group)
    return groups


def _side(group: Dataset) -> str:
    (site,) = (item for item in group.ContentSequence if _name(item) == "Finding Site")
    return str(site.ContentSequence[0].ConceptCodeSequence[0].CodeMeaning) if "ContentSequence" in site else ""


def test_one_report_states_all_four_kinds_of_finding(made):
    """Lungs, pneumothorax, opacity and the classifier's, each judged."""
    groups = _full(made)
    judged = {
        title: _codes(found[0])[name]
        for title, name, found in (
            ("Pneumothorax: present", "Pneumothorax", groups["Pneumothorax: present, right and left"]),
            ("Lung opacity by opacity: indeterminate", "Opacity", groups["Lung opacity by opacity: indeterminate"]),
            ("Lung opacity by classifier: absent", "Opacity", groups["Lung opacity by classifier: absent"]),
            (
                "Appearance of viral pneumonia: present",
                "Appearance of viral pneumonia",
                groups["Appearance of viral pneumonia: present"],
            ),
            ("Abnormal chest: present", "Abnormal chest radiograph", groups["Abnormal chest: present"]),
        )
    }
    assert list(judged.values()) == ["Present", "Indeterminate", "Absent", "Present", "Present"]
    assert "Cardiothoracic ratio" in groups
    assert "Appearance of COVID-19 pneumonia: indeterminate" in groups


def test_a_pneumothorax_is_stated_by_side_with_its_size_and_whose_lungs_it_was_measured_by(made):
    """The size stands with the segment; the lungs' model is a parameter of the algorithm."""
    groups = _full(made)
    assert _side(groups["Pneumothorax: present, right and left"][0]) == "Bilateral"
    outlined, segmented = groups["Pneumothorax, right"]
    assert (_side(outlined), _side(segmented)) == ("Right", "Right")
    assert _numbers(segmented) == {"Pneumothorax, share of the hemithorax by area": ("14.3", "%")}
    parameters = [i.TextValue for i in segmented.ContentSequence if _name(i) == "Algorithm Parameters"]
    assert parameters[-1] == f"with=lungs 0.1.0 {'ab' * 32}"
    assert "A share of areas on a projection, not of volumes" in [
        item.TextValue for item in segmented.ContentSequence if item.ValueType == "TEXT"
    ]


def test_a_box_of_what_is_only_suspected_is_no_finding(made):
    """It is shown, with its probability and the judgment on the whole."""
    groups = _full(made)
    for title, probability in (("Lung opacity 1", "90.0"), ("Lung opacity 2", "40.0")):
        (box,) = groups[f"{title}: indeterminate"]
        assert _numbers(box) == {"Probability of lung opacity": (probability, "%")}
        assert _codes(box)["Opacity"] == "Indeterminate"
        assert "Finding" not in _codes(box)


@pytest.mark.parametrize("presence", [Presence.INDETERMINATE, Presence.ABSENT])
def test_an_outline_of_what_is_only_suspected_is_no_finding(made, presence):
    """Its groups carry the judgment on the whole; Finding (121071) would contradict it."""
    study = made.full_study()
    results = tuple(_all_said_to_be(presence, result) for result in study.images[0].results)
    doubted = replace(study, images=(replace(study.images[0], results=results),))
    groups = _groups_by_title(made, doubted)
    assert "Pneumothorax, right" not in groups
    for group in groups[f"Pneumothorax, right: {presence}"]:
        assert _side(group) == "Right"
        assert {"Finding", "Finding category"}.isdisjoint(_codes(group))
    assert _codes(groups[f"Pneumothorax, right: {presence}"][-1])["Pneumothorax"] == str(presence).capitalize()
    assert _codes(groups["Right lung"][0])["Finding"] == "Lung"


def test_a_box_that_is_less_sure_than_its_finding_is_only_suspected(made):
    """Present is what reaches the bound by itself; the other is a place to look at."""
    boxes = tuple(Box(label="lung_opacity", probability=p, left=1, top=2, right=3, bottom=4) for p in (0.9, 0.6))
    finding = Finding(name="lung_opacity", presence=Presence.PRESENT, probability=0.9, band=(0.5, 0.8), boxes=boxes)
    groups = _groups_by_title(made, _with(made, findings=(finding,)))
    assert _codes(groups["Lung opacity 1"][0])["Finding"] == "Opacity"
    (suspected,) = groups["Lung opacity 2: indeterminate"]
    assert _codes(suspected)["Opacity"] == "Indeterminate"
    assert "Finding" not in _codes(suspected)


def test_a_person_reads_first_what_is_present_then_what_is_open_then_what_is_absent(made):
    """Then the measurements, and the anatomy last; outlines and boxes stand below the judgment that they belong to."""
    titles = [_title(group) for group in _groups(_read(made, made.full_study()))]
    assert list(dict.fromkeys(titles)) == [
        "Pneumothorax: present, right and left",
        "Pneumothorax, right",
        "Pneumothorax, left",
        "Appearance of viral pneumonia: present",
        "Abnormal chest: present",
        "Lung opacity by opacity: indeterminate",
        "Lung opacity 1: indeterminate",
        "Lung opacity 2: indeterminate",
        "Appearance of COVID-19 pneumonia: indeterminate",
        "Pneumothorax: absent",
        "Lung opacity by classifier: absent",
        "Cardiothoracic ratio",
        "Transverse cardiac diameter",
        "Transverse thoracic diameter",
        "Right-left asymmetry of lung area",
        "Right lung",
        "Left lung",
        "Heart",
    ]


def test_models_that_contradict_each_other_are_named(made):
    """A reader weighs two models by what they are."""
    opinions = ((OPACITY, 0.9, (0.4, 0.6)), (CLASSIFIER, 0.1, (0.2, 0.5)))
    results = tuple(
        ModelResult(
            model=model,
            findings=(
                Finding(
                    name="lung_opacity",
                    presence=Presence.INDETERMINATE,
                    probability=probability,
                    band=band,
                    caveats=("models_disagree",),
                ),
            ),
        )
        for model, probability, band in opinions
    )
    study = made.study()
    groups = _groups(_read(made, replace(study, images=(replace(study.images[0], results=results),))))
    why = "Called indeterminate because the model opacity finds it present and the model classifier finds it absent"
    assert [_comments(group) for group in groups] == [[why], [why]]


def test_of_several_images_each_statement_says_of_which_it_is(made):
    """By the image's number in the library; of one image alone nothing is numbered."""
    study = made.study()
    two = replace(study, images=(*study.images, replace(study.images[0], source=made.lateral)))
    report = _read(made, two)
    library = next(item for item in report.ContentSequence if _name(item) == "Image Library")
    listed = {
        image.ReferencedSOPSequence[0].ReferencedSOPInstanceUID: image.ContentSequence[0].TextValue
        for image in library.ContentSequence[0].ContentSequence
    }
    numbered = {made.source.uid: "Image 1", made.lateral.uid: "Image 2"}
    if made.lateral.uid < made.source.uid:
        numbered = {made.lateral.uid: "Image 1", made.source.uid: "Image 2"}
    assert listed == numbered
    titles = [_title(group) for group in _groups(report)]
    assert {"Heart (image 1)", "Heart (image 2)"} < set(titles)
    assert "Heart" in [_title(group) for group in _groups(_read(made, study))]


def test_a_retraction_says_what_is_taken_back_and_why_and_measures_nothing(made):
    """One sentence, its reason as a code, the images it is about, and the report it follows."""
    study = StudyResult(
        study_uid=made.source.study_uid,
        images=(),
        retraction="wrong_patient",
        retracted=(made.source, made.lateral),
        predecessor="2.25.42",
        revision=2,
    )
    report = _read(made, study)
    assert [_name(item) for item in report.ContentSequence if item.ValueType == "CONTAINER"] == [
        "Image Library",
        "Qualitative Evaluations",
    ]
    said = "The results of report 2.25.42 were taken back, because the images are not of this patient"
    assert {said, "Research use only, not a medical device"} < set(_sentences(report))
    (reason,) = (item for item in _below(report) if _name(item) == "Taken back, because")
    assert reason.ConceptCodeSequence[0].CodeValue == "WRONGPATIENT"
    listed = {
        item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for item in _below(report) if item.ValueType == "IMAGE"
    }
    assert listed == {made.source.uid, made.lateral.uid}
    assert report.SeriesDescription == "cxrnode retraction, revision 2"
    assert _name(report) == "Diagnostic Imaging Report"
    assert "ContentTemplateSequence" not in report


@pytest.mark.parametrize("reason", list(RETRACTIONS))
def test_every_reason_of_a_retraction_can_be_stated(made, reason):
    """As a code whose value and meaning are short enough."""
    study = StudyResult(study_uid=made.source.study_uid, images=(), retraction=reason, retracted=(made.source,))
    report = _read(made, study)
    (coded,) = (item for item in _below(report) if _name(item) == "Taken back, because")
    (code,) = coded.ConceptCodeSequence
    assert len(code.CodeValue) <= 16
    assert len(code.CodeMeaning) <= 64
    assert f"The results were taken back, because {RETRACTIONS[reason].text}" in _sentences(report)


def _all_said_to_be(presence: Presence, result: ModelResult) -> ModelResult:
    return replace(result, findings=tuple(replace(finding, presence=presence) for finding in result.findings))


def test_every_caveat_of_a_finding_stands_with_it(made):
    """Why it is withheld, doubted, or holds for others: in its own group."""
    (group,) = _full(made)["Pneumothorax: present, right and left"]
    assert _comments(group) == [
        CAVEATS[code] for code in ("withheld", "side_from_half", "outside_lungs", "other_side_stated")
    ]
