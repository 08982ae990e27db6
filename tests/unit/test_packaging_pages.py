"""The pages that errors and readers are sent to."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from cxrnode.domain.capability import CLASSES, INSTEAD, NAMES, Kind

ROOT = Path(__file__).resolve().parents[2]
OPERATIONS = "docs/operations.md"
_NAMED = re.compile(rf"see '(?P<quoted>[^']+)' in {OPERATIONS}|{OPERATIONS}, (?P<after>[^()]+)$")
_LINK = re.compile(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)")
_DECISION = re.compile(r"docs/decisions/([0-9]{4})")


def pages() -> list[Path]:
    """Give every page of ours."""
    return [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def headings(page: Path) -> list[str]:
    """Give the headings of a page, without those in blocks of code."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)


def anchor(heading: str) -> str:
    """Give the name under which a heading can be linked to."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def texts(source: Path) -> Iterator[str]:
    """Give the string constants of a module."""
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def hints() -> list[tuple[str, str]]:
    """Give every text that sends an operator to the page on operations, with the module it stands in."""
    modules = sorted((ROOT / "cxrnode").rglob("*.py"))
    return [(module.name, text) for module in modules for text in texts(module) if OPERATIONS in text]


def test_every_hint_names_a_heading_that_the_page_on_operations_has():
    """At night nobody looks for a heading that is not there; a hint without one would name the whole page."""
    known = headings(ROOT / OPERATIONS)
    found = [(module, text, _NAMED.search(text)) for module, text in hints()]
    named = [(module, match["quoted"] or match["after"]) for module, _, match in found if match]
    assert len(named) > 10
    assert [text for _, text, match in found if match is None] == []
    assert [name for name in named if name[1] not in known] == []


def test_every_hint_at_the_page_on_training_names_a_heading_of_it():
    """Whoever trains is sent to a place, not to a long page."""
    known = headings(ROOT / "docs/training.md")
    texts_of = (text for module in (ROOT / "cxrnode").rglob("*.py") for text in texts(module))
    named = [name for text in texts_of for name in re.findall(r"docs/training\.md, ([^;()]+)", text)]
    assert named and [name for name in named if name not in known] == []


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path):
    """A page that was renamed takes its links along."""
    for path, heading in _LINK.findall(page.read_text(encoding="utf-8")):
        target = page.parent / path if path else page
        assert target.exists(), path
        assert not heading or heading in map(anchor, headings(target)), heading


def test_the_page_on_operations_names_every_class_that_is_written_and_what_goes_in_its_place():
    """Whoever configures an archive copies UIDs from there; its table is the program's."""
    lines = (ROOT / OPERATIONS).read_text(encoding="utf-8").splitlines()
    table = [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in lines if line.startswith("|")]
    rows = {
        (cells[0], cells[2]): (cells[1], cells[3]) for cells in table if cells[2:] and cells[2].startswith("1.2.840")
    }
    assert {uid: name for (_, uid), (name, _) in rows.items()} == NAMES
    for kind, sop_class in CLASSES.items():
        if kind is not Kind.REJECTION:
            assert rows[kind, sop_class][1] == ("`, else `".join(INSTEAD.get(kind, ())) or "nothing")


def test_every_decision_that_is_cited_is_written_down():
    """Code says why by a record's number."""
    sources = [*(ROOT / "cxrnode").rglob("*.py"), ROOT / "Makefile", *(ROOT / "deploy").iterdir(), *pages()]
    cited = {number for source in sources for number in _DECISION.findall(source.read_text(encoding="utf-8"))}
    written = {page.name[:4] for page in (ROOT / "docs" / "decisions").iterdir()}
    assert {"0006", "0008"} <= cited
    assert cited - written == set()
