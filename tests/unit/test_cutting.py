"""From which probability on a pixel belongs to a finding's mask."""

from __future__ import annotations

import numpy as np

from cxrnode.training.evaluation.cutting import POINTS, best_cut
from cxrnode.training.evaluation.overlap import dice


def test_the_cut_is_where_the_masks_agree_best() -> None:
    """A map that is 0.3 in the truth and 0.1 elsewhere is cut between the two, at the lowest such point."""
    truth = np.zeros((8, 8), dtype=np.bool_)
    truth[2:5, 2:6] = True
    said = np.where(truth, 0.3, 0.1)
    film = {"pneumothorax": tuple(dice(said >= point, truth) for point in POINTS)}
    assert best_cut([film], "pneumothorax") == 0.15


def test_a_finding_that_nobody_drew_keeps_its_point() -> None:
    """No film, no choice."""
    assert best_cut([{}], "pneumothorax") is None
