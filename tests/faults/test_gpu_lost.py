"""A GPU that is named in the settings and is not there: the node serves on, and its jobs wait.

There is no GPU here, so one that is asked for by name is missing from the start, which to the node is the same as one
that went away: each new child fails to find it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cxrnode.errors import DeviceMissing, Retryable
from cxrnode.inference.predictor import ChildPredictor
from cxrnode.phantom import Radiograph, write
from cxrnode.ports import Request
from cxrnode.testing import start_pacs
from tests.end_to_end.processes import all_committed, serving
from tests.fakes.bundle import write_tiny_bundle
from tests.tally import Tally
from tests.waiting import wait_for


@pytest.fixture
def waiting(tmp_path: Path) -> Iterator[ChildPredictor]:
    """A predictor that waits for a GPU which never comes."""
    bundle = write_tiny_bundle(tmp_path / "tiny")
    with ChildPredictor({"tiny": bundle}, device="cuda:99", again_seconds=0.2) as predictor:
        yield predictor


def test_a_missing_device_is_waited_for_and_looked_for_again(waiting: ChildPredictor, tmp_path: Path) -> None:
    """The first call may be tried again; then the line is told to wait, and a new child looks for the device."""
    asked = Request(row=0, path=tmp_path / "none.dcm", transfer_syntax_uid="", models=("tiny",))
    with pytest.raises(Retryable, match="is not there") as refused:
        waiting.predict([asked], lambda: None)
    assert not isinstance(refused.value, DeviceMissing)
    assert waiting.waits_for() == "the device 'cuda:99' is not there"
    assert str(waiting.trouble()).startswith("load models: the device 'cuda:99' is not there")
    wait_for(lambda: waiting.waits_for() and waiting.pid(), 60)
    wait_for(lambda: waiting.pid() is None, 60)
    assert waiting.waits_for() != ""


def test_a_node_without_its_gpu_receives_says_so_and_goes_on_when_it_may_use_the_cpu(
    tmp_path: Path, tally: Tally
) -> None:
    """It does not stop, nothing is parked, and no attempt is lost beyond the first; the next start works it all off."""
    began, films = time.monotonic(), [tmp_path / f"{seed}.dcm" for seed in range(3)]
    for seed, path in enumerate(films):
        write(Radiograph(seed=seed, rows=288, cols=256), path)
    with start_pacs() as pacs, serving(tmp_path / "node", pacs, INFERENCE__DEVICE="cuda") as node:
        assert node.send(films) == [0] * len(films)
        node.wait(lambda: "not there" in str(node.health()[1]))
        node.wait(lambda: len(node.jobs()) == len(films))
        assert "ATTENTION: models: the device 'cuda' is not there (see 'The GPU is lost'" in node.cli("status").stdout
        assert node.echo()
        assert node.health("/health/ready")[0] == 200
        assert max(job.job.attempt for job in node.jobs()) <= 1
        assert {str(job.job.state) for job in node.jobs()} <= {"SCHEDULED", "IN_PROGRESS"}
        node.kill()
        node._environment["CXRNODE_INFERENCE__DEVICE"] = "auto"
        node.start()
        node.wait(lambda: len(node.jobs()) == len(films) and all_committed(node.jobs()))
        lost = len(films) - len({member.sop_instance_uid for job in node.jobs() for member in job.members})
        tally.add(
            "GPU missing",
            injected=1,
            fired=1,
            instances=len(films),
            lost=lost,
            doubled=len(pacs.kept) - 2 * len(films),
            seconds=time.monotonic() - began,
        )
        assert (lost, len(pacs.kept)) == (0, 2 * len(films))
        assert node.terminate() == 0
