"""The threat model against the repository: each threat has something that proves its answer."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
_NAMED = re.compile(r"`((?:tests|benchmarks|deploy)/[\w/.-]+)`")
_ROW = re.compile(r"^\| (?:[STRIDE](?:, [STRIDE])*): .*$", re.MULTILINE)


@pytest.mark.parametrize("path", sorted(set(_NAMED.findall(PAGE))))
def test_what_the_threat_model_calls_a_proof_is_there(path: str) -> None:
    """A suite that was renamed takes its line along."""
    assert (ROOT / path).is_file()


def test_every_threat_names_its_proof() -> None:
    """An answer that nothing tests is a hope."""
    rows = _ROW.findall(PAGE)
    assert len(rows) > 30
    assert [row for row in rows if not _NAMED.search(row.split("|")[3])] == []


def test_the_threat_model_can_be_found() -> None:
    """From the page that everybody opens first."""
    assert "docs/threat-model.md" in (ROOT / "README.md").read_text(encoding="utf-8")
