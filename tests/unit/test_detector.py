"""The network that draws boxes: its candidates, how they are matched and judged, and that it can learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data.box_utils import box_iou

from cxrnode.inference.detector import ChestDetector, Said
from cxrnode.inference.network import build_network
from cxrnode.training.box_loss import BoxWeights, Truths, box_loss, match_anchors

SMALL = {"size": 64, "width": 16, "strides": [8, 16], "anchor_sizes": [[12.0], [24.0]], "anchor_shapes": [1.0, 2.0]}
CANDIDATES = (8 * 8 + 4 * 4) * 2
NONE = float("nan")


@pytest.fixture
def network() -> ChestDetector:
    """A small detector with fixed first weights."""
    torch.manual_seed(7)
    built = build_network({"_target_": "cxrnode.inference.detector.ChestDetector", "labels": 1, **SMALL})
    assert isinstance(built, ChestDetector)
    return built


def _truths(boxes: list[list[list[float]]], whole: list[bool], probability: list[float]) -> Truths:
    return Truths(
        boxes=[torch.tensor(film).reshape(-1, 4) for film in boxes],
        whole=torch.tensor(whole),
        probability=torch.tensor(probability),
    )


def _said(network: ChestDetector, films: int) -> Said:
    """Logits and offsets of nought, which can be judged."""
    shapes = ((films, CANDIDATES, 1), (films, 1), (films, CANDIDATES, 4))
    return Said(*(torch.zeros(shape, requires_grad=True) for shape in shapes))


def test_every_candidate_has_a_logit_a_label_and_four_corners_inside_the_input() -> None:
    """The channels are the labels first; corners are in pixels and never outside."""
    torch.manual_seed(7)
    detector = ChestDetector(labels=2, **SMALL).eval()  # type: ignore[arg-type]
    with torch.inference_mode():
        answer = detector(torch.rand(3, 1, 64, 64))
    assert answer.shape == (3, 6, CANDIDATES)
    left, top, right, bottom = answer[:, 2:].unbind(1)
    assert (left < right).all()
    assert (top < bottom).all()
    assert answer[:, 2:].amin() >= 0
    assert answer[:, 2:].amax() <= 64


def test_an_offset_of_nought_is_the_anchor_with_columns_before_rows(network: ChestDetector) -> None:
    """Anchors go by row, column and shape; the second shape of a place is twice as tall as wide."""
    boxes = network.boxes(torch.zeros(1, CANDIDATES, 4))[0]
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    assert middles[0].tolist() == [4, 4]
    assert middles[2].tolist() == [12, 4]
    assert middles[16].tolist() == [4, 12]
    sides = boxes[:, 2:] - boxes[:, :2]
    assert sides[0, 0] == sides[0, 1]
    assert sides[1, 1] / sides[1, 0] == pytest.approx(2.0, rel=0.25)


def test_a_logit_of_the_film_lifts_all_its_boxes_alike(network: ChestDetector) -> None:
    """What the film as a whole looks like shifts every candidate by the same."""
    said = network.said(torch.rand(2, 1, 64, 64))
    lifted = said._replace(film=said.film + 1.5)
    assert torch.allclose(lifted.logits, said.logits + 1.5)


def test_a_picture_of_another_size_is_refused(network: ChestDetector) -> None:
    """Anchors are laid out for one size."""
    with pytest.raises(ValueError, match="64"):
        network(torch.rand(1, 1, 96, 96))


def test_levels_without_anchor_sizes_are_refused() -> None:
    """A recipe that forgets a level is told so."""
    with pytest.raises(ValueError, match="anchor sizes"):
        ChestDetector(size=64, strides=(8, 16), anchor_sizes=((12.0,),))


def test_every_true_box_has_an_anchor_that_lies_over_it(network: ChestDetector) -> None:
    """A tall, a wide and a tiny box: each is answered for, by anchors that overlap it and no other better."""
    boxes = torch.tensor([[6.0, 4.0, 22.0, 40.0], [30.0, 40.0, 60.0, 56.0], [50.0, 9.0, 55.0, 13.0]])
    matches = match_anchors(network, boxes, candidates=4)
    assert set(matches.tolist()) == {-1, 0, 1, 2}
    overlaps = torch.as_tensor(box_iou(boxes, network.anchors))
    for anchor in (matches >= 0).nonzero().flatten().tolist():
        assert overlaps[matches[anchor], anchor] > 0
        assert overlaps[matches[anchor], anchor] == overlaps[:, anchor].max()


def test_a_film_without_boxes_matches_none(network: ChestDetector) -> None:
    """All anchors answer for nothing."""
    assert (match_anchors(network, torch.empty(0, 4), candidates=4) == -1).all()


def test_what_nobody_looked_for_has_no_say(network: ChestDetector) -> None:
    """On a film that nobody read no logit is pushed; on one that was read and is clear, all are."""
    weights = BoxWeights(film=0.0, surest=0.0)
    pushed = []
    for whole in (False, True):
        said = _said(network, 1)
        box_loss(network, said, _truths([[]], [whole], [NONE]), weights).backward()
        assert said.local.grad is not None
        pushed.append(bool(said.local.grad.any()))
    assert pushed == [False, True]


def test_a_films_probability_moves_its_surest_candidate_and_its_own_logit(network: ChestDetector) -> None:
    """Of a film with a weak label alone one candidate and the film's logit are pushed towards what it earned."""
    said = _said(network, 1)
    with torch.no_grad():
        said.local[0, 11] = 1.0
    box_loss(network, said, _truths([[]], [False], [0.1]), BoxWeights()).backward()
    assert said.local.grad is not None
    assert said.film.grad is not None
    assert said.local.grad[0, :, 0].nonzero().flatten().tolist() == [11]
    assert said.local.grad[0, 11] > 0
    assert said.film.grad[0, 0] > 0


def test_of_a_film_with_boxes_no_candidate_elsewhere_is_called_for(network: ChestDetector) -> None:
    """The film holds an opacity, so the surest candidate is pushed up; but one that answers for a box, not another."""
    truths = _truths([[[30.0, 40.0, 60.0, 56.0]]], [False], [1.0])
    said = _said(network, 1)
    with torch.no_grad():
        said.local[0, 0] = 5.0
    box_loss(network, said, truths, BoxWeights(corners=0.0)).backward()
    matched = match_anchors(network, truths.boxes[0], candidates=4) >= 0
    assert said.local.grad is not None
    assert not said.local.grad[0, ~matched].any()
    assert (said.local.grad[0, matched] < 0).all()


def test_a_detector_learns_two_films(network: ChestDetector) -> None:
    """A bright oval on one, two on the other, nothing on a third: all are found where they are, and nothing else."""
    boxes = [[[8.0, 10.0, 24.0, 38.0]], [[6.0, 30.0, 26.0, 54.0], [38.0, 8.0, 56.0, 36.0]], []]
    images = torch.from_numpy(np.stack([_ovals(film) for film in boxes]))[:, None]
    truths = _truths(boxes, [True] * 3, [1.0, 1.0, 0.0])
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = 0.2
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3)
    for _ in range(90):
        loss = box_loss(network, network.said(images), truths, BoxWeights())
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    with torch.inference_mode():
        answers = network.eval()(images)
    for answer, true in zip(answers, truths.boxes, strict=True):
        sure = answer[0] > 0
        assert bool(sure.any()) == bool(len(true))
        if len(true):
            overlaps = torch.as_tensor(box_iou(answer[1:].T[sure], true))
            assert (overlaps.amax(dim=0) > 0.6).all()
            assert (overlaps.amax(dim=1) > 0.3).all()


def _ovals(boxes: list[list[float]]) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    y, x = np.mgrid[0:64, 0:64] + 0.5
    image = np.random.default_rng(len(boxes)).normal(0.3, 0.03, (64, 64))
    for left, top, right, bottom in boxes:
        inside = (2 * x - left - right) ** 2 / (right - left) ** 2 + (2 * y - top - bottom) ** 2 / (bottom - top) ** 2
        image[inside < 1] += 0.5
    return image.astype(np.float32)
