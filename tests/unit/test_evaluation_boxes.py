"""Boxes scored as the RSNA challenge scored them, on boxes that can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from cxrnode.training.evaluation.detection import (
    Boxed,
    best_point,
    film_precision,
    froc,
    match,
    mean_precision,
    read_froc,
    report_boxes,
)

NONE = np.zeros((0, 4))
TRUE = np.array([[0.0, 0.0, 10.0, 10.0]])
HALF = np.array([[0.0, 0.0, 10.0, 5.0]])
"""Overlaps TRUE by an IoU of exactly one half: a hit at 0.40 and 0.45, at 0.50 no more."""
AWAY = np.array([[50.0, 50.0, 60.0, 60.0]])


def film(name: str, truth: np.ndarray, said: np.ndarray, probabilities: list[float]) -> Boxed:
    """One film of its own patient."""
    return Boxed(name=name, source="here", patient=name, truth=truth, said=said, probabilities=np.array(probabilities))


def test_a_films_score_is_the_mean_over_eight_thresholds() -> None:
    """A box that overlaps by one half hits at two of the eight."""
    assert film_precision(TRUE, TRUE) == 1.0
    assert film_precision(HALF, TRUE) == pytest.approx(2 / 8)


def test_a_box_too_many_and_a_box_missed_each_cost_a_half() -> None:
    """One hit, one box too many: 1 / 2. One hit, one true box missed: 1 / 2."""
    assert film_precision(np.concatenate([TRUE, AWAY]), TRUE) == pytest.approx(1 / 2)
    assert film_precision(TRUE, np.concatenate([TRUE, AWAY])) == pytest.approx(1 / 2)


def test_boxes_on_a_film_without_truth_count_nought_and_an_empty_film_not_at_all() -> None:
    """So silence on a normal film neither gains nor loses."""
    assert film_precision(AWAY, NONE) == 0.0
    assert film_precision(NONE, TRUE) == 0.0
    assert film_precision(NONE, NONE) is None
    films = [film("a", TRUE, TRUE, [0.9]), film("b", NONE, AWAY, [0.8]), film("c", NONE, NONE, [])]
    score = mean_precision(films, 0.5)
    assert score is not None
    assert (score.value, score.n) == (0.5, 2)
    higher = mean_precision(films, 0.85)
    assert higher is not None
    assert (higher.value, higher.n) == (1.0, 1)


def test_the_surer_box_takes_the_truth_and_a_second_one_is_too_many() -> None:
    """Two boxes on one true box: one hit."""
    said = np.concatenate([HALF, TRUE])
    assert [pair[:2] for pair in match(said, TRUE, 0.4)] == [(0, 0)]
    assert film_precision(said, TRUE) == pytest.approx(np.mean([1 / 2, 1 / 2, *[1 / 2] * 6]))


def test_froc_counts_hits_against_boxes_too_many_a_film() -> None:
    """A wrong box surer than the right one: nothing is hit before half a box too many a film."""
    films = [film("a", TRUE, np.concatenate([AWAY, TRUE]), [0.9, 0.6]), film("b", NONE, AWAY, [0.3])]
    assert froc(films) == ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (1.0, 1.0))
    assert read_froc(froc(films), (0.25, 0.5, 2.0)) == (0.0, 1.0, 1.0)
    assert froc([film("b", NONE, AWAY, [0.3])]) == ()


def test_the_best_point_leaves_the_false_boxes_out() -> None:
    """Between the hit and the false alarms."""
    films = [film("a", TRUE, TRUE, [0.7])] + [film(f"n{n}", NONE, AWAY, [0.1 * n]) for n in range(1, 6)]
    assert 0.5 < best_point(films) <= 0.7


def test_a_label_is_reported_with_its_counts() -> None:
    """Hits, precision and the overlap of the boxes that hit."""
    films = [film("a", TRUE, HALF, [0.9]), film("b", TRUE, AWAY, [0.8]), film("c", NONE, NONE, [])]
    report = report_boxes(films, "lung_opacity", "here", 0.5)
    assert (report.films, report.positive) == (3, 2)
    assert report.recall is not None
    assert report.recall.value == 0.5
    assert report.precision is not None
    assert report.precision.value == 0.5
    assert report.matched_iou is not None
    assert (report.matched_iou.n, report.matched_iou.mean) == (1, 0.5)
