"""Tables and blocks as Markdown writes them.

Hides what has to be escaped. Promises that a cell is read as the text that it was given, in plain ASCII.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pydicom.sr.coding import Code


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Give a table."""
    below = f"|{'---|' * len(columns)}"
    return "\n".join((_line(columns), below, *map(_line, rows)))


def literal(text: str) -> str:
    """Give a value as it stands in a data set or in a file."""
    return f"`{text}`" if text else ""


def concept(code: Code | None) -> str:
    """Give a coded concept as the standard writes it; nothing for none."""
    return f'({code.value}, {code.scheme_designator}, "{code.meaning}")' if code else ""


def block(lines: Iterable[str]) -> str:
    """Give lines as they are."""
    return "\n".join(("```", *lines, "```"))


def _line(cells: Sequence[object]) -> str:
    return "|" + "".join(f" {text} |" if text else " |" for text in (_cell(str(cell)) for cell in cells))


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
