"""The reckoning after a fault: what was acknowledged against the ledger, the spool and the archive, one by one.

It reads SQLite, files and the archive's objects itself, so that no error of the program's own queries can hide a loss.
Promises a line for each thing that is lost (acknowledged and nowhere, or its evidence is) and for each that is doubled
(twice in the archive, or one UID with two contents).
"""

from __future__ import annotations

import hashlib
import io
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset

from tests import peers
from tests.end_to_end.processes import Serve
from tests.fakes.door import data_set_of
from tests.tally import Tally


@dataclass(slots=True)
class Reckoning:
    """What became of the acknowledged instances."""

    instances: int
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)

    def settle(self, tally: Tally, fault: str, *, injected: int, fired: int, seconds: float = 0.0) -> None:
        """Count it, and fail where anything is lost or doubled or the fault did not fire."""
        tally.add(
            fault,
            injected=injected,
            fired=fired,
            instances=self.instances,
            lost=len(self.lost),
            doubled=len(self.doubled),
            seconds=seconds,
        )
        assert fired, f"{fault}: the fault did not fire"
        assert self.instances, f"{fault}: nothing was acknowledged"
        assert not self.lost, f"{len(self.lost)} lost: {self.lost[:10]}"
        assert not self.doubled, f"{len(self.doubled)} doubled: {self.doubled[:10]}"


def drained(node: Serve, *destinations: str) -> bool:
    """Tell whether nothing is left to do for anything the node received; for these destinations, or for all."""
    with node.ledger() as ledger:
        counts = ledger.counts()
    states = {to: each for to, each in counts.deliveries_by_state.items() if not destinations or to in destinations}
    left = sum(each.get(state, 0) for each in states.values() for state in ("PENDING", "SENDING"))  # type: ignore[call-overload]
    return not (counts.open_studies or counts.jobs_left or left or counts.awaiting_commitment)


def reckon(
    node: Serve,
    acknowledged: Mapping[str, Path],
    held: Iterable[bytes],
    *,
    destination: str = "pacs",
    analysed: bool = True,
) -> Reckoning:
    """Reckon with everything: `acknowledged` are the files by UID, `held` the DICOM files of the archive.

    `analysed`: whether all of them can be.
    """
    reckoning = Reckoning(instances=len(acknowledged))
    with closing(sqlite3.connect(f"file:{node.state}/ledger.sqlite?mode=ro", uri=True)) as ledger:
        ledger.row_factory = sqlite3.Row
        reckoning.lost += _sources(ledger, node.state / "spool", acknowledged, analysed=analysed)
        reckoning.lost += _without_evidence(ledger, acknowledged)
        reckoning.doubled += _rows_twice(ledger)
        objects = [pydicom.dcmread(io.BytesIO(file)) for file in held]
        _evidence(ledger, node.state / "spool", objects, destination, reckoning)
    reckoning.doubled += _doubled(objects)
    return reckoning


def in_orthanc(orthanc: peers.Orthanc) -> Iterator[bytes]:
    """Give every file that an Orthanc holds, each as often as it holds it."""
    for number in orthanc.ask("/instances"):
        yield orthanc.ask(f"/instances/{number}/file")


def in_folder(folder: Path) -> Iterator[bytes]:
    """Give every file that a storescp wrote."""
    for path in sorted(folder.iterdir()):
        yield path.read_bytes()


def _sources(
    ledger: sqlite3.Connection, spool: Path, acknowledged: Mapping[str, Path], *, analysed: bool
) -> Iterator[str]:
    """What was acknowledged has a row and, under its key, the very data set that was sent."""
    rows = {row["sop_instance_uid"]: row for row in ledger.execute("SELECT * FROM instances")}
    for uid, path in acknowledged.items():
        row = rows.get(uid)
        if row is None:
            yield f"{uid}: no row"
        elif row["code"] is None:
            yield f"{uid}: nobody decided on it"
        elif row["code"] and analysed:
            yield f"{uid}: not analysed, {row['code']}"
        elif not (spool / row["key"]).is_file():
            yield f"{uid}: no file"
        elif data_set_of(spool / row["key"]) != data_set_of(path):
            yield f"{uid}: other bytes"


def _without_evidence(ledger: sqlite3.Connection, acknowledged: Mapping[str, Path]) -> Iterator[str]:
    """What was analysed has a SEG, its study a completed job over it."""
    analysed = ledger.execute("SELECT sop_instance_uid FROM instances WHERE code = '' AND standing = 'current'")
    outlined = {row["source"] for row in ledger.execute("SELECT source FROM evidence WHERE kind = 'SEG'")}
    for (uid,) in analysed:
        if uid in acknowledged and uid not in outlined:
            yield f"{uid}: analysed and without a SEG"
    covered = {
        uid
        for (uid,) in ledger.execute(
            "SELECT sop_instance_uid FROM instances JOIN job_members ON instance_id = instances.id "
            "JOIN jobs ON jobs.id = job_id WHERE jobs.state = 'COMPLETED'"
        )
    }
    yield from (f"{uid}: in no completed job" for uid in acknowledged if uid not in covered)


def _rows_twice(ledger: sqlite3.Connection) -> Iterator[str]:
    sql = "SELECT sop_instance_uid, count(*) FROM instances WHERE standing = 'current' GROUP BY 1 HAVING count(*) > 1"
    yield from (f"{uid}: {count} rows" for uid, count in ledger.execute(sql))
    sql = "SELECT source, model, count(*) FROM evidence WHERE kind = 'SEG' GROUP BY 1, 2 HAVING count(*) > 1"
    yield from (f"{source}: {count} SEGs" for source, _, count in ledger.execute(sql))


_EVIDENCE = """
SELECT evidence.*, (SELECT state FROM deliveries WHERE evidence_id = evidence.id AND destination = ?) AS delivery
FROM evidence
"""


def _evidence(
    ledger: sqlite3.Connection, spool: Path, objects: Iterable[Dataset], destination: str, reckoning: Reckoning
) -> None:
    """Each object that was to go is there with the content that was kept; nothing is there that nobody kept."""
    held = {str(ds.SOPInstanceUID): ds for ds in objects}
    known = {row["sop_instance_uid"]: row for row in ledger.execute(_EVIDENCE, [destination])}
    for uid, row in known.items():
        kept = spool / row["key"]
        if not kept.is_file() or hashlib.sha256(kept.read_bytes()).hexdigest() != row["sha256"]:
            reckoning.lost.append(f"{uid}: evidence not kept as recorded")
        elif uid not in held and row["delivery"] not in {"WITHDRAWN", None}:
            reckoning.lost.append(f"{uid}: {row['delivery']}, and not in the archive")
        elif uid in held and held[uid] != pydicom.dcmread(kept):
            reckoning.doubled.append(f"{uid}: other content in the archive than kept")
    reckoning.doubled += [f"{uid}: in the archive and nobody kept it" for uid in held if uid not in known]


def _doubled(objects: Iterable[Dataset]) -> Iterator[str]:
    uids = Counter(str(ds.SOPInstanceUID) for ds in objects)
    yield from (f"{uid}: {count} times in the archive" for uid, count in uids.items() if count > 1)
    for study, reports in _reports(objects).items():
        replaced = {uid for report in reports for uid in _predecessors(report)}
        in_force = [report for report in reports if report.SOPInstanceUID not in replaced]
        if len(in_force) > 1:
            yield f"{study}: {len(in_force)} reports in force"


def _reports(objects: Iterable[Dataset]) -> Mapping[str, list[Dataset]]:
    reports: dict[str, list[Dataset]] = defaultdict(list)
    for ds in objects:
        if ds.Modality == "SR":
            reports[str(ds.StudyInstanceUID)].append(ds)
    return reports


def _predecessors(report: Dataset) -> Iterator[str]:
    for study in report.get("PredecessorDocumentsSequence", []):
        for series in study.ReferencedSeriesSequence:
            yield from (str(item.ReferencedSOPInstanceUID) for item in series.ReferencedSOPSequence)
