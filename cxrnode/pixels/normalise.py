"""Hides how a display picture's gray values become the numbers a network sees.

Promises that two pictures which differ by a monotone curve only (another window, another gamma, a rescale slope)
give the network nearly the same numbers, that padding and collimation borders have no say in it, and that training
and inference run this very code.

The curve is an equalisation with few knots: quantiles of the picture's content are mapped to evenly spaced
values. A monotone curve moves the quantiles with the pixels, so it cancels out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cxrnode.pixels.geometry import Letterbox, fit_letterbox, place, shrink

FloatArray = NDArray[np.float32]

KNOTS = np.linspace(0.005, 0.995, 34)
FLAT = 0.02
"""A border row whose middle nine tenths spread over less than this share of the picture's range holds no anatomy."""
PLATEAU = 0.004
"""Values this near to the picture's darkest or brightest are saturated or padding (one step of eight bits)."""


def prepare(image: FloatArray, size: int, pixel_aspect: float = 1.0) -> tuple[FloatArray, Letterbox]:
    """Bring a display picture (rows, cols; 0 black to 1 white) to the network's input (size, size).

    Returns the input, 0..1 in the letterbox and 0 outside, and the letterbox that leads back. Raises Unsuitable
    where the picture is too thin.
    """
    box = fit_letterbox(image.shape[0], image.shape[1], size, pixel_aspect)
    return place(normalise(shrink(image, box)), box), box


def normalise(image: FloatArray) -> FloatArray:
    """Equalise a picture (rows, cols) by the quantiles of its content; returns float32, 0..1.

    A picture of one value comes back as zeros.
    """
    content = _content(image)
    if content.size == 0:
        return np.zeros_like(image, dtype=np.float32)
    values, ranks = _curve(content)
    return np.interp(image, values, ranks).astype(np.float32)


def _curve(content: FloatArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give the knots of the curve; equal quantiles (few gray levels) share the mean of their ranks."""
    quantiles = np.quantile(content, KNOTS).astype(np.float64)
    targets = np.linspace(0.0, 1.0, len(KNOTS))
    values, group = np.unique(quantiles, return_inverse=True)
    ranks = np.bincount(group, weights=targets) / np.bincount(group)
    return values, ranks


def _content(image: FloatArray) -> FloatArray:
    """Pick the pixels that have a say: inside the flat borders, and not saturated unless nearly all are."""
    low, high = float(image.min()), float(image.max())
    if high <= low:
        return np.empty(0, dtype=np.float32)
    inner = image[_not_flat(image, high - low, axis=1), :][:, _not_flat(image, high - low, axis=0)]
    margin = PLATEAU * (high - low)
    kept = inner[(inner > low + margin) & (inner < high - margin)]
    return kept if kept.size >= 0.2 * inner.size and kept.size > 0 else image.ravel()


def _not_flat(image: FloatArray, spread: float, axis: int) -> slice:
    """Find the first and last row (axis=1) or column (axis=0) that is not flat."""
    low, high = np.quantile(image, [0.05, 0.95], axis=axis)
    alive = np.flatnonzero(high - low > FLAT * spread)
    return slice(int(alive[0]), int(alive[-1]) + 1) if alive.size else slice(None)
