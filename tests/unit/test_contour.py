"""Outlines of masks: nothing lost, nothing moved, few points."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from cxrnode.evidence.contour import MOST_POINTS, Ring, rings, thin


def _filled(lines: tuple[Ring, ...], shape: tuple[int, int]) -> np.ndarray:
    """Fill rings by the even-odd rule, asking each pixel's centre."""
    rows, columns = (index + 0.5 for index in np.indices(shape))
    inside = np.zeros(shape, dtype=bool)
    for ring in lines:
        for (x1, y1), (x2, y2) in pairwise(ring):
            if y1 != y2:
                spans = (rows < max(y1, y2)) & (rows >= min(y1, y2))
                inside ^= spans & (columns < x1 + (rows - y1) * (x2 - x1) / (y2 - y1))
    return inside


@pytest.mark.parametrize("seed", range(20))
def test_filling_the_rings_gives_the_mask_back(seed: int) -> None:
    """Any mask, with holes, single pixels and pixels at the image's edge; every ring is closed."""
    draw = np.random.default_rng(seed)
    mask = draw.random((14, 11)) < draw.uniform(0.05, 0.95)
    lines = rings(mask, 0.0)
    assert all(ring[0] == ring[-1] for ring in lines)
    assert np.array_equal(_filled(lines, mask.shape), mask)


def test_a_straight_border_runs_between_the_pixels() -> None:
    """Corner based: rows 2 to 5 of a mask lie between 2.0 and 6.0."""
    mask = np.zeros((10, 12), dtype=bool)
    mask[2:6, 3:9] = True
    (ring,) = rings(mask, 0.0)
    columns, rows = zip(*ring, strict=True)
    assert (min(columns), max(columns), min(rows), max(rows)) == (3.0, 9.0, 2.0, 6.0)
    assert len(ring) == 9, "four sides, four corners cut, and back"


def test_a_hole_is_a_ring_of_its_own_and_the_largest_ring_comes_first() -> None:
    """So a viewer that fills nothing shows both borders."""
    mask = np.zeros((40, 40), dtype=bool)
    mask[5:35, 5:35] = True
    mask[15:20, 15:20] = False
    mask[37, 37] = True
    widths = [max(column for column, _ in ring) - min(column for column, _ in ring) for ring in rings(mask, 0.0)]
    assert widths == [30.0, 5.0, 1.0]


def test_no_pixel_no_ring() -> None:
    """An empty mask has no outline."""
    assert rings(np.zeros((4, 4), dtype=bool), 1.0) == ()


@pytest.mark.parametrize("tolerance", [0.5, 1.2, 4.0])
def test_what_is_left_out_lies_within_the_tolerance(tolerance: float) -> None:
    """A circle of four hundred points needs a few dozen, and no point is further off than asked for."""
    angle = np.linspace(0, 2 * np.pi, 401)
    circle = np.stack([500 + 400 * np.cos(angle), 500 + 300 * np.sin(angle)], axis=1)
    circle[-1] = circle[0]
    left = thin(circle, tolerance)
    assert len(left) < 120
    assert max(_away(point, left) for point in circle) <= tolerance + 1e-9
    assert len(thin(circle, 4.0)) < len(thin(circle, 0.5))


def _away(point: np.ndarray, line: np.ndarray) -> float:
    nearest = []
    for start, end in pairwise(line):
        along = end - start
        share = np.clip((point - start) @ along / (along @ along), 0, 1)
        nearest.append(float(np.hypot(*(point - start - share * along))))
    return min(nearest)


def test_a_ring_never_has_more_points_than_an_element_holds() -> None:
    """A comb of three thousand teeth is thinned until it fits; the tolerance gives way."""
    mask = np.zeros((20, 6001), dtype=bool)
    mask[:10] = True
    mask[10:, ::2] = True
    lines = rings(mask, 0.0)
    assert max(len(ring) for ring in lines) <= MOST_POINTS


def test_a_region_too_small_for_the_tolerance_is_still_drawn() -> None:
    """One pixel of a large image keeps its four sides."""
    mask = np.zeros((9, 9), dtype=bool)
    mask[4, 4] = True
    assert rings(mask, 50.0) == (((4.0, 4.5), (4.5, 4.0), (5.0, 4.5), (4.5, 5.0), (4.0, 4.5)),)
