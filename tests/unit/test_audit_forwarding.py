"""The way of audit messages to a collector: TLS, TCP and UDP, collectors that go away, and what is sent again."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cxrnode.audit import AuditTrail, Carrier, Collector, syslog
from cxrnode.audit import forwarder as forwarding
from cxrnode.dimse.tls import Tls
from tests.auditing import header_and_message, lines_in, wrong_with
from tests.authority import Authority
from tests.fakes.clock import FakeClock
from tests.fakes.collector import FakeCollector
from tests.waiting import wait_for

KEEPING = 10.0


def trail_to(folder: Path, collector: Collector, clock: FakeClock | None = None) -> AuditTrail:
    """Give a trail that forwards."""
    now = (clock or FakeClock()).now
    return AuditTrail(folder, ae_title="CXRNODE", host="node.example", now=now, collector=collector)


def plain(port: int, transport: Carrier = Carrier.TCP) -> Collector:
    """Give a collector without TLS."""
    return Collector(host="127.0.0.1", port=port, transport=transport)


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again at once."""
    monkeypatch.setattr(forwarding, "_FIRST_SECONDS", 0.001)
    monkeypatch.setattr(forwarding, "_LONGEST_SECONDS", 0.002)
    monkeypatch.setattr(syslog, "_TRIAL_SECONDS", 0.2)


def forwarded(trail: AuditTrail) -> int:
    """Forward until nothing goes any more; give how many went."""
    return sum(iter(trail.forward, 0))


@pytest.mark.parametrize("transport", [Carrier.TCP, Carrier.UDP])
def test_a_message_is_a_syslog_message_of_rfc_5424(tmp_path: Path, transport: Carrier) -> None:
    """Priority 85, time, host, name, DICOM's message id, and the message as it stands in the file behind a BOM."""
    with FakeCollector(udp=transport is Carrier.UDP) as collector:
        trail = trail_to(tmp_path, plain(collector.port, transport))
        trail.commanded("pause")
        trail.commanded("resume")
        assert forwarded(trail) == 2
        wait_for(lambda: len(collector.messages) == 2, KEEPING)
    for framed, line in zip(collector.messages, lines_in(tmp_path), strict=True):
        header, message = header_and_message(framed)
        assert header == b"<85>1 2026-03-01T12:00:00.000+00:00 node.example cxrnode - DICOM+RFC3881 -"
        assert message == line
        assert wrong_with(message) == []


def test_what_a_collector_missed_is_sent_when_it_is_back(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Away at first, away in the midst: every message comes, in order, and its absence is said once each time."""
    with FakeCollector() as first:
        port = first.port
    trail = trail_to(tmp_path, plain(port))
    trail.commanded("one")
    for _ in range(3):
        assert trail.forward() == 0
        assert "cannot be reached (ECONNREFUSED); its messages wait" in trail.trouble()[0]
        wait_for(lambda: trail._forwarder._not_before < time.monotonic(), KEEPING)
    with FakeCollector(port=port) as second:
        wait_for(trail.forward, KEEPING)
        wait_for(lambda: second.messages, KEEPING)
    assert not any(trail.trouble())
    trail.commanded("two")
    with FakeCollector(port=port) as third:
        wait_for(trail.forward, KEEPING)
        wait_for(lambda: third.messages, KEEPING)
    came = [header_and_message(each)[1] for each in second.messages + third.messages]
    assert list(dict.fromkeys(came)) == lines_in(tmp_path)
    said = [record.message for record in caplog.records]
    assert said[0] == "audit_delayed" and said.count("audit_delayed") <= 2


def test_a_node_goes_on_where_the_one_before_it_stopped(tmp_path: Path) -> None:
    """The position is kept beside the files: nothing is sent twice, nothing left out, over days."""
    clock = FakeClock()
    with FakeCollector() as collector:
        for number in range(4):
            trail = trail_to(tmp_path, plain(collector.port), clock)
            trail.commanded(f"command {number}")
            assert forwarded(trail) == 1
            trail.close()
            clock.move(12 * 3600)
        wait_for(lambda: len(collector.messages) == 4, KEEPING)
    assert [header_and_message(each)[1] for each in collector.messages] == lines_in(tmp_path)


def test_positions_that_cannot_be_read_cost_messages_sent_twice_and_no_others(tmp_path: Path) -> None:
    """A kept position is a convenience; the files are the truth."""
    with FakeCollector() as collector:
        trail = trail_to(tmp_path, plain(collector.port))
        trail.commanded("pause")
        forwarded(trail)
        trail.close()
        for broken in ("", "[]", '{"audit-2026-03-01.xml": "x"}', json.dumps({"other": 7})):
            (tmp_path / "forwarded.json").write_text(broken)
            assert forwarded(trail_to(tmp_path, plain(collector.port))) == 1


def test_a_file_from_a_backup_is_sent_anew(tmp_path: Path) -> None:
    """What is written behind an older copy of the day's file must not hide behind the position in the newer one."""
    with FakeCollector() as collector:
        trail = trail_to(tmp_path, plain(collector.port))
        trail.commanded("one")
        (path,) = tmp_path.glob("*.xml")
        older = path.read_bytes()
        trail.commanded("two")
        assert forwarded(trail) == 2
        trail.close()
        path.write_bytes(older)
        assert forwarded(trail_to(tmp_path, plain(collector.port))) == 1


def test_a_file_that_is_removed_while_it_is_looked_at_is_no_trouble(tmp_path: Path) -> None:
    """Old files are removed by another bell: nothing of that may look like a trail that cannot be written."""
    with FakeCollector() as collector:
        trail = trail_to(tmp_path, plain(collector.port))
        trail.commanded("one")
        assert trail._forwarder is not None
        listed = trail._forwarder._book.files()
        trail._forwarder._book.files = lambda: [tmp_path / "audit-2026-01-01.xml", *listed]  # type: ignore[method-assign]
        assert forwarded(trail) == 1
        assert (trail.waiting_bytes(), trail.trouble()) == (0, ("", ""))


def test_a_torn_line_holds_nothing_up(tmp_path: Path) -> None:
    """Neither in the midst of a file, nor at the end of a day that is over; today's last line may still grow."""
    clock = FakeClock()
    with FakeCollector() as collector:
        trail = trail_to(tmp_path, plain(collector.port), clock)
        trail.commanded("one")
        trail.close()
        (path,) = tmp_path.glob("*.xml")
        path.write_bytes(path.read_bytes() + b"<AuditMessage><Ev\n<AuditMessage><EventId")
        assert forwarded(trail) == 1
        assert trail.waiting_bytes() > 0
        clock.move(24 * 3600)
        trail.commanded("two")
        assert forwarded(trail) == 1
        assert trail.waiting_bytes() == 0


def test_files_that_are_not_sent_are_kept_however_old(tmp_path: Path) -> None:
    """`audit.keep_days` removes nothing that the collector has not got."""
    clock = FakeClock()
    with FakeCollector() as gone:
        collector = plain(gone.port)
    trail = AuditTrail(tmp_path, ae_title="A", host="h", now=clock.now, keep_days=1, collector=collector)
    trail.commanded("pause")
    clock.move(10 * 24 * 3600)
    trail.sync()
    assert len(lines_in(tmp_path)) == 1
    with FakeCollector(port=collector.port):
        wait_for(trail.forward, KEEPING)
        trail.sync()
    assert lines_in(tmp_path) == []


def test_a_backlog_goes_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory does not grow with what waits."""
    monkeypatch.setattr(forwarding, "_BATCH_BYTES", 4096)
    with FakeCollector() as collector:
        trail = trail_to(tmp_path, plain(collector.port))
        for number in range(50):
            trail.commanded(f"command {number}")
        batches = list(iter(trail.forward, 0))
        assert sum(batches) == 50 and max(batches) < 10
        wait_for(lambda: len(collector.messages) == 50, KEEPING)


def over_tls(port: int, context: ssl.SSLContext) -> Collector:
    """Give a collector that is spoken to over TLS."""
    return Collector(host="localhost", port=port, transport=Carrier.TLS, context=lambda: context)


def test_messages_go_over_tls_with_both_sides_authenticated(tmp_path: Path) -> None:
    """RFC 5425 as PS3.15 A.6 asks for it."""
    authority = Authority(tmp_path / "authority")
    with FakeCollector(context=authority.tls("collector").server_context()) as collector:
        trail = trail_to(tmp_path / "audit", over_tls(collector.port, authority.tls("node").client_context()))
        for number in range(5):
            trail.commanded(f"command {number}")
            assert forwarded(trail) == 1
        wait_for(lambda: len(collector.messages) == 5, KEEPING)


def test_a_connection_that_is_broken_off_never_speaks_in_the_clear(tmp_path: Path) -> None:
    """A node that stops breaks off what another thread sends: patients' names must not go on without TLS."""
    authority = Authority(tmp_path / "authority")
    with FakeCollector(context=authority.tls("collector").server_context()) as collector:
        wire = syslog.Wire(over_tls(collector.port, authority.tls("node").client_context()), "node")
        wire.send([b"<AuditMessage></AuditMessage>"])
        connected = wire._socket
        assert isinstance(connected, ssl.SSLSocket)
        wire.interrupt()
        assert connected.version() is not None
        with pytest.raises(OSError):
            connected.sendall(b"Doe^Jane")
        wire.close()


Contexts = tuple[ssl.SSLContext, ssl.SSLContext]


def _stranger_to_us(ours: Authority, other: Authority) -> Contexts:
    return Tls(other.issue("collector", trusting=ours)).server_context(), ours.tls("node").client_context()


def _strangers_to_it(ours: Authority, other: Authority) -> Contexts:
    return ours.tls("collector").server_context(), Tls(other.issue("node", trusting=ours)).client_context()


def _other_name(ours: Authority, _: Authority) -> Contexts:
    return Tls(ours.issue("collector", "elsewhere.example")).server_context(), ours.tls("node").client_context()


@pytest.mark.parametrize("contexts", [_stranger_to_us, _strangers_to_it, _other_name])
def test_a_collector_that_is_not_trusted_gets_nothing_and_the_log_says_why(
    tmp_path: Path, contexts: Callable[[Authority, Authority], Contexts], caplog: pytest.LogCaptureFixture
) -> None:
    """Another authority's certificate, one for another name, and ours that the collector does not take."""
    server, client = contexts(Authority(tmp_path / "ours"), Authority(tmp_path / "other", "elsewhere"))
    with FakeCollector(context=server) as collector:
        trail = trail_to(tmp_path / "audit", over_tls(collector.port, client))
        trail.commanded("pause")
        wait_for(lambda: trail.forward() or caplog.records, KEEPING)
        (record,) = caplog.records[:1]
        assert record.message == "audit_delayed"
        assert "audit trail does not reach" in record.__dict__["fields"]["hint"]
        assert collector.messages == []
        assert trail.waiting_bytes() > 0
