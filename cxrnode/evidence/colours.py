"""The colour of everything that is drawn: one table for masks, pictures and presentation states.

Hides colour spaces. Promises that a structure has the same colour in a SEG, on a picture and in a presentation state,
and that what nobody foresaw has a colour, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Colour:
    """An sRGB colour, 0 to 255."""

    red: int
    green: int
    blue: int

    @property
    def rgb(self) -> tuple[int, int, int]:
        """Red, green, blue."""
        return self.red, self.green, self.blue

    @property
    def cielab(self) -> tuple[float, float, float]:
        """L*, a*, b* to one decimal, the white of sRGB (D65) being white: what viewers take it for."""
        red, green, blue = (_linear(value / 255) for value in self.rgb)
        x, y, z = (_root(float(np.dot(row, (red, green, blue)))) for row in _TO_XYZ_OF_WHITE)
        lightness, a, b = (round(value, 1) + 0.0 for value in (116 * y - 16, 500 * (x - y), 200 * (y - z)))
        return lightness, a, b

    @property
    def encoded_cielab(self) -> list[int]:
        """The three as 16 bits each (PS3.3 C.10.7.1.1): L* 0 to 100, a* and b* -128 to 127 over the whole range."""
        lightness, a, b = self.cielab
        return [round(lightness / 100 * 65535), round((a + 128) / 255 * 65535), round((b + 128) / 255 * 65535)]


_TO_XYZ_OF_WHITE: Sequence[Sequence[float]] = (
    (0.4124564 / 0.95047, 0.3575761 / 0.95047, 0.1804375 / 0.95047),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339 / 1.08883, 0.1191920 / 1.08883, 0.9503041 / 1.08883),
)
"""Linear sRGB to CIE XYZ (IEC 61966-2-1), each row over the white's own value."""


def _linear(value: float) -> float:
    return value / 12.92 if value <= 0.04045 else float(((value + 0.055) / 1.055) ** 2.4)


def _root(value: float) -> float:
    """The lightness curve of CIE 1976."""
    return float(np.cbrt(value)) if value > (6 / 29) ** 3 else value / (3 * (6 / 29) ** 2) + 4 / 29


_YELLOW = Colour(red=250, green=210, blue=60)
_MAGENTA = Colour(red=255, green=130, blue=255)

COLOURS: dict[str, Colour] = {
    "right_lung": Colour(red=64, green=160, blue=255),
    "left_lung": Colour(red=80, green=220, blue=120),
    "heart": Colour(red=235, green=70, blue=70),
    "pneumothorax": _YELLOW,
    "right_pneumothorax": _YELLOW,
    "left_pneumothorax": _YELLOW,
    "lung_opacity": _MAGENTA,
}
"""By the label of a region or a box, or the name of a finding."""

WHITE = Colour(red=255, green=255, blue=255)
"""What is measured, and what is said about the whole image."""

_OTHER = Colour(red=140, green=230, blue=230)


def colour_of(label: str) -> Colour:
    """Give the colour of a label, or that of everything else."""
    return COLOURS.get(label, _OTHER)
