"""The inference child: `python -m cxrnode.inference.child FD`, started by `cxrnode.inference.process` only.

Hides how the child starts, beats and ends. Promises that it ends with its node (the kernel kills it when the node's end
of its standard input closes, even inside a C extension), that its heart tells how long its oldest stage of work has
been running, and that no text of another library leaves it over the pipe.
"""

from __future__ import annotations

import faulthandler
import fcntl
import itertools
import os
import queue
import resource
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from cxrnode import discretion, telemetry
from cxrnode.errors import CxrnodeError, Fatal
from cxrnode.inference import protocol
from cxrnode.inference.desk import Desk
from cxrnode.inference.protocol import Frame, Pipe

if TYPE_CHECKING:
    from cxrnode.inference.engine import Engine

F_SETSIG = 10
"""Linux's fcntl command (fcntl.h); the standard library does not name it."""

GONE = 70
"""Exit status where the child gives up; the node sees a lost child."""

MEMORY_SHARE = 0.75
"""Of the machine's memory, at most so much for a child without a GPU, whose driver maps the memory of both."""

STOPPED = 78
"""Exit status where the models cannot be loaded; the reason went over the pipe."""


class Heart:
    """Tells the node that the interpreter turns, and how long the oldest stage of work has been running."""

    def __init__(self, pipe: Pipe, period: float) -> None:
        """Beat every `period` seconds once `beat` runs."""
        self._pipe = pipe
        self._period = period
        self._lock = threading.Lock()
        self._running: dict[int, float] = {}
        self._numbers = itertools.count(1)

    @contextmanager
    def stage(self, call: int, images: Sequence[int], model: str = "") -> Iterator[None]:
        """Count what runs inside as one stage of work: some images of a call, in one model where it is named.

        The node hears of it before it begins: should this process end within, these are the images to suspect.
        """
        with self._lock:
            number = next(self._numbers)
            self._running[number] = time.monotonic()
        self._pipe.send(protocol.BEGIN, {"stage": number, "call": call, "images": list(images), "model": model})
        try:
            yield
        finally:
            with self._lock:
                del self._running[number]
            self._pipe.send(protocol.DONE, {"stage": number})

    def beat(self) -> None:
        """Beat until the node is gone."""
        while True:
            try:
                oldest, stage = self._oldest()
                self._pipe.send(protocol.BEAT, {"oldest": oldest, "stage": stage})
            except OSError:
                os._exit(0)
            time.sleep(self._period)

    def _oldest(self) -> tuple[float, int]:
        """Give how long the oldest stage has been running, and its number; 0 and 0 where none is."""
        with self._lock:
            begun, stage = min(((begun, stage) for stage, begun in self._running.items()), default=(None, 0))
        return (0.0 if begun is None else time.monotonic() - begun), stage


def main(arguments: Sequence[str]) -> None:
    """Serve the node at the other end of the file descriptor `arguments[0]` until it is gone."""
    _die_with_parent()
    _die_before_parent()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a service's stop reaches every process: the node ends its child
    discretion.keep_to_itself()
    telemetry.start_logging()
    telemetry.guard_tracebacks()
    faulthandler.enable()
    try:
        _serve(Pipe(socket.socket(fileno=int(arguments[0]))))
    except BaseException as error:  # noqa: BLE001 - the edge: whatever it was, the node must see the child gone
        telemetry.unexpected("serve", error)
    os._exit(GONE)


def _serve(pipe: Pipe) -> None:
    start = pipe.receive()
    if start is None:
        os._exit(0)
    heart = Heart(pipe, float(start.body["heartbeat_seconds"]))
    threading.Thread(target=heart.beat, name="heart", daemon=True).start()
    desk = Desk(pipe, heart.stage)
    calls: queue.SimpleQueue[Frame] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(pipe, desk, calls), name="reader", daemon=True).start()
    engine = _engine(start.body, pipe)
    while True:
        desk.predict(calls.get(), engine)


def _die_with_parent() -> None:
    """Have the kernel kill this process when the other end of its standard input, which is never written, closes.

    PR_SET_PDEATHSIG would do it when the *thread* that spawned us ends. A reader that sees the end of a pipe needs the
    interpreter lock, which a hung codec may hold; the kernel needs nothing.
    """
    fcntl.fcntl(0, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(0, F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(0, fcntl.F_SETFL, fcntl.fcntl(0, fcntl.F_GETFL) | os.O_ASYNC)
    lifeline = select.poll()
    lifeline.register(0, select.POLLIN)
    if lifeline.poll(0):
        os._exit(0)


def _die_before_parent() -> None:
    """Have the kernel end this process, and not the node, when the machine runs out of memory."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def bound_memory(share: float = MEMORY_SHARE) -> None:
    """Let what asks for more than a share of the machine's memory get none: an answer, where the kernel's is a kill.

    Of memory that is written only (RLIMIT_DATA): torch maps much that it never touches. A lower limit stays.
    """
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if soft == resource.RLIM_INFINITY or soft > whole * share:
        resource.setrlimit(resource.RLIMIT_DATA, (int(whole * share), hard))


def _read(pipe: Pipe, desk: Desk, calls: queue.SimpleQueue[Frame]) -> None:
    """Take calls from the node; the end of the pipe is the end of the child."""
    try:
        while frame := pipe.receive():
            if frame.kind == protocol.COMPARE:
                desk.compare(frame)
            else:
                calls.put(frame)
    finally:
        os._exit(0)


def _engine(start: Mapping[str, Any], pipe: Pipe) -> Engine:
    """Load the models and say so; where they cannot be loaded, say why and end."""
    try:
        engine = _loaded(start)
    except CxrnodeError as error:
        _stop(pipe, error)
    except MemoryError:
        os._exit(GONE)
    except Exception as error:  # noqa: BLE001 - the edge: torch raises whatever a file makes it stumble on
        _stop(pipe, _unforeseen(error))
    if engine.device == "cpu":
        bound_memory()
    identities = [protocol.encode_identity(each.identity) for each in engine.models.values()]
    pipe.send(protocol.READY, {"models": identities, "device": engine.device, "reason": engine.reason})
    return engine


def _loaded(start: Mapping[str, Any]) -> Engine:
    from cxrnode.inference.engine import load_engine

    bundles = {name: Path(path) for name, path in start["bundles"].items()}
    return load_engine(bundles, device=start["device"], threads=start["threads"], batch=start["batch"])


def _unforeseen(error: Exception) -> CxrnodeError:
    return Fatal(
        f"the models cannot be loaded: {type(error).__name__} at {telemetry.where(error)}",
        operation="load models",
        hint="docs/operations.md, Models do not load",
    )


def _stop(pipe: Pipe, error: CxrnodeError) -> NoReturn:
    pipe.send(protocol.FATAL, protocol.encode_stop(error))
    os._exit(STOPPED)


if __name__ == "__main__":
    main(sys.argv[1:])
