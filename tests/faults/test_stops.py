"""SIGTERM at random moments under load, and while nothing can end: gone within seconds, nothing half done."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

from cxrnode.testing import start_pacs
from tests import peers
from tests.end_to_end.processes import AE_TITLE, Serve
from tests.faults.gated import films, gated
from tests.faults.gated import settle as settle_gated
from tests.faults.reckoning import drained, in_orthanc, reckon
from tests.faults.stubbed import PATIENT, stub_serving
from tests.faults.traffic import Films, pushing
from tests.tally import Tally

SEED = 9
SECONDS = 15.0
"""What deploy/cxrnode.service says: three for objects under way, four for peers that hold on, two and three for work
that ends or is broken off, and some for a busy machine."""


def stopped_in(node: Serve, thread: int = 0) -> float:
    """SIGTERM; give the seconds until the process was gone. It has to end with 0, having said what it was doing.

    `thread`: the one that takes the signal, by its number; Linux prefers the one that is named.
    """
    began, before = time.monotonic(), node.text().count('"node_stopped"')
    os.kill(thread or node.pid, signal.SIGTERM)
    assert node.end() == 0, node.text()[-2000:]
    took = time.monotonic() - began
    assert node.text().count('"node_stopped"') == before + 1
    return took


def delivery_states(node: Serve) -> set[str]:
    """Give the states of all deliveries."""
    return {str(delivery.state) for job in node.jobs() for one in job.evidence for delivery in one.deliveries}


@pytest.mark.peers
def test_stopped_at_random_moments_under_load_nothing_is_half_done(
    orthanc: peers.Orthanc, tmp_path: Path, long: bool, tally: Tally
) -> None:
    """SIGTERM after SIGTERM while modalities push and evidence goes out; it ends in time and goes on after."""
    stops, chance, began, slowest = 100 if long else 3, random.Random(SEED), time.monotonic(), 0.0
    with (
        stub_serving(tmp_path / "node", archive=orthanc, **PATIENT) as node,
        pushing(node, Films(tmp_path / "films"), pause_seconds=0.5) as traffic,
    ):
        for _ in range(stops):
            traffic.pause(chance.uniform(0, 2))
            slowest = max(slowest, stopped_in(node))
            assert node.incoming() == [], "half an object is left"
            node.start()
        traffic.finish()
        node.wait(lambda: drained(node))
        result = reckon(node, traffic.acknowledged, in_orthanc(orthanc))
    assert slowest < SECONDS
    fired = len(node.events("node_stopped"))
    result.settle(tally, "SIGTERM", injected=stops, fired=fired, seconds=time.monotonic() - began)


def test_stop_that_another_thread_takes_ends_it_as_well(tmp_path: Path) -> None:
    """The kernel may hand SIGTERM to any thread; the main thread sleeps on, and the node ends all the same."""
    with stub_serving(tmp_path) as node:
        node.wait(lambda: node.events("node_started"))
        others = [int(task.name) for task in Path(f"/proc/{node.pid}/task").iterdir() if task.name != str(node.pid)]
        assert stopped_in(node, thread=min(others)) < SECONDS


@pytest.mark.parametrize("stuck", ["model", pytest.param("destination", marks=pytest.mark.long)])
def test_stop_waits_for_nobody_who_does_not_answer(tmp_path: Path, tally: Tally, stuck: str) -> None:
    """A model that computes for ever, a destination that holds its answer back: neither keeps the node from ending."""
    began = time.monotonic()
    with start_pacs() as pacs, gated(tmp_path, pacs) as node:
        node.start()
        sent = films(tmp_path, 2)
        if stuck == "destination":
            node.open_gate()
            pacs.behave(stall="during")
        assert node.send(list(sent.values())) == [0, 0]
        node.wait(lambda: node.events("job_claimed") if stuck == "model" else "SENDING" in delivery_states(node))
        assert stopped_in(node) < SECONDS
        said = node.events("node_stopping")[-1]["running"]
        assert said != "nothing", "it did not say what it was doing"
        pacs.behave()
        node.start()
        pacs.knows(node.port, AE_TITLE)
        settle_gated(node, pacs, sent, tally, f"SIGTERM, the {stuck} stuck", injected=1, fired=1, began=began)
