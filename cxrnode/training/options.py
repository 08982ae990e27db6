"""Hides nothing: the knobs of a training run, with the values the shipped models were trained with.

Promises that two runs with the same options, data, seed and library versions on one machine see the same samples in
the same order. A run limited by `minutes` also depends on the machine's speed; limit by `steps` to repeat one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any


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

    def under(self, said: Mapping[str, Any]) -> TrainOptions:
        """Give these options with a recipe's own wherever ours are the defaults."""
        plain = TrainOptions()
        open_ = {each.name for each in fields(self) if getattr(self, each.name) == getattr(plain, each.name)}
        return replace(self, **{key: value for key, value in said.items() if key in open_})
