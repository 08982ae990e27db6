"""The line around a mask in a report: exact where the mask reaches furthest, and never away from it."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from cxrnode.evidence.statements import border

_MASKS = arrays(bool, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=120), elements=st.booleans())


@given(_MASKS.filter(np.any))
def test_a_border_is_closed_and_reaches_exactly_as_far_as_its_mask(mask: np.ndarray) -> None:
    """On all four sides, in corner based coordinates, with more points than a box has."""
    points = np.array(border(np.ascontiguousarray(mask)))
    rows, columns = np.nonzero(mask)
    assert points.min(axis=0).tolist() == [columns.min(), rows.min()]
    assert points.max(axis=0).tolist() == [columns.max() + 1, rows.max() + 1]
    assert points[0].tolist() == points[-1].tolist()
    assert len(points) > 5


@given(_MASKS.filter(np.any))
def test_a_border_runs_at_the_outermost_pixels_of_the_rows_it_passes(mask: np.ndarray) -> None:
    """Left on the way down, right on the way up, through the middle of each row."""
    drawn: dict[int, list[float]] = {}
    for column, row in border(np.ascontiguousarray(mask)):
        if row % 1:
            drawn.setdefault(int(row), []).append(column)
    for row, ends in drawn.items():
        taken = np.flatnonzero(mask[row])
        assert ends == [taken[0], taken[-1] + 1]
