"""The models, behind predict(): the node's side of the inference child.

Hides that the models live in another process. Promises that nothing here imports torch, that a call either gives every
answer in order or raises, that a child which is lost is replaced and costs nobody but the images that it was working on
(they are doubted: `asking`), and that models which cannot be loaded say so to every caller, as the Fatal they are. A
device that is not there, and children that never begin, are waited for where a node serves.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from cxrnode import telemetry
from cxrnode.domain.finding import ImagePrediction, ModelIdentity
from cxrnode.errors import ChildLost, CxrnodeError, DeviceMissing, Retryable, Stopping, Unsuitable
from cxrnode.inference import protocol
from cxrnode.inference.asking import Asking
from cxrnode.inference.process import Call, ChildProcess, Plan
from cxrnode.inference.protocol import Frame
from cxrnode.inference.shared_lock import SharedLock
from cxrnode.ports import Request
from cxrnode.telemetry import Event


class _Crowded(ChildLost):
    """There was not enough memory for it."""


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
        again_seconds: float | None = None,
    ) -> None:
        """Own a child for the bundles (folders by model name); nothing is started yet.

        `device`: `auto` (CUDA where there is one, else the CPU), `cpu`, `cuda` or `cuda:N`. `threads`: of torch on the
        CPU. `batch`: images a GPU takes at once (a CPU takes one). `again_seconds`: how often a device that is not
        there is looked for again, and children that end before they have begun are started again; None: never, the
        device is Fatal, and each call starts a child. The other seconds: see `cxrnode.inference.process`.
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
        self._again_seconds = again_seconds
        self._lock = threading.Lock()
        self._use = SharedLock()
        self._lacking: CxrnodeError | None = None
        self._stillborn = 0
        self._looked = 0.0
        self._had_gpu = False
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
        return self._lacking or (child.end if child is not None else None)

    def lesser_device(self) -> str:
        """Say why the models run on another device than they might; empty where they do not."""
        child = self._child
        if child is None or not child.device.startswith("cpu"):
            return ""
        return child.reason or ("the GPU that was there is not there any more" if self._had_gpu else "")

    def waits_for(self) -> str:
        """Give what has to come before any image can be analysed; empty where nothing has. Looks for it meanwhile."""
        lacking = self._lacking
        if lacking is None or self._again_seconds is None:
            return ""
        if time.monotonic() - self._looked > self._again_seconds:
            self._living()
        return lacking.happened

    def pid(self) -> int | None:
        """Give the process number of the child, None where there is none."""
        child = self._child
        return child.pid if child is not None and child.end is None else None

    def identities(self, timeout: float | None = None) -> Mapping[str, ModelIdentity]:
        """Give the loaded models' identities by name, waiting for them. Raises ChildLost, Fatal or NeedsOperator."""
        return self._living().wait_ready(timeout)

    def predict(
        self, requests: Sequence[Request], alive: Callable[[], None], *, alone: bool = False
    ) -> Sequence[ImagePrediction]:
        """Answer every request, in order. Calls `alive` while the child's heartbeat comes. Raises ChildLost, Retryable.

        Where the child is lost at work, the others are asked of the next one, and what it was working on is answered
        with a Failure that may pass. `alone`: nothing else runs meanwhile, so that it is known what a child is lost on.
        """
        asking = Asking(requests)
        with self._use.hold(alive, alone=alone):
            while asking.left():
                self._ask(asking, alive)
        return asking.answers()

    def _ask(self, asking: Asking, alive: Callable[[], None]) -> None:
        """Ask one child for what is left; learn what it was lost on."""
        child, places = self._living(), asking.left()
        requests = [protocol.encode_request(asking.request(place)) for place in places]
        call = self._call(child, protocol.PREDICT, {"requests": requests})
        try:
            for _ in places:
                frame = self._next(call, alive, protocol.ANSWER)
                answer = protocol.decode_answer(frame)
                _tell_faults(answer, child.models or {})
                asking.take(places[frame.body["index"]], answer)
        except ChildLost:
            if not child.worked or not asking.doubt(places, child.suspects(call), child.cause):
                raise
        finally:
            child.forget(call)

    def same_pixels(self, first: Path, second: Path) -> bool:
        """Tell whether two files hold the same stored pixel values, whatever their transfer syntaxes.

        Waits for no model. Raises Unsuitable where either cannot be decoded or ends the child, also when it is compared
        again with nothing else running; Retryable where one cannot be read now.
        """
        try:
            with self._use.hold():
                return self._compare(self._living(), first, second)
        except ChildLost:
            with self._use.hold(alone=True):
                return self._compare_alone(self._living(), first, second)

    def _compare_alone(self, child: ChildProcess, first: Path, second: Path) -> bool:
        try:
            return self._compare(child, first, second)
        except _Crowded as crowded:
            raise Unsuitable(crowded.happened, code="no_memory", operation="compare pixels") from crowded
        except ChildLost as lost:
            if not child.worked or child.cause == "device_lost":
                raise
            raise Unsuitable("the child was lost on it, twice", code=child.cause, operation="compare pixels") from lost

    def _compare(self, child: ChildProcess, first: Path, second: Path) -> bool:
        call = self._call(child, protocol.COMPARE, {"paths": [os.fspath(first), os.fspath(second)]})
        try:
            return _compared(self._next(call, lambda: None, protocol.COMPARED))
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
            if self._child is None or isinstance(self._child.end, ChildLost) or self._is_time_to_look():
                self._child = ChildProcess(self._plan, self._replace, self._has_begun)
                self._looked = time.monotonic()
            return self._child

    def _is_time_to_look(self) -> bool:
        """Tell whether the device that was missing may be looked for again."""
        since = time.monotonic() - self._looked
        gone = self._child is not None and isinstance(self._child.end, DeviceMissing)
        return gone and self._again_seconds is not None and since > self._again_seconds

    def _has_begun(self, child: ChildProcess) -> None:
        """Remember where the models run, or that there is nowhere to run them."""
        self._stillborn = 0
        self._lacking = child.end if isinstance(child.end, DeviceMissing) else None
        self._had_gpu = self._had_gpu or child.device.startswith("cuda")

    def _replace(self, gone: ChildProcess) -> None:
        """Start the next child at once, so that its models load before they are asked for.

        Not where the one that is gone never got ready: it would only fail again, over and over. One may have been
        killed; after two in a row nothing is asked of the models until one has begun.
        """
        with self._lock:
            if isinstance(gone.end, ChildLost) and not gone.worked:
                self._stillborn += 1
                self._lacking = gone.end if self._stillborn > 1 else self._lacking
            if not self._closed and self._child is gone and gone.models is not None:
                self._child = ChildProcess(self._plan, self._replace, self._has_begun)

    def _call(self, child: ChildProcess, kind: str, body: Mapping[str, Any]) -> Call:
        with self._waited_for():
            return child.call(kind, body)

    def _next(self, call: Call, alive: Callable[[], None], wanted: str) -> Frame:
        """Wait for the call's next frame of a wanted kind; a heartbeat is passed on to `alive`."""
        while True:
            reply = call.replies.get()
            if isinstance(reply, CxrnodeError):
                with self._waited_for():
                    raise reply
            if reply.kind == wanted:
                return reply
            alive()

    @contextmanager
    def _waited_for(self) -> Iterator[None]:
        """Let a device that is not there be something to try again for, where it is looked for again."""
        try:
            yield
        except DeviceMissing as missing:
            if self._again_seconds is None:
                raise
            raise Retryable(missing.happened, operation="predict", hint=missing.hint) from missing


def _tell_faults(answer: ImagePrediction, models: Mapping[str, ModelIdentity]) -> None:
    """Log what is a fault of ours or of a model's, and a model that had to run in another way than it was loaded for.

    What is wrong with a file is an outcome, kept in the ledger.
    """
    for said in answer.predictions:
        if said.model != models.get(said.model.name):
            telemetry.tell(Event.MODEL_SQUEEZED, logging.WARNING, model=said.model.name, device=said.model.backend)
    failures = [("", answer.failure)] if answer.failure else list(answer.failed)
    for model, failure in failures:
        if failure.code in ("model_failed", "no_memory") or failure.transient:
            telemetry.tell(
                Event.UNEXPECTED,
                logging.WARNING,
                operation="predict",
                model=model,
                code=failure.code,
                reason=failure.detail,
            )


def _compared(frame: Frame) -> bool:
    code = frame.body["code"]
    if code == "no_memory":
        raise _Crowded(operation="compare pixels")
    if frame.body["transient"]:
        hint = "see 'A kept instance cannot be read' in docs/operations.md"
        raise Retryable("one of the two files cannot be read", operation="compare pixels", hint=hint)
    if code:
        raise Unsuitable("the pixels of one of the two cannot be decoded", code=code, operation="compare pixels")
    return bool(frame.body["same"])
