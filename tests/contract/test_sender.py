"""The sender, against the PACS in process, DCMTK and Orthanc."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    Comprehensive3DSRStorage,
    ComprehensiveSRStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    SegmentationStorage,
    generate_uid,
)

from cxrnode.dimse.connection import Waits
from cxrnode.dimse.sender import Sender
from cxrnode.domain.capability import NAMES, SECONDARY_CAPTURE
from cxrnode.domain.delivery import Delivery, Destination
from cxrnode.errors import AssociationLost, ClassNotAccepted, NeedsOperator, Retryable, Stopping
from cxrnode.testing import start_pacs
from tests import peers
from tests.fakes.door import NODE, data_set_of, open_door
from tests.fakes.peer import FakePeer

EVIDENCE = (SegmentationStorage, ComprehensiveSRStorage, Comprehensive3DSRStorage)


class Reports:
    """Takes commitment reports and waits for them."""

    def __init__(self):
        self.taken = []
        self._changed = threading.Condition()

    def __call__(self, report):
        with self._changed:
            self.taken.append(report)
            self._changed.notify_all()
        return True

    def wait(self, count=1, seconds=10.0):
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.taken) >= count, seconds), "no report in time"
            return self.taken[:count]


@pytest.fixture
def reports():
    """Where commitment reports go."""
    return Reports()


@pytest.fixture
def sender(reports):
    """A sender that loses patience soon."""
    made = Sender(ae_title=NODE, report=reports, waits=Waits(connect_seconds=2, answer_seconds=1, idle_seconds=30))
    yield made
    made.close()


@pytest.fixture
def evidence(tmp_path):
    """Make a file of an evidence class that an archive takes; give the delivery and its path."""

    def make(sop_class=SegmentationStorage, syntax=ExplicitVRLittleEndian):
        dataset = pydicom.Dataset()
        dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, generate_uid()
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
        dataset.PatientID, dataset.PatientName = "SENTINEL-ID", "SENTINEL^NAME"
        dataset.Modality = "SEG" if sop_class == SegmentationStorage else "SR"
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = syntax
        path = tmp_path / f"{dataset.SOPInstanceUID}.dcm"
        dataset.save_as(path, enforce_file_format=True)
        return _delivery(dataset), path

    return make


def _delivery(dataset: pydicom.Dataset) -> Delivery:
    return Delivery(
        row=1,
        destination="pacs",
        sop_class_uid=str(dataset.SOPClassUID),
        sop_instance_uid=str(dataset.SOPInstanceUID),
        key="",
        attempt=1,
    )


def _destination(port: int, ae_title: str = "PACS", host: str = "127.0.0.1") -> Destination:
    return Destination(name="pacs", ae_title=ae_title, host=host, port=port)


def test_evidence_arrives_as_it_lies_on_disk(sender, evidence):
    """SEG and both SR classes arrive with their data sets byte for byte, in order, each taken."""
    made = [evidence(sop_class) for sop_class in EVIDENCE]
    with start_pacs() as pacs:
        results = sender.store(pacs.destination(), made)
        assert [(result.status, result.error) for result in results] == [(0, None)] * 3
        assert [result.delivery for result in results] == [delivery for delivery, _ in made]
        for delivery, path in made:
            assert data_set_of(pacs.kept[delivery.sop_instance_uid]) == data_set_of(path)


def test_association_is_kept_between_calls(sender, evidence):
    """Two calls use one association; after the idle time it is released, and the next call makes another."""
    with open_door_for_evidence() as door:
        sender = Sender(ae_title="OTHER", report=lambda _: True, waits=Waits(idle_seconds=0.3))
        destination = _destination(door.port, NODE)
        for _ in range(2):
            assert sender.store(destination, [evidence()])[0].error is None
        assert len(door.opened) == 1
        door.wait_for(lambda: door.ended)
        assert sender.store(destination, [evidence()])[0].error is None
        assert len(door.opened) == 2
        sender.close()
        door.wait_for(lambda: len(door.ended) == 2)


def open_door_for_evidence():
    """A listener that takes evidence classes, to see a sender's associations."""
    import tempfile

    return open_door(Path(tempfile.mkdtemp()) / "node", storage_classes=EVIDENCE)


def test_association_that_the_peer_closed_is_made_again(sender, evidence):
    """A PACS that restarts between two calls costs nothing but a new association."""
    with start_pacs() as pacs:
        assert sender.store(pacs.destination(), [evidence()])[0].error is None
        pacs.go_away()
        pacs.come_back()
        assert sender.store(pacs.destination(), [evidence()])[0].error is None


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (0x0000, type(None)),
        (0xB000, type(None)),
        (0xB007, type(None)),
        (0x0111, type(None)),
        (0xA700, Retryable),
        (0x0110, Retryable),
        (0x0213, Retryable),
        (0xFFF0, Retryable),
        (0xA900, NeedsOperator),
        (0xC123, NeedsOperator),
        (0x0122, ClassNotAccepted),
        (0x0124, NeedsOperator),
    ],
)
def test_status_decides_what_happens_next(sender, evidence, answer, error):
    """Each class of status becomes the error that says what happens next; the other object is not touched by it."""
    with start_pacs() as pacs:
        pacs.behave(refuse=answer, times=1)
        first, second = sender.store(pacs.destination(), [evidence(), evidence()])
    assert first.status == answer
    assert type(first.error) is error
    assert (second.status, second.error) == (0, None)


@pytest.mark.parametrize("when", ["during", "after"])
def test_object_that_aborts_the_peer_harms_no_other(sender, evidence, when):
    """An abort on a new association is this object's AssociationLost; the next goes out on another association."""
    made = [evidence(), evidence()]
    with start_pacs() as pacs:
        pacs.behave(abort=when, times=1)
        first, second = sender.store(pacs.destination(), made)
        assert type(first.error) is AssociationLost
        assert second.error is None
        assert pacs.received[made[1][0].sop_instance_uid] == 1


@pytest.mark.parametrize("when", ["during", "after"])
def test_object_lost_on_a_kept_association_is_sent_once_more(sender, evidence, when):
    """An abort of an association kept from before may be stale news: the same object is sent again, once."""
    first, second = evidence(), evidence()
    with start_pacs() as pacs:
        sender.store(pacs.destination(), [first])
        pacs.behave(abort=when, times=1)
        assert sender.store(pacs.destination(), [second])[0].error is None
        assert second[0].sop_instance_uid in pacs.kept


@pytest.mark.parametrize("when", ["during", "after"])
def test_peer_that_stalls_is_left(sender, evidence, when):
    """A stall ends after the answer's time, for the whole batch at once, and the next call works."""
    made = [evidence() for _ in range(4)]
    with start_pacs() as pacs:
        pacs.behave(stall=when)
        began = time.monotonic()
        results = sender.store(pacs.destination(), made)
        assert time.monotonic() - began < 4
        assert [type(result.error) for result in results] == [AssociationLost] * 4
        pacs.behave()
        assert [result.error for result in sender.store(pacs.destination(), made)] == [None] * 4


def test_destination_that_stalls_delays_no_other(sender, evidence):
    """While one destination stalls another takes its objects."""
    with start_pacs() as slow, start_pacs() as quick, ThreadPoolExecutor() as pool:
        slow.behave(stall="after")
        waiting = pool.submit(sender.store, slow.destination("slow"), [evidence()])
        slow.wait_for(lambda: slow.received)
        assert sender.store(quick.destination("quick"), [evidence()])[0].error is None
        assert not waiting.done()
        slow.behave()
        assert waiting.result(5)[0].error is None


def test_a_store_that_stalls_is_broken_off_when_the_node_stops(reports, evidence):
    """Nobody waits out the answer's minute; what was not answered, and all that is asked later, is given up."""
    patient = Sender(ae_title=NODE, report=reports)
    made = [evidence() for _ in range(3)]
    with start_pacs() as pacs, ThreadPoolExecutor() as pool:
        pacs.behave(stall="after")
        waiting = pool.submit(patient.store, pacs.destination(), made)
        pacs.wait_for(lambda: pacs.received)
        patient.interrupt()
        assert [type(result.error) for result in waiting.result(3)] == [Stopping] * 3
        pacs.behave()
        assert [type(result.error) for result in patient.store(pacs.destination(), made)] == [Stopping] * 3
    patient.close()


def test_nothing_that_is_asked_after_the_node_began_to_stop_calls_anybody(reports, evidence):
    """A destination that does not answer a connection would hold up the end, and one that refuses us park something."""
    patient = Sender(ae_title=NODE, report=reports)
    delivery, _ = evidence()
    with start_pacs() as pacs:
        patient.interrupt()
        for ask in (
            lambda: patient.echo(pacs.destination()),
            lambda: patient.accepted(pacs.destination()),
            lambda: patient.ask_commitment(pacs.destination(), generate_uid(), [delivery]),
        ):
            with pytest.raises(Stopping):
                ask()
    patient.close()


def test_an_association_that_nobody_answers_is_broken_off_when_the_node_stops(reports, evidence):
    """The destination takes the connection and says nothing."""
    patient = Sender(ae_title=NODE, report=reports)
    with socket.create_server(("127.0.0.1", 0)) as mute, ThreadPoolExecutor() as pool:
        waiting = pool.submit(patient.store, _destination(mute.getsockname()[1]), [evidence()])
        connection, _ = mute.accept()
        with connection:
            assert connection.recv(1)
            patient.interrupt()
            assert [type(result.error) for result in waiting.result(3)] == [Stopping]
    patient.close()


def test_destination_that_is_not_there_is_retried_later(sender, evidence):
    """Nobody on the port, and a host name without address: AssociationLost for each object, nothing raised."""
    made = [evidence(), evidence()]
    for destination in (_destination(peers.free_port()), _destination(104, host="no-such-host.invalid")):
        results = sender.store(destination, made)
        assert [type(result.error) for result in results] == [AssociationLost] * 2
        assert [result.delivery for result in results] == [delivery for delivery, _ in made]
        with pytest.raises(AssociationLost):
            sender.echo(destination)


def test_wrong_called_title_is_for_the_operator(sender, evidence):
    """A PACS of another name: NeedsOperator that says so, for echo, store and commitment alike."""
    delivery, path = evidence()
    with start_pacs() as pacs:
        wrong = _destination(pacs.port, "OTHER")
        [result] = sender.store(wrong, [(delivery, path)])
        assert type(result.error) is NeedsOperator
        assert "AE title" in str(result.error)
        with pytest.raises(NeedsOperator):
            sender.echo(wrong)
        with pytest.raises(NeedsOperator):
            sender.ask_commitment(wrong, generate_uid(), [delivery])


def test_class_that_the_peer_does_not_take_is_named(sender, evidence):
    """A PACS without SEG: the SR goes through, the SEG's error names class and transfer syntax, and no patient."""
    with start_pacs(storage_classes=[ComprehensiveSRStorage]) as pacs:
        seg, sr = sender.store(pacs.destination(), [evidence(), evidence(ComprehensiveSRStorage)])
    assert type(seg.error) is ClassNotAccepted
    assert "Segmentation Storage in Explicit VR Little Endian" in str(seg.error)
    assert "SENTINEL" not in str(seg.error)
    assert sr.error is None


@pytest.fixture(params=["sender", "fake"])
def reports_only(request, sender):
    """A peer, real and fake, whose destination takes Comprehensive SR and nothing else of ours."""
    with start_pacs(storage_classes=[ComprehensiveSRStorage]) as pacs:
        fake = FakePeer()
        fake.takes["pacs"] = frozenset({ComprehensiveSRStorage})
        yield (sender if request.param == "sender" else fake), pacs.destination()


def test_what_a_destination_takes_is_what_it_is_told_to_take(reports_only, evidence):
    """Asked, it names its class; sent another, it refuses that as a class that it does not take, and takes its own."""
    peer, destination = reports_only
    assert peer.accepted(destination) == {ComprehensiveSRStorage}
    results = peer.store(destination, [evidence(), evidence(ComprehensiveSRStorage)])
    assert [type(result.error) for result in results] == [ClassNotAccepted, type(None)]


def test_everything_that_the_node_writes_is_asked_for(sender):
    """An archive that takes everything is sent each class as it lies on disk; one that stores nothing, nothing."""
    with start_pacs() as pacs:
        assert sender.negotiated(pacs.destination()) == dict.fromkeys(NAMES, ExplicitVRLittleEndian)
    with start_pacs(storage_classes=[]) as pacs:
        assert sender.accepted(pacs.destination()) == frozenset()


def test_what_is_taken_is_asked_on_a_new_association_that_takes_the_kept_ones_place(evidence):
    """What was agreed before may be out of date; and never are two open at once, which some peers do not serve."""
    sender = Sender(ae_title="OTHER", report=lambda _: True)
    with open_door_for_evidence() as door:
        destination = _destination(door.port, NODE)
        assert sender.store(destination, [evidence()])[0].error is None
        assert sender.accepted(destination) == frozenset(EVIDENCE)
        door.wait_for(lambda: len(door.ended) == 1)
        assert sender.store(destination, [evidence()])[0].error is None
        assert len(door.opened) == 2
        sender.close()
        door.wait_for(lambda: len(door.ended) == 2)


def test_who_cannot_be_asked_is_an_error_as_for_echo(sender):
    """Nobody there: to be asked again later. Another name: for the operator."""
    with pytest.raises(AssociationLost):
        sender.accepted(_destination(peers.free_port()))
    with start_pacs() as pacs, pytest.raises(NeedsOperator, match="AE title"):
        sender.accepted(_destination(pacs.port, "OTHER"))


@pytest.mark.peers
@pytest.mark.parametrize("taken", [(), (SECONDARY_CAPTURE,), (SECONDARY_CAPTURE, ComprehensiveSRStorage)])
def test_dcmtk_limited_to_some_classes_says_so(sender, evidence, storescp_taking, taken):
    """DCMTK's storescp with a profile: what it says that it takes it takes, and refuses the rest."""
    with storescp_taking(*taken) as port:
        destination = _destination(port, "STORESCP")
        assert sender.accepted(destination) == frozenset(taken)
        results = sender.store(destination, [evidence(sop_class) for sop_class in NAMES])
    refused = {result.delivery.sop_class_uid for result in results if type(result.error) is ClassNotAccepted}
    assert refused == NAMES.keys() - set(taken)
    assert {result.delivery.sop_class_uid for result in results if result.error is None} == set(taken)


@pytest.mark.peers
def test_dcmtk_that_takes_implicit_only_is_asked_in_that(sender, storescp):
    """The transfer syntax that is told is the one in which objects will go."""
    with storescp("+xi") as port:
        assert set(sender.negotiated(_destination(port, "STORESCP")).values()) == {ImplicitVRLittleEndian}


@pytest.mark.peers
def test_orthanc_takes_every_class_that_the_node_writes(sender, orthanc, evidence):
    """It says so when it is asked, and stores one of each."""
    destination = _destination(orthanc.port)
    assert sender.negotiated(destination) == dict.fromkeys(NAMES, ExplicitVRLittleEndian)
    made = [evidence(sop_class) for sop_class in NAMES]
    assert [result.error for result in sender.store(destination, made)] == [None] * len(NAMES)
    assert len(orthanc.instances()) == len(NAMES)


@pytest.mark.peers
def test_implicit_only_peer_gets_the_same_attributes_encoded_anew(sender, evidence, storescp, tmp_path):
    """DCMTK's storescp that takes implicit VR only: the object arrives re-encoded, equal in content."""
    delivery, path = evidence()
    with storescp("+xi") as port:
        assert sender.store(_destination(port, "STORESCP"), [(delivery, path)])[0].error is None
    [arrived] = (tmp_path / "scp").iterdir()
    arrived = pydicom.dcmread(arrived)
    assert arrived.file_meta.TransferSyntaxUID == ImplicitVRLittleEndian
    assert arrived == pydicom.dcmread(path)


@pytest.mark.peers
@pytest.mark.parametrize("flag", ["--abort-during", "--abort-after", "--refuse"])
def test_dcmtk_that_misbehaves_is_retried_later(sender, evidence, storescp, flag):
    """DCMTK's own bad manners, each a result and not an exception."""
    made = [evidence(), evidence()]
    with storescp(flag) as port:
        results = sender.store(_destination(port, "STORESCP"), made)
    assert all(isinstance(result.error, AssociationLost | NeedsOperator) for result in results)


@pytest.mark.peers
def test_dcmtk_that_sleeps_is_left(sender, evidence, storescp):
    """DCMTK's storescp asleep in mid-object ends after the answer's time."""
    with storescp("--sleep-during", "3") as port:
        began = time.monotonic()
        [result] = sender.store(_destination(port, "STORESCP"), [evidence()])
        assert time.monotonic() - began < 3
    assert type(result.error) is AssociationLost


def test_unreadable_object_is_one_result(sender, evidence, tmp_path):
    """A kept file that is gone or no DICOM is for the operator, and the next object is sent."""
    gone, broken, sound = evidence(), evidence(), evidence()
    gone[1].unlink()
    broken[1].write_bytes(b"no DICOM")
    with start_pacs() as pacs:
        results = sender.store(pacs.destination(), [gone, broken, sound])
    assert [type(result.error) for result in results] == [NeedsOperator, NeedsOperator, type(None)]


def test_one_destination_takes_calls_in_turn(sender, evidence):
    """Eight threads with one destination: every object arrives once, on one association at a time."""
    made = [evidence() for _ in range(24)]
    with start_pacs() as pacs, ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda one: sender.store(pacs.destination(), [one])[0], made))
        assert [result.error for result in results] == [None] * 24
        assert Counter(pacs.received) == Counter(delivery.sop_instance_uid for delivery, _ in made)


@pytest.mark.parametrize("on", ["new", "same"])
def test_commitment_is_reported(sender, reports, evidence, tmp_path, on):
    """What the PACS keeps is reported committed, what it lost failed with 0x0112: on a new association to the
    listener and on the sender's own alike."""
    kept, lost = evidence(), evidence(ComprehensiveSRStorage)
    transaction = generate_uid()
    with open_door(tmp_path / "node") as door, start_pacs() as pacs:
        pacs.knows(door.port, NODE)
        pacs.behave_on_commitment(on=on)
        sender.store(pacs.destination(), [kept, lost])
        pacs.forget(lost[0].sop_instance_uid)
        assert sender.ask_commitment(pacs.destination(), transaction, [kept[0], lost[0]]) is True
        if on == "new":
            door.wait_for(lambda: door.reports)
        [report] = door.reports or reports.wait()
        pacs.wait_for(lambda: pacs.report_answers == ((transaction, 0x0000),))
    assert report.transaction_uid == transaction
    assert report.committed == (kept[0].sop_instance_uid,)
    assert report.failed == {lost[0].sop_instance_uid: 0x0112}


def test_sender_goes_on_while_reports_come_on_its_association(sender, reports, evidence):
    """Storing and asking many times while reports come on the same association neither hangs nor loses one."""
    with start_pacs() as pacs:
        pacs.behave_on_commitment(on="same")
        for count in range(1, 16):
            delivery, path = evidence()
            assert sender.store(pacs.destination(), [(delivery, path)])[0].error is None
            assert sender.ask_commitment(pacs.destination(), generate_uid(), [delivery])
            reports.wait(count)
            pacs.wait_for(lambda count=count: len(pacs.report_answers) == count)


def test_unknown_transaction_is_not_acknowledged(evidence, tmp_path):
    """A report that nobody asked for gets an error status, and one that fails inside a processing failure."""
    delivery, path = evidence()
    answers = iter([False, KeyError("SENTINEL")])

    def report(_):
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    with open_door(tmp_path / "node") as door, start_pacs() as pacs:
        door.report = report
        pacs.knows(door.port, NODE)
        pacs.behave_on_commitment(reports=2)
        sender = Sender(ae_title=NODE, report=report)
        sender.store(pacs.destination(), [(delivery, path)])
        sender.ask_commitment(pacs.destination(), generate_uid(), [delivery])
        pacs.wait_for(lambda: len(pacs.report_answers) == 2)
        assert [answer for _, answer in pacs.report_answers] == [0x0115, 0x0110]
        sender.close()


def test_destination_without_commitment_is_told_apart(sender, evidence):
    """No context for it, or N-ACTION refused as unknown: False. A failure of the moment: Retryable."""
    delivery, path = evidence()
    with start_pacs(commits=False) as pacs:
        sender.store(pacs.destination(), [(delivery, path)])
        assert sender.ask_commitment(pacs.destination(), generate_uid(), [delivery]) is False
    with start_pacs() as pacs:
        pacs.behave_on_commitment(refuse=0x0211)
        assert sender.ask_commitment(pacs.destination(), generate_uid(), [delivery]) is False
        pacs.behave_on_commitment(refuse=0x0110)
        with pytest.raises(Retryable):
            sender.ask_commitment(pacs.destination(), generate_uid(), [delivery])
        pacs.behave_on_commitment(refuse=0x0124)
        with pytest.raises(NeedsOperator):
            sender.ask_commitment(pacs.destination(), generate_uid(), [delivery])


def test_sender_can_be_used_again_after_close(sender, evidence):
    """Closing releases associations; it does not end the sender."""
    with start_pacs() as pacs:
        sender.echo(pacs.destination())
        sender.close()
        sender.echo(pacs.destination())


def test_no_thread_is_left_behind(evidence):
    """After close nothing of the sender runs any more."""
    before = set(threading.enumerate())
    with start_pacs() as pacs:
        sender = Sender(ae_title=NODE, report=lambda _: True)
        sender.store(pacs.destination(), [evidence()])
        sender.close()
    deadline = time.monotonic() + 5
    for thread in set(threading.enumerate()) - before:
        thread.join(max(0, deadline - time.monotonic()))
        assert not thread.is_alive(), thread.name


@pytest.mark.peers
def test_orthanc_takes_evidence_and_commits(sender, reports, orthanc, radiograph, evidence, tmp_path):
    """Orthanc stores SEG and SR, and reports on a new association to the listener: what it holds as committed, what
    it never got as failed with 0x0112."""
    made = [evidence(), evidence(ComprehensiveSRStorage), evidence(Comprehensive3DSRStorage)]
    never, transaction = evidence()[0], generate_uid()
    destination = _destination(orthanc.port)
    with open_door(tmp_path / "node") as door:
        orthanc.knows(NODE, door.port)
        sender.echo(destination)
        assert [result.error for result in sender.store(destination, made)] == [None] * 3
        assert sender.ask_commitment(destination, transaction, [delivery for delivery, _ in made] + [never])
        door.wait_for(lambda: door.reports)
    [report] = door.reports
    uids = [delivery.sop_instance_uid for delivery, _ in made]
    assert report.transaction_uid == transaction
    assert sorted(report.committed) == sorted(uids)
    assert report.failed == {never.sop_instance_uid: 0x0112}
    assert sorted(orthanc.instances()) == sorted(uids)


@pytest.mark.peers
def test_orthanc_takes_the_same_object_twice(sender, orthanc, evidence):
    """Sending again is harmless: Orthanc, told not to overwrite, answers Success and holds one."""
    one = evidence()
    for _ in range(2):
        assert sender.store(_destination(orthanc.port), [one])[0].error is None
    assert list(orthanc.instances()) == [one[0].sop_instance_uid]


@pytest.mark.peers
def test_orthanc_that_does_not_know_us_does_not_commit(sender, orthanc, evidence):
    """Orthanc aborts an N-ACTION of an AE it has no entry for: an error with a hint, and the next call works."""
    one = evidence()
    destination = _destination(orthanc.port)
    with pytest.raises(AssociationLost) as caught:
        sender.ask_commitment(destination, generate_uid(), [one[0]])
    assert "does not commit" in caught.value.hint
    assert sender.store(destination, [one])[0].error is None
