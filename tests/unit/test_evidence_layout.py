"""Sheets of paper: whatever is written finds its place on one."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from cxrnode.evidence.layout import Placed, Sheet, Style, laid_out
from cxrnode.evidence.page import Page, Section

SHEET = Sheet(width=300, height=400, margin=20, text=10)
NOTICE = "Research use only"

_LINE = st.text(alphabet="ab ", max_size=150).map(lambda text: f"x{text}")
_PAGES = st.lists(st.tuples(_LINE, st.lists(_LINE, min_size=1, max_size=8)), max_size=8)


def _measure(text: str, style: Style, size: float) -> float:
    return len(text) * size * 0.6


def _sheets(sections: list[tuple[str, list[str]]]) -> list[list[Placed]]:
    page = Page(
        title="Title", notice=NOTICE, sections=tuple(Section(title=t, lines=tuple(lines)) for t, lines in sections)
    )
    return laid_out(page, "By somebody", SHEET, _measure)


def _body(sheet: list[Placed]) -> list[Placed]:
    foot = next(n for n, line in enumerate(sheet) if line.style is Style.NOTICE and "By somebody" in line.text)
    return sheet[:foot]


@given(_PAGES)
@settings(max_examples=150, deadline=None)
def test_every_letter_stands_inside_its_sheet(sections):
    """However long a word is; and no line is written upon another."""
    for sheet in _sheets(sections):
        assert all(SHEET.margin <= line.x for line in sheet)
        assert all(
            line.x + _measure(line.text, line.style, line.size) <= SHEET.width - SHEET.margin + 1e-6 for line in sheet
        )
        heights = [line.y for line in sheet]
        assert heights[0] >= SHEET.margin and heights[-1] <= SHEET.height - SHEET.margin
        assert all(below - above >= SHEET.text for above, below in pairwise(heights))


@given(_PAGES)
@settings(max_examples=150, deadline=None)
def test_nothing_is_lost_and_nothing_changes_places(sections):
    """Every letter of every line comes out once, in its order."""
    written = "".join(line.text for sheet in _sheets(sections) for line in _body(sheet))
    wanted = "".join(text for title, lines in sections for text in (title, *lines))
    assert written.replace(" ", "") == f"Title{NOTICE}.".replace(" ", "") + wanted.replace(" ", "")


@given(_PAGES)
@settings(max_examples=150, deadline=None)
def test_no_heading_stands_alone_at_the_foot(sections):
    """It goes over with its first line."""
    for sheet in _sheets(sections):
        assert _body(sheet)[-1].style is not Style.HEADING


def test_no_sentence_is_cut_in_two():
    """What begins on a sheet ends on it: a sentence's further lines stand in."""
    sheets = _sheets([("Heading", [" ".join(["words"] * length) for length in (12, 9, 30, 14, 25, 18, 33, 21, 40)])])
    assert len(sheets) > 1
    for sheet in sheets:
        assert _body(sheet)[0].x == SHEET.margin


def test_every_sheet_says_at_its_foot_what_it_is_and_which():
    """A sheet that got lost still says that it is for research."""
    sheets = _sheets([("Heading", ["words"] * 60)])
    assert len(sheets) == 4
    for number, sheet in enumerate(sheets, 1):
        foot = " ".join(line.text for line in sheet[len(_body(sheet)) :])
        assert foot == f"{NOTICE}. By somebody. Page {number} of 4"
    assert sheets[0][1].text == f"{NOTICE}."
