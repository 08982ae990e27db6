"""A short soak, so that the long one (`make soak`) is known to work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.soak import as_text, soak
from tests.tally import Tally


@pytest.mark.peers
@pytest.mark.long
def test_soak_of_two_minutes_leaves_nothing_unaccounted_for(
    needs: Callable[..., None], tmp_path: Path, tally: Tally
) -> None:
    """Mixed traffic, a fault every few seconds, then everything reconciled instance by instance."""
    needs("Orthanc")
    report = soak(tmp_path, minutes=2, seed=1, senders=2, pause_seconds=6)
    print(as_text(report))
    tally.add(
        "soak",
        injected=sum(report.injected.values()),
        fired=sum(report.fired.values()),
        instances=report.acknowledged,
        lost=len(report.unaccounted),
        seconds=report.minutes * 60 + report.drained_seconds,
    )
    assert report.sound, as_text(report)
