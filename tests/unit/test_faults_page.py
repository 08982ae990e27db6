"""docs/faults.md names tests that there are, and promises that the page on operations makes."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/faults.md").read_text(encoding="utf-8")


def test_every_test_that_the_page_on_faults_names_is_there() -> None:
    """A test that was renamed takes the page along."""
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)
    assert len(named) > 20
    missing = [f"{path}::{name}" for path, name in named if f"def {name}(" not in (ROOT / path).read_text()]
    assert missing == []


def test_every_promise_has_a_test() -> None:
    """Each numbered promise of the page on operations is held by a row of the table."""
    operations = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    section = operations.split("## What the node promises")[1].split("\n## ")[0]
    promises = {int(number) for number in re.findall(r"^(\d+)\. ", section, re.MULTILINE)}
    rows = [line.split("|")[3] for line in PAGE.splitlines() if line.startswith("|") and "::" in line]
    held = {int(number) for row in rows for number in re.findall(r"\d+", row)}
    assert promises == held
