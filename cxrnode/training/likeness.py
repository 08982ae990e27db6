"""Hides how two files are found to be the same film: other sizes, other windows, other names, the same picture.

Promises that what is called alike is nearly the same picture, not merely another chest: thumbnails of the content
without its border, with what is coarse taken away (every chest has lungs), are compared by correlation. A mirrored, a
turned or a hard cropped copy is not found.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from cxrnode.errors import Unsuitable
from cxrnode.training.example import Example, read_picture, read_plane

FloatArray = NDArray[np.float32]

SIDE = 32
COARSE = 2.5
"""Standard deviation, in pixels of a thumbnail, of what is taken away."""
ALIKE = 0.9
"""On 12,398 films of eight sources 99 % of 449 known copies are above; other patients of one hospital come to 0.919,
of two hospitals to 0.89. Joining two patients too many costs nothing; parting two copies is a leak."""
_READ_AT = 128
_BLOCK = 512
_FLAT = 0.02


def find_alike(examples: Sequence[Example], kept_at: Path | None = None) -> Iterator[tuple[int, int]]:
    """Give the pairs of places of films that are alike, the lower place first.

    Thumbnails are kept in the file `kept_at` (npz) where one is named, and read back from it.
    """
    yield from pairs_of(read_thumbnails(examples, kept_at))


def pairs_of(thumbnails: FloatArray) -> Iterator[tuple[int, int]]:
    """Give the pairs of rows of `thumbnails` (N, SIDE * SIDE) whose correlation is at least ALIKE."""
    for start in range(0, len(thumbnails), _BLOCK):
        near = thumbnails[start : start + _BLOCK] @ thumbnails[start:].T
        for row, col in np.argwhere(near >= ALIKE):
            if col > row:
                yield start + int(row), start + int(col)


def read_thumbnails(examples: Sequence[Example], kept_at: Path | None = None) -> FloatArray:
    """Read the films and give their thumbnails (N, SIDE * SIDE), each of length 1, or 0 where it shows nothing."""
    names = [_name(example) for example in examples]
    kept = _kept(kept_at)
    thumbnails = [
        kept[name] if name in kept else thumbnail(_small(example))
        for name, example in zip(names, examples, strict=True)
    ]
    table = np.stack(thumbnails) if thumbnails else np.zeros((0, SIDE * SIDE), dtype=np.float32)
    if kept_at is not None and not kept.keys() >= set(names):
        _keep(kept_at, names, table)
    return table


def thumbnail(picture: FloatArray) -> FloatArray:
    """Reduce a picture (rows, cols) to what tells it from others: (SIDE * SIDE,), of length 1 or 0."""
    content = _without_border(picture)
    square = Image.fromarray(content).resize((SIDE, SIDE), Image.Resampling.BOX)
    plane = np.asarray(square, dtype=np.float32)
    fine = (plane - ndimage.gaussian_filter(plane, COARSE)).ravel()
    fine -= fine.mean()
    length = float(np.linalg.norm(fine))
    return fine / np.float32(length) if length > 1e-6 else np.zeros_like(fine)


def _without_border(picture: FloatArray) -> FloatArray:
    spread = _FLAT * float(picture.max() - picture.min())
    spans = []
    for axis in (1, 0):
        low, high = np.quantile(picture, [0.05, 0.95], axis=axis)
        alive = np.flatnonzero(high - low > spread)
        spans.append(slice(int(alive[0]), int(alive[-1]) + 1) if alive.size else slice(None))
    return np.ascontiguousarray(picture[spans[0], spans[1]])


def _small(example: Example) -> FloatArray:
    """Read a film at about the size that thumbnails need; a JPEG gives that faster than the whole."""
    try:
        picture = read_plane(example.image, near=_READ_AT) if example.is_picture_file else read_picture(example)
    except Unsuitable:
        return np.zeros((SIDE, SIDE), dtype=np.float32)
    step = max(1, round(max(picture.shape) / _READ_AT))
    if step == 1:
        return picture
    size = (max(1, picture.shape[1] // step), max(1, picture.shape[0] // step))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX), dtype=np.float32)


def _name(example: Example) -> str:
    """Name a film's file as it is now: a changed file is another."""
    stat = example.image.stat()
    text = f"{example.image.resolve()} {stat.st_size} {stat.st_mtime_ns}"
    return hashlib.sha256(text.encode()).hexdigest()


def _kept(path: Path | None) -> dict[str, FloatArray]:
    if path is None or not path.is_file():
        return {}
    with np.load(path, allow_pickle=False) as file:
        return dict(zip(file["names"].tolist(), file["thumbnails"], strict=True))


def _keep(path: Path, names: list[str], table: FloatArray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part.npz")
    np.savez(part, names=np.array(names), thumbnails=table)
    part.replace(path)
