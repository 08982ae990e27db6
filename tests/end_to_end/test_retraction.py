"""`cxrnode jobs retract` against a real Orthanc: what it holds and lists before and after."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.filebase import DicomBytesIO

from cxrnode.domain.delivery import DeliveryState
from cxrnode.domain.job import JobState
from cxrnode.node import Node
from cxrnode.phantom import Radiograph, write
from cxrnode.settings import load
from cxrnode.testing import send
from tests import peers
from tests.end_to_end.processes import cxrnode
from tests.waiting import wait_for

pytestmark = pytest.mark.peers


@pytest.fixture
def node(orthanc: peers.Orthanc, tmp_path: Path) -> Iterator[Node]:
    """A node whose only destination is Orthanc, which commits."""
    started = Node(
        load(
            node={"port": 0, "state_dir": tmp_path / "state"},
            studies={"quiet_seconds": 0.2},
            listener={"free_space_floor_mb": 0},
            models={"enabled": ("lungs",)},
            web={"enabled": False},
            destinations=[{"name": "pacs", "ae_title": orthanc.ae_title, "port": orthanc.port}],
        )
    )
    started.start()
    orthanc.knows("CXRNODE", started.listener.port)
    try:
        yield started
    finally:
        started.stop()


def _settled(node: Node, jobs: int) -> bool:
    found = node.engine.ledger.find_jobs()
    states = {
        way.state
        for job in found
        for evidence in node.engine.ledger.job_details(job.job).evidence
        for way in evidence.deliveries
    }
    done = len(found) == jobs and {job.state for job in found} == {JobState.COMPLETED}
    return done and states == {DeliveryState.COMMITTED}


def _held(orthanc: peers.Orthanc) -> dict[str, pydicom.Dataset]:
    return {uid: pydicom.dcmread(DicomBytesIO(orthanc.file(uid))) for uid in orthanc.instances()}


def test_a_retraction_is_committed_and_names_what_it_takes_back(
    orthanc: peers.Orthanc, node: Node, tmp_path: Path
) -> None:
    """The operator's command beside the running node; the new report follows the old, the note rejects both objects."""
    film = tmp_path / "film.dcm"
    write(Radiograph(rows=512, cols=480, study="retraction"), film)
    assert send([film], ("127.0.0.1", node.listener.port, "CXRNODE")) == [0]
    wait_for(lambda: _settled(node, 1), 120)
    before = _held(orthanc)
    (old,) = (ds for ds in before.values() if ds.Modality == "SR")

    retract = ("jobs", "retract", "1", "--because", "wrong_result", "--yes")
    done = cxrnode(*retract, CXRNODE_NODE__STATE_DIR=str(tmp_path / "state"))
    assert done.returncode == 0, done.stderr
    wait_for(lambda: _settled(node, 2), 120)

    new = {uid: ds for uid, ds in _held(orthanc).items() if uid not in before}
    assert sorted(ds.Modality for ds in new.values()) == ["KO", "SR"]
    (report,) = (ds for ds in new.values() if ds.Modality == "SR")
    (note,) = (ds for ds in new.values() if ds.Modality == "KO")
    assert _predecessors(report) == [old.SOPInstanceUID]
    assert note.ConceptNameCodeSequence[0].CodeValue == "113037"
    assert _rejected(note) == {ds.SOPInstanceUID for ds in before.values() if ds.Modality != "DX"}
    listed = _series(orthanc, str(old.StudyInstanceUID))
    assert listed.count("cxrnode report") == 1
    assert [name for name in listed if "retraction" in name] == [str(report.SeriesDescription)]
    assert cxrnode(*retract, CXRNODE_NODE__STATE_DIR=str(tmp_path / "state")).returncode != 0


def _predecessors(report: pydicom.Dataset) -> list[str]:
    return [
        str(instance.ReferencedSOPInstanceUID)
        for study in report.PredecessorDocumentsSequence
        for series in study.ReferencedSeriesSequence
        for instance in series.ReferencedSOPSequence
    ]


def _rejected(note: pydicom.Dataset) -> set[str]:
    return {
        str(instance.ReferencedSOPInstanceUID)
        for study in note.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for instance in series.ReferencedSOPSequence
    }


def _series(orthanc: peers.Orthanc, study: str) -> list[str]:
    """What a viewer lists of the study: the descriptions of its series."""
    found: list[dict[str, Any]] = orthanc.ask(f"/dicom-web/studies/{study}/series?includefield=0008103E")
    return [str(one["0008103E"]["Value"][0]) for one in found if "Value" in one.get("0008103E", {})]
