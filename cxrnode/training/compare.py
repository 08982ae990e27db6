"""Hides how several recipes are trained on the same films and laid side by side.

Promises one split, one seed and one length for all of them, a run folder each (a comparison that was stopped goes on),
and one table: of each recipe its best look at the validation part, the size of its network, and the time of a training
step (looks not counted) relative to the first recipe's in the same comparison. These are quick looks to choose by; what
a model card states comes from `evaluate`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from cxrnode.errors import NeedsOperator
from cxrnode.inference.network import build_network
from cxrnode.training.evaluation.report import markdown
from cxrnode.training.recipe import Recipe
from cxrnode.training.trainer import Report, train

NO_SCORE = frozenset({"step", "seconds", "seconds_a_step", "loss", "learning_rate"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One recipe's outcome: parameters, steps made, seconds of a training step, and the scores of its best look."""

    recipe: str
    parameters: int
    steps: int
    seconds_a_step: float
    scores: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The entries, the best score first."""

    entries: tuple[Entry, ...]
    first: str

    def as_json(self) -> dict[str, Any]:
        """Give the comparison as values that JSON knows."""
        return {"entries": [_as_json(entry, self._time(entry)) for entry in self.entries]}

    def table(self) -> str:
        """Give the comparison as a Markdown table."""
        names = sorted({name for entry in self.entries for name in entry.scores if name != "score"})
        head = ("recipe", "parameters", "steps", f"time a step ({self.first} = 1)", "score", *names)
        rows = []
        for entry in self.entries:
            said = [_rounded(entry.scores.get(name)) for name in ("score", *names)]
            rows.append((entry.recipe, f"{entry.parameters:,}", entry.steps, f"{self._time(entry):.2f}", *said))
        return markdown(head, rows)

    def _time(self, entry: Entry) -> float:
        one = next(each.seconds_a_step for each in self.entries if each.recipe == self.first)
        return entry.seconds_a_step / one if one else float("nan")


def compare(
    recipes: Sequence[Recipe], data: Path, out: Path, given: Mapping[str, Any], report: Report = lambda line: None
) -> Comparison:
    """Train each recipe into its own folder under `out`, with the same options given, and lay them side by side.

    Writes compare.md and compare.json. Raises NeedsOperator where two recipes are of different models.
    """
    if len({recipe.model for recipe in recipes}) != 1:
        raise NeedsOperator(
            "a comparison needs recipes of one model",
            operation="compare",
            subject=", ".join(recipe.name for recipe in recipes),
            hint="docs/operations.md, Comparing recipes",
        )
    entries = [_entry(recipe, data, out / recipe.name, given, report) for recipe in recipes]
    ranked = tuple(sorted(entries, key=lambda entry: -entry.scores["score"]))
    found = Comparison(entries=ranked, first=recipes[0].name)
    (out / "compare.md").write_text(found.table() + "\n", encoding="utf-8")
    (out / "compare.json").write_text(json.dumps(found.as_json(), indent=2) + "\n", encoding="utf-8")
    return found


def _entry(recipe: Recipe, data: Path, folder: Path, given: Mapping[str, Any], report: Report) -> Entry:
    outcome = train(recipe, data, folder, given, lambda line: report({"recipe": recipe.name, **line}))
    looks = [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    best = max(looks, key=lambda look: float(look["score"]))
    network = build_network(recipe.network)
    return Entry(
        recipe=recipe.name,
        parameters=sum(weight.numel() for weight in network.parameters()),
        steps=outcome.steps,
        seconds_a_step=median(float(look["seconds_a_step"]) for look in looks),
        scores={key: float(value) for key, value in best.items() if key not in NO_SCORE},
    )


def _as_json(entry: Entry, time: float) -> dict[str, Any]:
    told = {"recipe": entry.recipe, "parameters": entry.parameters, "steps": entry.steps}
    return {**told, "relative_time_a_step": round(time, 3), "scores": dict(entry.scores)}


def _rounded(value: float | None) -> str | None:
    return None if value is None else f"{value:.4f}"
