"""Key objects, rejection notes, PDF and pages before independent readers: dciodvfy, PixelMed, DCMTK, Poppler."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset

from cxrnode.domain.capability import KEY_OBJECT_SELECTION, REPORT_CLASSES, SECONDARY_CAPTURE, SEGMENTATION
from cxrnode.domain.finding import RefusedImage, StudyResult
from cxrnode.domain.reasons import RETRACTIONS
from cxrnode.evidence import document, key_objects, pages
from cxrnode.evidence.encode import encoded
from cxrnode.evidence.key_objects import Rejected
from tests import checkers, peers
from tests.evidence_cases import Case, case, composer, instance_of

pytestmark = pytest.mark.peers

AUTHOR = composer().author
KINDS = {
    "dx": {},
    "cr_monochrome1": {"modality": "CR", "photometric": "MONOCHROME1", "rows": 301, "cols": 263},
    "turned": {"orientation": "F\\R"},
}
REAL_CHESTS = ("RG1_J2KI.dcm", "CR-MONO1-10-chest.dcm", "1.2.276.0.7230010.3.1.4.8323329.6904.1517875201.850819.dcm")
REJECTED = (
    Rejected(sop_class_uid=SEGMENTATION, sop_instance_uid="2.25.1"),
    *(Rejected(sop_class_uid=uid, sop_instance_uid=f"2.25.{n}") for n, uid in enumerate(REPORT_CLASSES.values(), 2)),
    Rejected(sop_class_uid=KEY_OBJECT_SELECTION, sop_instance_uid="2.25.5"),
    *(Rejected(sop_class_uid=SECONDARY_CAPTURE, sop_instance_uid=f"2.25.{n}", series="2.25.70") for n in (6, 7)),
)


def _studies(made: Case) -> dict[str, StudyResult]:
    """A study with everything, one that nothing was found in, one that nothing was analysed of, a retraction."""
    study_uid = made.source.study_uid
    refused = (RefusedImage(source=made.lateral, code="lateral"),)
    nothing = replace(made.study().images[0], results=(replace(made.result, findings=()),))
    return {
        "full": made.full_study(),
        "nothing": replace(made.study(predecessor="2.25.42"), images=(nothing,), revision=2),
        "refused": StudyResult(study_uid=study_uid, images=(), refused=refused),
        "retracted": StudyResult(study_uid=study_uid, images=(), retraction="test", retracted=(made.source,)),
    }


def _composed(made: Case, study: StudyResult, headers: dict[int, Dataset]) -> Iterator[Dataset]:
    yield document.compose_document(AUTHOR, study, headers)
    for number, _ in enumerate(pages.page_uids(AUTHOR, study), 1):
        yield pages.compose_page(AUTHOR, study, headers, number)
    if key_objects.positive(study):
        yield key_objects.compose_key_objects(AUTHOR, study, headers)
    header = headers[made.source.row]
    for code in RETRACTIONS:
        yield key_objects.compose_rejection(AUTHOR, study.study_uid, made.source, header, REJECTED, code)


def _kept(folder: Path, built: Dataset) -> Path:
    path = folder / f"{built.SOPInstanceUID}.dcm"
    path.write_bytes(encoded(built, AUTHOR.software_version))
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_dciodvfy_finds_no_error_in_any_of_them(kind, tmp_path, checked):
    """Whatever was found, and of whatever image."""
    made = case(tmp_path, **KINDS[kind])
    found = [built for study in _studies(made).values() for built in _composed(made, study, made.headers())]
    assert len(found) > 20
    for built in found:
        assert checked(checkers.dciodvfy_errors, _kept(tmp_path, built)) == []


@pytest.mark.data
@pytest.mark.parametrize("name", REAL_CHESTS)
def test_dciodvfy_finds_no_error_in_those_of_real_chests(name, data, tmp_path, checked):
    """Real headers: no dates, an age without unit, Secondary Capture."""
    source = instance_of(data / "dicom" / name)
    made = case(tmp_path)
    made = replace(made, source=source, path=data / "dicom" / name)
    for built in _composed(made, made.study(), made.headers()):
        assert checked(checkers.dciodvfy_errors, _kept(tmp_path, built)) == []


def test_pixelmed_finds_no_error_in_key_objects_and_notes(tmp_path, checked):
    """The template of TID 2010, which asks more of a rejection for quality than of one for safety."""
    made = case(tmp_path)
    selections = [built for built in _composed(made, made.full_study(), made.headers()) if built.Modality == "KO"]
    titles = {built.ConceptNameCodeSequence[0].CodeValue: built for built in selections}
    assert set(titles) == {"113000", "113001", "113037"}
    for title in ("113000", "113001"):
        assert checked(checkers.pixelmed_errors, _kept(tmp_path, titles[title])) == []


def test_dcmtk_takes_out_the_pdf_that_was_put_in(tmp_path, needs):
    """Byte for byte, and Poppler reads its words."""
    needs("dcm2pdf", "pdftotext")
    made = case(tmp_path)
    built = document.compose_document(AUTHOR, made.full_study(), made.headers())
    taken_out = tmp_path / "out.pdf"
    peers.run("dcm2pdf", _kept(tmp_path, built), taken_out)
    content = taken_out.read_bytes()
    assert content[: built.EncapsulatedDocumentLength] == built.EncapsulatedDocument[: built.EncapsulatedDocumentLength]
    assert len(content) - built.EncapsulatedDocumentLength in {0, 1}
    words = " ".join(peers.run("pdftotext", "-layout", taken_out, "-").stdout.split())
    assert "Image 1, present: pneumothorax (right and left, off by default)" in words
    assert "Right pneumothorax: 14.3 % of the area of its hemithorax." in words
    assert words.count("Research use only, not a medical device. Written by cxrnode") == 2


def test_orthanc_keeps_them_and_gives_the_pdf_back(tmp_path, needs):
    """C-STORE of each, the pages in one series; the PDF is the bytes that were written."""
    needs("Orthanc", "dcmsend")
    made = case(tmp_path)
    study = made.full_study()
    found = list(_composed(made, study, made.headers()))
    with peers.start_orthanc(tmp_path / "orthanc") as archive:
        files = [_kept(tmp_path, built) for built in found]
        peers.run("dcmsend", "-aec", archive.ae_title, peers.LOOPBACK, archive.port, *files)
        held = archive.instances()
        assert set(held) == {str(built.SOPInstanceUID) for built in found}
        pdf = archive.ask(f"/instances/{held[document.document_uid(AUTHOR, study)]}/pdf")
        series = {archive.ask(f"/instances/{held[uid]}")["ParentSeries"] for uid in pages.page_uids(AUTHOR, study)}
    length = found[0].EncapsulatedDocumentLength
    assert pdf[:length] == found[0].EncapsulatedDocument[:length]
    assert len(series) == 1


def test_dcmtk_shows_a_page_as_it_was_drawn(tmp_path, needs):
    """White as white, black as black, under the window that the object states."""
    needs("dcm2pnm")
    made = case(tmp_path)
    built = pages.compose_page(AUTHOR, made.study(), made.headers(), 1)
    shown = tmp_path / "page.pgm"
    peers.run("dcm2pnm", "--use-window", "1", _kept(tmp_path, built), shown)
    drawn = np.frombuffer(built.PixelData, dtype=np.uint8).reshape(built.Rows, built.Columns)
    assert np.array_equal(np.asarray(Image.open(shown)), drawn)


def test_dcmtk_reads_what_a_note_takes_back(tmp_path, checked, needs):
    """Each reference, and the reason in a sentence."""
    needs("dsrdump")
    made = case(tmp_path)
    header = made.headers()[made.source.row]
    note = key_objects.compose_rejection(AUTHOR, made.source.study_uid, made.source, header, REJECTED, "wrong_patient")
    text = checkers.dsrdump(_kept(tmp_path, note))
    assert '"Rejected for Patient Safety Reasons"' in text
    assert "because the images are not of this patient" in text
    assert text.count("contains IMAGE") == 3
    assert text.count("contains COMPOSITE") == 4


def test_checkers_refuse_a_selection_that_names_a_purpose(tmp_path, checked):
    """Negative control: a purpose of reference, as a toolkit writes it by default, is an error for PixelMed."""
    made = case(tmp_path)
    path = _kept(tmp_path, key_objects.compose_key_objects(AUTHOR, made.full_study(), made.headers()))
    altered = pydicom.dcmread(path)
    for item in altered.ContentSequence:
        if "ReferencedSOPSequence" in item:
            item.ConceptNameCodeSequence = altered.ConceptNameCodeSequence
    altered.save_as(path)
    assert checked(checkers.pixelmed_errors, path)


@pytest.mark.parametrize("keyword", ["MIMETypeOfEncapsulatedDocument", "BurnedInAnnotation", "ConversionType"])
def test_checkers_refuse_a_document_that_lacks_what_it_must_say(keyword, tmp_path, checked):
    """Negative control: dciodvfy misses each."""
    made = case(tmp_path)
    built = document.compose_document(AUTHOR, made.study(), made.headers())
    altered = pydicom.dcmread(io.BytesIO(encoded(built, AUTHOR.software_version)))
    delattr(altered, keyword)
    path = tmp_path / "altered.dcm"
    altered.save_as(path)
    assert checked(checkers.dciodvfy_errors, path)
