"""Where the words of a drawing stand, so that each can be read.

Hides how a free place is looked for. Promises boxes inside the image that do not cover each other as long as there is
room, the same ones for the same words.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cxrnode.evidence.colours import Colour
from cxrnode.evidence.contour import Point

LETTER_WIDTH = 0.62
"""Of a letter's height: what the letters of a plain font need on average, with room to spare."""

LINE_HEIGHT = 1.3
_STEPS = 12
"""How many lines up and down a free place is looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A text and what it belongs to: it is to stand above the anchor, below it, or upon it (`centred`).

    `size`: how high its letters are, in letters of the drawing.
    """

    label: str
    text: str
    colour: Colour
    anchor: Point
    above: bool = True
    centred: bool = False
    size: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A text in the middle of its box, in source coordinates; `anchor` is the point that it belongs to.

    `label` is that of the mark that it names, or says what else it is.
    """

    label: str
    text: str
    colour: Colour
    anchor: Point
    left: float
    top: float
    right: float
    bottom: float
    size: float = 1.0

    def covers(self, other: Text) -> bool:
        """Tell whether the two boxes lie on each other."""
        across = self.left < other.right and other.left < self.right
        return across and self.top < other.bottom and other.top < self.bottom


def placed(wanted: Sequence[Wanted], shape: tuple[int, int], letter: tuple[float, float]) -> tuple[Text, ...]:
    """Place the texts in their order on an image of `shape` (rows, columns), a letter being (columns, rows) high."""
    done: list[Text] = []
    for one in wanted:
        places = list(_places(one, shape, letter))
        free = (place for place in places if not any(place.covers(other) for other in done))
        done.append(next(free, places[0]))
    return tuple(done)


def _places(wanted: Wanted, shape: tuple[int, int], letter: tuple[float, float]) -> Iterator[Text]:
    """Give the places for a text, the best first: where it is wanted, then further and further from there."""
    width = (len(wanted.text) + 0.5) * LETTER_WIDTH * wanted.size * letter[0]
    height = LINE_HEIGHT * wanted.size * letter[1]
    middle = wanted.anchor[1] + (0.0 if wanted.centred else (-0.7 if wanted.above else 0.7) * height)
    for step in range(_STEPS):
        for down in (-step, step) if wanted.above else (step, -step):
            for aside in (0, -1, 1):
                across = wanted.anchor[0] + aside * width / 2
                yield _inside(wanted, (across, middle + down * height), (width, height), shape)


def _inside(wanted: Wanted, middle: Point, size: tuple[float, float], shape: tuple[int, int]) -> Text:
    """Give the box around a middle, moved into the image as far as it has room."""
    left = max(0.0, min(middle[0] - size[0] / 2, shape[1] - size[0]))
    top = max(0.0, min(middle[1] - size[1] / 2, shape[0] - size[1]))
    return Text(
        label=wanted.label,
        text=wanted.text,
        colour=wanted.colour,
        anchor=(round(wanted.anchor[0], 2), round(wanted.anchor[1], 2)),
        left=round(left, 2),
        top=round(top, 2),
        right=round(min(left + size[0], shape[1]), 2),
        bottom=round(min(top + size[1], shape[0]), 2),
        size=wanted.size,
    )
