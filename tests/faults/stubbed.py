"""The node with stub models as tests start, kill and start it again: whole (`Stubbed`), or forked and so at once.

Hides the process that forks. Promises what `Serve` promises.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cxrnode.domain.delivery import CommitmentPolicy, Destination
from cxrnode.domain.identity import AETitle
from tests import peers
from tests.end_to_end.processes import AE_TITLE, Serve

ROOT = Path(__file__).resolve().parents[2]
_STUB = (sys.executable, "-m", "tests.faults.stub_node")

PATIENT = {
    "LINE__JOBS__ATTEMPTS": "10000",
    "LINE__JOBS__LONGEST_SECONDS": "1",
    "LINE__DELIVERIES__ATTEMPTS": "10000",
    "LINE__DELIVERIES__LONGEST_SECONDS": "1",
}
"""Nothing is parked for its number of attempts, and a day of waiting is a second."""


class Stubbed(Serve):
    """`cxrnode serve` with stub models, as one process."""

    command: Sequence[str | Path] = _STUB

    def __init__(
        self, folder: Path, destinations: Sequence[Destination] = (), *, before: Sequence[str] = (), **variables: str
    ) -> None:
        """Start nothing; see `Serve`."""
        super().__init__(folder, destinations, before=before, **variables)
        self._environment["PYTHONPATH"] = str(ROOT)


class Forked(Stubbed):
    """The same, forked by a process that has loaded the program: starts in a tenth of the time."""

    def __init__(self, folder: Path, destinations: Sequence[Destination] = (), **variables: str) -> None:
        """Start the process that forks; it ends with `clear_away`."""
        super().__init__(folder, destinations, **variables)
        self._forker = subprocess.Popen(
            [*_STUB, "--forks"], env=self._environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def spawn(self) -> None:
        """Fork a node and return at once."""
        assert self._process is None or self._process.poll() is not None
        self._process = _Fork(self, int(self.ask(f"start {self.log}")))  # type: ignore[assignment]

    def ask(self, line: str) -> str:
        """Say a line to the process that forks; give its answer."""
        assert self._forker.stdin is not None
        assert self._forker.stdout is not None
        self._forker.stdin.write(f"{line}\n")
        self._forker.stdin.flush()
        return self._forker.stdout.readline().strip()

    def processes(self) -> list[int]:
        """Give every living process of the node, without the one that forks."""
        return [pid for pid in super().processes() if pid != self._forker.pid]

    def clear_away(self) -> None:
        """Kill whatever is left, and end the process that forks."""
        super().clear_away()
        with self._forker:
            self._forker.kill()


class _Fork:
    """As much of Popen as `Serve` asks for, over a process that is another's child."""

    def __init__(self, node: Forked, pid: int) -> None:
        self._node, self.pid, self._code = node, pid, None
        self._handle = os.pidfd_open(pid)

    def poll(self) -> int | None:
        return self._ended(0)

    def wait(self, seconds: float) -> int:
        code = self._ended(seconds)
        if code is None:
            raise subprocess.TimeoutExpired("stub node", seconds)
        return code

    def _ended(self, seconds: float) -> int | None:
        if self._code is None and select.select([self._handle], [], [], seconds)[0]:
            self._code: Any = int(self._node.ask(f"wait {self.pid}"))
            os.close(self._handle)
        return self._code


@contextmanager
def stub_serving(
    folder: Path,
    *destinations: Destination,
    archive: peers.Orthanc | None = None,
    forked: bool = True,
    state: Path | None = None,
    **settings: str,
) -> Iterator[Serve]:
    """Run a node with stub models for the time of the `with`; an Orthanc, where given, is its destination `pacs`.

    Its log lies in `folder`; so does its state, where `state` is not given.
    """
    if state:
        settings["NODE__STATE_DIR"] = str(state)
    node = (Forked if forked else Stubbed)(folder, [*destinations, *([to(archive)] if archive else [])], **settings)
    node.state = state or node.state
    if archive:
        archive.knows(AE_TITLE, node.port)
    try:
        node.start()
        yield node
    finally:
        with suppress(ProcessLookupError):
            node.clear_away()


def to(archive: peers.Orthanc, *, name: str = "pacs", commitment: str = "required") -> Destination:
    """Give an Orthanc as a destination."""
    return destination(name, archive.ae_title, archive.port, commitment)


def destination(name: str, ae_title: str, port: int, commitment: str = "none") -> Destination:
    """Give an AE on loopback as a destination."""
    return Destination(
        name=name,
        ae_title=AETitle(ae_title),
        host=peers.LOOPBACK,
        port=port,
        commitment=CommitmentPolicy(commitment),
    )
