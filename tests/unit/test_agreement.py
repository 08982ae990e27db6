"""Statements that contradict the lungs, the header or each other."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cxrnode.domain.agreement import reserve
from cxrnode.domain.finding import Finding, Prediction, Presence
from cxrnode.domain.judgment import judge_image
from cxrnode.domain.reasons import CAVEATS
from cxrnode.domain.selection import ImageFacts, View
from cxrnode.pixels import orientation
from tests import chests
from tests.chests import FACTS, box, classifier, lungs, opacity, plane, pneumothorax, score

UNSURE = Presence.INDETERMINATE
AT_RIGHT = plane((20, 50), (10, 16))
IN_LUNG = box(15, 30, 35, 50)


def _judge(*predictions: Prediction, facts: ImageFacts = FACTS, withheld: bool = False) -> dict[str, Finding]:
    """Findings by `model.finding`."""
    upright = orientation.of(facts.patient_orientation)
    judged = judge_image(predictions, facts, View.PA, upright, state_withheld=withheld)
    return {f"{result.model.name}.{one.name}": one for result in judged.results for one in result.findings}


def _said(finding: Finding) -> tuple[Presence, tuple[str, ...]]:
    return finding.presence, finding.caveats


def test_what_agrees_is_left_as_it_was_said() -> None:
    """A pneumothorax at its lung, a box in a lung, and a classifier that says the same."""
    said = _judge(lungs(), pneumothorax(AT_RIGHT), opacity(IN_LUNG), classifier(lung_opacity=0.9, abnormal_chest=0.9))
    assert {_said(finding) for finding in said.values()} == {(Presence.PRESENT, ())}
    assert len(said) == 4


@pytest.mark.parametrize(
    ("mask", "doubted"),
    [
        (plane((20, 50), (10, 16)), False),
        (plane((16, 24), (10, 40)), False),
        (plane((100, 118), (10, 40)), True),
        (plane((0, 10), (60, 90)), True),
        (plane((70, 114), (10, 40)), True),
    ],
    ids=["inside", "above the apex", "in the belly", "in the neck", "more out than in"],
)
def test_a_pneumothorax_that_lies_mostly_outside_the_lungs_is_doubted(mask: chests.Mask, *, doubted: bool) -> None:
    """As all of it was outlined: what reaches no lung is not drawn, and counts here all the same."""
    finding = _judge(lungs(), pneumothorax(mask))["pneumothorax.pneumothorax"]
    assert _said(finding) == ((UNSURE, ("outside_lungs",)) if doubted else (Presence.PRESENT, ()))


def test_what_is_not_drawn_casts_its_doubt_all_the_same() -> None:
    """A small piece at the lung does not make up for a large one elsewhere."""
    outlined = plane((20, 40), (10, 25)) | plane((104, 118), (60, 90))
    finding = _judge(lungs(), pneumothorax(outlined))["pneumothorax.pneumothorax"]
    assert _said(finding) == (UNSURE, ("outside_lungs",))
    assert finding.sides == ("right",)


def test_models_that_contradict_each_other_are_named() -> None:
    """By what each said before the other cast doubt on it."""
    judged = judge_image(
        [opacity(IN_LUNG), classifier(lung_opacity=0.1), lungs()], FACTS, View.PA, orientation.of(("L", "F"))
    )
    why = reserve("models_disagree", "lung_opacity", judged.results)
    assert why == (
        "Called indeterminate because the model opacity finds it present and the model classifier finds it absent"
    )
    assert reserve("in_heart", "lung_opacity", judged.results) == CAVEATS["in_heart"]
    assert reserve("models_disagree", "lung_opacity", ()) == CAVEATS["models_disagree"]


def test_where_a_lung_is_missing_nothing_is_outside_of_it() -> None:
    """A lung that has collapsed altogether is where the largest pneumothorax is."""
    finding = _judge(lungs(left=plane()), pneumothorax(plane((20, 80), (60, 90))))["pneumothorax.pneumothorax"]
    assert finding.presence is Presence.PRESENT


@pytest.mark.parametrize(
    ("boxes", "why"),
    [
        ((box(42, 62, 58, 88),), "in_heart"),
        ((box(10, 105, 40, 119),), "outside_thorax"),
        ((box(40, 0, 60, 8),), "outside_thorax"),
        ((box(45, 30, 55, 50),), ""),
        ((box(30, 60, 50, 80),), ""),
        ((box(42, 62, 58, 88), IN_LUNG), ""),
        ((box(42, 62, 58, 88), box(15, 30, 35, 50, 0.45)), "in_heart"),
    ],
    ids=["heart", "belly", "neck", "mediastinum", "lung and heart", "one is in a lung", "only a weak one is in a lung"],
)
def test_boxes_that_can_be_no_opacity_of_a_lung_are_doubted(boxes: tuple[chests.Box, ...], why: str) -> None:
    """All that reach the operating point: one in a lung is enough."""
    finding = _judge(lungs(), opacity(*boxes))["opacity.lung_opacity"]
    assert _said(finding) == ((UNSURE, (why,)) if why else (Presence.PRESENT, ()))
    assert len(finding.boxes) == len(boxes)


def test_a_detector_and_a_classifier_that_say_the_contrary_are_both_doubted() -> None:
    """Which of them is right nobody knows; where one is unsure there is no contradiction."""
    said = _judge(lungs(), opacity(IN_LUNG), classifier(lung_opacity=0.1))
    assert {_said(finding) for finding in said.values()} == {(UNSURE, ("models_disagree",))}
    unsure = _judge(lungs(), opacity(IN_LUNG), classifier(lung_opacity=0.5))
    assert unsure["opacity.lung_opacity"].presence is Presence.PRESENT


def test_a_chest_that_is_not_abnormal_has_no_finding() -> None:
    """What passed it by is doubted, not what was found; an absent finding contradicts nothing."""
    said = _judge(lungs(), pneumothorax(AT_RIGHT), classifier(abnormal_chest=0.1))
    assert _said(said["classifier.abnormal_chest"]) == (UNSURE, ("normal_and_finding",))
    assert _said(said["pneumothorax.pneumothorax"]) == (Presence.PRESENT, ())
    fine = _judge(lungs(), pneumothorax(AT_RIGHT, 0.1), classifier(abnormal_chest=0.1))
    assert {finding.presence for finding in fine.values()} == {Presence.ABSENT}


def test_what_is_withheld_casts_no_doubt_on_what_is_not() -> None:
    """Asked for, it is doubted itself; not asked for, it is not even there."""
    weak = Prediction(model=chests.model("classifier"), scores=(score("lung_opacity", 0.1, withheld="shortcuts"),))
    said = _judge(opacity(IN_LUNG), weak, withheld=True)
    assert _said(said["opacity.lung_opacity"]) == (Presence.PRESENT, ())
    assert _said(said["classifier.lung_opacity"]) == (UNSURE, ("withheld", "models_disagree"))
    assert _judge(opacity(IN_LUNG), weak).keys() == {"opacity.lung_opacity"}


@pytest.mark.parametrize(
    ("laterality", "doubted"), [("L", True), ("R", False), ("B", False), ("U", False), ("", False)]
)
def test_a_side_that_the_header_does_not_show_is_doubted(laterality: str, *, doubted: bool) -> None:
    """The image is said to be of one side, the pneumothorax lies only on the other."""
    said = _judge(lungs(), pneumothorax(AT_RIGHT), facts=replace(FACTS, laterality=laterality))
    finding = said["pneumothorax.pneumothorax"]
    assert _said(finding) == ((UNSURE, ("other_side_stated",)) if doubted else (Presence.PRESENT, ()))


def test_every_reason_to_doubt_is_told_once() -> None:
    """Two models against one, and a place outside the lungs."""
    said = _judge(
        lungs(),
        opacity(box(42, 62, 58, 88)),
        classifier(lung_opacity=0.1, abnormal_chest=0.1),
        replace(classifier(lung_opacity=0.1), model=chests.model("another")),
    )
    assert said["opacity.lung_opacity"].caveats == ("models_disagree", "in_heart")
    assert said["another.lung_opacity"].caveats == ("models_disagree",)
