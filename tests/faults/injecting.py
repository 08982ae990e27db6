"""Faults that strace puts into the system calls of a running process, and takes out again.

Hides strace. Promises that the process is left as it was when the `with` ends, and the number of calls that were
tampered with: a fault that did not fire proves nothing.
"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests import peers
from tests.waiting import wait_for


class Injection:
    """What strace did to a process."""

    def __init__(self, trace: Path) -> None:
        """Read from strace's output."""
        self._trace = trace

    @property
    def fired(self) -> int:
        """How many calls were tampered with so far."""
        return self._trace.read_text(errors="replace").count("INJECTED") + self._delayed()

    def _delayed(self) -> int:
        return self._trace.read_text(errors="replace").count("(DELAYED)")


@contextmanager
def injecting(pid: int, *faults: str, trace: Path, paths: Sequence[Path] = ()) -> Iterator[Injection]:
    """Tamper with a running process, as strace words it (`fsync:error=EIO`), on all its files or on these."""
    calls = ",".join(fault.split(":", 1)[0] for fault in faults)
    command = [peers.program("strace"), "-f", "-p", str(pid), "-o", str(trace), "-e", f"trace={calls}"]
    command += [part for fault in faults for part in ("-e", f"inject={fault}")]
    command += [part for path in paths for part in ("-P", str(path))]
    said = trace.with_suffix(".said")
    with said.open("wb") as errors:
        process = subprocess.Popen(command, stderr=errors)
        try:
            wait_for(lambda: b"attached" in said.read_bytes() or process.poll() is not None, 10)
            assert process.poll() is None, said.read_text()
            yield Injection(trace)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
            process.wait(20)


def may_trace() -> str:
    """Tell why no process can be traced here; empty where it can."""
    done = peers.run("strace", "-f", "-o", "/dev/null", "true", check=False)
    return "strace may not trace processes here (a container without SYS_PTRACE)" if done.returncode else ""
