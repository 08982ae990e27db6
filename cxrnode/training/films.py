"""Hides how a film and its drawn structures are read together.

Promises a picture with one plane a structure, and which of the planes somebody drew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrnode.errors import NeedsOperator
from cxrnode.training.example import Example, is_drawn, read_mask, read_picture

CHANNELS = ("right_lung", "left_lung", "heart")


@dataclass(frozen=True, slots=True, kw_only=True)
class Film:
    """One radiograph read: `image` (rows, cols) 0..1, `truth` (C, rows, cols) bool in the order of the channels.

    `labelled` (C,) says which channels somebody drew; `pixel_aspect` is a pixel's height over its width.
    """

    image: NDArray[np.float32]
    truth: NDArray[np.bool_]
    labelled: NDArray[np.bool_]
    pixel_aspect: float


def read_film(example: Example, channels: Sequence[str] = CHANNELS) -> Film:
    """Read an example's picture and truth. Raises NeedsOperator where their sizes differ."""
    image = read_picture(example)
    drawn = {name: read_mask(example, name) for name in channels if is_drawn(example, name)}
    if any(mask.shape != image.shape for mask in drawn.values()):
        raise NeedsOperator("picture and mask differ in size", operation="read film", subject=example.name)
    nothing = np.zeros(image.shape, dtype=np.bool_)
    return Film(
        image=image,
        truth=np.stack([drawn.get(name, nothing) for name in channels]),
        labelled=np.array([name in drawn for name in channels]),
        pixel_aspect=pixel_aspect(example, image.shape),
    )


def pixel_aspect(example: Example, shape: tuple[int, ...]) -> float:
    """Give a pixel's height over its width: 1 unless the file is squashed."""
    rows, cols = shape
    aspect = cols / rows if example.true_aspect is None else example.true_aspect
    return cols / rows / aspect
