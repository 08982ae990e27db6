"""DCMTK storescu to cxrnode to a real Orthanc, the way a hospital would wire it: Must show 3 of the first issue."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pydicom
import pytest

from cxrnode.domain.delivery import DeliveryState
from cxrnode.node import Node
from cxrnode.phantom import Radiograph, View, write
from cxrnode.settings import load
from cxrnode.testing import hold_open
from tests import peers
from tests.waiting import wait_for

pytestmark = pytest.mark.peers

FILM = Radiograph(rows=512, cols=512, study="e2e")
LATERAL = replace(FILM, view=View.LATERAL, instance_number=2, series_number=2)


@pytest.fixture
def node(orthanc: peers.Orthanc, tmp_path: Path) -> Iterator[Node]:
    """A node whose only destination is Orthanc, which has to commit; a study closes after a second of quiet."""
    destination = {"name": "pacs", "ae_title": orthanc.ae_title, "port": orthanc.port, "commitment": "required"}
    started = Node(
        load(
            node={"port": 0, "state_dir": tmp_path / "state"},
            studies={"quiet_seconds": 1.0},
            listener={"free_space_floor_mb": 0},
            web={"enabled": False},
            destinations=[destination],
        )
    )
    started.start()
    orthanc.knows("CXRNODE", started.listener.port)
    try:
        yield started
    finally:
        started.stop()


def _write(folder: Path, **films: Radiograph) -> dict[str, Path]:
    for name, film in films.items():
        write(film, folder / f"{name}.dcm")
    return {name: folder / f"{name}.dcm" for name in films}


def _push(path: Path, node: Node) -> None:
    peers.run("storescu", "-aec", "CXRNODE", "127.0.0.1", node.listener.port, path)


def _committed(node: Node, jobs: int) -> Callable[[], bool]:
    def done() -> bool:
        found = node.engine.ledger.find_jobs()
        states = [
            delivery.state
            for job in found
            for evidence in node.engine.ledger.job_details(job.job).evidence
            for delivery in evidence.deliveries
        ]
        ended = [job for job in found if job.state == "COMPLETED"]
        return len(ended) >= jobs and bool(states) and set(states) == {DeliveryState.COMMITTED}

    return done


def _qido(orthanc: peers.Orthanc, study: str) -> dict[str, list[str]]:
    """Ask DICOMweb for the study's instances: SOP Instance UIDs by modality."""
    found: dict[str, list[str]] = {}
    for instance in orthanc.ask(f"/dicom-web/studies/{study}/instances?includefield=00080060"):
        found.setdefault(_value(instance, "00080060"), []).append(_value(instance, "00080018"))
    return found


def _value(instance: dict[str, Any], tag: str) -> str:
    return str(instance[tag]["Value"][0])


def _find(orthanc: peers.Orthanc, study: str) -> str:
    """Ask by C-FIND with DCMTK; give its output."""
    keys = ("0008,0052=SERIES", f"0020,000d={study}", "0008,0060", "0020,000e")
    queries = [part for key in keys for part in ("-k", key)]
    done = peers.run(
        "findscu", "-v", "-S", "-aet", "CXRNODE", "-aec", orthanc.ae_title, *queries, "127.0.0.1", orthanc.port
    )
    return done.stdout + done.stderr


def test_pushed_by_storescu_the_evidence_is_in_the_archives_study_and_committed(
    node: Node, orthanc: peers.Orthanc, tmp_path: Path
) -> None:
    """SEG and SR are found by QIDO and C-FIND, every delivery is COMMITTED, a second push adds nothing."""
    paths = _write(tmp_path, pa=FILM)
    study = study_of(paths["pa"])
    _push(paths["pa"], node)
    wait_for(_committed(node, 1), 120)
    found = _qido(orthanc, study)
    assert {modality: len(uids) for modality, uids in found.items()} == {"SEG": 1, "SR": 1}
    answer = _find(orthanc, study)
    assert "SEG" in answer
    assert "SR" in answer
    _push(paths["pa"], node)
    wait_for(lambda: node.engine.ledger.open_studies() == [], 30)
    assert len(node.engine.ledger.find_jobs()) == 1
    assert _qido(orthanc, study) == found


def test_two_overlapping_associations_are_one_study_and_a_late_lateral_leaves_the_seg(
    node: Node, orthanc: peers.Orthanc, tmp_path: Path
) -> None:
    """PA and lateral on associations that are open at once end in one job; a later lateral adds a report, no SEG."""
    late = replace(LATERAL, instance_number=3, series_number=3)
    paths = _write(tmp_path, pa=FILM, lateral=LATERAL, late=late)
    study = study_of(paths["pa"])
    to = ("127.0.0.1", node.listener.port, "CXRNODE")
    with hold_open([paths["pa"]], to) as first, hold_open([paths["lateral"]], to) as second:
        assert first.store(paths["pa"]) == 0
        assert second.store(paths["lateral"]) == 0
    wait_for(_committed(node, 1), 120)
    before = _qido(orthanc, study)
    (job,) = node.engine.ledger.find_jobs()
    assert len(node.engine.ledger.job_details(job.job).members) == 2
    _push(paths["late"], node)
    wait_for(_committed(node, 2), 120)
    after = _qido(orthanc, study)
    assert after["SEG"] == before["SEG"]
    assert set(before["SR"]) < set(after["SR"])
    assert len(after["SR"]) == 2


def study_of(path: Path) -> str:
    """Give a file's Study Instance UID."""
    return str(pydicom.dcmread(path, stop_before_pixels=True).StudyInstanceUID)
