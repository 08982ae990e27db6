"""Every coded concept that our objects state, in one table, each with the context group it is taken from.

Hides which coding scheme says a thing. Promises that a name used by a model or a measurement is either in here or
refused with UnknownConcept: nothing is ever written under a code that was guessed. Where no standard code exists the
private scheme 99CXRNODE is used, and a report says whose it is (Coding Scheme Identification, PS3.3 C.12.1.1.5).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

from pydicom.sr.coding import Code

from cxrnode.domain.finding import Presence
from cxrnode.domain.identity import derived_uid
from cxrnode.domain.reasons import REASONS, RETRACTIONS
from cxrnode.domain.wording import NAMES
from cxrnode.errors import NeedsOperator
from cxrnode.evidence.colours import COLOURS

_Key = TypeVar("_Key")
_Entry = TypeVar("_Entry")

PRIVATE_SCHEME = "99CXRNODE"
PRIVATE_SCHEME_NAME = "cxrnode private codes"
PRIVATE_SCHEME_UID = derived_uid("coding scheme", PRIVATE_SCHEME)

INTENDED_USE = "Research use only, not a medical device"


class UnknownConcept(NeedsOperator):
    """A model states something that the table of coded concepts does not know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Structure:
    """What a segment shows: PS3.16 CID 7150 (category), CID 7151 (type), CID 244 (laterality)."""

    label: str
    category: Code
    kind: Code
    laterality: Code | None = None
    site: Code | None = None

    @property
    def title(self) -> str:
        """Its name as a person reads it."""
        return NAMES[self.label].title

    def called(self, presence: Presence) -> str:
        """Give what an outline of it is called: an outline of what is not said to be present says so."""
        return self.title if presence is Presence.PRESENT else f"{self.title}: {presence.value}"

    @property
    def colour(self) -> tuple[float, float, float]:
        """CIELab L*, a*, b*."""
        return COLOURS[self.label].cielab

    @property
    def anatomical(self) -> bool:
        """Whether everybody has one: not finding it is no finding."""
        return bool(self.category == ANATOMICAL_STRUCTURE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """How a number is stated: concept, UCUM unit (CID 7181), decimals, and the names of the lines drawn with it."""

    title: str
    concept: Code
    unit: Code
    decimals: int
    lines: tuple[tuple[str, Code], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Abnormality:
    """A finding that can be present or absent (CID 6102 and others), and where it is looked for.

    `structure`: whether it is one that can be outlined; the likeness of a disease is none.
    """

    title: str
    concept: Code
    site: Code | None = None
    structure: bool = True


def _private(value: str, meaning: str) -> Code:
    return Code(value, PRIVATE_SCHEME, meaning)


LUNG = Code("39607008", "SCT", "Lung")
HEART = Code("80891009", "SCT", "Heart")
PNEUMOTHORAX = Code("36118008", "SCT", "Pneumothorax")
OPACITY = Code("112001", "DCM", "Opacity")
ANATOMICAL_STRUCTURE = Code("91723000", "SCT", "Anatomical Structure")
ABNORMAL_STRUCTURE = Code("49755003", "SCT", "Morphologically Abnormal Structure")
RIGHT = Code("24028007", "SCT", "Right")
LEFT = Code("7771000", "SCT", "Left")
BILATERAL = Code("51440002", "SCT", "Bilateral")
THORAX = Code("816094009", "SCT", "Thorax")

LATERALITIES: dict[tuple[str, ...], Code] = {("right",): RIGHT, ("left",): LEFT, ("right", "left"): BILATERAL}
"""PS3.16 CID 244, by the sides of a finding."""


def _anatomy(label: str, kind: Code, laterality: Code | None = None) -> Structure:
    return Structure(label=label, category=ANATOMICAL_STRUCTURE, kind=kind, laterality=laterality)


def _pneumothorax(label: str, laterality: Code | None = None) -> Structure:
    return Structure(label=label, category=ABNORMAL_STRUCTURE, kind=PNEUMOTHORAX, laterality=laterality, site=LUNG)


STRUCTURES: dict[str, Structure] = {
    one.label: one
    for one in (
        _anatomy("right_lung", LUNG, RIGHT),
        _anatomy("left_lung", LUNG, LEFT),
        _anatomy("heart", HEART),
        _pneumothorax("pneumothorax"),
        _pneumothorax("right_pneumothorax", RIGHT),
        _pneumothorax("left_pneumothorax", LEFT),
    )
}

# No number on the screen without its unit: PS3.16 CID 7181 and UCUM.
NO_UNITS = Code("1", "UCUM", "no units")
PERCENT = Code("%", "UCUM", "Percent")
SQUARE_MILLIMETRE = Code("mm2", "UCUM", "square millimeter")

_DIAMETERS = (
    ("Transverse cardiac diameter", _private("CARDDIAM", "Transverse cardiac diameter")),
    ("Transverse thoracic diameter", _private("THORDIAM", "Transverse thoracic diameter")),
)
_SHARE = _private("AREASHARE", "Area as share of the image")
_HEMITHORAX_SHARE = _private("HEMITHORAXSHARE", "Pneumothorax, share of the hemithorax by area")
_CARDIOTHORACIC_RATIO = _private("CTR", "Cardiothoracic ratio")

PROBABILITY = Quantity(title="Probability", concept=Code("122157", "DCM", "Probability"), unit=PERCENT, decimals=1)
"""How every probability is stated, but for its name."""


def _probability(value: str, of: str) -> Quantity:
    """Name a probability by what it is of: a viewer prints a number's own name, and not what it belongs to."""
    return replace(PROBABILITY, title=f"Probability of {of}", concept=_private(value, f"Probability of {of}"))


QUANTITIES: dict[tuple[str, str], Quantity] = {
    ("cardiothoracic_ratio", "1"): Quantity(
        title="Cardiothoracic ratio", concept=_CARDIOTHORACIC_RATIO, unit=NO_UNITS, decimals=3, lines=_DIAMETERS
    ),
    ("area", "mm2"): Quantity(
        title="Area", concept=Code("42798000", "SCT", "Area"), unit=SQUARE_MILLIMETRE, decimals=0
    ),
    ("area", "%"): Quantity(title="Area as share of the image", concept=_SHARE, unit=PERCENT, decimals=2),
    ("hemithorax_share", "%"): Quantity(
        title="Pneumothorax, share of the hemithorax (lung and pneumothorax) by area",
        concept=_HEMITHORAX_SHARE,
        unit=PERCENT,
        decimals=1,
    ),
    ("lung_asymmetry", "1"): Quantity(
        title="Right-left asymmetry of lung area",
        concept=_private("LUNGASYM", "Lung area asymmetry, (right - left) / (right + left)"),
        unit=NO_UNITS,
        decimals=3,
    ),
    ("probability.pneumothorax", "%"): _probability("PROBPNEUMOTHORAX", "pneumothorax"),
    ("probability.lung_opacity", "%"): _probability("PROBOPACITY", "lung opacity"),
    ("probability.covid19_pneumonia", "%"): _probability("PROBLIKECOVID19", "an appearance of COVID-19 pneumonia"),
    ("probability.viral_pneumonia", "%"): _probability("PROBLIKEVIRAL", "an appearance of viral pneumonia"),
    ("probability.abnormal_chest", "%"): _probability("PROBABNORMAL", "an abnormal chest"),
}

OPERATING_POINT = Quantity(
    title="Operating point", concept=Code("122411", "DCM", "Threshold Value"), unit=PERCENT, decimals=1
)
BAND = (
    Quantity(
        title="Lower bound", concept=_private("ABSENTBELOW", "Absent below this probability"), unit=PERCENT, decimals=1
    ),
    Quantity(
        title="Upper bound",
        concept=_private("PRESENTFROM", "Present from this probability on"),
        unit=PERCENT,
        decimals=1,
    ),
)
"""The bounds between which nobody says; no standard code says either."""

ABNORMALITIES: dict[str, Abnormality] = {
    "pneumothorax": Abnormality(title=NAMES["pneumothorax"].title, concept=PNEUMOTHORAX, site=LUNG),
    "lung_opacity": Abnormality(title=NAMES["lung_opacity"].title, concept=OPACITY, site=LUNG),
    # What a picture looks like, not what the patient has: the diagnoses (SCT 882784691000119100, 75570004) say more.
    "covid19_pneumonia": Abnormality(
        title=NAMES["covid19_pneumonia"].title,
        concept=_private("LIKECOVID19", "Appearance of COVID-19 pneumonia"),
        site=LUNG,
        structure=False,
    ),
    "viral_pneumonia": Abnormality(
        title=NAMES["viral_pneumonia"].title,
        concept=_private("LIKEVIRAL", "Appearance of viral pneumonia"),
        site=LUNG,
        structure=False,
    ),
    "abnormal_chest": Abnormality(
        title=NAMES["abnormal_chest"].title,
        concept=_private("ABNORMALCHEST", "Abnormal chest radiograph"),
        site=THORAX,
        structure=False,
    ),
}

PRESENCES: dict[Presence, Code] = {
    Presence.PRESENT: Code("52101004", "SCT", "Present"),
    Presence.ABSENT: Code("272519000", "SCT", "Absent"),
    Presence.INDETERMINATE: Code("82334004", "SCT", "Indeterminate"),
}
NOT_FOUND = _private("NOTFOUND", "Looked for and not found")

NOT_ANALYSED = _private("NOTANALYSED", "Not analysed, because")
NO_RESULT = _private("NORESULT", "No result of a model, because")
TAKEN_BACK = _private("TAKENBACK", "Taken back, because")
INTENDED_USE_CONCEPT = _private("INTENDEDUSE", "Intended use")
COMMENT = Code("121106", "DCM", "Comment")


def plain(text: str, longest: int = 64) -> str:
    """Give text of a foreign bundle as ASCII to be seen, no backslash, at most as long as its value may be (LO: 64).

    It stands beside the source's text, under whatever character set that is written in.
    """
    return "".join(letter if " " <= letter <= "~" else "?" for letter in text[:longest]).replace("\\", "/")


def structure(label: str) -> Structure:
    """Give the structure that a mask's label names; UnknownConcept if the table does not have it."""
    return _known(STRUCTURES, label, "segment label")


def quantity(name: str, unit: str) -> Quantity:
    """Give how a measurement is stated; UnknownConcept if the table does not have it in this unit."""
    return _known(QUANTITIES, (name, unit), "measurement")


def probability(finding: str) -> Quantity:
    """Give how the probability of a finding is stated; UnknownConcept if the table does not have it."""
    return _known(QUANTITIES, (f"probability.{finding}", PROBABILITY.unit.value), "probability")


def abnormality(name: str) -> Abnormality:
    """Give the finding of this name; UnknownConcept if the table does not have it."""
    return _known(ABNORMALITIES, name, "finding")


def reason(code: str) -> Code:
    """Give a key of REASONS as a private code.

    A Code Value holds 16 characters, a Code Meaning 64 (PS3.5 6.2, SH and LO): the explanation after a semicolon stands
    in the sentence beside it.
    """
    return _private(code.upper().replace("_", "")[:16], REASONS[code].text.partition(";")[0])


def retraction(code: str) -> Code:
    """Give a key of RETRACTIONS as a private code."""
    return _private(code.upper().replace("_", "")[:16], RETRACTIONS[code].text)


def _known(table: dict[_Key, _Entry], key: _Key, what: str) -> _Entry:
    if key not in table:
        raise UnknownConcept(
            f"the {what} {key!r} has no coded concept",
            operation="compose evidence",
            hint="see 'A model states an unknown concept' in docs/operations.md",
        )
    return table[key]
