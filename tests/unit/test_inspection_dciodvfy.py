"""What dciodvfy says becomes an objection, without patient data and without the source's faults."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pydicom
import pytest

from cxrnode.domain.capability import Kind
from cxrnode.evidence.inspection import Inspector, dciodvfy
from tests.evidence_cases import case, instance_of
from tests.inspecting import Made, made, made_of, study_of

NAME, NUMBER = "SENTINEL^PATIENT", "SENTINEL-4711"


def _program(folder: Path, *lines: str) -> str:
    """A stand-in that says these lines, whatever it is given."""
    path = folder / "stand-in"
    path.write_text("#!/bin/sh\n" + "\n".join(lines) + "\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def document(tmp_path: Path) -> Made:
    """A study of which one object is looked at."""
    return made(tmp_path, kinds=(Kind.KOS,))


def test_errors_are_objections_and_warnings_are_not(document, tmp_path):
    """It says both, and its exit status means nothing."""
    program = _program(tmp_path, "echo 'Warning - odd' >&2", "echo 'Error - Missing attribute' >&2", "exit 1")
    assert [*document.objections(program).values()] == ["dciodvfy: Missing attribute"]


def test_values_are_not_quoted(document, tmp_path):
    """It quotes what it finds wrong; names of attributes and modules are kept."""
    said = "Error - Value invalid - (0x0010,0x0020) LO Patient ID LO [1] = <SECRET> - Length invalid for this VR"
    other = "Error - Unrecognized enumerated value <SECRET> for value 1 of attribute <Modality>"
    program = _program(tmp_path, f"echo '{said}'", f"echo '{other}'")
    (objection,) = document.objections(program).values()
    assert "SECRET" not in objection
    assert "Patient ID LO [1] = <...> - Length" in objection
    assert "attribute <Modality>" in objection


def test_it_is_given_nothing_of_the_patient(tmp_path):
    """Neither as a file name, nor as what it reads; what is ours is there."""
    one = case(tmp_path)
    header = pydicom.dcmread(one.path)
    header.PatientName, header.PatientID, header.AccessionNumber = NAME, NUMBER, "SENTINEL-1"
    header.save_as(one.path)
    again = replace(one, source=instance_of(one.path))
    everything = made_of(again, study_of(again, with_lateral=False), tmp_path)
    seen = tmp_path / "seen"
    program = _program(tmp_path, f"cat >> {seen}", f"echo $0 $* >> {seen}")
    assert everything.objections(program) == {}
    given = seen.read_bytes()
    assert b"SENTINEL" not in given
    assert given.count(b"DICM") == len(everything.objects)
    assert all(one.sop_instance_uid.encode() in given for one in everything.objects)


def test_what_it_says_of_the_sources_uids_is_not_held_against_us(document, tmp_path):
    """A modality that writes leading zeros keeps no object back."""
    uid = document.study.study_uid
    program = _program(tmp_path, f"echo 'Error - Value invalid for this VR - UI [1] = <{uid}> - Leading zeroes'")
    assert document.objections(program) == {}


@pytest.mark.parametrize(
    "said",
    [
        "Illegal character in PatientOrientation - 9 - only L, R, A, P, H or F permitted",
        "Value invalid for this VR - (0x0020,0x0020) CS Patient Orientation  CS [1] = <a> - Character invalid",
        "LookupTableData bad - Modality LUT - LUT Descriptor number of bits = 16 but maximum LUT Data value is 0x3ff",
        "Illegal root for UID - 0.1 in (0x0020,0x0052) Frame of Reference UID",
    ],
)
def test_what_it_says_of_how_the_source_lies_is_not_held_against_us(said, document, tmp_path):
    """It names an attribute now by its keyword, now by its tag."""
    assert document.objections(_program(tmp_path, f"echo 'Error - {said}'")) == {}


def test_without_it_nothing_is_missing(document):
    """Its absence is no objection; nor is a program that cannot be run."""
    assert document.objections("") == {}
    assert document.objections("/nowhere/dciodvfy") == {}


def test_it_is_not_waited_for(document, tmp_path, monkeypatch):
    """One that hangs is given up, and is no objection."""
    monkeypatch.setattr(dciodvfy, "SECONDS", 0.05)
    reading = tmp_path / "never"
    os.mkfifo(reading)
    assert document.objections(_program(tmp_path, f"exec cat {reading}")) == {}


def test_it_is_looked_for_when_an_inspector_is_made(tmp_path, monkeypatch):
    """On the path, once."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert Inspector().program == ""
    Path(_program(tmp_path)).rename(tmp_path / "dciodvfy")
    assert Inspector().program == str(tmp_path / "dciodvfy")


@pytest.mark.skipif(not shutil.which("dciodvfy"), reason="dciodvfy is not installed")
def test_the_real_one_finds_nothing_in_what_we_make_and_what_we_break(tmp_path):
    """Every kind of object, on a source with faults of its own; and a segment without its number."""
    one = case(tmp_path)
    header = pydicom.dcmread(one.path)
    header["PatientID"]._value = "SENTINEL" * 12
    header.PatientName = "^" * 12
    header.StudyDate, header.PatientSex = "20261399", "Q"
    header.LossyImageCompression = "01"
    header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID = "1.2.003.4"
    header.save_as(one.path)
    again = replace(one, source=instance_of(one.path))
    everything = made_of(again, study_of(again, with_lateral=False), tmp_path)
    program = dciodvfy.find()
    assert everything.objections(program) == {}
    broken = pydicom.dcmread(everything.of(Kind.SEG).path)
    del broken.SegmentSequence[0].SegmentNumber
    broken.save_as(everything.of(Kind.SEG).path)
    said = everything.objections(program)[everything.of(Kind.SEG).sop_instance_uid]
    assert "dciodvfy: Missing attribute Type 1 Required Element=<SegmentNumber>" in said
    assert "SENTINEL" not in said
