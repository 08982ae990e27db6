"""The outlines of a mask, as closed lines with few points.

Hides contourpy and how a line is thinned. Promises that every point of a mask's border lies within the tolerance of its
outline, that a hole has a ring of its own, and coordinates that are corner based: (0.5, 0.5) is the centre of the first
pixel (PS3.3 C.10.5.1.2).
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from contourpy import LineType, contour_generator
from numpy.typing import NDArray

from cxrnode.domain.finding import Mask

Point = tuple[float, float]
Ring = tuple[Point, ...]
"""A closed line of (column, row): its last point is its first."""

MOST_POINTS = 8000
"""Of a ring: the value of a presentation state's graphic holds 16383 numbers (PS3.5 7.1.2, a length of 16 bits)."""

_STRETCH = 256
"""Points of a line that are thinned together: a ragged line of any length costs no more than its length."""

_Points = NDArray[np.float64]


def rings(mask: Mask, tolerance: float) -> tuple[Ring, ...]:
    """Give the rings around and inside a mask, outer and inner ones alike, the largest first.

    They run through the borders between pixels, and cut a corner of one by half a pixel.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if rows.size == 0:
        return ()
    top, left = int(rows[0]), int(columns[0])
    window = np.pad(mask[top : rows[-1] + 1, left : columns[-1] + 1], 1).astype(np.float64)
    lines = contour_generator(z=window, line_type=LineType.Separate).lines(0.5)
    # A sample is a pixel's centre, and the window begins one pixel before the mask.
    start = np.array([left - 0.5, top - 0.5])
    moved = [np.asarray(line, dtype=np.float64) + start for line in lines]
    thinned = sorted((thin(line, tolerance) for line in moved), key=_extent, reverse=True)
    return tuple(tuple((float(column), float(row)) for column, row in line) for line in thinned)


def thin(ring: _Points, tolerance: float) -> _Points:
    """Leave out points of a closed line that lie within the tolerance of what is left (Douglas and Peucker, 1973).

    What would be no area any more stays as it is.
    """
    last = len(ring) - 1
    stops = [*range(0, last, _STRETCH), last]
    kept = np.zeros(len(ring), dtype=bool)
    kept[stops] = True
    waiting = list(pairwise(stops))
    while waiting:
        start, end = waiting.pop()
        away = _distances(ring[start : end + 1])
        middle = start + int(np.argmax(away))
        if away[middle - start] > tolerance:
            kept[middle] = True
            waiting += [(start, middle), (middle, end)]
    if np.count_nonzero(kept) > MOST_POINTS:
        return thin(ring, 2 * tolerance + 0.5)
    return ring[kept] if np.count_nonzero(kept) > 3 else ring


def _distances(points: _Points) -> _Points:
    """Give how far each of the points lies from the stretch between the first and the last."""
    start, along = points[0], points[-1] - points[0]
    length = float(along @ along)
    share = np.clip((points - start) @ along / length, 0.0, 1.0) if length else np.zeros(len(points))
    off = points - (start + share[:, None] * along)
    return np.asarray(np.hypot(off[:, 0], off[:, 1]))


def _extent(ring: _Points) -> tuple[float, float, float]:
    """Order rings by the area of the box around them, and by where that lies."""
    (left, top), (right, bottom) = ring.min(axis=0), ring.max(axis=0)
    return float((right - left) * (bottom - top)), -float(top), -float(left)
