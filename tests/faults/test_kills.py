"""kill -9 at random moments under load, by the thousand: the real program with stub models and a real Orthanc.

`tests/end_to_end/test_kill_serve.py` does the same with the real models. Here a node is forked from a process that has
loaded the program, so that a life with its kill costs less than a second.
"""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from pathlib import Path

import pytest

from tests import peers
from tests.end_to_end.processes import Serve
from tests.faults.reckoning import drained, in_orthanc, reckon
from tests.faults.stubbed import PATIENT, stub_serving
from tests.faults.traffic import Films, Modalities, pushing
from tests.tally import Tally

pytestmark = pytest.mark.peers

SEED = 5
LIFE_SECONDS = 1.2
STAGE_SECONDS = 2.0
STARTING_SECONDS = 0.25
"""A node needs about this long until it listens."""

STAGES = (
    "listening", "association_opened", "instance_received", "association_ended", "study_closed", "job_claimed",
    "evidence_kept", "job_completed", "delivery_sent", "commitment_asked", "commitment_reported",
)  # fmt: skip
"""What a node says last before it is killed: each step of the line."""


def last_words(log: Path, since: int) -> str:
    """Give the event that a run said last, by where its log began; `start` where it said nothing."""
    with log.open("rb") as text:
        text.seek(since)
        lines = [line for line in text.read().splitlines() if line.endswith(b"}")]
    return str(json.loads(lines[-1])["event"]) if lines else "start"


def live(node: Serve, traffic: Modalities, chance: random.Random, number: int) -> None:
    """Let a node live for a moment: two of five die after a step, the steps in turn, the others at a random moment, of
    those one of three while it starts."""
    if number % 5 > 1:
        traffic.pause(chance.uniform(0, STARTING_SECONDS if number % 5 == 2 else LIFE_SECONDS))
        return
    stage, since = STAGES[(number // 5 * 2 + number % 5) % len(STAGES)], node.log.stat().st_size
    deadline = time.monotonic() + STAGE_SECONDS
    while last_words(node.log, since) != stage and time.monotonic() < deadline:
        traffic.pause(0.002)


def test_killed_at_random_moments_under_load_nothing_is_lost_and_nothing_doubled(
    orthanc: peers.Orthanc, tmp_path: Path, long: bool, tally: Tally
) -> None:
    """Every film that was acknowledged over many short lives has its row, its bytes and its evidence at the PACS."""
    kills, chance, hit, began = 1000 if long else 12, random.Random(SEED), Counter[str](), time.monotonic()
    with (
        stub_serving(tmp_path / "node", archive=orthanc, **PATIENT) as node,
        pushing(node, Films(tmp_path / "films"), pause_seconds=3.0 if long else 1.0) as traffic,
    ):
        for number in range(kills):
            since = node.log.stat().st_size
            live(node, traffic, chance, number)
            node.kill()
            hit[last_words(node.log, since)] += 1
            node.spawn()
        node.wait(node.echo)
        traffic.finish()
        node.wait(lambda: drained(node), 1800)
        result = reckon(node, traffic.acknowledged, in_orthanc(orthanc))
        assert node.incoming() == []
    for stage, count in hit.items():
        tally.add(f"kill -9, its last word {stage}", injected=count, fired=count)
    result.settle(tally, "kill -9", injected=kills, fired=sum(hit.values()), seconds=time.monotonic() - began)
    assert not long or set(hit) >= set(STAGES)


def test_reckoning_finds_whatever_is_missing_or_there_twice(orthanc: peers.Orthanc, tmp_path: Path) -> None:
    """Negative control: with any one thing taken away or doubled the reckoning names it."""
    films = Films(tmp_path / "films").study("control", 2)
    with stub_serving(tmp_path / "node", archive=orthanc) as node:
        assert node.send(films) == [0, 0]
        node.wait(lambda: drained(node) and node.events("commitment_reported"))
        sent, held = {path.stem: path for path in films}, list(in_orthanc(orthanc))
        sound = reckon(node, sent, held)
        assert (sound.instances, sound.lost, sound.doubled) == (2, [], [])
        assert reckon(node, {**sent, "1.2.3": films[0]}, held).lost
        assert len(held) >= 3
        for number in range(len(held)):
            assert reckon(node, sent, held[:number] + held[number + 1 :]).lost
        assert reckon(node, sent, [*held, held[0]]).doubled
        another = held[0].replace(b"PHANTOM-control", b"PHANTOM-Control")
        assert reckon(node, sent, [another, *held[1:]]).doubled
        for kept in sorted((node.state / "spool").rglob("*.dcm")):
            content = kept.read_bytes()
            kept.write_bytes(content[:-2] + bytes([content[-2] ^ 1, content[-1]]))
            assert reckon(node, sent, held).lost, kept.parent
            kept.write_bytes(content)
