"""One inference child process, seen from the node.

Hides spawning, watching and killing it. Promises that the child is spawned and never forked, that it gets nothing of
ours but one private pipe, that it ends with this process whatever it is doing, that every call made to it is answered
(by its frames, or by the error that says why there are none), and that no text it writes reaches a log: another
library's warnings quote values, so its standard error is counted only.

How it is watched: the child beats all the time and says how long its oldest stage of work has been running. No beat for
`stall_seconds` (stopped, or a C extension that sits on the interpreter lock) or one stage longer than `image_seconds`
(a codec that loops) ends the child. While it loads its models the one limit is `start_seconds`. The child announces
each stage before it begins it, so that a lost child leaves behind what it was working on (`suspects`), and how it was
lost (`cause`).
"""

from __future__ import annotations

import copy
import logging
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from cxrnode import telemetry
from cxrnode.domain.finding import ModelIdentity
from cxrnode.errors import ChildLost, CxrnodeError, Stopping
from cxrnode.inference import protocol
from cxrnode.inference.protocol import Frame, NotAFrame, Pipe
from cxrnode.telemetry import Event

_FRAME_OF_A_CRASH = re.compile(rb'File "[^"\n]*?([A-Za-z0-9_]+\.py)", line (\d+)')
"""What faulthandler writes: the innermost place first, and nothing but places."""

_HINT = "see 'Models do not load' in docs/operations.md"

_CAUSES = {-signal.SIGKILL: "no_memory", protocol.LOST_DEVICE: "device_lost"}
"""How a child was lost, by its exit status; a SIGKILL that is not ours is the kernel's, for want of memory."""
_DYING_SECONDS = 5.0
"""How long a child whose pipe broke may take to its end (a core dump is written meanwhile), and one that is killed."""

_COMMAND = (sys.executable, "-P", "-m", "cxrnode.inference.child")
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a child is run. `bundles` by model name; `batch` counts where the device is a GPU."""

    bundles: Mapping[str, Path]
    device: str
    threads: int
    batch: int
    heartbeat_seconds: float
    stall_seconds: float
    image_seconds: float
    start_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Work under way in the child: some images of a call, by their places in it, in one model where it is named."""

    call: int
    images: tuple[int, ...]
    model: str


Reply = Frame | CxrnodeError
"""What a call gets: the child's frames (a BEAT among them), or the error that ends it."""


class ChildProcess:
    """A child from spawning to its end; a new one takes its place, this one never comes back."""

    def __init__(
        self, plan: Plan, ended: Callable[[ChildProcess], None], began: Callable[[ChildProcess], None]
    ) -> None:
        """Spawn it and return at once.

        `began` is called when it has loaded its models or cannot, `ended` when it is gone, by the thread that watches.
        """
        self._plan = plan
        self._ended, self._began = ended, began
        self._changed = threading.Condition()
        self._models: Mapping[str, ModelIdentity] | None = None
        self._end: CxrnodeError | None = None
        self._calls: dict[int, queue.SimpleQueue[Reply]] = {}
        self._number = 0
        self._stages: dict[int, Stage] = {}
        self._hung: int | None = None
        self._cause = ""
        self._device = self._reason = ""
        self._unwanted = False
        self._spawned = self._heard = time.monotonic()
        self._process, self._pipe = _spawn(plan)
        telemetry.tell(Event.CHILD_STARTED, pid=self._process.pid)
        self._watcher = threading.Thread(target=self._watch, name="inference-watch", daemon=True)
        self._watcher.start()
        threading.Thread(target=_count_lines, args=(self._process,), name="inference-stderr", daemon=True).start()

    @property
    def pid(self) -> int:
        """Its process number."""
        return self._process.pid

    @property
    def models(self) -> Mapping[str, ModelIdentity] | None:
        """The identities of the models it has loaded; None until it has."""
        return self._models

    @property
    def end(self) -> CxrnodeError | None:
        """Why it is gone; None while it lives."""
        return self._end

    @property
    def device(self) -> str:
        """Where its models run; empty until it has loaded them."""
        return self._device

    @property
    def reason(self) -> str:
        """Why they run there and not on a device that would be better; mostly empty."""
        return self._reason

    @property
    def cause(self) -> str:
        """How it was lost, as a key of REASONS; empty while it lives."""
        return self._cause

    @property
    def worked(self) -> bool:
        """Whether it got as far as its work: what ends it before, no image did."""
        return self._models is not None or bool(self._stages)

    def suspects(self, call: Call) -> list[Stage]:
        """Give what a lost child was working on for a call; of one that hung, what hung."""
        stages = self._stages if self._hung is None else {self._hung: self._stages.get(self._hung)}
        return [stage for stage in stages.values() if stage is not None and stage.call == call.number]

    def wait_ready(self, timeout: float | None) -> Mapping[str, ModelIdentity]:
        """Wait for the models. Raises the error that ended the child, or ChildLost after `timeout` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._models is not None or self._end is not None, timeout)
            self._raise_end()
            if self._models is None:
                raise ChildLost("the models are still loading", operation="load models")
            return self._models

    def call(self, kind: str, body: Mapping[str, Any]) -> Call:
        """Send a call; its replies come in the queue. Raises the error that ended the child."""
        replies: queue.SimpleQueue[Reply] = queue.SimpleQueue()
        with self._changed:
            self._raise_end()
            self._number += 1
            number = self._number
            self._calls[number] = replies
        try:
            self._pipe.send(kind, {**body, "call": number})
        except OSError:
            self._watcher.join()
        return Call(number=number, replies=replies)

    def forget(self, call: Call) -> None:
        """Drop a call: what the child still says to it is thrown away."""
        with self._changed:
            self._calls.pop(call.number, None)

    def kill(self) -> None:
        """End it now; returns when it is gone, or given up. Calls in flight get Stopping."""
        self._unwanted = True
        self._process.kill()
        self._pipe.hang_up()
        if threading.current_thread() is not self._watcher:
            self._watcher.join()

    def _watch(self) -> None:
        reason, stalled = "it ended", False
        try:
            while frame := self._pipe.receive(self._check, self._plan.heartbeat_seconds):
                self._take(frame)
        except _Stalled as stall:
            reason, stalled = str(stall), True
        except (OSError, NotAFrame):
            reason = "its pipe broke"
        except Exception as error:  # noqa: BLE001 - whatever a frame made us stumble on, its callers are waiting
            telemetry.unexpected("watch child", error)
            reason = "it spoke out of turn"
        finally:
            self._bury(reason, stalled=stalled)

    def _check(self) -> None:
        quiet = time.monotonic() - self._heard
        if self._models is None and time.monotonic() - self._spawned > self._plan.start_seconds:
            raise _Stalled(f"its models were not loaded within {self._plan.start_seconds:g} seconds")
        if self._models is not None and quiet > self._plan.stall_seconds:
            raise _Stalled(f"no heartbeat for {self._plan.stall_seconds:g} seconds")

    def _take(self, frame: Frame) -> None:
        self._heard = time.monotonic()
        if frame.kind == protocol.READY:
            self._got_ready(frame)
        elif frame.kind == protocol.FATAL:
            self._got_fatal(protocol.decode_stop(frame.body))
        elif frame.kind == protocol.BEAT:
            self._got_beat(frame)
        elif frame.kind == protocol.BEGIN:
            self._stages[frame.body["stage"]] = _stage_of(frame)
        elif frame.kind == protocol.DONE:
            self._stages.pop(frame.body["stage"], None)
        else:
            self._reply(frame.body["call"], frame)

    def _got_fatal(self, error: CxrnodeError) -> None:
        self._end = self._end or error
        self._began(self)
        self._end_with(error)

    def _got_ready(self, frame: Frame) -> None:
        self._device, self._reason = frame.body["device"], frame.body["reason"]
        self._began(self)
        with self._changed:
            self._models = {each["name"]: protocol.decode_identity(each) for each in frame.body["models"]}
            self._changed.notify_all()
        telemetry.tell(
            Event.CHILD_READY,
            logging.WARNING if self._reason else logging.INFO,
            pid=self.pid,
            device=self._device,
            reason=self._reason,
            seconds=round(time.monotonic() - self._spawned, 2),
        )

    def _got_beat(self, frame: Frame) -> None:
        if self._models is not None and frame.body["oldest"] > self._plan.image_seconds:
            self._hung = frame.body["stage"]
            raise _Stalled(f"one step of its work took longer than {self._plan.image_seconds:g} seconds")
        with self._changed:
            waiting = list(self._calls.values())
        for replies in waiting:
            replies.put(frame)

    def _reply(self, number: int, frame: Frame) -> None:
        with self._changed:
            replies = self._calls.get(number)
        if replies is not None:
            replies.put(frame)

    def _bury(self, reason: str, *, stalled: bool) -> None:
        if stalled:
            self._process.kill()
        self._pipe.close()
        status, by_itself = self._ended_with()
        cause = _CAUSES.get(status, "crashed") if by_itself and status is not None else "crashed"
        self._cause = "hung" if stalled else cause
        if self._process.stdin:
            self._process.stdin.close()
        if self._end is None and not self._unwanted:
            telemetry.tell(
                Event.CHILD_LOST, logging.WARNING, pid=self.pid, reason=reason, status=status, code=self._cause
            )
        hint = "" if self.worked else _HINT
        lost = ChildLost(f"the inference child is gone: {reason}", operation="predict", hint=hint)
        self._end_with(Stopping(operation="predict") if self._unwanted else lost)
        self._ended(self)

    def _ended_with(self) -> tuple[int | None, bool]:
        """Wait for its end, which a broken pipe announces: how it ended by itself says why. Then end it.

        Gives its status, None for one that cannot be ended: it sits in the kernel, as under a GPU's driver that hangs.
        """
        with suppress(subprocess.TimeoutExpired):
            return self._process.wait(_DYING_SECONDS), True
        self._process.kill()
        with suppress(subprocess.TimeoutExpired):
            return self._process.wait(_DYING_SECONDS), False
        return None, False

    def _raise_end(self) -> None:
        """Raise why it is gone, if it is: a copy, since several threads may raise it at once."""
        if self._end is not None:
            raise copy.copy(self._end)

    def _end_with(self, error: CxrnodeError) -> None:
        """Keep the first reason, and tell everybody who waits."""
        with self._changed:
            self._end = self._end or error
            waiting = list(self._calls.values())
            self._calls.clear()
            self._changed.notify_all()
        for replies in waiting:
            replies.put(copy.copy(self._end))


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call in flight."""

    number: int
    replies: queue.SimpleQueue[Reply]


class _Stalled(Exception):
    pass


def _stage_of(frame: Frame) -> Stage:
    return Stage(call=frame.body["call"], images=tuple(frame.body["images"]), model=frame.body["model"])


def _spawn(plan: Plan) -> tuple[subprocess.Popen[bytes], Pipe]:
    """Start the child; its standard input is a lifeline that is never written (see `child.die_with_parent`)."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [*_COMMAND, str(theirs.fileno())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=[theirs.fileno()],
            env=_environment(plan),
            start_new_session=True,
        )
    pipe = Pipe(ours)
    with suppress(OSError):
        pipe.send(protocol.START, _start_of(plan))
    return process, pipe


def _environment(plan: Plan) -> dict[str, str]:
    """Give the child's environment: thread counts must stand before numpy and torch are imported."""
    threads = dict.fromkeys(_THREAD_VARIABLES, str(plan.threads))
    return {**os.environ, **threads, "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}


def _start_of(plan: Plan) -> dict[str, Any]:
    return {
        "bundles": {name: os.fspath(path.absolute()) for name, path in plan.bundles.items()},
        "device": plan.device,
        "threads": plan.threads,
        "batch": plan.batch,
        "heartbeat_seconds": plan.heartbeat_seconds,
    }


def _count_lines(process: subprocess.Popen[bytes]) -> None:
    output = process.stdout
    if output is None:
        return
    with output:
        while heard := _some(output):
            telemetry.tell(
                Event.CHILD_SPOKE, pid=process.pid, count=max(1, heard.count(b"\n")), where=_place_of_crash(heard)
            )


def _some(output: IO[bytes]) -> bytes:
    return os.read(output.fileno(), 1 << 16)


def _place_of_crash(heard: bytes) -> str:
    """Give `file:line` of the innermost place where faulthandler wrote one: never any other text."""
    found = _FRAME_OF_A_CRASH.search(heard)
    return f"{found[1].decode()}:{found[2].decode()}" if found else ""
