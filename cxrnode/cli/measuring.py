"""`cxrnode models` evaluate, calibrate, shortcuts, halving: how good a model is, and by which points it is judged."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypedDict

import typer

from cxrnode.cli.app import Json, progress, say, say_told
from cxrnode.cli.bundles import Data, Name, folder_of, models

if TYPE_CHECKING:
    from cxrnode.training.evaluation.calibration import Aim


class Part(StrEnum):
    """The parts of a data set, split by patient."""

    TEST = "test"
    VALIDATE = "validate"
    TRAIN = "train"
    ALL = "all"


Bundle = Annotated[Path | None, typer.Option("--bundle", help="Bundle folder; else the one in models.folder.")]
PartOf = Annotated[Part, typer.Option("--part", help="Which part of the patients.")]
Threads = Annotated[int, typer.Option(min=1, help="CPU threads.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]


class Asked(TypedDict):
    """What every measurement takes: the films, the bundle, and where it runs."""

    data: Path
    bundle: Path
    part: str
    threads: int
    device: str
    report: Callable[[dict[str, Any]], None]


def _asked(name: str, data: Path, bundle: Path | None, part: Part, threads: int, device: str) -> Asked:
    from cxrnode.inference.engine import choose_device

    return {
        "data": data,
        "bundle": bundle or folder_of(name),
        "part": part.value,
        "threads": threads,
        "device": choose_device(device),
        "report": progress(),
    }


@models.command()
def calibrate(
    name: Name,
    data: Data,
    bundle: Bundle = None,
    aim: Annotated[
        list[str] | None,
        typer.Option(
            "--aim", help="FINDING=sensitivity:0.90 or FINDING=specificity:0.95; else the card's. May be repeated."
        ),
    ] = None,
    part: PartOf = Part.VALIDATE,
    threads: Threads = 2,
    device: Device = "cpu",
) -> None:
    """Fit a model's calibration, set its findings' points and where boxes and masks are cut; writes into its card."""
    from cxrnode.training.evaluation.calibrate import calibrate as run_calibration
    from cxrnode.training.evaluation.calibrate import complete_card
    from cxrnode.training.evaluation.gate import set_gate_points

    aims, asked = dict(_aim(text) for text in aim or ()), _asked(name, data, bundle, part, threads, device)
    complete_card(asked["bundle"])
    if not _is_gate(asked):
        say(run_calibration(name, aims=aims, **asked).table())
        return
    if aims:
        raise typer.BadParameter("the gate's points have aims of their own", param_hint="--aim")
    say(", ".join(f"{question} {point}" for question, point in set_gate_points(**asked).items()))


@models.command()
def evaluate(
    name: Name,
    data: Data,
    bundle: Bundle = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write the report and pictures here.")] = None,
    part: PartOf = Part.TEST,
    source: Annotated[str, typer.Option(help="Films of one source only: for a model trained without it.")] = "",
    threads: Threads = 2,
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Measure a model on patients it never saw: each number with its count and 95 % interval."""
    from cxrnode.training.evaluation.examine import evaluate as run_evaluation
    from cxrnode.training.evaluation.gate import examine_gate

    asked = _asked(name, data, bundle, part, threads, device)
    examine = examine_gate if _is_gate(asked) else partial(run_evaluation, name)
    say_told(examine(out=out, source=source, **asked), as_json=json)


@models.command()
def shortcuts(
    name: Name,
    data: Data,
    bundle: Bundle = None,
    part: PartOf = Part.TEST,
    most: Annotated[int | None, typer.Option(min=1, help="Films at most, spread over the part.")] = None,
    threads: Threads = 2,
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Ask again with markers, borders, another size, another JPEG. Exit code 1 where over one answer in 20 changes."""
    from cxrnode.training.evaluation.shortcuts import try_shortcuts

    found = try_shortcuts(name, most=most, **_asked(name, data, bundle, part, threads, device))
    say_told(found, as_json=json)
    raise typer.Exit(0 if found.passed else 1)


@models.command()
def halving(
    name: Name,
    data: Data,
    weights: Annotated[
        Path, typer.Option("--weights", exists=True, help="A run's best-full.pt or checkpoint.pt: weights unrounded.")
    ],
    bundle: Bundle = None,
    part: PartOf = Part.VALIDATE,
    threads: Threads = 2,
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Compare a model with its weights as trained and in half precision. Exit code 1 where halving costs anything."""
    from cxrnode.training.evaluation.halving import try_halving

    found = try_halving(weights=weights, **_asked(name, data, bundle, part, threads, device))
    say_told(found, as_json=json)
    raise typer.Exit(0 if found.passed else 1)


def _is_gate(asked: Asked) -> bool:
    from cxrnode.inference.bundle import read_card
    from cxrnode.training.evaluation.gate import is_gate

    return is_gate(read_card(asked["bundle"]))


def _aim(text: str) -> tuple[str, Aim]:
    from cxrnode.training.evaluation.calibration import read_aim

    finding, _, rest = text.partition("=")
    aim = read_aim(rest.replace(":", " "))
    if not finding or aim is None:
        raise typer.BadParameter(f"an aim looks like lung_opacity=sensitivity:0.90, not '{text}'", param_hint="--aim")
    return finding, aim
