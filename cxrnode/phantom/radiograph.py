"""What to make, and what is true of it: the specification of one synthetic radiograph and its truth.

Hides how a specification becomes UIDs: they are functions of the specification (PS3.5 B.2, root 2.25), so that
the same specification gives the same object on every machine and on every day.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from enum import StrEnum

from pydicom.uid import ExplicitVRLittleEndian

from cxrnode.phantom.lesions import Lesion
from cxrnode.phantom.shapes import Floats, Mask


class View(StrEnum):
    """How the beam went through the patient."""

    PA = "PA"
    AP = "AP"
    LATERAL = "LATERAL"


class Voi(StrEnum):
    """What the object says about how its values are to be displayed (PS3.3 C.11.2)."""

    WINDOW = "window"
    WINDOWS = "several windows"
    LINEAR_EXACT = "linear exact window"
    SIGMOID = "sigmoid window"
    LUT = "VOI LUT"
    NONE = "none"


class Defect(StrEnum):
    """What may be wrong with an object, one at a time."""

    TRUNCATED = "truncated"
    """The file ends in the middle of its pixels."""
    NO_PIXELS = "no-pixels"
    """There is no Pixel Data element."""
    WRONG_ROWS = "wrong-rows"
    """Rows is half as large again as what the pixels hold."""
    LYING_BITS = "lying-bits"
    """BitsStored is four less than what the values use."""
    NO_TRANSFER_SYNTAX = "no-transfer-syntax"
    """The file meta information names no transfer syntax."""
    NO_META = "no-meta"
    """The file has neither preamble nor file meta information: a bare implicit little endian data set."""
    NO_STUDY_UID = "no-study-uid"
    """Study Instance UID is empty."""
    MULTI_FRAME = "multi-frame"
    """Number of Frames is 2 and the pixels are there twice."""
    GARBAGE = "garbage"
    """The file is text, not DICOM."""
    EMPTY = "empty"
    """The file has no bytes."""
    NO_VIEW = "no-view"
    """View position, its code and the body part are missing or empty, as is ordinary in CR."""
    WRONG_CHARACTER_SET = "wrong-character-set"
    """The name's bytes are Latin 1, the specific character set says UTF-8."""
    ZERO_SPACING = "zero-spacing"
    """Pixel Spacing is 0\\0."""
    HAND = "hand"
    """A hand in every respect: pixels and body part."""
    DERIVED = "derived"
    """A derived, secondary image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """Who is said to have been examined; never a person. `name` is a DICOM PN, `birth_date` a DA."""

    name: str = "Phantom^Chest"
    patient_id: str = "PHANTOM-1"
    birth_date: str = "19600101"
    sex: str = "F"


@dataclass(frozen=True, slots=True, kw_only=True)
class Radiograph:
    """One synthetic radiograph to make; the defaults are a sound DX of a PA chest.

    The anatomy depends on `seed`, `view`, `rows`, `cols`, `marker` and `lesions` alone: two specifications that agree
    in these show the same picture, however it is encoded. A DX that says more than its IOD allows (a rescale, a
    modality LUT, signed values: PS3.3 C.8.11.3) is made all the same, since such films exist; `conformant` tells.
    """

    seed: int = 1
    view: View = View.PA
    rows: int = 512
    cols: int = 512
    marker: str = "R"
    """The lead letter in the picture: "R", "L" or "" for none."""
    lesions: tuple[Lesion, ...] = field(default=(), repr=False)
    """What is ill in a frontal chest. Not in `repr`, so that a sound phantom keeps the UIDs it always had."""

    modality: str = "DX"
    """DX or CR."""
    for_processing: bool = False
    photometric: str = "MONOCHROME2"
    bits_stored: int = 12
    signed: bool = False
    orientation: str | None = None
    """Patient Orientation such as R\\F: the stored pixels are arranged accordingly, so that the truth stays the
    patient's own sides. None takes the view's usual one (L\\F, lateral P\\F), "" leaves the attribute empty."""
    transfer_syntax: str = ExplicitVRLittleEndian
    rescale: tuple[float, float] | None = None
    """Rescale slope and intercept; None is 1 and 0 for DX, absent for CR."""
    modality_lut: bool = False
    voi: Voi = Voi.WINDOW
    presentation_lut_shape: bool = True
    """Whether the attribute is there; DX for presentation requires it, CR may lack it."""
    padding: float = 0.0
    """Share of each side that is padding, declared by Pixel Padding Value."""
    padding_range: bool = False
    """Whether the padding takes two values and Pixel Padding Range Limit declares both."""
    collimation: float = 0.0
    """Share of each side that the collimator's blades cover: unexposed, nearly white."""
    spacing: float = 0.175
    """Imager Pixel Spacing of a picture of 2048 columns, mm; other sizes keep the field of view."""

    patient: Patient = field(default_factory=Patient)
    accession_number: str = "ACC00001"
    study: str = ""
    """Objects of one patient and equal `study` share the study; "" makes each specification a study of its own."""
    identity: str = ""
    """Where given, the UIDs derive from it instead of from the specification: two contents under one UID."""
    series_number: int = 1
    instance_number: int = 1
    defect: Defect | None = None

    @property
    def subject_view(self) -> str:
        """View Position (0018,5101) of PS3.3 C.8.11.5."""
        return "LL" if self.view is View.LATERAL else self.view.value

    @property
    def stated_orientation(self) -> str:
        """Patient Orientation as the object states it."""
        if self.orientation is not None:
            return self.orientation
        return "P\\F" if self.view is View.LATERAL else "L\\F"

    @property
    def conformant(self) -> bool:
        """Whether the object obeys its IOD and the encoding rules, as far as the specification decides that."""
        plain = self.rescale is None and not self.modality_lut and not self.signed and self.presentation_lut_shape
        shown = self.for_processing or self.voi is not Voi.NONE
        strict = plain and shown and bool(self.stated_orientation)
        return self.defect is None and (self.modality == "CR" or strict)

    def uid(self, kind: str) -> str:
        """The UID of this radiograph's "study", "series" or "instance"."""
        own = self.identity or (repr(self) + repr(self.lesions) if self.lesions else repr(self))
        if kind == "study" and self.study:
            own = repr((self.study, self.patient.patient_id))
        digest = hashlib.sha256(f"cxrnode phantom {kind} {own}".encode()).digest()
        return f"2.25.{int.from_bytes(digest[:16], 'big')}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Corners:
    """A box in stored pixels, corner based: the first pixel reaches from 0 to 1."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What is true of a radiograph: all arrays (rows, cols) in the arrangement of its stored pixels.

    `display` is the picture as it is to be seen, float32, 0 black to 1 white. The lungs and the heart are the
    patient's own; a lateral or a hand has none, and no `cardiothoracic_ratio`. A lung is the whole lung field, with the
    air of a pneumothorax.
    """

    display: Floats
    right_lung: Mask
    left_lung: Mask
    heart: Mask
    padding: Mask
    cardiothoracic_ratio: float | None
    pneumothorax: Mask
    opacities: tuple[Corners, ...]
    """The box around each opacity."""


def study_of(seed: int = 1, **changes: object) -> tuple[Radiograph, Radiograph]:
    """A PA and a lateral film of one patient in one study, in two series; `changes` apply to both."""
    frontal = replace(Radiograph(seed=seed, study=f"PA and lateral {seed}"), **changes)  # type: ignore[arg-type]
    return frontal, replace(frontal, view=View.LATERAL, series_number=2)
