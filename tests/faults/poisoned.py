"""The program with a child that some images end: what a codec or a network with a fault does, on demand.

    python -m tests.faults.poisoned child FD      # the inference child, poisoned
    python -m tests.faults.poisoned PROGRAM ...   # `cxrnode ...`, with such children

The variable POISON names a JSON file: part of a film's file name to what happens when it is decoded (`segv`, `abort`,
`kill`, `hang`, `stop`, `memory`, `lost`), or, with ` in MODEL`, when that network runs on it. ` once FILE`: only while
there is no FILE. POISON_DECODERS: how many images are prepared at once, by default one, so that what a child is lost on
does not depend on the number of processors.
Nothing of this is in the program: child and node are the real ones, changed in these processes only.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cxrnode.inference import process
from cxrnode.inference.protocol import LOST_DEVICE

COMMAND = (sys.executable, "-m", "tests.faults.poisoned", "child")


def _no_memory() -> None:
    raise MemoryError


ENDS: dict[str, Callable[[], Any]] = {
    "segv": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "abort": os.abort,
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "hang": lambda: threading.Event().wait(),
    "stop": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "memory": _no_memory,
    "lost": lambda: os._exit(LOST_DEVICE),
}


def _poison_in(name: str) -> str:
    """Give what a file of this name is poisoned with; empty for a sound one."""
    poison = json.loads(Path(os.environ["POISON"]).read_text())
    return next((how for part, how in poison.items() if part in name), "")


def _end(how: str) -> None:
    ending, _, flag = how.partition(" once ")
    if flag and Path(flag).exists():
        return
    if flag:
        Path(flag).touch()
    ENDS[ending]()


def _child() -> None:
    """Run the child, with a decoder and an engine that poisoned images end."""
    from cxrnode.inference import child, desk, image_pass
    from cxrnode.inference.engine import Engine

    desk.DECODERS = int(os.environ.get("POISON_DECODERS", "1"))
    decode, prepare, run = image_pass.decode, desk.prepare_image, Engine.run
    poisoned: dict[int, str] = {}

    def decode_or_end(path: Path) -> Any:
        how = _poison_in(path.name)
        if how and " in " not in how:
            _end(how)
        return decode(path)

    def prepare_and_mark(request: Any, models: Any) -> Any:
        prepared = prepare(request, models)
        poisoned[id(prepared)] = _poison_in(request.path.name)
        return prepared

    def run_or_end(self: Engine, images: Sequence[Any], stage: Any) -> Any:
        @contextmanager
        def within(model: str, places: Sequence[int]) -> Iterator[None]:
            with stage(model, places):
                for how in (poisoned[id(images[place])] for place in places):
                    ending, _, where = how.partition(" in ")
                    if where == model:
                        _end(ending)
                yield

        return run(self, images, within)

    image_pass.decode, desk.prepare_image = decode_or_end, prepare_and_mark
    Engine.run = run_or_end  # type: ignore[method-assign]
    child.main(sys.argv[2:])


def _program() -> None:
    import cxrnode.cli

    process._COMMAND = COMMAND  # type: ignore[assignment]
    sys.argv = sys.argv[1:]
    cxrnode.cli.main()


if __name__ == "__main__":
    if sys.argv[1] == "child":
        _child()
    _program()
