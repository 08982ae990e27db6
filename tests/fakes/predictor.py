"""A Predictor without a child: ellipses where lungs and heart would be, in no time.

The contract suite tests/contract/test_predictor.py holds it and the real one to the same promises.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset

from cxrnode.domain.finding import Failure, ImagePrediction, Mask, ModelIdentity, Prediction
from cxrnode.errors import ChildLost, Unsuitable
from cxrnode.ports import Request

LUNGS = ModelIdentity(name="lungs", version="0.0.1", digest="f" * 64, backend="fake")

ELLIPSES: Mapping[str, tuple[float, float, float, float]] = {
    "right_lung": (0.45, 0.29, 0.28, 0.15),
    "left_lung": (0.45, 0.71, 0.28, 0.14),
    "heart": (0.60, 0.55, 0.14, 0.17),
}
"""Centre row and column, half height and half width, as shares of a picture whose columns run to the patient's left."""


class FakePredictor:
    """Answers at once, the same for the same file. Failures are set by the public attributes."""

    def __init__(self, models: Sequence[ModelIdentity] = (LUNGS,)) -> None:
        self.models = {model.name: model for model in models}
        self.failures: dict[Path, Failure] = {}
        """Files that cannot be looked at, and why; any file that pydicom cannot read fails by itself."""
        self.failing_models: dict[str, Failure] = {}
        self.answers: dict[str, Prediction] = {}
        """What models say of any image, by name, instead of ellipses."""
        self.losses = 0
        """How many of the next calls raise ChildLost."""
        self.asked: list[tuple[Request, ...]] = []
        self.alone = 0
        """How many calls asked for an image alone."""
        self.waiting = ""
        """What keeps any image from being analysed."""

    def start(self) -> None:
        """Nothing to start."""

    def close(self) -> None:
        """Nothing to close."""

    def ready(self) -> bool:
        """Always."""
        return True

    def identities(self, timeout: float | None = None) -> Mapping[str, ModelIdentity]:
        """Give the models' identities by name."""
        return self.models

    def lesser_device(self) -> str:
        """It needs none."""
        return ""

    def waits_for(self) -> str:
        """What the test says."""
        return self.waiting

    def predict(
        self, requests: Sequence[Request], alive: Callable[[], None], *, alone: bool = False
    ) -> Sequence[ImagePrediction]:
        """Answer every request, in order; calls `alive` once an image."""
        self.asked.append(tuple(requests))
        self.alone += alone
        if self.losses > 0:
            self.losses -= 1
            raise ChildLost
        return tuple(self._answer(request, alive) for request in requests)

    def same_pixels(self, first: Path, second: Path) -> bool:
        """Compare stored values as pydicom decodes them."""
        try:
            one, other = (pydicom.dcmread(path).pixel_array for path in (first, second))
        except Exception as cause:
            raise Unsuitable("the pixels of one of the two cannot be decoded", code="unreadable") from cause
        return bool(np.array_equal(one, other))

    def _answer(self, request: Request, alive: Callable[[], None]) -> ImagePrediction:
        alive()
        try:
            header = pydicom.dcmread(request.path)
            masks = ellipses(header)
        except Exception:  # noqa: BLE001 - whatever a broken file makes pydicom raise
            return ImagePrediction(failure=self.failures.get(request.path, Failure(code="unreadable")))
        if request.path in self.failures:
            return ImagePrediction(failure=self.failures[request.path])
        said = [name for name in request.models if name in self.models and name not in self.failing_models]
        return ImagePrediction(
            predictions=tuple(
                self.answers.get(name, Prediction(model=self.models[name], masks=masks)) for name in said
            ),
            failed=tuple(
                (name, self.failing_models.get(name, Failure(code="model_failed")))
                for name in request.models
                if name not in said
            ),
            preview=_preview(header) if request.preview else None,
        )


def ellipses(header: Dataset) -> tuple[tuple[str, Mask], ...]:
    """Draw the structures on the stored rows and columns, moved a little by what the pixels are."""
    rows, cols = int(header.Rows), int(header.Columns)
    shift = hashlib.sha256(header.PixelData).digest()[0] / 255 * 0.02
    right_first = str((header.get("PatientOrientation") or ["L"])[0]).startswith("R")
    masks = ((label, _ellipse(rows, cols, shape, shift)) for label, shape in ELLIPSES.items())
    return tuple((label, np.ascontiguousarray(mask[:, ::-1] if right_first else mask)) for label, mask in masks)


def _ellipse(rows: int, cols: int, shape: tuple[float, float, float, float], shift: float) -> Mask:
    row, col, tall, wide = shape
    y, x = np.mgrid[0:rows, 0:cols]
    inside: Mask = ((y + 0.5) / rows - row - shift) ** 2 / tall**2 + ((x + 0.5) / cols - col) ** 2 / wide**2 <= 1
    return inside


def _preview(header: Dataset) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    values = header.pixel_array.astype(np.float32)
    step = max(1, -(-max(values.shape) // 1024))
    small = values[::step, ::step]
    spread = float(small.max() - small.min()) or 1.0
    return np.ascontiguousarray(((small - small.min()) / spread * 255).astype(np.uint8))
