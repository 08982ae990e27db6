"""The node with stub models that answer only while a file exists, and a clock that is off by what another file says.

    GATE=FILE OFFSET=FILE python -m tests.faults.gated_node

So a test decides how long a job runs, and when the time of day jumps: the line's clock and `time.time`, by which
pynetdicom and the log go. The monotonic clock stays, as a kernel keeps it. (libfaketime 0.9.10 cannot be used: with a
monotonic clock that stays it breaks `time.sleep`.) Promises that the child's heartbeat is imitated while it waits:
leases are renewed as with real models.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import cxrnode.node.parts
from cxrnode.domain.finding import ImagePrediction
from cxrnode.ports import Request
from tests.faults import stub_node

GATE = Path(os.environ["GATE"])
OFFSET = Path(os.environ["OFFSET"])
_BEAT_SECONDS = 0.1
_true_time = time.time


class GatedPredictor(stub_node.StubPredictor):
    """Answers when the gate is open."""

    def predict(
        self, requests: Sequence[Request], alive: Callable[[], None], *, alone: bool = False
    ) -> Sequence[ImagePrediction]:
        """Wait, with a heartbeat, then answer."""
        while not GATE.exists():
            alive()
            time.sleep(_BEAT_SECONDS)
        return super().predict(requests, alive, alone=alone)


def _time() -> float:
    return _true_time() + float(OFFSET.read_text())


class OffClock:
    """Implements ports.Clock, off."""

    def now(self) -> datetime:
        """Give the time that the machine's clock shows."""
        return datetime.fromtimestamp(_time(), UTC)


if __name__ == "__main__":
    time.time = _time
    cxrnode.node.parts.SystemClock = OffClock  # type: ignore[assignment,misc]
    stub_node.StubPredictor = GatedPredictor  # type: ignore[misc]
    stub_node.serve()
