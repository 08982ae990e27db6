"""A patient's name, id and birth date stay inside the child, whatever is wrong with the file."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from cxrnode import telemetry
from cxrnode.domain.finding import ImagePrediction
from cxrnode.inference import process
from cxrnode.inference.predictor import ChildPredictor
from cxrnode.phantom import Patient, Radiograph, render
from cxrnode.ports import Request
from tests.fakes.bundle import write_tiny_bundle

NAME, PATIENT_ID, BIRTH_DATE = "Sentinelova^Zdenka", "SENTINEL-4711", "19291009"
SENTINELS = (NAME, "Sentinelova", "Zdenka", PATIENT_ID, BIRTH_DATE)

BROKEN_ATTRIBUTES = ("PixelSpacing", "WindowCenter", "WindowWidth", "RescaleSlope", "PatientOrientation", "PatientAge")


def broken(folder: Path, keyword: str) -> Path:
    """Write a file one of whose attributes, meant for a number or a code, holds the patient's name and birth date.

    pydicom quotes such values in warnings and in errors.
    """
    ds = render(
        Radiograph(
            rows=300,
            cols=280,
            modality="CR",
            patient=Patient(name=NAME, patient_id=PATIENT_ID, birth_date=BIRTH_DATE),
        )
    ).dataset
    _overwrite(ds, keyword)
    path = folder / f"{keyword}.dcm"
    ds.save_as(path, enforce_file_format=False)
    content = path.read_bytes()
    assert NAME.encode() in content
    assert content.count(BIRTH_DATE.encode()) >= 2, "once where it belongs, once where it breaks something"
    return path


def _overwrite(ds: Dataset, keyword: str) -> None:
    """Put text where it does not belong: written under a VR that takes any text, read again under the right one."""
    from pydicom.datadict import tag_for_keyword
    from pydicom.dataelem import DataElement
    from pydicom.uid import ImplicitVRLittleEndian

    ds.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    tag = tag_for_keyword(keyword)
    assert tag is not None
    ds[tag] = DataElement(tag, "LT", f"{NAME} {PATIENT_ID} {BIRTH_DATE} ")


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> bytearray:
    """Give what the child writes, before the node's own reader counts it."""
    text = bytearray()
    real = process._some

    def overhear(output: io.BufferedReader) -> bytes:
        said = real(output)
        text.extend(said)
        return said

    monkeypatch.setattr(process, "_some", overhear)
    return text


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Give the node's log at DEBUG."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(telemetry._JsonLines())
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream
    root.removeHandler(handler)
    root.setLevel(level)


def told(answers: list[ImagePrediction]) -> str:
    """Give every text of the answers."""
    return " ".join(f"{answer.failure} {answer.failed}" for answer in answers)


def test_nothing_of_the_patient_leaves_the_child(tmp_path: Path, heard: bytearray, log: io.StringIO) -> None:
    """Broken attributes that hold the patient's data, and a file cut off in mid-header, give answers without it."""
    paths = [broken(tmp_path, keyword) for keyword in BROKEN_ATTRIBUTES]
    cut = tmp_path / "cut.dcm"
    cut.write_bytes(paths[0].read_bytes()[:900])
    bundle = write_tiny_bundle(tmp_path / "tiny")
    requests = [
        Request(row=row, path=path, transfer_syntax_uid="", models=("tiny",)) for row, path in enumerate([*paths, cut])
    ]
    with ChildPredictor({"tiny": bundle}, device="cpu") as predictor:
        answers = list(predictor.predict(requests, lambda: None))
    assert answers[-1].failure is not None
    for sentinel in SENTINELS:
        assert sentinel.encode() not in heard
        assert sentinel not in told(answers)
        assert sentinel not in log.getvalue()


def test_what_a_child_says_is_counted_and_not_repeated(log: io.StringIO) -> None:
    """Lines of another library, a patient's name among them, are a number in the log; a crash keeps its place."""
    crash = (
        f"{NAME} {BIRTH_DATE}\nFatal Python error: Segmentation fault\n\n"
        "Current thread 0x01 (most recent call first):\n"
        '  File "/somewhere/codec.py", line 12 in decode\n  File "/somewhere/desk.py", line 3 in run\n'
    )
    reader, writer = os.pipe()
    os.write(writer, crash.encode())
    os.close(writer)
    speaker = subprocess.Popen(["true"])
    speaker.wait()
    speaker.stdout = os.fdopen(reader, "rb")
    process._count_lines(speaker)
    said = [json.loads(line) for line in log.getvalue().splitlines()]
    assert [(each["event"], each["count"], each["where"]) for each in said] == [("child_spoke", 6, "codec.py:12")]
