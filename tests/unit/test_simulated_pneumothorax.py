"""Simulated pneumothoraces and decoys: where they lie, what they change, and that chance is a function."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from cxrnode.training.decoys import DECOYS, add_decoys
from cxrnode.training.simulate import LARGEST, SMALLEST, disturb, simulate

ROWS, COLS = 200, 220
SEEDS = range(12)


@pytest.fixture(scope="module")
def film() -> NDArray[np.float32]:
    """A bright chest with two darker lungs, ribs, and vessels two pixels wide."""
    y, x = np.mgrid[0:ROWS, 0:COLS]
    image = np.where(_lung(0) | _lung(1), 0.3, 0.7)
    image = image + 0.1 * (np.sin((y + 0.2 * x) / 5) > 0.3)
    image = image + 0.12 * ((x + 2 * y) % 17 < 2)
    return np.clip(image, 0, 1).astype(np.float32)


def _lung(side: int) -> NDArray[np.bool_]:
    y, x = np.ogrid[0:ROWS, 0:COLS]
    return np.asarray(((y - 100) / 80) ** 2 + ((x - (60, 160)[side]) / 38) ** 2 < 1)


def test_air_lies_in_the_lung_it_was_asked_for(film: NDArray[np.float32]) -> None:
    """Whatever the collapse, never on the other side and never outside the lung."""
    for seed in SEEDS:
        for side in (0, 1):
            drawn = simulate(film, _lung(side), np.random.default_rng(seed))
            assert drawn is not None
            assert drawn.air.any()
            assert not (drawn.air & ~_lung(side)).any()


def test_air_is_of_a_size_that_may_be(film: NDArray[np.float32]) -> None:
    """The stated share is the mask's share of the lung, within its bounds; small ones are in the majority."""
    shares = []
    for seed in range(40):
        drawn = simulate(film, _lung(0), np.random.default_rng(seed))
        assert drawn is not None
        assert drawn.share == pytest.approx(drawn.air.sum() / _lung(0).sum(), rel=0.05)
        shares.append(drawn.share)
    assert min(shares) >= SMALLEST
    assert max(shares) <= LARGEST
    assert np.median(shares) < 0.25
    assert max(shares) > 0.4


def test_nothing_changes_outside_the_lung(film: NDArray[np.float32]) -> None:
    """Not a pixel, so that only the lung can tell; inside, many do."""
    for seed in SEEDS:
        drawn = simulate(film, _lung(1), np.random.default_rng(seed))
        assert drawn is not None
        changed = drawn.image != film
        assert not changed[~_lung(1)].any()
        assert changed[_lung(1)].mean() > 0.02


def test_a_simulation_is_a_function_of_film_and_generator(film: NDArray[np.float32]) -> None:
    """The same generator, the same drawing; another, another; the film itself stays as it is."""
    before = film.copy()
    one, same, other = (simulate(film, _lung(0), np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert one is not None
    assert same is not None
    assert other is not None
    assert np.array_equal(one.image, same.image)
    assert np.array_equal(one.air, same.air)
    assert not np.array_equal(one.air, other.air)
    assert np.array_equal(film, before)


def test_what_simulating_leaves_besides_the_air_tells_nothing(film: NDArray[np.float32]) -> None:
    """Away from the air a lung's grain is that of a disturbed film without any, and softer than the film's own."""
    grainy = np.clip(film + np.random.default_rng(0).normal(0, 0.02, film.shape), 0, 1).astype(np.float32)
    rough: dict[str, list[float]] = {"film": [], "simulated": [], "disturbed": []}
    for seed in range(20):
        drawn = simulate(grainy, _lung(0), np.random.default_rng(seed))
        assert drawn is not None
        away = ndimage.binary_erosion(_lung(0) & ~ndimage.binary_dilation(drawn.air, iterations=6), iterations=12)
        if away.sum() < 200:  # a wholly collapsed lung leaves too little to look at
            continue
        disturbed = disturb(grainy, _lung(0), np.random.default_rng(seed))
        for name, picture in {"film": grainy, "simulated": drawn.image, "disturbed": disturbed}.items():
            rough[name].append(float(np.abs(ndimage.laplace(picture))[away].mean()))
    assert len(rough["film"]) >= 10
    told = {name: np.mean(values) for name, values in rough.items()}
    assert told["simulated"] < 0.75 * told["film"]
    assert told["disturbed"] == pytest.approx(told["simulated"], rel=0.15)


def test_disturbing_changes_one_lung_alone_and_is_a_function_of_its_generator(film: NDArray[np.float32]) -> None:
    """The same generator, the same picture; not a pixel outside the lung, the film itself stays as it is."""
    before = film.copy()
    one, same, other = (disturb(film, _lung(0), np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    assert not (one != film)[~_lung(0)].any()
    assert np.array_equal(film, before)
    assert np.array_equal(disturb(film, np.zeros_like(_lung(0)), np.random.default_rng(3)), film)


def test_vessels_vanish_in_the_air_and_ribs_stay(film: NDArray[np.float32]) -> None:
    """Along the vessels the air is hardly brighter than beside them; along the ribs it is."""
    y, x = np.mgrid[0:ROWS, 0:COLS]
    vessel, rib = (x + 2 * y) % 17 < 2, np.sin((y + 0.2 * x) / 5) > 0.3
    vessels, ribs = [], []
    for seed in range(30):
        drawn = simulate(film, _lung(0), np.random.default_rng(seed))
        if drawn is None or drawn.share < 0.1:
            continue
        values = drawn.image
        vessels.append(values[drawn.air & vessel & ~rib].mean() - values[drawn.air & ~vessel & ~rib].mean())
        ribs.append(values[drawn.air & rib & ~vessel].mean() - values[drawn.air & ~rib & ~vessel].mean())
    assert np.mean(vessels) < 0.4 * 0.12
    assert np.mean(ribs) > 0.6 * 0.1


def test_a_lung_too_small_to_draw_in_is_left_alone(film: NDArray[np.float32]) -> None:
    """There is no answer rather than a wrong one."""
    lung = np.zeros((ROWS, COLS), dtype=np.bool_)
    assert simulate(film, lung, np.random.default_rng(0)) is None
    lung[50:60, 50:60] = True
    assert simulate(film, lung, np.random.default_rng(0)) is None


@pytest.mark.parametrize("number", range(len(DECOYS)), ids=[decoy.__name__ for _, decoy in DECOYS])
def test_every_decoy_is_seen_and_is_a_function_of_its_generator(number: int, film: NDArray[np.float32]) -> None:
    """Each changes most films it is asked for, stays finite, and is the same for the same generator."""
    _, decoy = DECOYS[number]
    box = (20.0, 22.0, 160.0, 76.0)
    seen = []
    for seed in SEEDS:
        one, same = (decoy(film.shape, box, np.random.default_rng(seed)) for _ in range(2))
        assert one.shape == film.shape
        assert np.isfinite(one).all()
        assert np.array_equal(one, same)
        seen.append(one.max() > 0.01)
    assert np.mean(seen) > 0.7


def test_decoys_leave_a_film_without_a_lung_alone(film: NDArray[np.float32]) -> None:
    """They are placed by the lung; many films get none at all."""
    nothing = np.zeros(film.shape, dtype=np.bool_)
    assert np.array_equal(add_decoys(film, nothing, np.random.default_rng(0)), film)
    untouched = [np.array_equal(add_decoys(film, _lung(0), np.random.default_rng(s)), film) for s in range(40)]
    assert 0.1 < np.mean(untouched) < 0.8
