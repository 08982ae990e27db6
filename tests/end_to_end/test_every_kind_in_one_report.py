"""Segmentation, classification and detection on one film: one SR, and a SEG for each model that draws."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pydicom
import pytest
import torch

from cxrnode.evidence.outline import outline
from cxrnode.inference.shelf import bundles_in
from cxrnode.phantom import Opacity, Pneumothorax, Radiograph, Side, write
from cxrnode.replay import Replay
from cxrnode.settings import load
from tests.fakes.bundle import BAND, write_tiny_bundle
from tests.films import films

SHIPPED = Path(__file__).parents[2] / "models" / "lungs"
NAMES = ("classifier", "lungs", "opacity", "pneumothorax")


def _sure(network: torch.nn.Module) -> None:
    last = [parameter for name, parameter in network.named_parameters() if name.endswith("bias")][-1]
    torch.nn.init.constant_(last, 4.0)


def _models(folder: Path) -> Path:
    """The lungs as shipped; beside them a mask, a classification and boxes that were never trained."""
    shutil.copytree(SHIPPED, folder / "lungs")
    write_tiny_bundle(folder / "classifier", kind="classification")
    write_tiny_bundle(folder / "opacity", kind="detection")
    air = folder / "pneumothorax"
    write_tiny_bundle(air, outputs=1, change=_sure)
    metadata = json.loads((air / "configs" / "metadata.json").read_text())
    metadata["network_data_format"]["outputs"]["pred"] |= {"num_channels": 1, "channel_def": {"0": "pneumothorax"}}
    rule = {"channel": "pneumothorax", "top_share": 0.01, "withheld": "it was never trained", **BAND}
    metadata["cxrnode"] |= {"operating_points": {"pneumothorax": 0.5}, "findings": {"pneumothorax": rule}}
    (air / "configs" / "metadata.json").write_text(json.dumps(metadata))
    for name in NAMES:
        file = folder / name / "configs" / "metadata.json"
        content = json.loads(file.read_text())
        content["cxrnode"]["name"] = name
        file.write_text(json.dumps(content))
    return folder


def _replayed(folder: Path, sources: list[Path]) -> list[dict[str, str]]:
    models = _models(folder / "models")
    settings = load(
        models={"folder": models, "enabled": tuple(bundles_in(models)), "state_withheld": True},
        inference={"device": "cpu", "image_seconds": 600, "stall_seconds": 600},
    )
    out = folder / "out"
    Replay(settings, sources, out).run(lambda stand: None)
    with (out / "findings.csv").open(encoding="utf-8", newline="") as table:
        return list(csv.DictReader(table))


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A replay of an ill phantom through every kind of model."""
    folder = tmp_path_factory.mktemp("all")
    write(Radiograph(lesions=(Pneumothorax(side=Side.RIGHT), Opacity(side=Side.LEFT))), folder / "film.dcm")
    _replayed(folder, [folder / "film.dcm"])
    return folder / "out"


def _row(out: Path) -> dict[str, str]:
    with (out / "findings.csv").open(encoding="utf-8", newline="") as table:
        (row,) = csv.DictReader(table)
    return row


def test_every_model_answers_on_one_film(out: Path) -> None:
    """None is missing, and each judged finding stands under its model."""
    row = _row(out)
    assert (row["outcome"], row["models"].split(), row["missing"]) == ("analysed", list(NAMES), "")
    judged = {model: set(findings) for model, findings in json.loads(row["findings"]).items()}
    assert judged == {
        "classifier": {"lung_opacity", "abnormal_chest", "covid19_pneumonia"},
        "opacity": {"lung_opacity"},
        "pneumothorax": {"pneumothorax"},
    }


def test_their_findings_meet_in_one_report_and_each_seg_stays_its_own(out: Path) -> None:
    """One SR that names every model; a SEG of the lungs and one of the pneumothorax."""
    row = _row(out)
    report = pydicom.dcmread(out / row["report"])
    assert report.Modality == "SR"
    text = str(report)
    assert all(name in text for name in NAMES)
    stated = "\n".join(outline(out / row["report"]))
    for concept in ("Pneumothorax (36118008, SCT)", "Opacity (112001, DCM)", "Cardiothoracic ratio (CTR, 99CXRNODE)"):
        assert concept in stated
    segments = sorted(outline(out / path)[0] for path in row["segmentations"].split())
    assert len(segments) == 2
    assert "Right lung" in segments[1]
    assert "neumothorax" in segments[0]
    assert len(list((out / "evidence").rglob("*.dcm"))) == 3


def test_the_overlay_is_there(out: Path) -> None:
    """One picture for the film."""
    assert (out / _row(out)["overlay"]).read_bytes().startswith(b"\x89PNG")


@pytest.mark.data
def test_real_films_of_every_folder_give_all_kinds_of_finding(data: Path, tmp_path: Path) -> None:
    """One film of each folder of plain pictures: each with one report that every model has a part in."""
    sources = [
        *films(data, "lungs", tmp_path / "films", source="jsrt"),
        *films(data, "opacity", tmp_path / "films", view="PA"),
        *films(data, "pneumothorax", tmp_path / "films", kind="whole film"),
    ]
    rows = _replayed(tmp_path, sources)
    assert len(rows) == len(sources) == 3
    for row in rows:
        assert (row["outcome"], row["models"].split(), row["missing"]) == ("analysed", list(NAMES), ""), row["file"]
        assert row["report"]
