"""Hides where the lungs of a film come from: drawn by somebody, or found by the lungs' bundle.

Promises films in memory with both their lungs, or with none where nobody drew them and what the bundle says looks like
no pair of lungs. What the bundle said is kept in the run folder, so that a run that goes on does not ask again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxrnode.errors import NeedsOperator
from cxrnode.inference.bundle import Network
from cxrnode.pixels.geometry import resample, restore
from cxrnode.pixels.normalise import prepare
from cxrnode.training.example import Example, read_mask, read_picture
from cxrnode.training.films import pixel_aspect
from cxrnode.training.samples import CACHED_PER_GRID

FloatArray = NDArray[np.float32]
Mask = NDArray[np.bool_]

SIDES = ("right_lung", "left_lung")
AREA = (0.03, 0.35)
"""Shares of the picture between which a lung's area lies on a film of the whole chest."""
UNLIKE = 2.5
"""A lung this many times the other's area is not believed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A film in memory with square pixels: `picture` (rows, cols) uint8, its lungs and, drawn on it, other masks.

    `lungs` and `drawn` are (2 or 1, rows, cols) bool, packed along the last axis; None where there are none.
    """

    picture: NDArray[np.uint8]
    lungs: NDArray[np.uint8] | None
    drawn: NDArray[np.uint8] | None

    def image(self) -> FloatArray:
        """Give the picture as 0..1."""
        return self.picture.astype(np.float32) / np.float32(255)

    def lung(self, side: int) -> Mask:
        """Give the right (0) or left (1) lung. Raises ValueError where nobody knows it."""
        if self.lungs is None:
            raise ValueError("this film's lungs are not known")
        return _unpacked(self.lungs[side], self.picture.shape[1])

    def mask(self) -> Mask:
        """Give what was drawn on the film; nothing where nobody drew."""
        if self.drawn is None:
            return np.zeros(self.picture.shape, dtype=np.bool_)
        return _unpacked(self.drawn[0], self.picture.shape[1])


def lungs_network(bundle: Path) -> Network:
    """Load the lungs' bundle, for films where nobody drew what it sees. Raises NeedsOperator where it is not there."""
    if not bundle.is_dir():
        raise NeedsOperator(
            "the lungs' bundle, which finds lungs and hearts on films where nobody drew them, is not there",
            operation="train",
            subject=str(bundle),
            hint="docs/operations.md, Training a model",
        )
    return Network.load(bundle)


class LungFinder:
    """The lungs' bundle, asked once a film; its answers are kept in a file."""

    def __init__(self, bundle: Path, kept: Path) -> None:
        """Load the bundle, and the answers of this very bundle where there are any.

        Raises NeedsOperator where the bundle cannot be used.
        """
        self._network = lungs_network(bundle)
        self._kept = kept
        self._answers: dict[str, NDArray[np.uint8]] = {}
        if kept.is_file():
            with np.load(kept) as found:
                if str(found["digest"]) == self._network.card.digest:
                    self._answers = {name: found[name] for name in found.files if name != "digest"}

    def lungs(self, name: str, image: FloatArray, aspect: float, shape: tuple[int, int]) -> Mask | None:
        """Give the lungs (2, rows, cols) on a grid of `shape`; None where they are not believed."""
        size = self._network.card.input_size
        picture, box = prepare(image, size, aspect)
        if name not in self._answers:
            said = self._network.predict(picture[None, None])[0]
            cut = np.stack([said[self._network.card.channels.index(side)] >= 0.5 for side in SIDES])
            self._answers[name] = np.packbits(cut, axis=-1)
        found = restore(_unpacked(self._answers[name], size).astype(np.float32), box)
        lungs = np.stack([resample(lung, *shape) > 0.5 for lung in found])
        return lungs if believable(lungs) else None

    def known(self) -> set[str]:
        """Name the films whose lungs need not be asked for."""
        return set(self._answers)

    def keep(self) -> None:
        """Write the answers down, whole or not at all."""
        part = self._kept.with_suffix(".part.npz")
        # numpy's annotations take the names for its own arguments.
        np.savez(part, digest=np.array(self._network.card.digest), **self._answers)  # type: ignore[arg-type]
        part.replace(self._kept)


def believable(lungs: Mask) -> bool:
    """Say whether two masks (2, rows, cols) look like a right and a left lung of a whole frontal chest."""
    shares = lungs.mean(axis=(1, 2))
    if not all(AREA[0] <= share <= AREA[1] for share in shares) or max(shares) > UNLIKE * min(shares):
        return False
    right, left = (np.nonzero(lung)[1].mean() for lung in lungs)
    return bool(left - right > 0.15 * lungs.shape[2])


def take_host(example: Example, size: int, finder: LungFinder | None) -> Host:
    """Read a film a little finer than a grid of `size`, with its lungs, asking `finder` where nobody drew them."""
    image = read_picture(example)
    aspect = pixel_aspect(example, image.shape)
    rows, cols = image.shape
    scale = CACHED_PER_GRID * size / max(rows * aspect, cols)
    shape = (round(rows * aspect * scale), round(cols * scale))
    lungs: Mask | None = None
    if all(side in example.masks for side in SIDES):
        lungs = np.stack([_shrunk(example, side, shape) for side in SIDES])
    elif finder is not None:
        lungs = finder.lungs(example.name, image, aspect, shape)
    drawn = _shrunk(example, "pneumothorax", shape)[None] if "pneumothorax" in example.masks else None
    return Host(
        picture=np.clip(resample(image, *shape) * 255 + 0.5, 0, 255).astype(np.uint8),
        lungs=None if lungs is None else np.packbits(lungs, axis=-1),
        drawn=None if drawn is None else np.packbits(drawn, axis=-1),
    )


def _shrunk(example: Example, channel: str, shape: tuple[int, int]) -> Mask:
    return np.asarray(resample(read_mask(example, channel).astype(np.float32), *shape) > 0.5)


def _unpacked(bits: NDArray[np.uint8], cols: int) -> Mask:
    return np.unpackbits(bits, axis=-1, count=cols).astype(np.bool_)
