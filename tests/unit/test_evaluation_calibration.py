"""Calibration and operating points, against distortions that are known and shares that can be counted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, log_softmax

from cxrnode.training.evaluation.calibration import (
    Aim,
    Bin,
    calibration_error,
    choose_points,
    fit_sigmoid,
    fit_softmax,
    read_aim,
    reliability,
)


def test_a_known_distortion_of_logits_is_found_again() -> None:
    """Logits three times too sure and shifted: the scale comes back as a third, and the shift."""
    rng = np.random.default_rng(0)
    honest = rng.normal(-1.0, 2.0, 6000)
    truth = rng.random(6000) < expit(honest)
    found = fit_sigmoid(3.0 * honest + 1.5, truth)
    assert found.scale == pytest.approx(1 / 3, rel=0.06)
    assert found.bias == pytest.approx(-0.5, abs=0.1)


def test_calibration_lowers_the_calibration_error() -> None:
    """Of a network that is far too sure."""
    rng = np.random.default_rng(1)
    honest = rng.normal(0.0, 1.0, 2000)
    truth, said = rng.random(2000) < expit(honest), 4.0 * honest
    before = calibration_error(reliability(expit(said), truth))
    after = calibration_error(reliability(expit(fit_sigmoid(said, truth).logit(said)), truth))
    assert before > 0.1 > 0.04 > after


def test_a_group_is_scaled_so_that_its_truth_surprises_less() -> None:
    """Three classes, one with its logits three times too large; fitted twice, the same numbers."""
    rng = np.random.default_rng(2)
    honest = rng.normal(0.0, 1.5, (3000, 3))
    classes = (honest + rng.gumbel(size=honest.shape)).argmax(axis=1)
    said = honest * np.array([1.0, 3.0, 1.0]) + np.array([0.0, 0.0, 1.0])
    found = fit_softmax(said, classes)
    assert found == fit_softmax(said, classes)
    scaled = np.stack([one.logit(said[:, index]) for index, one in enumerate(found)], axis=1)
    assert surprise(scaled, classes) < 0.9 * surprise(said, classes)
    assert surprise(scaled, classes) == pytest.approx(surprise(honest, classes), rel=0.02)


def test_few_films_do_not_make_a_class_all_but_certain() -> None:
    """Thirty films whose classes are nearly told apart: no scale runs away from the others."""
    rng = np.random.default_rng(5)
    classes = np.arange(30) % 3
    said = rng.normal(0.0, 0.6, (30, 3)) + np.eye(3)[classes] * np.array([3.0, 0.5, 0.5])
    scales = [one.scale for one in fit_softmax(said, classes)]
    assert max(scales) < 2 * min(scales)


def surprise(logits: np.ndarray, classes: np.ndarray) -> float:
    """Mean negative logarithm of the true class's probability."""
    return float(-log_softmax(logits, axis=1)[np.arange(len(classes)), classes].mean())


def test_one_class_alone_changes_nothing() -> None:
    """Nothing is learnt of a finding that every film has."""
    logits = np.array([1.0, 2.0, 3.0])
    assert fit_sigmoid(logits, np.ones(3, dtype=bool)).logit(logits).tolist() == logits.tolist()


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    count=st.integers(10, 80),
    aimed=st.sampled_from([0.8, 0.9, 0.95, 0.99]),
    kind=st.sampled_from(["sensitivity", "specificity"]),
    coarse=st.booleans(),
)
def test_points_meet_their_aim_whatever_the_films(seed: int, count: int, aimed: float, kind: str, coarse: bool) -> None:
    """The aim is met, the band keeps its shares, and the points lie in order."""
    rng = np.random.default_rng(seed)
    truth = np.arange(count) % 3 == 0
    said = expit(rng.normal(1.5 * truth, 1.0))
    said = np.round(said, 1) if coarse else said
    points = choose_points(said, truth, Aim(kind=kind, value=aimed))  # type: ignore[arg-type]
    assert 0 < points.low <= points.operating_point <= points.high < 1
    reached = points.sensitivity if kind == "sensitivity" else points.specificity
    # A film said to be certain (1.0) stays over the highest point that a card may state.
    assert reached >= aimed - 1e-9 or said[~truth].max() == 1.0
    assert np.mean(said[truth] < points.low) <= 0.05 + 1e-9
    assert np.mean(said[~truth] >= points.high) <= 0.05 + 1e-9 or said[~truth].max() == 1.0


def test_points_need_films_of_both_kinds() -> None:
    """No point from one class."""
    with pytest.raises(ValueError, match="without"):
        choose_points(np.array([0.1, 0.9]), np.array([True, True]), Aim(kind="sensitivity", value=0.9))


def test_an_aim_is_read_from_the_cards_own_words() -> None:
    """What calibrate writes it reads again; other words state no aim."""
    assert read_aim("sensitivity 0.90 on the validation part") == Aim(kind="sensitivity", value=0.90)
    assert read_aim("specificity 0.995 on the validation part") == Aim(kind="specificity", value=0.995)
    assert str(Aim(kind="specificity", value=0.995)) == "specificity 0.995"
    assert read_aim("nothing: never trained") is None


def test_reliability_and_its_error_by_hand() -> None:
    """Two bins: said 0.2, true 0; said 0.8, true one half: (0.2 + 0.3) / 2."""
    said = np.array([0.2, 0.2, 0.8, 0.8])
    bins = reliability(said, np.array([False, False, True, False]), 2)
    assert bins == (Bin(n=2, said=0.2, true=0.0), Bin(n=2, said=0.8, true=0.5))
    assert calibration_error(bins) == pytest.approx(0.25)
