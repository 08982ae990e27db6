"""Hides how it is found out whether half precision costs a model anything.

Promises that one set of weights is examined twice on the same pictures the node's way (`answering`): as it was trained
and rounded as a bundle ships it; that every answer is compared film by film, and every measure that needs no operating
point; and that the bundle is left as it is.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cxrnode.errors import NeedsOperator, Unsuitable
from cxrnode.inference.bundle import METADATA, WEIGHTS, BundleCard, Network, read_card
from cxrnode.inference.card import CORNERS, Calibration
from cxrnode.inference.reading import sigmoid
from cxrnode.training.catalogue import read_catalogue
from cxrnode.training.evaluation.answering import Answer, answer
from cxrnode.training.evaluation.examine import Seen, choose, no_film, note, summarise
from cxrnode.training.evaluation.gate import is_gate, points_of, sampled, try_films
from cxrnode.training.evaluation.report import Report, Tell, markdown
from cxrnode.training.evaluation.shortcuts import verdicts
from cxrnode.training.example import Example, read_picture
from cxrnode.training.films import pixel_aspect
from cxrnode.training.trainer import halved

MOST_LOST = 0.001
"""Of a measure, all of which reach from 0 to 1: a tenth or less of what their intervals leave open."""
MOST_CHANGED = 1 / 200
"""Share of pictures of which an answer may change: one that lay on the point itself."""

State = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What halving changed on one picture.

    `probability`: the most that any probability moved; `pixels`: the largest share of the picture that went to the
    other side of a mask's edge; `corner`: the most that a drawn box's edge moved, in pixels of the input; `changed`:
    whether an answer in words, or the number of boxes, is another.
    """

    picture: str
    probability: float
    pixels: float = 0.0
    corner: float = 0.0
    changed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One number by both; higher is better."""

    name: str
    full: float
    half: float

    @property
    def lost(self) -> float:
        """What halving took away; less than nothing where it gave."""
        return self.full - self.half


@dataclass(frozen=True, slots=True, kw_only=True)
class Halving:
    """What `try_halving` found. `shipped`: whether the halved weights are the very ones in the bundle."""

    name: str
    digest: str
    part: str
    shipped: bool
    measures: tuple[Measure, ...]
    differences: tuple[Difference, ...]

    @property
    def changed(self) -> tuple[str, ...]:
        """The pictures of which an answer changed."""
        return tuple(one.picture for one in self.differences if one.changed)

    @property
    def passed(self) -> bool:
        """Whether halving costs nothing: no measure falls by more than MOST_LOST, no more answers change than may."""
        lost = max((one.lost for one in self.measures), default=0.0)
        return lost <= MOST_LOST and len(self.changed) <= MOST_CHANGED * len(self.differences)

    def largest(self) -> dict[str, float]:
        """Give the largest difference of each sort over all pictures."""
        sorts = ("probability", "pixels", "corner")
        return {sort: max((getattr(one, sort) for one in self.differences), default=0.0) for sort in sorts}

    def as_json(self) -> dict[str, Any]:
        """Give what was found as values that JSON knows."""
        return {**asdict(self), "largest": self.largest(), "changed": self.changed, "passed": self.passed}

    def table(self) -> str:
        """Give what was found as Markdown and a sentence or two."""
        rows = [(one.name, f"{one.full:.5f}", f"{one.half:.5f}", f"{-one.lost:+.5f}") for one in self.measures]
        largest = self.largest()
        told = [
            markdown(("measure", "as trained", "halved", "difference"), rows),
            f"{len(self.differences)} pictures of the {self.part} part. The largest difference of any probability is "
            f"{largest['probability']:.2g}, of a mask {largest['pixels']:.2g} of the picture, of a box's edge "
            f"{largest['corner']:.2g} pixels of the input. "
            f"An answer changed on {len(self.changed)}: {', '.join(self.changed) or 'none'}.",
            f"The halved weights are {'' if self.shipped else 'not '}those in the bundle.",
            f"Half precision {'costs nothing' if self.passed else 'COSTS SOMETHING'}.",
        ]
        return "\n\n".join(part for part in told if part)


def try_halving(
    data: Path,
    *,
    bundle: Path,
    weights: Path,
    part: str = "validate",
    device: str = "cpu",
    threads: int = 2,
    report: Tell = lambda line: None,
) -> Halving:
    """Examine a bundle's network with `weights` (best-full.pt or checkpoint.pt of a run) and with their halves.

    Raises NeedsOperator where the weights are not of this network or halved already, or the part has no film for it.
    """
    card, state = read_card(bundle), read_weights(weights)
    half = halved(state)
    _check(state, half, weights)
    with tempfile.TemporaryDirectory() as made:
        folders = [rewritten(bundle, each, Path(made) / name) for name, each in (("full", state), ("half", half))]
        pair = [Network.load(folder, device, threads) for folder in folders]
        measures, found = (_gate if is_gate(card) else _films)(pair, read_catalogue(data), part, report)
    if not found:
        raise no_film(card.name, part)
    return Halving(
        name=card.name,
        digest=card.digest,
        part=part,
        shipped=_same(half, read_weights(bundle / WEIGHTS)),
        measures=measures,
        differences=found,
    )


def read_weights(path: Path) -> State:
    """Read a state dict: a file of its own, a bundle's, or the averaged weights of a run's checkpoint."""
    try:
        kept: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, pickle.UnpicklingError, RuntimeError, EOFError) as cause:
        raise NeedsOperator("the weights cannot be read", operation="halving", subject=path.name) from cause
    for key in ("averaged", "model"):
        if isinstance(kept.get(key), dict):
            kept = kept[key]
    return kept


def _check(full: State, half: State, path: Path) -> None:
    said = {"operation": "halving", "subject": path.name, "hint": "docs/training.md, Measuring half precision"}
    if any(tensor.dtype == torch.float16 for tensor in full.values()):
        raise NeedsOperator("these weights are halved already", **said)
    beyond = [name for name, tensor in half.items() if not torch.isfinite(tensor).all()]
    if beyond:
        raise NeedsOperator(f"half precision cannot hold {beyond[0]}", **said)


def _same(one: State, other: State) -> bool:
    return one.keys() == other.keys() and all(
        one[name].dtype == other[name].dtype and torch.equal(one[name], other[name]) for name in one
    )


def rewritten(bundle: Path, state: State, folder: Path) -> Path:
    """Write a copy of a bundle with other weights, pinned anew, into `folder`; gives it."""
    shutil.copytree(bundle / METADATA.parent, folder / METADATA.parent)
    (folder / WEIGHTS).parent.mkdir(parents=True)
    torch.save(dict(state), folder / WEIGHTS)
    metadata = json.loads((folder / METADATA).read_text(encoding="utf-8"))
    metadata["cxrnode"]["weights_sha256"] = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    (folder / METADATA).write_text(json.dumps(metadata), encoding="utf-8")
    return folder


def _films(
    pair: Sequence[Network], examples: Sequence[Example], part: str, report: Tell
) -> tuple[tuple[Measure, ...], tuple[Difference, ...]]:
    card = pair[0].card
    chosen, seen, found = choose(card, examples, part), (Seen(), Seen()), []
    for number, (example, said) in enumerate(_answers(pair, chosen), 1):
        for each, one in zip(seen, said, strict=True):
            note(each, card, example, one)
        found.append(difference(card, f"{example.source} {example.name}", *said))
        report({"event": "film", "done": number, "of": len(chosen)})
    full, half = (measures_of(summarise(card, part, each, len(chosen), 0)) for each in seen)
    return tuple(Measure(name=name, full=full[name], half=half[name]) for name in full), tuple(found)


def _answers(pair: Sequence[Network], chosen: Sequence[Example]) -> Iterator[tuple[Example, list[Answer]]]:
    for example in chosen:
        image = read_picture(example)
        try:
            yield example, [answer(network, image, pixel_aspect(example, image.shape)) for network in pair]
        except Unsuitable:
            continue


def measures_of(report: Report) -> dict[str, float]:
    """Give the measures that need no operating point: Dice, macro AUC, AUC, mean average precision."""
    found = {f"Dice, {name}, {one.source}": dice.mean for one in report.sources for name, dice in one.dice.items()}
    # Of several reports on one question the first is on all films, the others are on a source each.
    for question in report.questions:
        if question.macro_auc is not None:
            found.setdefault(f"macro AUC, {question.question}", question.macro_auc.value)
    for finding in report.findings:
        if finding.auc is not None:
            found.setdefault(f"AUC, {finding.stated.finding}, truth by {finding.by}", finding.auc.value)
    for boxes in report.boxes:
        if boxes.mean_precision is not None:
            found[f"mAP 0.40 to 0.75, {boxes.label}"] = boxes.mean_precision.value
    return found


def difference(card: BundleCard, picture: str, full: Answer, half: Answer) -> Difference:
    """Compare all that two networks said of one picture."""
    said = [
        [*one.read.probabilities.values(), *(score.probability for score in one.read.scores)] for one in (full, half)
    ]
    words = [(verdicts(card, one), len(one.read.boxes)) for one in (full, half)]
    return Difference(
        picture=picture,
        probability=max((abs(one - other) for one, other in zip(*said, strict=True)), default=0.0),
        pixels=_pixels(card, full, half) if card.kind == "segmentation" else 0.0,
        corner=_corner(card, full, half) if card.kind == "detection" else 0.0,
        changed=words[0] != words[1],
    )


def _pixels(card: BundleCard, full: Answer, half: Answer) -> float:
    box, points = full.letterbox, np.array(card.thresholds, dtype=np.float32)[:, None, None]
    moved = (full.raw >= points) != (half.raw >= points)
    return float(moved[:, box.top : box.top + box.height, box.left : box.left + box.width].mean(axis=(1, 2)).max())


def _corner(card: BundleCard, full: Answer, half: Answer) -> float:
    """Give the most that an edge moved of the candidates which are sure enough to be drawn; their places are fixed."""
    moved = np.abs(full.raw[-len(CORNERS) :] - half.raw[-len(CORNERS) :]).max(axis=0)
    drawn = np.zeros(len(moved), dtype=bool)
    for index, label in enumerate(card.labels):
        calibration, point = card.calibration.get(label, Calibration()), card.operating_points[label]
        drawn |= np.array([sigmoid(calibration.logit(float(z))) >= point for z in full.raw[index]])
    return float(moved[drawn].max(initial=0.0))


def _gate(
    pair: Sequence[Network], examples: Sequence[Example], part: str, report: Tell
) -> tuple[tuple[Measure, ...], tuple[Difference, ...]]:
    """Compare the gate on sound films and on made defects, by their answers alone: it has no measure without points."""
    points, chosen = points_of(pair[0].card), sampled(examples, part)
    both = zip(*(try_films(network, chosen, report) for network in pair), strict=True)
    found = tuple(
        Difference(
            picture=f"{full.source} {full.name}, {full.made}",
            probability=max(abs(full.said[name] - half.said[name]) for name in points),
            changed=any((full.said[name] >= point) != (half.said[name] >= point) for name, point in points.items()),
        )
        for full, half in both
    )
    return (), found
