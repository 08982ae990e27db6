"""Agreement and its uncertainty, on numbers that can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from cxrnode.training.evaluation.estimate import estimate
from cxrnode.training.evaluation.overlap import dice, iou


def test_dice_and_iou_of_halves_that_overlap_by_half() -> None:
    """Two of four cells in common of three each: Dice 2/3 and IoU 1/2."""
    said, truth = np.array([1, 1, 1, 0], dtype=bool), np.array([0, 1, 1, 1], dtype=bool)
    assert dice(said, truth) == pytest.approx(2 / 3)
    assert iou(said, truth) == pytest.approx(1 / 2)


def test_nothing_said_of_nothing_is_right() -> None:
    """Two empty masks agree."""
    nothing = np.zeros(4, dtype=bool)
    assert dice(nothing, nothing) == iou(nothing, nothing) == 1.0


def test_interval_holds_the_mean_and_is_the_same_each_time() -> None:
    """Seeded, and about two standard errors to each side."""
    values = np.random.default_rng(0).normal(0.9, 0.1, 200).tolist()
    patients = [str(index) for index in range(200)]
    one = estimate(values, patients)
    assert one == estimate(values, patients)
    assert one.low < one.mean < one.high
    assert one.high - one.low == pytest.approx(4 * 0.1 / np.sqrt(200), rel=0.2)


def test_films_of_one_patient_count_as_one_draw() -> None:
    """Ten copies of each film of twenty patients are no surer than one of each."""
    values = np.random.default_rng(0).normal(0.9, 0.1, 20).tolist()
    patients = [str(index) for index in range(20)]
    one, copies = estimate(values, patients), estimate(values * 10, patients * 10)
    assert copies.n == 200
    assert copies.high - copies.low == pytest.approx(one.high - one.low, rel=1e-6)


def test_no_values_make_no_estimate() -> None:
    """An empty source is an error, not a zero."""
    with pytest.raises(ValueError, match="at least one"):
        estimate([], [])
