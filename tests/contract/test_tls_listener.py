"""TLS at the listener, in process: whom it lets in, what it says to whom it does not, and how soon."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from cxrnode.dimse.handshake import Handshakes, TlsFailed
from cxrnode.dimse.server import Limits
from cxrnode.dimse.tls import Tls
from cxrnode.errors import AssociationLost, NeedsOperator
from cxrnode.testing import hold_open, send, start_pacs
from tests.authority import Authority, self_signed, stranger
from tests.fakes.door import LOOPBACK, OpenDoor, open_door
from tests.waiting import wait_for

QUICK = 8.0
"""Seconds within which every failure has ended, on a busy machine too; most take some milliseconds."""
_SILENT_SECONDS = 0.5


@pytest.fixture
def hospital(tmp_path: Path) -> Authority:
    """The authority that both sides trust."""
    return Authority(tmp_path / "pki")


@pytest.fixture
def door(tmp_path: Path, hospital: Authority) -> Iterator[OpenDoor]:
    """A listener under TLS."""
    tls = hospital.tls("node", handshake_seconds=_SILENT_SECONDS)
    with open_door(tmp_path / "node", tls=tls) as opened:
        yield opened


def refusals(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Give the reasons of refused associations."""
    return [str(one.__dict__["fields"]["reason"]) for one in caplog.records if one.message == "association_refused"]


def raw(door: OpenDoor) -> socket.socket:
    """Connect, and nothing more."""
    return socket.create_connection((LOOPBACK, door.port), QUICK)


def ended(connection: socket.socket) -> bool:
    """Tell whether the other side closes within its time."""
    with contextlib.suppress(ConnectionResetError, ssl.SSLError):
        while connection.recv(4096):
            pass
    return True


def dial(door: OpenDoor, context: ssl.SSLContext) -> None:
    """Shake hands and wait for the first answer. SSLError where the listener does not want us."""
    with raw(door) as connection, context.wrap_socket(connection, server_hostname=LOOPBACK) as secured:
        secured.sendall(b"\x01\x00")
        secured.recv(1)


def test_film_comes_in_under_tls_and_the_sender_s_certificate_counts(door: OpenDoor, hospital: Authority, radiograph):
    """Both sides show a certificate of one authority: the data set arrives as ever."""
    path, phantom = radiograph(rows=700, cols=700)
    assert send([path], door.address, tls=hospital.tls("modality")) == [0]
    assert [arrival.sop_instance_uid for arrival in door.arrivals] == [phantom.dataset.SOPInstanceUID]


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("wrong authority", "of an authority that is not in tls.authorities"),
        ("expired", "the peer's certificate has expired"),
        ("not valid yet", "not valid yet: look at both machines' clocks"),
        ("distrusts us", "the peer does not trust our certificate"),
    ],
)
def test_a_wrong_certificate_is_refused_at_once_and_in_words(tmp_path, door, hospital, radiograph, caplog, kind, says):
    """Nothing comes in, both sides have ended within seconds, and the log says what to do; the next is served."""
    path, _ = radiograph()
    began = time.monotonic()
    with pytest.raises(AssociationLost, match="TLS with a peer fails"):
        send([path], door.address, tls=stranger(tmp_path, hospital, kind))
    wait_for(lambda: refusals(caplog), QUICK)
    assert time.monotonic() - began < QUICK
    assert says in refusals(caplog)[0]
    assert door.arrivals == [] and door.opened == []
    assert send([path], door.address, tls=hospital.tls("modality")) == [0]


def test_no_certificate_is_refused(door, hospital, caplog):
    """Mutual authentication: encryption alone lets nobody in."""
    context = ssl.create_default_context(cafile=str(hospital.file))
    with pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED"):
        dial(door, context)
    wait_for(lambda: refusals(caplog), QUICK)
    assert "the peer shows no certificate" in refusals(caplog)[0]


def test_no_certificate_is_taken_where_the_settings_ignore_it(tmp_path, hospital):
    """Encrypted and anybody's, because somebody wrote so."""
    context = ssl.create_default_context(cafile=str(hospital.file))
    with (
        open_door(tmp_path / "n", tls=hospital.tls("node", client_certificates=False)) as door,
        raw(door) as connection,
        context.wrap_socket(connection, server_hostname=LOOPBACK) as secured,
    ):
        assert secured.version() == "TLSv1.3"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1")
@pytest.mark.parametrize(
    ("version", "ciphers", "says"),
    [
        (ssl.TLSVersion.TLSv1_1, "DEFAULT:@SECLEVEL=0", "TLS 1.1 or older"),
        (ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES128-SHA256", "no cipher suite of the BCP 195 profile"),
    ],
)
def test_what_is_outside_the_profile_is_refused(door, hospital, caplog, version, ciphers, says):
    """Old versions and suites without authenticated encryption are not negotiated (PS3.15 B.12)."""
    context = ssl.create_default_context(cafile=str(hospital.file))
    context.set_ciphers(ciphers)
    context.minimum_version = context.maximum_version = version
    with pytest.raises(ssl.SSLError):
        dial(door, context)
    wait_for(lambda: refusals(caplog), QUICK)
    assert says in refusals(caplog)[0]


def test_a_plain_peer_at_the_tls_port_is_told_apart(door, radiograph, caplog):
    """Its first byte is that of an A-ASSOCIATE-RQ: the log says where to switch TLS on."""
    began = time.monotonic()
    with pytest.raises(AssociationLost, match="as one does that expects TLS"):
        send([radiograph()[0]], door.address)
    assert time.monotonic() - began < QUICK
    wait_for(lambda: refusals(caplog), QUICK)
    assert "a plain DICOM peer came to the TLS port" in refusals(caplog)[0]


def test_a_tls_peer_at_the_plain_port_is_told_apart(tmp_path, hospital, radiograph, caplog):
    """Its first bytes are a TLS handshake: the log says which setting opens the port for it."""
    began = time.monotonic()
    with open_door(tmp_path / "plain") as door:
        with pytest.raises(AssociationLost, match="it expects plain DICOM"):
            send([radiograph()[0]], door.address, tls=hospital.tls("modality"))
        assert time.monotonic() - began < QUICK
        wait_for(lambda: refusals(caplog), QUICK)
        assert "a TLS peer came to the plain port" in refusals(caplog)[0]
        assert send([radiograph()[0]], door.address) == [0]


def test_who_says_nothing_is_let_go(tmp_path, hospital, caplog):
    """A connection without a byte holds its place as long as one without TLS would, and the log says so."""
    limits = Limits(negotiation_seconds=_SILENT_SECONDS)
    tls = hospital.tls("node", handshake_seconds=_SILENT_SECONDS)
    with open_door(tmp_path / "silent", tls=tls, limits=limits) as door, raw(door) as connection:
        assert ended(connection)
        wait_for(lambda: refusals(caplog), QUICK)


@pytest.mark.parametrize("said", [b"\x16", b"\x16\x03\x01\x02\x00\x01"])
def test_who_does_not_finish_the_handshake_is_let_go(door, caplog, said):
    """Silent amid the first record: the connection ends within its time and the log says so."""
    with raw(door) as connection:
        connection.sendall(said)
        assert ended(connection)
    wait_for(lambda: refusals(caplog), QUICK)
    assert "did not finish the TLS handshake in time" in refusals(caplog)[0]


def test_who_trickles_the_handshake_is_let_go_in_the_same_time(door):
    """The limit holds for the handshake as a whole: a byte now and then does not lengthen it."""
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(600)
    began = time.monotonic()
    with raw(door) as connection, contextlib.suppress(OSError):
        connection.settimeout(0.02)
        for number in range(len(hello)):
            connection.sendall(hello[number : number + 1])
            with contextlib.suppress(TimeoutError):
                if not connection.recv(1):
                    break
        else:
            pytest.fail("the listener waited for all of it")
    assert time.monotonic() - began < QUICK


def test_silent_connections_keep_nobody_waiting(tmp_path, hospital, radiograph):
    """Eight that say nothing: a film beside them goes through at once, because each waits in a thread of its own."""
    path, _ = radiograph()
    with open_door(tmp_path / "node", tls=hospital.tls("node", handshake_seconds=30)) as door:
        with contextlib.ExitStack() as silent:
            for _ in range(8):
                silent.enter_context(raw(door))
            began = time.monotonic()
            assert send([path], door.address, tls=hospital.tls("modality")) == [0]
            assert time.monotonic() - began < QUICK
        began = time.monotonic()
    assert time.monotonic() - began < QUICK, "a handshake under way kept the listener from stopping"


def test_a_handshake_that_begins_while_the_node_stops_is_let_go(hospital):
    """It was accepted just before, and its thread comes to the handshake just after: it ends without a word."""
    handshakes = Handshakes(hospital.tls("node", handshake_seconds=_SILENT_SECONDS), most=1)
    handshakes.end()
    ours, theirs = socket.socketpair()
    with theirs, pytest.raises(TlsFailed) as failed:
        handshakes.secured(ours)
    assert str(failed.value) == ""
    assert ours.fileno() == -1


@pytest.mark.parametrize(
    "noise", [b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 64, bytes(range(255, 0, -1)), b"\x80\x2e\x01\x00\x02"]
)
def test_noise_is_let_go(door, hospital, radiograph, noise):
    """What is neither TLS nor DICOM ends at once and disturbs nobody."""
    with raw(door) as connection:
        connection.sendall(noise)
        assert ended(connection)
    assert send([radiograph()[0]], door.address, tls=hospital.tls("modality")) == [0]


@pytest.mark.parametrize("said", [b"", b"\x16", b"\x16\x03\x01\x02\x00\x01" + bytes(64), b"\x01\x00"])
def test_who_breaks_off_is_no_surprise(door, hospital, radiograph, caplog, said):
    """Connections that are reset at any point of the handshake, as scanners do, are no error of the program."""
    for _ in range(25):
        with raw(door) as connection:
            connection.sendall(said)
            # Close with a reset, whatever lies unread.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert send([radiograph()[0]], door.address, tls=hospital.tls("modality")) == [0]
    assert [one.__dict__["fields"] for one in caplog.records if one.message == "unexpected"] == []


def test_associations_under_tls_go_on_at_once(door, hospital, radiograph):
    """Four senders, two films each: handshakes and associations do not wait for each other."""
    paths = [radiograph(seed=seed)[0] for seed in range(8)]
    tls = hospital.tls("modality")
    with ThreadPoolExecutor(4) as pool:
        sent = list(pool.map(lambda n: send(paths[2 * n : 2 * n + 2], door.address, tls=tls), range(4)))
    assert sent == [[0, 0]] * 4
    assert len(door.arrivals) == 8


def test_an_open_association_outlives_new_certificates(tmp_path, radiograph):
    """The authority is changed under it: it goes on, and the next one needs a certificate of the new authority."""
    old, new = Authority(tmp_path / "old", "old"), Authority(tmp_path / "new", "new")
    files, renewed = old.issue("node"), new.issue("node")
    node, paths = Tls(files), [radiograph(seed=seed)[0] for seed in range(3)]
    with open_door(tmp_path / "node", tls=node) as door, hold_open(paths, door.address, tls=old.tls("xr")) as push:
        assert push.store(paths[0]) == 0
        for name in ("certificate", "key", "authorities"):
            getattr(files, name).write_bytes(getattr(renewed, name).read_bytes())
        node.ask_again()
        node.look()
        assert push.store(paths[1]) == 0
        with pytest.raises(AssociationLost):
            send([paths[2]], door.address, tls=Tls(replace(old.issue("xr2"), authorities=new.file)))
        assert send([paths[2]], door.address, tls=new.tls("xr")) == [0]


def test_a_self_signed_certificate_counts_where_it_is_named_itself(tmp_path, hospital, radiograph):
    """A modality that can only sign for itself comes in by its own certificate, and nobody else by it."""
    path, _ = radiograph()
    own, other = self_signed(tmp_path / "xr1"), self_signed(tmp_path / "xr2")
    files = hospital.issue("node", trusting=hospital)
    files.authorities.write_bytes(files.authorities.read_bytes() + own.certificate.read_bytes())
    with open_door(tmp_path / "node", tls=Tls(files)) as door:
        assert send([path], door.address, tls=Tls(replace(own, authorities=hospital.file))) == [0]
        with pytest.raises(AssociationLost):
            send([path], door.address, tls=Tls(replace(other, authorities=hospital.file)))


@pytest.mark.parametrize("ours", [True, False], ids=["as listener", "as sender"])
def test_a_peer_s_certificate_that_ends_soon_is_told_where_it_is_seen(tmp_path, hospital, caplog, ours):
    """In both directions the log says so when it connects, before it fails."""
    ending = Tls(hospital.issue("peer", days=5.5), warn_days=0)
    node = hospital.tls("node")
    if ours:
        with open_door(tmp_path / "node", tls=node) as door, hold_open([], door.address, tls=ending):
            pass
    else:
        with start_pacs(tls=ending) as pacs, hold_open([], (LOOPBACK, pacs.port, pacs.ae_title), tls=node):
            pass
    (said,) = [one.__dict__["fields"] for one in caplog.records if one.message == "certificate_ends"]
    assert said["reason"] == "a peer's certificate ends in 5 days"


def test_lists_hold_under_tls_too_and_both_of_them(tmp_path, hospital, radiograph):
    """A certificate does not stand in for the AE title, nor the AE title for the address."""
    path, _ = radiograph()
    tls = hospital.tls("modality")
    lists = {"calling_ae_titles": ("XR1",), "networks": ("127.0.0.0/8",)}
    with open_door(tmp_path / "1", tls=hospital.tls("node"), **lists) as door:
        assert send([path], door.address, calling="XR1", tls=tls) == [0]
        with pytest.raises(NeedsOperator, match="does not know our AE title"):
            send([path], door.address, calling="XR2", tls=tls)
    with open_door(tmp_path / "2", tls=hospital.tls("node"), **lists | {"networks": ("10.0.0.0/8",)}) as door:
        with pytest.raises(NeedsOperator):
            send([path], door.address, calling="XR1", tls=tls)
        assert door.arrivals == []


def test_an_ae_title_is_its_certificate_s_where_the_settings_bind_it(tmp_path, hospital, radiograph, caplog):
    """Another modality's certificate does not lend it; a title that is not bound is anybody's who belongs."""
    path, _ = radiograph()
    xr1, other = (Tls(hospital.issue(name, f"{name}.hospital.example", LOOPBACK)) for name in ("xr1", "other"))
    names = {"XR1": "XR1.hospital.example"}
    with open_door(tmp_path / "node", tls=hospital.tls("node"), certificate_names=names) as door:
        assert send([path], door.address, calling="XR1", tls=xr1) == [0]
        assert send([path], door.address, calling="XR2", tls=other) == [0]
        with pytest.raises(NeedsOperator, match="does not know our AE title"):
            send([path], door.address, calling="XR1", tls=other)
        wait_for(lambda: refusals(caplog), QUICK)
    assert "the certificate is not for this calling AE title" in refusals(caplog)[0]
