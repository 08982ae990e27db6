"""What may be ill in a synthetic chest: air beside a lung, opacities in it, each with its outline known.

Hides how they change the picture. Promises the same lesion for the same arguments, that it lies in the lung of the
side it names, and that a chest without lesions is drawn exactly as before. Planes are (rows, cols) on the canvas of
`shapes`, distances in units of the chest's square.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy import ndimage

from cxrnode.phantom.shapes import Canvas, Floats, Mask, distance, inside, soft, thickness


class Side(StrEnum):
    """The patient's own side."""

    RIGHT = "right"
    LEFT = "left"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pneumothorax:
    """Air between a lung and the chest wall: `share` of the side's lung field, above 0 and below 1."""

    side: Side = Side.RIGHT
    share: float = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Opacity:
    """A consolidation in a lung: `height` in the lung (0 the apex, 1 the base), `size` its diameter as a share of the
    chest's square, `density` its brightness from 0 to 1."""

    side: Side = Side.RIGHT
    height: float = 0.7
    size: float = 0.16
    density: float = 0.6


Lesion = Pneumothorax | Opacity


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """The lesions of one chest: signed distance of the air, signed distances of the opacities in their order."""

    air: Floats
    opacities: tuple[Floats, ...] = ()


def outlined(canvas: Canvas, lungs: Mapping[Side, Floats], lesions: Sequence[Lesion], seed: int) -> Drawn:
    """Outline the lesions in lungs given as signed distances. ValueError for a share that is no share."""
    air = np.zeros((canvas.rows, canvas.cols), dtype=np.bool_)
    opacities = []
    for number, lesion in enumerate(lesions):
        lung = lungs[lesion.side]
        if isinstance(lesion, Pneumothorax):
            air |= _air(canvas, lung > 0, lesion)
        else:
            opacities.append(_opacity(canvas, lung, lesion, np.random.default_rng([seed, number])))
    clear = tuple(distance((one > 0) & ~air, canvas) for one in opacities)
    return Drawn(air=distance(air, canvas), opacities=clear)


def _air(canvas: Canvas, lung: Mask, lesion: Pneumothorax) -> Mask:
    """The rim that a lung leaves when it shrinks towards its hilum, so wide that it takes the stated share."""
    if not 0 < lesion.share < 1:
        raise ValueError(f"a pneumothorax takes a share between 0 and 1 of its side, not {lesion.share:g}")
    rows, cols = np.nonzero(lung)
    x, y = canvas.grid()
    inner = 0.45 if lesion.side is Side.RIGHT else 0.55
    down = y[rows.min(), 0] + 0.72 * np.ptp(y[rows, 0])
    angle = np.arctan2(y - down, x - inner)[rows, cols]
    reach = np.hypot(x - inner, y - down)[rows, cols]
    ratio = reach / _farthest(angle, reach)
    air = np.zeros(lung.shape, dtype=np.bool_)
    air[rows, cols] = ratio > np.quantile(ratio, 1 - lesion.share)
    return air


def _farthest(angle: Floats, reach: Floats, bins: int = 90) -> Floats:
    """How far the lung reaches in the direction of each of its points, smoothed over directions."""
    place = np.minimum(((angle + np.pi) / (2 * np.pi) * bins).astype(int), bins - 1)
    longest = np.zeros(bins)
    np.maximum.at(longest, place, reach)
    known = np.flatnonzero(longest)
    smooth = ndimage.gaussian_filter1d(np.interp(np.arange(bins), known, longest[known], period=bins), 1.5, mode="wrap")
    at = np.interp((angle + np.pi) / (2 * np.pi) * bins - 0.5, np.arange(bins), smooth, period=bins)
    return np.asarray(np.maximum(at, 1e-3), dtype=np.float32)


def _opacity(canvas: Canvas, lung: Floats, lesion: Opacity, rng: np.random.Generator) -> Floats:
    """A lobed patch around the middle of the lung at its height, cut at the lung's border."""
    rows, _ = np.nonzero(lung > 0)
    row = round(rows.min() + lesion.height * np.ptp(rows))
    columns = np.flatnonzero(lung[min(row, rows.max())] > 0)
    x, y = canvas.grid()
    centre_x, centre_y = float(x[0, columns].mean()), float(y[min(row, rows.max()), 0])
    angles = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    radii = lesion.size / 2 * rng.uniform(0.8, 1.15, angles.size)
    points = [
        (centre_x + float(r * np.cos(a)), centre_y + float(r * np.sin(a)))
        for a, r in zip(angles, radii, strict=True)
    ]  # fmt: skip
    return distance((inside(canvas, points) > 0) & (lung > 0), canvas)


def shown(values: Floats, markings: Floats, lung: Floats, drawn: Drawn, lesions: Sequence[Lesion]) -> Floats:
    """Put the lesions into a chest's brightness. `markings` is what the vessels added to it: none where there is air.

    `lung` is the signed distance of both lungs. What is left of a lung beside air is a little denser, and its edge is
    a fine bright line.
    """
    air = soft(drawn.air, 0.004)
    values = values - air * (markings + 0.05 * thickness(drawn.air, 0.02))
    values = values + 0.09 * np.exp(-((drawn.air / 0.0025) ** 2)) * soft(lung - 0.012, 0.01)
    kinds = [lesion for lesion in lesions if isinstance(lesion, Opacity)]
    for lesion, depth in zip(kinds, drawn.opacities, strict=True):
        values = values + 0.35 * lesion.density * thickness(depth, lesion.size / 4)
    return np.asarray(values, dtype=np.float32)
