"""What is taken over from a source: byte for byte, under its character set, and never into a log."""

from __future__ import annotations

import io
import logging
import warnings
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian

from cxrnode.domain.delivery import Geometry
from cxrnode.errors import CxrnodeError
from tests.evidence_cases import Case, case, composer, instance_of, kept, result_of, segmentations_of

YAMADA = b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B"
"""PS3.5 H.3.1: a Japanese name in ISO 2022 IR 87."""


@pytest.fixture
def made(tmp_path: Path) -> Case:
    """One case."""
    return case(tmp_path)


def _changed(made: Case, **values: object) -> Case:
    """The same case with other values in the source's header; None removes one, bytes are written as they are."""
    header = pydicom.dcmread(made.path)
    for keyword, value in values.items():
        if value is None:
            header.pop(keyword, None)
        elif isinstance(value, bytes):
            raw = header[keyword]
            header[keyword] = pydicom.dataelem.RawDataElement(
                raw.tag, raw.VR, len(value), value, 0, is_implicit_VR=False, is_little_endian=True
            )
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                header.add(pydicom.DataElement(keyword, pydicom.datadict.dictionary_VR(keyword), value, 0))
    header.save_as(made.path)
    return made


def _both(made: Case, folder: Path, **author: str) -> tuple[Dataset, Dataset]:
    """Compose and read SEG and SR."""
    evidence = composer(**author).segmentation(made.source, made.path, made.result, Geometry.VIEWER)
    segmentation = kept(folder, evidence)
    report = composer(**author).report(made.study(), made.paths(), segmentations_of(made.study(), **author))
    return pydicom.dcmread(segmentation), pydicom.dcmread(io.BytesIO(report.encoded))


def _raw(dataset: Dataset, keyword: str) -> bytes:
    held = dataset.get_item(keyword)
    assert held is not None
    return bytes(held.value).rstrip(b" \0")


def test_patient_and_study_are_the_sources(made, tmp_path):
    """What an archive files an object by."""
    source = pydicom.dcmread(made.path)
    for written in _both(made, tmp_path):
        for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID"):
            assert written.get(keyword) == source.get(keyword), keyword
        assert written.StudyInstanceUID == source.StudyInstanceUID
        assert (written.StudyDate, written.StudyTime) == (source.StudyDate, source.StudyTime)


def test_a_name_in_kanji_comes_back_byte_for_byte(made, tmp_path):
    """The classic fault: a name without its character set."""
    charset = ["", "ISO 2022 IR 87"]
    _changed(made, SpecificCharacterSet=charset)
    _changed(made, PatientName=YAMADA)
    for written in _both(made, tmp_path):
        assert _raw(written, "PatientName") == YAMADA
        assert list(written.SpecificCharacterSet) == charset
        assert written.PatientName.ideographic == "山田^太郎"


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        ("ISO_IR 192", "Müller^Jürgen".encode()),
        ("ISO_IR 100", "Müller^Jürgen".encode("latin-1")),
        ("ISO_IR 144", b"\xbb\xee\xda"),
        ("GB18030", "Wang^XiaoDong=王^小东".encode("gb18030")),
    ],
)
def test_any_character_set_comes_back(made, tmp_path, charset, name):
    """Whatever the modality writes in."""
    _changed(made, SpecificCharacterSet=charset)
    _changed(made, PatientName=name)
    for written in _both(made, tmp_path):
        assert _raw(written, "PatientName") == name
        assert written.SpecificCharacterSet == charset


def test_text_in_a_sequence_comes_back_byte_for_byte(made, tmp_path):
    """The requested procedure in the site's own language, from a source in implicit little endian."""
    header = pydicom.dcmread(made.path)
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "RT1", "99SITE", "Röntgen Thorax"
    header.SpecificCharacterSet, header.ProcedureCodeSequence = "ISO_IR 192", [code]
    del header.file_meta.TransferSyntaxUID
    header.save_as(made.path, implicit_vr=True, little_endian=True, enforce_file_format=False)
    assert "Röntgen Thorax".encode() in made.path.read_bytes()
    segmentation = composer().segmentation(made.source, made.path, made.result, Geometry.VIEWER)
    assert segmentation is not None
    assert "Röntgen Thorax".encode() in segmentation.encoded
    for written in _both(made, tmp_path):
        assert written.ProcedureCodeSequence[0].CodeMeaning == "Röntgen Thorax"


@pytest.mark.filterwarnings("ignore:Unknown encoding")
def test_an_unknown_character_set_does_not_stop_the_line(made, tmp_path):
    """It is written as it came: that it cannot be read is the source's matter."""
    _changed(made, SpecificCharacterSet="ISO_IR 999")
    _changed(made, PatientName=b"M\xfcller")
    for written in _both(made, tmp_path):
        assert _raw(written, "PatientName") == b"M\xfcller"
        assert written.SpecificCharacterSet == "ISO_IR 999"


def test_a_source_without_character_set_gives_objects_without_one(made, tmp_path):
    """ASCII is what is meant then."""
    _changed(made, SpecificCharacterSet=None)
    for written in _both(made, tmp_path):
        assert "SpecificCharacterSet" not in written


def test_missing_attributes_of_type_two_are_empty(made, tmp_path):
    """A source without study date, accession number or sex gives a valid object all the same."""
    missing = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime")
    missing = (*missing, "AccessionNumber", "StudyID", "ReferringPhysicianName")
    _changed(made, **dict.fromkeys(missing))
    for written in _both(made, tmp_path):
        for keyword in missing:
            assert keyword in written
            assert not written[keyword].value


@pytest.mark.parametrize(
    ("keyword", "value", "stays"),
    [
        ("PatientAge", b"62", False),
        ("PatientAge", b"062Y", True),
        ("PatientBirthDate", b"1960-01-01", False),
        ("PatientSex", b"X ", False),
        ("StudyTime", b"25:00", False),
        ("PatientID", b"an identifier longer than the sixty-four characters that an LO may hold", True),
    ],
)
def test_a_value_that_is_none_is_not_taken_over(made, tmp_path, keyword, value, stays):
    """A source's fault does not become ours; identifiers are never touched."""
    _changed(made, PatientAge="062Y")
    _changed(made, **{keyword: value})
    for written in _both(made, tmp_path):
        held = written.get_item(keyword)
        assert bool(held is not None and held.value) is stays


def test_a_source_without_meta_header_is_read(made, tmp_path):
    """Implicit little endian is what such a file is."""
    header = pydicom.dcmread(made.path)
    bare = tmp_path / "bare.dcm"
    plain = Dataset()
    plain.update(header)
    pydicom.dcmwrite(bare, plain, implicit_vr=True, little_endian=True, enforce_file_format=False)
    source = instance_of(bare)
    assert source.description.transfer_syntax_uid == ImplicitVRLittleEndian
    evidence = composer().segmentation(source, bare, result_of(made.masks()), Geometry.VIEWER)
    assert evidence is not None
    written = pydicom.dcmread(io.BytesIO(evidence.encoded))
    assert written.PatientName == header.PatientName


def test_the_moment_is_that_of_the_content_then_of_the_acquisition_then_of_the_study(made, tmp_path):
    """docs/decisions/0006 says why it is not the clock's."""
    dates = {
        "ContentDate": "20260105",
        "AcquisitionDate": "20260104",
        "SeriesDate": "20260103",
        "StudyDate": "20260102",
    }
    _changed(made, **dates)
    for keyword, date in dates.items():
        for written in _both(made, tmp_path):
            assert (written.ContentDate, written.SeriesDate) == (date, date)
            assert "InstanceCreationDate" not in written
        _changed(made, **{keyword: None})
    for written in _both(made, tmp_path):
        assert (written.ContentDate, written.ContentTime) == ("19000101", "000000")


@pytest.mark.parametrize(("stated", "setting", "wanted"), [("-0500", "+0100", "-0500"), (None, "+0100", "+0100")])
def test_the_time_zone_is_the_sources_else_the_settings(made, tmp_path, stated, setting, wanted):
    """DICOM times are local."""
    _changed(made, TimezoneOffsetFromUTC=stated)
    for written in _both(made, tmp_path, timezone_offset=setting):
        assert written.TimezoneOffsetFromUTC == wanted


def test_no_time_zone_is_stated_where_nobody_knows_it(made, tmp_path):
    """Neither the source nor the site says."""
    _changed(made, TimezoneOffsetFromUTC=None)
    for written in _both(made, tmp_path, timezone_offset=""):
        assert "TimezoneOffsetFromUTC" not in written


def test_no_patient_data_reaches_a_log_a_warning_or_an_error(made, tmp_path, caplog):
    """Sentinels that libraries like to complain about, first shown to be in the input."""
    sentinels = {"PatientName": b"SENTINELNAME Of=Four=Many=Parts ", "PatientID": b"SENTINELID", "PatientAge": b"SENT"}
    _changed(made, PatientAge="062Y", PatientBirthDate="19600101")
    _changed(made, **sentinels, PatientBirthDate=b"SENTBIRT")
    assert b"SENTINELNAME" in made.path.read_bytes()
    with caplog.at_level(logging.DEBUG), warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        segmentation, report = _both(made, tmp_path)
        with pytest.raises(CxrnodeError) as caught:
            composer().segmentation(made.source, tmp_path / "gone.dcm", made.result, Geometry.VIEWER)
    assert _raw(segmentation, "PatientID") == _raw(report, "PatientID") == b"SENTINELID"
    heard = caplog.text + str([str(warning.message) for warning in warned]) + repr(caught.value) + str(caught.value)
    assert "SENT" not in heard


@pytest.mark.parametrize("broken", ["ReferringPhysicianName", "StudyDescription", "PatientOrientation"])
def test_element_of_a_vr_that_is_none_is_left_out(tmp_path: Path, broken: str) -> None:
    """An element that pydicom cannot take at all counts as not stated; the rest is taken over."""
    made = case(tmp_path, modality="CR", rows=64, cols=64)
    content, tag = made.path.read_bytes(), pydicom.tag.Tag(pydicom.datadict.tag_for_keyword(broken) or 0)
    at = content.index(tag.group.to_bytes(2, "little") + tag.element.to_bytes(2, "little")) + 4
    made.path.write_bytes(content[:at] + b"QQ" + content[at + 2 :])
    for ours in _both(made, tmp_path):
        assert not ours.get(broken)
        assert ours.PatientID == "PHANTOM-1"


def test_broken_sequence_is_left_out(tmp_path: Path) -> None:
    """A sequence whose bytes are no items counts as not stated."""
    made = case(tmp_path, rows=64, cols=64)
    content = made.path.read_bytes()
    at = content.rindex(b"\xe0\x7f\x10\x00")
    broken = b"\x08\x00\x32\x10SQ\x00\x00\x04\x00\x00\x00abcd"  # Procedure Code Sequence
    made.path.write_bytes(content[:at] + broken + content[at:])
    for ours in _both(made, tmp_path):
        assert "ProcedureCodeSequence" not in ours
        assert ours.PatientID == "PHANTOM-1"
