"""Hides how a sound frontal film becomes one that no model here may answer for, and what is no film at all.

Promises pictures that are functions of (film, generator) alone, and that say what they are: a `Picture` knows for each
question of the gate whether the answer is yes, no, or not to be asked. Real films are the stuff of nearly all: hands,
hips and laterals were not at hand, so bones are drawn, and no lateral is among what the gate learns.

A film here is (rows, cols) float32, 0 black to 1 white, its pixels square.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from cxrnode.pixels.geometry import resample

FloatArray = NDArray[np.float32]
Generator = np.random.Generator
Films = Sequence[FloatArray]

SIDE = 256
"""Pixels of the longer side of a picture made here: more than the gate's grid, so that shrinking it is real."""
WORDS = ("PATIENT", "STUDY", "SERIES", "REPORT", "heart", "lung", "no acute finding", "signed", "2048", "mAs", "kV")


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """What arrives: `image` (rows, cols) 0..1; `answers` by question, where a missing one may not be asked."""

    image: FloatArray
    answers: dict[str, bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Which part of a film is seen and how: `centre` (y, x) and `extent` (height, width) in shares of the film.

    `turn` is in degrees, clockwise; `mirrored` swaps the sides after it.
    """

    centre: tuple[float, float] = (0.5, 0.5)
    extent: tuple[float, float] = (1.0, 1.0)
    turn: float = 0.0
    mirrored: bool = False


def look(film: FloatArray, view: View, edge: str = "zeros") -> FloatArray:
    """Show a part of a film, its longer side SIDE pixels; `edge` is what lies outside: zeros or border."""
    rows, cols = film.shape
    tall, wide = rows * view.extent[0], cols * view.extent[1]
    height, width = (max(16, round(SIDE * side / max(tall, wide))) for side in (tall, wide))
    angle = np.deg2rad(view.turn)
    spin = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    flip = np.diag([-1.0 if view.mirrored else 1.0, 1.0])
    linear = np.diag([2 / cols, 2 / rows]) @ spin @ flip @ np.diag([wide / 2, tall / 2])
    shift = np.array([[2 * view.centre[1] - 1], [2 * view.centre[0] - 1]])
    theta = torch.from_numpy(np.hstack([linear, shift]).astype(np.float32))[None]
    grid = torch.nn.functional.affine_grid(theta, [1, 1, height, width], align_corners=False)
    picture = torch.from_numpy(np.array(film))[None, None]
    shown = torch.nn.functional.grid_sample(picture, grid, "bilinear", edge, False)
    return np.ascontiguousarray(shown[0, 0].numpy())


def sound_view(rng: Generator) -> View:
    """Draw how a sound film arrives: a little tilted, shifted, cut or small in its frame."""
    extent = np.exp(rng.uniform(-0.2, 0.2) + rng.uniform(-0.06, 0.06, size=2))
    centre = 0.5 + rng.uniform(-0.07, 0.07, size=2)
    turn = float(np.clip(rng.normal(0.0, 5.0), -15.0, 15.0))
    return View(centre=_pair(centre), extent=_pair(extent), turn=turn)


def squeezed(film: FloatArray, rng: Generator) -> FloatArray:
    """Change a film's aspect: some sources are squashed, and age must not be read from that."""
    rows, cols = film.shape
    ratio = np.exp(rng.uniform(-0.25, 0.25))
    return resample(film, max(16, round(rows * ratio**0.5)), max(16, round(cols / ratio**0.5)))


def frontal(film: FloatArray, rng: Generator, mirrored: bool) -> FloatArray:
    """Show a sound film, or its mirror image."""
    view = sound_view(rng)
    turned = View(centre=view.centre, extent=view.extent, turn=view.turn, mirrored=mirrored)
    return look(squeezed(film, rng), turned, _edge(rng))


def turned(films: Films, rng: Generator) -> FloatArray:
    """Lie a film on its side, or stand it on its head, mirrored or not."""
    view = sound_view(rng)
    turn = view.turn + float(rng.choice([90.0, 180.0, 270.0]))
    lying = View(centre=view.centre, extent=view.extent, turn=turn, mirrored=bool(rng.random() < 0.5))
    return look(squeezed(films[0], rng), lying, _edge(rng))


def cropped(films: Films, rng: Generator) -> FloatArray:
    """Show less than half of a film: a shoulder, the edge of the abdomen, the neck, a piece of one lung."""
    extent = rng.uniform(0.18, 0.45, size=2)
    centre = rng.uniform(extent / 2, 1 - extent / 2)
    mirrored = bool(rng.random() < 0.5)
    return look(films[0], View(centre=_pair(centre), extent=_pair(extent), turn=_any_turn(rng), mirrored=mirrored))


def halved(films: Films, rng: Generator) -> FloatArray:
    """Show one half of a film: one lung alone, or the apices or the bases alone."""
    side = rng.uniform(0.4, 0.5)
    place = side / 2 if rng.random() < 0.5 else 1 - side / 2
    upright = rng.random() < 0.6
    centre, extent = ((0.5, place), (0.95, side)) if upright else ((place, 0.5), (side, 0.95))
    mirrored = bool(rng.random() < 0.5)
    return look(films[0], View(centre=centre, extent=extent, turn=float(rng.normal(0, 4)), mirrored=mirrored))


def side_by_side(films: Films, rng: Generator) -> FloatArray:
    """Lay two films beside each other or one over the other, as figures and screens do."""
    seam = round(float(rng.uniform(0, 12)))
    gap = np.full((SIDE, seam), rng.choice([0.0, 1.0]), dtype=np.float32)
    first, second = (resample(film, SIDE, round(SIDE * rng.uniform(0.7, 1.1))) for film in films[:2])
    pair = np.hstack([first, gap, second])
    return pair if rng.random() < 0.6 else np.ascontiguousarray(np.rot90(pair, rng.choice([1, 3])))


def screenshot(films: Films, rng: Generator) -> FloatArray:
    """Put a film small on a screen with its panels and lettering."""
    canvas = _pages(round(SIDE * rng.uniform(0.55, 0.9)), SIDE, rng, lines=int(rng.integers(2, 14)))
    side = canvas.shape[0] * rng.uniform(0.35, 0.55)
    scale = side / max(films[0].shape)
    small = resample(films[0], max(8, round(films[0].shape[0] * scale)), max(8, round(films[0].shape[1] * scale)))
    top, left = (int(rng.integers(0, free + 1)) for free in np.subtract(canvas.shape, small.shape))
    canvas[top : top + small.shape[0], left : left + small.shape[1]] = small
    return canvas


def page(films: Films, rng: Generator) -> FloatArray:
    """Show a page of text, dark on light or light on dark."""
    return _pages(SIDE, round(SIDE * rng.uniform(0.6, 1.3)), rng, lines=int(rng.integers(6, 30)))


def texture(films: Films, rng: Generator) -> FloatArray:
    """Show no thing at all: clouds of some coarseness, a ramp, noise."""
    rows, cols = SIDE, round(SIDE * rng.uniform(0.6, 1.3))
    layers = [rng.standard_normal((n, n), dtype=np.float32) for n in rng.choice([2, 4, 8, 24, 90], size=2)]
    clouds = sum((rng.uniform(0.2, 1.0) * resample(layer, rows, cols) for layer in layers), start=0.0)
    return np.asarray(0.5 + 0.2 * np.asarray(clouds), dtype=np.float32)


def limbs(films: Films, rng: Generator) -> FloatArray:
    """Draw bones in flesh: one to six limbs of two or three segments on a dark ground."""
    rows, cols = SIDE, round(SIDE * rng.uniform(0.6, 1.2))
    y, x = np.mgrid[0:rows, 0:cols].astype(np.float32)
    flesh, bone = np.zeros((rows, cols), np.float32), np.zeros((rows, cols), np.float32)
    for _ in range(int(rng.integers(1, 7))):
        width = rng.uniform(0.03, 0.25) * SIDE
        knots = _knots(rows, cols, rng)
        for start, end in pairwise(knots):
            away = _distance(y, x, start, end) / width
            flesh = np.maximum(flesh, np.sqrt(np.clip(1 - away**2, 0, 1)))
            bone = np.maximum(bone, _shaft(away / rng.uniform(0.25, 0.6)))
    grain = resample(rng.standard_normal((40, 40), dtype=np.float32), rows, cols)
    return np.asarray(0.05 + 0.4 * flesh + 0.5 * bone + 0.03 * grain * flesh, dtype=np.float32)


STRANGERS: tuple[tuple[float, Callable[[Films, Generator], FloatArray]], ...] = (
    (0.40, turned),
    (0.18, cropped),
    (0.12, halved),
    (0.08, side_by_side),
    (0.06, screenshot),
    (0.04, page),
    (0.05, texture),
    (0.07, limbs),
)
"""What is no frontal chest film, and how often each is drawn."""


def stranger(films: Films, rng: Generator) -> FloatArray:
    """Make one picture that is no frontal chest film; `films` are two to make it from."""
    makers = [maker for _, maker in STRANGERS]
    return makers[rng.choice(len(makers), p=[share for share, _ in STRANGERS])](films, rng)


def inverted(image: FloatArray) -> FloatArray:
    """Turn black to white, as a wrong photometric interpretation does."""
    return np.asarray(1.0 - np.clip(image, 0.0, 1.0), dtype=np.float32)


def requality(image: FloatArray, rng: Generator) -> FloatArray:
    """Shrink, keep as a JPEG of some quality, and enlarge: every source has its habit, and none may tell."""
    rows, cols = image.shape
    scale = rng.uniform(0.55, 1.0)
    small = resample(image, max(16, round(rows * scale)), max(16, round(cols * scale)))
    kept = io.BytesIO()
    Image.fromarray((np.clip(small, 0, 1) * 255).astype(np.uint8)).save(kept, "JPEG", quality=int(rng.integers(30, 96)))
    with Image.open(kept) as picture:
        return resample(np.asarray(picture, dtype=np.float32) / np.float32(255), rows, cols)


def _pair(values: NDArray[np.float64]) -> tuple[float, float]:
    return float(values[0]), float(values[1])


def _edge(rng: Generator) -> str:
    return "border" if rng.random() < 0.3 else "zeros"


def _any_turn(rng: Generator) -> float:
    return float(rng.choice([0.0, 90.0, 180.0, 270.0]) + rng.normal(0, 10))


def _pages(rows: int, cols: int, rng: Generator, lines: int) -> FloatArray:
    ground, ink = sorted(rng.uniform(0, 1, size=2), reverse=bool(rng.random() < 0.5))
    picture = Image.new("L", (cols, rows), round(255 * ground))
    pen = ImageDraw.Draw(picture)
    font = ImageFont.load_default(size=float(rng.uniform(7, 16)))
    for _ in range(int(rng.integers(0, 4))):
        left, top = rng.uniform(0, cols), rng.uniform(0, rows)
        corner = (left + rng.uniform(10, cols), top + rng.uniform(4, 60))
        pen.rectangle((left, top, *corner), fill=int(rng.integers(0, 256)))
    for line in range(lines):
        text = " ".join(rng.choice(WORDS, size=int(rng.integers(1, 9))))
        pen.text((rng.uniform(2, cols / 4), (line + 0.5) * rows / lines), text, fill=round(255 * ink), font=font)
    return np.asarray(picture, dtype=np.float32) / np.float32(255)


def _knots(rows: int, cols: int, rng: Generator) -> NDArray[np.float64]:
    """Draw the joints of a limb as (y, x): a start anywhere, then steps that bend a little."""
    heading, start = rng.uniform(0, 2 * np.pi), rng.uniform(0, 1, size=2) * (rows, cols)
    steps = rng.uniform(0.15, 0.7, size=(int(rng.integers(1, 4)), 1)) * SIDE
    bends = heading + np.cumsum(rng.normal(0, 0.4, size=len(steps)))
    path = np.cumsum(steps * np.stack([np.sin(bends), np.cos(bends)], axis=1), axis=0)
    return np.vstack([start, start + path])


def _distance(y: FloatArray, x: FloatArray, start: NDArray[np.float64], end: NDArray[np.float64]) -> FloatArray:
    """Give each pixel's distance from the segment between two points (y, x)."""
    along = end - start
    share = np.clip(((y - start[0]) * along[0] + (x - start[1]) * along[1]) / max(float(along @ along), 1e-6), 0, 1)
    return np.asarray(np.hypot(y - start[0] - share * along[0], x - start[1] - share * along[1]), dtype=np.float32)


def _shaft(away: FloatArray) -> FloatArray:
    """Give a bone's brightness across itself: its wall is brighter than its marrow; `away` is 1 at its surface."""
    inside = away < 1
    return np.asarray(np.where(inside, 0.55 + 0.45 * np.clip(away, 0, 1) ** 4, 0.0), dtype=np.float32)
