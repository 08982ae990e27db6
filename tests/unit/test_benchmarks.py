"""The benchmark of the models runs on tiny bundles; how long anything takes is never asserted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.models import TOGETHER, draw_film, load, main, network_way, plain_way
from benchmarks.timing import race, ratio
from cxrnode.errors import NeedsOperator
from cxrnode.inference.card import Kind
from tests.fakes.bundle import KINDS, SIZE, write_tiny_bundle


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a bundle of each kind, named by it."""
    folder = tmp_path_factory.mktemp("models")
    for kind in KINDS:
        write_tiny_bundle(folder / kind, kind=kind)
    return folder


def test_every_bundle_and_all_together_come_out(
    bundles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One run prints the tables and keeps them, with the same content as JSON."""
    main(["--folder", str(bundles), "--side", "96", "--rounds", "1", "--threads", "1", "--out", str(tmp_path)])
    kept = json.loads((tmp_path / "models.json").read_text())
    assert [one["model"] for one in kept["sizes"]] == sorted(KINDS)
    on_cpu = [line for line in kept["lines"] if line["place"]["device"] == "cpu"]
    assert [line["model"] for line in on_cpu] == [*sorted(KINDS), TOGETHER]
    assert list(on_cpu[-1]["ratios"]) == ["network", "node", "file"]
    printed = capsys.readouterr().out
    assert printed == (tmp_path / "models.md").read_text()
    assert f"| {TOGETHER} | cpu, 1 thread, 1 at once |" in printed
    assert "torch " in printed and "processor " in printed


@pytest.mark.parametrize("kind", KINDS)
def test_the_baseline_is_the_same_network(bundles: Path, kind: Kind) -> None:
    """A bare network that said something else would be no baseline."""
    loaded = load({kind: bundles / kind}, "cpu")
    picture = np.random.default_rng(3).random((1, 1, SIZE, SIZE), dtype=np.float32)
    (plain,) = plain_way(loaded, {kind: torch.from_numpy(picture)}, "cpu")
    (node,) = network_way(loaded, {kind: picture})
    said = torch.sigmoid(plain) if kind == "segmentation" else plain
    assert np.allclose(said.numpy(), node, atol=1e-3)


def test_ways_are_timed_in_turn() -> None:
    """Every way runs in every round, and the order is turned from round to round."""
    order: list[str] = []
    race({"one": lambda: order.append("one"), "two": lambda: order.append("two")}, 1, 2)
    turns = [name for place, name in enumerate(order) if place == 0 or order[place - 1] != name]
    assert turns == ["one", "two", "one"]
    assert order.count("one") == order.count("two")


def test_a_ratio_is_that_of_the_rounds() -> None:
    """A slow round slows both, so the ratio of each round counts and not that of the means."""
    found = ratio([2.0, 20.0, 2.0], [1.0, 10.0, 1.0])
    assert (found.low, found.median, found.high) == (2.0, 2.0, 2.0)


def test_a_folder_without_bundles_is_named(tmp_path: Path) -> None:
    """Nothing to measure is an error, not an empty table."""
    with pytest.raises(NeedsOperator, match="no such bundle"):
        main(["--folder", str(tmp_path)])


def test_the_film_is_a_synthetic_one(tmp_path: Path) -> None:
    """What is timed needs no data set: a phantom of the size asked for, shown from black to white."""
    film = draw_film(tmp_path, 64)
    assert film.image.shape == (64, 64)
    assert 0 <= film.image.min() < film.image.max() <= 1
