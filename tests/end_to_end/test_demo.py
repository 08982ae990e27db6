"""`cxrnode demo`: what a newcomer sees first, twice the same."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pydicom
import pytest
from PIL import Image

from cxrnode.phantom import Radiograph, render

CXRNODE = Path(sys.executable).parent / "cxrnode"


def _demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([CXRNODE, "demo", *arguments], capture_output=True, text=True, timeout=180)


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A demo for a person."""
    out = tmp_path_factory.mktemp("first") / "out"
    return out, _demo("--out", str(out))


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A demo for a script, from another empty folder."""
    ended = _demo("--json", "--out", str(tmp_path_factory.mktemp("second") / "out"))
    assert ended.returncode == 0, ended.stderr
    return dict(json.loads(ended.stdout))


def test_it_says_what_came_back(spoken: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    """The objects' paths, the findings as a person reads them, the overlay and the time; nothing on standard error."""
    out, ended = spoken
    assert (ended.returncode, ended.stderr) == (0, "")
    for said in (f"  SEG  {out}", f"  SR  {out}", "Cardiothoracic ratio: 0.", "from the C-STORE response", "cm²"):
        assert said in ended.stdout
    assert f"overlay: {out / 'overlay.png'}" in ended.stdout
    assert (out / "overlay.png").read_bytes().startswith(b"\x89PNG")
    assert "Research use, not a medical device." in ended.stdout


def test_two_demos_give_seg_and_sr_of_equal_sha256(
    spoken: tuple[Path, subprocess.CompletedProcess[str]], shown: dict[str, Any]
) -> None:
    """Two runs from empty folders, in two processes, with two ports: the same bytes came back to the archive."""
    kinds = [one["kind"] for one in shown["evidence"]]
    assert (kinds.count("SR"), set(kinds)) == (1, {"SEG", "SR"})
    for one in shown["evidence"]:
        assert hashlib.sha256(Path(one["path"]).read_bytes()).hexdigest() == one["sha256"]
        assert f"sha256 {one['sha256']}" in spoken[1].stdout
        assert pydicom.dcmread(one["path"]).Modality == one["kind"]


def test_for_a_script_it_gives_values(shown: dict[str, Any]) -> None:
    """One JSON document with the findings, the overlay and the seconds."""
    assert Path(shown["overlay"]).is_file()
    assert 0 < shown["seconds_from_response_to_committed"] < 120
    (lungs,) = [result for result in shown["summary"]["results"] if result["model"] == "lungs"]
    assert 0.3 < lungs["measurements"]["cardiothoracic_ratio"]["value"] < 0.7


def test_every_bundle_runs_and_what_is_off_by_default_says_so(
    spoken: tuple[Path, subprocess.CompletedProcess[str]], shown: dict[str, Any]
) -> None:
    """A newcomer sees what a node would leave off, and why."""
    cards = (Path(__file__).parents[2] / "models").glob("*/configs/metadata.json")
    folders = sorted(card.parent.parent.name for card in cards)
    assert sorted(model["name"] for model in shown["models"]) == folders
    for model in shown["models"]:
        assert f"{model['name']} {model['version']}, {model['kind']}" in spoken[1].stdout
        assert model["enabled_by_default"] or f"off by default: {model['disabled_because']}" in spoken[1].stdout


def test_a_film_of_ones_own_takes_the_phantom_s_place(tmp_path: Path) -> None:
    """A PNG is wrapped; a text file is refused before anything starts."""
    (tmp_path / "notes.txt").write_text("no film")
    refused = _demo("--out", str(tmp_path / "none"), "--film", str(tmp_path / "notes.txt"))
    assert refused.returncode == 1
    assert "no model looks at it" in refused.stderr
    Image.fromarray((render(Radiograph(seed=4)).truth.display * 255).astype("uint8")).save(tmp_path / "film.png")
    ended = _demo("--json", "--out", str(tmp_path / "out"), "--film", str(tmp_path / "film.png"))
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["summary"]["view"] == "unstated"


def test_it_does_not_empty_a_folder_that_is_not_its_own(tmp_path: Path) -> None:
    """A folder with somebody's file is refused, and the file is there afterwards."""
    (tmp_path / "thesis.txt").write_text("three years")
    ended = _demo("--out", str(tmp_path))
    assert ended.returncode == 1
    assert "the folder holds something that is not the demo's" in ended.stderr
    assert (tmp_path / "thesis.txt").read_text() == "three years"
