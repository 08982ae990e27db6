"""Hides whose boxes count as truth, and how a film with boxes becomes a sample.

Promises that a film is said to be without boxes only where somebody looked for them, that boxes move with the picture
and end where a border hides them, and that a sample is a function of (film, generator).

A box is carried through the bending as the ellipse inside it, and its corners are read off afterwards: so a turned
film's boxes stay as tight as they were.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrnode.pixels.geometry import resample
from cxrnode.training.augment import CHANGES, SHADOWS, Cached, draw_sample
from cxrnode.training.example import Example, TrueBox, read_picture
from cxrnode.training.films import pixel_aspect
from cxrnode.training.samples import CACHED_PER_GRID

FloatArray = NDArray[np.float32]

SLIVER = 8
"""Pixels of the input: what is left of a box after a border hid the rest counts from this width and height on."""
UNKNOWN = float("nan")


@dataclass(frozen=True, slots=True, kw_only=True)
class Readers:
    """Whose boxes count: by reader the labels that do, and those which may or may not be the same thing.

    The first reader who looked at a film has the say. A reader who also sorted films into classes calls those with
    such a box `answer`.
    """

    counts: Mapping[str, Sequence[str]]
    unsure: Mapping[str, Sequence[str]]
    answer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxTruth:
    """What is known of one film.

    `boxes` count; `whole` says that there are no others; `probability` of any is 0 or 1 where somebody looked, NaN
    where nobody did.
    """

    boxes: tuple[TrueBox, ...]
    whole: bool
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxFilm:
    """A film shrunk once: the picture and an ellipse for each box as layers, and what is known."""

    film: Cached
    whole: bool
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxSample:
    """`image` (1, S, S); `boxes` (M, 4) left, top, right, bottom in its pixels; the rest as in BoxTruth."""

    image: FloatArray
    boxes: FloatArray
    whole: bool
    probability: float


def true_boxes(example: Example, readers: Readers) -> BoxTruth:
    """Say what the first reader who looked at a film found."""
    drawn = example.boxes or ()
    for reader in readers.counts:
        if reader in example.classes:
            return _read_by(reader, drawn, readers, example.classes[reader] == readers.answer)
        if any(box.drawn_by == reader for box in drawn):
            return _read_by(reader, drawn, readers, None)
    looked = example.boxes == ()
    return BoxTruth(boxes=(), whole=looked, probability=0.0 if looked else UNKNOWN)


def _read_by(reader: str, drawn: Sequence[TrueBox], readers: Readers, present: bool | None) -> BoxTruth:
    """Take one reader's boxes; a film of theirs with unsure boxes only is a film that nobody read."""
    own = [box for box in drawn if box.drawn_by == reader]
    counted = tuple(box for box in own if box.label in readers.counts[reader])
    unsure = any(box.label in readers.unsure.get(reader, ()) for box in own)
    if present is None and unsure and not counted:
        return BoxTruth(boxes=(), whole=False, probability=UNKNOWN)
    found = bool(counted) if present is None else present
    # A film that is said to have some, and none is drawn, says nothing of where.
    return BoxTruth(boxes=counted, whole=not unsure and found == bool(counted), probability=float(found))


def cache_boxes(example: Example, truth: BoxTruth, size: int) -> BoxFilm:
    """Read and shrink a film and lay an ellipse into each of its boxes."""
    image = read_picture(example)
    rows, cols = image.shape
    aspect = pixel_aspect(example, image.shape)
    scale = CACHED_PER_GRID * size / max(rows * aspect, cols)
    height, width = round(rows * aspect * scale), round(cols * scale)
    layers = [resample(image, height, width), *(_ellipse(box, (rows, cols), (height, width)) for box in truth.boxes)]
    cached = Cached(
        layers=np.clip(np.stack(layers) * 255 + 0.5, 0, 255).astype(np.uint8),
        labelled=np.ones(len(truth.boxes), dtype=np.bool_),
    )
    return BoxFilm(film=cached, whole=truth.whole, probability=truth.probability)


def _ellipse(box: TrueBox, shape: tuple[int, int], small: tuple[int, int]) -> FloatArray:
    """Fill the ellipse inside a box of a picture of `shape`, on one of `small`; half a pixel wide at its edge."""
    down, across = small[0] / shape[0], small[1] / shape[1]
    ry, rx = (box.bottom - box.top) * down / 2, (box.right - box.left) * across / 2
    cy, cx = (box.bottom + box.top) * down / 2, (box.right + box.left) * across / 2
    y, x = np.ogrid[0 : small[0], 0 : small[1]]
    radius = np.hypot((y + 0.5 - cy) / max(ry, 0.5), (x + 0.5 - cx) / max(rx, 0.5))
    return np.clip(0.5 + (1 - radius) * min(ry, rx), 0.0, 1.0).astype(np.float32)


def draw_boxes(film: BoxFilm, size: int, rng: np.random.Generator, mirror: float = 0.0, gray: float = 1.0) -> BoxSample:
    """Make one training sample of (size, size).

    `mirror` is the probability of left and right changing places; `gray` how often gray values are changed, against the
    usual. Shadows are not laid over such films: they are what is to be found.
    """
    changes = tuple((gray * chance, change) for chance, change in CHANGES if (chance, change) != SHADOWS)
    sample = draw_sample(film.film, size, rng, changes)
    image, truth = sample.image, sample.truth
    if rng.random() < mirror:
        image, truth = np.ascontiguousarray(image[..., ::-1]), truth[..., ::-1]
    boxes = extents(truth)
    lost = len(film.film.layers) > 1 and not len(boxes)
    return BoxSample(image=image, boxes=boxes, whole=film.whole, probability=UNKNOWN if lost else film.probability)


def extents(masks: FloatArray) -> FloatArray:
    """Give the corners (M, 4) left, top, right, bottom of the masks (N, rows, cols) of which more than a sliver is."""
    found = []
    for mask in masks > 0.5:
        down, across = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if len(down) and min(np.ptp(down), np.ptp(across)) + 1 >= SLIVER:
            found.append((across[0], down[0], across[-1] + 1, down[-1] + 1))
    return np.array(found, dtype=np.float32).reshape(-1, 4)
