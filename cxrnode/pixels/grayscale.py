"""The DICOM grayscale chain: from stored values to the picture that the sender meant to be seen.

Hides modality and VOI transformations, photometric interpretation and padding (PS3.3 C.11.1, C.11.2, C.7.6.3.1.2;
the order is PS3.4 N.2). Promises 0 for black and 1 for white in MONOCHROME2 sense, and the same picture for the
same film, however its object is encoded. Every step acts on single values, so the chain is worked out once for each
value that can occur and the picture is looked up in it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from scipy import ndimage

from cxrnode.pixels.codecs import Integers
from cxrnode.pixels.decode import StoredPixels
from cxrnode.pixels.quiet import quiet

Doubles = NDArray[np.float64]

DARK_SHARE, BRIGHT_SHARE = 0.005, 0.995
"""Shares of the valid pixels that become black and white where the object does not say how to display it."""

LEAST_SHOWN = 0.05
"""A window that shows fewer of the valid pixels as anything but pure black or white is taken for a mistake."""

LEAST_VALID = 0.01
"""Padding that leaves less of the picture than this is taken for a mistake."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Display:
    """A picture as it is to be seen: `values` float32 (rows, cols) in [0, 1], 0 black; `valid` False on padding."""

    values: NDArray[np.float32]
    valid: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Levels:
    """Every value that can occur in the picture: stored, after the modality step, and how many valid pixels have it."""

    stored: NDArray[np.int64]
    modality: Doubles
    count: NDArray[np.int64]


@quiet()
def display(pixels: StoredPixels) -> Display:
    """Take the stored values through the object's own grayscale chain.

    VOI LUT before window, the first of several; where there is neither, or what there is hides the picture, the
    range between two robust percentiles. MONOCHROME1 is inverted once: Presentation LUT Shape INVERSE, which DX
    demands beside it (PS3.3 C.8.11.3, C.7.6.1), says the same again; where the two disagree the photometric
    interpretation is believed, since that is what films in use get right. Padding is black.
    """
    values, header = pixels.values, pixels.header
    valid = _valid(values, header)
    low, high = int(values.min()), int(values.max())
    offsets = np.subtract(values, low, dtype=np.int32)
    count = np.bincount(offsets[valid] if not valid.all() else offsets.ravel(), minlength=high - low + 1)
    stored = np.arange(low, high + 1)
    levels = _Levels(stored=stored, modality=_modality(stored, header), count=count)
    shown = _shown(levels, header)
    if _text(header, "PhotometricInterpretation") == "MONOCHROME1":
        shown = 1 - shown
    picture = shown.astype(np.float32)[offsets]
    picture[~valid] = 0
    return Display(values=picture, valid=valid)


def _valid(values: Integers, header: Dataset) -> NDArray[np.bool_]:
    """False where Pixel Padding Value, or the range to its limit, reaches in from the edge (PS3.3 C.7.5.1.1.2).

    The same value inside the picture is tissue: in MONOCHROME1 it may well be the whitest bone.
    """
    everywhere = np.ones(values.shape, dtype=np.bool_)
    first = _integer(header, "PixelPaddingValue", values)
    if first is None:
        return everywhere
    last = _integer(header, "PixelPaddingRangeLimit", values)
    low, high = sorted((first, first if last is None else last))
    padding = (values >= low) & (values <= high)
    if not padding.any():
        return everywhere
    regions, _ = ndimage.label(padding)
    edges = np.concatenate([regions[0], regions[-1], regions[:, 0], regions[:, -1]])
    outside = np.zeros(int(regions.max()) + 1, dtype=np.bool_)
    outside[edges] = True
    outside[0] = False
    valid = ~outside[regions]
    return valid if valid.mean() >= LEAST_VALID else everywhere


def _integer(header: Dataset, keyword: str, values: Integers) -> int | None:
    """A value of US or SS in the sense of the stored values, whichever VR it was written with."""
    number = _number(header, keyword)
    if number is None:
        return None
    whole = int(number)
    if np.issubdtype(values.dtype, np.signedinteger):
        return whole - 65536 if whole > 32767 else whole
    return whole + 65536 if whole < 0 else whole


def _number(header: Dataset, keyword: str) -> float | None:
    """The first value of an attribute, None where there is no finite one."""
    try:
        value = header.get(keyword)
        if value is None or value == "":
            return None
        first = float(value[0]) if isinstance(value, (list, tuple)) or hasattr(value, "append") else float(value)
    except Exception:  # noqa: BLE001 - pydicom raises whatever a broken value makes it stumble on
        return None
    return first if np.isfinite(first) else None


def _text(header: Dataset, keyword: str) -> str:
    try:
        return str(header.get(keyword) or "").strip().upper()
    except Exception:  # noqa: BLE001 - as in _number
        return ""


def _items(header: Dataset, keyword: str) -> list[Dataset]:
    try:
        return list(header.get(keyword) or [])
    except Exception:  # noqa: BLE001 - as in _number
        return []


def _modality(stored: NDArray[np.int64], header: Dataset) -> Doubles:
    """Modality LUT or rescale (PS3.3 C.11.1); a slope of zero would leave nothing and is not believed."""
    values = stored.astype(np.float64)
    for item in _items(header, "ModalityLUTSequence")[:1]:
        table = _table(item, header, signed=bool(stored[0] < 0))
        if table is not None:
            return table.looked_up(values)
    slope = _number(header, "RescaleSlope") or 1.0
    return values * slope + (_number(header, "RescaleIntercept") or 0.0)


def _shown(levels: _Levels, header: Dataset) -> Doubles:
    """Brightness in [0, 1] of each level, before any inversion."""
    for shown in (_voi_table(levels, header), _window(levels, header)):
        if shown is not None and _shows(shown, levels):
            return shown
    return _robust(levels)


def _shows(shown: Doubles, levels: _Levels) -> bool:
    """Whether a transformation leaves a picture: enough of it neither pure black nor pure white."""
    total = levels.count.sum()
    between = levels.count[(shown > 0) & (shown < 1)].sum()
    return bool(between >= LEAST_SHOWN * total)


def _robust(levels: _Levels) -> Doubles:
    """The range between two percentiles of the valid pixels, by modality value."""
    order = np.argsort(levels.modality, kind="stable")
    share = np.cumsum(levels.count[order]) / max(1, levels.count.sum())
    low = levels.modality[order[np.searchsorted(share, DARK_SHARE)]]
    high = levels.modality[order[min(share.size - 1, int(np.searchsorted(share, BRIGHT_SHARE)))]]
    return np.asarray(np.clip((levels.modality - low) / max(high - low, 1e-9), 0, 1))


def _window(levels: _Levels, header: Dataset) -> Doubles | None:
    """The first window, by its function (PS3.3 C.11.2.1.2, C.11.2.1.3); None where there is none or it has no width."""
    centre, width = _number(header, "WindowCenter"), _number(header, "WindowWidth")
    if centre is None or width is None or width <= 0:
        return None
    function = _text(header, "VOILUTFunction")
    x = levels.modality - centre
    if function == "SIGMOID":
        return np.asarray(1 / (1 + np.exp(np.clip(-4 * x / width, -700, 700))))
    if function == "LINEAR_EXACT":
        return np.clip(x / width + 0.5, 0, 1)
    return np.clip((x + 0.5) / (width - 1) + 0.5, 0, 1) if width > 1 else None


def _voi_table(levels: _Levels, header: Dataset) -> Doubles | None:
    for item in _items(header, "VOILUTSequence")[:1]:
        table = _table(item, header, signed=bool(levels.modality.min() < 0))
        if table is not None:
            return table.looked_up(levels.modality) / table.top
    return None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Table:
    """A LUT (PS3.3 C.11.1.1, C.11.2.1.1): the input that its first entry stands for, its entries, its full scale."""

    first: int
    entries: Doubles
    top: float

    def looked_up(self, values: Doubles) -> Doubles:
        """Inputs before the first entry take it, inputs past the last take that one."""
        position = np.clip(np.rint(values) - self.first, 0, self.entries.size - 1).astype(np.int64)
        return np.asarray(self.entries[position])


def _table(item: Dataset, header: Dataset, *, signed: bool) -> _Table | None:
    """Read a LUT item; None where its descriptor and its data make no table.

    65536 entries are written as 0; the first input is signed where inputs are, whichever VR it was written with.
    """
    try:
        count, first, bits = (int(v) for v in item.LUTDescriptor)
        data = item.LUTData
        entries = _entries(data, count % 65536 or 65536, big=header.original_encoding[1] is False)
    except Exception:  # noqa: BLE001 - as in _number
        return None
    if entries is None:
        return None
    first = first - 65536 if signed and first > 32767 else first
    first = first + 65536 if not signed and first < 0 else first
    return _Table(first=first, entries=entries, top=_full_scale(entries, bits))


def _entries(data: object, count: int, *, big: bool) -> Doubles | None:
    """Entries out of words (US, SS) or bytes (OW), of which there may be one or two an entry."""
    if not isinstance(data, (bytes, bytearray)):
        values = np.atleast_1d(np.asarray(data, dtype=np.float64))
        values = np.where(values < 0, values + 65536, values)
    elif len(data) in (count, count + 1):
        values = np.frombuffer(data, dtype=np.uint8).astype(np.float64)
    else:
        values = np.frombuffer(data, dtype=">u2" if big else "<u2").astype(np.float64)
    return values[:count] if values.size >= count > 1 else None


def _full_scale(entries: Doubles, bits: int) -> float:
    """The greatest output that the descriptor's bits allow; a descriptor far from its data is not believed."""
    stated = float(2 ** min(max(bits, 8), 16) - 1)
    greatest = float(entries.max())
    if stated / 4 < greatest <= stated:
        return stated
    return float(2 ** max(8, int(np.ceil(np.log2(greatest + 1)))) - 1)
