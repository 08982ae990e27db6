"""The order in which images go through the child.

Hides the overlap: decoders prepare the next images and finish the last ones while a network runs in the main thread,
and one more thread compares pixels, so that a comparison waits for no model. Promises that answers do not depend on
that overlap, that a call's images are all answered, and that few pictures lie in memory at once.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from cxrnode.domain.finding import Failure, ImagePrediction
from cxrnode.inference import protocol
from cxrnode.inference.image_pass import (
    Prepared,
    Said,
    failure_of,
    finish_image,
    prepare_image,
    same_values,
)
from cxrnode.inference.protocol import Frame, Pipe
from cxrnode.ports import Request

if TYPE_CHECKING:
    from cxrnode.inference.engine import Engine

DECODERS = min(8, max(1, (os.cpu_count() or 2) // 2))


class Stage(Protocol):
    """Announces a stage of work: some images of a call, by their places in it, in one model or in none."""

    def __call__(self, call: int, images: Sequence[int], model: str = "") -> AbstractContextManager[None]:
        """Give what it runs inside."""
        ...


class Desk:
    """Takes calls, sends answers; owns the decoding threads."""

    def __init__(self, pipe: Pipe, stage: Stage) -> None:
        """Answer over `pipe`; each stage of work runs inside `stage(...)`."""
        self._pipe = pipe
        self._stage = stage
        self._decoders = ThreadPoolExecutor(DECODERS, thread_name_prefix="decode")
        self._comparer = ThreadPoolExecutor(1, thread_name_prefix="compare")

    def predict(self, call: Frame, engine: Engine) -> None:
        """Answer every request of a PREDICT call, in whatever order they are done."""
        finishing: deque[Future[None]] = deque()
        for first, group in self._groups(call, engine):
            outputs = engine.run(group, partial(self._in_model, call.body["call"], first))
            for offset, (prepared, said) in enumerate(zip(group, outputs, strict=True)):
                finishing.append(self._decoders.submit(self._finish, call, first + offset, prepared, said, engine))
            while len(finishing) > 2 * engine.group:
                finishing.popleft().result()
        for each in finishing:
            each.result()

    def compare(self, call: Frame) -> None:
        """Answer a COMPARE call, in the comparing thread."""
        self._comparer.submit(self._compared, call)

    def _in_model(self, call: int, first: int, model: str, images: Sequence[int]) -> AbstractContextManager[None]:
        return self._stage(call, [first + image for image in images], model)

    def _groups(self, call: Frame, engine: Engine) -> Iterator[tuple[int, list[Prepared]]]:
        """Give prepared images, as many at once as the networks take, each group with its first image's index."""
        requests = [protocol.decode_request(each) for each in call.body["requests"]]
        waiting = iter(enumerate(requests))
        ahead: deque[Future[Prepared]] = deque()
        for first in range(0, len(requests), engine.group):
            for index, request in waiting:
                ahead.append(self._decoders.submit(self._prepare, call.body["call"], index, request, engine))
                if len(ahead) >= 2 * engine.group + DECODERS:
                    break
            yield first, [ahead.popleft().result() for _ in range(min(engine.group, len(ahead)))]

    def _prepare(self, call: int, index: int, request: Request, engine: Engine) -> Prepared:
        with self._stage(call, [index]):
            return prepare_image(request, engine.models)

    def _finish(
        self, call: Frame, index: int, prepared: Prepared, outputs: Mapping[str, Said | Failure], engine: Engine
    ) -> None:
        with self._stage(call.body["call"], [index]):
            body, blobs = _finished(prepared, outputs, engine)
        self._pipe.send(protocol.ANSWER, {**body, "call": call.body["call"], "index": index}, blobs)

    def _compared(self, call: Frame) -> None:
        body: dict[str, Any] = {"call": call.body["call"], "same": False, "code": "", "transient": False}
        try:
            with self._stage(call.body["call"], [0]):
                body["same"] = same_values(*(Path(path) for path in call.body["paths"]))
        except Exception as error:  # noqa: BLE001 - the edge: whatever a file makes a decoder stumble on
            failure = failure_of(error)
            body["code"], body["transient"] = failure.code, failure.transient
        self._pipe.send(protocol.COMPARED, body)


def _finished(
    prepared: Prepared, outputs: Mapping[str, Said | Failure], engine: Engine
) -> tuple[dict[str, Any], list[bytes]]:
    """Give an image's answer as it goes over the pipe; where even that fails, that it did."""
    try:
        return protocol.encode_answer(finish_image(prepared, outputs, engine.models))
    except Exception as error:  # noqa: BLE001 - the edge: one image's answer must not end the process, and with it the others'
        return protocol.encode_answer(ImagePrediction(failure=failure_of(error)))
