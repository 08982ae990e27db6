"""Decoding in a process of its own, so that a codec that ends the process is seen and counted, and nothing else ends.

with Decoder(folder) as decoder:
    decoder.answer(content)     # "decoded", "refused: unreadable", "died: SIGSEGV", "timed out"
"""

from __future__ import annotations

import multiprocessing
import resource
import signal
import warnings
from pathlib import Path
from typing import Any

_SPAWN = multiprocessing.get_context("spawn")
MOST_MEMORY = 4 << 30
"""Bytes that the process may map: what is needed for the largest picture that is decoded at all, and no more."""
_STARTS_SECONDS = 60.0


def _serve(connection: Any, path: Path) -> None:
    """Decode whatever lies at `path` each time one asks."""
    from cxrnode.errors import Unsuitable
    from cxrnode.pixels.decode import decode
    from cxrnode.pixels.grayscale import display
    from cxrnode.pixels.orientation import from_header

    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    connection.send("ready")
    while connection.recv():
        try:
            pixels = decode(path)
            stated = (int(pixels.header.Rows), int(pixels.header.Columns))
            answer = "decoded" if pixels.values.shape == stated else f"wrong shape {pixels.values.shape} for {stated}"
            display(pixels)
            from_header(pixels.header)
        except Unsuitable as refused:
            answer = f"refused: {refused.code}"
        except Exception as error:  # noqa: BLE001 - the answer that a test looks for
            answer = f"raised {type(error).__name__}: {error}"
        connection.send(answer)


class Decoder:
    """One child at a time; a new one where the last has died."""

    def __init__(self, folder: Path, *, seconds: float = 20.0) -> None:
        """Work in `folder`; `seconds` is how long one answer may take."""
        self._path, self._seconds = folder / "film.dcm", seconds
        self._process: Any = None

    def __enter__(self) -> Decoder:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def answer(self, content: bytes) -> str:
        """Say what became of decoding a file of this content."""
        self._path.write_bytes(content)
        if self._process is None:
            self._start()
        try:
            self._connection.send(True)
            if not self._connection.poll(self._seconds):
                self._end()
                return "timed out"
            return str(self._connection.recv())
        except (EOFError, OSError):
            self._process.join(10)
            code = self._process.exitcode
            self._end()
            return f"died: {signal.Signals(-code).name if code and code < 0 else code}"

    def _start(self) -> None:
        self._connection, theirs = _SPAWN.Pipe()
        self._process = _SPAWN.Process(target=_serve, args=(theirs, self._path), daemon=True)
        self._process.start()
        theirs.close()
        assert self._connection.poll(_STARTS_SECONDS), "the process that decodes did not start"
        self._connection.recv()

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join(10)
            self._connection.close()
        self._process = None
