"""A real node and DCMTK's storescp limited to some SOP classes: each gets what it can take, and the job says so.

One film goes through one node with a destination for each limit, so that the models run once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pydicom
import pytest

from cxrnode.domain.capability import CLASSES, NAMES, REPORT_CLASSES, Kind, ReportClass
from cxrnode.domain.delivery import DeliveryState
from cxrnode.domain.job import JobState
from cxrnode.ledger.views import JobDetails
from cxrnode.node import Node
from cxrnode.phantom import Radiograph, write
from cxrnode.settings import load
from cxrnode.testing import send
from tests import checkers, peers
from tests.end_to_end.processes import cxrnode
from tests.waiting import wait_for

pytestmark = pytest.mark.peers

COMPREHENSIVE_3D, COMPREHENSIVE, ENHANCED = (REPORT_CLASSES[one] for one in ReportClass)
LIMITS = {
    "everything": tuple(NAMES),
    "no-seg": tuple(uid for uid in NAMES if uid != CLASSES[Kind.SEG]),
    "no-3d": tuple(uid for uid in NAMES if uid != COMPREHENSIVE_3D),
    "enhanced": (CLASSES[Kind.SEG], ENHANCED),
    "pdf": (CLASSES[Kind.SEG], CLASSES[Kind.PDF]),
    "capture": (CLASSES[Kind.SC],),
}
GETS = {
    "everything": {CLASSES[Kind.SEG], COMPREHENSIVE_3D},
    "no-seg": {CLASSES[Kind.GSPS], COMPREHENSIVE_3D},
    "no-3d": {CLASSES[Kind.SEG], COMPREHENSIVE},
    "enhanced": {CLASSES[Kind.SEG], ENHANCED},
    "pdf": {CLASSES[Kind.SEG], CLASSES[Kind.PDF]},
    "capture": {CLASSES[Kind.SC]},
}
SAYS = {
    "no-seg": ["takes no Segmentation; Grayscale Softcopy Presentation State goes instead"],
    "no-3d": ["takes no Comprehensive 3D SR; Comprehensive SR goes instead"],
    "enhanced": ["takes no Comprehensive 3D SR nor Comprehensive SR; Enhanced SR goes instead"],
    "pdf": ["takes no Structured Report; Encapsulated PDF of the report goes instead"],
}


@dataclass
class Run:
    """What the run of one film came to."""

    film: Path
    received: dict[str, list[Path]]
    job: JobDetails
    state: Path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Push one film, and wait until every destination has what it gets."""
    folder = tmp_path_factory.mktemp("fallbacks")
    film = folder / "film.dcm"
    write(Radiograph(rows=512, cols=480, study="fallbacks"), film)
    with ExitStack() as stack:
        ports = {n: stack.enter_context(peers.storescp_taking(folder / n, c)) for n, c in LIMITS.items()}
        node = Node(
            load(
                node={"port": 0, "state_dir": folder / "state"},
                studies={"quiet_seconds": 0.2},
                listener={"free_space_floor_mb": 0},
                models={"enabled": ("lungs",)},
                web={"enabled": False},
                destinations=[
                    {"name": name, "ae_title": "STORESCP", "port": port, "commitment": "none"}
                    for name, port in ports.items()
                ],
            )
        )
        node.start()
        try:
            assert send([film], ("127.0.0.1", node.listener.port, "CXRNODE")) == [0]
            wait_for(lambda: _is_done(node), 120)
            job = node.engine.ledger.job_details(1)
        finally:
            node.stop()
        yield Run(
            film=film,
            received={name: sorted((folder / name).iterdir()) for name in LIMITS},
            job=job,
            state=folder / "state",
        )


def _is_done(node: Node) -> bool:
    """The job has ended, and there is nothing to be sent any more: nothing waits, nothing is parked."""
    jobs, counts = node.engine.ledger.find_jobs(), node.engine.ledger.counts()
    assert not counts.deliveries_parked and not counts.jobs_parked
    return bool(jobs) and {job.state for job in jobs} == {JobState.COMPLETED} and not counts.deliveries_left


@pytest.mark.parametrize("name", LIMITS)
def test_a_destination_gets_what_it_can_take(run: Run, name: str) -> None:
    """The classes on its disk, and one object at least for each of what was asked: outlines and report."""
    classes = [str(pydicom.dcmread(path).SOPClassUID) for path in run.received[name]]
    assert set(classes) == GETS[name]
    assert len(classes) >= 2


@pytest.mark.parametrize("name", LIMITS)
def test_what_a_limited_destination_gets_is_valid(run: Run, name: str, lacking) -> None:
    """dciodvfy finds no error in any of it, as it lies on the destination's disk."""
    for path in run.received[name]:
        try:
            assert checkers.dciodvfy_errors(path) == []
        except checkers.ToolMissing as missing:
            lacking(f"{missing} is not installed")


def test_a_report_refers_to_nothing_that_its_destination_lacks(run: Run) -> None:
    """Where no SEG is taken the report names none."""
    for name, paths in run.received.items():
        held = {str(pydicom.dcmread(path).SOPInstanceUID) for path in paths}
        held.add(str(pydicom.dcmread(run.film).SOPInstanceUID))
        for path in paths:
            assert _referred_to(pydicom.dcmread(path)) <= held, name


def _referred_to(dataset: pydicom.Dataset) -> set[str]:
    return {
        str(element.value)
        for element in dataset.iterall()
        if element.keyword in {"ReferencedSOPInstanceUID", "ReferencedSOPInstanceUIDInFile"}
    }


def test_the_job_says_what_went_instead(run: Run) -> None:
    """In the ledger, and to the operator who asks for the job."""
    said = {name: list(lines) for name, lines in run.job.job.fallbacks.items()}
    assert "everything" not in said
    assert said["capture"] and {name: said[name] for name in SAYS} == SAYS
    shown = cxrnode("jobs", "show", "1", CXRNODE_NODE__STATE_DIR=str(run.state))
    assert shown.returncode == 0
    for lines in said.values():
        assert all(line in " ".join(shown.stdout.split()) for line in lines)


def test_nothing_was_tried_in_vain(run: Run) -> None:
    """Each destination was asked before the first object went out: every delivery was sent, the first time."""
    ways = [way for evidence in run.job.evidence for way in evidence.deliveries]
    assert {way.state for way in ways} == {DeliveryState.SENT}
    assert {way.attempt for way in ways} == {1}
