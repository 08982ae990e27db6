"""The ledger that its contract tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cxrnode.ledger import SqliteLedger


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SqliteLedger]:
    """A new ledger in a real file, held by incarnation `first`."""
    with SqliteLedger.open(tmp_path / "ledger.sqlite", incarnation="first", exclusive=True) as opened:
        yield opened
