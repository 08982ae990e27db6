"""Two nodes on one ledger, and a restart after a kill, with the real program."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from cxrnode.testing import start_pacs
from tests.end_to_end.processes import AE_TITLE, PATIENCE
from tests.faults.gated import Gated, films, gated, settle
from tests.peers import free_port
from tests.tally import Tally

HOUR = {"LINE__JOB_LEASE_SECONDS": "3600", "LINE__DELIVERY_LEASE_SECONDS": "3600"}


def test_the_second_node_names_the_first_and_leaves_it_alone(tmp_path: Path, tally: Tally) -> None:
    """It ends at once, says who holds the state folder, and the first goes on."""
    began = time.monotonic()
    with start_pacs() as pacs, gated(tmp_path, pacs) as first:
        first.start()
        sent = films(tmp_path, 2)
        assert first.send(list(sent.values())) == [0, 0]
        second = Gated(tmp_path, NODE__STATE_DIR=str(first.state), NODE__PORT=str(free_port()))
        second.log = tmp_path / "second.jsonl"
        second.spawn()
        assert second.end() != 0
        said = second.text()
        parts = (f"process {first.pid} on ", AE_TITLE, f"port {first.port}", "since 20")
        assert [part for part in parts if part not in said] == []
        assert "Traceback" not in said
        assert f"process {first.pid} on " in first.cli("status").stdout
        settle(first, pacs, sent, tally, "two nodes on one ledger", injected=1, fired=1, began=began)


@pytest.mark.parametrize("where", ["job", "delivery"])
def test_a_restart_after_a_kill_waits_for_no_lease(tmp_path: Path, tally: Tally, where: str) -> None:
    """Killed with a lease of an hour on a job, or on what is being sent, the next start goes on within seconds."""
    began = time.monotonic()
    with start_pacs() as pacs, gated(tmp_path, pacs, **HOUR) as node:
        node.start()
        sent = films(tmp_path, 2)
        if where == "delivery":
            node.open_gate()
            pacs.behave(stall="during")
        assert node.send(list(sent.values())) == [0, 0]
        held = "IN_PROGRESS" if where == "job" else "SENDING"
        node.wait(lambda: held in _states(node, f"{'jobs' if where == 'job' else 'deliveries'}"))
        node.kill()
        pacs.behave()
        fired = held in _states(node, "jobs" if where == "job" else "deliveries")
        node.open_gate()
        node.start()
        name = f"killed with a lease of an hour on a {where}"
        settle(node, pacs, sent, tally, name, injected=1, fired=int(fired), began=began)
        assert time.monotonic() - began < PATIENCE


def _states(node: Gated, table: str) -> set[str]:
    with node.ledger() as ledger:
        counts = ledger.counts()
    if table == "jobs":
        return {state for state, number in counts.jobs_by_state.items() if number}
    return {state for states in counts.deliveries_by_state.values() for state, number in states.items() if number}
