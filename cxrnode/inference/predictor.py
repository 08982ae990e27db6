"""The models, behind predict(): the node's side of the inference child.

Hides that the models live in another process. Promises that nothing here imports torch, that a call either gives every
answer in order or raises, that a child which is lost costs its callers a ChildLost (try again) and is replaced, and
that models which cannot be loaded say so to every caller, as the Fatal they are.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from cxrnode import telemetry
from cxrnode.domain.finding import ImagePrediction, ModelIdentity
from cxrnode.errors import ChildLost, CxrnodeError, Retryable, Stopping, Unsuitable
from cxrnode.inference import protocol
from cxrnode.inference.process import Call, ChildProcess, Plan
from cxrnode.inference.protocol import Frame
from cxrnode.ports import Request
from cxrnode.telemetry import Event


class ChildPredictor:
    """Implements ports.Predictor with one child process. Any thread may call it; calls queue in the child."""

    def __init__(
        self,
        bundles: Mapping[str, Path],
        *,
        device: str = "auto",
        threads: int = 1,
        batch: int = 8,
        heartbeat_seconds: float = 1.0,
        stall_seconds: float = 30.0,
        image_seconds: float = 60.0,
        start_seconds: float = 300.0,
    ) -> None:
        """Own a child for the bundles (folders by model name); nothing is started yet.

        `device`: `auto` (CUDA where there is one, else the CPU), `cpu`, `cuda` or `cuda:N`. `threads`: of torch on the
        CPU. `batch`: images a GPU takes at once (a CPU takes one). The seconds: see `cxrnode.inference.process`.
        """
        self._plan = Plan(
            bundles=dict(bundles),
            device=device,
            threads=threads,
            batch=batch,
            heartbeat_seconds=heartbeat_seconds,
            stall_seconds=stall_seconds,
            image_seconds=image_seconds,
            start_seconds=start_seconds,
        )
        self._lock = threading.Lock()
        self._child: ChildProcess | None = None
        self._closed = False

    def __enter__(self) -> ChildPredictor:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def start(self) -> None:
        """Spawn the child, which loads its models meanwhile; returns at once."""
        self._living()

    def ready(self) -> bool:
        """Tell whether the models are loaded and the child lives."""
        child = self._child
        return child is not None and child.models is not None and child.end is None

    def trouble(self) -> CxrnodeError | None:
        """Give what keeps the models from being loaded, or None."""
        child = self._child
        return child.end if child is not None else None

    def pid(self) -> int | None:
        """Give the process number of the child, None where there is none."""
        child = self._child
        return child.pid if child is not None and child.end is None else None

    def identities(self, timeout: float | None = None) -> Mapping[str, ModelIdentity]:
        """Give the loaded models' identities by name, waiting for them. Raises ChildLost, Fatal or NeedsOperator."""
        return self._living().wait_ready(timeout)

    def predict(self, requests: Sequence[Request], alive: Callable[[], None]) -> Sequence[ImagePrediction]:
        """Answer every request, in order. Calls `alive` while the child's heartbeat comes. Raises ChildLost."""
        if not requests:
            return ()
        child = self._living()
        call = child.call(protocol.PREDICT, {"requests": [protocol.encode_request(each) for each in requests]})
        try:
            return _gather(child, call, len(requests), alive)
        finally:
            child.forget(call)

    def same_pixels(self, first: Path, second: Path) -> bool:
        """Tell whether two files hold the same stored pixel values, whatever their transfer syntaxes.

        Waits for no model. Raises Unsuitable where either cannot be decoded, Retryable where one cannot be read now.
        """
        child = self._living()
        call = child.call(protocol.COMPARE, {"paths": [os.fspath(first), os.fspath(second)]})
        try:
            return _compared(_next(call, lambda: None, {protocol.COMPARED}))
        finally:
            child.forget(call)

    def close(self) -> None:
        """End the child for good; calls in flight, and all later ones, get Stopping."""
        with self._lock:
            self._closed = True
            child = self._child
        if child is not None:
            child.kill()

    def _living(self) -> ChildProcess:
        """Give the child, a new one where it was lost. One whose models cannot be loaded stays, and says so."""
        with self._lock:
            if self._closed:
                raise Stopping("the models are shut down", operation="predict")
            if self._child is None or isinstance(self._child.end, ChildLost):
                self._child = ChildProcess(self._plan, self._replace)
            return self._child

    def _replace(self, gone: ChildProcess) -> None:
        """Start the next child at once, so that its models load before they are asked for.

        Not where the one that is gone never got ready: it would only fail again, over and over.
        """
        with self._lock:
            if not self._closed and self._child is gone and gone.models is not None:
                self._child = ChildProcess(self._plan, self._replace)


def _gather(child: ChildProcess, call: Call, count: int, alive: Callable[[], None]) -> Sequence[ImagePrediction]:
    answers: dict[int, ImagePrediction] = {}
    while len(answers) < count:
        frame = _next(call, alive, {protocol.ANSWER})
        answer = protocol.decode_answer(frame, child.models or {})
        _tell_faults(answer)
        answers[frame.body["index"]] = answer
    return tuple(answers[index] for index in range(count))


def _tell_faults(answer: ImagePrediction) -> None:
    """Log what is a fault of ours or of a model's; what is wrong with a file is an outcome, kept in the ledger."""
    failures = [("", answer.failure)] if answer.failure else list(answer.failed)
    for model, failure in failures:
        if failure.code == "model_failed" or failure.transient:
            telemetry.tell(
                Event.UNEXPECTED,
                logging.WARNING,
                operation="predict",
                model=model,
                code=failure.code,
                reason=failure.detail,
            )


def _next(call: Call, alive: Callable[[], None], wanted: set[str]) -> Frame:
    """Wait for the call's next frame of a wanted kind; a heartbeat is passed on to `alive`."""
    while True:
        reply = call.replies.get()
        if isinstance(reply, CxrnodeError):
            raise reply
        if reply.kind in wanted:
            return reply
        alive()


def _compared(frame: Frame) -> bool:
    code = frame.body["code"]
    if frame.body["transient"]:
        raise Retryable("the two files could not be read", operation="compare pixels")
    if code:
        raise Unsuitable("the pixels of one of the two cannot be decoded", code=code, operation="compare pixels")
    return bool(frame.body["same"])
