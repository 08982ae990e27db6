"""Hides from which probability on a pixel belongs to a finding's mask.

Promises the point, of a fixed few, at which the tidied masks of the films that have the finding agree best with what
somebody drew; the lowest of equals. Structures that everybody has are cut at the point that their card states.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from cxrnode.domain.chest import tidied
from cxrnode.inference.bundle import BundleCard
from cxrnode.pixels.geometry import restore
from cxrnode.training.evaluation.answering import Answer
from cxrnode.training.evaluation.overlap import dice
from cxrnode.training.example import Example, is_drawn, read_mask

POINTS = tuple(round(0.05 * step, 2) for step in range(1, 20))

Agreement = Mapping[str, tuple[float, ...]]
"""By channel the Dice coefficient at each of POINTS, for one film."""


def agreement(card: BundleCard, example: Example, said: Answer) -> Agreement:
    """Give the agreement of a film's finding masks with what was drawn; nothing where there is none to be found."""
    found: dict[str, tuple[float, ...]] = {}
    for channel in {rule.channel for rule in card.findings} if card.kind == "segmentation" else ():
        truth = read_mask(example, channel) if is_drawn(example, channel) else np.zeros(0, dtype=np.bool_)
        if truth.any():
            film = restore(said.raw, said.letterbox)[card.channels.index(channel)]
            found[channel] = tuple(dice(tidied(channel, film >= point), truth) for point in POINTS)
    return found


def best_cut(films: Sequence[Agreement], channel: str) -> float | None:
    """Give the point with the highest mean Dice; None where no film shows the channel."""
    scores = [film[channel] for film in films if channel in film]
    return POINTS[int(np.argmax(np.mean(scores, axis=0)))] if scores else None
