"""The real program beside Orthanc: sources committed to, swept, sent again, reconciled; backed up and restored."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pydicom
import pytest

from cxrnode.domain.delivery import CommitmentPolicy, Destination
from cxrnode.domain.identity import AETitle
from cxrnode.phantom import Defect, Radiograph, write
from cxrnode.testing import send
from tests import peers
from tests.end_to_end.processes import COMMAND
from tests.faults.reckoning import drained
from tests.faults.stubbed import Stubbed

pytestmark = pytest.mark.peers

KEEPING = {"RETENTION__SOURCES_HELD_BY": '["pacs"]', "RETENTION__SOURCE_DAYS": "999", "RETENTION__LOOK_SECONDS": "0.5"}
AGES = {f"RETENTION__{what}_DAYS": "0.000001" for what in ("SOURCE", "NOT_ANALYSED", "EVIDENCE")}
AT_ONCE = {f"CXRNODE_{name}": days for name, days in AGES.items()}


@contextmanager
def running(folder: Path, orthanc: peers.Orthanc, **variables: str) -> Iterator[Stubbed]:
    """A node with stub models whose destination is Orthanc, which has to commit."""
    pacs = Destination(
        name="pacs",
        ae_title=AETitle(orthanc.ae_title),
        host="127.0.0.1",
        port=orthanc.port,
        commitment=CommitmentPolicy.REQUIRED,
    )
    node = Stubbed(folder, [pacs], **variables)
    orthanc.knows("CXRNODE", node.port)
    try:
        node.start()
        yield node
    finally:
        node.clear_away()


def films(folder: Path, count: int) -> list[Path]:
    """Write films, each a study; the last is of a hand."""
    folder.mkdir()
    for seed in range(count):
        defect = {"defect": Defect.HAND} if seed == count - 1 else {}
        write(Radiograph(seed=seed, rows=320, cols=320, **defect), folder / f"{seed}.dcm")
    return sorted(folder.iterdir())


def command(node: Stubbed, *arguments: str, **changes: str) -> tuple[int, Any]:
    """Run a command with --json beside the node; give its exit code and what it printed."""
    done = subprocess.run(
        [COMMAND, *arguments, "--json"], env=node._environment | changes, capture_output=True, text=True, check=False
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def stands(node: Stubbed) -> dict[str, int]:
    """Count what is in the spool by what becomes of it."""
    return {f"{one['what']} {one['stand']}": one["count"] for one in command(node, "spool")[1]["held"]}


def reconciled(node: Stubbed) -> dict[str, Any]:
    """Reconcile, with every byte, and hold the exit code against what was found."""
    code, found = command(node, "check", "--reconcile", "--bytes")
    assert code == (0 if found["ok"] else 1)
    return found


def troubles(found: dict[str, Any]) -> list[tuple[str, str]]:
    """Give what is wrong with which UID."""
    return [(one["trouble"], one["uid"]) for one in found["discrepancies"]]


def test_committed_swept_sent_again_and_reconciled(orthanc: peers.Orthanc, tmp_path: Path) -> None:
    """Orthanc commits to the sources, so they go; what comes again is kept again; every loss is named."""
    paths = films(tmp_path / "films", 3)
    assert send(paths, ("127.0.0.1", orthanc.port, orthanc.ae_title)) == [0, 0, 0]
    with running(tmp_path / "node", orthanc, **KEEPING) as node:
        assert node.send(paths) == [0, 0, 0]
        node.wait(lambda: drained(node, "pacs") and "source not_held" not in stands(node))
        assert stands(node)["source young"] == 2
        evidence = {one.sop_instance_uid for job in node.jobs() for one in job.evidence}
        assert len(evidence) == 4
        _, dry = command(node, "spool", "sweep", "--dry-run", **AT_ONCE)
        assert {one["stand"] for one in dry["held"]} == {"goes", "report"}
        assert len(list((node.state / "spool" / "sources").rglob("*.dcm"))) == 3
        assert command(node, "spool", "sweep", "--yes", **AT_ONCE)[1]["swept"] == 5
        assert not list((node.state / "spool" / "sources").rglob("*.dcm"))
        found = reconciled(node)
        assert troubles(found) == []
        assert found["counts"]["instances swept"] == 3
        assert found["counts"]["found at pacs"] == 4
        _send_again_and_run_again(node, paths[0])
        assert {one.sop_instance_uid for job in node.jobs() for one in job.evidence} == evidence
        assert troubles(reconciled(node)) == []
        _every_loss_is_named(node, orthanc, evidence)


def _send_again_and_run_again(node: Stubbed, film: Path) -> None:
    job = next(job.job.job for job in node.jobs() if job.job.study_uid == pydicom.dcmread(film).StudyInstanceUID)
    refused = node.cli("jobs", "retry", str(job))
    assert refused.returncode == 1
    assert "its images were swept" in refused.stderr
    assert node.send([film]) == [0]
    assert node.cli("jobs", "retry", str(job)).returncode == 0
    node.wait(lambda: drained(node, "pacs"))
    assert len(list((node.state / "spool" / "sources").rglob("*.dcm"))) == 1


def _every_loss_is_named(node: Stubbed, orthanc: peers.Orthanc, evidence: set[str]) -> None:
    lost = sorted(evidence)[0]
    orthanc.ask(f"/instances/{orthanc.instances()[lost]}", method="DELETE")
    (source,) = (node.state / "spool" / "sources").rglob("*.dcm")
    header = pydicom.dcmread(source, stop_before_pixels=True)
    content = bytearray(source.read_bytes())
    content[-100] ^= 1
    source.write_bytes(content)
    found = reconciled(node)
    assert sorted(troubles(found)) == [("not at the destination", lost), ("source altered", header.SOPInstanceUID)]
    source.unlink()
    assert ("source missing", header.SOPInstanceUID) in troubles(reconciled(node))
    said = node.cli("check", "--reconcile")
    assert said.returncode == 1
    assert lost in said.stdout
    assert str(header.PatientName) not in said.stdout + json.dumps(found)
    assert str(header.PatientID) not in said.stdout + json.dumps(found)


def test_a_node_sweeps_by_itself_and_a_destination_without_c_find_is_not_asked(
    storescp: Callable[..., Any], tmp_path: Path
) -> None:
    """DCMTK's storescp stores and answers nothing else: that is said, and is no failure. By the operator's word the
    source goes all the same."""
    film = films(tmp_path / "films", 2)[0]
    with storescp("--fork") as port:
        scp = Destination(
            name="scp", ae_title=AETitle("STORESCP"), host="127.0.0.1", port=port, commitment=CommitmentPolicy.NONE
        )
        rules = {"RETENTION__UNCOMMITTED": "true", "RETENTION__LOOK_SECONDS": "0.5"}
        node = Stubbed(tmp_path / "node", [scp], **rules, **AGES)
        try:
            node.start()
            assert node.send([film]) == [0]
            node.wait(lambda: drained(node, "scp"))
            found = reconciled(node)
            assert found["not_asked"] == ["scp"], found
            assert found["ok"]
            node.wait(
                lambda: node.events("spool_relieved") and not list((node.state / "spool").rglob("sources/**/*.dcm"))
            )
            assert reconciled(node)["counts"]["instances swept"] == 1
        finally:
            node.clear_away()


def test_a_backup_made_under_load_is_restored_and_finishes_its_work(orthanc: peers.Orthanc, tmp_path: Path) -> None:
    """The documented commands, as they stand: what the backup holds is finished in a new folder, to the same objects,
    and what came later is sent again."""
    paths, backup = films(tmp_path / "films", 6), tmp_path / "backup"
    with running(tmp_path / "node", orthanc) as node:
        sending = threading.Thread(target=lambda: [node.send([path]) for path in paths])
        sending.start()
        node.wait(lambda: node.jobs())
        first = node.cli("spool", "backup", str(backup))
        sending.join()
        second = node.cli("spool", "backup", str(backup))
        assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
        assert "were there already" in second.stdout
        node.kill()
        before = set(orthanc.instances())
    assert (backup / "ledger.sqlite").stat().st_mode & 0o777 == 0o600
    with running_on_a_copy(backup, tmp_path / "restored", orthanc) as node:
        node.wait(lambda: drained(node, "pacs"))
        found = reconciled(node)
        assert troubles(found) == []
        assert found["counts"]["instances"] == len(paths)
        assert node.send(paths) == [0] * len(paths)
        node.wait(lambda: drained(node, "pacs"))
        assert troubles(reconciled(node)) == []
        assert len(node.jobs()) == len(paths) - 1
        assert before <= set(orthanc.instances())
        assert len(orthanc.instances()) == 2 * (len(paths) - 1)


@contextmanager
def running_on_a_copy(backup: Path, folder: Path, orthanc: peers.Orthanc) -> Iterator[Stubbed]:
    """Restore a backup as docs/operations.md says, and run a node on it."""
    folder.mkdir()
    subprocess.run(["cp", "-a", backup, folder / "state"], check=True)
    with running(folder, orthanc) as node:
        yield node
