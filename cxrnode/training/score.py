"""Hides how agreement is counted and how sure the count is.

Promises the usual definitions, and confidence intervals that are drawn by patient and the same each time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]

DRAWS = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A mean over `n` films with the bounds of its 95% confidence interval, and the median."""

    n: int
    mean: float
    low: float
    high: float
    median: float

    def __str__(self) -> str:
        return f"{self.mean:.4f} [{self.low:.4f}, {self.high:.4f}]"


def dice(said: Mask, truth: Mask) -> float:
    """Give the Dice coefficient; 1 where both are empty."""
    total = int(np.count_nonzero(said)) + int(np.count_nonzero(truth))
    return 2 * int(np.count_nonzero(said & truth)) / total if total else 1.0


def iou(said: Mask, truth: Mask) -> float:
    """Give intersection over union; 1 where both are empty."""
    union = int(np.count_nonzero(said | truth))
    return int(np.count_nonzero(said & truth)) / union if union else 1.0


def estimate(values: Sequence[float], patients: Sequence[str], seed: int = 0) -> Estimate:
    """Give the mean of `values` with a percentile bootstrap interval, drawing patients and not films.

    Efron and Tibshirani, An introduction to the bootstrap, 1993, chapter 13. Raises ValueError without values.
    """
    if not values or len(values) != len(patients):
        raise ValueError("an estimate needs one patient a value, and at least one")
    _, group = np.unique(np.array(patients), return_inverse=True)
    sums, counts = np.bincount(group, weights=np.array(values)), np.bincount(group)
    picks = np.random.default_rng(seed).integers(0, len(sums), (DRAWS, len(sums)))
    means = sums[picks].sum(axis=1) / counts[picks].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    middle, centre = float(np.mean(values)), float(np.median(values))
    return Estimate(n=len(values), mean=middle, low=float(low), high=float(high), median=centre)
