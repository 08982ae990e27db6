"""A rectangle survives the way to the network's grid and back, whatever the picture's size and pixels."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrnode.pixels.geometry import (
    Letterbox,
    Window,
    boxes_to_grid,
    boxes_to_source,
    fit_letterbox,
    place,
    restore,
    shrink,
)

GRID = 128


@st.composite
def letterboxes(draw: st.DrawFn) -> Letterbox:
    """Pictures upright, across, odd, small, with pixels that are not square, with a frame that is not looked at."""
    rows, cols = draw(st.integers(200, 700)), draw(st.integers(200, 700))
    window = Window(
        top=draw(st.integers(0, rows // 5)),
        left=draw(st.integers(0, cols // 5)),
        bottom=rows - draw(st.integers(0, rows // 5)),
        right=cols - draw(st.integers(0, cols // 5)),
    )
    return fit_letterbox(rows, cols, GRID, draw(st.floats(0.6, 1.7)), window)


@st.composite
def rectangles(draw: st.DrawFn) -> tuple[Letterbox, tuple[int, int, int, int]]:
    """A letterbox, and a rectangle of at least a quarter of its window's sides (top, left, bottom, right)."""
    box = draw(letterboxes())
    seen = box.window
    top = draw(st.integers(seen.top, seen.top + seen.rows // 2))
    left = draw(st.integers(seen.left, seen.left + seen.cols // 2))
    bottom = draw(st.integers(top + seen.rows // 4, seen.bottom))
    right = draw(st.integers(left + seen.cols // 4, seen.right))
    return box, (top, left, bottom, right)


@settings(max_examples=60, deadline=None)
@given(rectangles())
def test_a_rectangle_comes_back_within_a_pixel_of_the_grid(
    drawn: tuple[Letterbox, tuple[int, int, int, int]],
) -> None:
    """Drawn on the source, shrunk, restored and cut at one half, its edges move by less than a grid pixel."""
    box, (top, left, bottom, right) = drawn
    mask = np.zeros((box.rows, box.cols), dtype=np.float32)
    mask[top:bottom, left:right] = 1.0
    back = restore(place(shrink(mask, box), box)[None], box)[0] >= 0.5
    rows, cols = np.flatnonzero(back.any(axis=1)), np.flatnonzero(back.any(axis=0))
    row_step, col_step = max(1.0, box.window.rows / box.height), max(1.0, box.window.cols / box.width)
    assert abs(rows[0] - top) <= row_step
    assert abs(rows[-1] + 1 - bottom) <= row_step
    assert abs(cols[0] - left) <= col_step
    assert abs(cols[-1] + 1 - right) <= col_step


@settings(max_examples=100, deadline=None)
@given(rectangles())
def test_a_box_comes_back_where_it_was(drawn: tuple[Letterbox, tuple[int, int, int, int]]) -> None:
    """Boxes are exact, both ways."""
    box, rectangle = drawn
    boxes = np.array([rectangle], dtype=np.float32)
    assert np.allclose(boxes_to_source(boxes_to_grid(boxes, box), box), boxes, atol=0.01)


@settings(max_examples=40, deadline=None)
@given(st.integers(200, 700), st.integers(200, 700), st.floats(0.6, 1.7))
def test_turning_a_picture_turns_its_letterbox(rows: int, cols: int, aspect: float) -> None:
    """Transposed, with its pixels transposed too, the picture lies on the grid transposed."""
    straight, turned = fit_letterbox(rows, cols, GRID, aspect), fit_letterbox(cols, rows, GRID, 1 / aspect)
    assert abs(turned.height - straight.width) <= 1
    assert abs(turned.width - straight.height) <= 1
