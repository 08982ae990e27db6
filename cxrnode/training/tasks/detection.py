"""Hides how boxes are learnt: which films have them, which surely have none, which are only said to.

Promises that a film is learnt from as far as it is known: boxes where somebody drew them, the absence of others where
somebody looked, and for all other films a probability that their weak labels have earned on films of the training part
that were looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from cxrnode.inference.card import BoxRule, read_box_rule
from cxrnode.inference.detector import ChestDetector
from cxrnode.inference.network import build_network
from cxrnode.inference.reading import standing
from cxrnode.pixels.geometry import Letterbox, boxes_to_grid
from cxrnode.pixels.normalise import prepare
from cxrnode.training.box_loss import BoxWeights, Truths, box_loss
from cxrnode.training.boxes import BoxSample, BoxTruth, Readers, cache_boxes, draw_boxes, true_boxes
from cxrnode.training.evaluation.detection import Boxed, best_point, mean_precision
from cxrnode.training.example import Example, read_picture
from cxrnode.training.films import pixel_aspect
from cxrnode.training.options import TrainOptions
from cxrnode.training.recipe import Recipe
from cxrnode.training.shortfall import Shortfall, refuse_without, sources_of

FloatArray = NDArray[np.float32]
Known = tuple[Example, BoxTruth]

NOTHING = BoxTruth(boxes=(), whole=True, probability=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxBatch:
    """`images` (N, 1, S, S); for each film its boxes (M, 4); (N,) whether they are all; (N,) the probability of any."""

    images: FloatArray
    boxes: tuple[FloatArray, ...]
    whole: NDArray[np.bool_]
    probability: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxCheck:
    """A prepared validation film (S, S), where it lies on it, its true boxes (M, 4) there, and whether it has any."""

    name: str
    source: str
    patient: str
    image: FloatArray
    letterbox: Letterbox
    boxes: FloatArray
    present: bool


class Detection:
    """Boxes of one label on films that readers looked at, and on films with weak labels."""

    network: nn.Module

    def __init__(self, recipe: Recipe, examples: Sequence[Example], options: TrainOptions) -> None:
        """Read and cache the films.

        Raises ValueError where the recipe's network draws no boxes, KeyError where it does not say when two are one.
        """
        self.network = build_network(recipe.network)
        if not isinstance(self.network, ChestDetector):
            raise ValueError("this kind of training needs a network that draws boxes")
        self._recipe, self._options = recipe, options
        self._weights = BoxWeights(**recipe.loss)
        self._rule = read_box_rule(recipe.own["detection"])
        read, self.shortfall = _known(recipe, examples)
        known = with_weak_labels(read)
        kinds = _kinds([one for one in known if one[0].part == "train"], options.examples)
        shown = [one for one in known if one[0].part == "validate" and one[1].boxes]
        refuse_without(len(kinds["boxed"]), len(shown), _wanted(recipe), examples)
        self._films = tuple(cache_boxes(*one, recipe.size) for films in kinds.values() for one in films)
        self._counts = {kind: len(films) for kind, films in kinds.items()}
        self._chances = _chances(self._counts, recipe.samples.get("kinds", {}))
        looked = [one for one in known if one[0].part == "validate" and one[1].probability in (0.0, 1.0)]
        self._checks = tuple(prepare_check(*one, recipe.size) for one in looked)

    def counts(self) -> Mapping[str, int]:
        """Films to learn from by how well they are known, and to check on."""
        return {**self._counts, "checks": len(self._checks)}

    def batch(self, number: int) -> BoxBatch:
        """Draw batch `number`."""
        options, recipe = self._options, self._recipe
        picks = np.random.default_rng((options.seed, number)).choice(len(self._films), options.batch, p=self._chances)
        mirror, gray = float(recipe.samples.get("mirror", 0.0)), float(recipe.samples.get("gray", 1.0))
        return stack_boxes(
            [
                draw_boxes(
                    self._films[pick], recipe.size, np.random.default_rng((options.seed, number, place)), mirror, gray
                )
                for place, pick in enumerate(picks)
            ]
        )

    def loss(self, network: nn.Module, batch: BoxBatch) -> Tensor:
        """Focal loss of the candidates, overlap of their corners, cross entropy of the films."""
        assert isinstance(network, ChestDetector)
        device = network.anchors.device
        images = torch.from_numpy(batch.images).to(device=device, memory_format=torch.channels_last)
        truths = Truths(
            boxes=[torch.from_numpy(boxes).to(device) for boxes in batch.boxes],
            whole=torch.from_numpy(batch.whole).to(device),
            probability=torch.from_numpy(batch.probability).to(device),
        )
        return box_loss(network, network.said(images), truths, self._weights)

    def validate(self, network: nn.Module) -> Mapping[str, float]:
        """Give RSNA's mean precision at its best point and the area under the curve of any box; `score` is their mean.

        The point is chosen on the very films it is measured on, so the precision compares checkpoints and no more.
        """
        films = [look(network, check, self._rule) for check in self._checks]
        precision = mean_precision(films, best_point(films))
        area = _area([check.present for check in self._checks], [_highest(film) for film in films])
        mean = 0.0 if precision is None else precision.value
        return {"score": (area + mean) / 2, "mean_precision": mean, "auc": area}


def _known(recipe: Recipe, examples: Sequence[Example]) -> tuple[list[Known], Shortfall]:
    left_out = recipe.samples.get("leave_out", ())
    used = [one for one in examples if one.source not in left_out and (one.boxes is not None or one.labels)]
    otherwise: Mapping[str, Any] = recipe.samples.get("otherwise", {})
    if _drew(used, _counting(recipe.samples)) or not _drew(used, _counting(otherwise)):
        return _read_by(recipe.samples, recipe, used), Shortfall()
    clear, there = str(otherwise.get("clear", "")), ", ".join(_drew(used, _counting(otherwise)))
    instead = f"none of {', '.join(_counting(recipe.samples))} drew boxes: those of {there} count"
    instead += f", and films whose report says {clear} count as without" if clear else ""
    known = [
        (one, NOTHING if np.isnan(truth.probability) and one.labels.get(clear) else truth)
        for one, truth in _read_by(otherwise, recipe, used)
    ]
    return known, Shortfall(instead=instead, sources=sources_of(used))


def _read_by(said: Mapping[str, Any], recipe: Recipe, examples: Sequence[Example]) -> list[Known]:
    readers = Readers(counts=_counting(said), unsure=said.get("unsure", {}), answer=recipe.channels[0])
    return [(one, true_boxes(one, readers)) for one in examples]


def _counting(said: Mapping[str, Any]) -> Mapping[str, Sequence[str]]:
    """Give the readers with the labels of theirs that count."""
    return {reader: labels for reader, labels in said.get("counts", {}).items() if labels}


def _drew(examples: Sequence[Example], readers: Mapping[str, Sequence[str]]) -> list[str]:
    """Name the readers who drew a box that counts, on any film."""
    drawn = {(box.drawn_by, box.label) for one in examples for box in one.boxes or ()}
    return [reader for reader, labels in readers.items() if any((reader, label) in drawn for label in labels)]


def _wanted(recipe: Recipe) -> str:
    readers = {**_counting(recipe.samples.get("otherwise", {})), **_counting(recipe.samples)}
    return "a box by " + " or ".join(f"{reader} ({', '.join(labels)})" for reader, labels in readers.items())


def with_weak_labels(known: Sequence[Known]) -> list[Known]:
    """Give every film that nobody looked at the probability that its most telling weak label has earned.

    A label earns the share of its films in the training part that had what is looked for (with one more film of either
    kind, for labels that few have). What counts as weak is set apart from 0 and 1 by that. Films without a label that
    was seen there are left out.
    """
    earned: dict[str, list[float]] = {}
    for example, truth in known:
        if example.part == "train" and truth.probability in (0.0, 1.0):
            for name in (name for name, said in example.labels.items() if said):
                earned.setdefault(name, [0.0, 1.0]).append(truth.probability)
    rates = {name: float(np.mean(films)) for name, films in earned.items()}
    told = [
        (one, truth, [rates[name] for name, said in one.labels.items() if said and name in rates])
        for one, truth in known
    ]
    return [
        (one, replace(truth, probability=max(found)) if np.isnan(truth.probability) else truth)
        for one, truth, found in told
        if found or not np.isnan(truth.probability)
    ]


def _kinds(known: Sequence[Known], most: int | None) -> dict[str, list[Known]]:
    """Sort films: with boxes, looked at and without, and those of which only a weak label tells."""
    kinds: dict[str, list[Known]] = {"boxed": [], "clear": [], "weak": []}
    share = 1.0 if most is None else min(1.0, most / max(1, len(known)))
    for one in known:
        kinds["boxed" if one[1].boxes else "clear" if one[1].whole else "weak"].append(one)
    return {kind: films[: max(1, round(share * len(films)))] for kind, films in kinds.items()}


def _chances(counts: Mapping[str, int], shares: Mapping[str, float]) -> NDArray[np.float64]:
    """Give each film its chance: a kind's share of what is drawn, by default its share of the films."""
    each = [np.full(count, shares.get(kind, float(count)) / max(1, count)) for kind, count in counts.items()]
    raw = np.concatenate(each)
    return np.asarray(raw / raw.sum())


def stack_boxes(samples: Sequence[BoxSample]) -> BoxBatch:
    """Put samples together into one batch."""
    return BoxBatch(
        images=np.stack([one.image for one in samples]),
        boxes=tuple(one.boxes for one in samples),
        whole=np.array([one.whole for one in samples]),
        probability=np.array([one.probability for one in samples], dtype=np.float32),
    )


def prepare_check(example: Example, truth: BoxTruth, size: int) -> BoxCheck:
    """Prepare a film as the node does, and bring its boxes onto the grid."""
    picture = read_picture(example)
    image, letterbox = prepare(picture, size, pixel_aspect(example, picture.shape))
    corners = [(box.top, box.left, box.bottom, box.right) for box in truth.boxes]
    boxes = boxes_to_grid(np.array(corners, dtype=np.float32).reshape(-1, 4), letterbox)
    return BoxCheck(
        name=example.name,
        source=example.source,
        patient=example.patient,
        image=image,
        letterbox=letterbox,
        boxes=boxes[:, [1, 0, 3, 2]],
        present=truth.probability == 1.0,
    )


def look(network: nn.Module, check: BoxCheck, rule: BoxRule) -> Boxed:
    """Let the network draw its boxes on a validation film, the surest first, as the node would choose them."""
    device = next(network.parameters()).device
    image = torch.from_numpy(check.image[None, None]).to(device=device, memory_format=torch.channels_last)
    with torch.inference_mode():
        answer = network(image)[0].float().cpu().numpy()
    boxes, logits = standing(answer[1:].T, answer[0], check.letterbox, rule)
    return Boxed(
        name=check.name,
        source=check.source,
        patient=check.patient,
        truth=check.boxes.astype(np.float64),
        said=boxes.astype(np.float64),
        probabilities=expit(logits.astype(np.float64)),
    )


def _highest(film: Boxed) -> float:
    return float(film.probabilities.max()) if len(film.probabilities) else 0.0


def _area(present: Sequence[bool], scores: Sequence[float]) -> float:
    """Give the area under the ROC curve; a half where films of one kind only are there."""
    return float(roc_auc_score(present, scores)) if len(set(present)) == 2 else 0.5
