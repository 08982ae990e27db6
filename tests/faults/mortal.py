"""A real Orthanc that can be killed, stopped, and started again on what it has.

Promises the same ports over all its lives, and that it is gone after `end`.
"""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack, suppress
from pathlib import Path

from tests import peers
from tests.end_to_end.processes import AE_TITLE, Serve


class Mortal:
    """A real Orthanc that can be killed, stopped, and started again on what it has."""

    def __init__(self, folder: Path, node: Serve | None = None) -> None:
        """Start it."""
        self._folder, self._stack = folder, ExitStack()
        self._ports = (peers.free_port(), peers.free_port())
        self.node = node
        self.start()

    def start(self) -> None:
        """Start it, empty or on what it has."""
        self.running = self._stack.enter_context(peers.start_orthanc(self._folder, ports=self._ports))
        if self.node:
            self.running.knows(AE_TITLE, self.node.port)

    def kill(self) -> None:
        """SIGKILL."""
        os.kill(self.running.pid, signal.SIGKILL)
        self._stack.close()

    def signal(self, number: signal.Signals) -> None:
        """Stop it, or let it go on."""
        os.kill(self.running.pid, number)

    def end(self) -> None:
        """End it."""
        with suppress(ProcessLookupError):
            self.signal(signal.SIGCONT)
        self._stack.close()
