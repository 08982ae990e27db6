"""The door where something fails in the house itself: others still come in, nobody who should not, nothing stays."""

from __future__ import annotations

import errno
import socket
import struct
import threading
from pathlib import Path
from typing import Any

import pytest
from pynetdicom.association import Association

from cxrnode.dimse import acceptor, listener
from cxrnode.dimse.contexts import MAXIMUM_PDU
from cxrnode.dimse.listener import Door
from tests.authority import Authority
from tests.fakes.door import NODE, OpenDoor, open_door
from tests.faults.strangers import ACCEPTED, Stranger
from tests.fuzz import wire
from tests.waiting import wait_for

SOON = 10.0


def _told(caplog: pytest.LogCaptureFixture, event: str) -> list[dict[str, Any]]:
    return [record.__dict__["fields"] for record in caplog.records if record.message == event]


def test_error_while_a_connection_is_accepted_closes_the_door_to_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The one thread that accepts outlives what nobody foresaw, and tells it."""
    failures = iter([OSError("SENTINEL")])

    def tune(*_: object) -> None:
        for failure in failures:
            raise failure

    monkeypatch.setattr(acceptor, "tune", tune)
    with open_door(tmp_path / "node") as door:
        with Stranger(door.port) as first:
            assert not first.goes_on()
        with Stranger(door.port) as second:
            assert second.associate() == ACCEPTED
    [told] = _told(caplog, "unexpected")
    assert (told["operation"], told["error"]) == ("accept", "OSError")
    assert "SENTINEL" not in caplog.text


def test_door_without_handles_is_told_once_and_lets_in_who_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """No handle is left for a while: that is one line, not one a try, and who waits in the queue is served then."""
    accept, tries = acceptor.Acceptor.get_request, iter(range(4))

    def get_request(server: Any) -> Any:
        for _ in tries:
            raise OSError(errno.EMFILE, "SENTINEL")
        return accept(server)

    monkeypatch.setattr(acceptor.Acceptor, "get_request", get_request)
    with open_door(tmp_path / "node") as door, Stranger(door.port) as stranger:
        assert stranger.associate() == ACCEPTED
        told = _told(caplog, "association_refused")
    assert [(each["reason"], each["error"]) for each in told] == [("the system gave no connection", "OSError 24")]
    assert next(tries, None) is None


def test_check_that_fails_lets_nobody_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where it cannot be found out who it is, the association is rejected, and told as that."""
    monkeypatch.setattr(listener, "names_of", lambda _: 1 // 0)
    with open_door(tmp_path / "node", certificate_names={"MODALITY": "ct.example"}) as door:
        with Stranger(door.port) as stranger:
            assert stranger.rejected() == (1, 1, 1)
        assert not door.opened
    [told] = _told(caplog, "association_refused")
    assert told["reason"] == "who it is could not be checked"


def test_association_whose_thread_fails_leaves_no_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its end is told with where it failed, and the thread that read its connection ends with it."""
    monkeypatch.setattr(Association, "_run_reactor", lambda _: 1 // 0)
    with open_door(tmp_path / "node") as door:
        before = threading.active_count()
        with Stranger(door.port) as stranger:
            stranger.associate()
            door.wait_for(lambda: door.ended)
            wait_for(lambda: threading.active_count() <= before, SOON)
    [told] = _told(caplog, "association_ended")
    assert told["reason"].startswith("the peer broke the protocol (ZeroDivisionError at ")


def test_nothing_is_begun_after_an_association_has_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An object whose first bytes were read in the instant in which its association ended leaves no file."""
    reading, ended = threading.Event(), threading.Event()
    begin = acceptor.SpoolingProvider._receive

    def receive(provider: Any, primitive: Any) -> None:
        reading.set()
        ended.wait(SOON)
        begin(provider, primitive)

    def run(_: object) -> None:
        reading.wait(SOON)
        threading.Timer(0.3, ended.set).start()

    monkeypatch.setattr(acceptor.SpoolingProvider, "_receive", receive)
    monkeypatch.setattr(Association, "_run_reactor", run)
    with open_door(tmp_path / "node") as door:
        with Stranger(door.port) as stranger:
            assert stranger.associate() == ACCEPTED
            stranger.say(wire.p_data(wire.fragment(1, 3, wire.command(wire.store_fields("1.2.3")))))
            door.wait_for(lambda: door.ended)
        assert ended.is_set()
        assert not list(door.incoming.iterdir())


def test_connection_that_begins_as_the_door_closes_does_not_keep_it_open(tmp_path: Path) -> None:
    """The door sees it among those that have no thread, and then it has one."""

    class Arriving(dict[Any, Any]):
        def items(self) -> Any:
            return [(connection, None)]

    behind = OpenDoor(tmp_path / "node")
    opened = behind.listener(Door(ae_title=NODE, port=0))
    opened.start()
    with socket.socket() as connection:
        accepting: Any = opened._server._acceptor
        accepting.arrived = Arriving()
        opened.stop()
        assert connection.fileno() >= 0
    opened.start()
    with Stranger(opened.port) as stranger:
        assert stranger.associate() == ACCEPTED
    opened.stop()


def _padded(size: int) -> bytes:
    """An association request of this size: the same context over and over."""
    request = wire.associate()
    start, context = request[6:], wire.context(1, "1.2.840.10008.1.1", ["1.2.840.10008.1.2"])
    body = start + context * ((size - len(start)) // len(context))
    return request[:2] + struct.pack(">L", len(body)) + body


@pytest.mark.parametrize(("size", "is_read"), [(MAXIMUM_PDU - 100, True), (MAXIMUM_PDU + 100, False)])
def test_association_request_is_read_up_to_the_size_of_any(
    tmp_path: Path, size: int, is_read: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever may not come in may still ask: what is longer than any request is not read, and a connection ends."""
    with open_door(tmp_path / "node", networks=("10.0.0.0/8",)) as door, Stranger(door.port) as stranger:
        stranger.say(_padded(size))
        assert stranger.hear()[0] == (3 if is_read else 0)
        wait_for(lambda: _told(caplog, "association_refused"), SOON)
    [told] = _told(caplog, "association_refused")
    assert told["reason"] == ("the address is not on the list" if is_read else "what came was no association request")


def test_flood_of_failed_handshakes_is_heard_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection on which TLS fails counts as refused, as a rejected association does."""
    counted: list[str] = []
    monkeypatch.setattr("cxrnode.dimse.admission.Places.refused", lambda _, address: counted.append(address))
    tls = Authority(tmp_path / "pki").tls("node")
    with open_door(tmp_path / "node", tls=tls) as door:
        for _ in range(3):
            with Stranger(door.port) as plain:
                plain.say(wire.associate())
                assert not plain.goes_on()
        wait_for(lambda: len(counted) == 3, SOON)
