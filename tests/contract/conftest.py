"""What contract tests share: a ledger, and lines that are rung by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cxrnode.ledger import SqliteLedger
from tests.bench import Bench


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SqliteLedger]:
    """A new ledger in a real file, held by incarnation `first`."""
    with SqliteLedger.open(tmp_path / "ledger.sqlite", incarnation="first", exclusive=True) as opened:
        yield opened


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    """Make a bench; keywords change its plan."""
    made: list[Bench] = []

    def one(**changes: object) -> Bench:
        made.append(Bench(tmp_path, **changes))
        return made[-1]

    yield one
    for bench in made:
        bench.ledger.shut()
