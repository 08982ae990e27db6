"""Hides which public data sets a folder holds.

Promises the examples of every layout that is recognised, each patient in one part.
"""

from __future__ import annotations

from pathlib import Path

from cxrnode.errors import NeedsOperator
from cxrnode.training.example import Example
from cxrnode.training.layouts import shared

LAYOUTS = (shared,)


def read_catalogue(data: Path) -> tuple[Example, ...]:
    """List the examples that a folder holds. Raises NeedsOperator where no layout is recognised."""
    examples = [example for layout in LAYOUTS if layout.found(data) for example in layout.read(data)]
    if examples:
        return tuple(examples)
    raise NeedsOperator(
        "there is no lungs/index.csv in the data folder, nor another data set that is known",
        operation="read catalogue",
        subject=str(data),
        hint="docs/operations.md, Training a model",
    )
