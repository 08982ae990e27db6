"""The power fails under load: what was not brought to disk is gone, and everything that was acknowledged is there.

A kill cannot show a missing fsync, because the kernel keeps what a process wrote. Here the node's state lies on a file
system of its own that is shut down without a flush, as when the plug is pulled: its page cache and its open journal
transaction are lost. `tests/faults/test_power_cut_anywhere.py` goes through every system call of one instance.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import peers
from tests.faults.disks import Disk, mounted_or
from tests.faults.reckoning import drained, in_orthanc, reckon
from tests.faults.stubbed import PATIENT, stub_serving
from tests.faults.traffic import Films, pushing
from tests.tally import Tally

pytestmark = pytest.mark.peers

SEED = 7


def test_cut_power_loses_what_was_not_brought_to_disk(disk: Disk) -> None:
    """Negative control: of two files, one brought to disk and one not, a cut leaves the first."""
    for name, durable in (("kept", True), ("lost", False)):
        handle = os.open(disk.folder / name, os.O_WRONLY | os.O_CREAT)
        os.write(handle, b"content")
        if durable:
            os.fsync(handle)
        os.close(handle)
    disk.cut_power()
    disk.mend()
    found = {path.name: path.read_bytes() for path in disk.folder.iterdir() if path.is_file()}
    assert found.get("kept") == b"content"
    assert found.get("lost") != b"content"


@pytest.fixture
def roomy(lacking: Callable[[str], None], tmp_path: Path) -> Iterator[Disk]:
    """A file system that the traffic of a hundred lives does not fill."""
    with mounted_or(lacking, tmp_path / "disk", megabytes=2000) as disk:
        yield disk


def test_power_cut_under_load_loses_nothing_that_was_acknowledged(
    orthanc: peers.Orthanc, roomy: Disk, tmp_path: Path, long: bool, tally: Tally
) -> None:
    """Cut at random moments while modalities push and jobs run; after each the node starts on what the disk holds."""
    cuts, chance, began, fired = 100 if long else 4, random.Random(SEED), time.monotonic(), 0
    with (
        stub_serving(tmp_path / "node", archive=orthanc, state=roomy.folder / "state", **PATIENT) as node,
        pushing(node, Films(tmp_path / "films"), pause_seconds=0.5) as traffic,
    ):
        for _ in range(cuts):
            traffic.pause(chance.uniform(0, 2))
            roomy.cut_power()
            fired += not _can_write(roomy.folder)
            node.kill() if node.running() else node.end()
            roomy.mend()
            node.start()
        traffic.finish()
        node.wait(lambda: drained(node))
        result = reckon(node, traffic.acknowledged, in_orthanc(orthanc))
        assert node.incoming() == []
    result.settle(tally, "power cut", injected=cuts, fired=fired, seconds=time.monotonic() - began)


def _can_write(folder: Path) -> bool:
    try:
        (folder / "probe").write_bytes(b"x")
    except OSError:
        return False
    return True
