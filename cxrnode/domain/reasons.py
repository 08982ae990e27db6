"""Why an image is not analysed, and with what reserve a statement is made: every code and its sentence.

Hides nothing. Promises that each code which selection, judgment and agreement give has its words here, in plain ASCII:
reports quote them under whatever character set the source is written in.
"""

from __future__ import annotations

from dataclasses import dataclass

SMALLEST_SIDE = 256
"""Below this many rows or columns a radiograph has lost what the models were trained to see."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why an image is not analysed. `candidate`: it is a chest radiograph whose reader would want to know."""

    text: str
    candidate: bool


REASONS: dict[str, Reason] = {
    "unreadable_header": Reason(text="its header cannot be read", candidate=False),
    "no_study": Reason(text="its header names no study", candidate=False),
    "not_dicom": Reason(text="it is not a DICOM file", candidate=False),
    "own": Reason(text="cxrnode wrote it", candidate=False),
    "not_an_image": Reason(text="it is not an image", candidate=False),
    "modality": Reason(text="it is not a projection radiograph", candidate=False),
    "not_human": Reason(text="it is not of a human", candidate=False),
    "not_chest": Reason(text="it is not of the chest", candidate=False),
    "secondary": Reason(text="it is a secondary or derived image", candidate=False),
    "for_processing": Reason(text="it is raw data for processing, not for presentation", candidate=True),
    "lateral": Reason(text="it is a lateral view; the models read frontal views", candidate=True),
    "view": Reason(text="it is an oblique or other special view; the models read frontal views", candidate=True),
    "multi_frame": Reason(text="it has more than one frame", candidate=True),
    "no_pixels": Reason(text="it has no pixels", candidate=True),
    "colour": Reason(text="it is not a grayscale image", candidate=True),
    "too_small": Reason(text=f"it has fewer than {SMALLEST_SIDE} rows or columns", candidate=True),
    "unreadable": Reason(text="its pixels cannot be decoded", candidate=True),
    "recoded": Reason(text="the same image is here in another transfer syntax", candidate=False),
    "replaced": Reason(text="a corrected version of the same image took its place", candidate=False),
    "cut": Reason(text="it was cut off, and the whole image is here", candidate=False),
    "conflict": Reason(text="the same SOP Instance UID came with other pixels", candidate=True),
    "implausible": Reason(text="no frontal chest was found in its pixels", candidate=True),
    "no_model": Reason(text="no model is enabled for its source", candidate=True),
    "model_failed": Reason(text="the model failed on it", candidate=True),
    "crashed": Reason(text="it ended the process that analyses images, twice", candidate=True),
    "hung": Reason(text="its analysis did not end in the time allowed, twice", candidate=True),
    "no_memory": Reason(text="there was not enough memory for it", candidate=True),
    "device_lost": Reason(text="the GPU was lost while it was analysed", candidate=True),
    "retracted": Reason(text="its results were taken back", candidate=True),
    "child": Reason(
        text="the patient is a child, or looks like one; the models were trained on adults", candidate=True
    ),
    "not_frontal": Reason(
        text="its pixels do not look like an upright frontal chest film; it may be of another part, cut or turned",
        candidate=True,
    ),
    "inverted": Reason(text="its gray values look inverted; air should be dark", candidate=True),
    "mirrored": Reason(
        text="its sides look exchanged; it is stored mirrored, or the heart lies on the right", candidate=True
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Retraction:
    """Why results are taken back. `unsafe`: they must not be shown to anybody (IHE IOCM: for patient safety)."""

    text: str
    unsafe: bool


RETRACTIONS: dict[str, Retraction] = {
    "wrong_result": Retraction(text="they are wrong", unsafe=True),
    "wrong_patient": Retraction(text="the images are not of this patient", unsafe=True),
    "test": Retraction(text="they were made to test the node", unsafe=False),
    "superseded": Retraction(text="a later analysis took their place", unsafe=False),
}
"""The sentence that a reader gets after "The results were taken back, because"."""

OPERATORS_RETRACTIONS = tuple(code for code in RETRACTIONS if code != "superseded")
"""Those that an operator may give; the other is the node's own."""

CAVEATS: dict[str, str] = {
    "ap_view": "AP view: the heart is magnified, the cardiothoracic ratio reads high",
    "view_unstated": "The view is not stated: frontal is assumed, and if it is AP, the cardiothoracic ratio reads high",
    "body_part_unstated": "The body part is not stated; a chest is assumed",
    "orientation_unstated": "The patient orientation is not stated; the patient's right is taken to be on the left",
    "not_calibrated": "No calibrated pixel spacing: areas are shares of the image",
    "detector_plane": "Lengths and areas by the stated pixel spacing: at the detector, unless it is calibrated",
    "child": "The patient is a child; the models were trained on adults",
    "gate_missing": "Nothing looked whether this is an upright frontal chest film of an adult: the model for it failed",
    "heart_on_right": "The heart lies to the right: it is shifted or turned, or the sides of the image are exchanged",
    "withheld": "Switched off by default: it was not shown to be good enough for a radiologist, see the model's card",
    "holds_for_children": "Learned from films of children; the patient's age is not stated",
    "holds_for_adults": "Learned from films of adults; the patient's age is not stated",
    "area_share": "A share of areas on a projection, not of volumes",
    "side_from_half": "The side is that of the half of the image: not both lungs were segmented",
    "outside_lungs": "Called indeterminate because most of it lies outside the lungs",
    "in_heart": "Called indeterminate because it lies mostly over the heart",
    "outside_thorax": "Called indeterminate because it lies mostly outside the thorax",
    "models_disagree": "Called indeterminate because one model finds it present and another absent",
    "normal_and_finding": "Called indeterminate because the chest was judged not abnormal, and a finding present",
    "other_side_stated": "Called indeterminate because the header says that the image shows the other side",
}
