"""The report on paper: what is said, in which order, and what is never said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pydicom
import pytest

from cxrnode.domain.finding import ImageResult, ModelResult, RefusedImage, StudyResult
from cxrnode.domain.reasons import CAVEATS, RETRACTIONS
from cxrnode.domain.selection import View
from cxrnode.evidence.page import Page, page_of
from tests.evidence_cases import Case, case


@pytest.fixture
def made(tmp_path: Path) -> Case:
    """One case."""
    return case(tmp_path)


def _lines(page: Page, title: str) -> tuple[str, ...]:
    (section,) = (section for section in page.sections if section.title == title)
    return section.lines


def _all(page: Page) -> list[str]:
    return [line for section in page.sections for line in (section.title, *section.lines)]


def test_what_is_present_is_read_first(made):
    """Then what nobody can say, what is absent, and that an image is missing."""
    page = page_of(made.full_study())
    assert page.sections[0].title == "In short"
    assert page.sections[0].lines == (
        "Image 1, present: pneumothorax (right and left, off by default); appearance of viral pneumonia (learned from"
        " children, off by default); abnormal chest.",
        "Image 1, indeterminate: lung opacity (by the model opacity); appearance of COVID-19 pneumonia.",
        "Image 1, absent: lung opacity (by the model classifier).",
        "Image 1, without a result of the model gate. The reason stands below.",
        "Not analysed: 1 of 2 images. The reason stands below.",
    )


def test_an_image_alone_has_no_number(made):
    """There is nothing that it could be mistaken for."""
    page = page_of(made.study())
    assert page.sections[0].lines == ("Present: lung opacity.", "Absent: pneumothorax.")
    assert page.sections[1].title == "The image, PA view"
    unstated = replace(made.study().images[0], view=View.UNSTATED)
    assert page_of(replace(made.study(), images=(unstated,))).sections[1].title == "The image, view not stated"


def test_analysed_images_are_counted_first(made):
    """Whoever reads of one image calls it the first, whatever UID the lateral has."""
    first = replace(made.lateral, description=replace(made.lateral.description, sop_instance_uid="0.1"))
    study = replace(made.study(), refused=(RefusedImage(source=first, code="lateral"),))
    assert study.sources[0] is first
    page = page_of(study)
    assert page.sections[0].lines[0] == "Image 1, present: lung opacity."
    assert _lines(page, "Not analysed")[0].startswith("Image 2: Not analysed")


def test_numbers_have_units_and_their_caveats(made):
    """Each caveat once, whether it belongs to the image or to a number."""
    lines = _lines(page_of(made.study()), "The image, PA view")
    assert "Cardiothoracic ratio: 0.49." in lines
    assert "Right lung area: 123 cm2." in lines
    assert lines.count(f"Note: {CAVEATS['detector_plane']}.") == 1
    assert "No pneumothorax found." in lines


def test_an_image_without_a_judgment_says_so(made):
    """Silence would read as a negative."""
    image = replace(made.study().images[0], results=(replace(made.result, findings=()),))
    assert page_of(replace(made.study(), images=(image,))).sections[0].lines == (
        "Measured only: no finding was judged.",
    )


def test_what_was_not_analysed_and_what_is_missing_are_said_with_their_reasons(made):
    """A reader must not take silence for a negative."""
    page = page_of(made.full_study())
    refused = _lines(page, "Not analysed")
    assert refused[0].startswith("Image 2: Not analysed, because its pixels do not look like an upright frontal chest")
    assert refused[1] == f"Instance {made.lateral.uid}"
    assert "The model gate is missing, because the model failed on it." in _lines(page, "Image 1 of 2, AP view")


def test_every_model_is_named_with_version_digest_and_backend(made):
    """Those that only helped, too; each once, by name."""
    assert _lines(page_of(made.full_study()), "Models") == (
        "classifier 0.4.0, digest 010101010101, on cpu torch fp32",
        "lungs 0.1.0, digest abababababab, on cpu torch fp32",
        "opacity 0.3.0, digest efefefefefef, on cpu torch fp32",
        "pneumothorax 0.2.0, digest cdcdcdcdcdcd, on cpu torch fp32",
    )


def test_a_later_report_says_which_it_takes_the_place_of(made):
    """The first says nothing of it."""
    later = page_of(replace(made.study(predecessor="2.25.42"), revision=2))
    assert "Revision 2 of this report. It takes the place of report 2.25.42" in _lines(later, "About this report")
    assert not any("Revision" in line for line in _all(page_of(made.study())))


@pytest.mark.parametrize("code", RETRACTIONS)
def test_a_retraction_says_that_first_and_no_finding(made, code):
    """And which images it is about."""
    study = StudyResult(
        study_uid=made.source.study_uid, images=(), retraction=code, retracted=(made.source,), predecessor="2.25.42"
    )
    page = page_of(study)
    assert [section.title for section in page.sections] == ["Results taken back", "About this report"]
    assert page.sections[0].lines[0] == f"The results were taken back, because {RETRACTIONS[code].text}."
    assert page.sections[0].lines[-1] == f"Instance {made.source.uid}"


def test_every_report_says_what_it_is_for(made):
    """For research, by a machine, read by nobody."""
    page = page_of(made.study())
    assert page.notice == "Research use only, not a medical device"
    assert "A program wrote this. No physician has read or signed it." in _lines(page, "About this report")


def test_no_patient_data_stands_on_the_page(made):
    """The object that holds it names the patient; paper gets lost."""
    text = "\n".join(_all(page_of(made.full_study())))
    header = pydicom.dcmread(made.path, stop_before_pixels=True)
    for value in (header.PatientName, header.PatientID, header.PatientBirthDate, header.AccessionNumber):
        assert str(value) and str(value) not in text


def test_every_letter_is_one_that_every_font_has(made):
    """A foreign bundle may be called anything."""
    foreign = replace(made.result.model, name="肺\\\n²", backend="größe")
    image = ImageResult(source=made.source, view=View.PA, results=(ModelResult(model=foreign),))
    page = page_of(replace(made.full_study(), images=(image,)))
    assert all(" " <= letter <= "~" for line in _all(page) for letter in line)
    assert "?/?2 0.1.0, digest abababababab, on gr??e" in _lines(page, "Models")
