"""Peers that misbehave, byte by byte, each from an address of its own on loopback.

Hides sockets. Promises that a stranger does what its verb says and no more, and hears what the node answers. As a
program it runs a whole crowd of them in a process of its own: `on` and `off` on standard input begin and end it.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

from tests.fuzz import wire

HONEST, STRANGER, SLOW, UNLISTED = "127.0.0.1", "127.0.0.66", "127.0.0.67", "127.1.0.1"
REJECTED, ACCEPTED, ABORTED = 3, 2, 7
_SECONDS = 20.0


class Stranger:
    """One connection; closed when the `with` ends."""

    def __init__(self, port: int, address: str = STRANGER, *, seconds: float = _SECONDS) -> None:
        """Connect from this address."""
        self._wire = socket.create_connection(("127.0.0.1", port), timeout=seconds, source_address=(address, 0))
        self._wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._wire.close()

    def say(self, content: bytes) -> None:
        """Send bytes; what a node that has hung up makes of them is no matter."""
        with contextlib.suppress(ConnectionError):
            self._wire.sendall(content)

    def hear(self) -> tuple[int, bytes]:
        """Give type and content of the next PDU; (0, b"") where the node hung up."""
        head = self._take(6)
        if len(head) < 6:
            return 0, b""
        kind, length = struct.unpack(">BxL", head)
        return kind, self._take(length)

    def associate(self, calling: str = "MODALITY", called: str = "CXRNODE", **items: object) -> int:
        """Ask for an association; give the type of the answer."""
        asked = wire.associate(called=called.encode(), **items)  # type: ignore[arg-type]
        self.say(asked.replace(b"FUZZ".ljust(16), calling.encode().ljust(16)))
        return self.hear()[0]

    def rejected(self, calling: str = "MODALITY", called: str = "CXRNODE") -> tuple[int, int, int]:
        """Ask for an association; give result, source and diagnostic of the rejection."""
        kind, why = self.answer(calling, called)
        assert kind == REJECTED, kind
        return why

    def answer(self, calling: str = "MODALITY", called: str = "CXRNODE") -> tuple[int, tuple[int, int, int]]:
        """Ask for an association; give the type of the answer, and of a rejection result, source and diagnostic."""
        asked = wire.associate(called=called.encode()).replace(b"FUZZ".ljust(16), calling.encode().ljust(16))
        self.say(asked)
        kind, content = self.hear()
        return kind, (content[1], content[2], content[3]) if kind == REJECTED else (0, 0, 0)

    def trickle(self, content: bytes, *, every: float) -> float:
        """Send byte by byte until the node hangs up; give after how many seconds it did."""
        began = time.monotonic()
        for byte in content:
            self.say(bytes([byte]))
            if select.select([self._wire], [], [], every)[0] and not self.goes_on():
                return time.monotonic() - began
        raise AssertionError(f"the node took {len(content)} bytes, one every {every} s")

    def until_hung_up(self) -> float:
        """Say nothing until the node hangs up; give after how many seconds."""
        began = time.monotonic()
        while self.goes_on():
            pass
        return time.monotonic() - began

    def goes_on(self) -> bool:
        """Wait for something to come; tell whether it was bytes, and no abort."""
        try:
            kind, _ = self.hear()
        except ConnectionError:
            return False
        return kind not in (0, ABORTED)

    def status(self) -> int:
        """Give the status of the next DIMSE answer; -1 where none came."""
        kind, content = self.hear()
        if kind != 4:
            return -1
        at = content.index(struct.pack("<HHL", 0, 0x0900, 2)) + 8
        return int(struct.unpack_from("<H", content, at)[0])

    def _take(self, count: int) -> bytes:
        taken = b""
        while len(taken) < count:
            try:
                more = self._wire.recv(count - len(taken))
            except ConnectionResetError:
                return taken
            if not more:
                return taken
            taken += more
        return taken


def store(sop_instance: str, size: int, *, message: int = 1, start: bytes = b"") -> Iterator[bytes]:
    """Give a C-STORE of so many bytes, in PDUs of 64 KiB: after a start that has a sense, what is seen to have none."""
    yield wire.p_data(wire.fragment(1, 3, wire.command(wire.store_fields(sop_instance, message=message))))
    if start:
        yield wire.p_data(wire.fragment(1, 0, start))
    chunk = b"\xff" * 65_536
    for at in range(0, size, len(chunk)):
        last = at + len(chunk) >= size
        yield wire.p_data(wire.fragment(1, 2 * last, chunk[: min(len(chunk), size - at)]))


def _knock(port: int) -> None:
    """Connect and hang up, five hundred times a second."""
    with contextlib.suppress(OSError), Stranger(port):
        time.sleep(0.002)


def _silent(port: int) -> None:
    with contextlib.suppress(OSError, TimeoutError), Stranger(port, seconds=2) as stranger:
        stranger.goes_on()
    time.sleep(0.05)


def _wrong_title(port: int) -> None:
    with contextlib.suppress(OSError, AssertionError), Stranger(port) as stranger:
        stranger.rejected(called="OTHER")
    time.sleep(0.05)


def _hold(port: int) -> None:
    with contextlib.suppress(OSError), Stranger(port, seconds=2) as stranger:
        stranger.associate()
        stranger.goes_on()


def _trickle(port: int) -> None:
    with contextlib.suppress(OSError, AssertionError), Stranger(port, SLOW) as stranger:
        stranger.associate()
        stranger.trickle(b"".join(store("1.2.3", 60_000)), every=0.01)


CROWD: tuple[tuple[Callable[[int], None], int], ...] = (
    (_knock, 1),
    (_silent, 20),
    (_wrong_title, 2),
    (_hold, 10),
    (_trickle, 4),
)
"""What strangers do, again and again, and how many do it at once."""


def _crowd(port: int) -> None:
    on = threading.Event()

    def again(act: Callable[[int], None]) -> None:
        while True:
            on.wait()
            act(port)

    for act, count in CROWD:
        for _ in range(count):
            threading.Thread(target=again, args=(act,), daemon=True).start()
    for line in sys.stdin:
        (on.set if line.strip() == "on" else on.clear)()


if __name__ == "__main__":
    _crowd(int(sys.argv[1]))
