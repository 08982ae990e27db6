"""Hides the training loop: optimiser, averaged weights, validation, checkpoints, stopping early.

Promises a run folder that tells the whole story (`options.json`, `log.jsonl`, `curves.png`), a checkpoint from which a
stopped run goes on as if it had not been stopped, and `best.pt`: the averaged weights that did best on the validation
part, in half precision (`best-full.pt`: the same before rounding); at the end they are also a whole bundle.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cxrnode.errors import NeedsOperator
from cxrnode.inference.engine import choose_device
from cxrnode.training.beginning import begin_from
from cxrnode.training.catalogue import read_catalogue
from cxrnode.training.curves import draw_curves
from cxrnode.training.example import Example
from cxrnode.training.export import export_bundle
from cxrnode.training.freezing import freeze
from cxrnode.training.options import TrainOptions
from cxrnode.training.recipe import Recipe
from cxrnode.training.task import Task
from cxrnode.training.tasks import build_task

Report = Callable[[dict[str, Any]], None]


LOCAL_VERSION = "0.0.0+local"
"""What a bundle calls itself until somebody releases it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Where the best weights and their bundle lie, their validation score, and how many steps were made."""

    weights: Path
    bundle: Path
    score: float
    steps: int


@dataclass(slots=True, kw_only=True)
class Run:
    """A run in being: what a checkpoint holds."""

    task: Task
    network: nn.Module
    averaged: nn.Module
    still: tuple[nn.Module, ...]
    """Frozen parts: they stay in eval mode."""
    optimiser: torch.optim.Optimizer
    device: torch.device
    options: TrainOptions
    step: int = 0
    best_score: float = -1.0
    best_step: int = 0
    seconds: float = 0.0

    def progress(self) -> float:
        """Say how much of the run is over, 0 to 1, by steps or minutes, whichever is further."""
        by_steps = self.step / self.options.steps
        by_minutes = self.seconds / (60 * self.options.minutes) if self.options.minutes else 0.0
        return min(1.0, max(by_steps, by_minutes))

    def over(self) -> bool:
        """Say whether to stop: time is up, or validation has not improved for `patience` looks."""
        looks = (self.step - self.best_step) / self.options.validate_every
        return self.progress() >= 1.0 or (self.best_score >= 0 and looks >= self.options.patience)


def train(
    recipe: Recipe,
    data: Path,
    out: Path,
    given: Mapping[str, Any] | None = None,
    report: Report = lambda line: None,
) -> Outcome:
    """Train by a recipe on the data folder; the run's files go to `out`. Goes on with a run that is already there.

    `given`: TrainOptions by name that win over the recipe's. Raises NeedsOperator where the data is missing, or what
    the recipe begins from, or an option is unknown; SettingsInvalid where the device is not there.
    """
    options = TrainOptions.of(recipe.options, given)
    examples = _with_all_parts(read_catalogue(data, out), data)
    out.mkdir(parents=True, exist_ok=True)
    (out / "options.json").write_text(json.dumps(_told(recipe, options), indent=2) + "\n")
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    run = _begin(build_task(recipe, examples, options, out), recipe, options, out)
    report({"event": "started", "step": run.step, **run.task.counts()})
    for remark in run.task.shortfall.remarks():
        report({"event": "remark", "remark": remark})
    while not run.over():
        line = _leg(run)
        _record(run, line, out)
        report(line)
    bundle = export_bundle(run.task.shortfall.stated(recipe), out / "best.pt", out / "bundle", LOCAL_VERSION)
    return Outcome(weights=out / "best.pt", bundle=bundle, score=run.best_score, steps=run.step)


def _told(recipe: Recipe, options: TrainOptions) -> dict[str, Any]:
    """Give what the run folder says of the run: no folder's name, so that it can be compared between machines."""
    return {"recipe": asdict(recipe), **{key: value for key, value in asdict(options).items() if key != "bundles"}}


def _with_all_parts(examples: tuple[Example, ...], data: Path) -> tuple[Example, ...]:
    missing = {"train", "validate"} - {example.part for example in examples}
    if missing:
        raise NeedsOperator(
            f"the data folder has too few patients: none falls to the {' or the '.join(sorted(missing))} part",
            operation="train",
            subject=str(data),
            hint="docs/operations.md, Training a model",
        )
    return examples


def _begin(task: Task, recipe: Recipe, options: TrainOptions, out: Path) -> Run:
    device = torch.device(choose_device(options.device))
    begin_from(task.network, recipe, options.bundles)
    network, averaged = _on(device, task.network), _on(device, copy.deepcopy(task.network))
    still = freeze(network, recipe.init)
    optimiser = torch.optim.AdamW(
        [weight for weight in network.parameters() if weight.requires_grad],
        lr=options.learning_rate,
        weight_decay=options.weight_decay,
        fused=True,
    )
    run = Run(
        task=task, network=network, averaged=averaged, still=still, optimiser=optimiser, device=device, options=options
    )
    if options.resume and (out / "checkpoint.pt").is_file():
        _resume(run, out / "checkpoint.pt")
    return run


def _on(device: torch.device, network: nn.Module) -> nn.Module:
    # torch's annotations know memory_format only beside a tensor.
    return network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def _leg(run: Run) -> dict[str, Any]:
    """Train until the next look at the validation part, and look; gives the line of the log."""
    started = time.monotonic()
    before, losses, stop = run.seconds, [], min(run.options.steps, run.step + run.options.validate_every)
    run.network.train()
    for part in run.still:
        part.eval()
    while run.step < stop and run.progress() < 1.0:
        losses.append(_step(run))
        run.step += 1
        run.seconds = before + time.monotonic() - started
    a_step = (run.seconds - before) / len(losses)
    with torch.inference_mode():
        scores = run.task.validate(run.averaged.eval())
    run.seconds = before + time.monotonic() - started
    return {
        "step": run.step,
        "seconds": round(run.seconds, 1),
        "seconds_a_step": round(a_step, 5),
        "loss": round(float(np.mean(losses)), 5),
        "learning_rate": run.optimiser.param_groups[0]["lr"],
        **{key: round(value, 5) for key, value in scores.items()},
    }


def _step(run: Run) -> float:
    for group in run.optimiser.param_groups:
        group["lr"] = run.options.learning_rate * rate_at(run.progress())
    # Dropout and stochastic depth, too, are functions of the step: a run that was stopped goes on as it would have.
    torch.manual_seed(run.options.seed + run.step)
    low = torch.autocast(run.device.type, torch.bfloat16) if run.options.low_precision else nullcontext()
    batch = run.task.batch(run.step)
    with low:
        loss = run.task.loss(run.network, batch)
    run.optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(run.network.parameters(), 2.0)
    run.optimiser.step()
    _average(run)
    return float(loss.detach())


def rate_at(progress: float) -> float:
    """Give the share of the learning rate at `progress`: up over the first twentieth, then a cosine down to nothing."""
    if progress < 0.05:
        return 0.1 + 0.9 * progress / 0.05
    return float(0.5 * (1 + np.cos(np.pi * (progress - 0.05) / 0.95))) + 1e-3


@torch.no_grad()
def _average(run: Run) -> None:
    """Move the averaged weights a little towards the present ones; faster while the run is young."""
    keep = min(run.options.average, (1 + run.step) / (10 + run.step))
    for averaged, present in zip(run.averaged.state_dict().values(), run.network.state_dict().values(), strict=True):
        if averaged.is_floating_point():
            averaged.lerp_(present, 1 - keep)
        else:
            averaged.copy_(present)


def _record(run: Run, line: dict[str, Any], out: Path) -> None:
    if line["score"] > run.best_score:
        run.best_score, run.best_step = line["score"], run.step
        _replace(dict(run.averaged.state_dict()), out / "best-full.pt")
        _replace(halved(run.averaged.state_dict()), out / "best.pt")
    _replace(_checkpoint(run), out / "checkpoint.pt")
    with (out / "log.jsonl").open("a", encoding="utf-8") as log:
        log.write(json.dumps(line) + "\n")
    draw_curves(out / "log.jsonl", out / "curves.png")


def halved(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give a network's weights in half precision, on the CPU, contiguous: what a bundle ships."""
    return {
        key: (value.half() if value.is_floating_point() else value).detach().cpu().contiguous().clone()
        for key, value in state.items()
    }


def _checkpoint(run: Run) -> dict[str, Any]:
    # Batches are functions of the step, so no generator's state has to be kept.
    return {
        "network": run.network.state_dict(),
        "averaged": run.averaged.state_dict(),
        "optimiser": run.optimiser.state_dict(),
        **{key: getattr(run, key) for key in ("step", "best_score", "best_step", "seconds")},
    }


def _resume(run: Run, path: Path) -> None:
    kept = torch.load(path, map_location=run.device, weights_only=True)
    run.network.load_state_dict(kept["network"])
    run.averaged.load_state_dict(kept["averaged"])
    run.optimiser.load_state_dict(kept["optimiser"])
    for key in ("step", "best_score", "best_step", "seconds"):
        setattr(run, key, kept[key])


def _replace(content: dict[str, Any], path: Path) -> None:
    """Write a file whole or not at all: a run may be killed at any moment."""
    part = path.with_suffix(".part")
    torch.save(content, part)
    part.replace(path)
