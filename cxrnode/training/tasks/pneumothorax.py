"""Hides how a pneumothorax is learnt where few or none are drawn.

Promises batches that are functions of (films, recipe, seed, number) from four groups: films with one drawn by hand
(where a data set has them for training), sound films with a simulated one, the same films without, and films of which
only a report is known. What simulating leaves in a lung besides the air is in films without one, too. A film whose
report names a pneumothorax is never taken for a sound one. Real masks of the validation part are looked at, never
learnt from.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from cxrnode.inference.network import build_network
from cxrnode.inference.reading import map_probability
from cxrnode.pixels.geometry import Letterbox, place, shrink
from cxrnode.pixels.normalise import prepare
from cxrnode.training.augment import FINE, Cached, draw_sample
from cxrnode.training.decoys import add_decoys
from cxrnode.training.evaluation.cutting import POINTS
from cxrnode.training.evaluation.overlap import dice
from cxrnode.training.example import Example, read_mask, read_picture
from cxrnode.training.films import pixel_aspect
from cxrnode.training.hosts import SIDES, Host, LungFinder, take_host
from cxrnode.training.options import TrainOptions
from cxrnode.training.recipe import Recipe
from cxrnode.training.shortfall import Shortfall, lacking, named_or_all
from cxrnode.training.simulate import disturb, simulate

FloatArray = NDArray[np.float32]
Generator = np.random.Generator

CHANNEL = "pneumothorax"
LABEL = "nih.Pneumothorax"
GROUPS = ("drawn", "simulated", "untouched", "reported")
MOST_CHECKS = 120
"""Films without a pneumothorax in the quick look, at most."""
SEEN = 0.0003
"""A truth of this share of the picture or more, about thirty pixels of a grid of 320, is there to be found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """`images` and `truth` (N, 1, S, S); `outlined` (N,) 1 where the truth is known by the pixel; `present` (N,)."""

    images: FloatArray
    truth: FloatArray
    outlined: FloatArray
    present: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A prepared film of the validation part: `truth` (S, S) where somebody drew one, and whether there is one."""

    image: FloatArray
    box: Letterbox
    truth: NDArray[np.bool_] | None
    present: bool


class Pneumothorax:
    """Drawn, simulated, absent and reported pneumothoraces in one training."""

    def __init__(self, recipe: Recipe, examples: Sequence[Example], options: TrainOptions, out: Path) -> None:
        """Read the films; lungs that nobody drew are found by the lungs' bundle and kept in `out`."""
        self.network = build_network(recipe.network)
        self._recipe, self._options = recipe, options
        chosen = [one for one in examples if one.source not in recipe.samples.get("leave_out", ())]
        found, self.shortfall = grouped([one for one in chosen if one.part == "train"], recipe)
        groups = _fewer(found, options.examples)
        checks = looked_at([one for one in chosen if one.part == "validate"], examples)
        self._films = _take_all(groups, recipe.size, (options.bundles or Path("models")) / "lungs", out)
        self._hosts = [place for place, host in enumerate(self._films["untouched"]) if host.lungs is not None]
        self._chances = {name: _by_source(films, recipe) for name, films in groups.items()}
        self._host_chances = _renormalised(self._chances["untouched"][self._hosts])
        if not (groups["drawn"] or groups["reported"] or self._hosts):
            raise lacking("a pneumothorax, nor lungs to simulate one in, in the training part", examples)
        self._shares = self._group_shares()
        self._disturbed = float(recipe.samples.get("disturbed", 1.0))
        self._checks = tuple(_check(one, recipe.size) for one in checks)

    def _group_shares(self) -> NDArray[np.float64]:
        wanted = self._recipe.samples.get("shares", {})
        there = {**{name: len(films) for name, films in self._films.items()}, "simulated": len(self._hosts)}
        return _renormalised(np.array([float(wanted.get(name, 0.0)) * (there[name] > 0) for name in GROUPS]))

    def counts(self) -> Mapping[str, int]:
        """Films of each group, and to check on."""
        taken = {name: len(films) for name, films in self._films.items()}
        return {**taken, "hosts": len(self._hosts), "checks": len(self._checks)}

    def batch(self, number: int) -> Batch:
        """Draw batch `number`."""
        options = self._options
        picks = np.random.default_rng((options.seed, number)).choice(len(GROUPS), options.batch, p=self._shares)
        drawn = [
            self._draw(GROUPS[pick], np.random.default_rng((options.seed, number, place)))
            for place, pick in enumerate(picks)
        ]
        return Batch(
            images=np.stack([image for image, _, _, _ in drawn]),
            truth=np.stack([truth for _, truth, _, _ in drawn]),
            outlined=np.array([outlined for _, _, outlined, _ in drawn], dtype=np.float32),
            present=np.array([present for _, _, _, present in drawn], dtype=np.float32),
        )

    def _draw(self, group: str, rng: Generator) -> tuple[FloatArray, FloatArray, bool, bool]:
        """Draw one sample of a group: image and truth (1, S, S), whether it is outlined, whether there is one."""
        host = self._pick(group, rng)
        image, truth = host.image(), host.mask()
        side = int(rng.integers(2))
        if group == "simulated":
            found = simulate(image, host.lung(side), rng)
            image, truth = (image, truth) if found is None else (found.image, found.air)
        elif group == "untouched" and host.lungs is not None and rng.random() < self._disturbed:
            image = disturb(image, host.lung(side), rng)
        if host.lungs is not None and self._recipe.samples.get("decoys", True):
            image = add_decoys(image, host.lung(int(rng.integers(2))), rng)
        image, truth = (image[:, ::-1], truth[:, ::-1]) if rng.random() < 0.5 else (image, truth)
        sample = self._augmented(image, truth, rng)
        seen = bool((sample[1] > 0.5).mean() >= SEEN)
        return *sample, group != "reported", seen or group == "reported"

    def _pick(self, group: str, rng: Generator) -> Host:
        if group == "simulated":
            return self._films["untouched"][self._hosts[int(rng.choice(len(self._hosts), p=self._host_chances))]]
        films = self._films[group]
        return films[int(rng.choice(len(films), p=self._chances[group]))]

    def _augmented(self, image: FloatArray, truth: NDArray[np.bool_], rng: Generator) -> tuple[FloatArray, FloatArray]:
        if not self._recipe.samples.get("augment", True):
            picture, box = prepare(np.ascontiguousarray(image), self._recipe.size)
            return picture[None], place(shrink(truth.astype(np.float32), box), box)[None]
        layers = np.stack([np.rint(image * 255), truth * 255]).astype(np.uint8)
        sample = draw_sample(Cached(layers=layers, labelled=np.ones(1, dtype=np.bool_)), self._recipe.size, rng, FINE)
        return sample.image, sample.truth

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """Cross-entropy and Dice by the pixel where the truth is outlined, and cross-entropy by the film."""
        device = next(network.parameters()).device
        images = torch.from_numpy(batch.images).to(device=device, memory_format=torch.channels_last)
        truth, outlined, present = (
            torch.from_numpy(each).to(device) for each in (batch.truth, batch.outlined, batch.present)
        )
        return film_loss(network(images).float(), truth, outlined, present, self._recipe.loss)

    def validate(self, network: nn.Module) -> Mapping[str, float]:
        """Give the mean Dice of drawn ones, cut where that is highest, and the AUC of films; `score` is their mean.

        The Dice is cut so because a calibration chooses the cut later; at 0.5 it is nearly nothing for every network
        that learnt from simulations. Each film, drawn or reported, counts once for the AUC: few reports say little.
        """
        said = [self._look(network, check) for check in self._checks]
        pairs = list(zip(self._checks, said, strict=True))
        overlaps = [
            [dice(maps[0] >= point, one.truth) for point in POINTS]
            for one, (maps, _) in pairs
            if one.present and one.truth is not None
        ]
        scores = {
            "dice": float(np.mean(overlaps, axis=0).max()) if overlaps else None,
            "auc": _auc([(one.present, probability) for one, (_, probability) in pairs]),
        }
        measured = {name: value for name, value in scores.items() if value is not None}
        return {"score": float(np.mean(list(measured.values()))), **measured}

    def _look(self, network: nn.Module, check: Check) -> tuple[FloatArray, float]:
        device = next(network.parameters()).device
        image = torch.from_numpy(check.image[None, None]).to(device=device)
        maps = torch.sigmoid(network(image.to(memory_format=torch.channels_last)).float())[0].cpu().numpy()
        return maps, map_probability(maps, check.box, 0, float(self._recipe.loss.get("top_share", 0.002)))


def grouped(examples: Sequence[Example], recipe: Recipe) -> tuple[dict[str, list[Example]], Shortfall]:
    """Sort the training films: drawn by hand, fit to be left untouched or simulated on, known by report only.

    A sound film is one of the recipe's `hosts` whose report names no pneumothorax. Where readers looked for one and
    drew none on any film, their films are sound too; and where neither a drawn film nor one of the hosts is there, any
    whose report names none or whose lungs somebody drew.
    """
    masked = [one for one in examples if CHANNEL in one.masks]
    drawn = masked if any(one.masks[CHANNEL] for one in masked) else []
    seen = [] if drawn else masked
    others = [one for one in examples if CHANNEL not in one.masks]
    sound, hosts = [one for one in others if LABEL not in one.labels], recipe.samples.get("hosts", {})
    named = [one for one in sound if one.source in hosts]
    groups = {"drawn": drawn, "reported": [one for one in others if one.labels.get(LABEL, False)]}
    if drawn or named:
        return {**groups, "untouched": [*named, *seen]}, Shortfall()
    likely = [one for one in sound if one.labels or "right_lung" in one.masks]
    untouched, shortfall = named_or_all([*seen, *likely], hosts)
    return {**groups, "untouched": untouched}, shortfall


def _fewer(groups: Mapping[str, Sequence[Example]], most: int | None) -> dict[str, list[Example]]:
    """Take about `most` films, each group keeping its share; all where None."""
    count = sum(map(len, groups.values()))
    share = 1.0 if most is None or count == 0 else min(1.0, most / count)
    return {name: _thinned(films, math.ceil(share * len(films))) for name, films in groups.items()}


def _take_all(
    groups: Mapping[str, Sequence[Example]], size: int, bundle: Path, out: Path
) -> dict[str, tuple[Host, ...]]:
    """Read the films of every group; the bundle finds lungs on those that something will be drawn on."""
    sought = [*groups["untouched"], *groups["reported"]]
    undrawn = any(side not in one.masks for one in sought for side in SIDES)
    finder = LungFinder(bundle, out / "lungs.npz") if undrawn else None
    taken = {
        name: tuple(take_host(one, size, None if name == "drawn" else finder) for one in films)
        for name, films in groups.items()
    }
    if finder is not None:
        finder.keep()
    return taken


def film_loss(logits: Tensor, truth: Tensor, outlined: Tensor, present: Tensor, said: Mapping[str, float]) -> Tensor:
    """Give the loss of logits (N, 1, S, S); `said` weighs `entropy`, `dice` and `image`.

    The film's probability is the mean of the highest `top_share` of its pixels, as the bundle's finding reads it. It is
    the whole of what a film without an outline says, at `reported` of the weight: reports are read by a program.
    """
    surprise = nn.functional.binary_cross_entropy_with_logits(logits, truth, reduction="none").mean((1, 2, 3))
    probability = torch.sigmoid(logits)
    both, total = (probability * truth).sum((1, 2, 3)), (probability + truth).sum((1, 2, 3))
    miss = (1 - (2 * both + 1) / (total + 1)) * (truth.sum((1, 2, 3)) > 0)
    by_pixel = float(said.get("entropy", 5.0)) * surprise + float(said.get("dice", 1.0)) * miss
    highest = probability.flatten(1).topk(max(1, round(float(said.get("top_share", 0.002)) * logits[0].numel())), dim=1)
    film = highest.values.mean(1).clamp(1e-4, 1 - 1e-4)
    by_film = -(present * film.log() + (1 - present) * (1 - film).log())
    weight = outlined + (1 - outlined) * float(said.get("reported", 0.5))
    return (outlined * by_pixel + float(said.get("image", 0.3)) * weight * by_film).mean()


def looked_at(examples: Sequence[Example], all_: Sequence[Example]) -> list[Example]:
    """Pick the drawn films of the validation part, those reported, and some whose report names none.

    Raises NeedsOperator without a pneumothorax that is drawn, or reported: nothing simulated stands in for it.
    """
    drawn = [one for one in examples if CHANNEL in one.masks]
    reports = [one for one in examples if CHANNEL not in one.masks and one.labels]
    without = _thinned([one for one in reports if LABEL not in one.labels], MOST_CHECKS)
    reported = [one for one in reports if LABEL in one.labels]
    if not any(one.masks[CHANNEL] for one in drawn) and not (reported and without):
        raise lacking("a drawn pneumothorax, or reports with and without one, in the validation part", all_)
    return [*drawn, *without, *reported]


def _check(example: Example, size: int) -> Check:
    image = read_picture(example)
    picture, box = prepare(image, size, pixel_aspect(example, image.shape))
    truth = None
    if CHANNEL in example.masks:
        truth = place(shrink(read_mask(example, CHANNEL).astype(np.float32), box), box) > 0.5
    present = bool(example.masks[CHANNEL]) if CHANNEL in example.masks else LABEL in example.labels
    return Check(image=picture, box=box, truth=truth, present=present)


def _by_source(films: Sequence[Example], recipe: Recipe) -> NDArray[np.float64]:
    """Give each film its chance: a source's weight, shared by its films."""
    weights: Mapping[str, float] = recipe.samples.get("hosts", {})
    sources = [one.source for one in films]
    raw = [float(weights.get(source, 1.0)) / sources.count(source) for source in sources]
    return _renormalised(np.array(raw, dtype=np.float64))


def _renormalised(raw: NDArray[np.float64]) -> NDArray[np.float64]:
    return raw / raw.sum() if raw.sum() > 0 else raw


def _thinned(examples: Sequence[Example], most: int) -> list[Example]:
    """Take `most` of the examples, evenly spread; all where there are no more."""
    if len(examples) <= most:
        return list(examples)
    return [examples[index] for index in np.linspace(0, len(examples) - 1, most).astype(int)]


def _auc(pairs: Sequence[tuple[bool, float]]) -> float | None:
    """Give the area under the curve; None without films of both kinds."""
    truth = [present for present, _ in pairs]
    return float(roc_auc_score(truth, [p for _, p in pairs])) if len(set(truth)) == 2 else None
