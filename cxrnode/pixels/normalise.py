"""Hides how a display picture's gray values become the numbers a network sees.

Promises that two pictures which differ by a monotone curve only (another window, another gamma, a rescale slope)
give the network nearly the same numbers, that a flat frame (padding, collimation, a page's margin) has no say in it,
neither in gray values nor in scale, and that training and inference run this very code.

The curve is an equalisation with few knots: quantiles of the picture's content are mapped to evenly spaced
values. A monotone curve moves the quantiles with the pixels, so it cancels out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cxrnode.pixels.geometry import Letterbox, Window, fit_letterbox, place, shrink

FloatArray = NDArray[np.float32]

KNOTS = np.linspace(0.005, 0.995, 34)
FLAT = 0.02
"""A border row whose middle nine tenths spread over less than this share of the picture's range holds no anatomy."""
WIDEST_FRAME = 0.25
"""The most of a side that is taken for frame at each end: what is flat beyond that may be what the picture shows."""
PROFILE = 64
"""Means that a row or column is looked at by, so that a scanner's grain is not taken for anatomy."""
PLATEAU = 0.004
"""Values this near to the picture's darkest or brightest are saturated or padding (one step of eight bits)."""


def prepare(image: FloatArray, size: int, pixel_aspect: float = 1.0) -> tuple[FloatArray, Letterbox]:
    """Bring a display picture (rows, cols; 0 black to 1 white) to the network's input (size, size).

    Returns the input, 0..1 in the letterbox and 0 outside, and the letterbox that leads back: it looks at what is
    inside a flat frame. Raises Unsuitable where the picture is too thin.
    """
    rows, cols = image.shape
    box = fit_letterbox(rows, cols, size, pixel_aspect, _inside_the_frame(image))
    return place(normalise(shrink(image, box)), box), box


def _inside_the_frame(image: FloatArray) -> Window:
    """Find what a flat frame leaves of a picture; each row and column is judged by PROFILE means along it."""
    rows, cols = image.shape
    spread = float(image.max() - image.min())
    top, bottom = _ends(_not_flat(_means(image, axis=1), spread, axis=1), rows)
    left, right = _ends(_not_flat(_means(image, axis=0), spread, axis=0), cols)
    return Window(top=top, left=left, bottom=bottom, right=right)


def _means(image: FloatArray, axis: int) -> FloatArray:
    """Average a picture along one axis to PROFILE values, or leave it as it is where there are fewer."""
    parts = np.array_split(image, min(PROFILE, image.shape[axis]), axis=axis)
    return np.stack([part.mean(axis=axis) for part in parts], axis=axis)


def _ends(alive: slice, count: int) -> tuple[int, int]:
    first, last, _ = alive.indices(count)
    widest = int(WIDEST_FRAME * count)
    return min(first, widest), max(last, count - widest)


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
