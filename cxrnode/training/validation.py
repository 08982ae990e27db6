"""Hides the quick look at the validation part that picks the best weights.

Promises the Dice coefficient a source and channel on the network's own grid, on films prepared as inference prepares
them. The numbers that a model card states come from `evaluate`, not from here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from cxrnode.pixels.geometry import place, shrink
from cxrnode.pixels.normalise import prepare
from cxrnode.training.films import Film
from cxrnode.training.recipe import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A prepared validation film: `image` (S, S), `truth` (C, S, S) bool, `labelled` (C,)."""

    source: str
    image: NDArray[np.float32]
    truth: NDArray[np.bool_]
    labelled: NDArray[np.bool_]


def shelve_checks(films: Iterable[tuple[Film, str]], size: int) -> tuple[Check, ...]:
    """Prepare validation films of (film, source) for a grid of `size`."""
    return tuple(_check(film, source, size) for film, source in films)


def _check(film: Film, source: str, size: int) -> Check:
    image, box = prepare(film.image, size, film.pixel_aspect)
    truth = np.stack([place(shrink(channel.astype(np.float32), box), box) > 0.5 for channel in film.truth])
    return Check(source=source, image=image, truth=truth, labelled=film.labelled)


def score_on_grid(
    network: nn.Module, checks: tuple[Check, ...], recipe: Recipe, device: torch.device
) -> Mapping[str, float]:
    """Give the mean Dice coefficient by "source channel"."""
    scores: dict[str, list[float]] = {}
    for check in checks:
        with torch.inference_mode():
            image = torch.from_numpy(check.image[None, None]).to(device=device)
            said = (network(image.to(memory_format=torch.channels_last)) > 0)[0].cpu().numpy()
        for index, channel in enumerate(recipe.channels):
            if check.labelled[index]:
                both = np.logical_and(said[index], check.truth[index]).sum()
                total = max(1, int(said[index].sum() + check.truth[index].sum()))
                scores.setdefault(f"{check.source} {channel}", []).append(2 * float(both) / total)
    return {key: float(np.mean(values)) for key, values in sorted(scores.items())}
