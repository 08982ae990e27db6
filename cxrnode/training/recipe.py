"""Hides how a recipe is written: a TOML file, which may extend another one.

Promises that what differs between two trainings is configuration: the network (stated as its bundle states it), the
films, the loss, what is frozen, how long. The recipes of the shipped models carry the models' names; their variants
are named MODEL-VARIANT.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cxrnode.errors import NeedsOperator

FOLDER = Path(__file__).parent / "recipes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One training: a model's network, its square input, its channels, and the sections that its kind reads.

    `init`: `from` ("scratch", "imagenet", or a bundle's name) and `frozen_stages` of the trunk. `options` override
    TrainOptions. `samples` and `loss` are read by the kind of training. `own` becomes the bundle's block `cxrnode`,
    `card` the texts of its metadata.
    """

    name: str
    model: str
    kind: str
    size: int
    channels: tuple[str, ...]
    network: Mapping[str, Any]
    init: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    samples: Mapping[str, Any] = field(default_factory=dict)
    loss: Mapping[str, Any] = field(default_factory=dict)
    own: Mapping[str, Any] = field(default_factory=dict)
    card: Mapping[str, Any] = field(default_factory=dict)

    def without(self, sources: tuple[str, ...]) -> Recipe:
        """Give the recipe that leaves sources out: for leave-one-source-out."""
        return replace(self, samples={**self.samples, "leave_out": [*self.samples.get("leave_out", ()), *sources]})


def recipe_names() -> list[str]:
    """List the recipes that come with the program."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def find_recipe(name: str) -> Recipe:
    """Read a recipe by its name, or by the path of a TOML file. Raises NeedsOperator where it cannot be read."""
    path = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    try:
        return _recipe(path.stem, _read(path))
    except FileNotFoundError as cause:
        raise _refusal(f"there is no recipe of this name; there are: {', '.join(recipe_names())}", name) from cause
    except (tomllib.TOMLDecodeError, KeyError, TypeError) as cause:
        raise _refusal(f"the recipe cannot be read ({type(cause).__name__}: {cause})", path.name) from cause


def _read(path: Path) -> dict[str, Any]:
    with path.open("rb") as lines:
        said = tomllib.load(lines)
    extended = said.pop("extends", None)
    return said if extended is None else _merged(_read(_under(path, f"{extended}.toml")), said)


def _under(path: Path, name: str) -> Path:
    """Find what a recipe extends: another file beside it, else one of the program's."""
    beside = path.parent / name
    return beside if beside.is_file() and beside != path else FOLDER / name


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Lay a variant over what it extends, section by section; a network with another `_target_` replaces the whole."""
    merged = dict(under)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(under.get(key), Mapping)
        whole = isinstance(value, Mapping) and "_target_" in value
        merged[key] = _merged(under[key], value) if both and not whole else value
    return merged


def _recipe(name: str, said: dict[str, Any]) -> Recipe:
    return Recipe(name=name, **{**said, "channels": tuple(said["channels"])})


def _refusal(happened: str, subject: str) -> NeedsOperator:
    return NeedsOperator(happened, operation="train", subject=subject, hint="docs/operations.md, Training a model")
