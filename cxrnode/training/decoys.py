"""Hides what is drawn on films so that a line, an edge or a tube is no sign of a pneumothorax by itself.

Promises that a decoy is a function of (picture, lung, generator), that it changes no truth, and that it is the same
for films with and without a pneumothorax: chest tubes above all, which real positives have and negatives do not
(Oakden-Rayner L et al. Hidden stratification causes clinically meaningful failures in machine learning for medical
imaging. ACM CHIL 2020). A skin fold is an edge and not a line, and vessels cross it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

FloatArray = NDArray[np.float32]
Mask = NDArray[np.bool_]
Generator = np.random.Generator


def add_decoys(image: FloatArray, lung: Mask, rng: Generator) -> FloatArray:
    """Lay none, one or several decoys over a film (rows, cols; 0..1), placed by one of its lungs (rows, cols)."""
    rows, cols = np.nonzero(lung)
    if len(rows) == 0:
        return image
    low, high = np.quantile(image[lung], 0.05), np.quantile(image, 0.95)
    box = (float(rows.min()), float(cols.min()), float(np.ptp(rows)) + 1, float(np.ptp(cols)) + 1)
    drawn = image.astype(np.float32)
    for chance, decoy in DECOYS:
        if rng.random() < chance:
            drawn = drawn + np.float32(high - low) * decoy(image.shape, box, rng)
    return np.clip(drawn, 0, 1).astype(np.float32)


Box = tuple[float, float, float, float]
"""A lung's top, left, height and width."""


def _tube(shape: tuple[int, ...], box: Box, rng: Generator) -> FloatArray:
    """A chest tube: two walls and a stripe, from the side or from below up along the lung."""
    top, left, tall, wide = box
    outside = left - 0.15 * wide if rng.random() < 0.5 else left + 1.15 * wide
    start = (outside, top + rng.uniform(0.5, 1.1) * tall)
    bend = (left + rng.uniform(0.2, 0.8) * wide, top + rng.uniform(0.4, 1.0) * tall)
    end = (left + rng.uniform(0.2, 0.8) * wide, top + rng.uniform(0.05, 0.6) * tall)
    width = rng.uniform(0.018, 0.035) * tall
    walls = _stroke(shape, (start, bend, end), width) - 0.6 * _stroke(shape, (start, bend, end), 0.5 * width)
    return np.asarray(rng.uniform(0.06, 0.3) * (walls + _stroke(shape, (start, bend, end), 1.0)), dtype=np.float32)


def _wire(shape: tuple[int, ...], box: Box, rng: Generator) -> FloatArray:
    """An electrode's lead or a line: thin, bright, anywhere over the chest, now and then with its disc."""
    top, left, tall, wide = box
    knots = tuple((left + rng.uniform(-0.6, 1.6) * wide, top + rng.uniform(-0.3, 1.3) * tall) for _ in range(3))
    drawn = _stroke(shape, knots, rng.uniform(1.0, 2.5))
    if rng.random() < 0.4:
        drawn = np.maximum(drawn, _stroke(shape, (knots[-1], knots[-1], knots[-1]), 0.05 * tall))
    return np.asarray(rng.uniform(0.1, 0.5) * drawn, dtype=np.float32)


def _fold(shape: tuple[int, ...], box: Box, rng: Generator) -> FloatArray:
    """A skin fold: brighter towards a long edge, and suddenly not beyond it."""
    beyond = _beside(shape, box, rng)
    side = 1 if rng.random() < 0.5 else -1
    reach = rng.uniform(0.03, 0.12) * box[2]
    ramp = np.exp(-np.clip(side * beyond, 0, None) / reach) / (1 + np.exp(np.clip(-side * beyond / 0.5, -30, 30)))
    return np.asarray(rng.uniform(0.03, 0.15) * ramp * _between(shape, box, rng), dtype=np.float32)


def _cloth(shape: tuple[int, ...], box: Box, rng: Generator) -> FloatArray:
    """A seam or a hair: a thin line that may well run along where a pleural line would."""
    beyond = _beside(shape, box, rng)
    line = np.exp(-0.5 * (beyond / rng.uniform(0.5, 1.2)) ** 2)
    return np.asarray(rng.uniform(0.02, 0.12) * line * _between(shape, box, rng), dtype=np.float32)


def _shoulder_blade(shape: tuple[int, ...], box: Box, rng: Generator) -> FloatArray:
    """The inner border of a shoulder blade: the upper outer lung is brighter up to it, its vessels run on."""
    top, left, tall, wide = box
    right_of_picture = left + wide / 2 > shape[1] / 2
    beyond = _beside(shape, box, rng) * (1 if right_of_picture else -1)
    step = 1 / (1 + np.exp(-np.clip(beyond, -30, 30)))
    fading = np.clip(1 - beyond / (0.6 * wide), 0, 1)
    y = np.arange(shape[0])[:, None]
    upper = np.clip((top + rng.uniform(0.4, 0.7) * tall - y) / (0.1 * tall), 0, 1)
    return np.asarray(rng.uniform(0.02, 0.12) * step * fading * upper, dtype=np.float32)


DECOYS: tuple[tuple[float, Callable[[tuple[int, ...], Box, Generator], FloatArray]], ...] = (
    (0.15, _tube),
    (0.20, _wire),
    (0.15, _fold),
    (0.15, _cloth),
    (0.15, _shoulder_blade),
)
"""Each decoy and its probability."""


def _beside(shape: tuple[int, ...], box: Box, rng: Generator) -> NDArray[np.float64]:
    """Give each pixel's distance, in columns, from a long gently bent line down through the lung."""
    top, left, tall, wide = box
    y, x = np.ogrid[0 : shape[0], 0 : shape[1]]
    along = (y - top) / tall
    bow = rng.uniform(-0.25, 0.25) * wide * (2 * along - 1) ** 2
    lean = rng.normal(0.0, 0.3) * wide * (along - 0.5)
    return np.asarray(x - (left + rng.uniform(0.05, 0.95) * wide + bow + lean), dtype=np.float64)


def _between(shape: tuple[int, ...], box: Box, rng: Generator) -> NDArray[np.float64]:
    """Give where along the rows a line is seen, with soft ends; it may leave the lung."""
    top, _, tall, _ = box
    first, last = sorted(rng.uniform(-0.3, 1.3, size=2))
    y = np.arange(shape[0])[:, None]
    rising = np.clip((y - top - first * tall) / (0.1 * tall), 0, 1)
    return np.asarray(rising * np.clip((top + last * tall - y) / (0.1 * tall), 0, 1), dtype=np.float64)


def _stroke(shape: tuple[int, ...], knots: tuple[tuple[float, float], ...], width: float) -> FloatArray:
    """Draw a smooth curve (x, y) through the knots' Bezier, `width` pixels wide, soft at its edges."""
    t = np.linspace(0, 1, 24)[:, None]
    first, second, third = (np.array(knot) for knot in knots)
    curve = (1 - t) ** 2 * first + 2 * t * (1 - t) * second + t**2 * third
    picture = Image.new("L", (shape[1], shape[0]), 0)
    pen = ImageDraw.Draw(picture)
    pen.line([(float(x), float(y)) for x, y in curve], fill=255, width=max(1, round(width)), joint="curve")
    if np.ptp(curve, axis=0).max() < 1:
        (x, y), half = curve[0], width / 2
        pen.ellipse((x - half, y - half, x + half, y + half), fill=255)
    return np.asarray(picture.filter(ImageFilter.GaussianBlur(0.6)), dtype=np.float32) / np.float32(255)
