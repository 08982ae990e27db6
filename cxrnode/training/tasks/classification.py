"""Hides how classes are learnt: questions with exclusive answers, and weak answers that count for less.

Promises that a film has a say in those questions only that somebody answered for it, and that a source's many films do
not drown another's few: a film's chance falls with the root of how many share its source and its classes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from cxrnode.inference.network import build_network
from cxrnode.pixels.geometry import resample
from cxrnode.pixels.normalise import prepare
from cxrnode.training.augment import Cached, draw_sample
from cxrnode.training.example import Example, read_picture
from cxrnode.training.films import pixel_aspect
from cxrnode.training.options import TrainOptions
from cxrnode.training.recipe import Recipe
from cxrnode.training.samples import CACHED_PER_GRID, thinned
from cxrnode.training.shortfall import Shortfall, refuse_without, sources_of

OPACITIES = frozenset({"nih.Infiltration", "nih.Consolidation", "nih.Pneumonia", "nih.Edema"})
NOTHING = "nih.No Finding"
MOST_CHECKS = 300
"""Films of a question in the quick look: a pick that does not change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """A batch: `images` (N, 1, S, S); `truth` (N, Q) the class's number in each question, -1 unanswered; `weight`."""

    images: NDArray[np.float32]
    truth: NDArray[np.int64]
    weight: NDArray[np.float32]


class Classification:
    """Softmax over each question's classes, on films that somebody classed."""

    def __init__(self, recipe: Recipe, examples: Sequence[Example], options: TrainOptions) -> None:
        """Read and cache the films that answer one of the recipe's questions."""
        self.network = build_network(recipe.network)
        self._recipe, self._options = recipe, options
        self._questions = questions_of(recipe)
        chosen = [one for one in examples if one.source not in recipe.samples.get("leave_out", ())]
        chosen = [one for one in chosen if (answers_of(one, self._questions, recipe)[0] >= 0).any()]
        learnt = thinned([one for one in chosen if one.part == "train"], options.examples)
        self._answers = [answers_of(one, self._questions, recipe) for one in learnt]
        self._checks, instead = quick_look([one for one in chosen if one.part == "validate"], self._questions)
        told, asked = (self._told(part) for part in (learnt, self._checks))
        refuse_without(_choices(told), _choices(asked), _wanted(self._questions), examples)
        self.shortfall = replace(instead, unlearnt=tuple(name for name in recipe.channels if name not in told))
        self._films = tuple(_cached(one, recipe.size) for one in learnt)
        self._chances = chances(learnt, recipe)
        self._shown = np.stack([_prepared(one, recipe.size) for one in self._checks])

    def _told(self, examples: Sequence[Example]) -> set[str]:
        """Name the channels that are the answer of at least one film."""
        columns = [list(one.values()) for one in self._questions.values()]
        truths = (answers_of(one, self._questions, self._recipe)[0] for one in examples)
        numbers = {columns[place][said] for truth in truths for place, said in enumerate(truth) if said >= 0}
        return {self._recipe.channels[number] for number in numbers}

    def counts(self) -> Mapping[str, int]:
        """Films to learn from, and to check on."""
        return {"films": len(self._films), "checks": len(self._checks)}

    def batch(self, number: int) -> Answers:
        """Draw batch `number`."""
        options = self._options
        rng = np.random.default_rng((options.seed, number))
        picks = rng.choice(len(self._films), options.batch, p=self._chances)
        return Answers(
            images=np.stack([self._draw(pick, number, place) for place, pick in enumerate(picks)]),
            truth=np.stack([self._answers[pick][0] for pick in picks]),
            weight=np.stack([self._answers[pick][1] for pick in picks]),
        )

    def _draw(self, pick: int, number: int, place: int) -> NDArray[np.float32]:
        film, size = self._films[pick], self._recipe.size
        if not self._recipe.samples.get("augment", True):
            return prepare(film.layers[0].astype(np.float32) / np.float32(255), size)[0][None]
        return draw_sample(film, size, np.random.default_rng((self._options.seed, number, place))).image

    def loss(self, network: nn.Module, batch: Answers) -> Tensor:
        """Cross-entropy within each question, weighed by film and question."""
        device = next(network.parameters()).device
        images = torch.from_numpy(batch.images).to(device=device, memory_format=torch.channels_last)
        logits = network(images).float()
        truth, weight = torch.from_numpy(batch.truth).to(device), torch.from_numpy(batch.weight).to(device)
        smoothing = float(self._recipe.loss.get("smoothing", 0.0))
        lost = torch.zeros((), device=device)
        for index, columns in enumerate(self._questions.values()):
            each = nn.functional.cross_entropy(
                logits[:, list(columns.values())],
                truth[:, index],
                reduction="none",
                ignore_index=-1,
                label_smoothing=smoothing,
            )
            lost = lost + (each * weight[:, index]).sum()
        return lost / weight.sum().clamp(min=1e-6)

    def validate(self, network: nn.Module) -> Mapping[str, float]:
        """Give each question's macro AUC, one class against the rest, and accuracy; `score` is the mean AUC."""
        device = next(network.parameters()).device
        logits = torch.cat([network(torch.from_numpy(part).to(device)).float() for part in _in_parts(self._shown, 32)])
        said: dict[str, float] = {}
        for index, (question, columns) in enumerate(self._questions.items()):
            truth = np.array([answers_of(one, self._questions, self._recipe)[0][index] for one in self._checks])
            chance = torch.softmax(logits[:, list(columns.values())], 1).cpu().numpy()[truth >= 0]
            said |= _scores(question, truth[truth >= 0], chance)
        areas = [value for key, value in said.items() if key.endswith(" auc")]
        return {"score": float(np.mean(areas)) if areas else 0.0, **said}


def quick_look(examples: Sequence[Example], questions: Iterable[str]) -> tuple[list[Example], Shortfall]:
    """Pick the films of the quick look: of each question, MOST_CHECKS that answer it.

    Those whose report a program read answer too: the person's answers are few, and the mean of an area over a few films
    is chance.
    """
    picked = {one.name: one for question in questions for one in thinned(_answering(examples, question), MOST_CHECKS)}
    if not picked or any(one.classes for one in picked.values()):
        return list(picked.values()), Shortfall()
    instead = "nobody answered for a film of the validation part: checked by labels that a program read from reports"
    return list(picked.values()), Shortfall(instead=instead, sources=sources_of(examples))


def _answering(examples: Sequence[Example], question: str) -> list[Example]:
    return [one for one in examples if question in one.classes or (question == "rsna" and weak_answer(one))]


def _choices(told: set[str]) -> int:
    """Count the answers to questions that were answered in more than one way: one alone teaches nothing."""
    ways = Counter(channel.partition(".")[0] for channel in told)
    return sum(count for count in ways.values() if count > 1)


def _wanted(questions: Mapping[str, Mapping[str, int]]) -> str:
    asked = " or ".join(f"{question} ({', '.join(columns)})" for question, columns in questions.items())
    return f"one of two different answers to {asked}"


def questions_of(recipe: Recipe) -> Mapping[str, Mapping[str, int]]:
    """Give each question's classes with their channels' numbers: a channel is named QUESTION.CLASS."""
    found: dict[str, dict[str, int]] = {}
    for number, channel in enumerate(recipe.channels):
        question, _, name = channel.partition(".")
        found.setdefault(question, {})[name] = number
    return found


def answers_of(
    example: Example, questions: Mapping[str, Mapping[str, int]], recipe: Recipe
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Give a film's class in each question (-1: nobody said) and how much it counts."""
    truth, weight = np.full(len(questions), -1, dtype=np.int64), np.zeros(len(questions), dtype=np.float32)
    asked: Mapping[str, float] = recipe.samples.get("questions", {})
    for index, (question, columns) in enumerate(questions.items()):
        names = list(columns)
        said = example.classes.get(question)
        weak = weak_answer(example) if said is None and question == "rsna" else None
        if (said or weak) in names:
            truth[index] = names.index(str(said or weak))
            share = 1.0 if said else float(recipe.samples.get("weak", 0.0))
            weight[index] = share * float(asked.get(question, 1.0))
    return truth, weight


def weak_answer(example: Example) -> str | None:
    """Read the RSNA question from labels that a program took from a report; None where there are none."""
    if not example.labels:
        return None
    if example.labels.keys() & OPACITIES:
        return "lung_opacity"
    return "normal" if example.labels.get(NOTHING) else "not_normal"


def chances(examples: Sequence[Example], recipe: Recipe) -> NDArray[np.float64]:
    """Give each film its chance of being drawn."""
    keys = [(one.source, tuple(sorted(one.classes.items()))) for one in examples]
    counts, weights = Counter(keys), recipe.samples.get("weights", {})
    raw = np.array([float(weights.get(key[0], 1.0)) / np.sqrt(counts[key]) for key in keys])
    return np.asarray(raw / raw.sum())


def _cached(example: Example, size: int) -> Cached:
    image = read_picture(example)
    aspect = pixel_aspect(example, image.shape)
    rows, cols = image.shape
    scale = CACHED_PER_GRID * size / max(rows * aspect, cols)
    small = resample(image, round(rows * aspect * scale), round(cols * scale))
    layers = np.clip(small * 255 + 0.5, 0, 255).astype(np.uint8)[None]
    return Cached(layers=layers, labelled=np.zeros(0, dtype=np.bool_))


def _prepared(example: Example, size: int) -> NDArray[np.float32]:
    image = read_picture(example)
    return prepare(image, size, pixel_aspect(example, image.shape))[0][None]


def _in_parts(shown: NDArray[np.float32], count: int) -> list[NDArray[np.float32]]:
    return [shown[start : start + count] for start in range(0, len(shown), count)]


def _scores(question: str, truth: NDArray[np.int64], chance: NDArray[np.float32]) -> dict[str, float]:
    if len(truth) == 0:
        return {}
    right = {f"{question} accuracy": float((chance.argmax(1) == truth).mean())}
    classes = [number for number in np.unique(truth) if (truth != number).any()]
    areas = [float(roc_auc_score(truth == number, chance[:, number])) for number in classes]
    return {**right, f"{question} auc": float(np.mean(areas))} if areas else right
