"""An urgent study overtakes a queue: from the priority of its C-STORE to the list that an operator sees."""

from __future__ import annotations

from pathlib import Path

from cxrnode.testing import hold_open, start_pacs
from tests.faults.gated import films, gated
from tests.faults.reckoning import drained

HIGH = 1


def test_what_is_sent_as_high_is_analysed_next(tmp_path: Path) -> None:
    """It came last of five, while the first was running; the other three follow in their order."""
    with start_pacs() as pacs, gated(tmp_path, pacs, INFERENCE__BATCH="1") as node:
        node.start()
        for path in films(tmp_path, 4).values():
            assert node.send([path]) == [0]
            closed = len(node.events("study_closed")) + 1
            node.wait(lambda closed=closed: len(node.events("study_closed")) >= closed)
        node.wait(lambda: node.events("job_claimed"))
        (urgent,) = films(tmp_path, 1, first=9).values()
        with hold_open([urgent], node.address) as push:
            assert push._association.send_c_store(urgent, priority=HIGH).Status == 0
        node.wait(lambda: len(node.events("study_closed")) == 5)
        listed = node.cli("jobs", "list").stdout
        assert listed.count("urgent") == 1
        node.open_gate()
        node.wait(lambda: drained(node))
        assert [event["job"] for event in node.events("job_completed")] == [1, 5, 2, 3, 4]
        assert "job 5: COMPLETED, urgent" in node.cli("jobs", "show", "5").stdout
