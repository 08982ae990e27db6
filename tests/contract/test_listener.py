"""The listener, as modalities and archives meet it."""

from __future__ import annotations

import select
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import generate_uid

from cxrnode.dimse.contexts import TRANSFER_SYNTAXES
from cxrnode.dimse.listener import Door
from cxrnode.dimse.server import Limits
from cxrnode.dimse.spool import Part
from cxrnode.errors import NeedsOperator, OutOfSpace, Refused, Retryable
from cxrnode.phantom import Patient
from cxrnode.testing import hold_open, send
from tests import peers
from tests.fakes.door import NODE, OpenDoor, data_set_of, open_door
from tests.faults.strangers import Stranger
from tests.fuzz import wire
from tests.waiting import wait_for

LOSSY_OF_8_BITS = {"1.2.840.10008.1.2.4.50"}
DCMTK_DOES_NOT_OFFER = "1.2.840.10008.1.2.4.57"


def _specification(syntax):
    return {"transfer_syntax": syntax, "bits_stored": 8 if syntax in LOSSY_OF_8_BITS else 12}


@pytest.mark.parametrize("syntax", TRANSFER_SYNTAXES)
def test_data_set_is_kept_byte_for_byte_in_every_transfer_syntax(tmp_path, radiograph, syntax):
    """What is handed over holds the sender's data set unchanged, and names its transfer syntax."""
    path, phantom = radiograph(**_specification(syntax))
    with open_door(tmp_path / "node") as door:
        assert send([path], door.address) == [0x0000]
    [arrival] = door.arrivals
    assert arrival.transfer_syntax_uid == syntax
    assert arrival.sop_instance_uid == phantom.dataset.SOPInstanceUID
    assert data_set_of(door.path(arrival.sop_instance_uid)) == data_set_of(path)
    kept = pydicom.dcmread(door.path(arrival.sop_instance_uid), stop_before_pixels=True)
    assert kept.file_meta.TransferSyntaxUID == syntax


@pytest.mark.peers
@pytest.mark.parametrize("syntax", [syntax for syntax in TRANSFER_SYNTAXES if syntax != DCMTK_DOES_NOT_OFFER])
def test_dcmsend_is_kept_byte_for_byte_in_every_transfer_syntax(tmp_path, radiograph, needs, syntax):
    """DCMTK's data set arrives as DCMTK read it: its own storescp, told to preserve bits, writes the same."""
    needs("dcmsend", "storescp")
    path, phantom = radiograph(**_specification(syntax))
    uid = phantom.dataset.SOPInstanceUID
    with peers.start_storescp(tmp_path / "scp") as port:
        peers.run("dcmsend", "-dn", "-aec", "STORESCP", "127.0.0.1", port, path)
    [reference] = (tmp_path / "scp").iterdir()
    with open_door(tmp_path / "node") as door:
        peers.run("dcmsend", "-dn", "-aec", NODE, "127.0.0.1", door.port, path)
    # DCMTK sends an uncompressed object in the uncompressed syntax it likes best.
    assert door.arrivals[0].transfer_syntax_uid == pydicom.dcmread(reference).file_meta.TransferSyntaxUID
    assert data_set_of(door.path(uid)) == data_set_of(reference)


@pytest.mark.peers
def test_storescu_pushes_on_one_association(tmp_path, radiograph, needs):
    """Three objects of one DCMTK association have its AE titles, its address and its number."""
    needs("storescu")
    paths = [radiograph(seed=seed)[0] for seed in (1, 2, 3)]
    with open_door(tmp_path / "node") as door:
        peers.run("storescu", "-aet", "DX1", "-aec", NODE, "127.0.0.1", door.port, *paths)
        door.wait_for(lambda: door.ended)
    [sender] = door.opened
    assert (sender.calling_ae, sender.called_ae, sender.address) == ("DX1", NODE, "127.0.0.1")
    assert [arrival.sender for arrival in door.arrivals] == [sender] * 3
    assert door.ended == [sender.association]


@pytest.mark.peers
def test_echo_is_answered(tmp_path, needs):
    """DCMTK's echoscu gets Success."""
    needs("echoscu")
    with open_door(tmp_path / "node") as door:
        peers.run("echoscu", "-aec", NODE, "127.0.0.1", door.port)


@pytest.mark.parametrize(("priority", "urgent"), [(0, 0), (1, 1), (2, 0)], ids=["medium", "high", "low"])
def test_what_a_sender_calls_urgent_arrives_as_urgent(tmp_path, radiograph, priority, urgent):
    """The C-STORE's Priority is part of the arrival: 1 where it is HIGH."""
    path, _ = radiograph()
    with open_door(tmp_path / "node") as door:
        with hold_open([path], door.address) as push:
            assert push._association.send_c_store(path, priority=priority).Status == 0
        assert [arrival.priority for arrival in door.arrivals] == [urgent]


def test_response_waits_for_receive(tmp_path, radiograph):
    """No answer goes out before `receive` has returned: the law to acknowledge after durable."""
    path, _ = radiograph()
    may_return, answered = threading.Event(), threading.Event()
    with open_door(tmp_path / "node") as door, ThreadPoolExecutor() as pool:
        door.receive = lambda arrival: door.keep(arrival) if may_return.wait(10) else 0xC000
        pushed = pool.submit(send, [path], door.address)
        pushed.add_done_callback(lambda _: answered.set())
        door.wait_for(lambda: door.arrivals)
        assert not answered.wait(0.2)
        may_return.set()
        assert pushed.result(10) == [0x0000]


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (Refused("does not match", status=0xA900), 0xA900),
        (OutOfSpace(), 0xA700),
        (Retryable("database is locked"), 0xA700),
        (OSError(5, "SENTINEL^PATIENT"), 0xA700),
        (KeyError("SENTINEL^PATIENT"), 0xC001),
    ],
)
def test_failure_of_receive_is_the_sender_s_status(tmp_path, radiograph, caplog, failure, status):
    """Whatever `receive` raises becomes a status, the file is removed, the next object is taken, and no text of a
    foreign error is logged."""
    path, _ = radiograph()
    other, _ = radiograph(seed=2)
    caplog.set_level("DEBUG")
    with open_door(tmp_path / "node") as door:

        def refuse(arrival):
            door.receive = door.keep
            raise failure

        door.receive = refuse
        assert send([path, other], door.address) == [status, 0x0000]
        assert not list(door.incoming.iterdir())
    assert "SENTINEL" not in caplog.text


def test_full_disk_is_told_before_a_byte_is_written(tmp_path, radiograph):
    """A disk under its floor: the association stands, C-STORE gets 0xA700, nothing is written or handed over."""
    path, _ = radiograph()
    with open_door(tmp_path / "node") as door:

        def full():
            raise OutOfSpace

        door.admit = full
        assert send([path, path], door.address) == [0xA700, 0xA700]
        assert not list(door.incoming.iterdir())
        door.admit = lambda: None
        assert send([path], door.address) == [0x0000]
    assert len(door.arrivals) == 1


def test_disk_that_fills_in_mid_object_is_told(tmp_path, radiograph, monkeypatch):
    """ENOSPC in the midst of a data set ends in 0xA700 for this object, and the association goes on."""
    path, _ = radiograph(rows=1024, cols=1024)
    written = []

    def flush(part, original=Part.flush):
        written.append(part)
        if len(written) == 3:
            part._or_let_go(lambda: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        original(part)

    monkeypatch.setattr(Part, "flush", flush)
    with open_door(tmp_path / "node") as door:
        assert send([path, path], door.address) == [0xA700, 0x0000]
        assert not list(door.incoming.iterdir())
    assert len(door.arrivals) == 1


def test_missing_incoming_folder_is_told(tmp_path, radiograph):
    """A folder that cannot be written to is an answer to the sender, not an abort."""
    path, _ = radiograph()
    with open_door(tmp_path / "node") as door:
        door.incoming.rmdir()
        assert send([path], door.address) == [0xA700]


@pytest.mark.parametrize(
    ("door_keys", "called", "calling"),
    [
        ({}, "OTHER", "MODALITY"),
        ({"calling_ae_titles": ("DX1", "DX2")}, NODE, "MODALITY"),
        ({"networks": ("10.0.0.0/8", "fe80::/10")}, NODE, "MODALITY"),
    ],
    ids=["called", "calling", "address"],
)
def test_stranger_is_rejected_at_the_door(tmp_path, radiograph, caplog, door_keys, called, calling):
    """A wrong called AE title, an unlisted calling AE title and an unlisted address are rejected and logged."""
    path, _ = radiograph()
    caplog.set_level("WARNING", "cxrnode")
    with open_door(tmp_path / "node", **door_keys) as door:
        with pytest.raises(NeedsOperator):
            send([path], ("127.0.0.1", door.port, called), calling=calling)
        assert not door.opened
        assert not door.ended
    [record] = [r for r in caplog.records if r.getMessage() == "association_refused"]
    assert record.fields["calling_ae"] == calling
    assert record.fields["called_ae"] == called
    assert record.fields["address"] == "127.0.0.1"


def test_listed_caller_comes_in(tmp_path, radiograph):
    """With both lists set, whoever is on both is served."""
    path, _ = radiograph()
    lists = {"calling_ae_titles": ("DX1",), "networks": ("10.0.0.0/8", "127.0.0.0/8")}
    with open_door(tmp_path / "node", **lists) as door:
        assert send([path], door.address, calling="DX1") == [0x0000]


@pytest.mark.peers
def test_dcmtk_is_told_why_it_is_rejected(tmp_path, needs):
    """DCMTK reads our rejection as the called AE title's."""
    needs("echoscu")
    with open_door(tmp_path / "node") as door:
        done = peers.run("echoscu", "-aec", "OTHER", "127.0.0.1", door.port, check=False)
    assert "Called AE Title Not Recognized" in done.stdout + done.stderr


def test_eight_associations_at_once_lose_nothing(tmp_path, radiograph):
    """Eight senders with five objects each, at once: forty objects, each byte for byte, eight associations ended."""
    made = [radiograph(seed=seed, rows=256, cols=256) for seed in range(1, 41)]
    with open_door(tmp_path / "node") as door, ThreadPoolExecutor(8) as pool:
        batches = [[path for path, _ in made[start : start + 5]] for start in range(0, 40, 5)]
        answers = list(pool.map(lambda batch: send(batch, door.address), batches))
        door.wait_for(lambda: len(door.ended) == 8)
    assert answers == [[0x0000] * 5] * 8
    assert len({arrival.sender.association for arrival in door.arrivals}) == 8
    for path, phantom in made:
        assert data_set_of(door.path(phantom.dataset.SOPInstanceUID)) == data_set_of(path)


def test_association_over_the_limit_is_rejected(tmp_path, radiograph):
    """With two associations open and two allowed the third is turned away for now, and comes in later."""
    path, _ = radiograph()
    with open_door(tmp_path / "node", limits=Limits(associations=2)) as door:
        with hold_open([path], door.address), hold_open([path], door.address), pytest.raises(Retryable):
            hold_open([path], door.address)
        door.wait_for(lambda: len(door.ended) == 2)
        assert send([path], door.address) == [0x0000]


def test_address_over_its_share_is_rejected(tmp_path, radiograph, caplog):
    """Where an address has its share of the places, its next association is turned away for now, and that is told."""
    path, _ = radiograph()
    with open_door(tmp_path / "node", limits=Limits(associations=9, per_address=1)) as door:
        with hold_open([path], door.address), pytest.raises(Retryable):
            hold_open([path], door.address)
        door.wait_for(lambda: len(door.ended) == 1)
        assert send([path], door.address) == [0x0000]
    [told] = [r.fields for r in caplog.records if r.getMessage() == "association_refused"]
    assert told["reason"] == "too many associations from this address"


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"largest_object_bytes": 20_000}, "the object is larger than 0.02 MB"),
        ({"in_flight_bytes": 20_000}, "too many bytes are under way at once"),
    ],
)
def test_object_for_which_there_is_no_room_is_refused_in_its_midst(tmp_path, radiograph, caplog, limits, reason):
    """It gets 0xA700 at its end, nothing of it stays, and a smaller one comes in on the same association."""
    path, _ = radiograph(rows=256, cols=256)
    small, _ = radiograph(rows=64, cols=64)
    with open_door(tmp_path / "node", limits=Limits(**limits)) as door:
        assert send([path, small], door.address) == [0xA700, 0x0000]
        assert not list(door.incoming.iterdir())
    assert len(door.arrivals) == 1
    [told] = [r.fields for r in caplog.records if r.getMessage() == "instance_refused"]
    assert (told["reason"], told["status"], "listener." in told["hint"]) == (reason, "0xA700", True)


def test_disk_that_fills_in_the_midst_of_a_large_object_is_seen(tmp_path, radiograph, monkeypatch):
    """The floor of free space holds in the midst of an object, too: it is looked at again as the object grows."""
    monkeypatch.setattr("cxrnode.dimse.spool._LOOK_AGAIN_BYTES", 100_000)
    path, _ = radiograph(rows=512, cols=512)
    asked = []

    def fills():
        asked.append(1)
        if len(asked) == 2:
            raise OutOfSpace

    with open_door(tmp_path / "node") as door:
        door.admit = fills
        assert send([path], door.address) == [0xA700]
        assert not list(door.incoming.iterdir())


def test_end_of_an_association_is_told_with_its_reason(tmp_path, radiograph, caplog):
    """Released, aborted, and silent for too long: the log says which, and the last as a warning."""
    caplog.set_level("INFO", "cxrnode")
    path, _ = radiograph()
    with open_door(tmp_path / "patient") as door:
        assert send([path], door.address) == [0x0000]
        push = hold_open([path], door.address)
        push.abort()
        door.wait_for(lambda: len(door.ended) == 2)
    with open_door(tmp_path / "hasty", limits=Limits(idle_seconds=0.3)) as door:
        hold_open([path], door.address)
        door.wait_for(lambda: door.ended)
    told = [(r.fields["reason"], r.levelname) for r in caplog.records if r.getMessage() == "association_ended"]
    assert told == [("released", "INFO"), ("aborted by the peer", "WARNING"), ("silent for 0.3 s", "WARNING")]


def test_aborted_association_ends_once_and_leaves_nothing(tmp_path, radiograph):
    """A sender that aborts after its object: what was answered stays, the end is told exactly once."""
    path, _ = radiograph()
    with open_door(tmp_path / "node") as door:
        push = hold_open([path], door.address)
        assert push.store(path) == 0x0000
        push.abort()
        door.wait_for(lambda: door.ended)
        assert door.ended == [door.opened[0].association]
        assert not list(door.incoming.iterdir())
    assert door.ended == [door.opened[0].association]


def test_sender_that_dies_in_mid_object_leaves_no_file(tmp_path, radiograph):
    """A connection cut in the midst of a data set: no arrival, no file left, the end told once."""
    path, _ = radiograph(rows=1024, cols=1024)
    with open_door(tmp_path / "node") as door, Relay(door.port, cut_after=300_000) as port:
        assert send([path], ("127.0.0.1", port, NODE)) == [-1]
        door.wait_for(lambda: door.ended)
        assert not list(door.incoming.iterdir())
    assert not door.arrivals
    assert len(door.ended) == 1


def test_sender_that_stalls_in_mid_object_is_let_go(tmp_path, radiograph):
    """A sender silent in the midst of a PDU does not hold its thread or its file longer than the idle limit."""
    path, _ = radiograph(rows=1024, cols=1024)
    limits = Limits(idle_seconds=0.5)
    with open_door(tmp_path / "node", limits=limits) as door, Relay(door.port, stall_after=300_000) as port:
        push = hold_open([path], ("127.0.0.1", port, NODE), answer_seconds=5)
        began = time.monotonic()
        assert push.store(path) == -1
        door.wait_for(lambda: door.ended)
        assert time.monotonic() - began < 5
        assert not list(door.incoming.iterdir())


def test_connection_without_an_association_request_is_closed(tmp_path):
    """A port scanner that says nothing is closed after the negotiation limit."""
    with (
        open_door(tmp_path / "node", limits=Limits(negotiation_seconds=0.3)) as door,
        socket.create_connection(("127.0.0.1", door.port), timeout=5) as silent,
    ):
        assert silent.recv(1) == b""
        assert not door.opened


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.0\r\n\r\n", b"\x01\x00\x00\x00\x10\x00cut off"])
def test_connection_that_closes_without_a_request_frees_its_place_at_once(tmp_path, radiograph, said):
    """Health checks by TCP, as load balancers make them every second, do not use up the places of real senders."""
    path, _ = radiograph()
    with open_door(tmp_path / "node", limits=Limits(associations=2, negotiation_seconds=60)) as door:
        for _ in range(5):
            with socket.create_connection(("127.0.0.1", door.port), timeout=5) as check:
                check.sendall(said)
        wait_for(lambda: _is_let_in(path, door), 10)


def _is_let_in(path: Path, door: OpenDoor) -> bool:
    try:
        return send([path], door.address) == [0x0000]
    except Retryable:
        return False


def test_garbage_is_no_association(tmp_path):
    """Bytes that are no DICOM end the connection, and the listener goes on."""
    with open_door(tmp_path / "node") as door:
        with socket.create_connection(("127.0.0.1", door.port), timeout=5) as noise:
            noise.sendall(b"GET / HTTP/1.0\r\n\r\n")
            while noise.recv(4096):
                pass
        assert not door.opened


def test_stop_ends_open_associations_at_once(tmp_path, radiograph):
    """Stopping without grace aborts who is still there, tells their end, and frees the port."""
    path, _ = radiograph()
    began = time.monotonic()
    with open_door(tmp_path / "node") as door:
        push = hold_open([path], door.address)
        assert push.store(path) == 0x0000
    assert len(door.ended) == 1
    assert time.monotonic() - began < 5
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", door.port))


def test_port_in_use_is_for_the_operator(tmp_path):
    """Two listeners on one port: the second says so, with the address."""
    with open_door(tmp_path / "one") as door:
        with pytest.raises(NeedsOperator) as caught, open_door(tmp_path / "two", port=door.port):
            pass
        assert caught.value.subject == f"127.0.0.1:{door.port}"


def test_class_not_configured_is_not_accepted(tmp_path, radiograph):
    """A CT sent to a listener for radiographs gets no presentation context; when configured, it is taken."""
    path, _ = radiograph()
    dataset = pydicom.dcmread(path)
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
    ct: Path = tmp_path / "ct.dcm"
    dataset.save_as(ct)
    with open_door(tmp_path / "node") as door:
        assert send([ct, path], door.address) == [0x0122, 0x0000]
    with open_door(tmp_path / "other", storage_classes=(pydicom.uid.CTImageStorage,)) as door:
        assert send([ct], door.address) == [0x0000]


def test_node_commits_to_nothing(tmp_path):
    """A modality that asks the node for storage commitment is refused: the node is no archive."""
    from cxrnode.dimse.sender import Sender
    from cxrnode.domain.delivery import Delivery, Destination

    with open_door(tmp_path / "node") as door:
        modality = Sender(ae_title="MODALITY", report=lambda _: True)
        node = Destination(name="node", ae_title=NODE, host="127.0.0.1", port=door.port)
        delivery = Delivery(
            row=1, destination="node", sop_class_uid="1.2", sop_instance_uid=generate_uid(), key="", attempt=1
        )
        assert modality.ask_commitment(node, generate_uid(), [delivery]) is False
        modality.close()


def test_flood_of_reports_makes_no_threads(tmp_path):
    """Reports that come while one is being taken are served after it, in the association's own thread."""
    may_return, flood = threading.Event(), 40
    fields = {0x0002: wire.COMMITMENT, 0x0100: wire.N_EVENT_REPORT, 0x0110: 1, 0x0800: 1, 0x1000: "1.2", 0x1002: 1}
    transaction = b"\x08\x00\x95\x11\x04\x00\x00\x001.2\x00"
    report = wire.p_data(wire.fragment(5, 3, wire.command(fields)), wire.fragment(5, 2, transaction))
    with open_door(tmp_path / "node") as door, Stranger(door.port) as archive:
        door.report = lambda _: may_return.wait(10)
        archive.associate()
        before = threading.active_count()
        archive.say(report * flood)
        archive.say(wire.ECHO)
        wait_for(lambda: not select.select([archive._wire], [], [], 0.5)[0], 10)
        most = threading.active_count()
        may_return.set()
        assert [archive.status() for _ in range(flood)] == [0] * flood
        assert len(door.reports) == flood
    assert most <= before + 2


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Relay:
    """A wire to the listener that is cut, or goes silent, after so many bytes from the sender."""

    def __init__(self, port: int, *, cut_after: int = 0, stall_after: int = 0) -> None:
        self._to, self._cut, self._limit = port, bool(cut_after), cut_after or stall_after
        self._server = socket.create_server(("127.0.0.1", 0))
        self._wires: list[socket.socket] = []

    def __enter__(self) -> int:
        threading.Thread(target=self._carry, daemon=True).start()
        return self._server.getsockname()[1]

    def __exit__(self, *_: object) -> None:
        for end in (self._server, *self._wires):
            end.close()

    def _carry(self) -> None:
        near, _ = self._server.accept()
        far = socket.create_connection(("127.0.0.1", self._to))
        self._wires += [near, far]
        threading.Thread(target=_copy, args=(far, near), daemon=True).start()
        _copy(near, far, self._limit)
        if self._cut:
            # Not close: the other direction still waits on these sockets, which keeps them open.
            far.shutdown(socket.SHUT_RDWR)
            near.shutdown(socket.SHUT_RDWR)


def _copy(source: socket.socket, target: socket.socket, limit: int = 1 << 60) -> None:
    passed = 0
    try:
        while passed < limit and (data := source.recv(min(65536, limit - passed))):
            target.sendall(data)
            passed += len(data)
        if passed < limit:
            target.shutdown(socket.SHUT_RDWR)
    except OSError:
        return


def test_pdu_of_gigabytes_is_not_read(tmp_path):
    """A peer that claims a PDU of 4 GB loses its connection before a byte of it is waited for."""
    with open_door(tmp_path / "node") as door, socket.create_connection(("127.0.0.1", door.port), timeout=5) as liar:
        liar.sendall(b"\x01\x00\xff\xff\xff\xff")
        assert liar.recv(1) == b""


def test_stop_lets_an_object_under_way_be_answered(tmp_path, radiograph):
    """With grace, an object that is being kept when the listener stops is answered Success."""
    path, _ = radiograph()
    may_return = threading.Event()
    door = OpenDoor(tmp_path / "node")
    door.receive = lambda arrival: door.keep(arrival) if may_return.wait(10) else 0xC000
    listener = door.listener(Door(ae_title=NODE, port=0))
    listener.start()
    with ThreadPoolExecutor() as pool:
        pushed = pool.submit(send, [path], ("127.0.0.1", listener.port, NODE))
        door.wait_for(lambda: door.arrivals)
        stopped = pool.submit(listener.stop, 10)
        while _answers(listener.port):
            assert not stopped.done()
        may_return.set()
        assert pushed.result(10) == [0x0000]
        stopped.result(10)
    assert door.path(door.arrivals[0].sop_instance_uid).exists()
    assert len(door.ended) == 1


def test_idle_association_does_not_delay_stop(tmp_path, radiograph):
    """Grace is for objects under way; an association on which nothing happens is aborted at once."""
    path, _ = radiograph()
    door = OpenDoor(tmp_path / "node")
    listener = door.listener(Door(ae_title=NODE, port=0))
    listener.start()
    hold_open([path], ("127.0.0.1", listener.port, NODE))
    began = time.monotonic()
    listener.stop(grace_seconds=10)
    assert time.monotonic() - began < 5
    assert len(door.ended) == 1


def test_no_patient_is_in_a_log_at_debug(tmp_path, radiograph, caplog):
    """Name, id and birth date planted in the object, first shown to be there, are in no record of any library."""
    patient = Patient(name="SENTINEL^NAME", patient_id="SENTINEL-ID", birth_date="19010203")
    path, _ = radiograph(patient=patient)
    assert all(word in path.read_bytes() for word in (b"SENTINEL^NAME", b"SENTINEL-ID", b"19010203"))
    caplog.set_level("DEBUG")
    with open_door(tmp_path / "node") as door:

        def fail(arrival):
            raise ValueError("SENTINEL^NAME")

        assert send([path], door.address) == [0x0000]
        door.receive = fail
        assert send([path], door.address) == [0xC001]
    assert caplog.records
    assert not [
        record for record in caplog.records if "SENTINEL" in str(record.__dict__) or "19010203" in record.getMessage()
    ]
