"""The shipped lungs bundle finds on the phantom what the phantom knows, on the patient's own sides."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cxrnode.inference.bundle import Network
from cxrnode.phantom import Phantom, Radiograph, render
from cxrnode.pixels.decode import decode
from cxrnode.pixels.geometry import restore
from cxrnode.pixels.grayscale import display
from cxrnode.pixels.normalise import prepare
from cxrnode.pixels.orientation import from_header

BUNDLE = Path(__file__).parents[2] / "models" / "lungs"
LEAST = {"right_lung": 0.9, "left_lung": 0.9, "heart": 0.75}


@pytest.fixture(scope="module")
def network() -> Network:
    """The shipped bundle."""
    return Network.load(BUNDLE, threads=1)


def found(network: Network, phantom: Phantom) -> dict[str, NDArray[np.bool_]]:
    """Masks on the stored rows and columns, by the way every film takes."""
    pixels = decode(phantom.dataset)
    orientation = from_header(pixels.header)
    image, box = prepare(orientation.apply(display(pixels).values), network.card.input_size)
    maps = restore(network.predict(image[None, None])[0], box)
    return {name: orientation.undo(maps[i]) > 0.5 for i, name in enumerate(network.card.channels)}


def dice(one: NDArray[np.bool_], two: NDArray[np.bool_]) -> float:
    return float(2 * (one & two).sum() / (one.sum() + two.sum()))


def assert_found(network: Network, spec: Radiograph) -> None:
    phantom = render(spec)
    masks = found(network, phantom)
    agreement = {name: dice(masks[name], getattr(phantom.truth, name)) for name in LEAST}
    assert all(agreement[name] > least for name, least in LEAST.items()), agreement


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_lungs_and_heart_of_the_phantom_are_found(network: Network, seed: int) -> None:
    """The demo runs the real model on the phantom: its answer there must be a sensible one."""
    assert_found(network, Radiograph(seed=seed))


@pytest.mark.parametrize("orientation", ["R\\F", "L\\F", "", "F\\L"])
def test_sides_are_the_patients_however_the_film_is_stored(network: Network, orientation: str) -> None:
    """R\\F, L\\F, missing and lying on its side: the right lung is the patient's right lung each time."""
    assert_found(network, Radiograph(seed=1, modality="CR", orientation=orientation, photometric="MONOCHROME1"))


@pytest.mark.parametrize(("rows", "cols"), [(1250, 1024), (880, 1070)])
def test_shape_of_the_film_does_not_matter(network: Network, rows: int, cols: int) -> None:
    """Portrait and landscape films keep their aspect."""
    assert_found(network, Radiograph(seed=2, rows=rows, cols=cols))
