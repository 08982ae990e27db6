"""The machine's clock jumps under a running node."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cxrnode.testing import start_pacs
from tests.faults.gated import Gated, films, gated, settle
from tests.tally import Tally

HOURS, YEARS = 5 * 3600, 11 * 365 * 86_400


def a_job_runs(node: Gated) -> None:
    """Wait until a job is under way; the gate is closed."""
    node.wait(lambda: node.events("job_claimed"))


def a_study_is_open(node: Gated) -> None:
    """Wait until something was received."""
    node.wait(lambda: node.events("instance_received"))


@pytest.mark.parametrize(("jump", "during"), [(-HOURS, a_job_runs), (HOURS, a_job_runs), (-YEARS, a_study_is_open)])
def test_the_clock_jumps_and_the_queue_drains(
    tmp_path: Path, tally: Tally, jump: float, during: Callable[[Gated], None]
) -> None:
    """Everything that was acknowledged before and after the jump is delivered and committed within the usual time."""
    began = time.monotonic()
    with start_pacs() as pacs, gated(tmp_path, pacs) as node:
        node.start()
        sent = films(tmp_path, 2)
        assert node.send(list(sent.values())) == [0, 0]
        during(node)
        node.set_clock(jump)
        node.wait(lambda: node.events("clock_jumped"))
        assert node.events("clock_jumped")[0]["seconds"] == pytest.approx(jump, abs=60)
        later = films(tmp_path, 1, first=2)
        assert node.send(list(later.values())) == [0]
        fired = len(node.events("clock_jumped"))
        name = f"the clock jumps by {jump / 3600:+.0f} hours"
        settle(node, pacs, sent | later, tally, name, injected=1, fired=fired, began=began)
        assert {job.job.attempt for job in node.jobs()} == {1}


def test_the_clock_was_set_back_while_the_node_was_down(tmp_path: Path, tally: Tally) -> None:
    """A dead battery: the next start is years before the last one, and goes on with what was left."""
    began = time.monotonic()
    with start_pacs() as pacs, gated(tmp_path, pacs) as node:
        node.start()
        sent = films(tmp_path, 2)
        assert node.send(list(sent.values())) == [0, 0]
        a_job_runs(node)
        node.kill()
        node.set_clock(-YEARS)
        node.start()
        fired = len(node.events("clock_jumped"))
        name = "the clock is set back by 11 years while the node is down"
        settle(node, pacs, sent, tally, name, injected=1, fired=fired, began=began)
