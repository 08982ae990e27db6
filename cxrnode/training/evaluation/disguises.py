"""Hides how a film is given another hospital's habits: markers, borders, another size, another JPEG.

Promises that no disguise changes what the film shows of the patient, that each is a function of (film, generator), and
that each says where in it the plain film lies. Pictures are (rows, cols), 0 black to 1 white.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from cxrnode.pixels.geometry import resample

FloatArray = NDArray[np.float32]
Generator = np.random.Generator
Place = tuple[slice, slice]
"""Rows and columns of a disguised film that are those of the plain one."""

WHOLE: Place = (slice(None), slice(None))
MARKERS = ("R", "L", "AP", "PA", "PORTABLE", "SUPINE", "ERECT", "12:45", "#3")
QUALITIES = (60, 72, 80, 90)
"""JPEG qualities: about what the public sets were saved with."""
SIDES = (224, 299, 512)
"""Longer sides in pixels that the public sets were shrunk to."""


def burn_markers(image: FloatArray, rng: Generator) -> tuple[FloatArray, Place]:
    """Burn one to three bright markers into the upper corners and the edges, where technicians put them."""
    rows, cols = image.shape
    canvas = Image.fromarray(_bytes(image))
    pen = ImageDraw.Draw(canvas)
    for _ in range(int(rng.integers(1, 4))):
        text = str(rng.choice(MARKERS))
        font = ImageFont.load_default(max(10, round(rng.uniform(0.035, 0.07) * rows)))
        width, height = font.getbbox(text)[2:]
        left = rng.uniform(0.01, 0.12) if rng.random() < 0.5 else rng.uniform(0.85, 0.97) - width / cols
        top = rng.uniform(0.02, 0.25) if rng.random() < 0.8 else rng.uniform(0.85, 0.95) - height / rows
        pen.text((max(0.0, left) * cols, max(0.0, top) * rows), text, fill=int(rng.integers(200, 256)), font=font)
    return _floats(canvas), WHOLE


def add_border(image: FloatArray, rng: Generator) -> tuple[FloatArray, Place]:
    """Put a black, gray or white frame round the film, wider on some sides: collimation, a scanner's bed, a page."""
    rows, cols = image.shape
    top, bottom, left, right = (round(side) for side in rng.uniform(0.0, 0.10, 4) * (rows, rows, cols, cols))
    value = float(rng.choice([0.0, 0.0, 0.5, 1.0]))
    framed = np.pad(image, ((top, bottom), (left, right)), constant_values=np.float32(value))
    return framed, (slice(top, top + rows), slice(left, left + cols))


def add_uneven_border(image: FloatArray, rng: Generator) -> tuple[FloatArray, Place]:
    """Put such a frame round the film that is not of one gray: it brightens or darkens on its way, and has grain.

    What looks for a flat frame does not find this one.
    """
    framed, there = add_border(image, rng)
    down, across = np.ogrid[0.0 : 1.0 : framed.shape[0] * 1j, 0.0 : 1.0 : framed.shape[1] * 1j]
    grain = rng.uniform(0.0, 0.08) * rng.standard_normal(framed.shape)
    uneven = np.clip(np.abs(framed - rng.uniform(0.1, 0.4) * (down + across) / 2 - grain), 0.0, 1.0)
    uneven[there] = image
    return uneven.astype(np.float32), there


def resize(image: FloatArray, rng: Generator) -> tuple[FloatArray, Place]:
    """Shrink the film to the size of a public set and bring it back: what was fine is gone."""
    rows, cols = image.shape
    side = int(rng.choice([one for one in SIDES if one < max(rows, cols)] or [round(0.75 * max(rows, cols))]))
    scale = side / max(rows, cols)
    small = resample(image, max(1, round(rows * scale)), max(1, round(cols * scale)))
    return resample(small, rows, cols), WHOLE


def save_as_jpeg(image: FloatArray, rng: Generator) -> tuple[FloatArray, Place]:
    """Save the film as a JPEG once more, of a quality that the public sets have."""
    kept = io.BytesIO()
    Image.fromarray(_bytes(image)).save(kept, "JPEG", quality=int(rng.choice(QUALITIES)))
    with Image.open(kept) as picture:
        return _floats(picture), WHOLE


DISGUISES: Mapping[str, Callable[[FloatArray, Generator], tuple[FloatArray, Place]]] = {
    "burned-in markers": burn_markers,
    "borders": add_border,
    "uneven borders": add_uneven_border,
    "resampling": resize,
    "JPEG": save_as_jpeg,
}


def _bytes(image: FloatArray) -> NDArray[np.uint8]:
    return np.rint(np.clip(image, 0.0, 1.0) * 255).astype(np.uint8)


def _floats(picture: Image.Image) -> FloatArray:
    return np.asarray(picture, dtype=np.float32) / np.float32(255)
