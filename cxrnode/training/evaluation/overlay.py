"""Hides how a film is drawn with what was said and what is true.

Promises pictures to look at, for people; nothing reads them back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from cxrnode.domain.measurement import Diameter

SAID_INK = ((230, 70, 60), (60, 140, 240), (250, 190, 40))
TRUTH_INK = (255, 255, 255)
LINE_INK = (120, 255, 120)
CAPTION_INK = (255, 255, 0)
CAPTION_ROOM = 20
"""Pixels above the film."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnBox:
    """A box in the film's pixels: a true one is white, one that was said coloured with its caption."""

    left: float
    top: float
    right: float
    bottom: float
    caption: str
    true: bool


def draw_overlay(
    image: NDArray[np.float32],
    said: Sequence[NDArray[np.bool_]],
    truth: Sequence[NDArray[np.bool_]],
    lines: Sequence[Diameter | None],
    caption: str,
    path: Path,
    boxes: Sequence[DrawnBox] = (),
) -> None:
    """Draw a display picture (rows, cols) with the outlines of masks: truth in white, what was said in colour."""
    gray = np.rint(np.clip(image, 0.0, 1.0) * 255).astype(np.uint8)
    picture = np.stack([gray, gray, gray], axis=-1)
    for mask in truth:
        picture[_outline(mask)] = TRUTH_INK
    for mask, ink in zip(said, SAID_INK, strict=False):
        picture[_outline(mask)] = ink
    film = Image.fromarray(picture)
    pen = ImageDraw.Draw(film)
    for line in lines:
        if line is not None:
            pen.line((line.left, line.row, line.right - 1, line.row), fill=LINE_INK)
    for box in boxes:
        _draw_box(pen, box)
    _captioned(film, caption).save(path)


def _captioned(film: Image.Image, caption: str) -> Image.Image:
    """Put the caption above the film, where it hides nothing and is not cut off."""
    font = ImageFont.load_default(12)
    canvas = Image.new("RGB", (max(film.width, round(font.getlength(caption)) + 12), film.height + CAPTION_ROOM))
    canvas.paste(film, (0, CAPTION_ROOM))
    ImageDraw.Draw(canvas).text((4, 2), caption, fill=CAPTION_INK, font=font)
    return canvas


def _draw_box(pen: ImageDraw.ImageDraw, box: DrawnBox) -> None:
    ink = TRUTH_INK if box.true else SAID_INK[0]
    pen.rectangle((box.left, box.top, box.right - 1, box.bottom - 1), outline=ink, width=2)
    pen.text((box.left + 4, box.top + 3), box.caption, fill=ink, font=ImageFont.load_default(12))


def _outline(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return np.asarray(mask & ~ndimage.binary_erosion(mask))
