"""Hides how time is measured on a machine that does other work too.

Promises that ways which are compared were timed in turn, so that what slows the machine slows them all, and that a
ratio comes with its spread. torch's own Timer warms up, sets the threads, and waits for CUDA.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.benchmark import Timer

Way = Callable[[], object]

REPEATS = 2
"""Runs of a way in a round, after the two with which torch's Timer warms up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """How many times as fast as the bare network: the median of the rounds, and their quartiles."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f} to {self.high:.2f})"


def race(ways: Mapping[str, Way], threads: int, rounds: int) -> dict[str, list[float]]:
    """Time ways in turn, `rounds` times, each round in the other order; gives seconds a run by way."""
    timers = {name: Timer("way()", globals={"way": way}, num_threads=threads) for name, way in ways.items()}
    seconds: dict[str, list[float]] = {name: [] for name in timers}
    for number in range(rounds):
        for name in list(timers)[:: -1 if number % 2 else 1]:
            seconds[name].append(timers[name].timeit(REPEATS).median)
    return seconds


def ratio(plain: Sequence[float], other: Sequence[float]) -> Ratio:
    """Compare the seconds of two ways, round by round."""
    low, median, high = np.quantile(np.array(plain) / np.array(other), [0.25, 0.5, 0.75])
    return Ratio(median=float(median), low=float(low), high=float(high))


def surroundings() -> dict[str, Any]:
    """Say what the numbers depend on; never whose machine it is."""
    cuda = torch.cuda.is_available()
    return {
        "processor": f"{_processor()}, {os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}",
        "accelerator": torch.cuda.get_device_name(0) if cuda else "none",
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "monai", "numpy")},
        "load_before": round(os.getloadavg()[0], 2),
    }


def _processor() -> str:
    table = Path("/proc/cpuinfo")
    lines = table.read_text(encoding="utf-8").splitlines() if table.is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.machine()
