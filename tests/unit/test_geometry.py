"""The way of a picture onto the network's grid, and back."""

from __future__ import annotations

import numpy as np
import pytest

from cxrnode.errors import Unsuitable
from cxrnode.pixels.geometry import (
    Window,
    boxes_to_grid,
    boxes_to_source,
    fit_letterbox,
    place,
    resample,
    restore,
    shrink,
)


def test_a_tall_picture_fills_the_grid_from_top_to_bottom() -> None:
    """The longer side takes the whole grid, the shorter keeps its proportion and lies in the middle."""
    box = fit_letterbox(2000, 1000, 320)
    assert (box.top, box.left, box.height, box.width) == (0, 80, 320, 160)


def test_pixels_that_are_taller_than_wide_make_the_picture_taller() -> None:
    """A square matrix of pixels twice as tall as wide is a picture twice as tall as wide."""
    box = fit_letterbox(500, 500, 320, pixel_aspect=2.0)
    assert (box.height, box.width) == (320, 160)


@pytest.mark.parametrize("shape", [(1, 400), (400, 1), (10, 400), (3000, 40)])
def test_a_picture_with_next_to_nothing_in_it_is_unsuitable(shape: tuple[int, int]) -> None:
    """A strip has no thorax, before or after it is shrunk."""
    with pytest.raises(Unsuitable) as caught:
        fit_letterbox(*shape, 320)
    assert caught.value.code == "too_small"


def test_shrinking_averages_so_that_fine_stripes_become_gray() -> None:
    """Stripes finer than the grid would alias if pixels were picked."""
    stripes = np.tile(np.array([0.0, 1.0], dtype=np.float32), (640, 320))
    small = shrink(stripes, fit_letterbox(640, 640, 80))
    assert np.abs(small[:, 2:-2] - 0.5).max() < 0.02


def test_shrinking_keeps_the_mean() -> None:
    """No gray is lost or gained."""
    image = np.random.default_rng(0).random((777, 511), dtype=np.float32)
    box = fit_letterbox(777, 511, 256)
    assert shrink(image, box).mean() == pytest.approx(image.mean(), abs=2e-3)


def test_a_letterbox_of_another_picture_is_refused() -> None:
    """A letterbox belongs to one size."""
    with pytest.raises(ValueError, match="letterbox"):
        shrink(np.zeros((64, 64), dtype=np.float32), fit_letterbox(64, 65, 32))


def test_restoring_gives_the_source_size_for_every_channel() -> None:
    """Odd sizes come back exactly, as float32."""
    box = fit_letterbox(1023, 769, 320)
    back = restore(np.zeros((3, 320, 320), dtype=np.float32), box)
    assert back.shape == (3, 1023, 769)
    assert back.dtype == np.float32


def test_what_lies_outside_the_letterbox_does_not_bleed_into_the_source() -> None:
    """Probability in the empty margin has no way back."""
    box = fit_letterbox(640, 320, 320)
    maps = place(np.zeros((box.height, box.width), dtype=np.float32), box, fill=1.0)
    assert restore(maps[None], box).max() == 0.0


def test_growing_puts_a_pixel_where_it_was() -> None:
    """Sampling is at pixel centres: a doubled picture keeps its centre of mass."""
    image = np.zeros((21, 31), dtype=np.float32)
    image[5, 20] = 1.0
    grown = resample(image, 42, 62)
    rows, cols = np.indices(grown.shape) + 0.5
    assert (grown * rows).sum() / grown.sum() == pytest.approx(11.0, abs=1e-3)
    assert (grown * cols).sum() / grown.sum() == pytest.approx(41.0, abs=1e-3)


def test_the_whole_source_is_the_whole_letterbox() -> None:
    """The source's corners are the letterbox's corners, both ways."""
    box = fit_letterbox(1000, 600, 320)
    whole = np.array([[0, 0, 1000, 600]], dtype=np.float32)
    grid = boxes_to_grid(whole, box)
    assert grid.tolist() == [[box.top, box.left, box.top + box.height, box.left + box.width]]
    assert np.allclose(boxes_to_source(grid, box), whole, atol=1e-3)


def test_boxes_are_clipped_to_the_source() -> None:
    """A box that reaches into the margin ends at the picture's border."""
    box = fit_letterbox(1000, 600, 320)
    reaching = np.array([[-5, 0, 400, 320]], dtype=np.float32)
    assert boxes_to_source(reaching, box).tolist() == [[0, 0, 1000, 600]]


def test_a_window_fills_the_grid_and_leads_back_to_its_own_place() -> None:
    """Only the window is shrunk; its maps and boxes land inside it, and nothing lands outside."""
    window = Window(top=100, left=50, bottom=900, right=450)
    box = fit_letterbox(1000, 600, 320, window=window)
    assert (box.top, box.left, box.height, box.width) == (0, 80, 320, 160)
    back = restore(np.ones((1, 320, 320), dtype=np.float32), box)[0]
    assert back[100:900, 50:450].all()
    assert back.sum() == 800 * 400
    corners = np.array([[100, 50, 900, 450]], dtype=np.float32)
    assert boxes_to_grid(corners, box).tolist() == [[0, 80, 320, 240]]
    assert boxes_to_source(np.array([[-9, 0, 400, 320]], dtype=np.float32), box).tolist() == corners.tolist()
