"""Hides how a network's logits become probabilities that mean what they say, and where the points are set.

Promises the same answer for the same films: maximum likelihood with a weak prior, and counted quantiles. Guo C et al.
On calibration of modern neural networks. ICML 2017 (vector scaling; expected calibration error).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, log_expit, log_softmax, softmax

from cxrnode.inference.card import Calibration

Numbers = NDArray[np.float64]
Flags = NDArray[np.bool_]

PLACES = 6
"""Digits after the point of what is written into a card: another machine's last bits do not change it."""
STEP = 10.0**-PLACES
FEWEST_IN_BIN = 15
"""Films: a bin of fewer says more of chance than of the model, and makes its error look larger than it is."""

SCALE_SPREAD, OWN_SPREAD, BIAS_SPREAD = 0.7, 0.15, 1.5
"""The prior, as standard deviations: of the logarithm of a group's common scale, of how far a class's own scale may
leave it, and of a bias. Weak against hundreds of films; with fifty it keeps a class of twenty from a scale of five."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """What an operating point is chosen for."""

    kind: Literal["sensitivity", "specificity"]
    value: float

    def __str__(self) -> str:
        return f"{self.kind} {self.value:.2f}" if round(self.value, 2) == self.value else f"{self.kind} {self.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """The operating point, the band around it, and what it gives on the films that it was set on."""

    operating_point: float
    low: float
    high: float
    sensitivity: float
    specificity: float
    indeterminate: float
    positives: int
    negatives: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """One point of a reliability diagram: films of like probability, the mean said and the share that is true."""

    n: int
    said: float
    true: float


def read_aim(text: str) -> Aim | None:
    """Read "sensitivity 0.90 on the validation part"; None where it states no aim."""
    found = re.match(r"\s*(sensitivity|specificity)\s+(0?\.\d+)", text)
    if found is None:
        return None
    return Aim(kind="sensitivity" if found[1] == "sensitivity" else "specificity", value=float(found[2]))


def fit_sigmoid(logits: Numbers, truth: Flags) -> Calibration:
    """Fit one channel's calibration on logits (N,). Without films of both classes nothing is changed."""
    if truth.all() or not truth.any():
        return Calibration()
    sign = np.where(truth, 1.0, -1.0)

    def surprise(knobs: Numbers) -> tuple[float, Numbers]:
        scaled = np.exp(knobs[0]) * logits + knobs[1]
        slope = -sign * expit(-sign * scaled)
        gradient = np.array([(slope * np.exp(knobs[0]) * logits).sum(), slope.sum()])
        return float(-log_expit(sign * scaled).sum()), gradient

    log_scale, bias = _least(surprise, np.array([SCALE_SPREAD, BIAS_SPREAD]))
    return _rounded(log_scale, bias)


def fit_softmax(logits: Numbers, classes: NDArray[np.intp]) -> tuple[Calibration, ...]:
    """Fit vector scaling on logits (N, K) of a group whose true class is `classes` (N,)."""
    count = int(logits.shape[1])
    if len(np.unique(classes)) < 2:
        return tuple([Calibration()] * count)
    target = np.eye(count)[classes]

    def surprise(knobs: Numbers) -> tuple[float, Numbers]:
        scales = np.exp(knobs[0] + knobs[1 : count + 1])
        scaled = logits * scales + knobs[count + 1 :]
        slope = softmax(scaled, axis=1) - target
        own = (slope * logits * scales).sum(axis=0)
        gradient = np.concatenate([[own.sum()], own, slope.sum(axis=0)])
        return float(-(log_softmax(scaled, axis=1) * target).sum()), gradient

    spread = np.concatenate([[SCALE_SPREAD], np.full(count, OWN_SPREAD), np.full(count, BIAS_SPREAD)])
    common, *rest = _least(surprise, spread)
    return tuple(_rounded(common + own, bias) for own, bias in zip(rest[:count], rest[count:], strict=True))


def _rounded(log_scale: float, bias: float) -> Calibration:
    return Calibration(scale=round(float(np.exp(log_scale)), PLACES), bias=round(float(bias), PLACES))


def _least(surprise: Callable[[Numbers], tuple[float, Numbers]], spread: Numbers) -> Numbers:
    """Give the knobs that surprise least, each with a prior of this spread about nought."""

    def with_prior(knobs: Numbers) -> tuple[float, Numbers]:
        value, gradient = surprise(knobs)
        return value + float((knobs**2 / (2 * spread**2)).sum()), gradient + knobs / spread**2

    start = np.zeros(len(spread))
    found = minimize(with_prior, start, jac=True, method="L-BFGS-B", options={"maxiter": 500, "ftol": 1e-12})
    return np.asarray(found.x, dtype=np.float64)


def choose_points(
    probabilities: Numbers, truth: Flags, aim: Aim, *, missed: float = 0.05, alarms: float = 0.05
) -> Points:
    """Set a finding's points: the aim is met or passed on these films.

    Below `low` lie at most the share `missed` of the films that have it, from `high` on at most the share `alarms` of
    those that have not; the operating point lies within. Raises ValueError without films of both classes.
    """
    if truth.all() or not truth.any():
        raise ValueError("points need films with the finding and films without")
    have, have_not = np.sort(probabilities[truth]), np.sort(probabilities[~truth])
    left = 1 - aim.value
    point = _highest_with(have, left) if aim.kind == "sensitivity" else _lowest_with(have_not, left)
    low, high = min(point, _highest_with(have, missed)), max(point, _lowest_with(have_not, alarms))
    return measure_points(probabilities, truth, point, low, high)


def measure_points(probabilities: Numbers, truth: Flags, point: float, low: float, high: float) -> Points:
    """Say what the points give on some films; not-a-number for a share of no films."""
    said = probabilities >= point
    return Points(
        operating_point=point,
        low=low,
        high=high,
        sensitivity=float(said[truth].mean()) if truth.any() else float("nan"),
        specificity=float((~said[~truth]).mean()) if (~truth).any() else float("nan"),
        indeterminate=float(((probabilities >= low) & (probabilities < high)).mean()),
        positives=int(truth.sum()),
        negatives=int((~truth).sum()),
    )


def _highest_with(ascending: Numbers, below: float) -> float:
    """Give the highest point that leaves at most the share `below` of the values under it."""
    left = int(np.floor(below * len(ascending) + 1e-9))
    return _point(np.floor(ascending[min(left, len(ascending) - 1)] / STEP))


def _lowest_with(ascending: Numbers, above: float) -> float:
    """Give the lowest point that leaves at most the share `above` of the values at it or over it."""
    left = int(np.floor(above * len(ascending) + 1e-9))
    return _point(np.floor(ascending[len(ascending) - 1 - left] / STEP) + 1 if left < len(ascending) else 0.0)


def _point(steps: float) -> float:
    """Give a point of so many steps; a card's points lie within 0 and 1, not on them."""
    return round(float(np.clip(steps * STEP, STEP, 1 - STEP)), PLACES)


def reliability(probabilities: Numbers, truth: Flags, count: int = 10) -> tuple[Bin, ...]:
    """Give the points of a reliability diagram: up to `count` bins of about equal size, from the least probable up."""
    order = np.argsort(probabilities, kind="stable")
    bins = min(count, max(2, len(order) // FEWEST_IN_BIN))
    parts = [part for part in np.array_split(order, bins) if len(part)]
    return tuple(
        Bin(n=len(part), said=float(probabilities[part].mean()), true=float(truth[part].mean())) for part in parts
    )


def calibration_error(bins: Sequence[Bin]) -> float:
    """Give the expected calibration error: the mean distance of said and true, a film counting once."""
    total = sum(one.n for one in bins)
    return sum(one.n * abs(one.said - one.true) for one in bins) / total if total else 0.0
