"""What a network's output comes to, by its card: probabilities, boxes, image-level scores."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from cxrnode.inference.bundle import BundleCard
from cxrnode.inference.card import BoxRule, Calibration, FindingRule
from cxrnode.inference.reading import (
    answers,
    box_candidates,
    calibrated_probability,
    class_probabilities,
    map_probability,
    sigmoid,
)
from cxrnode.pixels.geometry import fit_letterbox
from tests.fakes.card import SIZE, card

WHOLE = fit_letterbox(128, 128, SIZE)
TALL = fit_letterbox(128, 64, SIZE)
"""Lies on the columns 16 to 48 of the grid."""
CHANNELS = ("a.sick", "a.well", "odd")
BOXES = ("opacity", "nodule", "left", "top", "right", "bottom")


def finding(channel: str, **said: Any) -> FindingRule:
    return FindingRule(**{"name": "it", "channel": channel, "operating_point": 0.5, "low": 0.3, "high": 0.7, **said})


def detection(**said: Any) -> BundleCard:
    rest = {"boxes": BoxRule(overlap=0.3, most=2), "operating_points": {"opacity": 0.5, "nodule": 0.5}, **said}
    return card("detection", BOXES, **rest)


def output(*candidates: tuple[float, float, tuple[float, float, float, float]]) -> np.ndarray:
    """Candidates as (logit of opacity, logit of nodule, corners)."""
    return np.array([[one, two, *corners] for one, two, corners in candidates], dtype=np.float32).T


def test_channels_of_a_group_share_one_and_any_other_stands_for_itself() -> None:
    """Softmax within a group, a sigmoid for what is in none."""
    said = class_probabilities(card("classification", CHANNELS, groups=(("a.sick", "a.well"),)), np.float32([1, 0, -1]))
    assert said["a.sick"] == pytest.approx(math.e / (math.e + 1))
    assert said["a.sick"] + said["a.well"] == pytest.approx(1)
    assert said["odd"] == pytest.approx(1 / (1 + math.e))


def test_calibration_acts_on_logits_before_the_softmax() -> None:
    """A scale and a bias of one channel move the whole group."""
    said = card(
        "classification",
        CHANNELS,
        groups=(("a.sick", "a.well"),),
        calibration={"a.sick": Calibration(scale=2.0, bias=-1.0), "odd": Calibration(bias=3.0)},
    )
    probabilities = class_probabilities(said, np.float32([1, 1, -1]))
    assert probabilities["a.sick"] == pytest.approx(0.5), "2 * 1 - 1 is 1, as the other one"
    assert probabilities["odd"] == pytest.approx(sigmoid(2.0))


def test_an_inverse_finding_is_what_its_channel_is_not() -> None:
    """Abnormal is 1 - p(normal); the card's points and caveats go with the score."""
    rules = (finding("odd"), finding("odd", name="not it", inverse=True, withheld="too few films", holds_for="adults"))
    plain, inverse = answers(card("classification", CHANNELS, findings=rules), np.float32([0, 0, 2]), WHOLE).scores
    assert plain.probability + inverse.probability == pytest.approx(1)
    assert (inverse.finding, inverse.withheld, inverse.holds_for) == ("not it", "too few films", "adults")
    assert (inverse.low, inverse.operating_point, inverse.high) == (0.3, 0.5, 0.7)


def test_logits_beyond_all_bounds_give_probabilities() -> None:
    """Nothing overflows: certainty is 0 or 1."""
    assert (sigmoid(-1e30), sigmoid(1e30)) == (0.0, 1.0)
    said = class_probabilities(card("classification", CHANNELS, groups=(CHANNELS,)), np.float32([1e30, 0, -1e30]))
    assert list(said.values()) == [1.0, 0.0, 0.0]


def test_a_map_speaks_for_the_image_by_its_highest_pixels() -> None:
    """The mean of the highest share of the picture's pixels, then calibrated on its logit."""
    maps = np.full((1, SIZE, SIZE), 0.1, dtype=np.float32)
    maps[0, 10:14, 10:14] = 0.8
    share = 32 / SIZE**2
    assert map_probability(maps, WHOLE, 0, share) == pytest.approx(0.45)
    said = card(
        "segmentation",
        ("air",),
        operating_points={"air": 0.5},
        findings=(finding("air", top_share=share),),
        calibration={"air": Calibration(scale=2.0, bias=0.5)},
    )
    score = answers(said, maps, WHOLE).scores[0]
    assert score.probability == pytest.approx(sigmoid(2 * math.log(0.45 / 0.55) + 0.5))


def test_what_lies_outside_the_picture_has_no_say_in_its_score() -> None:
    """A letterbox's borders hold no anatomy, whatever a network says there."""
    maps = np.zeros((1, SIZE, SIZE), dtype=np.float32)
    maps[0, :, :16] = 1.0
    assert map_probability(maps, TALL, 0, 0.01) == 0.0
    assert map_probability(maps, WHOLE, 0, 0.01) == 1.0


def test_a_certain_map_can_be_calibrated() -> None:
    """0 and 1 have no logit, and stay near where they were."""
    assert calibrated_probability(0.0, Calibration()) < 1e-6
    assert calibrated_probability(1.0, Calibration()) > 1 - 1e-6
    assert calibrated_probability(0.3, Calibration()) == pytest.approx(0.3)


def test_of_overlapping_boxes_the_likeliest_is_drawn() -> None:
    """Two boxes on one spot are one; another label may lie on the same spot."""
    spot, nearly, elsewhere = (10, 10, 30, 30), (11, 10, 31, 30), (40, 40, 60, 60)
    raw = output((1, -9, nearly), (2, -9, spot), (-9, 1.5, spot), (-5, -9, elsewhere))
    said = answers(detection(), raw, WHOLE)
    assert [(box.label, box.left) for box in said.boxes] == [("opacity", 10), ("nodule", 10)]
    assert said.boxes[0].probability == pytest.approx(sigmoid(2))
    assert said.boxes[0].top == 10
    assert (said.boxes[0].right, said.boxes[0].bottom) == (30, 30)


@pytest.mark.parametrize("small", [2.0, 1.0])
def test_a_box_inside_a_surer_one_goes_where_the_card_has_a_rule_for_it(small: float) -> None:
    """Their IoU is 1/16: both stay without the rule; with it the surer one does, be it the small or the large one."""
    raw = output((small, -9, (10, 10, 20, 20)), (1.5, -9, (0, 0, 40, 40)))
    assert len(answers(detection(), raw, WHOLE).boxes) == 2
    ruled = answers(detection(boxes=BoxRule(overlap=0.3, most=2, inside=0.7)), raw, WHOLE).boxes
    assert [box.right for box in ruled] == [20 if small > 1.5 else 40]


@pytest.mark.parametrize(("inside", "left"), [(0.59, 1), (0.61, 2), (0.99, 2)])
def test_a_box_counts_as_inside_from_its_own_share_on(inside: float, left: int) -> None:
    """Of the smaller box three fifths lie in the larger one, whatever the larger one's area is."""
    raw = output((2, -9, (0, 0, 40, 40)), (1, -9, (34, 10, 44, 20)))
    said = detection(boxes=BoxRule(overlap=0.3, most=2, inside=inside))
    assert len(answers(said, raw, WHOLE).boxes) == left


def test_boxes_are_drawn_from_the_operating_point_on_after_calibration() -> None:
    """What a label needs is said by the card, and its probability is the calibrated one."""
    raw = output((0.5, -9, (10, 10, 30, 30)))
    assert len(answers(detection(), raw, WHOLE).boxes) == 1
    lowered = detection(calibration={"opacity": Calibration(bias=-1.0)})
    assert answers(lowered, raw, WHOLE).boxes == ()
    assert answers(lowered, raw, WHOLE).probabilities["opacity"] == pytest.approx(sigmoid(-0.5))


def test_a_finding_of_boxes_is_as_likely_as_its_likeliest_box() -> None:
    """Also where that box is not drawn; without a box it is 0."""
    said = detection(findings=(finding("opacity"), finding("nodule", name="other")))
    raw = output((-1, -2, (10, 10, 30, 30)), (-3, -4, (40, 40, 60, 60)))
    assert [score.probability for score in answers(said, raw, WHOLE).scores] == pytest.approx(
        [sigmoid(-1), sigmoid(-2)]
    )
    nothing = answers(said, np.zeros((6, 0), dtype=np.float32), WHOLE)
    assert [score.probability for score in nothing.scores] == [0.0, 0.0]
    assert nothing.boxes == ()


def test_a_film_has_no_more_boxes_than_the_card_allows() -> None:
    """The likeliest of all labels are drawn; an evaluation sees as many of each label."""
    raw = output(*((3.0 - k, 2.9 - k, (10 * k, 0, 10 * k + 9, 9)) for k in range(4)))
    said = detection(operating_points={"opacity": 0.01, "nodule": 0.01})
    assert [(box.label, box.left) for box in answers(said, raw, WHOLE).boxes] == [("opacity", 0), ("nodule", 0)]
    assert len(box_candidates(said, raw, WHOLE)) == 4


def test_a_box_is_cut_off_at_the_pictures_borders() -> None:
    """What lies in the letterbox's border is nothing, and has no say in the finding either."""
    said = detection(findings=(finding("opacity"),))
    inside = answers(said, output((2, -9, (-5, 20, 30, 99))), TALL).boxes[0]
    assert (inside.left, inside.top, inside.right, inside.bottom) == (16, 20, 30, 64)
    outside = answers(said, output((2, -9, (0, 20, 16.5, 40)), (9, -9, (40, 30, 20, 40))), TALL)
    assert (outside.boxes, outside.scores[0].probability) == ((), 0.0)


@pytest.mark.parametrize(
    ("said", "shape"),
    [
        (card("segmentation", CHANNELS, operating_points=dict.fromkeys(CHANNELS, 0.5)), (2, SIZE, SIZE)),
        (card("segmentation", CHANNELS, operating_points=dict.fromkeys(CHANNELS, 0.5)), (3, SIZE, 32)),
        (card("classification", CHANNELS), (3, SIZE, SIZE)),
        (card("classification", CHANNELS), (4,)),
        (detection(), (5, 100)),
        (detection(), (6,)),
    ],
)
def test_output_of_another_form_than_the_cards_is_an_error(said: BundleCard, shape: tuple[int, ...]) -> None:
    """No output is read as what it is not."""
    with pytest.raises(ValueError, match="another shape"):
        answers(said, np.zeros(shape, dtype=np.float32), WHOLE)
