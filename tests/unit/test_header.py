"""Headers as they come: what is read, what is digested, and that nothing bad is raised or warned."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
)

from cxrnode.domain.identity import AETitle, InstanceUID
from cxrnode.domain.study import Arrival, Description, Recorded, Sender, classify
from cxrnode.phantom import Defect, Patient, Radiograph, write
from cxrnode.pixels.header import HeaderReader, facts_of

NOBODY = Sender(calling_ae=AETitle("A"), called_ae=AETitle("B"), address="", association="")
FILM = Radiograph(rows=64, cols=48, identity="one", study="one", marker="")


@pytest.fixture
def describe(tmp_path: Path) -> Callable[..., Description]:
    """Write a film, or bytes, and describe the file."""
    path = tmp_path / "film.dcm"

    def one(film: Radiograph | bytes = FILM, *, uid: str = "", **changes: Any) -> Description:
        if isinstance(film, bytes):
            path.write_bytes(film)
        else:
            write(replace(film, **changes), path)
        arrival = Arrival(
            path=path, sop_class_uid="", sop_instance_uid=InstanceUID(uid), transfer_syntax_uid="", sender=NOBODY
        )
        return HeaderReader().describe(arrival)

    return one


def test_a_sound_header_is_read(describe: Callable[..., Description]) -> None:
    """UIDs, patient, and what selection needs."""
    said = describe()
    assert (said.sop_instance_uid, said.study_uid) == (FILM.uid("instance"), FILM.uid("study"))
    assert (said.patient.patient_id, said.patient.accession_number) == ("PHANTOM-1", "ACC00001")
    facts = said.facts
    assert (facts.modality, facts.view_position, facts.rows, facts.columns, facts.frames) == ("DX", "PA", 64, 48, 1)
    assert (facts.patient_orientation, facts.has_pixels, facts.photometric) == (("L", "F"), True, "MONOCHROME2")
    assert len(facts.spacing) == 2
    assert said.unreadable == ""


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, JPEGLSLossless]
)
def test_the_header_s_digest_does_not_depend_on_the_transfer_syntax(
    describe: Callable[..., Description], syntax: str
) -> None:
    """A recoded copy has the header of the first; of another name it has not."""
    plain, other = describe(), describe(transfer_syntax=syntax)
    assert other.facts == plain.facts
    assert describe(transfer_syntax=syntax, patient=Patient(name="Other^Name")).header_digest != other.header_digest
    assert other.header_digest == plain.header_digest


def test_digests_tell_a_corrected_name_from_other_pixels(describe: Callable[..., Description]) -> None:
    """The same again, a new header, another encoding, other pixels."""
    first = describe()
    assert classify(first, describe()) is Recorded.DUPLICATE
    assert classify(first, describe(patient=Patient(name="New^Name"))) is Recorded.REVISION
    assert classify(first, describe(transfer_syntax=JPEGLSLossless)) is Recorded.RECODED
    assert classify(first, describe(seed=2)) is Recorded.CONFLICT


@pytest.mark.parametrize(
    ("defect", "unreadable"),
    [
        (Defect.EMPTY, "not_dicom"),
        (Defect.GARBAGE, "not_dicom"),
        (Defect.NO_STUDY_UID, "no_study"),
        (Defect.NO_META, ""),
        (Defect.TRUNCATED, ""),
        (Defect.NO_TRANSFER_SYNTAX, ""),
        (Defect.WRONG_CHARACTER_SET, ""),
    ],
)
def test_each_defect_of_a_file_is_told(describe: Callable[..., Description], defect: Defect, unreadable: str) -> None:
    """No file raises, and none warns: a warning quotes values."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert describe(defect=defect).unreadable == unreadable


def test_a_film_without_pixels_has_none(describe: Callable[..., Description]) -> None:
    """And no digest of them."""
    said = describe(defect=Defect.NO_PIXELS)
    assert (said.facts.has_pixels, said.pixel_digest) == (False, "")


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.1", ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_a_file_may_end_anywhere(describe: Callable[..., Description], tmp_path: Path, syntax: str) -> None:
    """Cut after any number of bytes it is described, without an error and without a warning."""
    write(replace(FILM, transfer_syntax=syntax), tmp_path / "film.dcm")
    whole = (tmp_path / "film.dcm").read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for length in (*range(0, 600, 13), *range(600, len(whole), 211)):
            said = describe(whole[:length])
            assert said.unreadable in {"", "not_dicom", "no_study", "unreadable_header"}
            assert said.sop_instance_uid


def test_a_file_that_names_no_instance_is_named_by_its_content(describe: Callable[..., Description]) -> None:
    """The same bytes have the same name; the command's name comes first."""
    assert describe(b"text").sop_instance_uid == describe(b"text").sop_instance_uid
    assert describe(b"text").sop_instance_uid != describe(b"other").sop_instance_uid
    assert describe(b"text", uid="1.2.3").sop_instance_uid == "1.2.3"


def _facts(**elements: Any) -> Any:
    header = Dataset()
    for keyword, value in elements.items():
        setattr(header, keyword, value)
    return facts_of(header, has_pixels=True)


@pytest.mark.parametrize(
    ("elements", "spacing"),
    [
        ({"PixelSpacing": [0.2, 0.3], "ImagerPixelSpacing": [0.1, 0.1]}, (0.2, 0.3)),
        ({"ImagerPixelSpacing": [0.2, 0.2], "EstimatedRadiographicMagnificationFactor": 1.25}, (0.16, 0.16)),
        ({"PixelSpacing": [0, 0], "ImagerPixelSpacing": [0.1, 0.1]}, (0.1, 0.1)),
        ({"PixelSpacing": [0, 0]}, ()),
        ({"PixelSpacing": [-1, 1]}, ()),
        ({"PixelSpacing": None}, ()),
        ({}, ()),
    ],
)
def test_spacing_is_calibrated_else_the_detector_s_else_none(
    elements: dict[str, Any], spacing: tuple[float, ...]
) -> None:
    """Pixel Spacing, else Imager Pixel Spacing over the magnification; nothing that is not above zero."""
    assert _facts(**elements).spacing == pytest.approx(spacing)


def test_descriptions_of_the_series_stand_apart_from_what_it_shares() -> None:
    """Upper case, without an accent lost."""
    facts = _facts(StudyDescription="Chest PA and lateral", SeriesDescription="lateral", ProtocolName="Tórax")
    assert facts.words == "CHEST PA AND LATERAL LATERAL TÓRAX"
    assert facts.series_words == "LATERAL TÓRAX"


def test_codes_come_from_their_sequences() -> None:
    """View and region by their values; an item without a value is an empty one."""
    view = Dataset()
    view.CodeValue = "272479007"
    facts = _facts(ViewCodeSequence=[view], AnatomicRegionSequence=[Dataset()])
    assert (facts.view_codes, facts.region_codes) == (("272479007",), ("",))


def test_values_of_the_wrong_kind_state_nothing(tmp_path: Path, describe: Callable[..., Description]) -> None:
    """Text where a number belongs, and bytes that are no text."""
    write(FILM, tmp_path / "odd.dcm")
    odd = pydicom.dcmread(tmp_path / "odd.dcm")
    odd.add_new("NumberOfFrames", "IS", "")
    odd.add_new("Rows", "LO", "many")
    odd.add_new("ViewPosition", "CS", "")
    odd.add_new("PatientOrientation", "CS", ["L"])
    odd.save_as(tmp_path / "odd.dcm")
    facts = describe((tmp_path / "odd.dcm").read_bytes()).facts
    assert (facts.frames, facts.rows, facts.view_position, facts.patient_orientation) == (1, 0, "", ("L",))


def test_age_and_laterality_are_read(tmp_path: Path) -> None:
    """The image's own side comes before its series', and broken values are values not stated."""
    header = Dataset()
    assert (facts_of(header, has_pixels=True).age_years, facts_of(header, has_pixels=True).laterality) == (None, "")
    header.PatientAge, header.Laterality, header.ImageLaterality = "007Y", "L", "r"
    assert (facts_of(header, has_pixels=True).age_years, facts_of(header, has_pixels=True).laterality) == (7.0, "R")
    header.PatientAge, header.PatientBirthDate, header.StudyDate = "", "20100101", "20250101"
    assert facts_of(header, has_pixels=True).age_years == pytest.approx(15, abs=0.01)
