"""`cxrnode models`: list, show, verify, train, evaluate."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cxrnode.cli.app import Json, app, say, say_json, say_table, settings
from cxrnode.errors import NeedsOperator

if TYPE_CHECKING:
    from cxrnode.inference.bundle import BundleCard

models = typer.Typer(help="The model bundles: list, show, verify, train, evaluate.", no_args_is_help=True)
app.add_typer(models, name="models")


class Part(StrEnum):
    """The parts of a data set, split by patient."""

    TEST = "test"
    VALIDATE = "validate"
    TRAIN = "train"


Name = Annotated[str, typer.Argument(help="The model's name.")]
Data = Annotated[Path, typer.Option("--data", envvar="CXRNODE_DATA", help="Folder of the training data.")]
Bundle = Annotated[Path | None, typer.Option("--bundle", help="Bundle folder; else the one in models.folder.")]


@models.command("list")
def list_models(json: Json = False) -> None:
    """List the bundles in models.folder."""
    from cxrnode.inference.bundle import METADATA, read_card

    in_force = settings().models
    folders = sorted(path.parent.parent for path in in_force.folder.glob(f"*/{METADATA}"))
    cards = [read_card(folder) for folder in folders]
    if json:
        say_json([_brief(card, enabled=card.name in in_force.enabled) for card in cards])
        return
    rows = [
        (c.name, c.version, "yes" if c.name in in_force.enabled else "no", c.digest[:12], ", ".join(c.channels))
        for c in cards
    ]
    say_table(f"Models in {in_force.folder}", ("name", "version", "enabled", "digest", "channels"), rows)


@models.command()
def show(name: Name, json: Json = False) -> None:
    """Show a model's card."""
    from cxrnode.inference.bundle import read_card

    folder = _folder(name)
    card = read_card(folder)
    if json:
        say_json({**_brief(card, enabled=name in settings().models.enabled), "metrics": dict(card.metrics)})
        return
    text = folder / "docs" / "README.md"
    say(text.read_text(encoding="utf-8") if text.is_file() else card.intended_use)
    say(f"digest {card.digest}")


@models.command()
def verify(name: Annotated[str | None, typer.Argument(help="One model; else all enabled ones.")] = None) -> None:
    """Check that weights are the ones their card pins. Exit code 1 if not."""
    from cxrnode.inference.bundle import verify as verify_bundle

    for one in [name] if name else settings().models.enabled:
        card = verify_bundle(_folder(one))
        say(f"{card.name} {card.version}: weights are as pinned, digest {card.digest}")


@models.command()
def train(
    name: Name,
    data: Data,
    out: Annotated[Path, typer.Option("--out", help="Run folder; a run that is there goes on.")],
    minutes: Annotated[float | None, typer.Option(help="End after this many minutes of training.")] = None,
    steps: Annotated[int | None, typer.Option(help="End after this many steps.")] = None,
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 2,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    seed: Annotated[int | None, typer.Option(help="Seed of weights and samples.")] = None,
) -> None:
    """Train a model on your data: log.jsonl, curves.png, the best checkpoint and a bundle in the run folder."""
    from dataclasses import replace

    from cxrnode.training.options import TrainOptions
    from cxrnode.training.trainer import train as run_training

    options = replace(TrainOptions(), minutes=minutes, threads=threads, device=device)
    options = replace(options, steps=steps or options.steps, seed=options.seed if seed is None else seed)
    outcome = run_training(name, data, out, options, _progress())
    say(f"done: {outcome}")
    say(f"measure it: cxrnode models evaluate {name} --data {data} --bundle {out / 'bundle'}")


@models.command()
def evaluate(
    name: Name,
    data: Data,
    bundle: Bundle = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write report.json and pictures of the worst here.")] = None,
    part: Annotated[Part, typer.Option(help="Which part of the patients.")] = Part.TEST,
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 2,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "cpu",
    json: Json = False,
) -> None:
    """Measure a model on patients it never saw: each number with its count and 95 % interval."""
    from cxrnode.training.evaluate import evaluate as run_evaluation

    folder = bundle or _folder(name)
    report = run_evaluation(
        name,
        data,
        bundle=folder,
        out=out,
        part=part.value,
        device=device,
        threads=threads,
        report=_progress(),
    )
    if json:
        say_json(report.as_json())
    else:
        say(report.table())


def _folder(name: str) -> Path:
    folder = settings().models.folder / name
    if not folder.is_dir():
        raise NeedsOperator("no such model", subject=name, hint="`cxrnode models list` names them")
    return folder


def _brief(card: BundleCard, *, enabled: bool) -> dict[str, Any]:
    return {
        "name": card.name,
        "version": card.version,
        "enabled": enabled,
        "digest": card.digest,
        "weights_sha256": card.weights_sha256,
        "channels": list(card.channels),
        "operating_points": dict(card.operating_points),
        "licence": card.licence,
        "intended_use": card.intended_use,
    }


def _progress() -> Callable[[dict[str, Any]], None]:
    """Print a line of progress at most once a second, to standard error."""
    last = [0.0]

    def report(line: dict[str, Any]) -> None:
        if time.monotonic() - last[0] >= 1.0 or line.get("event") != "film":
            last[0] = time.monotonic()
            sys.stderr.write(" ".join(f"{key}={value}" for key, value in line.items()) + "\n")

    return report
