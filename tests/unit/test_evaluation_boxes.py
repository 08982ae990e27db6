"""Boxes scored as the RSNA challenge scored them, on boxes that can be worked out by hand."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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

Corners = tuple[int, int, int, int]
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


def test_a_box_matched_early_may_cost_a_later_one_its_hit() -> None:
    """True boxes 0-10 and 5-15 wide, 10 high; said 4-14 (IoU 6/14 and 9/11), then 6-16 (4/16 and 9/11).

    The surer one takes the second true box at all thresholds, and what would hit only that one then hits nothing: a
    hit, a box too many, one missed. The other way round the later one still hits the first true box at 0.40: two hits.
    """
    truth = np.array([[0.0, 0, 10, 10], [5.0, 0, 15, 10]])
    both, second_only = np.array([[4.0, 0, 14, 10]]), np.array([[6.0, 0, 16, 10]])
    assert film_precision(np.concatenate([both, second_only]), truth) == pytest.approx(1 / 3)
    assert film_precision(np.concatenate([second_only, both]), truth) == pytest.approx((1 + 7 / 3) / 8)


def test_a_set_of_films_is_scored_as_worked_out_by_hand() -> None:
    """Three films that count and one that does not: (1/2 + 1/8 + 0) / 3.

    A hit and a box missed; an overlap of a half beside a box too many, at two of eight thresholds 1/2; a false alarm.
    """
    films = [
        film("a", np.concatenate([TRUE, AWAY]), np.concatenate([TRUE, TRUE]), [0.9, 0.2]),
        film("b", TRUE, np.concatenate([AWAY, HALF]), [0.8, 0.7]),
        film("c", NONE, AWAY, [0.6]),
        film("d", NONE, AWAY, [0.4]),
    ]
    score = mean_precision(films, 0.5)
    assert score is not None
    assert (score.value, score.n) == (pytest.approx((1 / 2 + 1 / 8) / 3), 3)


def _counted_again(said: list[Corners], truth: list[Corners]) -> Fraction | None:
    """Score a film by the challenge's own words, in whole numbers."""
    if not said and not truth:
        return None
    scores = []
    for threshold in (Fraction(n, 100) for n in range(40, 80, 5)):
        free, hits = list(truth), 0
        for box in said:
            best = max(free, key=lambda true: _iou(box, true), default=None)
            if best is not None and _iou(box, best) > threshold:
                free.remove(best)
                hits += 1
        too_many, missed = len(said) - hits, len(free)
        scores.append(Fraction(hits, hits + too_many + missed))
    return sum(scores, Fraction()) / len(scores)


def _iou(one: Corners, other: Corners) -> Fraction:
    cells, others = (
        {(x, y) for x in range(left, right) for y in range(top, bottom)} for left, top, right, bottom in (one, other)
    )
    return Fraction(len(cells & others), len(cells | others))


boxes = st.lists(
    st.tuples(*[st.integers(0, 4)] * 2, *[st.integers(2, 6)] * 2).map(lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])),
    max_size=4,
)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(boxes, boxes), min_size=1, max_size=4), st.floats(0, 1))
def test_the_score_is_that_of_counting_cells_one_by_one(
    drawn: list[tuple[list[Corners], list[Corners]]], point: float
) -> None:
    """On any few boxes of whole pixels, down to overlaps of exactly a threshold; no point is above the best point's."""
    films = [
        film(str(place), _array(truth), _array(said), list(np.linspace(0.9, 0.1, len(said)) + place / 100))
        for place, (said, truth) in enumerate(drawn)
    ]
    counted = [
        _counted_again(said[: int((one.probabilities >= point).sum())], truth)
        for one, (said, truth) in zip(films, drawn, strict=True)
    ]
    scores = [score for score in counted if score is not None]
    got = mean_precision(films, point)
    assert (got.value if got else None) == (pytest.approx(float(sum(scores)) / len(scores)) if scores else None)
    best = mean_precision(films, best_point(films))
    assert got is None or (best is not None and best.value >= got.value - 1e-12)


def _array(found: list[Corners]) -> np.ndarray:
    return np.array(found, dtype=np.float64).reshape(-1, 4)


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
