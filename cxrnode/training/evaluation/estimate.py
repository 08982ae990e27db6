"""Hides how sure a number is.

Promises percentile bootstrap intervals of 95 % that draw patients and not films, and that are the same each time (Efron
and Tibshirani, An introduction to the bootstrap, 1993, chapter 13).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Numbers = NDArray[np.float64]

DRAWS = 2000
TOGETHER = 250
"""Draws that are held in memory at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A mean over `n` films with the bounds of its 95 % confidence interval, and the median."""

    n: int
    mean: float
    low: float
    high: float
    median: float

    def __str__(self) -> str:
        return f"{self.mean:.4f} [{self.low:.4f}, {self.high:.4f}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A share, or an area under a curve, over `n` films (or what is counted) with its 95 % interval."""

    n: int
    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def estimate(values: Sequence[float], patients: Sequence[str], seed: int = 0) -> Estimate:
    """Give the mean of `values` with its interval. Raises ValueError without values."""
    if not values or len(values) != len(patients):
        raise ValueError("an estimate needs one patient a value, and at least one")
    share = rate(values, np.ones(len(values)), patients, seed)
    assert share is not None  # the whole is the number of values
    return Estimate(n=share.n, mean=share.value, low=share.low, high=share.high, median=float(np.median(values)))


def rate(parts: ArrayLike, wholes: ArrayLike, patients: Sequence[str], seed: int = 0) -> Rate | None:
    """Give sum(parts) / sum(wholes), each a number a film, with its interval; None where the whole is nothing.

    Sensitivity, precision, F1 and accuracy are all such ratios, and so is a mean.
    """
    over, under = np.asarray(parts, dtype=np.float64), np.asarray(wholes, dtype=np.float64)
    if under.sum() <= 0:
        return None
    value = float(over.sum() / under.sum())
    ratios = []
    for weights in _draws(patients, seed):
        below = weights @ under
        ratios.append((weights @ over)[below > 0] / below[below > 0])
    return _rate(int(np.count_nonzero(under)), value, np.concatenate(ratios))


def area_under_curve(scores: ArrayLike, truth: ArrayLike, patients: Sequence[str], seed: int = 0) -> Rate | None:
    """Give the area under the ROC curve with its interval; None where one of the two classes is missing."""
    values, positive = np.asarray(scores, dtype=np.float64), np.asarray(truth, dtype=bool)
    if positive.all() or not positive.any():
        return None
    areas = [_areas(values, positive, weights) for weights in _draws(patients, seed)]
    value = float(_areas(values, positive, np.ones((1, len(values))))[0])
    return _rate(len(values), value, np.concatenate(areas))


def mean_of_areas(several: Sequence[tuple[ArrayLike, ArrayLike]], patients: Sequence[str], seed: int = 0) -> Rate:
    """Give the mean of some ROC areas (scores, truth) on the same films, drawn together: the macro average.

    Raises ValueError where one of them has only one class.
    """
    pairs = [(np.asarray(s, dtype=np.float64), np.asarray(t, dtype=bool)) for s, t in several]
    if not pairs or any(t.all() or not t.any() for _, t in pairs):
        raise ValueError("every area needs films of both classes")
    means = [
        np.mean([_areas(s, t, weights, keep=True) for s, t in pairs], axis=0) for weights in _draws(patients, seed)
    ]
    drawn = np.concatenate(means)
    value = float(np.mean([_areas(s, t, np.ones((1, len(s))))[0] for s, t in pairs]))
    return _rate(len(patients), value, drawn[np.isfinite(drawn)])


def _areas(scores: Numbers, positive: NDArray[np.bool_], weights: Numbers, *, keep: bool = False) -> Numbers:
    """Give the area for each row of weights (D, N), ties counting half; rows of one class are dropped unless kept."""
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=-np.inf))
    ups = np.add.reduceat(weights[:, order] * positive[order], starts, axis=1)
    downs = np.add.reduceat(weights[:, order] * ~positive[order], starts, axis=1)
    won = (ups * (np.cumsum(downs, axis=1) - downs / 2)).sum(axis=1)
    pairs = ups.sum(axis=1) * downs.sum(axis=1)
    areas = np.divide(won, pairs, out=np.full(len(won), np.nan), where=pairs > 0)
    return np.asarray(areas if keep else areas[np.isfinite(areas)])


def _draws(patients: Sequence[str], seed: int) -> Iterator[Numbers]:
    """Give, TOGETHER draws at a time, how often each film was drawn (D, N)."""
    _, group = np.unique(np.array(patients), return_inverse=True)
    count, rng = int(group.max()) + 1, np.random.default_rng(seed)
    for _ in range(DRAWS // TOGETHER):
        yield rng.multinomial(count, np.full(count, 1 / count), size=TOGETHER)[:, group].astype(np.float64)


def _rate(n: int, value: float, drawn: Numbers) -> Rate:
    low, high = np.quantile(drawn, [0.025, 0.975]) if len(drawn) else (value, value)
    return Rate(n=n, value=value, low=float(low), high=float(high))
