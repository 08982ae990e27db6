"""A real `cxrnode serve` as a child process, on free loopback ports, with its state in a folder of the test's own.

Hides ports, CXRNODE_ variables, the log file and how processes are found. Promises that everything a test started is
gone after it, that waiting has a deadline, and that nothing is read from the process but what an operator could read:
its port, its health page, its standard error, its ledger.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cxrnode.dimse.connection import Waits
from cxrnode.dimse.sender import Sender
from cxrnode.dimse.tls import Tls
from cxrnode.domain.access import Transport
from cxrnode.domain.delivery import CommitmentPolicy, Destination
from cxrnode.domain.identity import AETitle
from cxrnode.errors import CxrnodeError
from cxrnode.ledger import SqliteLedger
from cxrnode.ledger.views import JobDetails
from cxrnode.testing import Pacs, send
from tests.peers import free_port
from tests.waiting import wait_for

AE_TITLE = "CXRNODE"
COMMAND = Path(sys.executable).with_name("cxrnode")
PATIENCE = 120.0
"""Seconds. A deadline for what takes a second or ten: a machine of CI may be slow."""

_HURRY = {
    "CXRNODE_STUDIES__QUIET_SECONDS": "0.5",
    "CXRNODE_LISTENER__FREE_SPACE_FLOOR_MB": "0",
    "CXRNODE_LINE__JOBS__FIRST_SECONDS": "0.2",
    "CXRNODE_LINE__DELIVERIES__FIRST_SECONDS": "0.2",
    "CXRNODE_LINE__COMMITMENT_WAIT_SECONDS": "2",
    "CXRNODE_MODELS__ENABLED": '["lungs"]',
}
_WAITS = Waits(connect_seconds=5, negotiation_seconds=5, answer_seconds=5)


class Serve:
    """A node that can be started, killed and started again on one state folder."""

    command: Sequence[str | Path] = (COMMAND, "serve")

    def __init__(
        self, folder: Path, destinations: Sequence[Destination] = (), *, before: Sequence[str] = (), **variables: str
    ) -> None:
        """Start nothing. `before` stands before the command (strace); `variables` are settings, without CXRNODE_."""
        folder.mkdir(parents=True, exist_ok=True)
        self.state, self.log = folder / "state", folder / "stderr.jsonl"
        self.port, self.web_port = free_port(), free_port()
        self.tls: Tls | None = None
        self._before = tuple(before)
        self._environment = _environment(self, destinations) | {f"CXRNODE_{k}": v for k, v in variables.items()}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> tuple[str, int, str]:
        """Where to push: host, port, AE title."""
        return "127.0.0.1", self.port, AE_TITLE

    @property
    def pid(self) -> int:
        """The process number of the running node."""
        assert self._process is not None
        return self._process.pid

    def spawn(self) -> None:
        """Start the process and return at once."""
        assert self._process is None or self._process.poll() is not None
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._before, *self.command], env=self._environment, stdout=log, stderr=log
            )

    def start(self) -> float:
        """Start the process; give the seconds until it answered C-ECHO."""
        began = time.monotonic()
        self.spawn()
        self.wait(self.echo)
        return time.monotonic() - began

    def wait(self, condition: Callable[[], object], seconds: float = PATIENCE) -> None:
        """Wait for a condition; fail with the end of the log where the deadline passes or the node ends before."""

        def met() -> bool:
            if condition():
                return True
            if self._process is not None and self._process.poll() is not None:
                raise AssertionError(f"the node ended with {self._process.poll()}: {self.text()[-2000:]}")
            return False

        try:
            wait_for(met, seconds)
        except TimeoutError as late:
            raise AssertionError(f"{late}: {self.text()[-3000:]}") from late

    def echo(self, calling: str = "MODALITY", called: str = AE_TITLE) -> bool:
        """C-ECHO; tell whether it was answered."""
        try:
            echo(self.port, calling=calling, called=called, tls=self.tls)
        except CxrnodeError:
            return False
        return True

    def send(self, paths: Sequence[Path], calling: str = "MODALITY") -> list[int]:
        """C-STORE files on one association; give their statuses, -1 for none."""
        return send(paths, self.address, calling=calling, tls=self.tls)

    def health(self, path: str = "/health") -> tuple[int, dict[str, Any]]:
        """Ask the health page; give its status (0: nobody answered) and its JSON."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.web_port}{path}", timeout=10) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)
        except OSError:
            return 0, {}

    def models_loaded(self) -> bool:
        """Tell what the health page says of the models."""
        said = self.health()[1].get("dependencies", {}).get("models", {})
        return bool(said.get("detail") == "loaded")

    def running(self) -> bool:
        """Tell whether the process that was started last still runs."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """SIGKILL, and wait until the kernel has ended it."""
        os.kill(self.pid, signal.SIGKILL)
        self.end()

    def terminate(self) -> int:
        """SIGTERM; give the exit code."""
        os.kill(self.pid, signal.SIGTERM)
        return self.end()

    def end(self) -> int:
        """Wait for the end; give the exit code."""
        assert self._process is not None
        return self._process.wait(PATIENCE)

    def clear_away(self) -> None:
        """Kill whatever is left of it, its children too."""
        if self._process is not None and self._process.poll() is None:
            self.kill()
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def text(self) -> str:
        """Everything that all runs wrote to standard output and error."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def events(self, name: str) -> list[dict[str, Any]]:
        """Give the logged events of this name, of all runs."""
        lines = (json.loads(line) for line in self.text().splitlines() if line.startswith("{") and line.endswith("}"))
        return [line for line in lines if line["event"] == name]

    def processes(self) -> list[int]:
        """Give every living process that has this node's state folder in its environment: node and children."""
        mark = f"CXRNODE_NODE__STATE_DIR={self.state}".encode()
        return [pid for pid in _all_processes() if mark in _environment_of(pid)]

    def cli(self, *arguments: str, seconds: float = PATIENCE) -> subprocess.CompletedProcess[str]:
        """Run another command of the program with the same settings, to its end."""
        command = [COMMAND, *arguments]
        return subprocess.run(
            command, env=self._environment, capture_output=True, text=True, timeout=seconds, check=False
        )

    @contextmanager
    def ledger(self) -> Iterator[SqliteLedger]:
        """Open the ledger beside the node, as `cxrnode status` does."""
        with SqliteLedger.open(self.state / "ledger.sqlite", incarnation="test", exclusive=False) as ledger:
            yield ledger

    def jobs(self) -> list[JobDetails]:
        """Give the details of every job."""
        with self.ledger() as ledger:
            return [ledger.job_details(job.job) for job in ledger.find_jobs(limit=10_000)]

    def incoming(self) -> list[Path]:
        """Give what lies unfinished in the spool."""
        return sorted((self.state / "spool" / "incoming").iterdir())


def cxrnode(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the program to its end, with these variables as its only settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CXRNODE_")}
    command = [COMMAND, *arguments]
    return subprocess.run(command, env=kept | variables, capture_output=True, text=True, timeout=PATIENCE, check=False)


def echo(port: int, *, calling: str = "MODALITY", called: str = AE_TITLE, tls: Tls | None = None) -> None:
    """C-ECHO a port on loopback once. Raises AssociationLost or NeedsOperator, as a sender of evidence does."""
    node = Destination(
        name="node",
        ae_title=AETitle(called),
        host="127.0.0.1",
        port=port,
        transport=Transport.LOCAL if tls is None else Transport.TLS,
        commitment=CommitmentPolicy.NONE,
    )
    sender = Sender(ae_title=calling, report=lambda _: False, waits=_WAITS, tls=tls)
    try:
        sender.echo(node)
    finally:
        sender.close()


def all_committed(jobs: Sequence[JobDetails], destination: str = "pacs") -> bool:
    """Tell whether every job is completed and one destination has committed to all its evidence."""
    deliveries = [d for job in jobs for one in job.evidence for d in one.deliveries if d.destination == destination]
    completed = all(job.job.state == "COMPLETED" for job in jobs)
    return completed and bool(deliveries) and all(delivery.state == "COMMITTED" for delivery in deliveries)


def wait_until_gone(pids: Sequence[int], seconds: float = PATIENCE) -> None:
    """Wait until processes have ended, whoever's children they are. AssertionError for one that lives on."""
    for pid in pids:
        with suppress(ProcessLookupError):
            handle = os.pidfd_open(pid)
            ready = select.select([handle], [], [], seconds)[0]
            os.close(handle)
            assert ready, f"process {pid} lives on"


@contextmanager
def serving(
    folder: Path, *destinations: Pacs | Destination, tls: Tls | None = None, **variables: str
) -> Iterator[Serve]:
    """Run a node that has answered C-ECHO, for the time of the `with`; each Pacs learns where it listens.

    `tls`: how a modality calls it, where it listens under TLS.
    """
    node = Serve(folder, [d.destination() if isinstance(d, Pacs) else d for d in destinations], **variables)
    node.tls = tls
    for destination in destinations:
        if isinstance(destination, Pacs):
            destination.knows(node.port, AE_TITLE)
    try:
        node.start()
        yield node
    finally:
        node.clear_away()


def _environment(node: Serve, destinations: Sequence[Destination]) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CXRNODE_")}
    settings = {
        "CXRNODE_NODE__STATE_DIR": str(node.state),
        "CXRNODE_NODE__PORT": str(node.port),
        "CXRNODE_NODE__AE_TITLE": AE_TITLE,
        "CXRNODE_WEB__PORT": str(node.web_port),
        "CXRNODE_INFERENCE__DEVICE": "cpu",
        "CXRNODE_DESTINATIONS": json.dumps([_setting(destination) for destination in destinations]),
    }
    return clean | _HURRY | settings


def _setting(destination: Destination) -> Mapping[str, object]:
    return {
        "name": destination.name,
        "ae_title": destination.ae_title,
        "port": destination.port,
        "transport": destination.transport,
        "certificate_name": destination.certificate_name,
        "commitment": destination.commitment,
    }


def _all_processes() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]


def _environment_of(pid: int) -> list[bytes]:
    """Give a process's environment; nothing for one that has just ended, or is not ours to read."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return []
