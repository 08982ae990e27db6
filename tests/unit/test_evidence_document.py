"""The report as PDF and as pictures of its pages: the same words, the same bytes, in objects that are ours."""

from __future__ import annotations

import hashlib
import io
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import ImageFont
from pydicom.dataset import Dataset

from cxrnode.domain.finding import StudyResult
from cxrnode.domain.selection import NotSuitable, select
from cxrnode.evidence import document, pages
from cxrnode.evidence.encode import encoded
from cxrnode.evidence.page import page_of
from tests.evidence_cases import Case, case, composer, instance_of

AUTHOR = composer().author
IN_ANOTHER_PROCESS = """
import hashlib, sys
from pathlib import Path
from tests.evidence_cases import case
from tests.unit.test_evidence_document import files
made = case(Path(sys.argv[1]))
print(hashlib.sha256(b"".join(files(made, made.full_study()))).hexdigest())
"""
ELSEWHERE = {
    "PYTHONHASHSEED": "4711",
    "TZ": "Asia/Tokyo",
    "PYTHONPATH": str(Path.cwd()),
    "RL_pdfComments": "1",
    "RL_pageCompression": "1",
}
_DRAWN = re.compile(rb"\((.*)\) Tj")


@pytest.fixture
def made(tmp_path: Path) -> Case:
    """One case."""
    return case(tmp_path)


def files(made: Case, study: StudyResult) -> list[bytes]:
    """Give the PDF and every page as DICOM files."""
    found = [document.compose_document(AUTHOR, study, made.headers())]
    found += _pages(made, study)
    return [encoded(built, AUTHOR.software_version) for built in found]


def _pages(made: Case, study: StudyResult) -> Iterator[Dataset]:
    for number, _ in enumerate(pages.page_uids(AUTHOR, study), 1):
        yield pages.compose_page(AUTHOR, study, made.headers(), number)


def _written(made: Case, study: StudyResult) -> tuple[Dataset, bytes]:
    """The document as it is read back, and the PDF in it."""
    read = pydicom.dcmread(io.BytesIO(files(made, study)[0]))
    return read, read.EncapsulatedDocument[: read.EncapsulatedDocumentLength]


def _texts(pdf: bytes) -> str:
    """What stands in a PDF that is not compressed, with single spaces."""
    drawn = (line.decode("ascii") for line in _DRAWN.findall(pdf))
    return " ".join(re.sub(r"\\(.)", r"\1", line) for line in drawn)


def test_both_are_the_same_bytes_in_another_process(made, tmp_path):
    """Another hash seed, another time zone, other wishes of the environment: nothing comes from them."""
    here = hashlib.sha256(b"".join(files(made, made.full_study()))).hexdigest()
    other = tmp_path / "other"
    other.mkdir()
    there = subprocess.run(
        [sys.executable, "-c", IN_ANOTHER_PROCESS, str(other)],
        env={**os.environ, **ELSEWHERE},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert there.stdout.strip() == here


def test_both_are_the_same_bytes_under_another_clock(made, monkeypatch):
    """The PDF states the moment of the images, not that of its making."""
    first = files(made, made.study())
    monkeypatch.setattr(time, "time", lambda: 946684799.0)
    assert files(made, made.study()) == first
    _, pdf = _written(made, made.study())
    header = pydicom.dcmread(made.path, stop_before_pixels=True)
    moment = f"D:{header.ContentDate}{header.ContentTime[:6]}".encode()
    assert set(re.findall(rb"D:\d+", pdf)) == {moment}


def test_the_pdf_says_every_word_of_the_report(made):
    """In its order, on as many sheets as it takes."""
    study = made.full_study()
    _, pdf = _written(made, study)
    said = _texts(pdf)
    at = 0
    for section in page_of(study).sections:
        for line in (section.title, *section.lines):
            words = [re.escape(word) for word in line.split()]
            found = re.compile(r" (?:Research use .{1,90} Page 1 of 2 )?".join(words)).search(said, at)
            assert found, line
            at = found.end()
    assert said.count("Research use only, not a medical device. Written by cxrnode") == 2


def test_the_document_says_what_it_is(made):
    """A document of unverified content, of these images, with no patient written on it."""
    read, pdf = _written(made, made.study(with_lateral=True))
    assert pdf.startswith(b"%PDF-1.4") and pdf.rstrip().endswith(b"%%EOF")
    assert (read.Modality, read.MIMETypeOfEncapsulatedDocument) == ("DOC", "application/pdf")
    assert (read.BurnedInAnnotation, read.VerificationFlag) == ("NO", "UNVERIFIED")
    assert read.DocumentTitle == "Automatic analysis of chest radiographs. Research use only, not a medical device"
    named = [item.ReferencedSOPInstanceUID for item in read.SourceInstanceSequence]
    assert set(named) == {made.source.uid, made.lateral.uid}
    header = pydicom.dcmread(made.path, stop_before_pixels=True)
    assert read.PatientName == header.PatientName
    assert str(header.PatientName).encode() not in pdf


def test_brackets_in_a_name_do_not_end_a_text_of_the_pdf(made):
    """A foreign model's name is written, not obeyed."""
    named = replace(made.result, model=replace(made.result.model, name="a) Tj (b\\) ET"))
    study = replace(made.study(), images=(replace(made.study().images[0], results=(named,)),))
    assert "a) Tj (b/) ET 0.1.0, digest" in _texts(_written(made, study)[1])


def test_the_uid_follows_from_what_is_stated(made):
    """Another word, image header or author makes another document; the same makes the same."""
    study = made.study()
    first = document.document_uid(AUTHOR, study), pages.page_uids(AUTHOR, study)
    assert (document.document_uid(AUTHOR, made.study()), pages.page_uids(AUTHOR, made.study())) == first
    image = study.images[0]
    corrected = replace(made.source, description=replace(made.source.description, header_digest="another"))
    others = [
        (AUTHOR, replace(study, predecessor="2.25.42")),
        (AUTHOR, replace(study, images=(replace(image, missing=(("gate", "model_failed"),)),))),
        (AUTHOR, replace(study, images=(replace(image, source=corrected),))),
        (replace(AUTHOR, device_name="OTHER"), study),
        (replace(AUTHOR, timezone_offset="+0900"), study),
    ]
    uids = {document.document_uid(*other) for other in others} | {pages.page_uids(*other)[0] for other in others}
    assert len(uids | {first[0], first[1][0]}) == 2 * len(others) + 2


def test_pages_are_one_series_in_their_order(made):
    """A viewer turns them like images of a series."""
    study = made.full_study()
    found = list(_pages(made, study))
    assert [page.InstanceNumber for page in found] == [1, 2]
    assert [page.SOPInstanceUID for page in found] == list(pages.page_uids(AUTHOR, study))
    assert {page.SeriesInstanceUID for page in found} == {pages.pages_series_uid(pages.page_uids(AUTHOR, study))}


def test_a_page_is_black_letters_on_white(made):
    """Nothing touches the margin; letters fill a few parts in a hundred of the sheet."""
    first, second = (pydicom.dcmread(io.BytesIO(file)).pixel_array for file in files(made, made.full_study())[1:])
    for picture in (first, second):
        assert (picture.dtype, picture.shape) == (np.uint8, (1202, 850))
        inside = picture[64:-50, 64:-64]
        assert (picture < 255).sum() == (inside < 255).sum()
        assert 0.01 < (inside < 128).mean() < 0.2
    assert not np.array_equal(first, second)


def test_the_font_has_every_letter_of_a_page():
    """A letter that it lacks would be drawn as a box."""
    font = ImageFont.load_default(16)
    lacking = bytes(font.getmask("\uffff"))
    drawn = {letter: bytes(font.getmask(letter)) for letter in map(chr, range(ord("!"), ord("~") + 1))}
    assert lacking not in drawn.values()
    assert bytes(font.getmask("²")) == lacking


def test_the_node_never_reads_them_as_input(made, tmp_path):
    """What came back from the archive is ours, whatever else it looks like."""
    for number, content in enumerate(files(made, made.full_study())):
        path = tmp_path / f"{number}.dcm"
        path.write_bytes(content)
        judged = select(instance_of(path).facts)
        assert isinstance(judged, NotSuitable) and judged.code == "own"
