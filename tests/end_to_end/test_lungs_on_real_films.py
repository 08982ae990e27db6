"""The shipped lungs bundle on films of patients that it never saw."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cxrnode.inference.bundle import Network
from cxrnode.training.catalogue import read_catalogue
from cxrnode.training.evaluation.overlap import dice
from cxrnode.training.evaluation.segmentation import Reading, read_one, segment
from cxrnode.training.example import Example
from cxrnode.training.films import Film, read_film

REPOSITORY = Path(__file__).parents[2]

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def network() -> Network:
    """The shipped bundle."""
    return Network.load(REPOSITORY / "models" / "lungs", threads=2)


@pytest.fixture(scope="module")
def unseen(data: Path) -> list[Film]:
    """Eight films of the test part."""
    return [read_film(example) for example in _unseen(data)[::5][:8]]


def _unseen(data: Path) -> list[Example]:
    return [example for example in read_catalogue(data) if example.part == "test" and example.source == "jsrt"]


def test_shipped_model_does_on_unseen_patients_what_its_card_says(network: Network, data: Path) -> None:
    """Mean Dice of each structure and the error of the cardiothoracic ratio, on the fixed fifth of JSRT."""
    readings = [read_one(network, example) for example in _unseen(data)]
    means = {channel: np.mean([one.dice[channel] for one in readings]) for channel in network.card.channels}
    assert means["right_lung"] > 0.975
    assert means["left_lung"] > 0.97
    assert means["heart"] > 0.94
    assert np.mean([_ratio_error(one) for one in readings]) < 0.02


def _ratio_error(one: Reading) -> float:
    assert one.ratio is not None
    return abs(one.ratio[0] - one.ratio[1])


@pytest.mark.parametrize("change", ["dark", "bright", "narrow", "framed"])
def test_another_window_or_a_frame_changes_the_masks_little(network: Network, unseen: list[Film], change: str) -> None:
    """The masks of a film shown darker, brighter, harder or in a black frame agree with those of the film itself."""
    changes = {
        "dark": lambda image: image**2,
        "bright": lambda image: image**0.5,
        "narrow": lambda image: np.clip((image - 0.05) / 0.85, 0.0, 1.0),
        "framed": lambda image: np.pad(image, 40)[:, 20:-20],
    }
    agreed = []
    for film in unseen:
        plain = segment(network, film)
        image = changes[change](film.image).astype(np.float32)
        other = segment(network, Film(image=image, truth=film.truth, labelled=film.labelled, pixel_aspect=1.0))
        cut = (slice(40, -40), slice(20, -20)) if change == "framed" else (slice(None), slice(None))
        agreed += [dice(mask[cut], same) for mask, same in zip(other, plain, strict=True)]
    assert np.mean(agreed) > 0.97
