"""The ports that tell the audit trail: the destinations, and the spool whose files go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as Xml

import pydicom
import pytest
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import DeflatedExplicitVRLittleEndian

from cxrnode.archive import SpoolArchive
from cxrnode.audit import AuditedPeer, AuditedSpool, AuditTrail
from cxrnode.domain.delivery import Delivery, Destination
from cxrnode.domain.identity import AETitle
from cxrnode.domain.retention import Rules
from cxrnode.errors import AssociationLost, Refused
from cxrnode.phantom import Patient, Radiograph, render
from cxrnode.pipeline.retaining import Retaining
from cxrnode.pixels.header import HeaderReader
from cxrnode.ports import StoreResult
from tests.auditing import event_of, lines_in, told_in, wrong_with
from tests.bench import FILM, PACS, Bench
from tests.fakes.clock import FakeClock
from tests.fakes.peer import FakePeer


@pytest.fixture
def trail(tmp_path: Path) -> AuditTrail:
    """Give a trail."""
    return AuditTrail(tmp_path / "audit", ae_title="CXRNODE", host="node", now=FakeClock().now)


class HalfPeer(FakePeer):
    """Takes the first of what it is sent, and refuses the rest."""

    def store(self, destination: Destination, deliveries: Sequence[tuple[Delivery, Path]]) -> Sequence[StoreResult]:
        refused = Refused("Zz^Secret of the peer's own", status=0xC000)
        return [
            StoreResult(delivery=delivery, status=0 if at == 0 else 0xC000, error=None if at == 0 else refused)
            for at, (delivery, _) in enumerate(deliveries)
        ]


def film(folder: Path, patient: str) -> tuple[str, Path]:
    """Write a film of a patient; give its UID and where it lies."""
    made = render(Radiograph(rows=256, cols=256, patient=Patient(name=f"Doe^{patient}", patient_id=patient)))
    path = folder / f"{patient}.dcm"
    path.write_bytes(made.file)
    return str(made.dataset.SOPInstanceUID), path


def test_each_patient_s_transfer_is_begun_and_ended_with_its_own_outcome(tmp_path: Path, trail: AuditTrail) -> None:
    """Two patients in one batch, one of them refused: a message has one patient and one outcome (PS3.15 A.5.2)."""
    films = [film(tmp_path, "A"), film(tmp_path, "B")]
    destination = Destination(name="pacs", ae_title=AETitle("PACS"), host="10.0.0.1", port=104)
    deliveries = [
        (
            Delivery(row=row, destination="pacs", sop_class_uid="1.2.840", sop_instance_uid=uid, key="", attempt=1),
            path,
        )
        for row, (uid, path) in enumerate(films)
    ]
    results = AuditedPeer(HalfPeer(), trail).store(destination, deliveries)
    assert [result.status for result in results] == [0, 0xC000]
    told = told_in(tmp_path / "audit")
    assert [event_of(root) for root in told] == ["110102", "110102", "110104", "110104"]
    outcomes = [one.get("EventOutcomeIndicator") for root in told for one in root.findall("EventIdentification")]
    assert outcomes == ["0", "0", "0", "4"]
    said = [Xml.tostring(root, encoding="unicode") for root in told]
    assert ["Doe^A" in text for text in said] == [True, False, True, False]
    assert [wrong_with(line) for line in lines_in(tmp_path / "audit")] == [[]] * 4


class AwayPeer(FakePeer):
    """Takes nothing, for one reason after the other; then everything."""

    def __init__(self, *reasons: str) -> None:
        self.reasons = list(reasons)

    def store(self, destination: Destination, deliveries: Sequence[tuple[Delivery, Path]]) -> Sequence[StoreResult]:
        why = self.reasons.pop(0) if self.reasons else ""
        error = AssociationLost(why) if why else None
        return [StoreResult(delivery=delivery, status=None if why else 0, error=error) for delivery, _ in deliveries]


def test_an_archive_that_is_away_for_a_day_does_not_fill_the_trail(tmp_path: Path, trail: AuditTrail) -> None:
    """A study is tried a hundred times and more: begun once, failed once for each new reason, made once."""
    peer = AuditedPeer(AwayPeer(*["away"] * 100, *["busy"] * 100), trail)
    uid, path = film(tmp_path, "A")
    one = Delivery(row=1, destination="pacs", sop_class_uid="1.2.840", sop_instance_uid=uid, key="", attempt=1)
    for _ in range(202):
        peer.store(Destination(name="pacs", ae_title=AETitle("PACS"), host="10.0.0.1", port=104), [(one, path)])
    told = told_in(tmp_path / "audit")
    again = ["110102", "110104"]
    assert [event_of(root) for root in told] == ["110102", "110104", "110104", "110104", *again]
    assert [root.findtext("EventIdentification/EventOutcomeDescription") for root in told[1:4]] == [
        "away",
        "busy",
        None,
    ]


def test_a_study_whose_films_leave_the_spool_is_told_of_when_they_are_gone(tmp_path: Path, trail: AuditTrail) -> None:
    """With its patient, how many files, and why; a file that is not there is nothing to tell."""
    bench = Bench(tmp_path)
    bench.take(replace(FILM, patient=Patient(name="Doe^Jane", patient_id="P-1")))
    bench.work(2)
    held = bench.peer.kept.setdefault("pacs", {})
    held.update({one.sop_instance_uid: b"" for one in bench.ledger.inventory.instances()})
    retaining = Retaining(
        rules=Rules(source_days=10, held_by=("pacs",)),
        destinations=(PACS,),
        spool=audited(bench.archive, trail),
        inventory=bench.ledger.inventory,
        keeper=bench.peer,
        clock=bench.clock,
        chance=lambda: 0.5,
    )
    bench.clock.move(11 * 86400)
    for _ in range(3):
        retaining.look()
        bench.deliver()
    assert not list((bench.archive.root / "sources").rglob("*.dcm"))
    (gone,) = told_in(tmp_path / "audit")
    text = Xml.tostring(gone, encoding="unicode")
    assert event_of(gone) == "110105"
    for said in ("Doe^Jane", "P-1", 'NumberOfInstances="1"', "the retention settings"):
        assert said in text
    assert wrong_with(lines_in(tmp_path / "audit")[0]) == []


def test_a_file_that_cannot_be_read_is_swept_like_any_other_and_told(tmp_path: Path, trail: AuditTrail) -> None:
    """A sender wrote it: what says that it is deflated and is not must not hold up every sweep after it."""
    bench = Bench(tmp_path)
    bench.take(FILM)
    (source,) = bench.ledger.inventory.instances()
    kept = bench.archive.path(source.key)
    meta = pydicom.dcmread(kept, stop_before_pixels=True).file_meta
    meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    with kept.open("wb") as file:
        file.write(bytes(128) + b"DICM")
        write_file_meta_info(file, meta)
        file.write(b"no zlib at all" * 100)
    spool = audited(bench.archive, trail)
    spool.remove(source.key)
    spool.sync([source.key])
    assert not kept.exists()
    (gone,) = told_in(tmp_path / "audit")
    assert event_of(gone) == "110105"


def test_whose_a_file_was_is_read_when_the_ledger_is_free_again(
    tmp_path: Path, trail: AuditTrail, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`remove` runs inside the ledger's transaction, and senders wait for that; `sync` does not."""
    bench = Bench(tmp_path)
    bench.take(replace(FILM, patient=Patient(name="Doe^Jane", patient_id="P-1")))
    (source,) = bench.ledger.inventory.instances()
    spool = audited(bench.archive, trail)
    with monkeypatch.context() as held:
        held.delattr(HeaderReader, "whose")
        spool.remove(source.key)
    spool.sync([source.key])
    (gone,) = told_in(tmp_path / "audit")
    assert "Doe^Jane" in Xml.tostring(gone, encoding="unicode")


def audited(archive: SpoolArchive, trail: AuditTrail) -> AuditedSpool:
    """Give a spool that tells, as the node has it."""
    return AuditedSpool(archive, archive.path, trail, by_operator=False)
