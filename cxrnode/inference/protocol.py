"""The words that the node and its inference child speak over their private pipe.

Hides framing and encoding. Promises that nothing is unpickled on either side: a frame is a JSON header with named
keys and raw bytes behind it (masks packed to bits), and that an error crosses as a code and our own words, never as
another library's text.

A frame is: length of the header (4 bytes, big endian), the header, then the blobs whose lengths its `blobs` states.

From the node: START, PREDICT, COMPARE. From the child: READY or FATAL, then BEAT, ANSWER, COMPARED, and around each
stage of work BEGIN and DONE: where the child ends in between, the node knows which images to suspect.
"""

from __future__ import annotations

import json
import os
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrnode.domain.finding import Box, Failure, ImagePrediction, Mask, ModelIdentity, Prediction, Score
from cxrnode.errors import CxrnodeError, DeviceMissing, Fatal, ModelAltered, NeedsOperator, SettingsInvalid
from cxrnode.ports import Request

START, PREDICT, COMPARE = "start", "predict", "compare"
READY, FATAL, BEAT, ANSWER, COMPARED = "ready", "fatal", "beat", "answer", "compared"
BEGIN, DONE = "begin", "done"

LOST_DEVICE = 71
"""The child's exit status where a GPU's context is beyond use: only a new process gets a new one."""

LONGEST_HEADER = 16 << 20
LONGEST_BLOB = 1 << 30
_STOPPING: Mapping[str, type[CxrnodeError]] = {
    kind.__name__: kind for kind in (Fatal, ModelAltered, DeviceMissing, SettingsInvalid, NeedsOperator)
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One message: what it says, and the raw bytes that go with it."""

    kind: str
    body: Mapping[str, Any]
    blobs: Sequence[bytes] = ()


class NotAFrame(Exception):
    """What came over the pipe is not a frame, or ended in the middle of one."""


class Pipe:
    """One end of the private pipe: whole frames out from any thread, whole frames in for one reader."""

    def __init__(self, end: socket.socket) -> None:
        """Own `end`, a connected stream socket."""
        self._end = end
        self._sending = threading.Lock()
        self._poll = select.poll()
        self._poll.register(end, select.POLLIN)

    def send(self, kind: str, body: Mapping[str, Any], blobs: Sequence[bytes] = ()) -> None:
        """Send one frame. OSError when the other side is gone."""
        header = {**body, "kind": kind, "blobs": [len(blob) for blob in blobs]}
        text = json.dumps(header, allow_nan=False).encode()
        with self._sending:
            self._end.sendall(struct.pack(">I", len(text)) + text)
            for blob in blobs:
                self._end.sendall(blob)

    def receive(self, watch: Callable[[], None] = lambda: None, period: float = 3600.0) -> Frame | None:
        """Wait for the next frame; None where the other side closed the pipe between frames.

        Calls `watch` before each wait, at least every `period` seconds; what it raises ends the waiting. Raises
        NotAFrame for anything that is no frame.
        """
        wait = _Wait(watch=watch, period=period)
        prefix = self._read(4, wait, may_end=True)
        if prefix is None:
            return None
        header = self._read(_within(struct.unpack(">I", prefix)[0], LONGEST_HEADER), wait)
        body = _parsed(header)
        blobs = [self._read(_within(length, LONGEST_BLOB), wait) for length in body.pop("blobs")]
        return Frame(kind=str(body.pop("kind")), body=body, blobs=[blob for blob in blobs if blob is not None])

    def hang_up(self) -> None:
        """Speak and listen no more: the other side sees it at once, and so does whoever waits for a frame here."""
        with suppress(OSError):
            self._end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Hang up and close this end."""
        self.hang_up()
        self._end.close()

    def _read(self, length: int, wait: _Wait, *, may_end: bool = False) -> bytes | None:
        buffer = bytearray(length)
        view, got = memoryview(buffer), 0
        while got < length:
            self._await(wait)
            count = self._end.recv_into(view[got:])
            if count == 0 and got == 0 and may_end:
                return None
            if count == 0:
                raise NotAFrame("the pipe ended in the middle of a frame")
            got += count
        return bytes(buffer)

    def _await(self, wait: _Wait) -> None:
        wait.watch()
        while not self._poll.poll(wait.period * 1000):
            wait.watch()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wait:
    watch: Callable[[], None]
    period: float


def _within(length: object, longest: int) -> int:
    if not isinstance(length, int) or not 0 <= length <= longest:
        raise NotAFrame("a length in a frame makes no sense")
    return length


def _parsed(header: bytes | None) -> dict[str, Any]:
    try:
        body = json.loads(header or b"")
    except ValueError as cause:
        raise NotAFrame("a header is not JSON") from cause
    if not isinstance(body, dict) or not isinstance(body.get("blobs"), list) or "kind" not in body:
        raise NotAFrame("a header lacks its kind or its blobs")
    return body


def encode_identity(model: ModelIdentity) -> dict[str, str]:
    """Give a model's identity as JSON values."""
    return asdict(model)


def decode_identity(body: Mapping[str, str]) -> ModelIdentity:
    """Give the identity of JSON values."""
    return ModelIdentity(**body)


def encode_request(request: Request) -> dict[str, Any]:
    """Give a request as JSON values."""
    return {**asdict(request), "path": os.fspath(request.path)}


def decode_request(body: Mapping[str, Any]) -> Request:
    """Give the request of JSON values."""
    return Request(
        row=body["row"],
        path=Path(body["path"]),
        transfer_syntax_uid=body["transfer_syntax_uid"],
        models=tuple(body["models"]),
        preview=body["preview"],
    )


def encode_answer(answer: ImagePrediction) -> tuple[dict[str, Any], list[bytes]]:
    """Give an image's answer as JSON values and blobs: each mask packed to bits in order, then the preview."""
    blobs = [np.packbits(mask).tobytes() for said in answer.predictions for _, mask in said.masks]
    if answer.preview is not None:
        blobs.append(answer.preview.tobytes())
    body = {
        "predictions": [_encode_prediction(said) for said in answer.predictions],
        "failed": [[model, asdict(failure)] for model, failure in answer.failed],
        "failure": asdict(answer.failure) if answer.failure else None,
        "preview": None if answer.preview is None else list(answer.preview.shape),
    }
    return body, blobs


def decode_answer(frame: Frame) -> ImagePrediction:
    """Give the answer that a frame holds."""
    blobs = iter(frame.blobs)
    predictions = tuple(_decode_prediction(said, blobs) for said in frame.body["predictions"])
    shape, failure = frame.body["preview"], frame.body["failure"]
    return ImagePrediction(
        predictions=predictions,
        failed=tuple((model, Failure(**why)) for model, why in frame.body["failed"]),
        failure=Failure(**failure) if failure else None,
        preview=None if shape is None else _plane(next(blobs), shape),
    )


def _encode_prediction(said: Prediction) -> dict[str, Any]:
    return {
        "model": encode_identity(said.model),
        "masks": [[label, list(mask.shape)] for label, mask in said.masks],
        "scores": [asdict(score) for score in said.scores],
        "boxes": [asdict(box) for box in said.boxes],
    }


def _decode_prediction(body: Mapping[str, Any], blobs: Iterator[bytes]) -> Prediction:
    return Prediction(
        model=decode_identity(body["model"]),
        masks=tuple((label, _mask(next(blobs), shape)) for label, shape in body["masks"]),
        scores=tuple(Score(**score) for score in body["scores"]),
        boxes=tuple(Box(**box) for box in body["boxes"]),
    )


def _mask(packed: bytes, shape: Sequence[int]) -> Mask:
    rows, cols = shape
    bits = np.unpackbits(np.frombuffer(packed, dtype=np.uint8), count=rows * cols)
    return bits.view(np.bool_).reshape(rows, cols)


def _plane(raw: bytes, shape: Sequence[int]) -> NDArray[np.uint8]:
    return np.frombuffer(raw, dtype=np.uint8).reshape(tuple(shape))


def encode_stop(error: CxrnodeError) -> dict[str, Any]:
    """Give an error that keeps the child from its work, as JSON values."""
    kind = next((name for name in _lineage(error) if name in _STOPPING), Fatal.__name__)
    return {
        "error": kind,
        "happened": error.happened,
        "operation": error.operation,
        "subject": error.subject,
        "hint": error.hint,
    }


def decode_stop(body: Mapping[str, Any]) -> CxrnodeError:
    """Give the error of JSON values: a Fatal or a NeedsOperator."""
    kind = _STOPPING[body["error"]]
    return kind(body["happened"], operation=body["operation"], subject=body["subject"], hint=body["hint"])


def _lineage(error: CxrnodeError) -> list[str]:
    return [kind.__name__ for kind in type(error).__mro__]
