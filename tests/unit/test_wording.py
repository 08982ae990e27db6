"""Statements as a person reads them."""

from __future__ import annotations

import pytest

from cxrnode.domain.reasons import CAVEATS, REASONS
from cxrnode.domain.wording import likelihood, quantity, sentences

SUMMARY = {
    "view": "AP",
    "results": [
        {
            "model": "lungs",
            "measurements": {
                "cardiothoracic_ratio": {"value": 0.4796, "unit": "1"},
                "right_lung.area": {"value": 24010.2, "unit": "mm2"},
                "left_lung.area": {"value": 17.5805, "unit": "%"},
                "vertebral_height": {"value": 1.5, "unit": "cm"},
            },
            "findings": {
                "pneumothorax": {"presence": "absent", "probability": 0.034},
                "opacity": {"presence": "present"},
            },
            "absent": ["heart"],
        }
    ],
    "missing": [["opacity", "model_failed"]],
    "caveats": [CAVEATS["ap_view"]],
}


def test_an_analysed_image_reads_in_order() -> None:
    """Findings, the present first, what was not found, measurements, what is missing, notes."""
    assert sentences("", SUMMARY) == [
        "Opacity: present.",
        "Pneumothorax: absent (probability 0.03).",
        "No heart found.",
        "Cardiothoracic ratio: 0.48.",
        "Right lung area: 240 cm².",
        "Left lung area: 17.6 % of the picture.",
        "vertebral height: 1.50 cm.",
        "The model opacity is missing, because the model failed on it.",
        "Note: AP view: the heart is magnified, the cardiothoracic ratio reads high.",
    ]


@pytest.mark.parametrize("code", REASONS)
def test_every_reason_is_a_sentence(code: str) -> None:
    """Whatever the outcome is called."""
    (said,) = sentences(code, {})
    assert said.startswith("Not analysed, because ")
    assert said.endswith(".")


def test_nothing_said_is_nothing() -> None:
    """An image that has not been run has no sentence."""
    assert sentences("", {}) == []


@pytest.mark.parametrize(
    ("value", "unit", "read"),
    [
        (0.5, "1", "0.50"),
        (-0.018, "1", "-0.02"),
        (-0.001, "1", "0.00"),
        (10_050.0, "mm2", "100 cm²"),
        (12.0, "mm", "12.00 mm"),
    ],
)
def test_numbers_carry_their_unit(value: float, unit: str, read: str) -> None:
    """Areas in cm2, ratios with two digits, anything else with its UCUM unit."""
    assert quantity(value, unit) == read


@pytest.mark.parametrize(
    ("name", "judged", "read"),
    [
        (
            "pneumothorax",
            {"presence": "indeterminate", "probability": 0.7, "sides": ["right"], "caveats": ["outside_lungs"]},
            "Pneumothorax: indeterminate, right (probability 0.70)."
            " Called indeterminate because most of it lies outside the lungs.",
        ),
        (
            "lung_opacity",
            {"presence": "indeterminate", "probability": 0.67, "undecided": [0.489747, 0.915]},
            "Lung opacity: indeterminate (probability 0.67, undecided from 0.49 to 0.92).",
        ),
        (
            "pneumothorax",
            {"presence": "present", "probability": 0.7, "sides": ["right", "left"]},
            "Pneumothorax: present, right and left (probability 0.70).",
        ),
        (
            "lung_opacity",
            {"presence": "present", "probability": 0.9, "boxes": 2},
            "Lung opacity: present, 2 places (probability 0.90).",
        ),
        ("lung_opacity", {"presence": "present", "boxes": 1}, "Lung opacity: present, 1 place."),
        ("covid19_pneumonia", {"presence": "absent"}, "Appearance of COVID-19 pneumonia: absent."),
        ("viral_pneumonia", {"presence": "absent"}, "Appearance of viral pneumonia (learned from children): absent."),
        ("abnormal_chest", {"presence": "present"}, "Abnormal chest: present."),
    ],
)
def test_a_finding_reads_with_its_side_its_places_and_its_reserves(name: str, judged: dict, read: str) -> None:
    """In one sentence, and one more for each reserve."""
    summary = {"results": [{"measurements": {}, "findings": {name: judged}, "absent": []}]}
    assert sentences("", summary) == [read]


def test_the_size_of_a_pneumothorax_says_what_it_is_a_share_of() -> None:
    """Not of the picture."""
    numbers = {"right_pneumothorax.hemithorax_share": {"value": 14.26, "unit": "%"}}
    summary = {"results": [{"measurements": numbers, "findings": {}, "absent": []}]}
    assert sentences("", summary) == ["Right pneumothorax: 14.3 % of the area of its hemithorax."]


@pytest.mark.parametrize(("presence", "reserve"), [("present", ""), ("indeterminate", ", if it is one")])
def test_the_size_of_what_is_only_suspected_says_so(presence: str, reserve: str) -> None:
    """A size alone would read as if the pneumothorax were certain; a lung's area needs no reserve."""
    numbers = {"right_pneumothorax.hemithorax_share": {"value": 0.2, "unit": "%"}}
    result = {"measurements": numbers, "findings": {"pneumothorax": {"presence": presence}}, "absent": []}
    judged, size = sentences("", {"results": [result]})
    assert size == f"Right pneumothorax{reserve}: 0.2 % of the area of its hemithorax."
    assert judged == f"Pneumothorax: {presence}."


def test_two_models_that_speak_of_one_finding_are_told_apart() -> None:
    """A reader sees whose answer is whose."""
    results = [
        {"model": name, "measurements": {}, "findings": {"lung_opacity": {"presence": said}}, "absent": []}
        for name, said in (("classifier", "present"), ("opacity", "absent"))
    ]
    assert sentences("", {"results": results}) == [
        "Lung opacity by the model classifier: present.",
        "Lung opacity by the model opacity: absent.",
    ]


@pytest.mark.parametrize(
    ("probability", "read"),
    [(0.9991, "over 0.99"), (0.99, "0.99"), (0.5, "0.50"), (0.01, "0.01"), (0.0038, "below 0.01"), (0.0, "below 0.01")],
)
def test_no_probability_reads_as_certain(probability: float, read: str) -> None:
    """Neither 1.00 nor 0.00 is ever said."""
    assert likelihood(probability) == read
