"""How a source is to be shown, for an object that says it on the source's behalf.

Hides the grayscale chain of PS3.4 N.2 in a header: rescale or modality LUT, window or VOI LUT, polarity, shutter; and
what is broken in it. Promises the source's own values, the first of several, tables as little endian words (of 8
bits as bytes), and nothing in place of what the source does not state.
"""

from __future__ import annotations

import math
import re

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence

from cxrnode.evidence.codes import plain

Words = NDArray[np.uint16]

_SHUTTERS = {
    "RECTANGULAR": (
        ("ShutterLeftVerticalEdge", 1),
        ("ShutterRightVerticalEdge", 1),
        ("ShutterUpperHorizontalEdge", 1),
        ("ShutterLowerHorizontalEdge", 1),
    ),
    "CIRCULAR": (("CenterOfCircularShutter", 2), ("RadiusOfCircularShutter", 1)),
    "POLYGONAL": (("VerticesOfThePolygonalShutter", 2),),
}
"""By shape, what describes it and how many numbers that takes."""

_IS_ENDS = 1 << 31
_MOST = 65535
"""Of a P-Value of a shutter, a US."""

_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
"""A DS (PS3.5 6.2): Python takes more for a number."""

_BITS = range(8, 17)
"""Of an entry of a table (PS3.3 C.11.1.1); 8 are a byte."""

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
        said.RescaleType = plain(_text(header, "RescaleType") or "US")
    return said


def voi_of(header: Dataset) -> Dataset | None:
    """Give an item of Softcopy VOI LUT Sequence (PS3.3 C.11.8): the first table, else the first window, else None."""
    said = Dataset()
    table = _table(header, "VOILUTSequence")
    if table is not None:
        said.VOILUTSequence = Sequence([table])
        return said
    centre, width = _number(header, "WindowCenter"), _number(header, "WindowWidth")
    function = _text(header, "VOILUTFunction")
    least = 0.0 if function in _FUNCTIONS[1:] else 1.0
    if centre is None or width is None or not float(width) >= least or float(width) == 0:
        return None
    said.WindowCenter, said.WindowWidth = centre, width
    if function in _FUNCTIONS:
        said.VOILUTFunction = function
    return said


def shutter_of(header: Dataset) -> Dataset:
    """Give the Display Shutter modules (PS3.3 C.7.6.11, C.11.12), empty where the source has none that is whole.

    A presentation state without them would light up what the source's shutter hides.
    """
    said = Dataset()
    shapes = [str(shape) for shape in _several(header, "ShutterShape")]
    if not shapes or not all(shape in _SHUTTERS for shape in shapes):
        return said
    for keyword, count in (one for shape in shapes for one in _SHUTTERS[shape]):
        numbers = _whole_numbers(header, keyword)
        if not numbers or len(numbers) % count:
            return Dataset()
        setattr(said, keyword, numbers[0] if count == 1 else numbers)
    said.ShutterShape = shapes
    value = next(iter(_whole_numbers(header, "ShutterPresentationValue")), 0)
    said.ShutterPresentationValue = value if 0 <= value <= _MOST else 0
    return said


def _whole_numbers(header: Dataset, keyword: str) -> list[int]:
    try:
        numbers = [int(str(value)) for value in _several(header, keyword)]
    except (TypeError, ValueError):
        return []
    return numbers if all(abs(number) < _IS_ENDS for number in numbers) else []


def _several(header: Dataset, keyword: str) -> list[object]:
    """Give the values of an element, one or many; none where they cannot be read."""
    try:
        stated = header.get(keyword)
    except Exception:  # noqa: BLE001 - pydicom raises whatever a broken value makes it stumble on
        return []
    if stated is None or stated == "":
        return []
    return list(stated) if isinstance(stated, MultiValue) else [stated]


def polarity_of(header: Dataset) -> str:
    """Give Presentation LUT Shape (PS3.3 C.11.6): a source whose lowest value is white is shown inverted."""
    return "INVERSE" if _text(header, "PhotometricInterpretation") == "MONOCHROME1" else "IDENTITY"


def _text(header: Dataset, keyword: str) -> str:
    """Give the first value as text, empty where there is none."""
    return str(next(iter(_several(header, keyword)), "")).strip()


def _number(header: Dataset, keyword: str) -> str | None:
    """Give the first value as the text of a DS; None where there is no finite one."""
    text = _text(header, keyword)
    return text if len(text) <= 16 and _DECIMAL.fullmatch(text) and math.isfinite(float(text)) else None


def _table(header: Dataset, keyword: str) -> Dataset | None:
    """Give the first LUT of a sequence (PS3.3 C.11.1.1, C.11.2.1.1); None where its parts make none."""
    try:
        items = list(header.get(keyword) or ())
        stated = [int(value) for value in items[0].LUTDescriptor]
        entries = _entries(items[0].LUTData, stated[0] % 65536 or 65536, big=header.original_encoding[1] is False)
    except Exception:  # noqa: BLE001 - as in _several
        return None
    if entries is None or len(stated) != 3 or stated[2] not in _BITS or int(entries.max()) >> stated[2]:
        return None
    table = Dataset()
    # The second value is signed where what comes in is: the VR is of one kind with it, 65536 entries are 0.
    signed = stated[1] < 0
    descriptor = [_wrapped(value, signed=signed) for value in stated]
    table.add_new("LUTDescriptor", "SS" if signed else "US", descriptor)
    packed = entries.astype("u1" if stated[2] == 8 else "<u2").tobytes()
    table.add_new("LUTData", "OW", packed + b"\0" * (len(packed) % 2))
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
