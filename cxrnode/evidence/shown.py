"""How a source is to be shown, for an object that says it on the source's behalf.

Hides the grayscale chain of PS3.4 N.2 in a header: rescale or modality LUT, window or VOI LUT, polarity; and what is
broken in it. Promises the source's own values, the first of several, tables as 16-bit words in little endian, and
nothing in place of what the source does not state.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence

Words = NDArray[np.uint16]

_FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")


def modality_of(header: Dataset) -> Dataset:
    """Give the Modality LUT module (PS3.3 C.11.1) of a source; empty where it states none."""
    said = Dataset()
    table = _table(header, "ModalityLUTSequence")
    if table is not None:
        table.ModalityLUTType = "US"
        said.ModalityLUTSequence = Sequence([table])
        return said
    slope, intercept = _number(header, "RescaleSlope"), _number(header, "RescaleIntercept")
    if (slope or intercept) and (slope is None or float(slope)):
        said.RescaleIntercept, said.RescaleSlope = intercept or "0", slope or "1"
        said.RescaleType = "US"
    return said


def voi_of(header: Dataset) -> Dataset | None:
    """Give an item of Softcopy VOI LUT Sequence (PS3.3 C.11.8): the first table, else the first window, else None."""
    said = Dataset()
    table = _table(header, "VOILUTSequence")
    if table is not None:
        said.VOILUTSequence = Sequence([table])
        return said
    centre, width = _number(header, "WindowCenter"), _number(header, "WindowWidth")
    function = str(header.get("VOILUTFunction") or "").strip()
    least = 0.0 if function in _FUNCTIONS[1:] else 1.0
    if centre is None or width is None or not float(width) >= least or float(width) == 0:
        return None
    said.WindowCenter, said.WindowWidth = centre, width
    if function in _FUNCTIONS:
        said.VOILUTFunction = function
    return said


def polarity_of(header: Dataset) -> str:
    """Give Presentation LUT Shape (PS3.3 C.11.6): a source whose lowest value is white is shown inverted."""
    return "INVERSE" if str(header.get("PhotometricInterpretation") or "").strip() == "MONOCHROME1" else "IDENTITY"


def _number(header: Dataset, keyword: str) -> str | None:
    """Give the first value as the text of a DS; None where there is no finite one."""
    stated = header.get(keyword)
    first = next(iter(stated), "") if isinstance(stated, MultiValue) else stated
    text = str("" if first is None else first).strip()
    try:
        return text if len(text) <= 16 and math.isfinite(float(text)) else None
    except ValueError:
        return None


def _table(header: Dataset, keyword: str) -> Dataset | None:
    """Give the first LUT of a sequence (PS3.3 C.11.1.1, C.11.2.1.1); None where its parts make none."""
    items = list(header.get(keyword) or [])
    try:
        stated = [int(value) for value in items[0].LUTDescriptor]
        entries = _entries(items[0].LUTData, stated[0] % 65536 or 65536, big=header.original_encoding[1] is False)
    except (AttributeError, IndexError, TypeError, ValueError):
        return None
    if entries is None or len(stated) != 3:
        return None
    table = Dataset()
    # The second value is signed where what comes in is: the VR is of one kind with it, 65536 entries are 0.
    signed = stated[1] < 0
    descriptor = [_wrapped(value, signed=signed) for value in stated]
    table.add_new("LUTDescriptor", "SS" if signed else "US", descriptor)
    table.add_new("LUTData", "OW", entries.astype("<u2").tobytes())
    return table


def _wrapped(value: int, *, signed: bool) -> int:
    """Give the number whose 16 bits are those of the value."""
    bits = value % 65536
    return bits - 65536 if signed and bits > 32767 else bits


def _entries(data: object, count: int, *, big: bool) -> Words | None:
    """Give the entries out of words (US, SS) or bytes (OW), of which there may be one or two an entry."""
    if not isinstance(data, (bytes, bytearray)):
        found = np.atleast_1d(np.asarray(data, dtype=np.int64)).astype(np.uint16)
    elif len(data) in (count, count + 1):
        found = np.frombuffer(data, dtype=np.uint8).astype(np.uint16)
    else:
        found = np.frombuffer(data, dtype=">u2" if big else "<u2").astype(np.uint16)
    return found[:count] if found.size >= count > 1 else None
