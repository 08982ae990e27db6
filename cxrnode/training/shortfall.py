"""Hides what becomes of a training where a folder has not what its recipe names.

Promises that a training either learns from what is there and says so, in the run's first line and in the bundle's card,
or ends with an error that names what was looked for and what there is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cxrnode.errors import NeedsOperator
from cxrnode.training.example import Example
from cxrnode.training.recipe import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortfall:
    """What the folder could not give.

    `instead` says what was taken in its place, and `sources` of whose films; `unlearnt` are the channels of which no
    film of the training part tells.
    """

    instead: str = ""
    sources: str = ""
    unlearnt: tuple[str, ...] = ()

    def remarks(self) -> list[str]:
        """Give what a person is told; nothing where all was there."""
        told = [self.instead] if self.instead else []
        return [*told, _unlearnt(self.unlearnt)] if self.unlearnt else told

    def stated(self, recipe: Recipe) -> Recipe:
        """Give the recipe as the bundle shall state it: what was not learnt is withheld, or switches the model off."""
        if not self.remarks():
            return recipe
        card = {**recipe.card, "data_source": f"{self.sources}; {self.instead}"} if self.instead else recipe.card
        return replace(recipe, card=card, own=self._owned(recipe))

    def _owned(self, recipe: Recipe) -> dict[str, Any]:
        findings = {name: self._withheld(said) for name, said in recipe.own.get("findings", {}).items()}
        stated = {said["channel"] for said in findings.values()}
        own = {**recipe.own, "findings": findings} if findings else dict(recipe.own)
        if unstated := tuple(name for name in self.unlearnt if name not in stated and _is_drawn(recipe, name)):
            own |= {"enabled_by_default": False, "disabled_because": _unlearnt(unstated)}
        return own

    def _withheld(self, said: dict[str, Any]) -> dict[str, Any]:
        return {**said, "withheld": _unlearnt((said["channel"],))} if said["channel"] in self.unlearnt else said


def _is_drawn(recipe: Recipe, channel: str) -> bool:
    """Say whether a channel without a finding is shown nevertheless: masks are, and the gate refuses by each of its."""
    grouped = {name for group in recipe.own.get("groups", ()) for name in group}
    return channel not in grouped


def _unlearnt(channels: Sequence[str]) -> str:
    return f"not learnt, no training film tells: {', '.join(channels)}"


def named_or_all(examples: Sequence[Example], named: Collection[str]) -> tuple[list[Example], Shortfall]:
    """Take the films of the sources that a recipe names; where there is none of them, all."""
    there = [one for one in examples if not named or one.source in named or "*" in named]
    if there or not examples:
        return there, Shortfall()
    instead = f"none of the recipe's sources ({', '.join(named)}) is there: every other counts the same"
    return list(examples), Shortfall(instead=instead, sources=sources_of(examples))


def sources_of(examples: Iterable[Example]) -> str:
    """Name the sources of films."""
    return ", ".join(sorted({one.source for one in examples}))


def refuse_without(learnt: int, checks: int, wanted: str, examples: Sequence[Example]) -> None:
    """Raise NeedsOperator where nothing of what is `wanted` is there to learn from, or nothing to check on."""
    for part, count in (("training", learnt), ("validation", checks)):
        if not count:
            raise lacking(f"{wanted} in the {part} part", examples)


def lacking(wanted: str, examples: Sequence[Example]) -> NeedsOperator:
    """Give the error that says what a folder lacks and what it has."""
    there = f"its {len(examples)} films are of {sources_of(examples)}" if examples else "no film is left"
    return NeedsOperator(
        f"the data folder has no film with {wanted}; {there}",
        operation="train",
        hint="docs/training.md, The data; `cxrnode models films --data DIR` counts what is there",
    )
