"""What a soak watches: memory and open files of the node and its children, every few seconds.

Hides /proc. Promises samples by process, so that a restart does not look like a leak mended, and a verdict on the
longest life of each: the last third of its samples against the first, once it has warmed up.
"""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.end_to_end.processes import Serve

_PAGE = os.sysconf("SC_PAGE_SIZE")
WARM_SECONDS = 120.0
"""Before that a process loads libraries and fills its caches."""
SHORT_MINUTES = 8.0
"""A shorter life tells nothing."""
MORE_MB, MORE_SHARE, MORE_FILES = 40.0, 0.10, 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One process at one moment."""

    at: float
    megabytes: float
    files: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Slope:
    """The first and the last third of a life."""

    role: str
    minutes: float
    first_mb: float
    last_mb: float
    first_files: float
    last_files: float

    @property
    def flat(self) -> bool:
        """Whether neither grew by more than noise, as far as so long a life can tell."""
        if self.minutes < SHORT_MINUTES:
            return True
        most = self.first_mb * (1 + MORE_SHARE) + MORE_MB
        return self.last_mb <= most and self.last_files <= self.first_files + MORE_FILES


class Watch:
    """Samples for the time of the `with`."""

    def __init__(self, node: Serve, *, every_seconds: float = 10.0) -> None:
        """Watch this node and its children."""
        self._node, self._every = node, every_seconds
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.samples: dict[tuple[str, int], list[Sample]] = defaultdict(list)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(self._every):
            with suppress(AssertionError, OSError):
                node = self._node.pid
                for pid in self._node.processes():
                    with suppress(OSError, ValueError, IndexError):
                        self.samples["node" if pid == node else "child", pid].append(_sample(pid))

    def slopes(self) -> Sequence[Slope]:
        """Give the slope of the longest life of the node and of its child."""
        longest: Mapping[str, list[Sample]] = {
            role: max((each for (r, _), each in self.samples.items() if r == role), key=len)
            for role in dict.fromkeys(role for role, _ in self.samples)
        }
        return [_slope(role, samples) for role, samples in longest.items()]


def _sample(pid: int) -> Sample:
    resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE / 1e6
    return Sample(at=time.monotonic(), megabytes=resident, files=len(list(Path(f"/proc/{pid}/fd").iterdir())))


def _slope(role: str, samples: Sequence[Sample]) -> Slope:
    warm = [sample for sample in samples if sample.at - samples[0].at >= WARM_SECONDS] or list(samples)
    third = max(1, len(warm) // 3)
    first, last = warm[:third], warm[-third:]
    return Slope(
        role=role,
        minutes=(samples[-1].at - samples[0].at) / 60,
        first_mb=statistics.median(sample.megabytes for sample in first),
        last_mb=statistics.median(sample.megabytes for sample in last),
        first_files=statistics.median(sample.files for sample in first),
        last_files=statistics.median(sample.files for sample in last),
    )
