"""Hides how a picture of any size is brought onto a network's square grid, and back.

Promises that training and inference shrink a picture in the same way, that the picture's true aspect is kept (a
letterbox, never a squash), and that the way back is exact: maps and boxes land on the source's own rows and
columns, whatever its size and the shape of its pixels.

Coordinates are corner based: pixel (r, c) covers r..r+1 and c..c+1, so that the picture's lower right corner is
(rows, cols) and scaling needs no half pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cxrnode.errors import Unsuitable

FloatArray = NDArray[np.float32]

SHORTEST_SIDE = 16
"""Pixels. A picture whose shorter side is less, at either end of the way, shows no thorax."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The part of a picture that is looked at: rows `top` to `bottom`, columns `left` to `right`, ends excluded."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def rows(self) -> int:
        """Rows of the part."""
        return self.bottom - self.top

    @property
    def cols(self) -> int:
        """Columns of the part."""
        return self.right - self.left


def whole(rows: int, cols: int) -> Window:
    """Look at all of a picture."""
    return Window(top=0, left=0, bottom=rows, right=cols)


@dataclass(frozen=True, slots=True, kw_only=True)
class Letterbox:
    """Where the `window` of a picture of `rows` by `cols` lies on the square grid of `size` by `size`."""

    rows: int
    cols: int
    window: Window
    size: int
    top: int
    left: int
    height: int
    width: int


def fit_letterbox(
    rows: int, cols: int, size: int, pixel_aspect: float = 1.0, window: Window | None = None
) -> Letterbox:
    """Place a picture, or the window of it that is to be looked at, in the middle of the grid, as large as it goes.

    Its true aspect is kept: `pixel_aspect` is a pixel's height over its width, as Pixel Aspect Ratio (0028,0034) or
    Pixel Spacing (0028,0030) give it (PS3.3 C.7.6.3.1.7). Raises Unsuitable where too little of it would be left.
    """
    seen = window or whole(rows, cols)
    tall, wide = seen.rows * pixel_aspect, float(seen.cols)
    scale = size / max(tall, wide, 1e-9)
    height = min(size, max(1, round(tall * scale)))
    width = min(size, max(1, round(wide * scale)))
    if min(seen.rows, seen.cols, height, width) < SHORTEST_SIDE:
        raise Unsuitable(
            f"a picture of {seen.rows} by {seen.cols} pixels is too thin for a model to look at",
            code="too_small",
            operation="fit letterbox",
        )
    return Letterbox(
        rows=rows,
        cols=cols,
        window=seen,
        size=size,
        top=(size - height) // 2,
        left=(size - width) // 2,
        height=height,
        width=width,
    )


def resample(image: FloatArray, height: int, width: int) -> FloatArray:
    """Bring a picture (rows, cols) to (height, width): averaged over the area when it shrinks, bilinear when it grows.

    The filter is a triangle as wide as a target pixel (never narrower than a source pixel), so nothing aliases.
    Deterministic: one thread, fixed order of sums.
    """
    source = Image.fromarray(np.ascontiguousarray(image, dtype=np.float32))
    return np.asarray(source.resize((width, height), Image.Resampling.BILINEAR), dtype=np.float32)


def shrink(image: FloatArray, box: Letterbox) -> FloatArray:
    """Bring the window of a picture (rows, cols) to the letterbox's (height, width), not yet placed on the grid."""
    if image.shape != (box.rows, box.cols):
        raise ValueError(f"the letterbox is for {box.rows} by {box.cols} pixels, the picture has {image.shape}")
    window = box.window
    return resample(image[window.top : window.bottom, window.left : window.right], box.height, box.width)


def place(small: FloatArray, box: Letterbox, fill: float = 0.0) -> FloatArray:
    """Lay a shrunk picture (height, width) on the grid (size, size); what it does not cover is `fill`."""
    grid = np.full((box.size, box.size), fill, dtype=np.float32)
    grid[box.top : box.top + box.height, box.left : box.left + box.width] = small
    return grid


def restore(maps: FloatArray, box: Letterbox) -> FloatArray:
    """Bring maps (C, size, size) back onto the source: (C, rows, cols), float32, bilinear, deterministic.

    They are 0 where nothing was looked at.
    """
    inner, window = maps[:, box.top : box.top + box.height, box.left : box.left + box.width], box.window
    there = np.zeros((len(maps), box.rows, box.cols), dtype=np.float32)
    for index, channel in enumerate(inner):
        there[index, window.top : window.bottom, window.left : window.right] = resample(
            channel, window.rows, window.cols
        )
    return there


def boxes_to_source(boxes: FloatArray, box: Letterbox) -> FloatArray:
    """Bring boxes (N, 4) as top, left, bottom, right from the grid onto the source, clipped to what was looked at."""
    window = box.window
    moved = (boxes - _twice(box.top, box.left)) * _source_pixels_per_grid_pixel(box) + _twice(window.top, window.left)
    clipped = np.clip(moved, _twice(window.top, window.left), _twice(window.bottom, window.right))
    return np.asarray(clipped, dtype=np.float32)


def boxes_to_grid(boxes: FloatArray, box: Letterbox) -> FloatArray:
    """Bring boxes (N, 4) as top, left, bottom, right from the source onto the grid."""
    moved = (boxes - _twice(box.window.top, box.window.left)) / _source_pixels_per_grid_pixel(box)
    return np.asarray(moved + _twice(box.top, box.left), dtype=np.float32)


def _twice(row: float, col: float) -> FloatArray:
    return np.array([row, col, row, col], dtype=np.float32)


def _source_pixels_per_grid_pixel(box: Letterbox) -> FloatArray:
    return _twice(box.window.rows / box.height, box.window.cols / box.width)
