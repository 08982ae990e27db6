"""Hides which candidate answers for which true box, and what a wrong answer costs.

Promises a loss in which what nobody looked for has no say: candidates without a box count only on films that were
looked at whole, the film's own answer only where one is known.

Candidates are matched by ATSS (Zhang et al., CVPR 2020, arXiv 1912.02424), their labels judged by the focal loss, their
corners by the generalised overlap (Rezatofighi et al., CVPR 2019, arXiv 1902.09630): MONAI's, all three. Films are
judged twice, by the film's logit and by its surest candidate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from monai.apps.detection.utils.ATSS_matcher import ATSSMatcher
from monai.data.box_utils import box_iou
from monai.losses.focal_loss import sigmoid_focal_loss
from monai.losses.giou_loss import BoxGIoULoss
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from cxrnode.inference.detector import ChestDetector, Said


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxWeights:
    """How much each part of the loss counts, and the focal loss's own two numbers."""

    alpha: float = 0.5
    gamma: float = 2.0
    corners: float = 1.0
    film: float = 0.3
    surest: float = 0.3
    candidates: int = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Truths:
    """What is known of B films: boxes (M, 4) of each, and (B,) whether they are all, and the probability of any."""

    boxes: Sequence[Tensor]
    whole: Tensor
    probability: Tensor


def match_anchors(network: ChestDetector, boxes: Tensor, candidates: int) -> Tensor:
    """Give each anchor (N,) the number of the true box (M, 4) it answers for, -1 for none.

    No box is left without an anchor: one that the matcher gives none takes the anchor it overlaps most.
    """
    if not len(boxes):
        return torch.full((len(network.anchors),), -1, dtype=torch.long, device=boxes.device)
    matcher = ATSSMatcher(num_candidates=candidates, similarity_fn=box_iou, center_in_gt=True)
    matches: Tensor
    overlaps, matches = matcher.compute_matches(boxes, network.anchors, network.places, network.per_place)
    for number in range(len(boxes)):
        if not (matches == number).any():
            matches[overlaps[number].argmax()] = number
    return matches


def box_loss(network: ChestDetector, said: Said, truths: Truths, weights: BoxWeights) -> Tensor:
    """Give the loss of what was said of B films, a scalar. One label only: the first."""
    matches = torch.stack([match_anchors(network, boxes, weights.candidates) for boxes in truths.boxes])
    matched = matches >= 0
    count = matched.sum().clamp(min=1)
    logits = said.logits[..., 0].float()
    focal = sigmoid_focal_loss(logits, matched.float(), weights.gamma, weights.alpha)
    counted = matched | truths.whole[:, None]
    loss: Tensor = (focal * counted).sum() / count + weights.corners * _corners(network, said, truths, matches) / count
    surest = _surest(logits, matched)
    for weight, film in ((weights.film, said.film[:, 0].float()), (weights.surest, surest)):
        loss = loss + weight * _film_loss(film, truths.probability)
    return loss


def _corners(network: ChestDetector, said: Said, truths: Truths, matches: Tensor) -> Tensor:
    """Sum the loss of the matched candidates' corners."""
    boxes = network.boxes(said.offsets)
    pairs = [
        (boxes[film][match >= 0], truth[match[match >= 0]])
        for film, (match, truth) in enumerate(zip(matches, truths.boxes, strict=True))
        if len(truth)
    ]
    if not pairs:
        return boxes.sum() * 0.0
    found, true = (torch.cat(side) for side in zip(*pairs, strict=True))
    loss: Tensor = BoxGIoULoss(reduction="sum")(found, true)
    return loss


def _surest(logits: Tensor, matched: Tensor) -> Tensor:
    """Give each film's highest logit (B,); where boxes are known, the highest of those that answer for one."""
    elsewhere = matched.any(dim=1, keepdim=True) & ~matched
    return logits.masked_fill(elsewhere, -torch.inf).amax(dim=1)


def _film_loss(logits: Tensor, probability: Tensor) -> Tensor:
    """Average the cross entropy over the films whose answer is known; nought where none is."""
    known = ~torch.isnan(probability)
    if not known.any():
        return logits.sum() * 0.0
    return binary_cross_entropy_with_logits(logits[known], probability[known])
