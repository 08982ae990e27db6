"""Lungs and heart of one film, and what lies where in them: sides, the thorax, the heart's place.

Hides how the picture lies and how sides are told apart. Promises that a picture without plausible lungs is refused, and
that whatever is split by side comes back on the stored rows and columns. Upright masks have columns that run to the
patient's left and rows that run to the feet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from cxrnode.domain.finding import Mask, ModelIdentity
from cxrnode.domain.measurement import LEAST_SHARE, cleaned
from cxrnode.errors import Unsuitable

LUNGS = ("right_lung", "left_lung")
HEART = "heart"
SIDES = ("right", "left")

LEAST_LUNGS, MOST_LUNGS = 0.05, 0.75
"""Share of the picture that both lungs take together: wider than any lungs on a frontal film, see decision 0013."""

LEAST_PART = 0.05
"""Of what crosses the midline, a part smaller than this share is not called a part of the other side."""

SHIFTED = 0.02
"""Share of the thorax's width by which a heart whose middle is right of the midline lies to the right.

Of 234 hearts that readers drew the rightmost lies 0.002 to the right, half of them 0.07 or more to the left."""

MARGIN = 0.08
"""How far around the lungs still counts as at the lungs, as a share of the picture's long side.

The air above an apex often lies outside of what is segmented: with 0.05 two of thirty pneumothoraces that readers drew
on SIIM's films were doubted, with 0.08 none."""

_COARSE = 512
"""Long side, in pixels, of the grid on which nearness is told."""

_Values = TypeVar("_Values", bound=np.generic)


class Upright(Protocol):
    """The way from stored pixels to a picture whose columns run to the patient's left and rows to the feet."""

    def apply(self, array: NDArray[_Values]) -> NDArray[_Values]:
        """Turn stored planes (..., rows, columns) upright."""
        ...

    def undo(self, array: NDArray[_Values]) -> NDArray[_Values]:
        """Bring upright planes (..., rows, columns) back to how the source is stored."""
        ...

    def undo_points(self, points: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.float64]:
        """Bring (column, row) points of the upright picture back to stored coordinates; `shape` is the stored one."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Chest:
    """Both lungs, and the heart where it was looked for, as one model saw them: by label, stored and upright."""

    model: ModelIdentity
    stored: Mapping[str, Mask]
    upright: Mapping[str, Mask]

    @property
    def both_lungs(self) -> bool:
        """Whether neither lung is empty."""
        return all(bool(self.upright[label].any()) for label in LUNGS)


def tidied(label: str, mask: Mask) -> Mask:
    """Tidy a mask as what its label names is: a lung and a heart are in one place, a finding may be in several."""
    return cleaned(mask, in_one_place=label in (*LUNGS, HEART))


def chest_of(model: ModelIdentity, masks: Mapping[str, Mask], upright: Upright) -> Chest | None:
    """Give the chest in one model's tidied masks, None where it does not look for lungs.

    Raises Unsuitable("implausible") where it looked for them and what it found is no frontal chest.
    """
    if not set(LUNGS) <= masks.keys():
        return None
    stored = {label: masks[label] for label in (*LUNGS, HEART) if label in masks}
    turned = {label: np.ascontiguousarray(upright.apply(mask)) for label, mask in stored.items()}
    _check_plausible(turned["right_lung"], turned["left_lung"])
    return Chest(model=model, stored=stored, upright=turned)


def _check_plausible(right: Mask, left: Mask) -> None:
    share = float((right | left).mean())
    swapped = right.any() and left.any() and _middle(right) >= _middle(left)
    if swapped or not LEAST_LUNGS <= share <= MOST_LUNGS:
        raise Unsuitable("no frontal chest in the pixels", code="implausible", operation="judge")


def _middle(mask: Mask) -> float:
    """Give the mean column of a mask."""
    columns = mask.sum(axis=0)
    return float(columns @ np.arange(columns.size) / columns.sum())


def heart_on_right(chest: Chest) -> bool:
    """Tell whether the heart's middle lies right of the midline between the outer borders of the lungs."""
    heart = chest.upright.get(HEART)
    if heart is None or not heart.any() or not chest.both_lungs:
        return False
    first = int(np.flatnonzero(chest.upright["right_lung"].any(axis=0))[0])
    last = int(np.flatnonzero(chest.upright["left_lung"].any(axis=0))[-1])
    return _middle(heart) < (first + last) / 2 - SHIFTED * (last - first)


def by_side(mask: Mask, chest: Chest | None) -> dict[str, Mask]:
    """Split an upright mask into what lies on the patient's right and left; a side with next to nothing is left out.

    That is LEAST_PART of the mask, or too little of the picture to be looked at.

    A pixel belongs to the nearer lung; without both lungs, to its half of the picture.
    """
    if chest and chest.both_lungs:
        on_right = _nearer(*(chest.upright[label] for label in LUNGS))
    else:
        on_right = np.zeros_like(mask)
        on_right[:, : mask.shape[1] // 2] = True
    parts = dict(zip(SIDES, (mask & on_right, mask & ~on_right), strict=True))
    least = max(LEAST_PART * np.count_nonzero(mask), LEAST_SHARE * mask.size)
    large = [side for side, part in parts.items() if np.count_nonzero(part) >= least]
    return {side: mask if len(large) == 1 else parts[side] for side in large}


def _nearer(right: Mask, left: Mask) -> Mask:
    """Tell where the right lung is as near as the left one, on a coarse grid brought back to all pixels."""
    from scipy import ndimage  # when it is first needed: the node's port opens before

    step = max(1, -(-max(right.shape) // _COARSE))
    distances = [ndimage.distance_transform_edt(~_coarse(lung, step)) for lung in (right, left)]
    fine = (distances[0] <= distances[1]).repeat(step, axis=0).repeat(step, axis=1)
    return np.asarray(fine[: right.shape[0], : right.shape[1]])


def reaching_lungs(mask: Mask, chest: Chest | None) -> Mask:
    """Give the pieces of a stored mask that reach what counts as at the lungs; all of it without both lungs.

    A piece elsewhere, on a shoulder or below the diaphragm, has no side and no lung that it could be a share of.
    """
    if chest is None or not chest.both_lungs or not mask.any():
        return mask
    from scipy import ndimage  # when it is first needed: the node's port opens before

    right, left = (chest.stored[label] for label in LUNGS)
    step = max(1, -(-max(mask.shape) // _COARSE))
    pieces, _ = ndimage.label(_coarse(mask, step), structure=np.ones((3, 3)))
    reached = np.unique(pieces[grown(_coarse(right | left, step))])
    kept = np.isin(pieces, reached[reached > 0]).repeat(step, axis=0).repeat(step, axis=1)
    return np.asarray(mask & kept[: mask.shape[0], : mask.shape[1]])


def grown(mask: Mask) -> Mask:
    """Give a mask with MARGIN of the picture's long side around it."""
    from scipy import ndimage

    around = max(1, round(MARGIN * max(mask.shape)))
    return np.asarray(ndimage.binary_dilation(mask, iterations=around))


def _coarse(mask: Mask, step: int) -> Mask:
    """Give the mask of blocks of `step` pixels that hold any of it."""
    rows, columns = (-size % step for size in mask.shape)
    padded = np.pad(mask, ((0, rows), (0, columns)))
    blocks = padded.reshape(padded.shape[0] // step, step, padded.shape[1] // step, step)
    return np.asarray(blocks.any(axis=(1, 3)))


def hemithorax_share(part: Mask, lung: Mask) -> float:
    """Give the area of `part` as a share (0 to 1) of the hemithorax: the lung and the part together."""
    return float(np.count_nonzero(part) / np.count_nonzero(part | lung))
