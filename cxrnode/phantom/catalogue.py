"""The radiographs that `cxrnode phantom` offers by name.

Hides nothing: a list. Promises a name that never changes its meaning, and a sentence for each.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

from pydicom import uid

from cxrnode.phantom.encode import ENCODINGS
from cxrnode.phantom.lesions import Opacity, Pneumothorax, Side
from cxrnode.phantom.radiograph import Defect, Radiograph, View, Voi


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A radiograph of the catalogue and what it shows."""

    name: str
    about: str
    spec: Radiograph


_DX = Radiograph(rows=1250, cols=1024, bits_stored=14)
_CR = Radiograph(rows=880, cols=1070, bits_stored=10, modality="CR")

_SYNTAX_NAMES: dict[str, str] = {
    uid.ExplicitVRLittleEndian: "explicit",
    uid.ImplicitVRLittleEndian: "implicit",
    uid.ExplicitVRBigEndian: "big-endian",
    uid.DeflatedExplicitVRLittleEndian: "deflated",
    uid.RLELossless: "rle",
    uid.JPEGBaseline8Bit: "jpeg-baseline",
    uid.JPEGExtended12Bit: "jpeg-extended",
    uid.JPEGLossless: "jpeg-lossless",
    uid.JPEGLosslessSV1: "jpeg-lossless-sv1",
    uid.JPEGLSLossless: "jpeg-ls",
    uid.JPEGLSNearLossless: "jpeg-ls-near",
    uid.JPEG2000Lossless: "j2k-lossless",
    uid.JPEG2000: "j2k",
}


def _kinds() -> Iterator[Named]:
    """DX and CR, both photometric interpretations, every view."""
    for kind, spec in (("dx", _DX), ("cr", _CR)):
        for number in (2, 1):
            inverted = replace(spec, photometric=f"MONOCHROME{number}")
            about = f"{kind.upper()} PA, MONOCHROME{number}, {spec.bits_stored} bits"
            yield Named(name=f"{kind}-mono{number}", about=about, spec=inverted)
        for view in (View.AP, View.LATERAL):
            about = f"{kind.upper()} {view.value.lower() if view is View.LATERAL else view.value}"
            yield Named(name=f"{kind}-{view.value.lower()}", about=about, spec=replace(spec, view=view))
    yield Named(name="dx-processing", about="DX for processing: raw data", spec=replace(_DX, for_processing=True))


def _syntaxes() -> Iterator[Named]:
    """The same picture in every transfer syntax."""
    for syntax, encoding in ENCODINGS.items():
        spec = replace(_DX, bits_stored=min(12, encoding.most_bits), transfer_syntax=syntax)
        yield Named(name=f"ts-{_SYNTAX_NAMES[syntax]}", about=f"DX PA in {uid.UID(syntax).name}", spec=spec)


def _depths() -> Iterator[Named]:
    for bits in (8, 10, 12, 14, 15, 16):
        about = f"CR PA of {bits} bits"
        yield Named(name=f"bits-{bits}", about=about, spec=replace(_CR, bits_stored=bits))
    signed = replace(_CR, bits_stored=12, signed=True, rescale=(1.0, 2048.0))
    yield Named(name="signed", about="CR PA, signed stored values, rescaled to unsigned", spec=signed)


def _displays() -> Iterator[Named]:
    """The same picture through every branch of the grayscale chain."""
    for voi in Voi:
        spec = replace(_CR, bits_stored=12, voi=voi)
        yield Named(name=f"voi-{voi.name.lower().replace('_', '-')}", about=f"CR PA, VOI: {voi.value}", spec=spec)
    slope = replace(_CR, rescale=(-0.5, 100.0))
    yield Named(name="slope-negative", about="CR PA with a negative rescale slope", spec=slope)
    table = replace(_CR, modality_lut=True)
    yield Named(name="modality-lut", about="CR PA with a modality LUT sequence", spec=table)
    bare = replace(_CR, presentation_lut_shape=False, photometric="MONOCHROME1")
    yield Named(name="no-lut-shape", about="CR PA, MONOCHROME1 without a presentation LUT shape", spec=bare)
    padded = replace(_DX, padding=0.06, padding_range=True)
    yield Named(name="padding", about="DX PA with padding of two values around the picture", spec=padded)
    collimated = replace(_DX, collimation=0.05)
    yield Named(name="collimated", about="DX PA with the collimator's blades in the picture", spec=collimated)


def _orientations() -> Iterator[Named]:
    """The same patient, the pixels stored in other directions."""
    for stated in ("R\\F", "L\\H", "R\\H", "F\\L", "H\\R", ""):
        about = f"CR PA, pixels stored towards {stated}" if stated else "CR PA, orientation not stated"
        name = f"orientation-{stated.replace(chr(92), '').lower() or 'missing'}"
        yield Named(name=name, about=about, spec=replace(_CR, orientation=stated))


_EFFECTS: dict[Defect, str] = {
    Defect.TRUNCATED: "the file ends amid the pixels",
    Defect.NO_PIXELS: "no Pixel Data",
    Defect.WRONG_ROWS: "Rows says more than the pixels hold",
    Defect.LYING_BITS: "Bits Stored says less than the values use",
    Defect.NO_TRANSFER_SYNTAX: "the file meta information names no transfer syntax",
    Defect.NO_META: "no preamble, no file meta information",
    Defect.NO_STUDY_UID: "Study Instance UID is empty",
    Defect.MULTI_FRAME: "two frames",
    Defect.GARBAGE: "a text file",
    Defect.EMPTY: "an empty file",
    Defect.NO_VIEW: "neither view nor body part stated; otherwise sound",
    Defect.WRONG_CHARACTER_SET: "the name is in another character set than stated",
    Defect.ZERO_SPACING: "Pixel Spacing 0\\0; otherwise sound",
    Defect.HAND: "a hand, not a chest",
    Defect.DERIVED: "a derived, secondary image",
}


def _defects() -> Iterator[Named]:
    for defect, about in _EFFECTS.items():
        spec = replace(_CR, bits_stored=12, defect=defect)
        yield Named(name=f"defect-{defect.value}", about=about, spec=spec)


def _lesions() -> Iterator[Named]:
    """Chests that are ill, with the lesions' outlines in the truth."""
    air, patch = Pneumothorax(share=0.25), Opacity(side=Side.LEFT)
    yield Named(name="pneumothorax", about="DX PA, a pneumothorax on the right", spec=replace(_DX, lesions=(air,)))
    yield Named(name="opacity", about="DX PA, an opacity in the left lung", spec=replace(_DX, lesions=(patch,)))
    both = replace(_DX, lesions=(air, patch))
    yield Named(name="pneumothorax-opacity", about="DX PA, both of these", spec=both)


@cache
def catalogue() -> tuple[Named, ...]:
    """Every radiograph that has a name, in a fixed order."""
    parts = (_kinds, _syntaxes, _depths, _displays, _orientations, _defects, _lesions)
    return tuple(entry for part in parts for entry in part())


def named(name: str) -> Named:
    """The radiograph of that name. KeyError, with the way to list the names, where there is none."""
    for entry in catalogue():
        if entry.name == name:
            return entry
    raise KeyError(f"no phantom is called {name!r}; `cxrnode phantom --list` names them all")
