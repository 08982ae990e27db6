"""Hides how a bundle answers for a film that lies in a data set.

Promises that what is examined is what the node runs: the same preparation, the same network from the same bundle, the
same reading of its output, the same way back to the film's own rows and columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrnode.errors import Unsuitable
from cxrnode.inference.bundle import BundleCard, Network
from cxrnode.inference.reading import Answers, FloatArray, answers, box_candidates, map_probability
from cxrnode.pixels.geometry import Letterbox, boxes_to_source
from cxrnode.pixels.normalise import prepare
from cxrnode.training.evaluation.overlap import Boxes
from cxrnode.training.example import Example, read_picture
from cxrnode.training.films import pixel_aspect


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answer:
    """What a bundle said of one picture of `rows` by `cols`: its output as it is, and as its card reads it."""

    raw: FloatArray
    letterbox: Letterbox
    read: Answers


def answer(network: Network, image: FloatArray, aspect: float = 1.0) -> Answer:
    """Examine a display picture (rows, cols). Raises Unsuitable where it is too thin."""
    picture, letterbox = prepare(image, network.card.input_size, aspect)
    raw = network.predict(picture[None, None])[0]
    return Answer(raw=raw, letterbox=letterbox, read=answers(network.card, raw, letterbox))


def answer_all(network: Network, examples: Sequence[Example]) -> Iterator[tuple[Example, Answer]]:
    """Examine films one after the other; a film that is too thin for a model to look at is passed over."""
    for example in examples:
        image = read_picture(example)
        try:
            yield example, answer(network, image, pixel_aspect(example, image.shape))
        except Unsuitable:
            continue


def raw_logits(card: BundleCard, said: Answer) -> dict[str, float]:
    """Give, by channel, the image-level logit to which the card's calibration applies.

    A segmentation's is that of the mean of its highest pixels, a detection's that of its surest box.
    """
    if card.kind == "classification":
        return {name: float(value) for name, value in zip(card.channels, said.raw, strict=True)}
    if card.kind == "detection":
        return {name: float(said.raw[index].max()) for index, name in enumerate(card.labels)}
    return {
        rule.channel: _logit(
            map_probability(said.raw, said.letterbox, card.channels.index(rule.channel), rule.top_share)
        )
        for rule in card.findings
    }


def said_boxes(card: BundleCard, said: Answer, label: str) -> tuple[Boxes, NDArray[np.float64]]:
    """Give all boxes of a label on the film's rows and columns (N, 4), and their probabilities, the surest first."""
    found = [box for box in box_candidates(card, said.raw, said.letterbox) if box.label == label]
    grid = np.array([(b.top, b.left, b.bottom, b.right) for b in found], dtype=np.float32).reshape(-1, 4)
    there = boxes_to_source(grid, said.letterbox)[:, [1, 0, 3, 2]]
    return there.astype(np.float64), np.array([box.probability for box in found], dtype=np.float64)


def _logit(probability: float) -> float:
    inside = min(max(probability, 1e-7), 1 - 1e-7)
    return float(np.log(inside) - np.log1p(-inside))
