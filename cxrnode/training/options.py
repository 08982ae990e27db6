"""Hides nothing: the knobs of a training run, with the values the shipped models were trained with.

Promises that two runs with the same options, data, seed and library versions on one machine see the same samples in
the same order. A run limited by `minutes` also depends on the machine's speed; limit by `steps` to repeat one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from cxrnode.errors import NeedsOperator


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions:
    """How long, how large, how fast; `device` is auto, cpu or cuda."""

    steps: int = 4000
    minutes: float | None = None
    batch: int = 8
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    average: float = 0.998
    validate_every: int = 250
    patience: int = 40
    seed: int = 20240601
    threads: int = 2
    device: str = "auto"
    low_precision: bool = True
    resume: bool = True
    bundles: Path | None = None
    """Where a recipe that begins from another bundle's weights finds it."""
    examples: int | None = None
    """Learn from this many films only (a share of each source): for a small comparison."""

    @classmethod
    def of(cls, recipe: Mapping[str, Any], given: Mapping[str, Any] | None = None) -> TrainOptions:
        """Lay what the caller gave over a recipe's own options, and both over the defaults.

        Raises NeedsOperator where one is named that there is none of.
        """
        said = {**recipe, **(given or {})}
        unknown = sorted(said.keys() - {each.name for each in fields(cls)})
        if unknown:
            raise NeedsOperator(
                f"there is no training option '{unknown[0]}'",
                operation="train",
                hint="docs/operations.md, Training a model",
            )
        return cls(**said)
