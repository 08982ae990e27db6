"""Hides how two masks, or two sets of boxes, are compared.

Promises the usual definitions. Boxes are rows of left, top, right, bottom, corner based.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Boxes = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Pixels of two masks compared: said and true, said alone, true alone, neither."""

    both: int
    said_only: int
    true_only: int
    neither: int

    @property
    def dice(self) -> float:
        """The Dice coefficient; 1 where both are empty."""
        total = 2 * self.both + self.said_only + self.true_only
        return 2 * self.both / total if total else 1.0

    @property
    def iou(self) -> float:
        """Intersection over union; 1 where both are empty."""
        union = self.both + self.said_only + self.true_only
        return self.both / union if union else 1.0

    @property
    def accuracy(self) -> float:
        """The share of pixels that are right."""
        return (self.both + self.neither) / (self.both + self.said_only + self.true_only + self.neither)

    @property
    def precision(self) -> float:
        """The share of what was said that is true; 1 where nothing was said."""
        said = self.both + self.said_only
        return self.both / said if said else 1.0

    @property
    def recall(self) -> float:
        """The share of what is true that was said; 1 where nothing is true."""
        true = self.both + self.true_only
        return self.both / true if true else 1.0


def compare(said: Mask, truth: Mask) -> Counts:
    """Count the pixels of two masks of one shape."""
    both = int(np.count_nonzero(said & truth))
    first, second = int(np.count_nonzero(said)), int(np.count_nonzero(truth))
    return Counts(both=both, said_only=first - both, true_only=second - both, neither=said.size - first - second + both)


def dice(said: Mask, truth: Mask) -> float:
    """Give the Dice coefficient; 1 where both are empty."""
    return compare(said, truth).dice


def iou(said: Mask, truth: Mask) -> float:
    """Give intersection over union; 1 where both are empty."""
    return compare(said, truth).iou


def box_ious(one: Boxes, other: Boxes) -> Boxes:
    """Give intersection over union of each box (N, 4) with each other (M, 4): (N, M)."""
    corner = np.maximum(one[:, None, :2], other[None, :, :2])
    opposite = np.minimum(one[:, None, 2:], other[None, :, 2:])
    common = np.prod(np.clip(opposite - corner, 0, None), axis=2)
    areas = [np.prod(np.clip(boxes[:, 2:] - boxes[:, :2], 0, None), axis=1) for boxes in (one, other)]
    union = areas[0][:, None] + areas[1][None, :] - common
    return np.asarray(np.divide(common, union, out=np.zeros_like(common), where=union > 0))
