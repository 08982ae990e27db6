"""Hides how a film is drawn with what was said and what is true.

Promises pictures to look at, for people; nothing reads them back.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from cxrnode.domain.measurement import Diameter

SAID_INK = ((230, 70, 60), (60, 140, 240), (250, 190, 40))
TRUTH_INK = (255, 255, 255)


def draw_overlay(
    image: NDArray[np.float32],
    said: Sequence[NDArray[np.bool_]],
    truth: Sequence[NDArray[np.bool_]],
    lines: Sequence[Diameter | None],
    caption: str,
    path: Path,
) -> None:
    """Draw a display picture (rows, cols) with the outlines of masks: truth in white, what was said in colour."""
    gray = np.rint(np.clip(image, 0.0, 1.0) * 255).astype(np.uint8)
    picture = np.stack([gray, gray, gray], axis=-1)
    for mask in truth:
        picture[_outline(mask)] = TRUTH_INK
    for mask, ink in zip(said, SAID_INK, strict=False):
        picture[_outline(mask)] = ink
    canvas = Image.fromarray(picture)
    pen = ImageDraw.Draw(canvas)
    for line in lines:
        if line is not None:
            pen.line((line.left, line.row, line.right - 1, line.row), fill=(120, 255, 120))
    pen.text((4, 4), caption, fill=(255, 255, 0))
    canvas.save(path)


def _outline(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return np.asarray(mask & ~ndimage.binary_erosion(mask))
