"""What the inspection lets pass: every object that we make, of every kind of source, and the faults of a source."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from cxrnode.domain.capability import REPORT_CLASSES, Kind, ReportClass
from cxrnode.domain.delivery import Geometry
from cxrnode.domain.finding import Mask
from cxrnode.evidence import codes, headers
from cxrnode.evidence.inspection import Inspected, inspect
from cxrnode.evidence.inspection.carried import PATIENT_AND_STUDY
from cxrnode.evidence.inspection.inspector import LINES
from cxrnode.evidence.inspection.sides import _side_in
from tests import inspecting
from tests.evidence_cases import case, instance_of
from tests.inspecting import judged_of, made, made_of, study_of

SOURCES = {
    "as it is": {},
    "odd rows and columns": {"rows": 301, "cols": 263},
    "MONOCHROME1, of a CR": {"photometric": "MONOCHROME1", "modality": "CR"},
    "no orientation": {"orientation": ""},
    "rotated": {"orientation": "F\\R"},
    "flipped": {"orientation": "R\\F"},
    "upside down": {"orientation": "R\\H"},
}


@pytest.mark.parametrize("changes", SOURCES.values(), ids=SOURCES)
def test_what_we_make_is_not_objected_to(changes, tmp_path):
    """Of every kind of object, on every kind of source."""
    everything = made(tmp_path, **changes)
    assert {one.kind for one in everything.objects} == set(Kind)
    assert everything.objections() == {}


@pytest.mark.parametrize("report_class", ReportClass)
def test_reports_of_every_class_and_strict_geometry_pass(report_class, tmp_path):
    """What a destination takes decides, and the rules follow."""
    assert made(tmp_path, report_class=report_class, geometry=Geometry.STRICT).objections() == {}


def test_a_report_without_segmentations_is_held_against_the_masks_of_the_result(tmp_path):
    """A destination that takes no SEG gets the numbers all the same."""
    alone = made(tmp_path, kinds=(Kind.SR,))
    assert alone.objections() == {}
    path = alone.of(Kind.SR).path
    path.write_bytes(re.sub(rb"(hemithorax.{0,400}DS\x04\x00)\d\d", rb"\g<1>77", path.read_bytes(), flags=re.DOTALL))
    assert "77" in "".join(alone.objections().values())


def test_a_source_without_spacing_has_shares_of_the_image(tmp_path):
    """Then the area is no area, and is still that of the mask."""
    one = case(tmp_path)
    header = pydicom.dcmread(one.path)
    for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
        if keyword in header:
            delattr(header, keyword)
    header.save_as(one.path)
    again = replace(one, source=instance_of(one.path))
    everything = made_of(again, study_of(again), tmp_path)
    assert b"AREASHARE" in everything.of(Kind.SR).path.read_bytes()
    assert everything.objections() == {}


def test_a_study_of_refused_images_alone_passes(tmp_path):
    """A report that says why nothing was analysed."""
    one = case(tmp_path)
    study = replace(study_of(one), images=())
    assert made_of(one, study, tmp_path).objections() == {}


def test_a_report_that_follows_another_names_it(tmp_path):
    """Of another class, and in a series of its own."""
    one = case(tmp_path)
    before = {"predecessor": "1.2.3.4", "predecessor_class": REPORT_CLASSES[ReportClass.ENHANCED], "revision": 2}
    assert made_of(one, study_of(one, **before), tmp_path).objections() == {}


def test_two_images_of_a_study_are_not_taken_for_each_other(tmp_path):
    """Each has its masks, its segmentations and its statements; the report speaks of both."""
    one = case(tmp_path)
    study = study_of(one, with_lateral=False)
    smaller = {label: np.roll(mask, 3, axis=0) & mask for label, mask in one.masks().items()}
    second = replace(study.images[0], source=one.lateral, results=judged_of(one.lateral, smaller).results)
    both = sorted((*study.images, second), key=lambda image: image.source.uid)
    everything = made_of(one, replace(study, images=tuple(both)), tmp_path)
    assert len([each for each in everything.objects if each.kind is Kind.SEG]) == 4
    assert everything.objections() == {}


def test_a_segmentation_of_the_other_image_is_objected_to(tmp_path):
    """It refers to an image that is not its own."""
    everything = made(tmp_path, kinds=(Kind.SEG,))
    swapped = [replace(each, source=everything.study.refused[0].source.uid) for each in everything.objects]
    said = inspect(everything.study, swapped, everything.sources)
    assert len(said) == len(swapped)
    assert all("refers to another image than its own" in text for text in said.values())


def test_a_retraction_passes(tmp_path):
    """It speaks of the images whose results are taken back, and of the report that it follows."""
    one = case(tmp_path)
    study = study_of(
        one, with_lateral=False, images=(), predecessor="1.2.3.4", retraction="wrong_result", retracted=(one.source,)
    )
    assert made_of(one, study, tmp_path, kinds=(Kind.SR, Kind.REJECTION)).objections() == {}


def test_the_faults_of_a_source_are_not_ours(tmp_path):
    """An odd date, a name too long and UIDs with leading zeros are carried over, and keep nothing back."""
    one = case(tmp_path)
    header = pydicom.dcmread(one.path)
    header["PatientID"]._value = "X" * 90
    header.PatientName = "=".join(["^^^^^^^^^" * 3] * 2)
    header.StudyDate = "20261399"
    header.PatientSex = "Q"
    header.LossyImageCompression = "01"
    header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID = "1.2.003.4"
    header.SpecificCharacterSet = "ISO IR 100"
    header.save_as(one.path)
    again = replace(one, source=instance_of(one.path))
    everything = made_of(again, study_of(again, with_lateral=False), tmp_path)
    assert everything.objections() == {}


def test_another_sources_name_in_another_character_set_passes(tmp_path):
    """Bytes are compared, not letters."""
    one = case(tmp_path)
    header = pydicom.dcmread(one.path)
    header.SpecificCharacterSet = "ISO_IR 100"
    header.PatientName = "Müller^Jörg"
    header.save_as(one.path)
    again = replace(one, source=instance_of(one.path))
    assert made_of(again, study_of(again, with_lateral=False), tmp_path).objections() == {}


def test_every_attribute_that_is_taken_over_is_known_as_the_sources():
    """What is added to the one table is added to the other: no patient data is handed to another program."""
    tags = [pydicom.datadict.tag_for_keyword(k) for k in (*headers._EMPTY_IF_MISSING, *headers._WHERE_STATED)]
    assert [hex(tag) for tag in tags if tag not in PATIENT_AND_STUDY] == []


def test_a_file_that_is_none_is_objected_to(tmp_path):
    """And so is the report that refers to it; nothing is raised."""
    everything = made(tmp_path)
    segmentation, report = everything.of(Kind.SEG), everything.of(Kind.SR)
    segmentation.path.write_bytes(b"not DICOM")
    objections = everything.objections()
    assert objections[segmentation.sop_instance_uid] == "the file cannot be read"
    assert report.sop_instance_uid in objections


def test_a_file_that_is_missing_is_objected_to(tmp_path):
    """What is not there cannot be sent."""
    everything = made(tmp_path)
    everything.of(Kind.PDF).path.unlink()
    assert list(everything.objections().values()) == ["the file cannot be read"]


def test_an_objection_is_short(tmp_path):
    """However much is wrong with an object, a person can read it."""

    def empty(dataset: Dataset) -> None:
        for element in list(dataset):
            if element.keyword.startswith(("Segment", "Bits", "Patient", "Study", "Content", "Shared", "Samples")):
                del dataset[element.tag]

    lines = made(tmp_path).objection(Kind.SEG, empty).split("\n")
    assert len(lines) == LINES
    assert re.fullmatch(r"and \d+ more", lines[-1])


def test_objections_hold_no_patient_data(tmp_path):
    """Whatever is wrong with the attributes of the patient is said without their values."""

    def spoil(dataset: Dataset) -> None:
        dataset.PatientName, dataset.PatientID = "SENTINEL^OTHER", "SENTINEL-1"
        dataset.AccessionNumber, dataset.StudyID = "SENTINEL-2", "SENTINEL-3"
        del dataset.Rows

    said = made(tmp_path).objection(Kind.SEG, spoil)
    assert "PatientName: not what the source states" in said
    assert "SENTINEL" not in said


def test_the_plain_function_looks_as_well(tmp_path):
    """It is given what the inspector is given."""
    everything = made(tmp_path, kinds=(Kind.PDF,))
    (one,) = everything.objects
    wrong = Inspected(kind=Kind.KOS, sop_instance_uid=one.sop_instance_uid, path=one.path)
    assert inspect(everything.study, [one], everything.sources) == {}
    assert "not that of its kind" in inspect(everything.study, [wrong], everything.sources)[one.sop_instance_uid]


def test_a_folder_of_sources_may_lack_one(tmp_path):
    """What cannot be compared with its source is compared with the others."""
    everything = made(tmp_path)
    first: Path = everything.sources[1]
    assert inspect(everything.study, everything.objects, {1: first}) == {}


@pytest.mark.parametrize(
    ("text", "side"),
    [
        ("Right lung", codes.RIGHT.value),
        ("Pneumothorax, left: indeterminate", codes.LEFT.value),
        ("Right-left asymmetry of lung area", ""),
        ("Pneumothorax by left_lung_net: present", ""),
        ("right and left", ""),
    ],
)
def test_a_side_is_a_word_of_its_own(text, side):
    """Neither an asymmetry nor the name of a model names one."""
    assert _side_in(text) == side


def test_a_film_that_says_only_that_it_was_compressed_with_loss_keeps_nothing_back(tmp_path):
    """Real films state 01 without method and ratio, which nobody else can know."""
    one = case(tmp_path)
    film = pydicom.dcmread(one.path)
    film.LossyImageCompression = "01"
    film.save_as(one.path)
    compressed = replace(one, source=instance_of(one.path))
    everything = made_of(compressed, study_of(compressed), tmp_path)
    assert "01" in {pydicom.dcmread(o.path).get("LossyImageCompression") for o in everything.objects}
    assert everything.objections() == {}


def test_a_region_in_pieces_is_outlined_by_its_largest_and_the_report_says_so(tmp_path, monkeypatch):
    """Air at an apex and air further down: the line is around one, the SEG shows both, and nothing is objected to."""
    whole = inspecting._apices

    def in_pieces(masks: dict[str, Mask]) -> Mask:
        air = whole(masks)
        rows = np.flatnonzero(air.any(axis=1))
        air[rows[len(rows) // 2] : rows[len(rows) // 2] + 6] = False
        return air

    monkeypatch.setattr(inspecting, "_apices", in_pieces)
    everything = made(tmp_path, kinds=(Kind.SEG, Kind.SR))
    assert everything.objections() == {}
    report = pydicom.dcmread(everything.of(Kind.SR).path)
    said = [str(element.value) for element in report.iterall() if element.keyword == "TextValue"]
    assert sum("the largest of 2 parts" in text for text in said) == 2
