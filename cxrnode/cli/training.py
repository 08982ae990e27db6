"""`cxrnode models` films, recipes, train, compare: what there is to learn from, and learning it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cxrnode.cli.app import STOPPED, Json, progress, say, say_aside, say_json, say_table, say_told, settings
from cxrnode.cli.bundles import Data, Name, models
from cxrnode.errors import NeedsOperator

if TYPE_CHECKING:
    from cxrnode.training.example import Example

PARTS = ("train", "validate", "test")

Examples = Annotated[int | None, typer.Option(min=1, help="Learn from this many films only.")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads; else the recipe's own number, or 2.")]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N; else the recipe's own, or auto.")]
Seed = Annotated[int | None, typer.Option(help="Seed of weights and samples; else the recipe's own.")]


@models.command("films")
def list_films(
    data: Data,
    run: Annotated[
        Path | None, typer.Option("--run", help="Keep thumbnails in this folder: the next look is faster.")
    ] = None,
    json: Json = False,
) -> None:
    """Count the films of a data folder by source, question, answer and part; say which are in several data sets."""
    from cxrnode.training.catalogue import read_split

    split = read_split(data, run)
    counts: Counter[tuple[str, ...]] = Counter(
        (*answer, example.part) for example in split.examples for answer in (("all", "", ""), *_answers(example))
    )
    rows = [(*answer, *(counts[*answer, part] for part in PARTS)) for answer in sorted({key[:3] for key in counts})]
    columns = ("source", "question", "answer", *PARTS)
    if json:
        rest = {"films": len(split.examples), "groups": len(set(split.groups)), "joined_by_likeness": split.joined}
        say_json({**rest, "counts": [dict(zip(columns, row, strict=True)) for row in rows]})
        return
    say_table(f"Films in {data}", columns, rows)
    say(f"{len(split.examples)} films in {len(set(split.groups))} groups that are not parted;")
    say(f"{split.joined} pairs of films of different patients, by name, are the same picture.")


def _answers(example: Example) -> Iterator[tuple[str, str, str]]:
    """Give (source, question, answer) for everything that is known of a film."""
    yield example.source, "", ""
    yield from ((example.source, question, answer) for question, answer in example.classes.items())
    yield from ((example.source, f"mask {name}", "drawn" if masks else "none") for name, masks in example.masks.items())
    if example.boxes is not None:
        yield example.source, "boxes", "drawn" if example.boxes else "none"
    yield from ((example.source, "report", label) for label, stated in example.labels.items() if stated)


@models.command()
def recipes(json: Json = False) -> None:
    """List the recipes that come with the program."""
    from cxrnode.training.recipe import find_recipe, recipe_names

    found = [find_recipe(name) for name in recipe_names()]
    if json:
        say_json([{"name": one.name, "model": one.model, "kind": one.kind, "size": one.size} for one in found])
        return
    rows = [(one.name, one.model, one.kind, one.size, one.network["_target_"]) for one in found]
    say_table("Recipes", ("name", "model", "kind", "input", "network"), rows)


@models.command()
def train(
    name: Name,
    data: Data,
    out: Annotated[Path, typer.Option("--out", help="Run folder; a run that is there goes on.")],
    minutes: Annotated[float | None, typer.Option(help="End after this many minutes, if steps are not over.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="End after so many steps; else the recipe's own.")] = None,
    threads: Threads = None,
    device: Device = None,
    seed: Seed = None,
    recipe: Annotated[str | None, typer.Option(help="A recipe's name or TOML file; else the model's own.")] = None,
    leave_out: Annotated[list[str] | None, typer.Option(help="A source not to learn from; may be repeated.")] = None,
    examples: Examples = None,
) -> None:
    """Train a model on public data sets as published, or on your own films, and write a bundle.

    The run folder gets log.jsonl, curves.png, a checkpoint and, at the end, bundle/. A run that was stopped goes on
    when the same command is given again. Progress goes to standard error, where the results lie to standard output.
    """
    from cxrnode.training.recipe import find_recipe
    from cxrnode.training.trainer import train as run_training

    chosen = find_recipe(recipe or name).without(tuple(leave_out or ()))
    if recipe and chosen.model != name:
        raise NeedsOperator(f"the recipe is of the model {chosen.model}", operation="train", subject=name)
    given = _given(minutes=minutes, steps=steps, threads=threads, device=device, seed=seed, examples=examples)
    try:
        outcome = run_training(chosen, data, out, given, progress())
    except KeyboardInterrupt as stop:
        say_aside("stopped: the same command goes on from the last look at the validation part")
        raise typer.Exit(STOPPED) from stop
    say(f"ended at step {outcome.steps}; the best score on the validation part is {outcome.score:.4f}")
    say(f"bundle: {outcome.bundle}, not calibrated and not measured yet; next:")
    for verb in ("calibrate", "evaluate"):
        say(f"  cxrnode models {verb} {chosen.model} --data {data} --bundle {outcome.bundle}")


@models.command()
def compare(
    recipes: Annotated[list[str], typer.Argument(help="Two or more recipes of one model: names or TOML files.")],
    data: Data,
    out: Annotated[Path, typer.Option("--out", help="Folder for the runs and the table; goes on where it stopped.")],
    steps: Annotated[int, typer.Option(min=1, help="Steps of each training.")] = 300,
    examples: Examples = None,
    threads: Threads = None,
    device: Device = None,
    seed: Seed = None,
    json: Json = False,
) -> None:
    """Train several recipes on one split, for as many steps each, and print one table."""
    from cxrnode.training.compare import compare as run_comparison
    from cxrnode.training.recipe import find_recipe

    looks = max(1, steps // 3)
    given = _given(steps=steps, validate_every=looks, examples=examples, threads=threads, device=device, seed=seed)
    found = run_comparison([find_recipe(name) for name in recipes], data, out, given, progress())
    say_told(found, as_json=json)


def _given(**options: Any) -> dict[str, Any]:
    """Give what the command line says of a training, and nothing that it leaves to the recipe."""
    said = {key: value for key, value in options.items() if value is not None}
    return {**said, "bundles": settings().models.folder}
