"""Hides how lungs and heart are learnt: which films, which channels somebody drew, Dice and cross-entropy.

Promises that a channel that nobody drew on a film has no say there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from cxrnode.domain.measurement import cleaned
from cxrnode.inference.bundle import Network
from cxrnode.inference.network import build_network
from cxrnode.pixels.geometry import restore
from cxrnode.pixels.normalise import prepare
from cxrnode.training.example import Example, is_drawn
from cxrnode.training.films import Film, read_film
from cxrnode.training.hosts import lungs_network
from cxrnode.training.options import TrainOptions
from cxrnode.training.recipe import Recipe
from cxrnode.training.samples import Batch, draw_batch, fill_shelf, thinned
from cxrnode.training.shortfall import Shortfall, named_or_all, refuse_without
from cxrnode.training.validation import score_on_grid, shelve_checks


class Segmentation:
    """Masks on films whose structures somebody drew."""

    def __init__(self, recipe: Recipe, examples: Sequence[Example], options: TrainOptions) -> None:
        """Read and cache the films of the sources that the recipe weighs."""
        self.network = build_network(recipe.network)
        self._recipe, self._options = recipe, options
        chosen, shortfall = learnt_from(recipe, examples)
        learnt = thinned([one for one in chosen if one.part == "train"], options.examples)
        checks = [one for one in chosen if one.part == "validate"]
        refuse_without(len(learnt), len(checks), f"a drawn {' or '.join(recipe.channels)}", examples)
        self.shortfall = replace(shortfall, unlearnt=undrawn(recipe, learnt))
        read = reader_of(recipe, options.bundles)
        self._shelf = fill_shelf(((read(one), one.source) for one in learnt), recipe.size)
        self._checks = shelve_checks(((read(one), one.source) for one in checks), recipe.size)

    def counts(self) -> Mapping[str, int]:
        """Films to learn from, and to check on."""
        return {"films": len(self._shelf.films), "checks": len(self._checks)}

    def batch(self, number: int) -> Batch:
        """Draw batch `number`."""
        return draw_batch(self._shelf, self._recipe, self._options.batch, self._options.seed, number)

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """Soft Dice plus cross-entropy, by the recipe's weights."""
        device = next(network.parameters()).device
        images = torch.from_numpy(batch.images).to(device=device, memory_format=torch.channels_last)
        truth, labelled = (torch.from_numpy(each).to(device) for each in (batch.truth, batch.labelled))
        said = self._recipe.loss
        return masked_loss(
            network(images).float(), truth, labelled, float(said.get("dice", 1.0)), float(said.get("entropy", 2.0))
        )

    def validate(self, network: nn.Module) -> Mapping[str, float]:
        """Give the Dice coefficients by source and channel; `score` is their mean."""
        scores = score_on_grid(network, self._checks, self._recipe, next(network.parameters()).device)
        return {"score": float(np.mean(list(scores.values()))), **scores}


def reader_of(recipe: Recipe, bundles: Path | None) -> Callable[[Example], Film]:
    """Give what reads a film and its truth.

    Of the sources in the recipe's `less_the_heart`, whose lungs were drawn with the part behind the heart, what the
    lungs' bundle sees as heart is no lung: that makes one convention of two. Raises NeedsOperator where the bundle
    cannot be used.
    """
    sources = recipe.samples.get("less_the_heart", ())
    if not sources:
        return lambda example: read_film(example, recipe.channels)
    network = lungs_network((bundles or Path("models")) / "lungs")

    def read(example: Example) -> Film:
        film = read_film(example, recipe.channels)
        return less_the_heart(film, network) if example.source in sources else film

    return read


def less_the_heart(film: Film, network: Network) -> Film:
    """Take what a network sees as heart, and crumbs that it leaves beside it, out of a film's truth."""
    picture, box = prepare(film.image, network.card.input_size, film.pixel_aspect)
    said = network.predict(picture[None, None])[0][[network.card.channels.index("heart")]]
    left = film.truth & (restore(said, box) < 0.5)
    return replace(film, truth=np.stack([cleaned(channel) for channel in left]))


def learnt_from(recipe: Recipe, examples: Sequence[Example]) -> tuple[list[Example], Shortfall]:
    """Pick the examples with a drawn channel, of the sources that the recipe weighs.

    Of all where it weighs none, or where the folder has none of those.
    """
    weights, left_out = recipe.samples.get("weights", {}), recipe.samples.get("leave_out", ())
    drawn = [
        one for one in examples if any(is_drawn(one, name) for name in recipe.channels) and one.source not in left_out
    ]
    return named_or_all(drawn, weights)


def undrawn(recipe: Recipe, examples: Sequence[Example]) -> tuple[str, ...]:
    """Name the channels that nobody drew on any of these films."""
    return tuple(name for name in recipe.channels if not any(is_drawn(one, name) for one in examples))


def masked_loss(logits: Tensor, truth: Tensor, labelled: Tensor, dice: float = 1.0, entropy: float = 2.0) -> Tensor:
    """Soft Dice plus cross-entropy over (N, C, S, S); a channel that nobody labelled (N, C) has no say."""
    probability = torch.sigmoid(logits)
    overlap = (probability * truth).sum((2, 3))
    miss = 1 - (2 * overlap + 1) / ((probability + truth).sum((2, 3)) + 1)
    surprise = nn.functional.binary_cross_entropy_with_logits(logits, truth, reduction="none").mean((2, 3))
    return ((dice * miss + entropy * surprise) * labelled).sum() / labelled.sum().clamp(min=1e-6)
