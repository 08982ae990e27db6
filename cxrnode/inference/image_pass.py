"""One pass over one image: from its kept file to what the models said of it.

Hides the order of the steps and where the side and the shape of the source come back. Promises that a file is decoded
once however many models look at it, and prepared once for all of one size, that a network sees the picture with its
columns running to the patient's left and its rows to the feet, that masks come back on the source's own stored rows and
columns, and that bad content is an answer (a Failure) and never an exception. No step here depends on another image.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from cxrnode import telemetry
from cxrnode.domain.finding import Box, Failure, ImagePrediction, Mask, ModelIdentity, Prediction
from cxrnode.errors import Unsuitable
from cxrnode.inference.bundle import BundleCard
from cxrnode.inference.reading import answers
from cxrnode.pixels.decode import StoredPixels, decode
from cxrnode.pixels.geometry import Letterbox, boxes_to_source, resample, restore
from cxrnode.pixels.grayscale import display
from cxrnode.pixels.normalise import prepare
from cxrnode.pixels.orientation import Orientation, from_header
from cxrnode.ports import Request

FloatArray = NDArray[np.float32]

_LARGE = 40_000_000
"""Pixels of a picture that goes through alone: each takes some 14 bytes on its way, and no detector makes so many."""
_ALONE = threading.Lock()

PREVIEW_SIDE = 1024
"""Pixels of the longer side of a preview, at most."""


class Network(Protocol):
    """What a loaded bundle offers: for inputs (N, 1, S, S) what `reading.answers` reads, float32."""

    def predict(self, batch: FloatArray) -> FloatArray:
        """Run the network."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Model:
    """A loaded model, and the card by which its output is read."""

    identity: ModelIdentity
    network: Network
    card: BundleCard


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Said:
    """What a network said of one picture, and as which model: where memory is short it runs in another way."""

    values: FloatArray
    model: ModelIdentity


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fed:
    """What a network is fed, and the way back."""

    picture: FloatArray
    """(S, S), as `cxrnode.pixels.normalise.prepare` gives it."""
    letterbox: Letterbox


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prepared:
    """An image ready for its networks: by model name what to feed, or why not."""

    models: tuple[str, ...]
    orientation: Orientation | None = None
    fed: Mapping[str, Fed]
    failed: Mapping[str, Failure]
    failure: Failure | None = None
    preview: NDArray[np.uint8] | None = None


def prepare_image(request: Request, models: Mapping[str, Model]) -> Prepared:
    """Decode a request's file and bring it before each model it asks for."""
    try:
        return _prepared(request, models)
    except Exception as error:  # noqa: BLE001 - the edge: whatever a file makes a decoder stumble on is its answer
        return Prepared(models=request.models, fed={}, failed={}, failure=failure_of(error))


def _prepared(request: Request, models: Mapping[str, Model]) -> Prepared:
    stored = decode(request.path)
    with _ALONE if stored.values.size > _LARGE else nullcontext():
        return _brought_before(request, models, stored)


def _brought_before(request: Request, models: Mapping[str, Model], stored: StoredPixels) -> Prepared:
    shown = display(stored).values
    orientation = from_header(stored.header)
    upright = orientation.apply(shown)
    aspect = _pixel_aspect(stored.header)
    feed = cache(partial(_feed, upright, 1 / aspect if orientation.turned else aspect))
    fed: dict[str, Fed] = {}
    failed: dict[str, Failure] = {}
    for name in request.models:
        if name not in models:
            failed[name] = Failure(code="model_failed", detail="the model is not loaded")
            continue
        try:
            fed[name] = feed(models[name].card.input_size)
        except Exception as error:  # noqa: BLE001 - the edge: one model's trouble is not another's
            failed[name] = failure_of(error)
    preview = preview_of(shown) if request.preview else None
    return Prepared(models=request.models, orientation=orientation, fed=fed, failed=failed, preview=preview)


def _feed(upright: FloatArray, aspect: float, size: int) -> Fed:
    picture, letterbox = prepare(upright, size, aspect)
    return Fed(picture=picture, letterbox=letterbox)


def finish_image(
    prepared: Prepared, outputs: Mapping[str, Said | Failure], models: Mapping[str, Model]
) -> ImagePrediction:
    """Read the networks' outputs, by model name, into the answer on the image."""
    predictions: list[Prediction] = []
    failed = dict(prepared.failed)
    for name in prepared.models:
        said = outputs.get(name)
        if isinstance(said, Failure):
            failed[name] = said
        elif said is not None:
            try:
                predictions.append(_read(prepared, models[name].card, said))
            except Exception as error:  # noqa: BLE001 - the edge: one model's trouble is not another's
                failed[name] = failure_of(error)
    return ImagePrediction(
        predictions=tuple(predictions),
        failed=tuple((name, failed[name]) for name in prepared.models if name in failed),
        failure=prepared.failure,
        preview=prepared.preview,
    )


def _read(prepared: Prepared, card: BundleCard, said: Said) -> Prediction:
    """Bring what a network said back onto the source's stored rows and columns."""
    if prepared.orientation is None:
        raise ValueError("an image that was not decoded has no answers")
    letterbox = prepared.fed[said.model.name].letterbox
    meant = answers(card, said.values, letterbox)
    return Prediction(
        model=said.model,
        masks=() if meant.maps is None else _masks(card, meant.maps, letterbox, prepared.orientation),
        scores=meant.scores,
        boxes=tuple(_stored_boxes(meant.boxes, letterbox, prepared.orientation)),
    )


def _masks(
    card: BundleCard, maps: FloatArray, letterbox: Letterbox, orientation: Orientation
) -> tuple[tuple[str, Mask], ...]:
    """Cut a segmentation's maps, brought back onto the source, at the card's operating points."""
    upright = restore(maps, letterbox)
    cut = upright >= np.array(card.thresholds, dtype=np.float32)[:, None, None]
    stored = np.ascontiguousarray(orientation.undo(cut))
    return tuple(zip(card.channels, stored, strict=True))


def _stored_boxes(boxes: Sequence[Box], letterbox: Letterbox, orientation: Orientation) -> Iterator[Box]:
    """Bring boxes from the grid back onto the source; an edge of the picture may be any edge of the stored one."""
    upright = (letterbox.rows, letterbox.cols)
    for box in boxes:
        grid = np.array([[box.top, box.left, box.bottom, box.right]], dtype=np.float32)
        top, left, bottom, right = boxes_to_source(grid, letterbox)[0]
        corners = orientation.undo_points(
            [(left, top), (right, bottom)], upright[::-1] if orientation.turned else upright
        )
        (left, top), (right, bottom) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
        yield replace(box, left=left, top=top, right=right, bottom=bottom)


def preview_of(shown: FloatArray) -> NDArray[np.uint8]:
    """Give a display picture (rows, cols; 0 to 1) in 8 bits, its longer side PREVIEW_SIDE pixels at most."""
    rows, cols = shown.shape
    scale = min(1.0, PREVIEW_SIDE / max(rows, cols))
    if scale < 1.0:
        shown = resample(shown, max(1, round(rows * scale)), max(1, round(cols * scale)))
    return np.rint(np.clip(shown, 0.0, 1.0) * 255).astype(np.uint8)


def same_values(first: Path, second: Path) -> bool:
    """Tell whether two files decode to the same stored values. Raises Unsuitable where either cannot be decoded."""
    one, other = decode(first).values, decode(second).values
    return bool(np.array_equal(one, other))


def failure_of(error: Exception) -> Failure:
    """Give an exception as an answer: a code, and words of ours or the kind of error and its place.

    Want of memory and trouble with the disk are not the image's fault: another attempt may help. What the decoder finds
    wrong with a file is Unsuitable; anything else is a fault of ours.
    """
    if isinstance(error, Unsuitable):
        return Failure(code=error.code, detail=error.happened)
    detail = f"{type(error).__name__} at {telemetry.where(error)}"
    if isinstance(error, MemoryError):
        return Failure(code="no_memory", detail=detail, transient=True)
    if isinstance(error, OSError):
        return Failure(code="unreadable", detail=detail, transient=True)
    return Failure(code="model_failed", detail=detail)


def _pixel_aspect(header: Dataset) -> float:
    """Give a pixel's height over its width: Pixel Aspect Ratio, else a spacing (PS3.3 C.7.6.3.1.7, 10.7.1.3)."""
    for keyword in ("PixelAspectRatio", "PixelSpacing", "ImagerPixelSpacing"):
        aspect = _ratio(header, keyword)
        if aspect is not None:
            return aspect
    return 1.0


def _ratio(header: Dataset, keyword: str) -> float | None:
    """Give the ratio that an attribute states; None where it is missing or makes no sense."""
    try:
        tall, wide = (float(part) for part in header[keyword].value)
    except Exception:  # noqa: BLE001 - pydicom raises whatever a broken element makes it stumble on
        return None
    return tall / wide if 0 < tall < math.inf and 0 < wide < math.inf else None
