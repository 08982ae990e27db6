"""Which image a model may look at, and why not.

Hides how thin and contradictory the tags of real radiographs are: CR often states no view and no body part,
and a lossy copy of the only original calls itself DERIVED. Promises one verdict an image, with a code from
REASONS, and that nothing the node wrote, and no other secondary image, is ever chosen (law 9).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from cxrnode.domain.reasons import REASONS, SMALLEST_SIDE, Reason

CR_STORAGE = "1.2.840.10008.5.1.4.1.1.1"
DX_FOR_PRESENTATION = "1.2.840.10008.5.1.4.1.1.1.1"
DX_FOR_PROCESSING = "1.2.840.10008.5.1.4.1.1.1.1.1"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
RADIOGRAPH_CLASSES = frozenset({CR_STORAGE, DX_FOR_PRESENTATION, DX_FOR_PROCESSING, SECONDARY_CAPTURE})
RADIOGRAPH_MODALITIES = frozenset({"CR", "DX", "RG"})

OWN_MANUFACTURER = "cxrnode"
"""What our objects say in Manufacturer: how they are known when they come back."""

ADULT_FROM = 16
"""Years. The models' adults are 16 and older: the public data sets name few who are younger."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFacts:
    """What selection knows of an image, as its header states it; empty or zero where it states nothing.

    Text is upper case and stripped. `words` joins the free descriptions of study, series, protocol and
    processing, `series_words` those of them that are about the series; `view_codes` and `region_codes` are code values
    (SCT or SRT).
    """

    sop_class_uid: str = ""
    modality: str = ""
    presentation_intent: str = ""
    body_part: str = ""
    region_codes: tuple[str, ...] = ()
    view_position: str = ""
    view_codes: tuple[str, ...] = ()
    image_type: tuple[str, ...] = ()
    photometric: str = ""
    rows: int = 0
    columns: int = 0
    frames: int = 1
    patient_orientation: tuple[str, ...] = ()
    has_pixels: bool = False
    whole: bool = True
    """Whether the pixel element holds as many bytes as it says, or ends as an encapsulated one ends."""
    spacing: tuple[float, ...] = ()
    """Row and column spacing in mm: calibrated, else at the detector; empty where none above zero is stated."""
    species: str = ""
    manufacturer: str = ""
    words: str = ""
    series_words: str = ""
    age_years: float | None = None
    """The patient's age at the study, from its own element or the dates; None where neither says."""
    laterality: str = ""
    """R, L, B (both) or U (unpaired) of a paired part, as the image or its series states it."""


class View(StrEnum):
    """How the X-ray beam went, as far as the model cares."""

    PA = "PA"
    AP = "AP"
    FRONTAL = "frontal"
    """Frontal, direction not stated."""
    LATERAL = "lateral"
    OTHER = "other"
    UNSTATED = "unstated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Suitable:
    """A model may look at it. `caveats` are keys of CAVEATS that every statement about it carries."""

    view: View
    caveats: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NotSuitable:
    """No model looks at it, because of `code`, a key of REASONS."""

    code: str

    @property
    def reason(self) -> Reason:
        """The reason in words."""
        return REASONS[self.code]


_CHEST = re.compile(
    r"CHEST|CEHST|CHSET|CHESST|(?<![A-Z])CHST|THORA|THROAX|TORAX|TORAC|TORAKS|(?<![A-Z])THX(?![A-Z])|(?<![A-Z])CXR"
    r"|(?<!P)LUNG|PULMO|POUMON|POLMON|BRUSTKORB|(?<![A-Z])PECHO|PIERSIOW|HRUDNIK|AKCIGER|胸|흉부|ОГК|ГРУДН"
)
_SPINE = re.compile(r"(CERVICO|CERVICAL)?[ _-]*THORAC(IC|O)[ _-]*(SPINE|LUMB|VERTEB)|(?<![A-Z])T(HORACIC)?[ _-]*SPINE")
"""Names the thorax and means the spine."""
_OTHER_PART = re.compile(
    r"TEETH|TOOTH|DENT|\bJAW|MANDIB|SKULL|\bHEAD|SINUS|ORBIT|\bHAND|WRIST|FINGER|THUMB|FOREARM|ELBOW|HUMERUS|\bARM\b"
    r"|SHOULDER|CLAVIC|SCAPULA|\bHIP|PELVI|FEMUR|FEMORAL|\bKNEE|PATELLA|\bLEG\b|TIBIA|FIBULA|ANKLE|\bFOOT|\bFEET|\bTOE"
    r"|CALCAN|EXTREMITY|SPINE|SACR|COCCY|ABDOMEN|\bKUB\b|BREAST|\bRIB|STERNUM|NECK"
)
_NO_PART = re.compile(r"UNKNOWN|UNDEFINED|UNSPECIFIED|NOT SPECIFIED|OTHERS?|NONE|N/?A|ANY|BODY|DEFAULT|[\W_\d]*")
"""What stands in Body Part Examined where nobody chose one."""
_ANIMAL = re.compile(
    r"\b(CANINE(?! TOOTH| TEETH)|FELINE|EQUINE|BOVINE|AVIAN|DOG(?! BITE)|CAT(?! SCAN| SCRATCH)|VETERINARY)\b"
)


def _word(pattern: str) -> re.Pattern[str]:
    """Match whole words of letters: digits and underscores end a word, as in CHEST_PA2."""
    return re.compile(rf"(?<![A-Z])({pattern})(?![A-Z])")


_LATERAL = _word(r"LAT|LATERALE?|LATERO[ -]?LATERALE?|SEITL(ICH)?|PROFIL|PERFIL|LL|RL|LLAT|RLAT")
_SPECIAL_VIEW = _word(
    r"LLO|RLO|LPO|RPO|LAO|RAO|LLD|RLD|OBLIQUES?|OBL|DECUBITUS|DECUB|LORDOTIC|AXIAL|SCHRAEG|SCHRAG|OBLICUA|OBLIQUA"
)
_AP = _word(r"A\.?P|ANTERO[ -]?POSTERIOR")
_PA = _word(r"P\.?A|POSTERO[ -]?ANTERIOR")
_FRONTAL = _word(r"FRONTALE?|FACE")
_BEDSIDE = _word(r"PORTABLE|BEDSIDE|MOBILE|SUPINE")
_DERIVED_KIND = re.compile(r"SUBTRACT|BONE|SOFT[_ ]?TISSUE|SUPPRESS|\bCAD\b|ENERGY|\bSECONDARY\b|HEAT ?MAP|OVERLAY")

# PS3.16 CID 4010 (DX View): SCT values, and the SRT values they replaced.
_VIEW_OF_CODE: dict[str, View] = {
    "272479007": View.PA,
    "R-10214": View.PA,
    "R-40888": View.PA,
    "399348003": View.AP,
    "R-10206": View.AP,
    "399033003": View.FRONTAL,
    "R-10202": View.FRONTAL,
    "399067008": View.LATERAL,
    "R-102CD": View.LATERAL,
    "399173006": View.LATERAL,
    "R-10236": View.LATERAL,
    "399198007": View.LATERAL,
    "R-10232": View.LATERAL,
}
# PS3.16 CID 4009 and 4031: regions that hold the chest, SCT and SRT.
_CHEST_CODES = frozenset(
    {
        *("816094009", "51185008", "T-D3000", "43799004", "T-D3200", "39607008", "T-28000", "80891009", "T-32000"),
        *("417437006", "R-FAB52", "416550000", "R-FAB55", "416775004", "R-FAB56"),
        *("416152001", "R-FAB53", "416319003", "R-FAB54"),
    }
)


def select(facts: ImageFacts, *, children: bool = False) -> Suitable | NotSuitable:
    """Decide on one image from what its header says; the first reason in the order of the checks is the one given.

    A child is looked at only where `children` are wanted, and then every statement says so.
    """
    for check in _CHECKS:
        code = check(facts)
        if code:
            return NotSuitable(code=code)
    if is_child(facts) and not children:
        return NotSuitable(code="child")
    view = view_of(facts)
    return Suitable(view=view, caveats=tuple(_caveats(facts, view)))


def is_child(facts: ImageFacts) -> bool | None:
    """Tell whether the patient is younger than the models' patients were; None where no age is stated."""
    return None if facts.age_years is None else facts.age_years < ADULT_FROM


def view_of(facts: ImageFacts) -> View:
    """Tell the view from View Position, then the view code, then the orientation, then the descriptions.

    A description of the study is shared by its images ("CHEST PA AND LATERAL"): one that names a frontal and a lateral
    view tells nothing of this one, and what the series says of itself comes first.
    """
    stated = _view_in(facts.view_position)
    if stated is not View.UNSTATED:
        return stated
    codes = [code for code in facts.view_codes if code]
    if codes:
        return _VIEW_OF_CODE.get(codes[0], View.OTHER)
    if _letters(facts) & {"A", "P"}:
        return View.LATERAL
    stated = _view_in(facts.series_words)
    return stated if stated is not View.UNSTATED else _view_in(facts.words)


def _view_in(text: str) -> View:
    text = _plain(text)
    frontal, lateral = _frontal_in(text), _LATERAL.search(text) is not None
    if _SPECIAL_VIEW.search(text):
        return View.UNSTATED if frontal and lateral else View.OTHER
    if lateral:
        return View.UNSTATED if frontal else View.LATERAL
    if frontal:
        return frontal
    return View.AP if _BEDSIDE.search(text) else View.UNSTATED


def _frontal_in(text: str) -> View | None:
    ap, pa = _AP.search(text), _PA.search(text)
    if (ap and pa) or not (ap or pa):
        return View.FRONTAL if ap or _FRONTAL.search(text) else None
    return View.AP if ap else View.PA


def _plain(text: str) -> str:
    """Give text without accents, so that one spelling is enough."""
    return "".join(letter for letter in unicodedata.normalize("NFD", text) if not unicodedata.combining(letter))


def _letters(facts: ImageFacts) -> set[str]:
    """Give the principal directions that Patient Orientation states (PS3.3 C.7.6.1.1.1)."""
    return {value[:1] for value in facts.patient_orientation}


def _lies_frontal(facts: ImageFacts) -> bool:
    """Tell whether the orientation says which side is the patient's right."""
    letters = _letters(facts)
    return len(facts.patient_orientation) == 2 and bool(letters & {"L", "R"}) and bool(letters & {"F", "H"})


def _caveats(facts: ImageFacts, view: View) -> list[str]:
    said = {
        "ap_view": view is View.AP,
        "view_unstated": view is View.UNSTATED,
        "body_part_unstated": not (_part_of(facts) or _region_codes(facts) or _is_chest(facts.words)),
        "orientation_unstated": not _lies_frontal(facts),
        "not_calibrated": not facts.spacing,
        "detector_plane": bool(facts.spacing),
        "child": bool(is_child(facts)),
    }
    return [caveat for caveat, holds in said.items() if holds]


def _own(facts: ImageFacts) -> str:
    return "own" if facts.manufacturer.lower() == OWN_MANUFACTURER else ""


def _not_an_image(facts: ImageFacts) -> str:
    return "not_an_image" if not facts.rows and not facts.has_pixels and not _is_radiograph(facts) else ""


def _modality(facts: ImageFacts) -> str:
    return "" if _is_radiograph(facts) else "modality"


def _is_radiograph(facts: ImageFacts) -> bool:
    """A secondary capture is a radiograph only where it says so; what CR or DX wrote is one that may forget to."""
    forgotten = not facts.modality and facts.sop_class_uid != SECONDARY_CAPTURE
    return facts.sop_class_uid in RADIOGRAPH_CLASSES and (forgotten or facts.modality in RADIOGRAPH_MODALITIES)


def _not_human(facts: ImageFacts) -> str:
    animal = facts.species not in {"", "HUMAN", "HOMO SAPIENS"} or _ANIMAL.search(facts.words)
    return "not_human" if animal else ""


def _not_chest(facts: ImageFacts) -> str:
    """Body part, then region code, then the words; where all are silent it may be a chest, and the pixels decide.

    A body part that is neither a chest nor another known part (a misspelling, another language) is one if the words
    say so.
    """
    part, codes = _part_of(facts), _region_codes(facts)
    if part and (_is_chest(part) or _OTHER_PART.search(part)):
        return "" if _is_chest(part) else "not_chest"
    if not part and codes:
        return "" if _CHEST_CODES.intersection(codes) else "not_chest"
    return "" if _words_allow_chest(facts, must_say_so=bool(part)) else "not_chest"


def _part_of(facts: ImageFacts) -> str:
    """Give the body part, empty where it is a word for none."""
    part = _plain(facts.body_part)
    return "" if _NO_PART.fullmatch(part) else part


def _region_codes(facts: ImageFacts) -> tuple[str, ...]:
    return tuple(code for code in facts.region_codes if code)


def _words_allow_chest(facts: ImageFacts, *, must_say_so: bool) -> bool:
    """What the series says of itself comes before what it shares with its study ("ABDOMEN SERIES WITH CHEST")."""
    for words in (_plain(facts.series_words), _plain(facts.words)):
        if _is_chest(words):
            return True
        if _OTHER_PART.search(words):
            return False
    return not must_say_so


def _is_chest(text: str) -> bool:
    return _CHEST.search(_SPINE.sub("SPINE", _plain(text))) is not None


def _secondary(facts: ImageFacts) -> str:
    """SECONDARY, or DERIVED into another kind of picture; DERIVED\\PRIMARY alone marks a lossy copy of an original."""
    first, second, *rest = (*facts.image_type, "", "")
    made = first == "DERIVED" and any(_DERIVED_KIND.search(value) for value in (*rest, facts.series_words))
    return "secondary" if second == "SECONDARY" or made else ""


def _for_processing(facts: ImageFacts) -> str:
    raw = facts.presentation_intent == "FOR PROCESSING" or facts.sop_class_uid == DX_FOR_PROCESSING
    return "for_processing" if raw else ""


def _view(facts: ImageFacts) -> str:
    return {View.LATERAL: "lateral", View.OTHER: "view"}.get(view_of(facts), "")


def _pixels(facts: ImageFacts) -> str:
    if not facts.has_pixels:
        return "no_pixels"
    if facts.frames > 1:
        return "multi_frame"
    if facts.photometric not in {"MONOCHROME1", "MONOCHROME2"}:
        return "colour"
    return "too_small" if min(facts.rows, facts.columns) < SMALLEST_SIDE else ""


_CHECKS: tuple[Callable[[ImageFacts], str], ...] = (
    _own,
    _not_an_image,
    _modality,
    _not_human,
    _not_chest,
    _secondary,
    _for_processing,
    _view,
    _pixels,
)


def is_candidate(facts: ImageFacts) -> bool:
    """Tell whether this image reopens a closed study: it can be analysed, or its reader would want to know why not."""
    verdict = select(facts)
    return isinstance(verdict, Suitable) or verdict.reason.candidate
