"""What a radiograph of the chest looks like, drawn from a seed with every outline known.

Hides the anatomy: outlines of lungs, heart and body (placed as they lie on average films), bones, vessels and
noise. Promises the same picture for the same arguments, in the reference arrangement of its view: a frontal view
has the patient's left at the picture's right and the feet below; a lateral has the patient's back at the
picture's right. 0 is black (air), 1 is white (bone).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from cxrnode.phantom.lesions import Drawn, Lesion, Side, outlined, shown
from cxrnode.phantom.shapes import (
    Canvas,
    Floats,
    Mask,
    Point,
    canvas_for,
    distance,
    enlarged,
    inside,
    soft,
    strokes,
    thickness,
)


class Subject(StrEnum):
    """What stood before the detector."""

    FRONTAL = "frontal chest"
    LATERAL = "lateral chest"
    HAND = "hand"


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A drawn radiograph: `values` float32 in [0, 1] and the outlines as masks, all (rows, cols), read-only.

    The lungs are the whole lung fields, with the air beside a shrunken lung and with what is opaque in it. `opacities`
    is 0 where there is none, else the opacity's number from 1 on.
    """

    values: Floats
    right_lung: Mask
    left_lung: Mask
    heart: Mask
    pneumothorax: Mask
    opacities: NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chest:
    """The outlines of one frontal chest as signed distances on the canvas."""

    body: Floats
    right_lung: Floats
    left_lung: Floats
    heart: Floats
    mediastinum: Floats
    cavity: Floats


RIGHT_CAVITY: tuple[Point, ...] = (
    (0.345, 0.080), (0.405, 0.105), (0.440, 0.170), (0.465, 0.300), (0.470, 0.500), (0.470, 0.700),
    (0.420, 0.728), (0.350, 0.700), (0.275, 0.692), (0.200, 0.722), (0.150, 0.772), (0.112, 0.828),
    (0.106, 0.740), (0.108, 0.620), (0.124, 0.470), (0.156, 0.320), (0.205, 0.190), (0.270, 0.105),
)  # fmt: skip
LEFT_CAVITY: tuple[Point, ...] = (
    (0.660, 0.080), (0.600, 0.105), (0.565, 0.170), (0.535, 0.300), (0.530, 0.500), (0.530, 0.720),
    (0.600, 0.750), (0.690, 0.728), (0.760, 0.720), (0.822, 0.742), (0.866, 0.786), (0.894, 0.838),
    (0.900, 0.740), (0.896, 0.620), (0.880, 0.470), (0.848, 0.320), (0.800, 0.190), (0.735, 0.105),
)  # fmt: skip
HEART: tuple[Point, ...] = (
    (0.500, 0.442), (0.560, 0.446), (0.600, 0.478), (0.645, 0.535), (0.690, 0.600), (0.728, 0.665),
    (0.738, 0.712), (0.700, 0.746), (0.610, 0.760), (0.500, 0.758), (0.425, 0.742), (0.396, 0.690),
    (0.390, 0.620), (0.402, 0.545), (0.430, 0.470),
)  # fmt: skip
MEDIASTINUM: tuple[Point, ...] = (
    (0.440, -0.100), (0.560, -0.100), (0.566, 0.120), (0.574, 0.200), (0.590, 0.245), (0.593, 0.285),
    (0.572, 0.330), (0.578, 0.400), (0.590, 0.470), (0.570, 0.700), (0.560, 1.100), (0.440, 1.100),
    (0.430, 0.700), (0.418, 0.480), (0.428, 0.380), (0.432, 0.250), (0.436, 0.120),
)  # fmt: skip
ABDOMEN: tuple[Point, ...] = (
    (0.112, 0.828), (0.150, 0.772), (0.200, 0.722), (0.275, 0.692), (0.350, 0.700), (0.420, 0.728),
    (0.500, 0.752), (0.600, 0.750), (0.690, 0.730), (0.760, 0.722), (0.822, 0.744), (0.866, 0.788),
    (0.900, 0.845), (0.960, 1.100), (0.900, 1.500), (0.100, 1.500), (0.040, 1.100),
)  # fmt: skip
BODY: tuple[Point, ...] = (
    (0.400, -0.300), (0.600, -0.300), (0.605, -0.040), (0.660, 0.010), (0.800, 0.050), (0.960, 0.110),
    (1.060, 0.220), (1.120, 0.420), (1.110, 0.560), (1.020, 0.480), (0.975, 0.470), (0.970, 0.620),
    (0.965, 0.800), (0.970, 1.000), (0.990, 1.500), (0.500, 1.600), (0.010, 1.500), (0.030, 1.000),
    (0.035, 0.800), (0.030, 0.620), (0.025, 0.470), (-0.020, 0.480), (-0.110, 0.560), (-0.120, 0.420),
    (-0.060, 0.220), (0.040, 0.110), (0.200, 0.050), (0.340, 0.010), (0.395, -0.040),
)  # fmt: skip


def _varied(points: tuple[Point, ...], rng: np.random.Generator, amount: float) -> tuple[Point, ...]:
    """The outline as it differs between people: scaled a little about its centre and moved."""
    p = np.asarray(points)
    centre = p.mean(axis=0)
    moved = centre + (p - centre) * (1 + rng.normal(0, amount, 2)) + rng.normal(0, amount / 4, 2)
    return tuple((float(x), float(y)) for x, y in moved)


def _outlines(canvas: Canvas, rng: np.random.Generator) -> _Chest:
    """The outlines of one person: what heart and mediastinum cover is no lung (the convention of JSRT)."""
    heart_points = _varied(HEART, rng, 0.04)
    right = inside(canvas, _varied(RIGHT_CAVITY, rng, 0.02))
    left = inside(canvas, _varied(LEFT_CAVITY, rng, 0.02))
    heart, mediastinum = inside(canvas, heart_points), inside(canvas, _varied(MEDIASTINUM, rng, 0.01))
    hidden = np.maximum(heart, mediastinum)
    return _Chest(
        body=inside(canvas, BODY),
        right_lung=distance((right > 0) & (hidden <= 0), canvas),
        left_lung=distance((left > 0) & (hidden <= 0), canvas),
        heart=heart,
        mediastinum=mediastinum,
        cavity=np.maximum(right, left),
    )


def _ribs(side: int) -> list[tuple[list[Point], float, float]]:
    """Ten ribs of one side (-1 the patient's right): each runs from the spine outwards and returns in front."""
    lines: list[tuple[list[Point], float, float]] = []
    for number in range(10):
        top = 0.045 + 0.066 * number
        reach = 0.16 + 0.26 * min(1.0, ((number + 0.8) / 4.5)) ** 0.7
        t = np.linspace(0, 1, 24)
        x = 0.5 + side * (0.035 + reach * np.sin(t * np.pi / 2) ** 0.9)
        y = top - 0.028 * np.sin(t * np.pi) + (0.075 + 0.008 * number) * t**2.4
        back = [(float(a), float(b)) for a, b in zip(x, y, strict=True)]
        u = np.linspace(0, 1, 16)
        x = x[-1] - side * (reach * 0.62) * u**1.3
        y = y[-1] + 0.125 * u**0.8
        front = [(float(a), float(b)) for a, b in zip(x, y, strict=True)]
        lines += [(back, 0.024, 0.62), (back, 0.014, 0.42)]
        if number < 7:
            lines += [(front, 0.026, 0.40), (front, 0.017, 0.28)]
    return lines


def _clavicle(side: int) -> list[tuple[list[Point], float, float]]:
    points = [
        (0.5 + side * 0.035, 0.118), (0.5 + side * 0.12, 0.105), (0.5 + side * 0.22, 0.075),
        (0.5 + side * 0.32, 0.058), (0.5 + side * 0.40, 0.062),
    ]  # fmt: skip
    return [(points, 0.028, 0.75), (points, 0.016, 0.5)]


def _scapula(side: int) -> list[tuple[list[Point], float, float]]:
    border = [(0.5 + side * 0.40, 0.09), (0.5 + side * 0.395, 0.22), (0.5 + side * 0.42, 0.38)]
    shoulder = [(0.5 + side * 0.40, 0.09), (0.5 + side * 0.50, 0.13), (0.5 + side * 0.56, 0.30)]
    return [(shoulder, 0.075, 0.42), (border, 0.016, 0.5)]


def _bones(canvas: Canvas) -> Floats:
    """Ribs, clavicles and scapulae of both sides, then the vertebrae, as added brightness in [0, 1]."""
    lines = [line for side in (-1, 1) for line in (*_ribs(side), *_scapula(side), *_clavicle(side))]
    vertebrae = []
    for number in range(18):
        y = -0.05 + 0.064 * number
        vertebrae.append(([(0.5, y), (0.5, y + 0.046)], 0.075, 0.55))
        vertebrae.append(([(0.497, y + 0.02), (0.503, y + 0.04)], 0.012, 0.85))
    return np.asarray(strokes(canvas, lines, 0.0018) + 0.6 * strokes(canvas, vertebrae, 0.004), dtype=np.float32)


def _branch(
    rng: np.random.Generator, start: Point, heading: float, width: float, left: int
) -> list[tuple[list[Point], float, float]]:
    """A vessel and what springs from it: shorter and thinner at each fork."""
    x, y = start
    points = [start]
    for _ in range(5):
        heading += rng.normal(0, 0.16)
        x, y = x + 0.017 * np.cos(heading), y + 0.017 * np.sin(heading)
        points.append((float(x), float(y)))
    line = (points, width, min(1.0, 0.25 + width * 55))
    if left == 0:
        return [line]
    forks = (heading - rng.uniform(0.2, 0.6), heading + rng.uniform(0.2, 0.6))
    return [line, *(v for fork in forks for v in _branch(rng, points[-1], fork, width * 0.72, left - 1))]


def _vessels(canvas: Canvas, rng: np.random.Generator) -> Floats:
    """The vessels that fan out of both hila, as added brightness in [0, 1]."""
    lines: list[tuple[list[Point], float, float]] = []
    for side, height in ((-1, 0.40), (1, 0.375)):
        for angle in np.linspace(-1.25, 1.35, 7):
            heading = angle if side > 0 else np.pi - angle
            lines += _branch(rng, (0.5 + side * 0.075, height + 0.04 * angle), float(heading), 0.011, 4)
    lines.sort(key=lambda line: line[1])
    return strokes(canvas, lines, 0.0022)


def _cloud(canvas: Canvas, rng: np.random.Generator, size: float) -> Floats:
    """Smooth random unevenness of mean 0 and deviation 1, `size` of the chest's square wide."""
    coarse = max(2, round(1 / size))
    shape = (coarse * canvas.rows // canvas.side + 2, coarse * canvas.cols // canvas.side + 2)
    noise = rng.normal(0, 1, shape).astype(np.float32)
    image = Image.fromarray(noise).resize((canvas.cols, canvas.rows), Image.Resampling.BICUBIC)
    return np.asarray(image, dtype=np.float32)


def _chest_values(
    canvas: Canvas, chest: _Chest, rng: np.random.Generator, ill: Drawn, lesions: Sequence[Lesion]
) -> Floats:
    """Brightness of a frontal chest: how much of each tissue stands in the way of the beam."""
    x, y = canvas.grid()
    lungs = np.maximum(chest.right_lung, chest.left_lung)
    shadow = np.maximum(chest.heart, chest.mediastinum)
    values = 0.03 + 0.62 * thickness(chest.body, 0.14)
    values += 0.14 * thickness(inside(canvas, ABDOMEN), 0.035)
    values -= 0.36 * thickness(chest.cavity, 0.075) * (1 - soft(shadow, 0.012))
    values -= 0.06 * thickness(chest.cavity, 0.2) * soft(shadow, 0.012)
    values += 0.10 * thickness(chest.heart, 0.12) + 0.10 * thickness(chest.mediastinum, 0.06)
    values -= 0.10 * np.exp(-(((x - 0.497) / 0.018) ** 2)) * soft(0.33 - y, 0.06)
    values -= 0.07 * np.exp(-(((x - 0.77) / 0.045) ** 2) - ((y - 0.85) / 0.022) ** 2)
    bright = thickness(lungs, 0.03)
    markings = bright * (0.13 * _vessels(canvas, rng) + 0.012 * _cloud(canvas, rng, 0.02))
    values = shown(values + markings, markings, lungs, ill, lesions) if lesions else values + markings
    values += 0.05 * bright * np.exp(-(((np.abs(x - 0.5) - 0.11) / 0.05) ** 2) - ((y - 0.42) / 0.09) ** 2)
    values += 0.135 * _bones(canvas) * soft(chest.body, 0.02)
    return np.asarray(values + 0.015 * _cloud(canvas, rng, 0.3) * soft(chest.body, 0.05), dtype=np.float32)


LATERAL_BODY: tuple[Point, ...] = (
    (0.330, -0.200), (0.660, -0.200), (0.680, 0.000), (0.780, 0.120), (0.850, 0.300), (0.850, 0.560),
    (0.800, 0.800), (0.790, 1.200), (0.180, 1.200), (0.140, 0.900), (0.130, 0.600), (0.160, 0.380),
    (0.250, 0.180), (0.330, 0.050),
)  # fmt: skip
LATERAL_LUNG: tuple[Point, ...] = (
    (0.480, 0.100), (0.580, 0.110), (0.690, 0.200), (0.760, 0.380), (0.760, 0.600), (0.730, 0.830),
    (0.620, 0.740), (0.480, 0.690), (0.330, 0.690), (0.210, 0.730), (0.200, 0.560), (0.240, 0.360),
    (0.350, 0.180),
)  # fmt: skip
LATERAL_HEART: tuple[Point, ...] = (
    (0.330, 0.430), (0.450, 0.440), (0.530, 0.530), (0.540, 0.650), (0.480, 0.700), (0.330, 0.710),
    (0.225, 0.700), (0.225, 0.600), (0.260, 0.500),
)  # fmt: skip


def _lateral_values(canvas: Canvas, rng: np.random.Generator) -> Floats:
    """Brightness of a lateral chest: one cavity, the spine behind, the heart in front, arms raised."""
    x, y = canvas.grid()
    body, lung = inside(canvas, LATERAL_BODY), inside(canvas, _varied(LATERAL_LUNG, rng, 0.02))
    heart = inside(canvas, _varied(LATERAL_HEART, rng, 0.03))
    values = 0.03 + 0.68 * thickness(body, 0.16) + 0.10 * soft(y - 0.78 + 0 * x, 0.2) * soft(body, 0.1)
    values -= 0.33 * thickness(lung, 0.10)
    values += 0.20 * thickness(heart, 0.10) * soft(lung + 0.02, 0.04)
    spine = [([(0.73 + 0.05 * np.sin(3 * v), v), (0.73 + 0.05 * np.sin(3 * v), v + 0.045)], 0.075, 0.8)
             for v in np.arange(0.0, 1.1, 0.062)]  # fmt: skip
    ribs = [([(0.74, v), (0.55, v + 0.10), (0.36, v + 0.22), (0.26, v + 0.30)], 0.02, 0.5)
            for v in np.arange(0.08, 0.62, 0.075)]  # fmt: skip
    values += 0.16 * strokes(canvas, spine, 0.004) + 0.09 * strokes(canvas, ribs, 0.003) * soft(body, 0.02)
    values -= 0.12 * np.exp(-(((x - 0.50 - 0.1 * y) / 0.02) ** 2)) * soft(0.40 - y, 0.08)
    return np.asarray(values + 0.02 * _cloud(canvas, rng, 0.05) * soft(body, 0.05), dtype=np.float32)


def _hand_values(canvas: Canvas, rng: np.random.Generator) -> Floats:
    """Brightness of a hand: five fingers of three bones over a palm."""
    flesh: list[tuple[list[Point], float, float]] = [([(0.5, 0.62), (0.5, 1.1)], 0.30, 0.5)]
    bones: list[tuple[list[Point], float, float]] = []
    for number, (spread, reach) in enumerate(((-1.05, 0.30), (-0.42, 0.50), (-0.08, 0.56), (0.24, 0.52), (0.55, 0.42))):
        direction = np.array([np.sin(spread), -np.cos(spread)])
        start = np.array([0.5 + 0.09 * (number - 2), 0.66])
        tip = start + direction * reach
        flesh.append(([tuple(start), tuple(tip)], 0.085, 0.5))
        for part in np.linspace(0.05, 0.78, 4):
            a, b = start + direction * reach * part, start + direction * reach * (part + 0.19)
            bones.append(([tuple(a), tuple(b)], 0.038, 0.9))
    values = 0.05 + 0.6 * strokes(canvas, flesh, 0.01) + 0.4 * strokes(canvas, bones, 0.004)
    return np.asarray(values + 0.01 * _cloud(canvas, rng, 0.05), dtype=np.float32)


def _marked(values: Floats, letter: str, corner: Point) -> Floats:
    """The values with a lead letter at a corner, given as x and y in the whole picture from 0 to 1."""
    rows, cols = values.shape
    plate = Image.new("L", (cols, rows))
    size = max(8, round(0.05 * min(rows, cols)))
    where = (round(corner[0] * cols), round(corner[1] * rows))
    ImageDraw.Draw(plate).text(where, letter, fill=255, font=ImageFont.load_default(size))
    return np.asarray(np.maximum(values, np.asarray(plate, dtype=np.float32) / 255 * 0.97), dtype=np.float32)


def _grain(rng: np.random.Generator, values: Floats, amount: float) -> Floats:
    """Quantum noise: stronger where fewer photons arrive, that is where the picture is bright."""
    noise = rng.standard_normal(values.shape, dtype=np.float32)
    return np.asarray(values + amount * noise * (0.5 + values), dtype=np.float32)


@lru_cache(maxsize=4)
def draw(
    subject: Subject, seed: int, rows: int, cols: int, marker: str = "R", lesions: tuple[Lesion, ...] = ()
) -> Picture:
    """Draw a subject on `rows` by `cols` pixels, in the reference arrangement of its view.

    `marker` is the lead letter beside the patient ("R" on the patient's right, "L" on the left, "" none). Only a
    frontal chest has masks and lesions; those of a lateral or a hand are empty. The arrays are shared: they are
    read-only.
    """
    rng = np.random.default_rng([seed, *subject.encode()])
    canvas = canvas_for(rows, cols)
    empty = np.zeros((rows, cols), dtype=np.bool_)
    masks = {"right_lung": empty, "left_lung": empty, "heart": empty, "pneumothorax": empty}
    opacities = empty.astype(np.uint8)
    if subject is Subject.FRONTAL:
        chest = _outlines(canvas, rng)
        ill = outlined(canvas, {Side.RIGHT: chest.right_lung, Side.LEFT: chest.left_lung}, lesions, seed)
        values = _chest_values(canvas, chest, rng, ill, lesions)
        for name in ("right_lung", "left_lung", "heart"):
            masks[name] = enlarged(getattr(chest, name), rows, cols) > 0
        masks["pneumothorax"] = enlarged(ill.air, rows, cols) > 0
        for number, depth in enumerate(ill.opacities, start=1):
            opacities[enlarged(depth, rows, cols) > 0] = number
    else:
        values = (_lateral_values if subject is Subject.LATERAL else _hand_values)(canvas, rng)
    values = np.clip(_grain(rng, enlarged(values, rows, cols), 0.006), 0, 1)
    if marker:
        values = _marked(values, marker, (0.05 if marker == "R" else 0.90, 0.06))
    planes: list[NDArray[Any]] = [values, opacities, *masks.values()]
    for plane in planes:
        plane.flags.writeable = False
    return Picture(values=values, opacities=opacities, **masks)
