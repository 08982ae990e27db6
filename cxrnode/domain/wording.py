"""Statements as a person reads them, from an outcome's summary.

Hides names and units of the line. Promises one sentence a statement, in the order a reader wants them, and a sentence
for every reason and caveat.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cxrnode.domain.reasons import CAVEATS, REASONS


@dataclass(frozen=True, slots=True, kw_only=True)
class Name:
    """What a structure or a finding is called: `title` in objects and lists, `short` on a picture.

    `reserve` says in brackets what the title alone would hide from a reader of a sentence.
    """

    title: str
    short: str
    reserve: str = ""


NAMES: Mapping[str, Name] = {
    "right_lung": Name(title="Right lung", short="R lung"),
    "left_lung": Name(title="Left lung", short="L lung"),
    "heart": Name(title="Heart", short="heart"),
    "pneumothorax": Name(title="Pneumothorax", short="pneumothorax"),
    "right_pneumothorax": Name(title="Pneumothorax, right", short="R pneumothorax"),
    "left_pneumothorax": Name(title="Pneumothorax, left", short="L pneumothorax"),
    "lung_opacity": Name(title="Lung opacity", short="opacity"),
    "covid19_pneumonia": Name(title="Appearance of COVID-19 pneumonia", short="like COVID-19"),
    "viral_pneumonia": Name(
        title="Appearance of viral pneumonia", short="like viral pneumonia", reserve="learned from children"
    ),
    "abnormal_chest": Name(title="Abnormal chest", short="abnormal chest"),
}
"""Every label and finding that a code is known for; what is not in it is called as its model calls it."""

_NUMBERS = {
    "cardiothoracic_ratio": "Cardiothoracic ratio",
    "right_lung.area": "Right lung area",
    "left_lung.area": "Left lung area",
    "heart.area": "Heart area",
    "right_pneumothorax.hemithorax_share": "Right pneumothorax",
    "left_pneumothorax.hemithorax_share": "Left pneumothorax",
    "lung_asymmetry": "Right-left lung asymmetry (right minus left, of the sum)",
}
_ORDER = ("present", "indeterminate", "absent")
_OF = {"hemithorax_share": "the area of its hemithorax"}
"""What a percentage is of, where it is not of the picture."""


def name_of(label: str) -> Name:
    """Give the name of a label or a finding; of what nobody foresaw, the model's own word for it."""
    words = label.replace("_", " ")
    return NAMES.get(label, Name(title=words[:1].upper() + words[1:], short=words))


def spoken(label: str) -> str:
    """Give the name of a label or a finding in the middle of a sentence."""
    title = name_of(label).title
    return title[:1].lower() + title[1:]


def sentences(code: str, summary: Mapping[str, Any]) -> list[str]:
    """Give what is said of one image: why it was not analysed, or each statement with its caveats.

    Findings come first, the present before the open and the absent, whichever models they are of.
    """
    if code:
        return [f"Not analysed, because {REASONS[code].text}."]
    results = summary.get("results", ())
    said = [*_judgments(results), *(f"No {spoken(label)} found." for result in results for label in result["absent"])]
    for result in results:
        open_ = {name for name, judged in result["findings"].items() if judged["presence"] != "present"}
        said += [_measured(name, number, open_) for name, number in result["measurements"].items()]
    said += [f"The model {name} is missing, because {REASONS[why].text}." for name, why in summary.get("missing", ())]
    return said + [f"Note: {caveat}." for caveat in summary.get("caveats", ())]


def _judgments(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """Give each judgment, and whose it is where several models speak of one finding."""
    judgments = [(name, judged, result) for result in results for name, judged in result["findings"].items()]
    times = Counter(name for name, _, _ in judgments)
    judgments.sort(key=lambda one: _ORDER.index(one[1]["presence"]))
    return [
        _judged(name, judged, f" by the model {result.get('model', '')}" if times[name] > 1 else "")
        for name, judged, result in judgments
    ]


def _measured(name: str, number: Mapping[str, Any], open_: Collection[str]) -> str:
    """Give a number; the size of what is not said to be present (`open_` names it) is given with that reserve."""
    region, _, kind = name.rpartition(".")
    reserve = ", if it is one" if region.partition("_")[2] in open_ else ""
    of = _OF.get(kind, "the picture")
    return f"{_NUMBERS.get(name, name.replace('_', ' '))}{reserve}: {quantity(number['value'], number['unit'], of)}."


def _judged(name: str, judged: Mapping[str, Any], by: str) -> str:
    """Give the judgment, `by` which model where two speak of it, sides and boxes, probability, and every reserve."""
    said = [judged["presence"], *([" and ".join(judged["sides"])] if judged.get("sides") else [])]
    if judged.get("boxes"):
        said.append("1 place" if judged["boxes"] == 1 else f"{judged['boxes']} places")
    probability = judged.get("probability")
    bounds = judged.get("undecided", ())
    with_what = "" if probability is None else f" (probability {likelihood(probability, bounds)})"
    reserves = "".join(f" {CAVEATS.get(caveat, caveat)}." for caveat in judged.get("caveats", ()))
    return f"{_titled(name)}{by}: {', '.join(said)}{with_what}.{reserves}"


def _titled(name: str) -> str:
    called = name_of(name)
    return f"{called.title} ({called.reserve})" if called.reserve else called.title


def likelihood(probability: float, undecided: Sequence[float] = ()) -> str:
    """Give a probability with two digits, and the bounds of what is `undecided` where it lies in there.

    Just "between" would read as an interval of confidence. What is not certain never reads as 1.00, nor as 0.00.
    """
    band = f", undecided from {undecided[0]:.2f} to {undecided[1]:.2f}" if undecided else ""
    if probability > 0.99:
        return f"over 0.99{band}"
    return (f"{probability:.2f}" if probability >= 0.01 else "below 0.01") + band


def quantity(value: float, unit: str, of: str = "the picture") -> str:
    """Give a number with its UCUM unit as it is read: areas in cm2, ratios with two digits, what a share is `of`."""
    if unit == "mm2":
        return f"{value / 100:.0f} cm²"
    if unit == "%":
        return f"{value:.1f} % of {of}"
    number = f"{round(value, 2) + 0.0:.2f}"  # no "-0.00"
    return number if unit == "1" else f"{number} {unit}"
