"""Hides the training loop: optimiser, averaged weights, validation, checkpoints, stopping early.

Promises a run folder that tells the whole story (`options.json`, `log.jsonl`, `curves.png`), a checkpoint from which a
stopped run goes on as if it had not been stopped, and `best.pt`: the averaged weights that did best on the validation
part, in half precision; at the end they are also a whole bundle.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cxrnode.errors import NeedsOperator
from cxrnode.inference.network import build_network
from cxrnode.training.catalogue import Example, read_catalogue, read_film
from cxrnode.training.curves import draw_curves
from cxrnode.training.export import export_bundle
from cxrnode.training.options import TrainOptions
from cxrnode.training.recipe import Recipe, find_recipe
from cxrnode.training.samples import Batch, Shelf, draw_batch, fill_shelf
from cxrnode.training.validation import Check, score_on_grid, shelve_checks

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

    network: nn.Module
    averaged: nn.Module
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
    name: str, data: Path, out: Path, options: TrainOptions | None = None, report: Report = lambda line: None
) -> Outcome:
    """Train model `name` on the data folder; the run's files go to `out`. Goes on with a run that is already there.

    Raises NeedsOperator where the recipe or the data is missing.
    """
    options = options or TrainOptions()
    recipe = find_recipe(name)
    examples = _catalogue_with_all_parts(data)
    out.mkdir(parents=True, exist_ok=True)
    (out / "options.json").write_text(json.dumps(asdict(options), indent=2) + "\n")
    run = _begin(recipe, options, out)
    shelf = fill_shelf((example for example in examples if example.part == "train"), recipe.size)
    checks = shelve_checks(((read_film(e), e.source) for e in examples if e.part == "validate"), recipe.size)
    report({"event": "started", "films": len(shelf.films), "checks": len(checks), "step": run.step})
    while not run.over():
        line = _leg(run, recipe, shelf, checks)
        _record(run, line, out)
        report(line)
    bundle = export_bundle(recipe, out / "best.pt", out / "bundle", LOCAL_VERSION)
    return Outcome(weights=out / "best.pt", bundle=bundle, score=run.best_score, steps=run.step)


def _catalogue_with_all_parts(data: Path) -> tuple[Example, ...]:
    examples = read_catalogue(data)
    missing = {"train", "validate"} - {example.part for example in examples}
    if missing:
        raise NeedsOperator(
            f"the data folder has too few patients: none falls to the {' or the '.join(sorted(missing))} part",
            operation="train",
            subject=str(data),
            hint="docs/operations.md, Training a model",
        )
    return examples


def _begin(recipe: Recipe, options: TrainOptions, out: Path) -> Run:
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    wanted = options.device if options.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(wanted)
    network, averaged = (_on(device, build_network(recipe.network)) for _ in range(2))
    averaged.load_state_dict(network.state_dict())
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay, fused=True
    )
    run = Run(network=network, averaged=averaged, optimiser=optimiser, device=device, options=options)
    if options.resume and (out / "checkpoint.pt").is_file():
        _resume(run, out / "checkpoint.pt")
    return run


def _on(device: torch.device, network: nn.Module) -> nn.Module:
    # torch's annotations know memory_format only beside a tensor.
    return network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def _leg(run: Run, recipe: Recipe, shelf: Shelf, checks: tuple[Check, ...]) -> dict[str, Any]:
    """Train until the next look at the validation part, and look; gives the line of the log."""
    started = time.monotonic()
    before, losses = run.seconds, []
    run.network.train()
    for number in _steps_to_next_look(run):
        losses.append(_step(run, recipe, draw_batch(shelf, recipe, run.options.batch, run.options.seed, number)))
        run.seconds = before + time.monotonic() - started
        if run.progress() >= 1.0:
            break
    scores = score_on_grid(run.averaged.eval(), checks, recipe, run.device)
    run.seconds = before + time.monotonic() - started
    score = float(np.mean(list(scores.values())))
    line = {"step": run.step, "seconds": round(run.seconds, 1), "loss": round(float(np.mean(losses)), 5)}
    rounded = {key: round(value, 5) for key, value in scores.items()}
    return {**line, "learning_rate": run.optimiser.param_groups[0]["lr"], "score": round(score, 5), **rounded}


def _steps_to_next_look(run: Run) -> Iterator[int]:
    stop = min(run.options.steps, run.step + run.options.validate_every)
    while run.step < stop:
        yield run.step
        run.step += 1


def _step(run: Run, recipe: Recipe, batch: Batch) -> float:
    for group in run.optimiser.param_groups:
        group["lr"] = run.options.learning_rate * rate_at(run.progress())
    images = torch.from_numpy(batch.images).to(device=run.device, memory_format=torch.channels_last)
    low = torch.autocast(run.device.type, torch.bfloat16) if run.options.low_precision else nullcontext()
    with low:
        logits = run.network(images)
    loss = masked_loss(
        logits.float(),
        torch.from_numpy(batch.truth).to(run.device),
        torch.from_numpy(batch.labelled).to(run.device),
        torch.tensor(recipe.channel_weight, device=run.device),
    )
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


def masked_loss(logits: Tensor, truth: Tensor, labelled: Tensor, weight: Tensor) -> Tensor:
    """Soft Dice plus cross-entropy over (N, C, S, S); a channel that nobody labelled (N, C) has no say."""
    probability = torch.sigmoid(logits)
    overlap = (probability * truth).sum((2, 3))
    dice = 1 - (2 * overlap + 1) / ((probability + truth).sum((2, 3)) + 1)
    entropy = nn.functional.binary_cross_entropy_with_logits(logits, truth, reduction="none").mean((2, 3))
    share = labelled * weight
    return ((dice + 2 * entropy) * share).sum() / share.sum().clamp(min=1e-6)


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
        _replace(half_precision(run.averaged), out / "best.pt")
    _replace(_checkpoint(run), out / "checkpoint.pt")
    with (out / "log.jsonl").open("a", encoding="utf-8") as log:
        log.write(json.dumps(line) + "\n")
    draw_curves(out / "log.jsonl", out / "curves.png")


def half_precision(network: nn.Module) -> dict[str, Tensor]:
    """Give a network's weights in half precision, on the CPU, contiguous: what a bundle ships."""
    return {
        key: (value.half() if value.is_floating_point() else value).detach().cpu().contiguous().clone()
        for key, value in network.state_dict().items()
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
