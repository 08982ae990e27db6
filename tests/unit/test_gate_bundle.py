"""The gate that ships: `models/gate`, on radiographs whose truth is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cxrnode.inference.bundle import WEIGHTS, Network, verify
from cxrnode.phantom import named, render
from cxrnode.training.defects import FloatArray
from cxrnode.training.evaluation.answering import answer

FOLDER = Path(__file__).parents[2] / "models" / "gate"


@pytest.fixture(scope="module")
def gate() -> Network:
    """The shipped gate."""
    return Network.load(FOLDER)


def _refused(gate: Network, image: FloatArray) -> set[str]:
    scores = answer(gate, np.ascontiguousarray(image, dtype=np.float32)).read.scores
    return {score.finding for score in scores if score.probability >= score.operating_point}


def _shown(name: str, seed: int) -> FloatArray:
    return render(replace(named(name).spec, seed=seed)).truth.display


def test_shipped_gate_is_the_pinned_one_and_small() -> None:
    """The released bundle verifies; it asks four questions and refuses by each."""
    card = verify(FOLDER)
    assert card.channels == ("not_frontal", "inverted", "mirrored", "child")
    assert tuple(rule.name for rule in card.findings) == card.channels
    assert (FOLDER / WEIGHTS).stat().st_size < 2_000_000


@pytest.mark.parametrize("name", ["dx-mono2", "cr-mono2", "collimated"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_sound_phantom_passes(gate: Network, name: str, seed: int) -> None:
    """It was never trained on a drawn chest, and lets one through all the same."""
    assert _refused(gate, _shown(name, seed)) == set()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_what_is_done_to_a_phantom_is_seen(gate: Network, seed: int) -> None:
    """Inverted, on its side, on its head, one lung alone: each for its reason."""
    chest = _shown("dx-mono2", seed)
    assert "inverted" in _refused(gate, 1.0 - chest)
    for turns in (1, 2, 3):
        assert "not_frontal" in _refused(gate, np.rot90(chest, turns))
    assert "not_frontal" in _refused(gate, chest[:, : chest.shape[1] // 2])


@pytest.mark.parametrize("name", ["defect-hand", "dx-lateral", "cr-lateral"])
def test_another_part_or_view_is_refused(gate: Network, name: str) -> None:
    """A hand that calls itself a chest, and a lateral whose header says nothing."""
    assert "not_frontal" in _refused(gate, _shown(name, 1))
