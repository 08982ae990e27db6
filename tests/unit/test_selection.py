"""Which image a model may look at, over the tags that real radiographs bring."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cxrnode.domain.reasons import CAVEATS, REASONS
from cxrnode.domain.selection import (
    ADULT_FROM,
    CR_STORAGE,
    DX_FOR_PRESENTATION,
    DX_FOR_PROCESSING,
    SECONDARY_CAPTURE,
    ImageFacts,
    NotSuitable,
    Suitable,
    View,
    is_candidate,
    select,
    view_of,
)

PA = ImageFacts(
    sop_class_uid=CR_STORAGE,
    modality="CR",
    body_part="CHEST",
    view_position="PA",
    image_type=("ORIGINAL", "PRIMARY"),
    photometric="MONOCHROME2",
    rows=2048,
    columns=2048,
    patient_orientation=("L", "F"),
    has_pixels=True,
    spacing=(0.2, 0.2),
)
BARE = replace(PA, body_part="", view_position="")
"""CR that states neither view nor body part."""


def verdict(facts: ImageFacts, **changes: Any) -> str:
    """Give `yes` where a model may look at it, else the code of the reason."""
    said = select(replace(facts, **changes))
    return "yes" if isinstance(said, Suitable) else said.code


def caveats(facts: ImageFacts, **changes: Any) -> set[str]:
    """Give the caveats of an image that a model may look at."""
    said = select(replace(facts, **changes))
    assert isinstance(said, Suitable)
    return set(said.caveats)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, "yes"),
        ({"sop_class_uid": DX_FOR_PRESENTATION, "modality": "DX"}, "yes"),
        ({"modality": "DX"}, "yes"),
        ({"modality": ""}, "yes"),
        ({"modality": "RG"}, "yes"),
        ({"sop_class_uid": SECONDARY_CAPTURE}, "yes"),
        ({"sop_class_uid": SECONDARY_CAPTURE, "modality": ""}, "modality"),
        ({"sop_class_uid": SECONDARY_CAPTURE, "modality": "OT"}, "modality"),
        ({"sop_class_uid": "1.2.840.10008.5.1.4.1.1.2", "modality": "CT"}, "modality"),
        ({"sop_class_uid": "1.2.840.10008.5.1.4.1.1.1.2", "modality": "MG"}, "modality"),
        (
            {"sop_class_uid": "1.2.840.10008.5.1.4.1.1.88.33", "modality": "SR", "rows": 0, "has_pixels": False},
            "not_an_image",
        ),
        ({"sop_class_uid": "", "modality": "", "rows": 0, "has_pixels": False}, "not_an_image"),
        ({"manufacturer": "cxrnode"}, "own"),
        ({"manufacturer": "CXRNODE", "modality": "SEG"}, "own"),
        ({"species": "CANINE"}, "not_human"),
        ({"species": "HOMO SAPIENS"}, "yes"),
        ({"words": "FELINE THORAX"}, "not_human"),
        ({"words": "CHEST PA, CAT SCAN TO FOLLOW"}, "yes"),
        ({"words": "CHEST PA AFTER DOG BITE"}, "yes"),
        ({"has_pixels": False}, "no_pixels"),
        ({"frames": 2}, "multi_frame"),
        ({"photometric": "RGB"}, "colour"),
        ({"photometric": ""}, "colour"),
        ({"photometric": "MONOCHROME1"}, "yes"),
        ({"rows": 255}, "too_small"),
        ({"rows": 256, "columns": 256}, "yes"),
        ({"presentation_intent": "FOR PROCESSING"}, "for_processing"),
        ({"sop_class_uid": DX_FOR_PROCESSING, "modality": "DX"}, "for_processing"),
        ({"presentation_intent": "FOR PRESENTATION"}, "yes"),
    ],
)  # fmt: skip
def test_what_kind_of_object_it_is_decides_first(changes: dict[str, Any], code: str) -> None:
    """Class, modality, origin, pixels and presentation intent, each with its own reason."""
    assert verdict(PA, **changes) == code


@pytest.mark.parametrize(
    ("image_type", "series", "code"),
    [
        ((), "", "yes"),
        (("ORIGINAL", "PRIMARY", "", "RT"), "", "yes"),
        (("DERIVED", "PRIMARY"), "", "yes"),
        (("DERIVED", "PRIMARY", "POST_PROCESSED"), "", "yes"),
        (("DERIVED", "SECONDARY"), "", "secondary"),
        (("ORIGINAL", "SECONDARY"), "", "secondary"),
        (("DERIVED", "PRIMARY", "", "BONE_SUPPRESSED"), "", "secondary"),
        (("DERIVED", "PRIMARY", "SOFT_TISSUE"), "", "secondary"),
        (("DERIVED", "PRIMARY", "SUBTRACTION"), "", "secondary"),
        (("DERIVED", "PRIMARY"), "CHEST PA BONE SUPPRESSION", "secondary"),
        (("DERIVED", "PRIMARY"), "DUAL ENERGY SOFT TISSUE", "secondary"),
        (("ORIGINAL", "PRIMARY"), "CHEST PA SOFT TISSUE WINDOW", "yes"),
        (("DERIVED",), "", "yes"),
        (("",), "", "yes"),
    ],
)
def test_a_lossy_copy_is_read_and_another_kind_of_picture_is_not(
    image_type: tuple[str, ...], series: str, code: str
) -> None:
    """DERIVED PRIMARY alone marks a lossy copy of the only original; what shows something else is secondary."""
    assert verdict(PA, image_type=image_type, series_words=series, words=series) == code


@pytest.mark.parametrize(
    ("part", "code"),
    [
        ("CHEST", "yes"),
        ("THORAX", "yes"),
        ("TÓRAX", "yes"),
        ("TORACE", "yes"),
        ("LUNG", "yes"),
        ("CEHST", "yes"),
        ("CHESTABDOMEN", "yes"),
        ("KLATKA PIERSIOWA", "yes"),
        ("胸部", "yes"),
        ("HAND", "not_chest"),
        ("EXTREMITY", "not_chest"),
        ("HIP", "not_chest"),
        ("THORACIC SPINE", "not_chest"),
        ("TSPINE", "not_chest"),
        ("THORACOLUMBAR", "not_chest"),
        ("RIBS", "not_chest"),
        ("ABDOMEN", "not_chest"),
        ("BEIN", "not_chest"),
        ("UNKNOWN", "yes"),
        ("OTHER", "yes"),
        ("*", "yes"),
    ],
)
def test_body_part_in_many_spellings(part: str, code: str) -> None:
    """Accents, languages and common slips still mean the chest; a spine is none; a word for nothing states nothing."""
    assert verdict(PA, body_part=part) == code


@pytest.mark.parametrize(
    ("part", "codes", "series", "words", "code"),
    [
        ("", (), "", "", "yes"),
        ("", (), "", "CHEST PA", "yes"),
        ("", (), "", "MODALITYLUT - TEETH", "not_chest"),
        ("", (), "SHOULDER AP", "CHEST PA; SHOULDER AP", "not_chest"),
        ("", (), "CHEST AP", "ABDOMEN SERIES WITH CHEST AP", "yes"),
        ("", (), "ABDOMEN SUPINE", "ABDOMEN SERIES WITH CHEST", "not_chest"),
        ("", (), "", "THORACIC SPINE AP", "not_chest"),
        ("", (), "", "SOMETHING ELSE", "yes"),
        ("KLATKA", (), "", "CHEST PA", "yes"),
        ("CHTS", (), "CHEST", "CHEST", "yes"),
        ("CHTS", (), "", "", "not_chest"),
        ("", ("816094009",), "", "", "yes"),
        ("", ("T-D3000",), "", "", "yes"),
        ("", ("122495006",), "", "", "not_chest"),
        ("", ("",), "", "", "yes"),
        ("HAND", ("816094009",), "", "CHEST", "not_chest"),
        ("UNKNOWN", ("122495006",), "", "", "not_chest"),
    ],
)
def test_where_the_body_part_is_silent_code_and_words_decide(
    part: str, codes: tuple[str, ...], series: str, words: str, code: str
) -> None:
    """A part, else a code, else what the series says of itself, else what it shares with its study."""
    assert verdict(PA, body_part=part, region_codes=codes, series_words=series, words=words) == code


@pytest.mark.parametrize(
    ("stated", "view"),
    [
        ("PA", View.PA),
        ("AP", View.AP),
        ("P.A.", View.PA),
        ("POSTERO-ANTERIOR", View.PA),
        ("ANTEROPOSTERIOR", View.AP),
        ("AP ERECT", View.AP),
        ("CHEST_PA2", View.PA),
        ("LL", View.LATERAL),
        ("RL", View.LATERAL),
        ("LEFT LATERAL", View.LATERAL),
        ("LAT.", View.LATERAL),
        ("LATERO-LATERAL", View.LATERAL),
        ("SEITLICH", View.LATERAL),
        ("RAO", View.OTHER),
        ("LLD", View.OTHER),
        ("AP AXIAL", View.OTHER),
        ("AP LORDOTIC", View.OTHER),
        ("LATERAL DECUBITUS", View.OTHER),
        ("FRONTAL", View.FRONTAL),
        ("AP/PA", View.FRONTAL),
        ("", View.UNSTATED),
        ("ERECT", View.UNSTATED),
        ("UNK", View.UNSTATED),
    ],
)
def test_view_position_in_many_spellings(stated: str, view: View) -> None:
    """View Position (0018,5101) holds defined terms, and whatever a console writes there."""
    assert view_of(replace(PA, view_position=stated)) is view


@pytest.mark.parametrize(
    ("code", "view"),
    [
        ("272479007", View.PA),
        ("R-10214", View.PA),
        ("R-40888", View.PA),
        ("399348003", View.AP),
        ("R-10206", View.AP),
        ("399033003", View.FRONTAL),
        ("R-10202", View.FRONTAL),
        ("399067008", View.LATERAL),
        ("R-102CD", View.LATERAL),
        ("399173006", View.LATERAL),
        ("R-10236", View.LATERAL),
        ("399198007", View.LATERAL),
        ("R-10232", View.LATERAL),
        ("399135007", View.OTHER),
        ("R-10216", View.OTHER),
        ("R-10228", View.OTHER),
        ("999", View.OTHER),
        ("", View.UNSTATED),
    ],
)
def test_view_code_in_both_codings(code: str, view: View) -> None:
    """PS3.16 CID 4010 in SCT and in the SRT it was; PA oblique (R-10216) is not frontal; an empty code says nothing."""
    assert view_of(replace(BARE, view_codes=(code,))) is view


@pytest.mark.parametrize(
    ("series", "words", "view"),
    [
        ("", "CHEST PA", View.PA),
        ("", "THORAX A.P. LIEGEND", View.AP),
        ("", "CHEST LAT", View.LATERAL),
        ("", "RADIOGRAPHIE DU THORAX DE FACE", View.FRONTAL),
        ("", "THORAX PROFIL", View.LATERAL),
        ("", "CHEST PA AND LATERAL", View.UNSTATED),
        ("", "CHEST PA/LAT", View.UNSTATED),
        ("", "CHEST 2 VIEWS", View.UNSTATED),
        ("LATERAL", "CHEST PA AND LATERAL LATERAL", View.LATERAL),
        ("PA", "CHEST PA AND LATERAL PA", View.PA),
        ("CHEST PA/LAT", "CHEST PA/LAT", View.UNSTATED),
        ("", "CHEST PA LAT AND OBLIQUES", View.UNSTATED),
        ("", "CHEST OBLIQUE", View.OTHER),
        ("", "CHEST PORTABLE", View.AP),
        ("", "BILATERAL PLEURAL EFFUSION", View.UNSTATED),
        ("", "CHEST PAIN", View.UNSTATED),
    ],
)
def test_descriptions_tell_the_view_only_where_they_name_one(series: str, words: str, view: View) -> None:
    """What a PA and a lateral share names both and tells neither; a bedside film is taken AP."""
    assert view_of(replace(BARE, series_words=series, words=words)) is view


def test_the_study_s_words_never_turn_a_stated_view_round() -> None:
    """CHEST PA AND LATERAL is written over both images; each keeps the view that it states itself."""
    shared = {"words": "CHEST PA AND LATERAL", "series_words": "CHEST PA AND LATERAL"}
    assert verdict(PA, **shared) == "yes"
    assert verdict(PA, view_position="LL", **shared) == "lateral"
    assert verdict(BARE, view_codes=("399067008",), **shared) == "lateral"
    assert verdict(BARE, patient_orientation=("P", "F"), **shared) == "lateral"
    assert verdict(BARE, **shared) == "yes"


@pytest.mark.parametrize("stated", [("P", "F"), ("A", "F"), ("AL", "F"), ("F", "A"), ("H", "P")])
def test_an_orientation_seen_from_the_side_is_a_lateral(stated: tuple[str, ...]) -> None:
    """Rows or columns that run to front or back are of a lateral, also where the film is stored turned."""
    assert verdict(BARE, patient_orientation=stated) == "lateral"
    assert verdict(PA, patient_orientation=stated) == "yes"


def test_bare_cr_is_read_with_what_was_assumed() -> None:
    """Neither view nor body part nor orientation nor spacing: read, and every statement says what was assumed."""
    said = caveats(BARE, patient_orientation=(), spacing=())
    assert said == {"view_unstated", "body_part_unstated", "orientation_unstated", "not_calibrated"}


@pytest.mark.parametrize(
    ("changes", "caveat", "holds"),
    [
        ({"view_position": "AP"}, "ap_view", True),
        ({}, "ap_view", False),
        ({"view_position": "", "words": "PORTABLE CHEST"}, "ap_view", True),
        ({"body_part": "UNKNOWN"}, "body_part_unstated", True),
        ({"body_part": "", "words": "TÓRAX"}, "body_part_unstated", False),
        ({"patient_orientation": ("L",)}, "orientation_unstated", True),
        ({"patient_orientation": ("X", "Y")}, "orientation_unstated", True),
        ({"patient_orientation": ("A", "F")}, "orientation_unstated", True),
        ({"patient_orientation": ("F", "L")}, "orientation_unstated", False),
        ({"patient_orientation": ("RF", "FL")}, "orientation_unstated", False),
        ({"spacing": ()}, "not_calibrated", True),
        ({}, "detector_plane", True),
    ],
)
def test_caveats_say_what_a_number_rests_on(changes: dict[str, Any], caveat: str, *, holds: bool) -> None:
    """Each caveat stands exactly where it applies."""
    assert (caveat in caveats(PA, **changes)) is holds


def test_hands_and_our_own_objects_reopen_nothing_and_refused_chests_do() -> None:
    """A candidate is a chest radiograph: one to analyse, or one whose reader would want to know why not."""
    assert is_candidate(PA)
    assert is_candidate(replace(PA, view_position="LL"))
    assert is_candidate(replace(PA, frames=2))
    assert not is_candidate(replace(PA, body_part="HAND"))
    assert not is_candidate(replace(PA, manufacturer="cxrnode"))
    assert not is_candidate(replace(PA, image_type=("DERIVED", "SECONDARY")))


def test_every_reason_and_caveat_reads_as_the_rest_of_a_sentence() -> None:
    """Reasons follow `Not analysed, because`; caveats follow `Note:`; neither ends one."""
    for reason in REASONS.values():
        assert reason.text[0].islower() or reason.text.startswith("no "), reason.text
        assert not reason.text.endswith(".")
    assert all(not caveat.endswith(".") for caveat in CAVEATS.values())
    assert NotSuitable(code="lateral").reason is REASONS["lateral"]


@pytest.mark.parametrize(("age", "code"), [(None, "yes"), (ADULT_FROM, "yes"), (15.9, "child"), (0.0, "child")])
def test_a_child_is_not_analysed_unless_children_are_wanted(age: float | None, code: str) -> None:
    """By the stated age; where none is stated nobody is called a child."""
    facts = replace(PA, age_years=age)
    assert verdict(facts) == code
    wanted = select(facts, children=True)
    assert isinstance(wanted, Suitable)
    assert ("child" in wanted.caveats) == (code == "child")


def test_what_a_childs_film_shows_comes_before_the_age() -> None:
    """A child's hand is no chest, and no candidate; a child's chest is one."""
    child = replace(PA, age_years=5.0)
    assert verdict(child, body_part="HAND") == "not_chest"
    assert is_candidate(child)
