"""Hides what is done to a radiograph so that a network meets more than its few hospitals.

Promises that a sample is a function of (film, generator): the same generator gives the same sample. Truth moves
with the picture; what a border or a cut corner hides is no longer truth. Nothing is mirrored: the heart's side and
the lungs' sides are what is learnt.

Ends in `normalise` and `place`, as inference does; since that cancels monotone curves, contrast is varied by what it
cannot cancel: clipping, a vendor's local contrast, uneven exposure.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from cxrnode.pixels.geometry import Letterbox, place, resample, whole
from cxrnode.pixels.normalise import normalise

FloatArray = NDArray[np.float32]
Generator = np.random.Generator
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:/ "
REACH = 0.16
"""Half pictures by which a film is moved at most: its lungs stay on the picture, but for their rims."""
Change = tuple[float, Callable[[FloatArray, Generator], FloatArray]]
"""How likely a change is, and the change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cached:
    """A film shrunk once, its pixels square: `layers` (1 + C, rows, cols) uint8, picture first, then each truth."""

    layers: NDArray[np.uint8]
    labelled: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What the network sees: `image` (1, S, S), and `truth` (C, S, S), float32."""

    image: FloatArray
    truth: FloatArray
    labelled: NDArray[np.bool_]


def draw_sample(
    film: Cached, size: int, rng: Generator, changes: Sequence[Change] | None = None, reach: float = REACH
) -> Sample:
    """Make one training sample of (size, size) from a cached film.

    `changes` are CHANGES unless others are given; `reach` is how far, in half pictures, the film is moved at most.
    """
    box = _frame(film, size, rng)
    image, truth = _warp(film, box, reach, rng)
    for probability, change in CHANGES if changes is None else changes:
        if rng.random() < probability:
            image = change(image, rng)
    image, truth = _hide(image, truth, rng)
    grid = place(normalise(np.clip(image, 0.0, 1.0)), box)
    layers = [place(channel, box) for channel in truth]
    placed = np.stack(layers) if layers else np.zeros((0, size, size), dtype=np.float32)
    return Sample(image=grid[None], truth=placed, labelled=film.labelled)


def _frame(film: Cached, size: int, rng: Generator) -> Letterbox:
    """Draw the shape of the picture that arrives: detectors are upright, across or square."""
    rows, cols = film.layers.shape[1:]
    aspect = cols / rows * np.exp(rng.uniform(-0.25, 0.25) if rng.random() < 0.7 else 0.0)
    height = size if aspect <= 1 else round(size / aspect)
    width = size if aspect >= 1 else round(size * aspect)
    return Letterbox(
        rows=rows,
        cols=cols,
        window=whole(rows, cols),
        size=size,
        top=(size - height) // 2,
        left=(size - width) // 2,
        height=height,
        width=width,
    )


def _warp(film: Cached, box: Letterbox, reach: float, rng: Generator) -> tuple[FloatArray, FloatArray]:
    """Rotate, zoom, stretch, shear and move into the frame; gives picture (h, w) and truth (C, h, w)."""
    layers = torch.from_numpy(film.layers).float().div_(255.0)[None]
    theta = torch.from_numpy(_theta(film.layers.shape[1:], box, reach, rng).astype(np.float32))[None]
    grid = torch.nn.functional.affine_grid(theta, [1, 1, box.height, box.width], align_corners=False)
    mode = "border" if rng.random() < 0.25 else "zeros"
    picture = torch.nn.functional.grid_sample(layers[:, :1], grid, padding_mode=mode, align_corners=False)
    if layers.shape[1] == 1:
        return picture[0, 0].numpy(), np.zeros((0, box.height, box.width), dtype=np.float32)
    truth = torch.nn.functional.grid_sample(layers[:, 1:], grid, padding_mode="zeros", align_corners=False)
    return picture[0, 0].numpy(), truth[0].numpy()


def _theta(shape: tuple[int, ...], box: Letterbox, reach: float, rng: Generator) -> NDArray[np.float64]:
    """Draw the affine map from the frame's -1..1 to the film's -1..1, in true proportions between the two."""
    rows, cols = shape
    mild = rng.random() < 0.3
    spread = 0.4 if mild else 1.0
    zoom = np.exp(rng.uniform(-0.28, 0.28) * spread)
    stretch = np.exp(rng.uniform(-0.12, 0.12) * spread)
    angle = np.deg2rad(np.clip(rng.normal(0.0, 7.0) * spread, -22.0, 22.0))
    shear = rng.uniform(-0.08, 0.08) * spread
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = turn @ np.array([[1.0, shear], [0.0, 1.0]]) @ np.diag([stretch, 1 / stretch]) * zoom
    # In film pixels: the frame covers the film's longer side at zoom 1.
    per_frame_pixel = max(rows / box.height, cols / box.width)
    to_pixels = np.diag([box.width / 2, box.height / 2]) * per_frame_pixel
    to_film = np.diag([2 / cols, 2 / rows])
    shift = rng.uniform(-reach, reach, size=2) * spread
    return np.concatenate([to_film @ linear @ to_pixels, shift[:, None]], axis=1)


def _smooth_field(shape: tuple[int, int], cells: int, rng: Generator) -> FloatArray:
    return resample(rng.standard_normal((cells, cells), dtype=np.float32), shape[0], shape[1])


def _blurred(image: FloatArray, sigma: float) -> FloatArray:
    """Blur over `sigma` pixels; wide blurs are made on a smaller picture, which is the same to the eye."""
    rows, cols = image.shape
    down = max(1.0, sigma / 2)
    small = resample(image, max(4, round(rows / down)), max(4, round(cols / down)))
    picture = Image.fromarray(np.clip(small * 255, 0, 255).astype(np.uint8))
    soft = np.asarray(picture.filter(ImageFilter.GaussianBlur(sigma / down)), dtype=np.float32)
    return resample(soft / np.float32(255), rows, cols)


def _clip_window(image: FloatArray, rng: Generator) -> FloatArray:
    low, high = np.quantile(image, [rng.uniform(0.0, 0.08), rng.uniform(0.85, 1.0)])
    return np.asarray(np.clip((image - low) / max(float(high - low), 1e-3), 0.0, 1.0), dtype=np.float32)


def _gamma(image: FloatArray, rng: Generator) -> FloatArray:
    return np.power(np.clip(image, 0.0, 1.0), np.exp(rng.uniform(-0.7, 0.7))).astype(np.float32)


def _local_contrast(image: FloatArray, rng: Generator) -> FloatArray:
    """Strengthen or weaken detail against its surroundings, as vendors' processing does."""
    soft = _blurred(np.clip(image, 0.0, 1.0), rng.uniform(4.0, 30.0))
    return (image + rng.uniform(-0.45, 1.2) * (image - soft)).astype(np.float32)


def _uneven_exposure(image: FloatArray, rng: Generator) -> FloatArray:
    field = _smooth_field((image.shape[0], image.shape[1]), int(rng.integers(2, 5)), rng)
    return image + np.float32(rng.uniform(0.02, 0.12)) * field


def _noise(image: FloatArray, rng: Generator) -> FloatArray:
    grain = rng.standard_normal(image.shape, dtype=np.float32)
    return (image + np.float32(rng.uniform(0.0, 0.2) * float(image.std())) * grain).astype(np.float32)


def _faint_noise(image: FloatArray, rng: Generator) -> FloatArray:
    grain = rng.standard_normal(image.shape, dtype=np.float32)
    return (image + np.float32(rng.uniform(0.0, 0.04) * float(image.std())) * grain).astype(np.float32)


def _blur(image: FloatArray, rng: Generator) -> FloatArray:
    return _blurred(np.clip(image, 0.0, 1.0), rng.uniform(0.4, 1.6))


def _shadows(image: FloatArray, rng: Generator) -> FloatArray:
    """Lay soft bright patches over the picture: consolidation, effusion, breast."""
    rows, cols = image.shape
    y, x = np.ogrid[0:rows, 0:cols]
    changed = image.astype(np.float32)
    for _ in range(int(rng.integers(1, 4))):
        cy, cx = rng.uniform(0.2, 0.9) * rows, rng.uniform(0.1, 0.9) * cols
        ry, rx = rng.uniform(0.04, 0.2, size=2) * rows
        patch = np.exp(-(((y - cy) / ry) ** 2) - ((x - cx) / rx) ** 2)
        changed = (changed + rng.uniform(0.05, 0.35) * patch).astype(np.float32)
    return changed


def _draw_over(image: FloatArray, rng: Generator) -> FloatArray:
    """Draw what is metal or lettering: wires, tubes, a pacemaker, a side marker."""
    rows, cols = image.shape
    picture = Image.fromarray(np.clip(image * 255, 0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(picture)
    for _ in range(int(rng.integers(0, 4))):
        knots = [(float(x), float(y)) for x, y in zip(rng.uniform(0, cols, 4), rng.uniform(0, rows, 4), strict=True)]
        pen.line(knots, fill=int(rng.integers(150, 256)), width=int(rng.integers(1, 4)))
    for _ in range(int(rng.integers(0, 3))):
        x, y = rng.uniform(0, cols), rng.uniform(0, rows)
        w, h = rng.uniform(4, 30, size=2)
        pen.rounded_rectangle((x, y, x + w, y + h), radius=float(min(w, h) / 3), fill=int(rng.integers(170, 256)))
    return np.asarray(picture, dtype=np.float32) / np.float32(255)


def _letters(image: FloatArray, rng: Generator) -> FloatArray:
    """Burn a few letters in, bright, anywhere: each hospital has its own markers in its own places."""
    rows, cols = image.shape
    picture = Image.fromarray(np.clip(image * 255, 0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(picture)
    for _ in range(int(rng.integers(1, 4))):
        text = "".join(rng.choice(list(LETTERS), size=int(rng.integers(1, 9))))
        font = ImageFont.load_default(int(rng.uniform(0.03, 0.08) * rows))
        place_at = (float(rng.uniform(0, 0.95) * cols), float(rng.uniform(0, 0.95) * rows))
        pen.text(place_at, text, fill=int(rng.integers(150, 256)), font=font)
    return np.asarray(picture, dtype=np.float32) / np.float32(255)


def _whiteout(image: FloatArray, rng: Generator) -> FloatArray:
    """Fill much of one side with a dense shadow, its edge soft: consolidation, effusion, a lung without air."""
    rows, cols = image.shape
    y, x = np.mgrid[0:rows, 0:cols].astype(np.float32)
    cy, cx = rng.uniform(0.25, 0.95) * rows, rng.choice([rng.uniform(0.1, 0.4), rng.uniform(0.6, 0.9)]) * cols
    ry, rx = rng.uniform(0.15, 0.5) * rows, rng.uniform(0.12, 0.3) * cols
    away = np.hypot((y - cy) / ry, (x - cx) / rx) - 1 + 0.15 * _smooth_field((rows, cols), 6, rng)
    cover = rng.uniform(0.5, 0.97) / (1 + np.exp(np.clip(away / rng.uniform(0.03, 0.3), -30, 30)))
    bright = np.quantile(image, rng.uniform(0.7, 0.98)) + 0.03 * _smooth_field((rows, cols), 12, rng)
    return np.asarray(image * (1 - cover) + bright * cover, dtype=np.float32)


def _requality(image: FloatArray, rng: Generator) -> FloatArray:
    """Write the picture as a JPEG of some quality and read it again: each source has its own habit."""
    picture = Image.fromarray(np.clip(image * 255, 0, 255).astype(np.uint8))
    written = io.BytesIO()
    picture.save(written, "JPEG", quality=int(rng.integers(35, 96)))
    return np.asarray(Image.open(written), dtype=np.float32) / np.float32(255)


def _coarse(image: FloatArray, rng: Generator) -> FloatArray:
    """Shrink the picture and enlarge it again, as copies of copies are."""
    rows, cols = image.shape
    share = rng.uniform(0.45, 0.95)
    return resample(resample(image, max(8, round(rows * share)), max(8, round(cols * share))), rows, cols)


SHADOWS: Change = (0.15, _shadows)
CHANGES: tuple[Change, ...] = (
    (0.30, _local_contrast),
    (0.25, _uneven_exposure),
    SHADOWS,
    (0.35, _gamma),
    (0.35, _clip_window),
    (0.15, _draw_over),
    (0.25, _letters),
    (0.20, _blur),
    (0.35, _noise),
    (0.25, _coarse),
    (0.30, _requality),
)
"""Each change and its probability, in the order in which a picture would suffer them."""

DENSE: tuple[Change, ...] = ((0.20, _whiteout), (0.20, _draw_over), *CHANGES)
"""The changes for outlines, which stay where they are under whatever lies over them: disease and devices as well."""

FINE: tuple[Change, ...] = (
    (0.25, _local_contrast),
    (0.20, _uneven_exposure),
    (0.10, _shadows),
    (0.30, _gamma),
    (0.12, _clip_window),
    (0.10, _blur),
    (0.25, _faint_noise),
)
"""The changes under which a line one or two pixels wide is still to be seen."""


def _hide(image: FloatArray, truth: FloatArray, rng: Generator) -> tuple[FloatArray, FloatArray]:
    """Cover the picture's edges as a collimator does, and its corners; what is covered is not truth."""
    if rng.random() > 0.25:
        return image, truth
    rows, cols = image.shape
    covered = Image.new("L", (cols, rows), 0)
    pen = ImageDraw.Draw(covered)
    if rng.random() < 0.6:
        top, left, bottom, right = rng.uniform(0.0, 0.1, size=4) * (rng.random(4) < 0.5)
        pen.rectangle((0, 0, cols, rows), fill=1)
        pen.rectangle((left * cols, top * rows, (1 - right) * cols - 1, (1 - bottom) * rows - 1), fill=0)
    else:
        for x, y in ((0, 0), (cols, 0), (0, rows), (cols, rows)):
            dx, dy = rng.uniform(0.0, 0.22, size=2) * (cols, rows)
            pen.polygon([(x, y), (abs(x - dx), y), (x, abs(y - dy))], fill=1)
    hidden = np.asarray(covered, dtype=bool)
    value = 0.0 if rng.random() < 0.7 else float(rng.uniform(0.0, 1.0))
    return np.where(hidden, np.float32(value), image), np.where(hidden, np.float32(0.0), truth)
