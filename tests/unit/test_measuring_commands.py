"""The measuring commands: what they refuse, what they read of a fresh card, where they run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cxrnode.cli import app, measuring  # noqa: F401 - measuring adds its commands to app
from cxrnode.errors import NeedsOperator
from cxrnode.inference.bundle import METADATA, read_card
from cxrnode.training.evaluation.calibrate import calibrate
from cxrnode.training.evaluation.calibration import Aim
from cxrnode.training.evaluation.gate import examine_gate, set_gate_points
from tests.fakes.bundle import write_tiny_bundle
from tests.unit.test_half_precision import data  # noqa: F401 - twelve drawn films


def run(*arguments: object, code: int = 0) -> str:
    """Run a command on models; give what it printed."""
    ran = CliRunner().invoke(app, ["models", *map(str, arguments)])
    assert ran.exit_code == code, ran.output
    return ran.output


def test_a_card_without_points_is_calibrated_by_the_command(data: Path, tmp_path: Path) -> None:  # noqa: F811
    """Whoever writes a card by hand need not think up points first; auto finds a device."""
    bundle = write_tiny_bundle(tmp_path / "bundle", kind="detection")
    metadata = json.loads((bundle / METADATA).read_text())
    metadata["cxrnode"]["findings"] = {"lung_opacity": {"channel": "lung_opacity"}}
    (bundle / METADATA).write_text(json.dumps(metadata))
    where = ("--data", data, "--bundle", bundle, "--part", "all", "--threads", 1, "--device", "auto")
    assert "lung_opacity" in run("calibrate", "tiny", *where)
    assert len(read_card(bundle).findings) == 1
    run("evaluate", "tiny", *where, "--out", tmp_path / "seen")
    assert json.loads((tmp_path / "seen/report.json").read_text())["films"] == 12
    assert (tmp_path / "seen/thumbnails.npz").is_file()


def test_an_aim_at_a_finding_that_the_model_has_not_is_refused(data: Path, tmp_path: Path) -> None:  # noqa: F811
    """A misspelt finding would else be calibrated for another aim, in silence."""
    bundle = write_tiny_bundle(tmp_path / "bundle", kind="detection")
    before = (bundle / METADATA).read_bytes()
    with pytest.raises(NeedsOperator, match=r"lung_opacty.*lung_opacity"):
        calibrate("tiny", data, bundle=bundle, part="all", aims={"lung_opacty": Aim(kind="sensitivity", value=0.9)})
    assert (bundle / METADATA).read_bytes() == before
    run("calibrate", "tiny", "--data", data, "--bundle", bundle, "--aim", "lung_opacity=much", code=2)


def test_a_gate_gets_no_points_from_no_films(data: Path, tmp_path: Path) -> None:  # noqa: F811
    """Points that rest on nothing are not written, and there is no report of nothing."""
    bundle = write_tiny_bundle(tmp_path / "bundle", kind="classification")
    before = (bundle / METADATA).read_bytes()
    with pytest.raises(NeedsOperator, match="no film in its other part that"):
        set_gate_points(data, bundle, part="other", threads=1)
    with pytest.raises(NeedsOperator, match="no film in its all part of nowhere"):
        examine_gate(data, bundle=bundle, part="all", source="nowhere", threads=1)
    assert (bundle / METADATA).read_bytes() == before
