"""Which way a frontal picture lies, and back.

Hides Patient Orientation (0020,0020; PS3.3 C.7.6.1.1.1): where rows and columns of the stored pixels run to. The
side is the patient's side, so a model sees every picture the same way (columns run to the patient's left, rows to
the feet) and what it says is brought back exactly. Points are corner based pixel coordinates: (0.5, 0.5) is the
centre of the first pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from cxrnode.pixels.quiet import quiet

Anything = TypeVar("Anything", bound=np.generic)

_ACROSS, _ALONG = frozenset("LR"), frozenset("FH")


@dataclass(frozen=True, slots=True, kw_only=True)
class Orientation:
    """One of the eight ways a picture can lie: flips of the stored picture, then a transposition if `turned`.

    `assumed`: the object does not say, or says what cannot be, and L\\F was taken. `frontal`: False where it says
    that the picture is seen from a side or from above; such a picture is left as it lies.
    """

    turned: bool = False
    flip_columns: bool = False
    flip_rows: bool = False
    assumed: bool = False
    frontal: bool = True

    def apply(self, array: NDArray[Anything]) -> NDArray[Anything]:
        """A picture (..., rows, cols) as stored, brought to L\\F; a view, not a copy."""
        array = array[..., ::-1] if self.flip_columns else array
        array = array[..., ::-1, :] if self.flip_rows else array
        return array.swapaxes(-1, -2) if self.turned else array

    def undo(self, array: NDArray[Anything]) -> NDArray[Anything]:
        """A picture or mask (..., rows, cols) in L\\F, brought back to how the source is stored; a view."""
        array = array.swapaxes(-1, -2) if self.turned else array
        array = array[..., ::-1, :] if self.flip_rows else array
        return array[..., ::-1] if self.flip_columns else array

    def undo_points(
        self, points: Sequence[tuple[float, float]] | NDArray[Any], shape: tuple[int, int]
    ) -> NDArray[np.float64]:
        """Points (N, 2) of (column, row) in L\\F, brought back to the source, whose stored (rows, cols) is `shape`."""
        back = np.array(points, dtype=np.float64).reshape(-1, 2)
        back = back[:, ::-1].copy() if self.turned else back
        if self.flip_rows:
            back[:, 1] = shape[0] - back[:, 1]
        if self.flip_columns:
            back[:, 0] = shape[1] - back[:, 0]
        return back

    def apply_points(
        self, points: Sequence[tuple[float, float]] | NDArray[Any], shape: tuple[int, int]
    ) -> NDArray[np.float64]:
        """The inverse of `undo_points`: points of the stored picture of `shape` (rows, cols), brought to L\\F."""
        there = np.array(points, dtype=np.float64).reshape(-1, 2)
        if self.flip_rows:
            there[:, 1] = shape[0] - there[:, 1]
        if self.flip_columns:
            there[:, 0] = shape[1] - there[:, 0]
        return there[:, ::-1].copy() if self.turned else there


@quiet()
def from_header(header: Dataset) -> Orientation:
    """Read Patient Orientation; never raises."""
    return of(_stated(header))


def of(stated: Sequence[str]) -> Orientation:
    """Give the orientation that the two values of Patient Orientation state.

    The first letter of each is the principal direction: LF runs mostly to the left, a little to the feet.
    """
    letters = [value.strip().upper()[:1] for value in stated]
    if len(letters) != 2 or not all(letter and letter in "LRAPFH" for letter in letters):
        return Orientation(assumed=True)
    across, down = letters
    if {across, down} & {"A", "P"}:
        return Orientation(assumed=True, frontal=False)
    if not (across in _ACROSS and down in _ALONG) and not (across in _ALONG and down in _ACROSS):
        return Orientation(assumed=True)
    return Orientation(turned=across in _ALONG, flip_columns=across in "RH", flip_rows=down in "RH")


def _stated(header: Dataset) -> Sequence[str]:
    """The values of Patient Orientation, none where they cannot be read."""
    try:
        stated = header.get("PatientOrientation") or ()
        return stated.split("\\") if isinstance(stated, str) else [str(value) for value in stated]
    except Exception:  # noqa: BLE001 - pydicom raises whatever a broken value makes it stumble on
        return ()
