"""What the health page is told of each thing that the node needs; loads no HTTP library."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependency:
    """How one thing that the node needs is: `detail` is a few words for the operator."""

    ok: bool
    detail: str
    needed: bool = True
    """Whether the node is not ready without it."""
    hint: str = ""
    """What to do, where an operator has to do anything."""


Look = Callable[[], Mapping[str, Dependency]]
