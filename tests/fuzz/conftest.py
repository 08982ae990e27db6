"""What fuzz tests share: how many inputs, and the counts that the end of a run prints."""

from __future__ import annotations

import resource
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

MOST_BYTES = 8 << 30

_TRIED: Counter[tuple[str, str]] = Counter()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print how many inputs each target was given, and what became of them."""
    if not _TRIED:
        return
    terminalreporter.section("fuzzing")
    for target in sorted({target for target, _ in _TRIED}):
        ends = {end: count for (of, end), count in sorted(_TRIED.items()) if of == target}
        told = ", ".join(f"{count} {end}" for end, count in ends.items())
        terminalreporter.write_line(f"{target}: {sum(ends.values())} inputs: {told}")
    terminalreporter.write_line(f"{sum(_TRIED.values())} inputs in all")


@pytest.fixture(scope="package", autouse=True)
def bounded() -> Iterator[None]:
    """Let an input that fills the memory fail its test, and not end every program on the machine."""
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_BYTES, hard))
    yield
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


@pytest.fixture(scope="session")
def tried() -> Callable[[str, str], None]:
    """Count one input: `tried("headers", "described")`."""

    def count(target: str, end: str) -> None:
        _TRIED[target, end] += 1

    return count


@pytest.fixture(scope="session")
def inputs(long: bool) -> Callable[[int, int], int]:
    """Choose how many inputs: `inputs(200, 10_000)`, in the normal and in the long form."""
    return lambda few, many: many if long else few
