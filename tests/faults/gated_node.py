"""The node with stub models that answer only while a file exists: a test decides how long a job runs.

    GATE=FILE python -m tests.faults.gated_node

Promises that the child's heartbeat is imitated while it waits: leases are renewed as with real models.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from cxrnode.domain.finding import ImagePrediction
from cxrnode.ports import Request
from tests.faults import stub_node

GATE = Path(os.environ["GATE"])
_BEAT_SECONDS = 0.1


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


if __name__ == "__main__":
    stub_node.StubPredictor = GatedPredictor  # type: ignore[misc]
    stub_node.serve()
