"""Hides how the gate is trained: sound films of every source, and what is made of them.

Promises samples that are functions of (films, recipe, seed, number), that end in `prepare` as every picture of the
node does, and that a question nobody can answer of a picture has no say. Age is known from the film's own record, or
from a source whose films are all of children or all of adults; the years between CHILD_BELOW and ADULT_FROM are not
learnt from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from cxrnode.errors import Unsuitable
from cxrnode.inference.network import build_network
from cxrnode.pixels.geometry import resample
from cxrnode.pixels.normalise import prepare
from cxrnode.training.augment import CHANGES
from cxrnode.training.defects import SIDE, Picture, frontal, inverted, look, requality, sound_view, stranger
from cxrnode.training.example import Example, read_picture
from cxrnode.training.films import pixel_aspect
from cxrnode.training.options import TrainOptions
from cxrnode.training.recipe import Recipe
from cxrnode.training.shortfall import Shortfall, refuse_without

FloatArray = NDArray[np.float32]
Generator = np.random.Generator

QUESTIONS = ("not_frontal", "inverted", "mirrored", "child")
CHILD_BELOW, ADULT_FROM = 10, 18
"""Years. A film of a younger patient is a child's, of an older one an adult's; between them nobody has a say."""
CHILDREN = ("kermany", "viral_pneumonia")
ADULTS = ("jsrt", "shenzhen")
"""Sources without ages whose films are of children (1 to 5 years), or of adults but for a few."""
MOST_CHECKS = 100
"""Films of the quick look; each gives four pictures."""
_AGE = {True: "child", False: "adult", None: "unknown"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A film in memory: `image` (rows, cols) uint8 with square pixels, its group, and whether a child's, if known."""

    image: NDArray[np.uint8]
    group: str
    child: bool | None

    def film(self) -> FloatArray:
        """Give the film as 0..1."""
        return self.image.astype(np.float32) / np.float32(255)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """`images` (N, 1, S, S), `answers` (N, Q) and `asked` (N, Q), float32, in the order of the recipe's channels."""

    images: FloatArray
    answers: FloatArray
    asked: FloatArray


def is_child(example: Example) -> bool | None:
    """Say whether a film is a child's; None where nobody knows, or where it lies between."""
    if example.age is not None and 0 < example.age <= 100:
        return True if example.age < CHILD_BELOW else False if example.age >= ADULT_FROM else None
    return True if example.source in CHILDREN else False if example.source in ADULTS else None


def group_of(example: Example) -> str:
    """Name a film's source and age: what the recipe's shares and weights are stated for."""
    return f"{example.source} {_AGE[is_child(example)]}"


def keep(example: Example) -> Kept:
    """Read a film and shrink it to square pixels, the longer side SIDE at most."""
    image = read_picture(example)
    aspect = pixel_aspect(example, image.shape)
    rows, cols = image.shape[0] * aspect, float(image.shape[1])
    scale = min(1.0, SIDE / max(rows, cols))
    small = resample(image, max(16, round(rows * scale)), max(16, round(cols * scale)))
    gray = (np.clip(small, 0, 1) * 255 + 0.5).astype(np.uint8)
    return Kept(image=gray, group=group_of(example), child=is_child(example))


def learnable(examples: Sequence[Example], recipe: Recipe) -> list[Example]:
    """Pick whole films of the sources and groups that the recipe does not leave out, at most `most` of a group.

    Which of more are taken is a matter of their names alone. Crops cut from figures are not frontal films to learn
    from.
    """
    most, left_out = int(recipe.samples.get("most", 10**9)), tuple(recipe.samples.get("leave_out", ()))
    groups: dict[str, list[Example]] = {}
    for example in sorted(examples, key=lambda one: (one.source, one.name)):
        if not {example.source, group_of(example)} & set(left_out) and "crop" not in example.source:
            groups.setdefault(group_of(example), []).append(example)
    return [one for group in groups.values() for one in group[:: -(-len(group) // most)]]


def draw_picture(films: Sequence[Kept], picks: Sequence[int], recipe: Recipe, rng: Generator) -> Picture:
    """Make one picture from two picked films: the first as it is or with a defect, or what is no chest film."""
    shares = recipe.samples["defects"]
    first, second = (films[pick] for pick in picks)
    black = bool(rng.random() < shares["inverted"])
    if rng.random() < shares["not_frontal"]:
        image, answers = stranger((first.film(), second.film()), rng), {"not_frontal": True}
    else:
        mirrored = bool(rng.random() < shares["mirrored"])
        image = frontal(first.film(), rng, mirrored)
        answers = {"not_frontal": False, "inverted": black, "mirrored": mirrored}
        answers |= {} if first.child is None else {"child": first.child}
    return Picture(image=_as_it_arrives(image, black, rng), answers=answers)


def _as_it_arrives(image: FloatArray, black: bool, rng: Generator) -> FloatArray:
    """Change gray values, quality and borders; an inversion comes before or after all that."""
    early = rng.random() < 0.5
    image = inverted(image) if black and early else image
    for probability, change in CHANGES:
        if rng.random() < probability:
            image = change(image, rng)
    image = requality(image, rng) if rng.random() < 0.5 else image
    image = _bordered(image, rng) if rng.random() < 0.3 else image
    return inverted(image) if black and not early else np.clip(image, 0.0, 1.0)


def _bordered(image: FloatArray, rng: Generator) -> FloatArray:
    """Lay a border of one value around a picture, on some of its sides."""
    widths = (rng.uniform(0, 0.12, size=(2, 2)) * (rng.random((2, 2)) < 0.6) * SIDE).astype(int)
    return np.pad(image, widths, constant_values=float(rng.choice([0.0, 1.0, rng.uniform()], p=[0.7, 0.15, 0.15])))


class GateTask:
    """Trains the gate: binary cross-entropy of the questions that may be asked of each picture."""

    def __init__(self, recipe: Recipe, examples: Sequence[Example], options: TrainOptions) -> None:
        """Read the films of both parts into memory: some 60 kB each."""
        self.network = build_network(recipe.network)
        self._recipe, self._options = recipe, options
        chosen = learnable(examples, recipe)
        learnt = [one for one in chosen if one.part == "train"]
        held = [one for one in chosen if one.part == "validate"]
        refuse_without(len(learnt), len(held), "a whole frontal chest", examples)
        # One age alone tells nothing apart.
        ages = {is_child(one) for one in learnt}
        self.shortfall = Shortfall(unlearnt=() if {True, False} <= ages else ("child",))
        self._films = [keep(one) for one in learnt[:: -(-len(learnt) // (options.examples or len(learnt)))]]
        self._chances = _chances(self._films, recipe.samples.get("weights", {}))
        self._checks = checks(held[:: -(-len(held) // MOST_CHECKS)], recipe)

    def batch(self, number: int) -> Batch:
        """Draw batch `number` of the run."""
        seed, count = self._options.seed, self._options.batch
        picks = np.random.default_rng((seed, number)).choice(len(self._films), (count, 2), p=self._chances)
        return gather(
            [
                draw_picture(self._films, pair, self._recipe, np.random.default_rng((seed, number, place)))
                for place, pair in enumerate(picks)
            ],
            self._recipe,
        )

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """Give the mean cross-entropy of what was asked."""
        device = next(network.parameters()).device
        images, answers, asked = (
            torch.from_numpy(plane).to(device) for plane in (batch.images, batch.answers, batch.asked)
        )
        smoothing = float(self._recipe.loss.get("smoothing", 0.0))
        wanted = answers * (1 - smoothing) + smoothing / 2
        logits = network(images.to(memory_format=torch.channels_last)).float()
        entropy = nn.functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
        return (entropy * asked).sum() / asked.sum().clamp(min=1.0)

    def validate(self, network: nn.Module) -> Mapping[str, float]:
        """Give each question's area under the curve and its sensitivity at 99% specificity; score is their mean."""
        logits = _run(network, self._checks.images)
        scores: dict[str, float] = {}
        for index, name in enumerate(self._recipe.channels):
            asked = self._checks.asked[:, index] > 0
            truth, said = self._checks.answers[asked, index] > 0, logits[asked, index]
            if truth.any() and not truth.all():
                scores[f"{name} auc"] = float(roc_auc_score(truth, said))
                scores[f"{name} sensitivity"] = float((said[truth] > np.quantile(said[~truth], 0.99)).mean())
        return {"score": float(np.mean(list(scores.values()) or [0.0])), **scores}

    def counts(self) -> Mapping[str, int]:
        """Say how many films there are of children, of adults and of nobody knows, and how many pictures to check."""
        said = [film.child for film in self._films]
        ages = {"children": said.count(True), "adults": said.count(False), "age unknown": said.count(None)}
        return {"films": len(said), **ages, "checks": len(self._checks.images)}


def gather(pictures: Sequence[Picture], recipe: Recipe) -> Batch:
    """Prepare pictures as the node does and put them together. A picture too thin to prepare is left black."""
    return Batch(
        images=np.stack([_fed(picture.image, recipe.size) for picture in pictures])[:, None],
        answers=np.array([[float(p.answers.get(q, False)) for q in recipe.channels] for p in pictures], np.float32),
        asked=np.array([[float(q in p.answers) for q in recipe.channels] for p in pictures], np.float32),
    )


def _fed(image: FloatArray, size: int) -> FloatArray:
    try:
        return prepare(np.ascontiguousarray(image, dtype=np.float32), size)[0]
    except Unsuitable:
        return np.zeros((size, size), dtype=np.float32)


def checks(examples: Sequence[Example], recipe: Recipe) -> Batch:
    """Make the pictures to check: each film as it is, mirrored, inverted, and one stranger, always the same."""
    pictures: list[Picture] = []
    films = [keep(example) for example in examples]
    for place, kept in enumerate(films):
        rng = np.random.default_rng((place, 0))
        film, other = kept.film(), films[place - 1].film()
        plain = {"not_frontal": False, "inverted": False, "mirrored": False}
        plain |= {} if kept.child is None else {"child": kept.child}
        tilted = look(film, sound_view(rng))
        pictures += [
            Picture(image=film, answers=plain),
            Picture(image=np.ascontiguousarray(tilted[:, ::-1]), answers={"not_frontal": False, "mirrored": True}),
            Picture(image=inverted(film), answers={"not_frontal": False, "inverted": True}),
            Picture(image=stranger((film, other), rng), answers={"not_frontal": True}),
        ]
    return gather(pictures, recipe)


def _chances(films: Sequence[Kept], weights: Mapping[str, Any]) -> NDArray[np.float64]:
    """Give each film its chance: a group's share grows with the root of its size, and with the recipe's weight."""
    groups = [film.group for film in films]
    sizes = {group: groups.count(group) for group in set(groups)}
    raw = np.array([float(weights.get(group, 1.0)) / sizes[group] ** 0.5 for group in groups])
    return np.asarray(raw / raw.sum())


@torch.inference_mode()
def _run(network: nn.Module, images: FloatArray) -> FloatArray:
    device = next(network.parameters()).device
    parts = [
        network(torch.from_numpy(part).to(device)).float().cpu().numpy()
        for part in np.array_split(images, max(1, len(images) // 32))
    ]
    return np.concatenate(parts)
