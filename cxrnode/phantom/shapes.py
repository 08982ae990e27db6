"""Outlines and soft thicknesses: the drawing tools of the phantom.

Hides splines, rasterising and distance maps. Coordinates are those of the chest's own square: x and y from 0 to
1, x towards the patient's left (picture's right in a frontal view), y towards the feet; the square is centred in
the picture and as large as the shorter side, so that a chest is round in a picture of any shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]
Point = tuple[float, float]

LONGEST_CANVAS = 768
"""Pixels of the longer side at which anatomy is drawn; a larger picture is interpolated from it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Canvas:
    """The grid on which anatomy is drawn: `rows` by `cols` pixels, `side` pixels to the chest's square."""

    rows: int
    cols: int

    @property
    def side(self) -> int:
        return min(self.rows, self.cols)

    def pixels(self, points: Sequence[Point]) -> list[Point]:
        """Points of the chest's square in corner based pixel coordinates (x, y)."""
        left, top = (self.cols - self.side) / 2, (self.rows - self.side) / 2
        return [(left + x * self.side, top + y * self.side) for x, y in points]

    def grid(self) -> tuple[Floats, Floats]:
        """The x (1, cols) and y (rows, 1) of each pixel's centre in the chest's square."""
        x = (np.arange(self.cols, dtype=np.float32) + 0.5 - (self.cols - self.side) / 2) / self.side
        y = (np.arange(self.rows, dtype=np.float32) + 0.5 - (self.rows - self.side) / 2) / self.side
        return x[None, :].astype(np.float32), y[:, None].astype(np.float32)


def canvas_for(rows: int, cols: int) -> Canvas:
    """The drawing grid for a picture of `rows` by `cols`: the same shape, at most LONGEST_CANVAS a side."""
    scale = min(1.0, LONGEST_CANVAS / max(rows, cols))
    return Canvas(rows=max(1, round(rows * scale)), cols=max(1, round(cols * scale)))


def spline(points: Sequence[Point], steps: int = 12) -> list[Point]:
    """A closed Catmull-Rom curve through the points, `steps` vertices a span."""
    p = np.asarray(points, dtype=np.float64)
    before, after, beyond = np.roll(p, 1, 0), np.roll(p, -1, 0), np.roll(p, -2, 0)
    t = np.linspace(0, 1, steps, endpoint=False)[None, :, None]
    a, b, c, d = (k[:, None, :] for k in (before, p, after, beyond))
    curve = b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    return [(float(x), float(y)) for x, y in curve.reshape(-1, 2)]


def inside(canvas: Canvas, points: Sequence[Point]) -> Floats:
    """Signed distance to a closed spline in units of the chest's square, positive inside, (rows, cols)."""
    plate = Image.new("1", (canvas.cols, canvas.rows))
    ImageDraw.Draw(plate).polygon([*canvas.pixels(spline(points))], fill=1)
    return distance(np.asarray(plate), canvas)


def distance(mask: NDArray[np.bool_], canvas: Canvas) -> Floats:
    """Signed distance to the edge of a mask in units of the chest's square, positive inside."""
    padded = np.pad(mask, 1, mode="edge")
    if not mask.any() or mask.all():
        return np.full(mask.shape, 1.0 if mask.any() else -1.0, dtype=np.float32)
    signed = ndimage.distance_transform_edt(padded) - ndimage.distance_transform_edt(~padded)
    signed -= np.sign(signed) * 0.5
    return np.asarray(signed[1:-1, 1:-1] / canvas.side, dtype=np.float32)


def thickness(depth: Floats, radius: float) -> Floats:
    """How thick a rounded body is at signed distance `depth` from its outline: 0 outside, 1 from `radius` on."""
    t = np.clip(depth / radius, 0, 1)
    return np.asarray(np.sqrt(t * (2 - t)), dtype=np.float32)


def soft(depth: Floats, width: float) -> Floats:
    """A smooth step from 0 to 1 across the outline, `width` wide."""
    t = np.clip(depth / width + 0.5, 0, 1)
    return np.asarray(t * t * (3 - 2 * t), dtype=np.float32)


def strokes(canvas: Canvas, lines: Sequence[tuple[Sequence[Point], float, float]], blur: float) -> Floats:
    """Lines drawn over one another: each is (points, width in the chest's square, value in [0, 1])."""
    plate = Image.new("L", (canvas.cols, canvas.rows))
    draw = ImageDraw.Draw(plate)
    for points, width, value in lines:
        draw.line(
            [*canvas.pixels(points)],
            fill=round(255 * value),
            width=max(1, round(width * canvas.side)),
            joint="curve",
        )
    drawn = np.asarray(plate, dtype=np.float32) / 255
    return np.asarray(ndimage.gaussian_filter(drawn, blur * canvas.side), dtype=np.float32)


def enlarged(plane: Floats, rows: int, cols: int) -> Floats:
    """A plane of the canvas interpolated to the picture's own rows and columns."""
    if plane.shape == (rows, cols):
        return plane
    image = Image.fromarray(plane).resize((cols, rows), Image.Resampling.BILINEAR)
    return np.asarray(image, dtype=np.float32)
