"""Hides the grammar of a bundle's JSON configuration.

Promises that reading a configuration runs nothing. MONAI's own parser evaluates strings that begin with `$` as Python
and fills in other files where a string begins with `%`: both are refused here. What is left is JSON with references: a
string `@network_def#channels#0` stands for that place in the same file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cxrnode.errors import NeedsOperator

LARGEST = 1_000_000
"""Bytes. A configuration is a page of text; anything larger is not one."""
DEEPEST = 32
SPECIAL_KEYS = ("_target_", "_desc_")
"""Of MONAI's special keys those that neither run nor skip anything."""


def read_configuration(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises NeedsOperator where the file is missing, too large, or not a JSON object."""
    try:
        if path.stat().st_size > LARGEST:
            raise refusal("the file is too large for a configuration", path.name)
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as cause:
        raise refusal("the bundle lacks a file", path.name) from cause
    except (OSError, ValueError, RecursionError) as cause:
        raise refusal("the file cannot be read as JSON", path.name) from cause
    if not isinstance(content, dict):
        raise refusal("the file holds no JSON object", path.name)
    return content


def resolve(configuration: Mapping[str, Any], key: str) -> Any:
    """Give the value at `key` with every reference in it replaced.

    Raises NeedsOperator for expressions (`$`), macros (`%`), MONAI's keys that steer execution, references that lead
    nowhere, and references that lead in a circle.
    """
    return _resolved(_find(configuration, key), configuration, DEEPEST)


def _resolved(value: Any, root: Mapping[str, Any], depth: int) -> Any:
    if depth == 0:
        raise refusal("references lead in a circle, or too deep", "")
    if isinstance(value, str):
        return _resolved_text(value, root, depth)
    if isinstance(value, Mapping):
        _refuse_special_keys(value)
        return {key: _resolved(inner, root, depth - 1) for key, inner in value.items()}
    if isinstance(value, list):
        return [_resolved(inner, root, depth - 1) for inner in value]
    return value


def _resolved_text(text: str, root: Mapping[str, Any], depth: int) -> Any:
    if text.startswith("$"):
        raise refusal("the configuration holds an expression, and expressions are code", text)
    if text.startswith("%"):
        raise refusal("the configuration takes text from elsewhere", text)
    return _resolved(_find(root, text[1:]), root, depth - 1) if text.startswith("@") else text


def _refuse_special_keys(value: Mapping[str, Any]) -> None:
    for key in value:
        if key.startswith("_") and key not in SPECIAL_KEYS:
            raise refusal("the configuration has a key that steers execution", key)


def _find(root: Mapping[str, Any], key: str) -> Any:
    """Follow `a#0#b` from the root. MONAI writes `::` for the same."""
    place: Any = root
    for step in key.replace("::", "#").split("#"):
        try:
            place = place[int(step)] if isinstance(place, list) else place[step]
        except (KeyError, IndexError, ValueError, TypeError) as cause:
            raise refusal("a reference leads nowhere", key) from cause
    return place


def refusal(happened: str, subject: str) -> NeedsOperator:
    """Make the error for a bundle that cannot be used as it is."""
    return NeedsOperator(
        happened, operation="read bundle", subject=subject[:80], hint="docs/operations.md, Bringing a model"
    )
