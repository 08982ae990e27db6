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
class Letterbox:
    """Where a picture of `rows` by `cols` lies on the square grid of `size` by `size`."""

    rows: int
    cols: int
    size: int
    top: int
    left: int
    height: int
    width: int


def fit_letterbox(rows: int, cols: int, size: int, pixel_aspect: float = 1.0) -> Letterbox:
    """Place a picture in the middle of the grid, as large as it goes, with its true aspect.

    `pixel_aspect` is a pixel's height over its width, as Pixel Aspect Ratio (0028,0034) or Pixel Spacing
    (0028,0030) give it (PS3.3 C.7.6.3.1.7). Raises Unsuitable where too little of a picture would be left.
    """
    tall, wide = rows * pixel_aspect, float(cols)
    scale = size / max(tall, wide, 1e-9)
    height = min(size, max(1, round(tall * scale)))
    width = min(size, max(1, round(wide * scale)))
    if min(rows, cols, height, width) < SHORTEST_SIDE:
        raise Unsuitable(
            f"a picture of {rows} by {cols} pixels is too thin for a model to look at",
            code="too_small",
            operation="fit letterbox",
        )
    return Letterbox(
        rows=rows,
        cols=cols,
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
    """Bring a picture (rows, cols) to the letterbox's (height, width), not yet placed on the grid."""
    if image.shape != (box.rows, box.cols):
        raise ValueError(f"the letterbox is for {box.rows} by {box.cols} pixels, the picture has {image.shape}")
    return resample(image, box.height, box.width)


def place(small: FloatArray, box: Letterbox, fill: float = 0.0) -> FloatArray:
    """Lay a shrunk picture (height, width) on the grid (size, size); what it does not cover is `fill`."""
    grid = np.full((box.size, box.size), fill, dtype=np.float32)
    grid[box.top : box.top + box.height, box.left : box.left + box.width] = small
    return grid


def restore(maps: FloatArray, box: Letterbox) -> FloatArray:
    """Bring maps (C, size, size) back onto the source: (C, rows, cols), float32, bilinear, deterministic."""
    inner = maps[:, box.top : box.top + box.height, box.left : box.left + box.width]
    return np.stack([resample(channel, box.rows, box.cols) for channel in inner])


def boxes_to_source(boxes: FloatArray, box: Letterbox) -> FloatArray:
    """Bring boxes (N, 4) as top, left, bottom, right from the grid onto the source, clipped to its borders."""
    moved = boxes - np.array([box.top, box.left] * 2, dtype=np.float32)
    scaled = moved * _source_pixels_per_grid_pixel(box)
    clipped = np.clip(scaled, 0.0, np.array([box.rows, box.cols] * 2, dtype=np.float32))
    return np.asarray(clipped, dtype=np.float32)


def boxes_to_grid(boxes: FloatArray, box: Letterbox) -> FloatArray:
    """Bring boxes (N, 4) as top, left, bottom, right from the source onto the grid."""
    offset = np.array([box.top, box.left] * 2, dtype=np.float32)
    return np.asarray(boxes / _source_pixels_per_grid_pixel(box) + offset, dtype=np.float32)


def _source_pixels_per_grid_pixel(box: Letterbox) -> FloatArray:
    return np.array([box.rows / box.height, box.cols / box.width] * 2, dtype=np.float32)
