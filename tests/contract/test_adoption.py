"""A finished file without a row: an acknowledged instance in disguise; its sender is not lost either."""

from __future__ import annotations

from pathlib import Path

import pytest

from cxrnode.archive import SpoolArchive
from cxrnode.dimse.listener import Door, Listener
from cxrnode.domain.identity import InstanceUID
from cxrnode.domain.study import Arrival
from cxrnode.ledger import SqliteLedger
from cxrnode.phantom import Radiograph, render
from cxrnode.pipeline.adopting import Adopting, UnderWay
from cxrnode.pipeline.reception import Reception
from cxrnode.pixels.header import HeaderReader
from cxrnode.testing import send
from tests.fakes.clock import FakeClock


def adopt(archive: SpoolArchive, ledger: SqliteLedger) -> None:
    """Walk over the spool as a node does after its start."""
    adopting = Adopting(archive=archive, ledger=ledger, reader=HeaderReader(), clock=FakeClock(), under_way=UnderWay())
    while adopting.adopt():
        pass


class _Gone(Exception):
    """The process ends between keeping and recording."""


class _ForgetfulLedger:
    def __init__(self, ledger: SqliteLedger) -> None:
        self.find_twin = ledger.find_twin

    def record(self, *_: object, **__: object) -> None:
        raise _Gone


def test_an_adopted_instance_still_knows_who_sent_it(tmp_path: Path, ledger: SqliteLedger) -> None:
    """Kept but not recorded, it is adopted at the next start under the AE titles it came with, and routed alike."""
    archive = SpoolArchive(tmp_path / "spool", floor_bytes=0)
    dying = Reception(
        archive=archive,
        ledger=_ForgetfulLedger(ledger),
        reader=HeaderReader(),
        clock=FakeClock(),
    )
    film = tmp_path / "film.dcm"
    film.write_bytes(render(Radiograph(rows=128, cols=128)).file)
    door = Door(ae_title="CXRNODE", port=0)
    listener = Listener(door, incoming=archive.incoming, receive=dying.receive, report=lambda report: False)
    listener.start()
    try:
        (status,) = send([film], ("127.0.0.1", listener.port, "CXRNODE"), calling="ROOM7")
    finally:
        listener.stop()
    assert status != 0
    assert ledger.counts().instances == 0
    adopt(archive, ledger)
    (study, _) = ledger.open_studies()[0]
    (instance,) = ledger.membership(study).instances
    assert (instance.sender.calling_ae, instance.sender.called_ae) == ("ROOM7", "CXRNODE")


def test_one_data_set_has_one_digest_whoever_wrote_its_file_meta(tmp_path: Path) -> None:
    """The same instance from a file and from the network is the same content: the meta is the keeper's."""
    phantom = render(Radiograph(rows=128, cols=128))
    dataset = phantom.dataset
    paths = [tmp_path / "one.dcm", tmp_path / "other.dcm"]
    paths[0].write_bytes(phantom.file)
    dataset.file_meta.SendingApplicationEntityTitle = "ELSEWHERE"
    dataset.save_as(paths[1])
    digests = {_digest(path) for path in paths}
    assert len(digests) == 1
    dataset.PatientName = "Other^Name"
    dataset.save_as(paths[1])
    assert _digest(paths[1]) not in digests


def _digest(path: Path) -> str:
    sender = HeaderReader().sender_of(path)
    arrival = Arrival(
        path=path,
        sop_class_uid="",
        sop_instance_uid=InstanceUID(""),
        transfer_syntax_uid="",
        sender=sender,
    )
    return HeaderReader().describe(arrival).bytes_digest


@pytest.mark.parametrize("content", [b"", b"text", b"\0" * 128 + b"DICM" + b"\x02\x00\x00\x00UL\x04\x00"])
def test_a_file_that_does_not_say_who_sent_it_is_adopted_all_the_same(tmp_path: Path, content: bytes) -> None:
    """Neither the sender nor the digest of a broken file ever raises."""
    path = tmp_path / "broken"
    path.write_bytes(content)
    assert HeaderReader().sender_of(path).calling_ae == "ADOPTED"
    assert len(_digest(path)) == 64
