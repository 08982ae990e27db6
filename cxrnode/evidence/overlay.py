"""A picture of what was found, for people without a viewer: outlines and measured lines over the radiograph.

Hides Pillow. Promises a PNG in the source's own orientation, with the sides named, and nothing of the patient on it
that is not burned into the pixels.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from cxrnode.domain.finding import ImageResult, Mask, Measurement

_COLOURS = {"right_lung": (70, 190, 255), "left_lung": (255, 190, 60), "heart": (255, 90, 110)}
_NAMES = {"right_lung": "R lung", "left_lung": "L lung", "heart": "heart"}
_OTHER = (140, 230, 120)
_LINE = (255, 255, 255)


def overlay(preview: NDArray[np.uint8], result: ImageResult, shape: tuple[int, int]) -> bytes:
    """Give a PNG of `preview` (rows, columns) with the result drawn on it; `shape` is the source's (rows, columns)."""
    picture = Image.fromarray(preview, mode="L").convert("RGB")
    scale = (picture.width / shape[1], picture.height / shape[0])
    for one in result.results:
        for region in one.regions:
            picture = _outlined(picture, region.label, region.mask)
        _draw_lines(picture, one.measurements, scale)
    _caption(picture, result)
    encoded = io.BytesIO()
    picture.save(encoded, format="PNG", optimize=True)
    return encoded.getvalue()


def _outlined(picture: Image.Image, label: str, mask: Mask) -> Image.Image:
    small = np.asarray(Image.fromarray(mask).resize(picture.size, Image.Resampling.NEAREST), dtype=bool)
    if not small.any():
        return picture
    pixels, colour = np.asarray(picture).copy(), np.array(_COLOURS.get(label, _OTHER))
    edge = small & ~ndimage.binary_erosion(small, iterations=max(1, picture.width // 400))
    pixels[small] = (pixels[small] * 0.85 + colour * 0.15).astype(np.uint8)
    pixels[edge] = colour
    drawn = Image.fromarray(pixels)
    row, column = (float(index.mean()) for index in np.nonzero(small))
    _write(drawn, (column, row), _NAMES.get(label, label), _COLOURS.get(label, _OTHER))
    return drawn


def _draw_lines(picture: Image.Image, measurements: Sequence[Measurement], scale: tuple[float, float]) -> None:
    pen = ImageDraw.Draw(picture)
    for line in (line for measurement in measurements for line in measurement.lines):
        pen.line([(x * scale[0], y * scale[1]) for x, y in line], fill=_LINE, width=max(1, picture.width // 400))


def _caption(picture: Image.Image, result: ImageResult) -> None:
    ratios = [m.value for one in result.results for m in one.measurements if m.name == "cardiothoracic_ratio"]
    text = " · ".join([f"CTR {ratio:.2f}" for ratio in ratios] + ["research use, not a medical device"])
    size = max(12, picture.width // 40)
    _write(picture, (picture.width / 2, picture.height - size), text, _LINE)


def _write(picture: Image.Image, at: tuple[float, float], text: str, colour: tuple[int, int, int]) -> None:
    size = max(12, picture.width // 40)
    pen = ImageDraw.Draw(picture)
    pen.text(at, text, fill=colour, font_size=size, anchor="mm", stroke_width=max(1, size // 16), stroke_fill=(0, 0, 0))
