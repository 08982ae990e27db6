"""Hides how films become batches.

Promises that batch number n of a run is a function of (films, recipe, seed, n): a run that was stopped goes on with
the very batches it would have seen. Sources are drawn by the recipe's weights, films of a source in turn of chance.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrnode.pixels.geometry import place, resample, shrink
from cxrnode.pixels.normalise import prepare
from cxrnode.training.augment import DENSE, REACH, Cached, Sample, draw_sample
from cxrnode.training.example import Example
from cxrnode.training.films import Film
from cxrnode.training.recipe import Recipe

CACHED_PER_GRID = 1.3
"""Films are kept a little finer than the grid, so that zooming in finds something."""

CUT, CUT_REACH = 0.12, 0.4
"""How many films are moved so far that a lung may be cut through, and how far, in half pictures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """Cached films and the source of each."""

    films: tuple[Cached, ...]
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """`images` (N, 1, S, S), `truth` (N, C, S, S), `labelled` (N, C), all float32."""

    images: NDArray[np.float32]
    truth: NDArray[np.float32]
    labelled: NDArray[np.float32]


def cache_film(film: Film, size: int) -> Cached:
    """Shrink a film to square pixels, long side a little over `size`, and to eight bits."""
    rows, cols = film.image.shape
    scale = CACHED_PER_GRID * size / max(rows * film.pixel_aspect, cols)
    height, width = round(rows * film.pixel_aspect * scale), round(cols * scale)
    layers = [film.image, *film.truth.astype(np.float32)]
    small = np.stack([resample(layer, height, width) for layer in layers])
    return Cached(layers=np.clip(small * 255 + 0.5, 0, 255).astype(np.uint8), labelled=film.labelled)


def thinned(examples: Sequence[Example], most: int | None) -> list[Example]:
    """Take about `most` of the examples, evenly spread, so that every source keeps its share; all where None."""
    if most is None or len(examples) <= most:
        return list(examples)
    return [examples[index] for index in np.linspace(0, len(examples) - 1, most).astype(int)]


def fill_shelf(films: Iterable[tuple[Film, str]], size: int) -> Shelf:
    """Cache films of (film, source)."""
    shelved = [(cache_film(film, size), source) for film, source in films]
    return Shelf(films=tuple(film for film, _ in shelved), sources=tuple(source for _, source in shelved))


def draw_batch(shelf: Shelf, recipe: Recipe, count: int, seed: int, number: int) -> Batch:
    """Draw batch `number` of a run."""
    picks = np.random.default_rng((seed, number)).choice(len(shelf.films), count, p=_chances(shelf, recipe))
    draw = _changed if recipe.samples.get("augment", True) else _as_it_is
    return stack(
        [
            draw(shelf.films[pick], recipe.size, np.random.default_rng((seed, number, turn)))
            for turn, pick in enumerate(picks)
        ]
    )


def _changed(film: Cached, size: int, rng: np.random.Generator) -> Sample:
    """Make a sample that disease or devices may lie over; some films are cut through a lung."""
    reach = CUT_REACH if rng.random() < CUT else REACH
    return draw_sample(film, size, rng, DENSE, reach)


def _as_it_is(film: Cached, size: int, _rng: np.random.Generator) -> Sample:
    """Make a sample without any augmentation."""
    image, *truth = film.layers.astype(np.float32) / np.float32(255)
    grid, box = prepare(image, size)
    return Sample(
        image=grid[None], truth=np.stack([place(shrink(layer, box), box) for layer in truth]), labelled=film.labelled
    )


def stack(samples: Sequence[Sample]) -> Batch:
    """Put samples together into one batch."""
    return Batch(
        images=np.stack([sample.image for sample in samples]),
        truth=np.stack([sample.truth for sample in samples]),
        labelled=np.stack([sample.labelled for sample in samples]).astype(np.float32),
    )


def _chances(shelf: Shelf, recipe: Recipe) -> NDArray[np.float64]:
    """Give each film its chance; a source that the recipe does not name has weight one."""
    counts = {source: shelf.sources.count(source) for source in set(shelf.sources)}
    weights = recipe.samples.get("weights", {})
    raw = np.array([weights.get(source, weights.get("*", 1.0)) / counts[source] for source in shelf.sources])
    return np.asarray(raw / raw.sum())
