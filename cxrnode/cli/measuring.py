"""`cxrnode models` evaluate, calibrate, shortcuts, halving: how good a model is, and by which points it is judged."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxrnode.cli.app import Json, say, say_json
from cxrnode.cli.bundles import Bundle, Data, Name, folder_of, models, progress
from cxrnode.errors import SettingsInvalid

if TYPE_CHECKING:
    from cxrnode.training.evaluation.calibration import Aim


class Part(StrEnum):
    """The parts of a data set, split by patient."""

    TEST = "test"
    VALIDATE = "validate"
    TRAIN = "train"
    ALL = "all"


Threads = Annotated[int, typer.Option(help="CPU threads.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]


@models.command()
def evaluate(
    name: Name,
    data: Data,
    bundle: Bundle = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write the report and pictures here.")] = None,
    part: Annotated[Part, typer.Option(help="Which part of the patients.")] = Part.TEST,
    source: Annotated[str, typer.Option(help="Films of one source only: for a model trained without it.")] = "",
    threads: Threads = 2,
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Measure a model on patients it never saw: each number with its count and 95 % interval."""
    from functools import partial

    from cxrnode.inference.bundle import read_card
    from cxrnode.training.evaluation.examine import evaluate as run_evaluation
    from cxrnode.training.evaluation.gate import examine_gate, is_gate

    folder = bundle or folder_of(name)
    examine = examine_gate if is_gate(read_card(folder)) else partial(run_evaluation, name)
    report = examine(
        data,
        bundle=folder,
        out=out,
        part=part.value,
        source=source,
        device=device,
        threads=threads,
        report=progress(),
    )
    if json:
        say_json(report.as_json())
    else:
        say(report.table())


@models.command()
def calibrate(
    name: Name,
    data: Data,
    bundle: Bundle = None,
    aim: Annotated[
        list[str] | None, typer.Option("--aim", help="FINDING=sensitivity:0.90 or FINDING=specificity:0.95.")
    ] = None,
    part: Annotated[Part, typer.Option(help="Which part of the patients.")] = Part.VALIDATE,
    threads: Threads = 2,
    device: Device = "cpu",
) -> None:
    """Fit a model's calibration and set its findings' points on the validation part; writes them into its card."""
    from cxrnode.inference.bundle import read_card
    from cxrnode.training.evaluation.calibrate import calibrate as run_calibration
    from cxrnode.training.evaluation.gate import is_gate, set_gate_points

    folder, aims = bundle or folder_of(name), dict(_aim(text) for text in aim or ())
    if is_gate(read_card(folder)):
        points = set_gate_points(data, folder, device=device, threads=threads, report=progress())
        say(", ".join(f"{question} {point}" for question, point in points.items()))
        return
    outcome = run_calibration(
        name,
        data,
        bundle=folder,
        part=part.value,
        aims=aims,
        device=device,
        threads=threads,
        report=progress(),
    )
    say(outcome.table())


@models.command()
def shortcuts(
    name: Name,
    data: Data,
    bundle: Bundle = None,
    part: Annotated[Part, typer.Option(help="Which part of the patients.")] = Part.TEST,
    most: Annotated[int | None, typer.Option(help="Films at most, spread over the part.")] = None,
    threads: Threads = 2,
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Ask again with markers, borders, another size, another JPEG. Exit code 1 where over one answer in 20 changes."""
    from cxrnode.training.evaluation.shortcuts import try_shortcuts

    found = try_shortcuts(
        name,
        data,
        bundle=bundle or folder_of(name),
        part=part.value,
        most=most,
        device=device,
        threads=threads,
        report=progress(),
    )
    if json:
        say_json(found.as_json())
    else:
        say(found.table())
    raise typer.Exit(0 if found.passed else 1)


@models.command()
def halving(
    name: Name,
    data: Data,
    weights: Annotated[
        Path, typer.Option("--weights", exists=True, help="A run's best-full.pt or checkpoint.pt: weights unrounded.")
    ],
    bundle: Bundle = None,
    part: Annotated[Part, typer.Option(help="Which part of the patients.")] = Part.VALIDATE,
    threads: Threads = 2,
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Compare a model with its weights as trained and in half precision. Exit code 1 where halving costs anything."""
    from cxrnode.training.evaluation.halving import try_halving

    found = try_halving(
        data,
        bundle=bundle or folder_of(name),
        weights=weights,
        part=part.value,
        device=device,
        threads=threads,
        report=progress(),
    )
    if json:
        say_json(found.as_json())
    else:
        say(found.table())
    raise typer.Exit(0 if found.passed else 1)


def _aim(text: str) -> tuple[str, Aim]:
    from cxrnode.training.evaluation.calibration import read_aim

    finding, _, rest = text.partition("=")
    aim = read_aim(rest.replace(":", " "))
    if not finding or aim is None:
        raise SettingsInvalid(f"an aim looks like lung_opacity=sensitivity:0.90, not '{text}'")
    return finding, aim
