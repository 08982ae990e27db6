"""Hides that a mask called "left" may be the picture's left or the patient's.

Promises to look at the masks themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from cxrnode.training.example import read_gray

Masks = Mapping[str, Path]
LOOKED_AT = 5


def by_side(some: Masks, others: Masks) -> tuple[Masks, Masks]:
    """Give the two sets of masks, by film, as (patient's right, patient's left): the right lies on the picture's left.

    The first few films decide for all.
    """
    both = sorted(some.keys() & others.keys())[:LOOKED_AT]
    votes = [_centre(some[name]) <= _centre(others[name]) for name in both]
    return (some, others) if sum(votes) * 2 > len(votes) else (others, some)


def _centre(path: Path) -> float:
    """Give the mean column of a mask as a share of its width; an empty one lies in the middle."""
    columns = (read_gray(path) > 127).sum(axis=0)
    if not columns.any():
        return 0.5
    return float(np.average(np.arange(columns.size), weights=columns) / columns.size)
