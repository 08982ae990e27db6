"""The audit trail and a real collector: rsyslog over TLS with both sides' certificates, over TCP and over UDP."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cxrnode.audit import AuditTrail, Carrier, Collector
from cxrnode.audit.events import Subject
from cxrnode.audit.trail import Peer
from cxrnode.dimse.certificates import Files
from tests import peers
from tests.auditing import lines_in, wrong_with
from tests.authority import Authority
from tests.fakes.clock import FakeClock
from tests.waiting import wait_for

pytestmark = pytest.mark.peers
PATIENCE = 20.0

_COMMON = """
global(workDirectory="{folder}" maxMessageSize="64k" {tls})
template(name="told" type="string" string="%msgid% %app-name% %hostname% %pri% %msg%\\n")
{input}
action(type="omfile" file="{folder}/received" template="told")
"""
_TLS = (
    'defaultNetstreamDriver="ossl" defaultNetstreamDriverCAFile="{authorities}"'
    ' defaultNetstreamDriverCertFile="{certificate}" defaultNetstreamDriverKeyFile="{key}"'
)
_INPUTS = {
    Carrier.TLS: 'module(load="imtcp" StreamDriver.Name="ossl" StreamDriver.Mode="1" '
    'StreamDriver.AuthMode="x509/certvalid")\ninput(type="imtcp" port="{port}" address="127.0.0.1")',
    Carrier.TCP: 'module(load="imtcp")\ninput(type="imtcp" port="{port}" address="127.0.0.1")',
    Carrier.UDP: 'module(load="imudp")\ninput(type="imudp" port="{port}" address="127.0.0.1")',
}


@contextmanager
def rsyslog(folder: Path, carrier: Carrier, files: Files) -> Iterator[tuple[int, Path]]:
    """Run rsyslog on a free port; give the port, and the file where it writes what it received."""
    folder.mkdir()
    port = peers.free_port()
    tls = _TLS.format(certificate=files.certificate, key=files.key, authorities=files.authorities)
    configuration = folder / "rsyslog.conf"
    configuration.write_text(
        _COMMON.format(
            folder=folder, tls=tls if carrier is Carrier.TLS else "", input=_INPUTS[carrier].format(port=port)
        )
    )
    command = [peers.program("rsyslogd"), "-n", "-f", configuration, "-i", folder / "pid"]
    with (folder / "said").open("wb") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said)
    try:
        yield port, folder / "received"
    finally:
        process.terminate()
        process.wait(PATIENCE)


@pytest.mark.parametrize("carrier", list(Carrier))
def test_rsyslog_receives_every_message_as_it_stands_in_the_file(
    tmp_path: Path, carrier: Carrier, needs: Callable[..., None]
) -> None:
    """Message id, program, host, priority and the XML, whatever stands in a patient's name."""
    needs("rsyslogd")
    hospital = Authority(tmp_path / "hospital")
    with rsyslog(tmp_path / "rsyslog", carrier, hospital.issue("collector")) as (port, received):
        collector = Collector(
            host="localhost", port=port, transport=carrier, context=hospital.tls("node").client_context
        )
        trail = AuditTrail(
            tmp_path / "audit", ae_title="CXRNODE", host="node.example", now=FakeClock().now, collector=collector
        )
        trail.started()
        for number in range(20):
            subject = Subject(study_uid=f"1.2.{number}", patient_id="P-1", patient_name="Müller^Jörg<&>\n\x1b")
            trail.received(
                Peer(ae_title="XR", address="10.0.0.1"),
                subject,
                association=str(number),
                called="CXRNODE",
                sop_class="1.2.840",
                instance=f"1.2.{number}.1",
            )
        lines = lines_in(tmp_path / "audit")
        assert [wrong_with(line) for line in lines] == [[]] * 21

        def all_came() -> bool:
            trail.forward()
            return received.is_file() and len(_came(received)) >= len(lines)

        wait_for(all_came, PATIENCE)
        assert _came(received) == lines
        trail.close()


def test_rsyslog_of_another_authority_receives_nothing(tmp_path: Path, needs: Callable[..., None]) -> None:
    """Neither one that we do not trust, nor one that does not trust us."""
    needs("rsyslogd")
    hospital, elsewhere = Authority(tmp_path / "hospital"), Authority(tmp_path / "elsewhere", "elsewhere")
    files = hospital.issue("collector", trusting=elsewhere)
    with rsyslog(tmp_path / "rsyslog", Carrier.TLS, files) as (port, received):
        context = hospital.tls("node").client_context
        collector = Collector(host="localhost", port=port, context=context)
        trail = AuditTrail(tmp_path / "audit", ae_title="C", host="h", now=FakeClock().now, collector=collector)
        trail.commanded("pause")
        wait_for(lambda: trail.forward() or "TLS" in trail.trouble()[0], PATIENCE)
        assert trail.waiting_bytes() > 0
        assert not received.is_file()


def _came(received: Path) -> list[bytes]:
    """Give the messages that were received, their headers checked."""
    found = []
    for line in received.read_bytes().splitlines():
        header, _, message = line.partition(b"<AuditMessage>")
        assert header.split() == [b"DICOM+RFC3881", b"cxrnode", b"node.example", b"85", b"\xef\xbb\xbf"], header
        found.append(b"<AuditMessage>" + message)
    return found
