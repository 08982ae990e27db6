"""The table of coded concepts: it can be written, and what it lacks is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydicom.sr.codedict import codes as standard
from pydicom.sr.coding import Code

from cxrnode.domain.chest import SIDES
from cxrnode.domain.finding import Presence
from cxrnode.domain.judgment import REFUSALS, SIDED
from cxrnode.domain.reasons import CAVEATS, REASONS
from cxrnode.errors import NeedsOperator
from cxrnode.evidence import codes


def _all_codes() -> list[Code]:
    structures = [
        code
        for what in codes.STRUCTURES.values()
        for code in (what.category, what.kind, what.laterality, what.site)
        if code
    ]
    quantities = [*codes.QUANTITIES.values(), codes.PROBABILITY, codes.OPERATING_POINT, *codes.BAND]
    numbers = [code for how in quantities for code in (how.concept, how.unit, *(line for _, line in how.lines))]
    judged = [*codes.PRESENCES.values(), *(what.concept for what in codes.ABNORMALITIES.values())]
    own = [codes.NOT_FOUND, codes.NOT_ANALYSED, codes.NO_RESULT, codes.INTENDED_USE_CONCEPT, codes.COMMENT]
    return [*structures, *numbers, *judged, *own, *(codes.reason(code) for code in REASONS)]


def test_every_code_fits_its_value_representation():
    """A Code Value is an SH of 16 characters, a Code Meaning an LO of 64 (PS3.5 6.2)."""
    for code in _all_codes():
        assert 1 <= len(code.value) <= 16, code
        assert 1 <= len(code.meaning) <= 64, code
        assert code.meaning.isascii()
        assert "\\" not in code.meaning


def test_every_private_code_has_one_meaning():
    """No two private concepts share a value, though long reasons are cut to sixteen characters."""
    meanings: dict[str, set[str]] = {}
    for code in _all_codes():
        if code.scheme_designator == codes.PRIVATE_SCHEME:
            meanings.setdefault(code.value, set()).add(code.meaning)
    assert all(len(said) == 1 for said in meanings.values())


def test_every_finding_has_a_probability_of_its_own():
    """A viewer prints a number's name alone."""
    named = {codes.probability(name).concept for name in codes.ABNORMALITIES}
    assert len(named) == len(codes.ABNORMALITIES)


def test_standard_codes_are_those_of_the_standard():
    """The codes that pydicom's dictionary of PS3.16 knows, with its meanings."""
    known = {
        codes.LUNG: standard.SCT.Lung,
        codes.HEART: standard.SCT.Heart,
        codes.PNEUMOTHORAX: standard.SCT.Pneumothorax,
        codes.RIGHT: standard.SCT.Right,
        codes.LEFT: standard.SCT.Left,
        codes.BILATERAL: standard.SCT.Bilateral,
        codes.THORAX: standard.SCT.Thorax,
        codes.ANATOMICAL_STRUCTURE: standard.SCT.AnatomicalStructure,
        codes.ABNORMAL_STRUCTURE: standard.SCT.MorphologicallyAbnormalStructure,
        codes.OPACITY: standard.DCM.Opacity,
        codes.SQUARE_MILLIMETRE: standard.UCUM.SquareMillimeter,
        codes.NO_UNITS: standard.UCUM.NoUnits,
        codes.PERCENT: standard.UCUM.Percent,
        codes.COMMENT: standard.DCM.Comment,
        codes.PROBABILITY.concept: standard.DCM.Probability,
        codes.OPERATING_POINT.concept: standard.DCM.ThresholdValue,
        codes.PRESENCES[Presence.ABSENT]: standard.SCT.Absent,
    }
    for ours, theirs in known.items():
        assert (ours.value, ours.scheme_designator) == (theirs.value, theirs.scheme_designator)
        assert ours.meaning == theirs.meaning


def test_what_the_line_measures_has_a_code():
    """The names and units that judgment states today."""
    plain = (("cardiothoracic_ratio", "1"), ("area", "mm2"), ("area", "%"), ("lung_asymmetry", "1"))
    for name, unit in (*plain, ("hemithorax_share", "%")):
        assert codes.quantity(name, unit).decimals >= 0
    assert [title for title, _ in codes.quantity("cardiothoracic_ratio", "1").lines] == [
        "Transverse cardiac diameter",
        "Transverse thoracic diameter",
    ]


@pytest.mark.parametrize(
    "ask",
    [lambda: codes.structure("spleen"), lambda: codes.quantity("area", "acre"), lambda: codes.abnormality("gout")],
)
def test_an_unknown_name_is_refused_and_says_which(ask):
    """Never a guessed code: an operator has to look at the model."""
    with pytest.raises(codes.UnknownConcept, match=r"spleen|acre|gout") as caught:
        ask()
    assert isinstance(caught.value, NeedsOperator)
    assert "docs/operations.md" in caught.value.hint


def test_caveats_and_reasons_are_plain_ascii_text():
    """They are written under the source's character set, whatever that is."""
    for text in (*CAVEATS.values(), *(reason.text for reason in REASONS.values())):
        assert text.isascii()


def test_what_is_judged_by_side_has_a_structure_for_each_side():
    """And the side's own code."""
    for label in SIDED:
        sides = {side: codes.structure(f"{side}_{label}").laterality for side in SIDES}
        assert sides == {"right": codes.RIGHT, "left": codes.LEFT}
        assert codes.structure(label).laterality is None


def test_every_finding_that_a_shipped_model_states_has_a_coded_concept():
    """The cards in models/ name nothing that a report could not say."""
    cards = sorted((Path(__file__).parents[2] / "models").glob("*/configs/metadata.json"))
    assert cards
    stated = {name for card in cards for name in json.loads(card.read_text())["cxrnode"].get("findings", {})}
    for name in stated - set(REFUSALS):
        assert codes.abnormality(name).title
    assert set(REFUSALS) <= REASONS.keys()


def test_text_of_a_bundle_is_written_as_it_would_be_seen():
    """An escape would change the character set of what follows, a backslash make two values of one."""
    assert codes.plain("1.0\x1b$B\n\\é\ud800") == "1.0?$B?/??"
    assert codes.plain("x" * 100) == "x" * 64
