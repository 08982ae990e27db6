"""The disk fails under load: full, read-only, with errors, slow. Nothing is acknowledged that is not on it.

Full and read-only are real: a file system of its own. Errors and delays are put into the system calls of the running
node. Either the node answers senders that it cannot take more and goes on when the disk does, or it ends and says why;
after the repair everything that was acknowledged goes its way.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import peers
from tests.end_to_end.processes import Serve
from tests.faults import disks
from tests.faults.injecting import injecting
from tests.faults.reckoning import drained, in_orthanc, reckon
from tests.faults.stubbed import PATIENT, stub_serving
from tests.faults.traffic import Films, Modalities, pushing
from tests.tally import Tally

pytestmark = pytest.mark.peers

OUT_OF_RESOURCES = 0xA700

SHORT_LEASES = {"LINE__JOB_LEASE_SECONDS": "5", "LINE__DELIVERY_LEASE_SECONDS": "5"}
"""What was claimed and could not be marked (a full ledger) is claimed again when its lease ends."""

NO_WRITES = ("rename", "link", "mkdir", "unlink", "pwrite64", "ftruncate", "fsync", "fdatasync")


@contextmanager
def busy(folder: Path, orthanc: peers.Orthanc, disk: disks.Disk | None = None) -> Iterator[tuple[Serve, Modalities]]:
    """A node with something in each of its steps, its state on `disk`, and modalities that go on pushing."""
    state = disk.folder / "state" if disk else None
    with (
        stub_serving(folder / "node", archive=orthanc, state=state, **PATIENT, **SHORT_LEASES) as node,
        pushing(node, Films(folder / "films"), pause_seconds=0.5) as traffic,
    ):
        node.wait(lambda: node.events("delivery_sent"))
        yield node, traffic


def settle(node: Serve, traffic: Modalities) -> None:
    """After the repair: start it again where it ended, and let everything go its way."""
    if not node.running():
        assert node.end() == 1
        assert node.events("node_started"), "it never ran"
        assert node.events("unexpected")[-1]["hint"], "it ended and did not say what to do"
        node.start()
    traffic.finish()
    node.wait(lambda: drained(node))


def test_full_disk_refuses_and_goes_on_when_there_is_room(
    orthanc: peers.Orthanc, disk: disks.Disk, tmp_path: Path, long: bool, tally: Tally
) -> None:
    """ENOSPC in the middle of objects, evidence and the ledger: senders hear 0xA700, and later all is taken."""
    rounds, began = 10 if long else 1, time.monotonic()
    with busy(tmp_path, orthanc, disk) as (node, traffic):
        for _ in range(rounds):
            refused = traffic.answers[OUT_OF_RESOURCES]
            ballast = disk.fill(leave_bytes=200_000)
            node.wait(lambda refused=refused: traffic.answers[OUT_OF_RESOURCES] > refused + 5)  # type: ignore[misc]
            assert node.echo(), "the listener does not answer while the disk is full"
            ballast.unlink()
            traffic.pause(1)
        settle(node, traffic)
        result = reckon(node, traffic.acknowledged, in_orthanc(orthanc))
        assert not node.incoming(), "what was refused is still in the spool"
        assert set(traffic.answers) <= {0, -1, OUT_OF_RESOURCES}, traffic.answers
    fired = traffic.answers[OUT_OF_RESOURCES]
    result.settle(tally, "disk full", injected=rounds, fired=fired, seconds=time.monotonic() - began)


@pytest.mark.long
def test_disk_that_turns_read_only_is_told_and_after_the_repair_all_is_there(
    orthanc: peers.Orthanc, disk: disks.Disk, tmp_path: Path, tally: Tally
) -> None:
    """The kernel makes a damaged file system read-only while the node runs; nothing is acknowledged from then on."""
    rounds, began, fired = 5, time.monotonic(), 0
    with busy(tmp_path, orthanc, disk) as (node, traffic):
        for _ in range(rounds):
            traffic.pause(1)
            disk.go_bad()
            before = len(traffic.acknowledged)
            node_ended(node)
            fired += 1
            assert len(traffic.acknowledged) - before <= 2, "acknowledged on a disk that takes nothing"
            disk.mend()
            node.start()
        settle(node, traffic)
        result = reckon(node, traffic.acknowledged, in_orthanc(orthanc))
    result.settle(tally, "disk read-only", injected=rounds, fired=fired, seconds=time.monotonic() - began)


def node_ended(node: Serve) -> None:
    """Wait until the node has given up, which it has to say with what to do."""
    assert node.end() == 1
    assert "The disk fails" in node.text().splitlines()[-1], node.text()[-800:]


FAILURES = {
    "EIO in any fsync": (("fsync:error=EIO", "fdatasync:error=EIO"), False),
    "EIO in the ledger's fsync": (("fsync:error=EIO", "fdatasync:error=EIO"), True),
    "EIO in the ledger's writes": (("pwrite64:error=EIO",), True),
    "ENOSPC in the ledger's writes": (("pwrite64:error=ENOSPC",), True),
    "no calls that write (EROFS)": (tuple(f"{call}:error=EROFS" for call in NO_WRITES), False),
    "every second fsync fails": (("fsync:error=EIO:when=1+2", "fdatasync:error=EIO:when=2+2"), False),
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.long] * (number > 0)) for number, name in enumerate(FAILURES)]
)
def test_failing_system_calls_lose_nothing(
    orthanc: peers.Orthanc, tampering: None, tmp_path: Path, long: bool, tally: Tally, name: str
) -> None:
    """Calls that fail for a moment, and then do not: nothing that was acknowledged was not on the disk."""
    (faults, of_ledger), rounds, began, fired = FAILURES[name], 5 if long else 1, time.monotonic(), 0
    with busy(tmp_path, orthanc) as (node, traffic):
        paths = [node.state / f"ledger.sqlite{end}" for end in ("", "-wal")] if of_ledger else []
        for number in range(rounds):
            with injecting(node.pid, *faults, trace=tmp_path / f"trace{number}", paths=paths) as injection:
                wait_a_moment(node, traffic, seconds=2)
            fired += injection.fired
            if not node.running():
                node_ended(node)
                node.start()
        settle(node, traffic)
        result = reckon(node, traffic.acknowledged, in_orthanc(orthanc))
    result.settle(tally, name, injected=rounds, fired=fired, seconds=time.monotonic() - began)


def wait_a_moment(node: Serve, traffic: Modalities, *, seconds: float) -> None:
    """Let traffic go by for so long, less where the node ends."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and node.running():
        traffic.pause(0.1)


@pytest.mark.long
def test_slow_disk_slows_and_nothing_else(
    orthanc: peers.Orthanc, tampering: None, tmp_path: Path, tally: Tally
) -> None:
    """Every fsync takes half a second: C-ECHO is answered at once all the same, and nothing is lost."""
    began, slowest = time.monotonic(), 0.0
    with busy(tmp_path, orthanc) as (node, traffic):
        slow = ("fsync:delay_enter=500ms", "fdatasync:delay_enter=500ms")
        with injecting(node.pid, *slow, trace=tmp_path / "trace") as injection:
            deadline = time.monotonic() + 30
            while time.monotonic() < deadline:
                asked = time.monotonic()
                assert node.echo()
                slowest = max(slowest, time.monotonic() - asked)
                traffic.pause(0.3)
        settle(node, traffic)
        result = reckon(node, traffic.acknowledged, in_orthanc(orthanc))
    assert slowest < 2
    result.settle(tally, "disk slow", injected=1, fired=injection.fired, seconds=time.monotonic() - began)
