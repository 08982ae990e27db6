"""Hides how a film and what is known of it lie on disk.

Promises one kind of value for every data set: what nobody looked for is missing, which is not the same as absent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from pydicom import dcmread
from scipy import ndimage

from cxrnode.errors import NeedsOperator
from cxrnode.pixels.quiet import quiet

Part = Literal["train", "validate", "test"]
Side = Literal["right", "left"]
Mask = NDArray[np.bool_]

JSRT_SIDE, JSRT_WHITE = 2048, 4095
"""Rows and columns of a raw film of JSRT, and its largest value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskAt:
    """A mask in a picture file: the pixels of one value, or those above 127 where `value` is None."""

    path: Path
    value: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskRuns:
    """A mask as runs of pixels, counted down the columns: starts and lengths, as in SIIM-ACR's tables.

    `relative` starts count from the end of the run before, absolute ones from the first pixel.
    """

    runs: str
    rows: int
    cols: int
    relative: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskSide:
    """One lung of a picture file that holds both: the patient's right one lies on the picture's left."""

    path: Path
    side: Side


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskPolygon:
    """A mask as the corners (x, y) of its outline, in a picture of `rows` by `cols`."""

    corners: tuple[tuple[float, float], ...]
    rows: int
    cols: int


AnyMask = MaskAt | MaskRuns | MaskSide | MaskPolygon


@dataclass(frozen=True, slots=True, kw_only=True)
class TrueBox:
    """A box that somebody drew, in the image file's own pixels, corner based."""

    label: str
    drawn_by: str
    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One radiograph and what is known of it.

    `masks` by channel: a missing key was never drawn, an empty tuple was looked for and is absent. `classes` by
    question ("pattern", "rsna"). `labels` are weak: somebody's report, read by a program. `boxes` is None where nobody
    drew any. `true_aspect` is width over height of the film where the file is squashed.
    """

    name: str
    source: str
    patient: str
    part: Part
    image: Path
    true_aspect: float | None = None
    view: str = ""
    age: int | None = None
    sex: str = ""
    flag: str = ""
    licence: str = ""
    masks: Mapping[str, tuple[AnyMask, ...]] = field(default_factory=dict)
    classes: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, bool] = field(default_factory=dict)
    boxes: tuple[TrueBox, ...] | None = None

    @property
    def is_picture_file(self) -> bool:
        """Whether the film is an ordinary picture file, rather than DICOM or JSRT's raw values."""
        return self.image.suffix.lower() not in (".dcm", ".img", "")


def is_drawn(example: Example, channel: str) -> bool:
    """Say whether somebody drew this structure, or looked for it; `lungs` are drawn where each of them is."""
    sides = channel == "lungs" and {"right_lung", "left_lung"} <= example.masks.keys()
    return sides or channel in example.masks


def part_of(key: str) -> Part:
    """Assign a patient to a part, for good: a fifth to test, a tenth to validation, the rest to training."""
    share = share_of(key)
    if share < 0.2:
        return "test"
    return "validate" if share < 0.3 else "train"


def share_of(key: str) -> float:
    """Give a number, 0 to 1, that belongs to a patient for good."""
    return int.from_bytes(hashlib.sha256(f"cxrnode {key}".encode()).digest()[:8], "big") / 2**64


def read_picture(example: Example) -> NDArray[np.float32]:
    """Read a film as a display picture (rows, cols), 0 black to 1 white. Raises Unsuitable for DICOM that is none."""
    if example.is_picture_file:
        return read_plane(example.image)
    if example.image.suffix.lower() == ".img":
        return _read_raw(example.image)
    from cxrnode.pixels.decode import decode
    from cxrnode.pixels.grayscale import display

    return display(decode(example.image)).values


def read_plane(path: Path, near: int | None = None) -> NDArray[np.float32]:
    """Read a picture file as (rows, cols), 0 to 1; more than 8 bits are stretched over what occurs.

    With `near`, a JPEG may come smaller, if both its sides stay longer than that.
    """
    with Image.open(path) as picture:
        if near:
            picture.draft("L", (near, near))
        if not picture.mode.startswith(("I", "F")):
            return np.asarray(picture.convert("L"), dtype=np.float32) / np.float32(255)
        wide = np.asarray(picture, dtype=np.float32)
    low, high = float(wide.min()), float(wide.max())
    return (wide - np.float32(low)) / np.float32(max(high - low, 1e-6))


def _read_raw(path: Path) -> NDArray[np.float32]:
    """Read a raw film of JSRT: 12 bits in big endian words, 0 the brightest."""
    words = np.fromfile(path, dtype=">u2")
    if words.size != JSRT_SIDE**2:
        raise NeedsOperator("it has not 2048 by 2048 values", operation="read film", subject=path.name)
    return (1 - words.reshape(JSRT_SIDE, JSRT_SIDE) / JSRT_WHITE).clip(0, 1).astype(np.float32)


def shape_of(example: Example) -> tuple[int, int]:
    """Give the rows and columns of a film's picture; its pixels are not read for it."""
    if example.is_picture_file:
        return shape_of_file(example.image)
    if example.image.suffix.lower() == ".img":
        return JSRT_SIDE, JSRT_SIDE
    with quiet():
        header = dcmread(example.image, stop_before_pixels=True, force=True, specific_tags=["Rows", "Columns"])
    return int(header.Rows), int(header.Columns)


def shape_of_file(path: Path) -> tuple[int, int]:
    """Give the rows and columns that a picture file's header states."""
    with Image.open(path) as picture:
        return picture.height, picture.width


def read_mask(example: Example, channel: str) -> Mask:
    """Read a mask (rows, cols) on the picture's pixels, whatever the size at which it was drawn.

    `lungs` are both lungs where nobody drew them as one. Raises KeyError where nobody drew this channel,
    NeedsOperator where the mask is of another shape.
    """
    if channel == "lungs" and channel not in example.masks:
        return read_mask(example, "right_lung") | read_mask(example, "left_lung")
    whole = np.zeros(shape_of(example), dtype=np.bool_)
    for part in example.masks[channel]:
        whole |= _fitted(_read_part(part), whole.shape, example.name)
    return whole


def _fitted(mask: Mask, shape: tuple[int, ...], name: str) -> Mask:
    """Bring a mask to the picture's size; a pixel or two of another proportion is rounding, more is another film's."""
    rows, cols = shape
    if mask.shape == shape:
        return mask
    if abs(mask.shape[1] / mask.shape[0] * rows / cols - 1) > 0.02:
        raise NeedsOperator("picture and mask differ in size", operation="read mask", subject=name)
    plane = Image.fromarray(mask.astype(np.uint8) * 255).resize((cols, rows), Image.Resampling.BILINEAR)
    return np.asarray(plane) > 127


def _read_part(part: AnyMask) -> Mask:
    match part:
        case MaskRuns():
            return _from_runs(part)
        case MaskPolygon():
            return _from_polygon(part)
        case MaskSide():
            return _one_side(read_gray(part.path) > 127, part.side)
        case _:
            gray = read_gray(part.path)
            return np.asarray(gray > 127 if part.value is None else gray == part.value)


def _from_polygon(part: MaskPolygon) -> Mask:
    plane = Image.new("L", (part.cols, part.rows), 0)
    if len(part.corners) > 1:
        ImageDraw.Draw(plane).polygon(part.corners, fill=255)
    return np.asarray(plane) > 127


def _one_side(both: Mask, side: Side) -> Mask:
    """Cut one lung out of a mask of both: whole pieces where there are two, else at the narrowest column between."""
    pieces, count = ndimage.label(both)
    sizes = np.bincount(pieces.ravel())[1:]
    if count < 2 or np.sort(sizes)[-2] < 0.1 * sizes.max():
        left_of = np.arange(both.shape[1]) < _waist(both)
        return np.asarray(both & (left_of if side == "right" else ~left_of))
    centres = np.array(ndimage.center_of_mass(both, pieces, range(1, count + 1)))[:, 1]
    middle = centres[np.argsort(sizes)[-2:]].mean()
    wanted = centres < middle if side == "right" else centres >= middle
    return np.asarray(np.concatenate([[False], wanted])[pieces])


def _waist(mask: Mask) -> int:
    """Find the column in the middle third of a mask that has the fewest of its pixels."""
    filled = np.flatnonzero(mask.any(axis=0))
    if not filled.size:
        return int(mask.shape[1]) // 2
    third = int(filled[-1] - filled[0] + 1) // 3
    start = int(filled[0]) + third
    return start + int(np.argmin(mask.sum(axis=0)[start : start + third + 1]))


def _from_runs(part: MaskRuns) -> Mask:
    plane = np.zeros(part.rows * part.cols, dtype=np.bool_)
    numbers = [int(word) for word in part.runs.split()]
    position = 0
    for start, length in zip(numbers[::2], numbers[1::2], strict=True):
        position = position + start if part.relative else start
        plane[position : position + length] = True
        position += length
    return np.ascontiguousarray(plane.reshape(part.cols, part.rows).T)


def read_gray(path: Path) -> NDArray[np.uint8]:
    """Read a picture file as 8-bit gray."""
    with Image.open(path) as picture:
        return np.asarray(picture.convert("L"), dtype=np.uint8)
