"""What half precision costs is measured: nothing for ordinary weights, and it shows where it does cost something."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

from cxrnode.cli import app, measuring  # noqa: F401 - measuring adds its commands to app
from cxrnode.errors import NeedsOperator
from cxrnode.inference.bundle import WEIGHTS, verify
from cxrnode.inference.card import Kind
from cxrnode.training.evaluation.halving import Difference, Halving, Measure, read_weights, rewritten, try_halving
from cxrnode.training.trainer import halved
from tests.fakes.bundle import write_tiny_bundle
from tests.unit.test_measuring import draw_films


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve drawn films, a third with a box."""
    return draw_films(tmp_path_factory.mktemp("data"), 12)


def ship(bundle: Path, folder: Path) -> Path:
    """Give a copy of a bundle in half precision."""
    return rewritten(bundle, halved(read_weights(bundle / WEIGHTS)), folder)


def spoil(network: nn.Module) -> None:
    """Let "normal" win by less than half precision can tell beside so large a number: there 4097.5 is 4096."""
    with torch.no_grad():
        cast(Tensor, cast(nn.Linear, network.linear).bias)[:3] = torch.tensor([4096.0, 4096.0, 4097.5])


@pytest.mark.parametrize("kind", ["classification", "detection"])
def test_half_precision_costs_a_tiny_bundle_nothing(data: Path, tmp_path: Path, kind: Kind) -> None:
    """The shipped halves and the weights they come from: probabilities hardly move, nothing said changes."""
    full = write_tiny_bundle(tmp_path / "full", kind=kind)
    shipped = ship(full, tmp_path / "half")
    found = try_halving(data, bundle=shipped, weights=full / WEIGHTS, part="all", threads=1)
    assert found.shipped and found.passed and found.changed == ()
    assert 0 < found.largest()["probability"] < 1e-2
    assert (found.largest()["corner"] > 0) == (kind == "detection")
    assert found.digest == verify(shipped).digest
    wanted = {"classification": "macro AUC, rsna", "detection": "mAP 0.40 to 0.75, lung_opacity"}
    assert wanted[kind] in {one.name for one in found.measures}
    assert "Half precision costs nothing." in found.table()


def test_weights_that_need_their_precision_are_found_out(data: Path, tmp_path: Path) -> None:
    """A network whose answers hang on the last digits fails, and the command says so by its exit code."""
    full = write_tiny_bundle(tmp_path / "full", kind="classification", change=spoil, own={"calibration": {}})
    found = try_halving(data, bundle=full, weights=full / WEIGHTS, part="all", threads=1)
    assert not found.shipped and not found.passed
    assert len(found.changed) == 12 and found.largest()["probability"] > 0.3
    arguments = ["models", "halving", "tiny", "--data", str(data), "--bundle", str(full), "--part", "all"]
    ran = CliRunner().invoke(app, [*arguments, "--threads", "1", "--weights", str(full / WEIGHTS)])
    assert ran.exit_code == 1
    assert "COSTS SOMETHING" in ran.stdout and "not those in the bundle" in ran.stdout


def test_the_rule_allows_a_thousandth_of_a_measure_and_one_answer_in_two_hundred() -> None:
    """Each bound alone decides."""

    def found(half: float, changed: int) -> Halving:
        pictures = tuple(Difference(picture=str(n), probability=0.0, changed=n < changed) for n in range(200))
        measures = (Measure(name="AUC", full=0.9, half=half),)
        return Halving(name="m", digest="d", part="p", shipped=True, measures=measures, differences=pictures)

    assert found(0.8995, 1).passed and found(0.95, 0).passed
    assert not found(0.898, 0).passed
    assert not found(0.9, 2).passed


def test_the_averaged_weights_of_a_checkpoint_are_read(tmp_path: Path) -> None:
    """A run that kept no other file has them there, unrounded."""
    weight = torch.tensor([1.0001])
    torch.save({"network": {"w": weight * 2}, "averaged": {"w": weight}, "step": 3}, tmp_path / "checkpoint.pt")
    assert torch.equal(read_weights(tmp_path / "checkpoint.pt")["w"], weight)


def test_what_cannot_be_compared_is_refused(data: Path, tmp_path: Path) -> None:
    """Weights that are halved already show nothing; what half precision cannot hold is named."""
    full = write_tiny_bundle(tmp_path / "full", kind="classification")
    half = ship(full, tmp_path / "half")
    with pytest.raises(NeedsOperator, match="halved already"):
        try_halving(data, bundle=full, weights=half / WEIGHTS, part="all", threads=1)
    state = dict(read_weights(full / WEIGHTS))
    state["linear.bias"] = state["linear.bias"] + 1e6
    torch.save(state, tmp_path / "large.pt")
    with pytest.raises(NeedsOperator, match=r"cannot hold linear\.bias"):
        try_halving(data, bundle=full, weights=tmp_path / "large.pt", part="all", threads=1)
    (tmp_path / "text.pt").write_text("no weights")
    with pytest.raises(NeedsOperator, match="cannot be read"):
        try_halving(data, bundle=full, weights=tmp_path / "text.pt", part="all", threads=1)
