"""From probabilities, boxes and masks of several models to what is said of one image."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cxrnode.domain.finding import Finding, ModelResult, Prediction, Presence
from cxrnode.domain.judgment import Judged, judge_image
from cxrnode.domain.selection import ImageFacts, View
from cxrnode.errors import Unsuitable
from cxrnode.pixels import orientation
from tests import chests
from tests.chests import FACTS, LEFT, RIGHT, box, classifier, gate, lungs, opacity, plane, pneumothorax, score

AT_RIGHT = plane((20, 50), (10, 16))
AT_LEFT = plane((20, 50), (84, 90))


def _judge(*predictions: Prediction, facts: ImageFacts = FACTS, **changes: bool) -> Judged:
    return judge_image(predictions, facts, View.PA, orientation.of(facts.patient_orientation), **changes)


def _of(judged: Judged, name: str) -> ModelResult:
    return next(result for result in judged.results if result.model.name == name)


def _findings(judged: Judged) -> dict[str, Finding]:
    return {finding.name: finding for result in judged.results for finding in result.findings}


def _refusal(*predictions: Prediction, facts: ImageFacts = FACTS, **changes: bool) -> str:
    try:
        _judge(*predictions, facts=facts, **changes)
    except Unsuitable as error:
        return error.code
    return ""


@pytest.mark.parametrize(
    ("probability", "presence"),
    [
        (0.6, Presence.PRESENT),
        (0.5999, Presence.INDETERMINATE),
        (0.4, Presence.INDETERMINATE),
        (0.3999, Presence.ABSENT),
    ],
)
def test_a_probability_is_judged_by_the_band_of_its_card(probability: float, presence: Presence) -> None:
    """Present from its upper edge on, absent below its lower one; all numbers are stated."""
    finding = _findings(_judge(classifier(abnormal_chest=probability)))["abnormal_chest"]
    assert (finding.presence, finding.probability, finding.operating_point) == (presence, probability, 0.5)
    assert finding.band == (0.4, 0.6)
    assert bool(finding.undecided) == (presence is Presence.INDETERMINATE)
    assert finding.caveats == ()


def test_a_withheld_finding_is_stated_only_when_asked_for_and_says_so() -> None:
    """Neither its finding nor its region is there otherwise."""
    withheld = pneumothorax(AT_RIGHT, withheld="Dice 0.2 on real films")
    silent = _of(_judge(lungs(), withheld), "pneumothorax")
    assert (silent.findings, silent.regions, silent.absent) == ((), (), ())
    said = _of(_judge(lungs(), withheld, state_withheld=True), "pneumothorax")
    assert said.findings[0].caveats == ("withheld",)
    assert len(said.regions) == 1


@pytest.mark.parametrize(
    ("holds_for", "age", "stated"),
    [
        ("children", 5.0, ()),
        ("children", 50.0, None),
        ("children", None, ("holds_for_children",)),
        ("adults", 50.0, ()),
        ("adults", 5.0, None),
        ("adults", None, ("holds_for_adults",)),
        ("", None, ()),
    ],
)
def test_a_finding_is_stated_of_those_it_holds_for(
    holds_for: str, age: float | None, stated: tuple[str, ...] | None
) -> None:
    """Of nobody else; where no age is stated, with that reserve."""
    one = Prediction(model=chests.model("classifier"), scores=(score("viral_pneumonia", 0.9, holds_for=holds_for),))
    findings = _findings(_judge(one, facts=replace(FACTS, age_years=age), children=True))
    assert {name: finding.caveats for name, finding in findings.items()} == (
        {} if stated is None else {"viral_pneumonia": stated}
    )


def test_pixels_that_look_like_a_child_stand_for_an_age_that_is_not_stated() -> None:
    """What was learned from children is then said without the reserve, where children are wanted at all."""
    viral = Prediction(model=chests.model("classifier"), scores=(score("viral_pneumonia", 0.9, holds_for="children"),))
    unknown = replace(FACTS, age_years=None)
    assert _refusal(gate(child=0.9), viral, facts=unknown) == "child"
    assert _findings(_judge(gate(child=0.9), viral, facts=unknown, children=True))["viral_pneumonia"].caveats == ()


@pytest.mark.parametrize("reason", ["not_frontal", "inverted", "mirrored"])
def test_the_gate_refuses_the_image_whatever_the_others_say(reason: str) -> None:
    """From its operating point on, in any order of the models."""
    assert _refusal(lungs(), opacity(box(20, 30, 30, 40)), gate(**{reason: 0.5})) == reason
    assert _refusal(gate(**{reason: 0.5}), lungs()) == reason
    assert _refusal(gate(**{reason: 0.4999}), lungs()) == ""


def test_of_several_refusals_the_coarsest_is_told() -> None:
    """A hand that looks inverted is a hand."""
    assert _refusal(gate(inverted=0.99, not_frontal=0.6, child=0.99)) == "not_frontal"


def test_a_stated_age_comes_before_what_the_gate_thinks_of_it() -> None:
    """An adult who looks like a child is an adult."""
    assert _refusal(gate(child=0.99), lungs()) == ""
    assert _refusal(gate(child=0.99), lungs(), facts=replace(FACTS, age_years=None)) == "child"
    assert _refusal(gate(child=0.99), lungs(), facts=replace(FACTS, age_years=None), children=True) == ""


def test_the_gate_gives_no_result_of_its_own() -> None:
    """It says nothing of the patient; alone it is no model for the image."""
    assert [result.model.name for result in _judge(gate(), lungs()).results] == ["lungs"]
    assert _judge(gate()).results == ()


def test_a_picture_without_lungs_gets_no_statement_of_any_model() -> None:
    """A classifier has an answer for every picture."""
    assert _refusal(classifier(covid19_pneumonia=0.99), lungs(right=plane(), left=plane())) == "implausible"


def test_boxes_go_with_a_finding_that_is_not_absent_the_most_probable_first() -> None:
    """An absent opacity has no place."""
    weak, strong = box(12, 30, 30, 40, 0.5), box(62, 30, 80, 40, 0.8)
    assert _findings(_judge(opacity(weak, strong)))["lung_opacity"].boxes == (strong, weak)
    assert _findings(_judge(opacity(weak)))["lung_opacity"].boxes == (weak,)
    assert _findings(_judge(opacity(weak, strong, probability=0.1)))["lung_opacity"].boxes == ()


def test_a_box_whose_own_probability_is_absent_is_not_stated() -> None:
    """Whatever another box of the finding says."""
    absent, unsure, present = (box(12, 30, 30, 40, p) for p in (0.39, 0.4, 0.8))
    (finding,) = _findings(_judge(opacity(absent, unsure, present))).values()
    assert finding.boxes == (present, unsure)
    assert [finding.presence_of(one) for one in finding.boxes] == [Presence.PRESENT, Presence.INDETERMINATE]


def test_a_piece_that_reaches_no_lung_is_neither_drawn_nor_measured_nor_gives_a_side() -> None:
    """What is left is the piece at the lung, as it was outlined; where no piece is left there is no side."""
    at_lung, elsewhere = AT_RIGHT, plane((108, 118), (80, 90))
    result = _of(_judge(lungs(), pneumothorax(at_lung | elsewhere)), "pneumothorax")
    assert result.findings[0].sides == ("right",)
    (region,) = result.regions
    assert np.array_equal(region.mask, at_lung)
    assert result.measurements == _of(_judge(lungs(), pneumothorax(at_lung)), "pneumothorax").measurements
    nowhere = _of(_judge(lungs(), pneumothorax(elsewhere)), "pneumothorax")
    assert (nowhere.regions, nowhere.measurements, nowhere.findings[0].sides) == ((), (), ())


def test_where_a_lung_is_missing_every_piece_is_drawn() -> None:
    """A collapsed lung is where the air is."""
    both = AT_RIGHT | plane((108, 118), (80, 90))
    result = _of(_judge(lungs(left=plane()), pneumothorax(both)), "pneumothorax")
    assert np.array_equal(np.logical_or.reduce([region.mask for region in result.regions]), both)


def test_an_absent_pneumothorax_has_no_region_and_an_indeterminate_one_has() -> None:
    """Pixels above a threshold are no finding; and what is not certain is shown to whoever decides."""
    absent = _of(_judge(lungs(), pneumothorax(AT_RIGHT, 0.1)), "pneumothorax")
    assert (absent.regions, absent.measurements, absent.absent) == ((), (), ())
    assert absent.findings[0].presence is Presence.ABSENT
    unsure = _of(_judge(lungs(), pneumothorax(AT_RIGHT, 0.5)), "pneumothorax")
    assert [region.label for region in unsure.regions] == ["right_pneumothorax"]


def test_a_finding_without_a_pixel_stands_without_a_side() -> None:
    """The probability says present, the mask shows nothing."""
    result = _of(_judge(lungs(), pneumothorax(plane())), "pneumothorax")
    assert (result.regions, result.absent, result.measurements) == ((), (), ())
    assert (result.findings[0].presence, result.findings[0].sides) == (Presence.PRESENT, ())


def test_a_mask_too_small_to_be_looked_at_is_neither_drawn_nor_gives_a_side() -> None:
    """Two of twelve thousand pixels; the finding follows its probability, as without a pixel."""
    speck, more = plane((20, 22), (10, 11)), plane((20, 23), (10, 11))
    result = _of(_judge(lungs(), pneumothorax(speck)), "pneumothorax")
    assert (result.regions, result.measurements, result.leaning_on) == ((), (), ())
    assert (result.findings[0].presence, result.findings[0].sides) == (Presence.PRESENT, ())
    assert _of(_judge(lungs(), pneumothorax(more)), "pneumothorax").findings[0].sides == ("right",)


def test_a_tip_too_small_to_be_looked_at_is_no_second_side() -> None:
    """More than a quarter of the mask lies on the left: two pixels."""
    crossing = plane((20, 21), (45, 52))
    result = _of(_judge(lungs(), pneumothorax(crossing)), "pneumothorax")
    assert result.findings[0].sides == ("right",)
    assert np.array_equal(result.regions[0].mask, crossing)


@pytest.mark.parametrize("stated", [("L", "F"), ("R", "F"), ("L", "H"), ("F", "L"), ("H", "R")])
def test_a_pneumothorax_is_on_the_side_of_its_lung_however_the_film_lies(stated: tuple[str, str]) -> None:
    """Its size is its share of the lung and it together; the region is the stored mask, unchanged."""
    turned = orientation.of(stated)
    small = plane((10, 50), (12, 22))  # 100 of its pixels above the lung
    stored = {
        "right": np.ascontiguousarray(turned.undo(RIGHT)),
        "left": np.ascontiguousarray(turned.undo(LEFT)),
        "heart": np.ascontiguousarray(turned.undo(chests.HEART)),
    }
    mask = np.ascontiguousarray(turned.undo(small))
    facts = replace(FACTS, patient_orientation=stated, rows=mask.shape[0], columns=mask.shape[1])
    result = _of(_judge(pneumothorax(mask), lungs(**stored), facts=facts), "pneumothorax")
    assert result.findings[0].sides == ("right",)
    (region,) = result.regions
    assert region.label == "right_pneumothorax"
    assert np.array_equal(region.mask, mask)
    (size,) = result.measurements
    assert (size.name, size.region, size.unit, size.caveats) == (
        "hemithorax_share",
        "right_pneumothorax",
        "%",
        ("area_share",),
    )
    assert size.value == pytest.approx(100 * 400 / (1800 + 100))
    assert [model.name for model in result.leaning_on] == ["lungs"]


def test_a_pneumothorax_of_both_sides_is_two_regions_with_two_sizes() -> None:
    """Each with the share of its own hemithorax."""
    result = _of(_judge(lungs(), pneumothorax(AT_RIGHT | plane((20, 40), (84, 90)))), "pneumothorax")
    assert result.findings[0].sides == ("right", "left")
    sizes = {m.region: m.value for m in result.measurements}
    assert sizes == {"right_pneumothorax": pytest.approx(10.0), "left_pneumothorax": pytest.approx(100 * 120 / 1800)}


def test_what_crosses_the_midline_by_a_few_pixels_has_one_side_and_loses_none() -> None:
    """A tip of a twentieth is no second pneumothorax."""
    crossing = plane((20, 24), (10, 51))
    result = _of(_judge(lungs(), pneumothorax(crossing)), "pneumothorax")
    assert result.findings[0].sides == ("right",)
    assert np.array_equal(result.regions[0].mask, crossing)


def test_without_both_lungs_the_half_of_the_picture_is_the_side_and_nothing_is_sized() -> None:
    """With the reserve, and leaning on no model that is not there."""
    alone = _of(_judge(pneumothorax(AT_LEFT)), "pneumothorax")
    assert [region.label for region in alone.regions] == ["left_pneumothorax"]
    assert (alone.findings[0].sides, alone.findings[0].caveats) == (("left",), ("side_from_half",))
    assert (alone.measurements, alone.leaning_on) == ((), ())
    one_lung = _of(_judge(lungs(left=plane()), pneumothorax(AT_LEFT)), "pneumothorax")
    assert (one_lung.findings[0].caveats, one_lung.measurements) == (("side_from_half",), ())


def test_a_heart_on_the_right_is_told_of_the_image() -> None:
    """Shifted, turned or mirrored: the reader has to know which; a heart in its place is nothing to tell."""
    assert _judge(lungs()).caveats == ()
    assert _judge(lungs(heart=plane((60, 90), (32, 60)))).caveats == ("heart_on_right",)
    assert _judge(lungs(heart=plane())).caveats == ()
