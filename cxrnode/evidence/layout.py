"""Lays the report out on sheets: which line of text stands where, whatever draws it.

Hides breaking lines and turning pages. Promises that no text leaves its sheet, that no sentence is cut in two and no
heading stands alone at a foot, and that the notice of intended use stands at the head of the first sheet and at the
foot of every one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from cxrnode.evidence.page import Page


class Style(Enum):
    """How a line looks: its size, and the room it takes, in parts of the sheet's text size."""

    TITLE = (1.8, 3.0)
    HEADING = (1.25, 2.4)
    TEXT = (1.0, 1.4)
    NOTICE = (0.95, 1.4)

    @property
    def size(self) -> float:
        """The size of its letters."""
        return self.value[0]

    @property
    def room(self) -> float:
        """The height of its line."""
        return self.value[1]


Measure = Callable[[str, Style, float], float]
"""Gives the width of a text in a style at a size, in the unit of the sheet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """A sheet of paper: its size, margin and text size in one unit."""

    width: float
    height: float
    margin: float
    text: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A line of text: the left end of its baseline, from the sheet's upper left corner, and its size."""

    text: str
    x: float
    y: float
    size: float
    style: Style


_INDENT = 1.2
"""How far the second line of a sentence stands in, in parts of the text size: each sentence is seen to begin."""

_FOOT = 3
"""The lines of the longest foot: a device name has 64 characters."""

_Row = tuple[str, Style, bool]
"""Text, style, and whether it goes on with a sentence."""

_Sentence = list[_Row]
"""The rows that one sentence is broken into."""


def laid_out(page: Page, written_by: str, sheet: Sheet, measure: Measure) -> list[list[Placed]]:
    """Give the lines of each sheet. `written_by` stands at every foot."""
    turned = _turned(list(_sentences(page, sheet, measure)), sheet)
    feet = (f"{page.notice}. {written_by}. Page {number} of {len(turned)}" for number, _ in enumerate(turned, 1))
    return [
        [*_placed(rows, sheet), *_foot(_broken(foot, Style.NOTICE, sheet, measure), sheet)]
        for rows, foot in zip(turned, feet, strict=True)
    ]


def _sentences(page: Page, sheet: Sheet, measure: Measure) -> Iterator[_Sentence]:
    """Give all that is written; a heading is of one sentence with the line that follows it."""
    yield _broken(page.title, Style.TITLE, sheet, measure)
    yield _broken(f"{page.notice}.", Style.NOTICE, sheet, measure)
    for section in page.sections:
        heading = _broken(section.title, Style.HEADING, sheet, measure)
        for line in section.lines:
            yield [*heading, *_broken(line, Style.TEXT, sheet, measure)]
            heading = []


def _broken(text: str, style: Style, sheet: Sheet, measure: Measure) -> _Sentence:
    """Break a text into lines that fit, between words, and within a word that no line has room for."""
    size = style.size * sheet.text
    room = sheet.width - 2 * sheet.margin - _INDENT * sheet.text
    gap, used = measure(" ", style, size), 0.0
    lines: list[list[str]] = [[]]
    for word in _words(text, lambda part: measure(part, style, size) <= room):
        width = measure(word, style, size)
        if lines[-1] and used + gap + width > room:
            lines.append([])
            used = 0.0
        used += width + (gap if lines[-1] else 0.0)
        lines[-1].append(word)
    return [(" ".join(words), style, number > 0) for number, words in enumerate(lines)]


def _words(text: str, fits: Callable[[str], bool]) -> Iterator[str]:
    for word in text.split():
        rest = word
        while not fits(rest):
            length = next(length for length in range(len(rest) - 1, 0, -1) if length == 1 or fits(rest[:length]))
            yield rest[:length]
            rest = rest[length:]
        yield rest


def _turned(sentences: Sequence[_Sentence], sheet: Sheet) -> list[list[_Row]]:
    """Deal the sentences out to sheets: none is cut in two."""
    room = sheet.height - 2 * sheet.margin - (1 + _FOOT) * Style.NOTICE.room * sheet.text
    sheets: list[list[_Row]] = [[]]
    used = 0.0
    for sentence in sentences:
        height = sum(style.room * sheet.text for _, style, _ in sentence)
        if sheets[-1] and used + height > room:
            sheets.append([])
            used = 0.0
        sheets[-1].extend(sentence)
        used += height
    return sheets


def _placed(rows: Sequence[_Row], sheet: Sheet) -> Iterator[Placed]:
    y = sheet.margin
    for text, style, goes_on in rows:
        y += style.room * sheet.text
        x = sheet.margin + (_INDENT * sheet.text if goes_on else 0.0)
        yield Placed(text=text, x=x, y=y, size=style.size * sheet.text, style=style)


def _foot(rows: Sequence[_Row], sheet: Sheet) -> Iterator[Placed]:
    for above, (text, style, _) in zip(reversed(range(len(rows))), rows, strict=True):
        y = sheet.height - sheet.margin - above * style.room * sheet.text
        yield Placed(text=text, x=sheet.margin, y=y, size=style.size * sheet.text, style=style)
