"""What a network sees does not depend on window, gamma or padding."""

from __future__ import annotations

import time

import numpy as np
import pytest
from numpy.typing import NDArray

from cxrnode.pixels.geometry import resample, restore
from cxrnode.pixels.normalise import normalise, prepare


def radiograph(rows: int = 400, cols: int = 360, seed: int = 3) -> NDArray[np.float32]:
    """Smooth shadows and a little grain, 0.1 to 0.9: no thorax, but gray values spread as on a film."""
    rng = np.random.default_rng(seed)
    shadows = resample(rng.random((7, 7), dtype=np.float32), rows, cols)
    grain = rng.normal(0, 0.004, (rows, cols))
    return np.clip(0.1 + 0.8 * shadows + grain, 0.1, 0.9).astype(np.float32)


@pytest.mark.parametrize("curve", ["gamma", "line", "bent"])
def test_a_monotone_curve_over_the_gray_values_changes_next_to_nothing(curve: str) -> None:
    """Another gamma, another window that cuts nothing off, a sigmoid: the same input within two hundredths."""
    image = radiograph()
    changed = {"gamma": image**2.2, "line": 0.3 * image + 0.5, "bent": 1 / (1 + np.exp(-8 * (image - 0.5)))}[curve]
    assert np.abs(normalise(changed.astype(np.float32)) - normalise(image)).mean() < 0.02


def test_a_window_that_cuts_the_ends_off_keeps_the_middle() -> None:
    """Where the window leaves gray values apart, the network sees nearly what it saw."""
    image = radiograph()
    cut = np.clip((image - 0.2) / 0.6, 0.0, 1.0)
    middle = (image > 0.35) & (image < 0.65)
    assert np.abs(normalise(cut) - normalise(image))[middle].mean() < 0.12


@pytest.mark.parametrize("padding", [0.0, 1.0])
def test_a_padded_border_has_no_say(padding: float) -> None:
    """A film in a wide frame of black or white looks inside as it does without."""
    image = radiograph()
    framed = np.pad(image, 80, constant_values=padding)
    assert np.abs(normalise(framed)[80:-80, 80:-80] - normalise(image)).mean() < 0.02


@pytest.mark.parametrize("padding", [0.0, 0.5, 1.0])
def test_a_frame_changes_neither_what_the_network_sees_nor_its_scale(padding: float) -> None:
    """A frame, wider on some sides, is not looked at; what is inside comes back onto its own rows and columns."""
    image = radiograph()
    framed = np.pad(image, ((30, 10), (0, 90)), constant_values=padding)
    plain, framed_grid = prepare(image, 128)[0], prepare(framed, 128)[0]
    assert np.abs(framed_grid - plain).mean() < 0.02
    back = restore(np.ones((1, 128, 128), dtype=np.float32), prepare(framed, 128)[1])[0]
    assert back.shape == framed.shape
    assert back[34:426, 4:356].all()
    assert not back[:, 460:].any()
    assert not back[:20].any()


def test_no_more_than_a_quarter_of_a_side_is_taken_for_frame() -> None:
    """Where only the middle holds anything, most of the picture is looked at all the same."""
    framed = np.pad(radiograph(200, 200), 300)
    window = prepare(framed, 128)[1].window
    assert (window.top, window.left, window.bottom, window.right) == (200, 200, 600, 600)


def test_few_gray_levels_keep_their_order() -> None:
    """Eight levels stay eight levels at most, in the same order."""
    levels = np.round(radiograph() * 8) / 8
    seen = normalise(levels.astype(np.float32))
    means = [float(np.median(seen[levels == level])) for level in np.unique(levels)]
    assert means == sorted(means)
    assert len(np.unique(seen)) <= len(np.unique(levels))


def test_a_picture_of_one_value_becomes_zeros() -> None:
    """There is nothing to see, and nothing is divided by zero."""
    assert not normalise(np.full((40, 40), 0.7, dtype=np.float32)).any()


def test_prepared_input_is_float32_from_zero_to_one_and_zero_outside_the_letterbox() -> None:
    """The network gets the grid that it was trained on."""
    grid, box = prepare(radiograph(400, 200), 128)
    assert grid.shape == (128, 128)
    assert grid.dtype == np.float32
    assert 0.0 <= grid.min() < grid.max() <= 1.0
    assert not grid[:, : box.left].any()


def test_preparing_five_megapixels_takes_tens_of_milliseconds() -> None:
    """The picture is shrunk before anything else is done with it; the bound leaves room for a busy machine."""
    image = radiograph(2500, 2048)
    times = []
    for _ in range(3):
        started = time.perf_counter()
        prepare(image, 320)
        times.append(time.perf_counter() - started)
    assert min(times) < 0.3
