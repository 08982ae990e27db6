"""`cxrnode models` compare and recipes: several trainings side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cxrnode.cli.app import Json, say, say_json, say_table, settings
from cxrnode.cli.bundles import Data, models, progress


@models.command()
def recipes(json: Json = False) -> None:
    """List the recipes that come with the program."""
    from cxrnode.training.recipe import find_recipe, recipe_names

    found = [find_recipe(name) for name in recipe_names()]
    if json:
        say_json([{"name": one.name, "model": one.model, "kind": one.kind, "size": one.size} for one in found])
        return
    rows = [(one.name, one.model, one.kind, str(one.size), str(one.network["_target_"])) for one in found]
    say_table("Recipes", ("name", "model", "kind", "input", "network"), rows)


@models.command()
def compare(
    recipes: Annotated[list[str], typer.Argument(help="Two or more recipes of one model: names or TOML files.")],
    data: Data,
    out: Annotated[Path, typer.Option("--out", help="Folder for the runs and the table; goes on where it stopped.")],
    steps: Annotated[int, typer.Option(help="Steps of each training.")] = 300,
    examples: Annotated[int | None, typer.Option(help="Learn from this many films only.")] = None,
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 2,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    seed: Annotated[int | None, typer.Option(help="Seed of weights and samples.")] = None,
    json: Json = False,
) -> None:
    """Train several recipes on one split, for as many steps each, and print one table."""
    from dataclasses import replace

    from cxrnode.training.compare import compare as run_comparison
    from cxrnode.training.options import TrainOptions
    from cxrnode.training.recipe import find_recipe

    options = TrainOptions(steps=steps, validate_every=max(1, steps // 3), examples=examples, threads=threads)
    options = replace(options, device=device, bundles=settings().models.folder)
    options = options if seed is None else replace(options, seed=seed)
    found = run_comparison([find_recipe(name) for name in recipes], data, out, options, progress())
    if json:
        say_json(found.as_json())
    else:
        say(found.table())
