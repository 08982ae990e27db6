"""What the fault suites may ask for beyond the peers: a disk to fail, and system calls to tamper with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults import disks
from tests.faults.injecting import may_trace


@pytest.fixture
def disk(lacking: Callable[[str], None], tmp_path: Path) -> Iterator[disks.Disk]:
    """A file system of the test's own, mounted at `tmp_path/disk`."""
    with disks.mounted_or(lacking, tmp_path / "disk") as mounted:
        yield mounted


@pytest.fixture
def tampering(needs: Callable[..., None], lacking: Callable[[str], None]) -> None:
    """What tampering with system calls needs."""
    needs("strace")
    if reason := may_trace():
        lacking(reason)
