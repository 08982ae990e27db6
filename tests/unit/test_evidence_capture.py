"""Secondary Capture and presentation state: identity is a function, and nothing is taken for what it is not."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from cxrnode.domain.capability import PRESENTATION_STATE, SECONDARY_CAPTURE
from cxrnode.domain.selection import NotSuitable, select
from cxrnode.errors import NeedsOperator
from cxrnode.evidence import capture
from cxrnode.evidence.capture import capture_uid, compose_capture
from cxrnode.evidence.codes import INTENDED_USE
from cxrnode.evidence.drawing import drawing_of
from cxrnode.evidence.headers import read_header
from cxrnode.evidence.identity import series_uid
from cxrnode.evidence.painting import painted
from cxrnode.evidence.presentation import compose_presentation, presentation_uid
from tests.evidence_cases import case, instance_of
from tests.plain_viewers import Plain, author, composed, plain

IN_ANOTHER_PROCESS = """
import hashlib, sys
from pathlib import Path
from tests.plain_viewers import plain
made = plain(Path(sys.argv[1]))
print(hashlib.sha256(made.capture_file + made.presentation_file).hexdigest())
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Plain:
    """Both objects of one image; nobody changes it."""
    return plain(tmp_path_factory.mktemp("made"))


def test_both_are_the_same_bytes_in_another_process(made: Plain, tmp_path: Path) -> None:
    """Another hash seed, another folder, another time zone and another moment: the same files."""
    there = subprocess.run(
        [sys.executable, "-c", IN_ANOTHER_PROCESS, str(tmp_path)],
        env={**os.environ, "PYTHONHASHSEED": "4711", "TZ": "Asia/Tokyo", "PYTHONPATH": str(Path.cwd())},
        capture_output=True,
        text=True,
        timeout=180,
        check=True,
    )
    assert there.stdout.strip() == hashlib.sha256(made.capture_file + made.presentation_file).hexdigest()


def test_an_object_with_a_moment_of_its_own_is_refused(made: Plain, monkeypatch: pytest.MonkeyPatch) -> None:
    """The walk finds a date that nobody gave."""
    describe = capture._describe

    def with_clock(built: Dataset, *rest: object) -> None:
        describe(built, *rest)  # type: ignore[arg-type]
        built.DateOfSecondaryCapture = "20310101"

    monkeypatch.setattr(capture, "_describe", with_clock)
    with pytest.raises(NeedsOperator, match="clock or of chance"):
        compose_capture(author(), made.image, read_header(made.made.source, made.made.path), made.preview)


def test_uids_are_known_before_composing(made: Plain) -> None:
    """The line asks for the UID first, and composes only what is not kept; each has a series of its own."""
    assert made.capture.SOPInstanceUID == capture_uid(author(), made.image)
    assert made.presentation.SOPInstanceUID == presentation_uid(author(), made.image)
    for ds in (made.capture, made.presentation):
        assert ds.SeriesInstanceUID == series_uid(str(ds.SOPInstanceUID))
    assert (made.capture.SOPClassUID, made.presentation.SOPClassUID) == (SECONDARY_CAPTURE, PRESENTATION_STATE)


@pytest.mark.parametrize("uid_of", [capture_uid, presentation_uid])
def test_whatever_is_stated_is_part_of_the_identity(made: Plain, uid_of) -> None:
    """Another number, probability, model, content, reserve or author makes another object; the same again does not."""
    image, by = made.image, author()
    first, *others = image.results
    ratio, *numbers = first.measurements
    other_ratio = replace(first, measurements=(replace(ratio, value=0.61), *numbers))
    other_digest = replace(first, model=replace(first.model, digest="00" * 32))
    description = replace(image.source.description, header_digest="0" * 64)
    variants = [
        image,
        replace(image, results=(other_ratio, *others)),
        replace(image, results=(other_digest, *others)),
        replace(image, source=replace(image.source, description=description)),
        replace(image, caveats=()),
        replace(image, missing=()),
    ]
    uids = [uid_of(by, variant) for variant in variants]
    assert len(set(uids)) == len(variants)
    assert uid_of(by, replace(image)) == uids[0]
    assert uid_of(author(device_name="OTHER"), image) != uids[0]


def test_a_capture_holds_the_painted_picture(made: Plain) -> None:
    """Pixel for pixel, with the warning above the film and the caption below it."""
    capture_ = made.capture
    shown = capture_.pixel_array
    bare = painted(made.preview, drawing_of(made.image))
    above = shown.shape[0] - bare.shape[0]
    assert above > 20
    assert shown[:above].any()
    assert np.array_equal(shown[above:], bare)


def test_a_capture_says_that_it_is_derived_and_by_whom(made: Plain) -> None:
    """In what a viewer lists, not in its pixels alone."""
    ds = made.capture
    assert list(ds.ImageType) == ["DERIVED", "SECONDARY"]
    assert ds.SeriesDescription.startswith("cxrnode ")
    assert "models: lungs 0.1.0, pneumothorax 0.2.0" in ds.DerivationDescription
    assert INTENDED_USE in ds.DerivationDescription
    assert ds.ImageComments == f"Derived, not for diagnosis. {INTENDED_USE}."
    (source,) = ds.SourceImageSequence
    assert source.ReferencedSOPInstanceUID == made.made.source.uid


def test_nobody_can_measure_on_a_capture(made: Plain) -> None:
    """It states no spacing, though its source does."""
    assert "ImagerPixelSpacing" in read_header(made.made.source, made.made.path)
    keywords = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio")
    assert not any(keyword in made.capture for keyword in keywords)


def test_a_capture_that_comes_back_is_never_analysed(made: Plain, tmp_path: Path) -> None:
    """It looks like a chest radiograph to a network, and its header says that we wrote it (law 9)."""
    path = tmp_path / "back.dcm"
    path.write_bytes(made.capture_file)
    verdict = select(instance_of(path).facts)
    assert isinstance(verdict, NotSuitable)
    assert verdict.code == "own"
    disguised = replace(instance_of(path).facts, manufacturer="", modality="DX", body_part="CHEST")
    assert isinstance(select(disguised), NotSuitable), "a second reason stands behind the first"


@pytest.mark.parametrize("stated", ["YES", "NO", ""])
def test_what_is_burned_into_the_source_is_said_of_its_picture(tmp_path: Path, stated: str) -> None:
    """Our own words identify nobody; where the source is silent nothing is claimed."""
    made = case(tmp_path)
    ds = pydicom.dcmread(made.path)
    del ds.BurnedInAnnotation
    if stated:
        ds.BurnedInAnnotation = stated
    ds.save_as(made.path)
    assert composed(made).capture.get("BurnedInAnnotation", "") == stated


def test_the_loss_of_the_source_is_a_loss_of_its_picture(tmp_path: Path) -> None:
    """Once lossy, always lossy (PS3.3 C.7.6.1.1.5)."""
    made = case(tmp_path)
    ds = pydicom.dcmread(made.path)
    ds.LossyImageCompression, ds.LossyImageCompressionRatio = "01", "12.5"
    ds.LossyImageCompressionMethod = "ISO_15444_1"
    ds.save_as(made.path)
    capture_ = composed(made).capture
    assert (capture_.LossyImageCompression, capture_.LossyImageCompressionRatio) == ("01", 12.5)


def test_patient_and_study_are_taken_over_as_they_are(made: Plain) -> None:
    """Byte for byte, in both objects."""
    source = pydicom.dcmread(made.made.path)
    for ds in (made.capture, made.presentation):
        for keyword in ("PatientName", "PatientID", "StudyInstanceUID", "AccessionNumber", "SpecificCharacterSet"):
            assert ds[keyword].value == source[keyword].value


@pytest.mark.parametrize("compose", ["capture", "presentation"])
def test_the_source_orientation_and_moment_are_stated(made: Plain, compose: str) -> None:
    """The dates are those of the film (docs/decisions/0006)."""
    source, ds = pydicom.dcmread(made.made.path), getattr(made, compose)
    assert ds.SeriesDate == source.ContentDate
    if compose == "capture":
        assert list(ds.PatientOrientation) == list(source.PatientOrientation)
    else:
        assert (ds.PresentationCreationDate, ds.PresentationCreationTime) == (source.ContentDate, source.ContentTime)
        assert "ContentDate" not in ds


def test_a_presentation_state_composes_without_pixels(made: Plain) -> None:
    """The header is enough: where a film cannot be painted, its graphics can go out all the same."""
    header = read_header(made.made.source, made.made.path)
    assert "PixelData" not in header
    assert compose_presentation(author(), made.image, header).ContentDescription == INTENDED_USE
