"""Hides how a pneumothorax is drawn on a film that has none, where real masks are too few to learn from.

Promises that a drawing is a function of (film, lungs, generator); that nothing changes outside the lung it is drawn in;
and that the truth is the air between the chest wall and the retracted lung, never more than the lung's own field.

What a reader goes by is what is drawn: the lung has left the chest wall, a thin pleural line is its border, no vessel
crosses that line, the air is a little darker, the collapsed lung a little denser, and ribs run on through it all
(O'Connor AR, Morgan WE. Radiological review of pneumothorax. BMJ 2005;330:1493-1497). The picture is taken apart into
what stays (ribs, soft tissue) and vessels; the vessels move with the lung. Lengths are shares of the lung's height, so
that a film's resolution does not matter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

FloatArray = NDArray[np.float32]
Mask = NDArray[np.bool_]
Generator = np.random.Generator

SMALLEST, LARGEST = 0.015, 0.92
"""Shares of the lung's area that the air may take."""
VESSEL = 0.045
"""Nothing wider than this share of the lung's height is taken for a vessel; a rib is."""
TRIES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Collapse:
    """How a lung has left the chest wall: moved and shrunk about its hilum, in shares of its height and of one.

    `pocket` (row, column, height, width), where given, is a closed-off hollow at the wall instead, in shares of the
    lung's box.
    """

    down: float = 0.0
    inward: float = 0.0
    tall: float = 1.0
    wide: float = 1.0
    turn: float = 0.0
    pocket: tuple[float, float, float, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulated:
    """A film with a pneumothorax: `image` (rows, cols) 0..1, `air` (rows, cols), and its share of the lung."""

    image: FloatArray
    air: Mask
    share: float


def simulate(image: FloatArray, lung: Mask, rng: Generator) -> Simulated | None:
    """Draw a pneumothorax into one lung (rows, cols) of a film (rows, cols; 0..1).

    Small ones are the most common. Gives None where no try was of a size that may be: the lung is too odd.
    """
    box = _box(lung, margin=4)
    if box is None:
        return None
    chest = _Chest.of(image[box], lung[box], inward=_inward(lung))
    for _ in range(TRIES):
        collapse = draw_collapse(rng)
        inner = chest.retracted(collapse, rng)
        air = _tidy((inner < 0) & (chest.depth > 0), chest.height)
        share = float(air.sum() / max(1, chest.lung.sum()))
        if SMALLEST <= share <= LARGEST:
            drawn, whole = image.copy(), np.zeros_like(lung)
            drawn[box] = chest.compose(inner, air, share, collapse, rng)
            whole[box] = air
            return Simulated(image=drawn, air=whole, share=share)
    return None


def disturb(image: FloatArray, lung: Mask, rng: Generator) -> FloatArray:
    """Take one lung of a film apart and put it together again, a little moved and without any air.

    What `simulate` leaves in a lung besides the air, softer grain above all, tells a network that there is one more
    easily than the air does: one that had learnt without disturbed films took nearly all of them for simulated ones.
    Vessels moved as far as in a whole collapse are left to the films with air. Gives the film as it is where the lung
    is too odd.
    """
    box = _box(lung, margin=4)
    if box is None:
        return image
    chest = _Chest.of(image[box], lung[box], inward=_inward(lung))
    moved = draw_collapse(rng)
    if moved.pocket is None:
        moved = Collapse(down=rng.normal(0.0, 0.02), inward=rng.normal(0.0, 0.01), turn=rng.normal(0.0, 0.03))
    drawn = image.copy()
    drawn[box] = chest.compose(chest.depth, np.zeros_like(chest.lung), 0.0, moved, rng)
    return drawn


def draw_collapse(rng: Generator) -> Collapse:
    """Draw the kind and size of a collapse: at the apex, along the side, all round, at the base, a pocket."""
    kinds: tuple[tuple[float, Callable[[Generator], Collapse]], ...] = (
        (0.45, _apical),
        (0.22, _lateral),
        (0.18, _all_round),
        (0.08, _basal),
        (0.07, _pocket),
    )
    pick = int(rng.choice(len(kinds), p=[chance for chance, _ in kinds]))
    return kinds[pick][1](rng)


def _small(rng: Generator, middle: float, most: float) -> float:
    """Draw a length whose logarithm is normal: small ones are common, large ones are not left out."""
    return float(min(most, middle * np.exp(0.6 * rng.standard_normal())))


def _apical(rng: Generator) -> Collapse:
    """The lung sinks: a cap of air over it that thins out along the side."""
    down = _small(rng, 0.055, 0.35)
    inward = down * rng.uniform(0.0, 0.6)
    return Collapse(down=down, inward=inward, wide=rng.uniform(0.93, 1.02), turn=rng.normal(0.0, 0.04))


def _lateral(rng: Generator) -> Collapse:
    """A strip of air along the side, often round the apex too."""
    inward = _small(rng, 0.03, 0.25)
    return Collapse(inward=inward, down=inward * rng.uniform(0.0, 1.2), turn=rng.normal(0.0, 0.05))


def _all_round(rng: Generator) -> Collapse:
    """The lung shrinks towards its hilum, down to a fist."""
    size = 0.95 - 0.65 * rng.random() ** 1.5
    down = rng.uniform(-0.02, 0.15) * (1 - size)
    return Collapse(tall=size, wide=size * rng.uniform(0.65, 1.0), down=down, turn=rng.normal(0.0, 0.06))


def _basal(rng: Generator) -> Collapse:
    """Lying patients: the air gathers in front, at the base and in the sulcus."""
    up = _small(rng, 0.07, 0.25)
    return Collapse(down=-up, inward=up * rng.uniform(0.2, 1.0), turn=rng.normal(0.0, 0.05))


def _pocket(rng: Generator) -> Collapse:
    """Adhesions hold the lung everywhere but here."""
    tall, wide = rng.uniform(0.12, 0.4), rng.uniform(0.15, 0.55)
    return Collapse(pocket=(rng.uniform(0.0, 1.0), rng.uniform(0.6, 1.1), tall, wide))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chest:
    """One lung's part of a film, taken apart. `depth` is the distance to the lung's border, positive inside."""

    picture: FloatArray
    lung: Mask
    depth: FloatArray
    still: FloatArray
    inward: int
    height: float
    contrast: float

    @classmethod
    def of(cls, picture: FloatArray, lung: Mask, inward: int) -> _Chest:
        smooth = ndimage.gaussian_filter(lung.astype(np.float32), 1.0) > 0.5
        depth = ndimage.distance_transform_edt(smooth) - ndimage.distance_transform_edt(~smooth)
        height = float(np.count_nonzero(smooth.any(axis=1)))
        low, high = np.quantile(picture, [0.05, 0.95])
        return cls(
            picture=picture.astype(np.float32),
            lung=smooth & lung,
            depth=depth.astype(np.float32),
            still=_without_vessels(picture, height),
            inward=inward,
            height=height,
            contrast=float(high - low),
        )

    def hilum(self) -> tuple[float, float]:
        """Give the row and column about which the lung shrinks: half way up, near the inner border."""
        rows, cols = np.nonzero(self.lung)
        inner = np.quantile(cols, 0.9 if self.inward > 0 else 0.1)
        return float(rows.mean()), float(inner)

    def retracted(self, collapse: Collapse, rng: Generator) -> FloatArray:
        """Give the distance to the retracted lung's border, positive inside it."""
        if collapse.pocket is not None:
            return self._around_pocket(collapse.pocket, rng)
        moved = ndimage.map_coordinates(self.depth, self._where_from(collapse), order=1, mode="nearest")
        wobble = _waves(self.depth.shape, rng) * rng.uniform(0.0, 0.012) * self.height
        scale = np.sqrt(collapse.tall * collapse.wide)
        return np.asarray(moved * scale + wobble, dtype=np.float32)

    def _where_from(self, collapse: Collapse) -> NDArray[np.float64]:
        """Give, for each pixel, the row and column at which its lung tissue lay before: (2, rows, cols)."""
        rows, cols = np.mgrid[0 : self.lung.shape[0], 0 : self.lung.shape[1]].astype(np.float64)
        y0, x0 = self.hilum()
        y = (rows - y0 - collapse.down * self.height) / collapse.tall
        x = (cols - x0 - self.inward * collapse.inward * self.height) / collapse.wide
        cos, sin = np.cos(collapse.turn), np.sin(collapse.turn)
        return np.stack([y0 + cos * y - sin * x, x0 + sin * y + cos * x])

    def _around_pocket(self, pocket: tuple[float, float, float, float], rng: Generator) -> FloatArray:
        """Give the distance to a hollow at the outer wall: positive outside it."""
        top, outward, tall, wide = pocket
        rows, cols = self.lung.shape
        side = 1 - outward if self.inward > 0 else outward
        y, x = np.ogrid[0:rows, 0:cols]
        ry, rx = max(tall * rows / 2, 1.0), max(wide * cols / 2, 1.0)
        away = np.hypot((y - top * rows) / ry, (x - side * cols) / rx) - 1
        wobble = _waves(self.depth.shape, rng) * rng.uniform(0.0, 0.03) * self.height
        return np.asarray(away * min(ry, rx) + wobble, dtype=np.float32)

    def compose(self, inner: FloatArray, air: Mask, share: float, collapse: Collapse, rng: Generator) -> FloatArray:
        """Put the picture together again: what stays, the vessels where the lung now is, air, pleural line."""
        vessels = self._vessels()
        gone = ndimage.gaussian_filter(air.astype(np.float32), rng.uniform(0.5, 0.9))
        moved = vessels
        if collapse.pocket is None:
            moved = ndimage.map_coordinates(vessels, self._where_from(collapse), order=1, mode="nearest")
        dense = self.contrast * share * rng.uniform(0.05, 0.5) * np.clip(inner / (0.08 * self.height), 0, 1)
        lung = self.still + moved + dense
        hollow = self.still + rng.uniform(0.0, 0.15) * vessels - self.contrast * 0.14 * rng.random() ** 1.5
        hollow = hollow + self._grain(vessels, rng)
        drawn = gone * hollow + (1 - gone) * lung + self._line(inner, air, rng)
        # Only the lung's own field changes; at its border the two pictures meet softly.
        inside = np.clip(self.depth / 1.5, 0, 1)
        blended = inside * drawn + (1 - inside) * self.picture
        return np.asarray(np.clip(blended, 0, 1), dtype=np.float32)

    def _vessels(self) -> FloatArray:
        """Give what moves with the lung: thin and faint; a strong edge, as the heart's, is no vessel."""
        thin = np.clip(self.picture - self.still, -0.06 * self.contrast, 0.15 * self.contrast)
        return np.asarray(thin * np.clip(self.depth / (0.03 * self.height) - 0.3, 0, 1), dtype=np.float32)

    def _line(self, inner: FloatArray, air: Mask, rng: Generator) -> FloatArray:
        """Give the pleural line: a pixel or two wide, brighter here and fainter there."""
        width = rng.uniform(0.002, 0.005) * self.height
        near_air = ndimage.binary_dilation(air, iterations=2) & (inner > -2 * width)
        strength = rng.uniform(0.01, 0.12) * self.contrast * np.clip(1 + 0.5 * _waves(inner.shape, rng), 0, 2)
        line = strength * np.exp(-0.5 * ((inner - width / 2) / width) ** 2) * near_air
        return np.asarray(line * (self.depth > 2), dtype=np.float32)

    def _grain(self, vessels: FloatArray, rng: Generator) -> FloatArray:
        """Give noise as strong as the film's own, so that air is not told by being smooth."""
        fine = vessels - ndimage.gaussian_filter(vessels, 0.8)
        spread = 1.4826 * float(np.median(np.abs(fine[self.lung])))
        noise = ndimage.gaussian_filter(rng.standard_normal(vessels.shape), 0.5) * 2.0
        return np.asarray(rng.uniform(0.6, 1.4) * spread * noise, dtype=np.float32)


def _without_vessels(picture: FloatArray, height: float) -> FloatArray:
    """Take out what is thin and bright or dark; ribs are wider and stay, edges stay.

    A median over every other pixel: a third of the work, and the same to the eye.
    """
    size = max(3, round(VESSEL * height) | 1)
    sparse = np.zeros((size, size), dtype=np.bool_)
    sparse[::2, ::2] = True
    return np.asarray(ndimage.median_filter(picture, footprint=sparse, mode="nearest"), dtype=np.float32)


def _waves(shape: tuple[int, ...], rng: Generator) -> FloatArray:
    """Give a smooth field of about unit spread."""
    coarse = rng.standard_normal((6, 5))
    zoomed = ndimage.zoom(coarse, (shape[0] / 6, shape[1] / 5), order=1, grid_mode=True, mode="nearest")
    return np.asarray(zoomed, dtype=np.float32)


def _tidy(air: Mask, height: float) -> Mask:
    """Drop slivers: what an affine picture of a lung leaves along its border is no pneumothorax."""
    opened = ndimage.binary_opening(air, iterations=max(1, round(0.008 * height)))
    parts, count = ndimage.label(opened)
    if count == 0:
        return np.zeros_like(air)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return np.asarray((sizes >= 0.15 * sizes.max())[parts], dtype=bool)


def _box(lung: Mask, margin: int) -> tuple[slice, slice] | None:
    """Give the window around a lung; None where it is too small to draw in."""
    rows, cols = np.flatnonzero(lung.any(axis=1)), np.flatnonzero(lung.any(axis=0))
    if len(rows) < 24 or len(cols) < 12:
        return None
    top, left = max(0, rows[0] - margin), max(0, cols[0] - margin)
    return slice(int(top), int(rows[-1]) + 1 + margin), slice(int(left), int(cols[-1]) + 1 + margin)


def _inward(lung: Mask) -> int:
    """Tell towards which columns the midline lies: 1 to the right of the picture, -1 to the left."""
    return 1 if np.nonzero(lung)[1].mean() < lung.shape[1] / 2 else -1
