"""A picture of what was found, for people without a viewer: outlines, boxes and measured lines over the radiograph.

Hides the format of the file. Promises a PNG in the source's own orientation, with the sides named where they are known,
and nothing of the patient on it that is not burned into the pixels.
"""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cxrnode.domain.finding import ImageResult
from cxrnode.evidence.drawing import drawing_of
from cxrnode.evidence.painting import painted


def overlay(preview: NDArray[np.uint8], result: ImageResult, shape: tuple[int, int]) -> bytes:
    """Give a PNG of `preview` (rows, columns) with the result drawn on it; `shape` is the source's (rows, columns)."""
    encoded = io.BytesIO()
    Image.fromarray(painted(preview, drawing_of(result, shape))).save(encoded, format="PNG", optimize=True)
    return encoded.getvalue()
