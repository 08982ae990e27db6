"""Replays in this process, with a predictor that answers at once, and what came out of them."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path
from typing import Any

import pytest

from cxrnode.node import parts
from cxrnode.replay import Replay, Summary
from cxrnode.settings import Settings, load
from tests.fakes.predictor import FakePredictor


def pretend(monkeypatch: pytest.MonkeyPatch) -> FakePredictor:
    """Let every engine made from now on ask this predictor instead of a child process."""
    predictor = FakePredictor()
    monkeypatch.setattr(parts, "predictor_of", lambda settings: predictor)
    return predictor


def settings(**sections: Any) -> Settings:
    """Give settings that wait for nothing."""
    retries = {"first_seconds": 0.05, "longest_seconds": 0.1, "attempts": 3}
    lungs = {"enabled": ["lungs"]}
    return load(**{"line": {"jobs": retries, "deliveries": retries}, "models": lungs} | sections)


def replay(sources: list[Path], out: Path, *, to: tuple[str, ...] = (), **sections: Any) -> Summary:
    """Run a replay to its end."""
    return Replay(settings(**sections), sources, out, destinations=to).run(lambda stand: None)


def rows(out: Path) -> dict[str, dict[str, str]]:
    """Give findings.csv by file name."""
    with (out / "findings.csv").open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    by_name = {Path(row["file"]).name: row for row in found}
    assert len(by_name) == len(found), "a file has two rows"
    return by_name


def codes(out: Path) -> dict[str, str]:
    """Give by file name what became of it: `analysed`, or the code of the reason."""
    return {name: row["reason"].partition(":")[0] or row["outcome"] for name, row in rows(out).items()}


def evidence(out: Path) -> dict[str, str]:
    """Give the SHA-256 of every evidence object by its name."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted((out / "evidence").rglob("*.dcm"))
    }
