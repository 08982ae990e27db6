"""`cxrnode models`: list, show, verify, train."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cxrnode.cli.app import STOPPED, Json, app, say, say_aside, say_json, say_table, settings
from cxrnode.errors import CxrnodeError, NeedsOperator

if TYPE_CHECKING:
    from cxrnode.inference.bundle import BundleCard

models = typer.Typer(help="The model bundles: list, show, verify, train, evaluate.", no_args_is_help=True)
app.add_typer(models, name="models")


Name = Annotated[str, typer.Argument(help="The model's name.")]
Data = Annotated[Path, typer.Option("--data", envvar="CXRNODE_DATA", help="Folder of the training data.")]
Bundle = Annotated[Path | None, typer.Option("--bundle", help="Bundle folder; else the one in models.folder.")]


@models.command("list")
def list_models(json: Json = False) -> None:
    """List the bundles in models.folder: which run, and why the others do not."""
    from cxrnode.inference.shelf import bundles_in

    in_force = settings().models
    listed = [_listed(name, folder, in_force.enabled) for name, folder in bundles_in(in_force.folder).items()]
    if json:
        say_json(listed)
        return
    rows = [
        (one["name"], one["version"], one["kind"], "yes" if one["enabled"] else "no", one["digest"][:12], _remark(one))
        for one in listed
    ]
    say_table(f"Models in {in_force.folder}", ("name", "version", "kind", "enabled", "digest", "findings"), rows)


@models.command()
def show(name: Name, json: Json = False) -> None:
    """Show a model's card."""
    from cxrnode.inference.bundle import read_card

    folder = folder_of(name)
    card = read_card(folder)
    if json:
        say_json({**_brief(name, card, settings().models.enabled), "metrics": dict(card.metrics)})
        return
    text = folder / "docs" / "README.md"
    say(text.read_text(encoding="utf-8") if text.is_file() else card.intended_use)
    say(f"digest {card.digest}")


@models.command()
def verify(name: Annotated[str | None, typer.Argument(help="One model; else all enabled ones.")] = None) -> None:
    """Check that weights are the ones their card pins. Exit code 1 if not."""
    from cxrnode.inference.bundle import verify as verify_bundle
    from cxrnode.inference.shelf import enabled_by_default

    in_force = settings().models
    enabled = enabled_by_default(in_force.folder) if in_force.enabled == "default" else in_force.enabled
    for one in [name] if name else enabled:
        card = verify_bundle(folder_of(one))
        say(f"{card.name} {card.version}: weights are as pinned, digest {card.digest}")


@models.command()
def train(
    name: Name,
    data: Data,
    out: Annotated[Path, typer.Option("--out", help="Run folder; a run that is there goes on.")],
    minutes: Annotated[float | None, typer.Option(help="End after this many minutes of training, or by steps.")] = None,
    steps: Annotated[int | None, typer.Option(help="End after this many steps; else the recipe's own number.")] = None,
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 2,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    seed: Annotated[int | None, typer.Option(help="Seed of weights and samples.")] = None,
    recipe: Annotated[str | None, typer.Option(help="A recipe's name or TOML file; else the model's own.")] = None,
    leave_out: Annotated[list[str] | None, typer.Option(help="A source not to learn from; may be repeated.")] = None,
    examples: Annotated[int | None, typer.Option(help="Learn from this many films only.")] = None,
) -> None:
    """Train a model on public data sets as published, or on your own films, and write a bundle.

    The run folder gets log.jsonl, curves.png, a checkpoint and, at the end, bundle/. A run that was stopped goes on
    when the same command is given again. Progress goes to standard error, where the results lie to standard output.
    """
    from dataclasses import replace

    from cxrnode.training.options import TrainOptions
    from cxrnode.training.recipe import find_recipe
    from cxrnode.training.trainer import train as run_training

    options = TrainOptions(minutes=minutes, threads=threads, device=device, examples=examples)
    options = replace(options, steps=steps or options.steps, seed=options.seed if seed is None else seed)
    options = replace(options, bundles=settings().models.folder)
    chosen = find_recipe(recipe or name).without(tuple(leave_out or ()))
    if recipe and chosen.model != name:
        raise NeedsOperator(f"the recipe is of the model {chosen.model}", operation="train", subject=name)
    try:
        outcome = run_training(chosen, data, out, options, progress())
    except KeyboardInterrupt as stop:
        say_aside("stopped: the same command goes on from the last look at the validation part")
        raise typer.Exit(STOPPED) from stop
    say(f"ended at step {outcome.steps}; the best score on the validation part is {outcome.score:.4f}")
    say(f"bundle: {outcome.bundle}, not calibrated and not measured yet; next:")
    for verb in ("calibrate", "evaluate"):
        say(f"  cxrnode models {verb} {chosen.model} --data {data} --bundle {outcome.bundle}")


def folder_of(name: str) -> Path:
    """Give a model's folder in models.folder. Raises NeedsOperator where there is none."""
    folder = settings().models.folder / name
    if not folder.is_dir():
        raise NeedsOperator("no such model", subject=name, hint="`cxrnode models list` names them")
    return folder


def _listed(name: str, folder: Path, enabled: str | Sequence[str]) -> dict[str, Any]:
    """Give what is listed of a bundle; one that cannot be read is listed with the reason, for the others' sake."""
    from cxrnode.inference.bundle import read_card

    try:
        return _brief(name, read_card(folder), enabled)
    except CxrnodeError as error:
        named = enabled != "default" and name in enabled
        return {"name": name, "version": "", "kind": "", "enabled": named, "digest": "", "unreadable": str(error)}


def _remark(listed: Mapping[str, Any]) -> str:
    """Give what a person is told of a bundle: what it finds, what it withholds, why it is off."""
    if "unreadable" in listed:
        return f"cannot be read: {listed['unreadable']}"
    said = [f"{name} (withheld)" if why else name for name, why in listed["findings"].items()]
    lines = [", ".join(said or listed["labels"])]
    if not listed["enabled"]:
        lines.append(f"off: {listed['disabled_because'] or 'not in models.enabled'}")
    return "\n".join(lines)


def _brief(name: str, card: BundleCard, enabled: str | Sequence[str]) -> dict[str, Any]:
    return {
        "name": name,
        "version": card.version,
        "kind": card.kind,
        "enabled": card.enabled_by_default if enabled == "default" else name in enabled,
        "enabled_by_default": card.enabled_by_default,
        "disabled_because": card.disabled_because,
        "digest": card.digest,
        "weights_sha256": card.weights_sha256,
        "channels": list(card.channels),
        "labels": list(card.labels),
        "findings": {rule.name: rule.withheld for rule in card.findings},
        "operating_points": dict(card.operating_points),
        "licence": card.licence,
        "intended_use": card.intended_use,
    }


def progress() -> Callable[[dict[str, Any]], None]:
    """Print lines of progress to standard error; of films that are counted, one a second."""
    last = [0.0]

    def report(line: dict[str, Any]) -> None:
        if time.monotonic() - last[0] >= 1.0 or line.get("event") != "film":
            last[0] = time.monotonic()
            say_aside(_in_words(line))

    return report


def _in_words(line: Mapping[str, Any]) -> str:
    """Give a line of progress for a person: a remark as it is, numbers in about four digits."""
    if "remark" in line:
        return f"note: {line['remark']}"
    pairs = ((key.replace(" ", "_"), _short(value)) for key, value in line.items())
    return " ".join(value if key == "event" else f"{key}={value}" for key, value in pairs)


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) and abs(value) < 1e4 else str(value)
