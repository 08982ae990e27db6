"""The line around a mask in a report: exact where the mask reaches furthest, and never away from it."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage

from cxrnode.evidence.statements import border, largest_piece

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


@given(_MASKS.filter(np.any))
def test_the_largest_piece_is_one_piece_of_the_mask(mask: np.ndarray) -> None:
    """Nothing is added, and no other piece has more pixels."""
    piece, count = largest_piece(np.ascontiguousarray(mask))
    labels, found = ndimage.label(mask, structure=np.ones((3, 3)))
    assert (found, piece.dtype, piece.shape) == (count, mask.dtype, mask.shape)
    (label,) = np.unique(labels[piece])
    assert np.array_equal(labels == label, piece)
    assert piece.sum() == max(np.bincount(labels.ravel())[1:])


def test_a_border_does_not_cross_what_lies_between_two_pieces() -> None:
    """Air at an apex and air at the base of one side: a line around both would run through the lung."""
    mask = np.zeros((900, 900), dtype=bool)
    mask[100:300, 100:200] = mask[250:500, 700:800] = True
    piece, count = largest_piece(mask)
    columns = [column for column, _ in border(piece)]
    assert (count, min(columns), max(columns)) == (2, 700, 800)
