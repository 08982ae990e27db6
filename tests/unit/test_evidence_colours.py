"""One table of colours, whatever it is written for."""

from __future__ import annotations

import highdicom as hd
import pytest

from cxrnode.evidence import codes
from cxrnode.evidence.colours import COLOURS, WHITE, Colour, colour_of


@pytest.mark.parametrize(
    ("colour", "cielab"),
    [
        (WHITE, (100.0, 0.0, 0.0)),
        (Colour(red=0, green=0, blue=0), (0.0, 0.0, 0.0)),
        (Colour(red=255, green=0, blue=0), (53.2, 80.1, 67.2)),
        (Colour(red=0, green=255, blue=0), (87.7, -86.2, 83.2)),
        (Colour(red=0, green=0, blue=255), (32.3, 79.2, -107.9)),
    ],
)
def test_cielab_is_that_of_the_textbook(colour: Colour, cielab: tuple[float, float, float]) -> None:
    """White, black and the primaries of sRGB, as published for D65."""
    assert colour.cielab == cielab


@pytest.mark.parametrize("label", COLOURS)
def test_a_colour_is_encoded_as_another_library_encodes_it(label: str) -> None:
    """Sixteen bits each, to the rounding of the last one."""
    theirs = hd.color.CIELabColor(*COLOURS[label].cielab).value
    assert all(abs(a - b) <= 1 for a, b in zip(COLOURS[label].encoded_cielab, theirs, strict=True))


def test_every_structure_has_a_colour_and_a_name_of_its_own() -> None:
    """The table of segments takes both from the one table, and no two organs look alike."""
    anatomy = [what for what in codes.STRUCTURES.values() if what.anatomical]
    assert len({what.colour for what in anatomy}) == len({what.title for what in anatomy}) == len(anatomy)
    assert codes.STRUCTURES["right_lung"].colour == (64.5, 3.4, -55.1)
    assert colour_of("nobody foresaw it") not in COLOURS.values()
