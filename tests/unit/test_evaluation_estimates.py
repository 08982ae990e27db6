"""Agreement and its uncertainty, on numbers that can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from cxrnode.training.evaluation.estimate import area_under_curve, estimate, mean_of_areas, rate
from cxrnode.training.evaluation.overlap import compare, dice, iou


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


def test_area_under_the_curve_is_that_of_scikit_learn_with_ties() -> None:
    """On scores of few values, where half the pairs are ties."""
    rng = np.random.default_rng(0)
    scores, truth = rng.integers(0, 4, 60) / 4, rng.random(60) < 0.4
    area = area_under_curve(scores, truth, [str(n) for n in range(60)])
    assert area is not None
    assert area.value == pytest.approx(roc_auc_score(truth, scores))
    assert area.low < area.value < area.high


def test_a_perfect_answer_has_an_area_of_one_and_one_class_has_none() -> None:
    """Nothing is ranked where there is nothing to rank against."""
    patients = [str(n) for n in range(6)]
    truth = [False, False, False, True, True, True]
    perfect = area_under_curve([1, 2, 3, 4, 5, 6], truth, patients)
    assert perfect is not None
    assert (perfect.low, perfect.value, perfect.high) == (1.0, 1.0, 1.0)
    assert area_under_curve([1, 2, 3, 4, 5, 6], [True] * 6, patients) is None


def test_mean_of_areas_is_their_mean_and_needs_both_classes() -> None:
    """The macro average of two classes, one ranked well and one by chance."""
    rng = np.random.default_rng(1)
    first, second = rng.random(80) < 0.5, rng.random(80) < 0.5
    pairs = [(first + rng.normal(0, 0.5, 80), first), (rng.random(80), second)]
    patients = [str(n // 2) for n in range(80)]
    mean = mean_of_areas(pairs, patients)
    assert mean.value == pytest.approx(np.mean([roc_auc_score(truth, scores) for scores, truth in pairs]))
    with pytest.raises(ValueError, match="both classes"):
        mean_of_areas([(rng.random(80), np.ones(80, dtype=bool))], patients)


def test_a_rate_is_a_ratio_of_sums_and_of_nothing_there_is_none() -> None:
    """Three of four hits; films that do not count are not counted."""
    share = rate([1, 1, 1, 0, 0], [1, 1, 1, 1, 0], list("abcde"))
    assert share is not None
    assert (share.value, share.n) == (0.75, 4)
    assert share.low < 0.75 <= share.high
    assert rate([0, 0], [0, 0], ["a", "b"]) is None


def test_precision_and_recall_of_masks() -> None:
    """Said three pixels, two of them true; four are true, of ten."""
    said = np.array([1, 1, 1, 0, 0, 0, 0, 0, 0, 0], dtype=bool)
    truth = np.array([0, 1, 1, 1, 1, 0, 0, 0, 0, 0], dtype=bool)
    counts = compare(said, truth)
    assert counts.precision == pytest.approx(2 / 3)
    assert counts.recall == pytest.approx(1 / 2)
    assert counts.accuracy == pytest.approx(7 / 10)
