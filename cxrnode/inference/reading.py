"""From a network's output to what it says: probabilities, boxes and image-level scores, by the bundle's card.

Hides activation, calibration and the choice among overlapping boxes. Promises that the node, an evaluation and a
calibration read one output in one way, and that what is not of the card's form is an error. Coordinates here are the
network's grid: pixels of its input, corner based.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cxrnode.domain.finding import Box, Score
from cxrnode.inference.bundle import BundleCard
from cxrnode.inference.card import CORNERS, BoxRule, Calibration, FindingRule
from cxrnode.pixels.geometry import Letterbox

if TYPE_CHECKING:
    from torch import Tensor

FloatArray = NDArray[np.float32]

CANDIDATES = 1000
"""The most candidates of a label, the likeliest ones, among which boxes are chosen."""
THINNEST = 1.0
"""Pixels of the grid. What is left of a box inside the picture must be as wide and as tall as this."""
_SURE = 1e-7
_AS_IT_IS = Calibration()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answers:
    """What a network said of one picture.

    `maps`: a segmentation's probabilities (C, S, S), not calibrated; None for other kinds. `probabilities`: of a
    classification's channels or a detection's labels, calibrated. `boxes`: those to be drawn, likeliest first.
    """

    maps: FloatArray | None = None
    probabilities: Mapping[str, float]
    boxes: tuple[Box, ...] = ()
    scores: tuple[Score, ...] = ()


def answers(card: BundleCard, raw: FloatArray, letterbox: Letterbox) -> Answers:
    """Read what `Network.predict` gave for one picture; `letterbox` is where the picture lies on the grid.

    `raw` by the card's kind: segmentation: probabilities (C, S, S); classification: logits (C,); detection: (K+4, N),
    K logits and the corners of N candidates. Raises ValueError where it has another shape.
    """
    _check_shape(card, raw)
    if card.kind == "segmentation":
        return Answers(maps=raw, probabilities={}, scores=tuple(_map_scores(card, raw, letterbox)))
    if card.kind == "classification":
        probabilities = class_probabilities(card, raw)
        return Answers(probabilities=probabilities, scores=_scores(card, probabilities))
    found = box_candidates(card, raw, letterbox)
    highest = {box.label: box.probability for box in reversed(found)}
    drawn = [box for box in found if box.probability >= card.operating_points[box.label]]
    probabilities = {label: highest.get(label, 0.0) for label in card.labels}
    return Answers(
        probabilities=probabilities, boxes=tuple(drawn[: _rule(card).most]), scores=_scores(card, probabilities)
    )


def class_probabilities(card: BundleCard, logits: FloatArray) -> dict[str, float]:
    """Give calibrated probabilities by channel of logits (C,): softmax within each group, else sigmoids."""
    calibrated = {name: _calibrated(card, name, float(z)) for name, z in zip(card.channels, logits, strict=True)}
    said = {name: sigmoid(z) for name, z in calibrated.items()}
    for group in card.groups:
        said.update(zip(group, _softmax([calibrated[name] for name in group]), strict=True))
    return said


def box_candidates(card: BundleCard, raw: FloatArray, letterbox: Letterbox) -> tuple[Box, ...]:
    """Give the boxes of (K+4, N) that are left where boxes overlap, likeliest first, on the grid, within the picture.

    They are as many of each label as a film may have at most, and have no least probability: which are drawn is the
    operating points' matter, and an evaluation wants them all.
    """
    kept: list[Box] = []
    for label, logits in zip(card.labels, raw, strict=False):
        corners, left = standing(raw[-len(CORNERS) :].T, logits, letterbox, _rule(card))
        for box, logit in zip(corners.tolist(), left.tolist(), strict=True):
            probability = sigmoid(_calibrated(card, label, logit))
            kept.append(Box(label=label, probability=probability, **dict(zip(CORNERS, box, strict=True))))
    return tuple(sorted(kept, key=lambda box: -box.probability))


def standing(
    corners: FloatArray, logits: FloatArray, letterbox: Letterbox, rule: BoxRule
) -> tuple[FloatArray, FloatArray]:
    """Choose one of each heap of overlapping candidates (N, 4), (N,) of one label: the boxes (M, 4) and their logits.

    The likeliest come first; of equals the earlier candidate is the likelier. A calibration does not change the order.
    """
    from monai.data.box_utils import non_max_suppression

    corners = _within(corners, letterbox)
    thick = np.flatnonzero((corners[:, 2:] - corners[:, :2] >= THINNEST).all(axis=1))
    likeliest = thick[np.argsort(-logits[thick], kind="stable")[:CANDIDATES]]
    corners, logits = corners[likeliest], logits[likeliest]
    left = non_max_suppression(corners, logits, rule.overlap, rule.most, partial(_sameness, inside=rule.inside))
    return corners[left], logits[left]


def _sameness(boxes: Tensor, chosen: Tensor, inside: float | None) -> Tensor:
    """Measure how much boxes (N, 4) are one chosen box (1, 4): by IoU, and 1 for what lies inside by the rule."""
    from monai.data.box_utils import box_area, box_iou

    ious: Tensor = box_iou(boxes, chosen)
    if inside is None:
        return ious
    areas, area = box_area(boxes)[:, None], box_area(chosen)
    common = ious / (1 + ious) * (areas + area)
    return ious.masked_fill(common > inside * areas.minimum(area), 1.0)


def _rule(card: BundleCard) -> BoxRule:
    if card.boxes is None:
        raise ValueError(f"{card.name} is no detection")
    return card.boxes


def map_probability(maps: FloatArray, letterbox: Letterbox, channel: int, top_share: float) -> float:
    """Give the mean of the highest share of the picture's pixels in maps (C, S, S), not calibrated."""
    rows = slice(letterbox.top, letterbox.top + letterbox.height)
    columns = slice(letterbox.left, letterbox.left + letterbox.width)
    values = maps[channel, rows, columns].ravel()
    count = max(1, round(top_share * values.size))
    highest = np.partition(values, values.size - count)[-count:]
    return float(np.sort(highest).mean(dtype=np.float64))


def calibrated_probability(probability: float, calibration: Calibration) -> float:
    """Calibrate a probability on its logit."""
    inside = min(max(probability, _SURE), 1.0 - _SURE)
    return sigmoid(calibration.logit(math.log(inside) - math.log1p(-inside)))


def sigmoid(logit: float) -> float:
    """Give the probability of a logit; never overflows."""
    if logit >= 0:
        return 1.0 / (1.0 + math.exp(-logit))
    power = math.exp(logit)
    return power / (1.0 + power)


def _softmax(logits: list[float]) -> list[float]:
    powers = [math.exp(z - max(logits)) for z in logits]
    return [power / math.fsum(powers) for power in powers]


def _calibrated(card: BundleCard, channel: str, logit: float) -> float:
    return card.calibration.get(channel, _AS_IT_IS).logit(logit)


def _check_shape(card: BundleCard, raw: FloatArray) -> None:
    count, size = len(card.channels), card.input_size
    fits = {
        "segmentation": raw.shape == (count, size, size),
        "classification": raw.shape == (count,),
        "detection": raw.ndim == 2 and len(raw) == count,
    }
    if not fits[card.kind]:
        raise ValueError(f"the output of a {card.kind} with {count} channels has another shape than {raw.shape}")


def _map_scores(card: BundleCard, maps: FloatArray, letterbox: Letterbox) -> Iterator[Score]:
    for rule in card.findings:
        highest = map_probability(maps, letterbox, card.channels.index(rule.channel), rule.top_share)
        yield _score(rule, calibrated_probability(highest, card.calibration.get(rule.channel, _AS_IT_IS)))


def _scores(card: BundleCard, probabilities: Mapping[str, float]) -> tuple[Score, ...]:
    return tuple(_score(rule, probabilities[rule.channel]) for rule in card.findings)


def _score(rule: FindingRule, probability: float) -> Score:
    return Score(
        finding=rule.name,
        probability=1.0 - probability if rule.inverse else probability,
        operating_point=rule.operating_point,
        low=rule.low,
        high=rule.high,
        withheld=rule.withheld,
        holds_for=rule.holds_for,
    )


def _within(corners: FloatArray, letterbox: Letterbox) -> FloatArray:
    """Cut boxes (N, 4) off at the picture's borders on the grid: what lies outside shows nothing."""
    low = np.array([letterbox.left, letterbox.top] * 2, dtype=np.float32)
    high = low + np.array([letterbox.width, letterbox.height] * 2, dtype=np.float32)
    return np.clip(corners, low, high)
