"""`cxrnode serve` under TLS against DCMTK's clients and servers, and an Orthanc under TLS.

Mutual authentication in both directions, and everything that can be wrong with it: each ends within seconds, with a
sentence in the log, or of `cxrnode check`, that says what to do; and whoever belongs is served before and after.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import trustme

from cxrnode.dimse.certificates import Files
from cxrnode.dimse.tls import Tls
from cxrnode.domain.access import Transport
from cxrnode.domain.delivery import CommitmentPolicy, Destination
from cxrnode.domain.identity import AETitle
from cxrnode.phantom import Radiograph, write
from cxrnode.testing import hold_open
from tests import peers
from tests.authority import HOST, Authority
from tests.end_to_end.processes import AE_TITLE, Serve, all_committed, cxrnode, serving

pytestmark = pytest.mark.peers

QUICK = 9.0
"""Seconds within which each failure has ended, the start of DCMTK's program included."""
PATIENCE = 6
"""Seconds that the node gives a handshake, where one is left hanging."""
OPERATIONS = Path(__file__).resolve().parents[2] / "docs" / "operations.md"


@pytest.fixture
def hospital(tmp_path: Path) -> Authority:
    """The authority that node and peers trust."""
    return Authority(tmp_path / "hospital")


@pytest.fixture
def elsewhere(tmp_path: Path) -> Authority:
    """An authority that nobody here knows."""
    return Authority(tmp_path / "elsewhere", "elsewhere")


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """A small radiograph that is large enough for a model."""
    write(Radiograph(rows=320, cols=320), tmp_path / "film.dcm")
    return tmp_path / "film.dcm"


def settings(files: Files, **more: str) -> dict[str, str]:
    """Give the variables of a node with these files."""
    named = {f"TLS__{name.upper()}": str(getattr(files, name)) for name in ("certificate", "key", "authorities")}
    return named | more


def secured(files: Files, **more: str) -> dict[str, str]:
    """The same of a node that listens under TLS."""
    return settings(files, LISTENER__TRANSPORT="tls", **more)


def flags(files: Files) -> list[str]:
    """Give DCMTK's options for a certificate; its default is the BCP 195 profile without downgrading."""
    return ["+tls", str(files.key), str(files.certificate), "+cf", str(files.authorities)]


def refusals(node: Serve) -> list[str]:
    """Give the reasons of the refused associations."""
    return [event["reason"] for event in node.events("association_refused")]


def called(node: Serve, *options: str) -> tuple[int, float]:
    """C-ECHO the node with DCMTK; give the exit status and the seconds it took."""
    began = time.monotonic()
    done = peers.run("echoscu", *options, "-aec", AE_TITLE, HOST, node.port, check=False)
    return done.returncode, time.monotonic() - began


def test_dcmtk_s_clients_come_in_or_are_told_why_not(
    tmp_path: Path, hospital: Authority, elsewhere: Authority, film: Path, needs: Callable[..., None]
) -> None:
    """Mutual authentication with DCMTK's clients; a certificate of another authority, one that has expired, none, and
    no TLS: refused within seconds and told in words, the rest served in between."""
    needs("echoscu", "storescu")
    belonging = flags(hospital.issue("modality"))
    strangers = {
        "of an authority that is not in tls.authorities": flags(elsewhere.issue("stranger", trusting=hospital)),
        "the peer's certificate has expired": flags(hospital.issue("expired", begins=-10, days=-1)),
        "the peer shows no certificate": ["+tla", "-ic"],
        "the peer does not trust our certificate": flags(hospital.issue("cautious", trusting=elsewhere)),
        "a plain DICOM peer came to the TLS port": [],
    }
    with serving(tmp_path / "node", tls=hospital.tls("tester"), **secured(hospital.issue("node"))) as node:
        for says, options in strangers.items():
            status, seconds = called(node, *options)
            assert status != 0 and seconds < QUICK, says
            node.wait(lambda: any(says in reason for reason in refusals(node)), QUICK)  # noqa: B023
            assert called(node, *belonging)[0] == 0, f"after: {says}"
        assert all(event["hint"] for event in node.events("association_refused"))
        rsa = flags(hospital.issue("old-modality", key_type=trustme.KeyType.RSA))
        for options in (belonging, [*belonging, "+px"], [*belonging, "+pz"], rsa):
            peers.run("storescu", *options, "-aec", AE_TITLE, HOST, node.port, film)
        assert len(node.events("instance_received")) >= 1
        assert node.cli("check").returncode == 0


def test_a_silent_connection_ends_in_its_time_and_others_are_served_meanwhile(
    tmp_path: Path, hospital: Authority, needs: Callable[..., None]
) -> None:
    """A handshake begun and not gone on with: let go after `tls.handshake_seconds`, and nobody waits for it."""
    needs("echoscu")
    variables = secured(hospital.issue("node"), TLS__HANDSHAKE_SECONDS=str(PATIENCE))
    with (
        serving(tmp_path / "node", tls=hospital.tls("tester"), **variables) as node,
        socket.create_connection((HOST, node.port), QUICK) as mute,
    ):
        mute.sendall(b"\x16")
        began = time.monotonic()
        status, seconds = called(node, *flags(hospital.issue("modality")))
        assert status == 0 and seconds < PATIENCE
        mute.settimeout(PATIENCE + QUICK)
        assert mute.recv(1) == b""
        assert time.monotonic() - began < PATIENCE + QUICK
        node.wait(lambda: any("did not finish the TLS handshake" in reason for reason in refusals(node)), QUICK)


def test_a_tls_client_at_the_plain_port_is_told_apart(
    tmp_path: Path, hospital: Authority, needs: Callable[..., None]
) -> None:
    """It ends within seconds, and the log names the setting that opens the port to it."""
    needs("echoscu")
    with serving(tmp_path / "node") as node:
        status, seconds = called(node, *flags(hospital.issue("modality")))
        assert status != 0 and seconds < QUICK
        node.wait(lambda: any("a TLS peer came to the plain port" in reason for reason in refusals(node)), QUICK)
        assert called(node)[0] == 0


@contextmanager
def storing(folder: Path, name: str, *options: str, transport: Transport = Transport.TLS) -> Iterator[Destination]:
    """Run DCMTK's storescp; give it as a destination."""
    with peers.start_storescp(folder / name, *options) as port:
        yield Destination(
            name=name,
            ae_title=AETitle("STORESCP"),
            host=HOST,
            port=port,
            transport=transport,
            commitment=CommitmentPolicy.NONE,
        )


def test_dcmtk_s_servers_are_sent_to_or_it_is_said_why_not(
    tmp_path: Path, hospital: Authority, elsewhere: Authority, needs: Callable[..., None]
) -> None:
    """Mutual authentication with DCMTK's storescp; the same five things wrong, a certificate for another name, and TLS
    where none was expected: `cxrnode check` says each within seconds, and what to do."""
    needs("storescp")
    sound = flags(hospital.issue("pacs"))
    wrong = {
        "authority": (flags(elsewhere.issue("pacs", trusting=hospital)), "is not in tls.authorities"),
        "expired": (flags(hospital.issue("expired", begins=-10, days=-1)), "the peer's certificate has expired"),
        "distrusting": (flags(hospital.issue("cautious", trusting=elsewhere)), "does not trust our certificate"),
        "named": (flags(hospital.issue("named", "pacs.hospital.example")), "certificate_name"),
        "plain": ([], "it expects plain DICOM"),
    }
    with ExitStack() as stack:
        started = [stack.enter_context(storing(tmp_path, name, *options)) for name, (options, _) in wrong.items()]
        started += [
            stack.enter_context(storing(tmp_path, "well", *sound)),
            stack.enter_context(storing(tmp_path, "unasked", *sound, transport=Transport.PLAIN)),
        ]
        began = time.monotonic()
        said = Serve(tmp_path / "node", started, **settings(hospital.issue("node"))).cli("check").stdout
        assert time.monotonic() - began < len(started) * QUICK
    lines = dict(re.findall(r"^(?:ok  |FAIL)  destination (\w+): (.*)$", said, re.MULTILINE))
    assert re.search("^ok    destination well", said, re.MULTILINE)
    assert said.count("FAIL  destination") == len(wrong) + 1
    assert {name: says for name, (_, says) in wrong.items() if says not in lines[name]} == {}
    assert "as one does that expects TLS" in lines["unasked"]


def test_evidence_is_committed_under_tls_in_both_directions(
    tmp_path: Path, hospital: Authority, film: Path, needs: Callable[..., None]
) -> None:
    """The whole line against an Orthanc under TLS: the film comes in, SEG and SR go out, storage commitment is asked
    for on our association, its report comes back on one of Orthanc's; who has no certificate gets nowhere there."""
    needs("Orthanc", "storescu")
    pacs = hospital.issue("pacs")
    with peers.start_orthanc(tmp_path / "orthanc", **orthanc_under_tls(pacs)) as orthanc:
        destination = Destination(
            name="pacs",
            ae_title=AETitle(orthanc.ae_title),
            host=HOST,
            port=orthanc.port,
            transport=Transport.TLS,
            commitment=CommitmentPolicy.REQUIRED,
        )
        files = hospital.issue("node")
        with serving(tmp_path / "node", destination, tls=hospital.tls("tester"), **secured(files)) as node:
            orthanc.knows(AE_TITLE, node.port, UseDicomTls=True)
            peers.run("storescu", *flags(hospital.issue("xr")), "-aec", AE_TITLE, HOST, node.port, film)
            node.wait(lambda: node.jobs() and all_committed(node.jobs()))
            assert len(orthanc.instances()) == 2
            assert {event["calling_ae"] for event in node.events("association_opened")} >= {orthanc.ae_title}
            assert node.cli("check").returncode == 0
            status = peers.run("echoscu", "-aec", orthanc.ae_title, HOST, orthanc.port, check=False).returncode
            assert status != 0, "the archive took plain DICOM: nothing was proven"


def orthanc_under_tls(files: Files) -> dict[str, object]:
    """Give Orthanc's settings for TLS with certificates of both sides."""
    return {
        "DicomTlsEnabled": True,
        "DicomTlsRemoteCertificateRequired": True,
        "DicomTlsCertificate": str(files.certificate),
        "DicomTlsPrivateKey": str(files.key),
        "DicomTlsTrustedCertificates": str(files.authorities),
    }


def shown(node: Serve, tls: Tls) -> bytes:
    """Give the certificate (DER) that the node shows now."""
    context = tls.client_context(named=False)
    with socket.create_connection((HOST, node.port), QUICK) as raw, context.wrap_socket(raw) as under_tls:
        return under_tls.getpeercert(binary_form=True) or b""


def test_new_certificates_are_taken_up_while_the_node_runs(tmp_path: Path, hospital: Authority, film: Path) -> None:
    """Renewed on disk, without a signal and with one: the next connection sees it, an association that was open goes
    on; what cannot be used is said, and the certificate before stays."""
    files, tester = hospital.issue("node"), hospital.tls("tester")
    with (
        serving(tmp_path / "node", tls=tester, **secured(files)) as node,
        hold_open([film], node.address, tls=tester) as open_before,
    ):
        seen = [shown(node, tester)]
        for number, signalled in enumerate((False, True)):
            renewed = hospital.issue(f"renewed-{number}")
            for name in ("certificate", "key"):
                shutil.copyfile(getattr(renewed, name), getattr(files, name))
            if signalled:
                os.kill(node.pid, signal.SIGHUP)
            node.wait(lambda: shown(node, tester) not in seen, 30)
            seen.append(shown(node, tester))
        files.certificate.write_text("a certificate it is not")
        node.wait(lambda: node.events("certificate_refused"), 30)
        assert "in PEM form" in node.events("certificate_refused")[0]["reason"]
        assert "the old ones are" in node.health()[1]["dependencies"]["certificates"]["detail"]
        os.kill(node.pid, signal.SIGHUP)
        node.wait(lambda: len(node.events("certificate_refused")) == 2, 30)
        assert shown(node, tester) == seen[-1]
        assert open_before.store(film) == 0
        assert node.cli("status").stdout.count("ATTENTION: the certificates cannot be used") == 1
        assert node.cli("check").returncode == 1


def test_sighup_without_tls_changes_nothing(tmp_path: Path) -> None:
    """A reload of a service must never end it."""
    with serving(tmp_path / "node") as node:
        os.kill(node.pid, signal.SIGHUP)
        assert node.echo() and node.echo()


def test_the_end_of_a_certificate_is_told_beforehand(tmp_path: Path, hospital: Authority) -> None:
    """Ten days before: in the log, on the health page, by `check` and by `status`; the node goes on."""
    with serving(tmp_path / "node", tls=hospital.tls("tester"), **secured(hospital.issue("node", days=10.5))) as node:
        node.wait(lambda: node.events("certificate_ends"), 30)
        says = "our certificate ends in 10 days"
        assert node.events("certificate_ends")[0]["reason"] == says
        node.wait(lambda: node.health()[0] == 200, 30)
        hint = "see 'TLS with a peer fails' in docs/operations.md"
        assert node.health()[1]["dependencies"]["certificates"] == {"ok": False, "detail": says, "hint": hint}
        check = node.cli("check")
        assert check.returncode == 1 and f"FAIL  certificates: {says}" in check.stdout
        assert node.cli("status").stdout.count(says) == 1
        assert f"ATTENTION: {says}" in node.cli("status").stdout
        assert node.echo()


def test_an_unsafe_node_does_not_start_and_says_all_of_it(tmp_path: Path, hospital: Authority) -> None:
    """Open to other machines without a word about it: exit code 2, every place named, and no port was opened."""
    files = hospital.issue("node")
    files.key.chmod(0o644)
    open_port = Serve(
        tmp_path / "open",
        [Destination(name="far", ae_title=AETitle("FAR"), host=HOST, port=104)],
        NODE__HOST="0.0.0.0",
        WEB__HOST="0.0.0.0",
        LISTENER__TRANSPORT="tls",
    )
    open_port.spawn()
    assert open_port.end() == 2
    for place in ("listener.anyone = true", "web.anyone = true", "tls.certificate, tls.key, tls.authorities"):
        assert place in open_port.text()
    readable = Serve(tmp_path / "readable", **secured(files))
    readable.spawn()
    assert readable.end() == 2
    assert f"tls.key {files.key} is -rw-r--r--: others may read it" in readable.text()
    assert not (readable.events("listening") or open_port.events("listening"))


def test_a_node_that_is_open_by_its_settings_starts(tmp_path: Path, hospital: Authority) -> None:
    """What was said in so many words is done: every address of the machine, under TLS, two lists, and only they."""
    variables = secured(
        hospital.issue("node"),
        NODE__HOST="0.0.0.0",
        LISTENER__CALLING_AE_TITLES='["MODALITY"]',
        LISTENER__ADDRESSES='["127.0.0.0/8"]',
    )
    with serving(tmp_path / "node", tls=hospital.tls("tester"), **variables) as node:
        assert node.echo()
        assert not node.echo(calling="STRANGER")


def test_the_certificates_that_the_page_makes_are_taken(tmp_path: Path, needs: Callable[..., None]) -> None:
    """The commands in docs/operations.md, as they stand there, give files that the node starts with."""
    needs("openssl")
    page = OPERATIONS.read_text(encoding="utf-8").partition("## Encrypting with TLS")[2]
    commands = re.findall(r"^```\n(openssl.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert len(commands) == 1
    subprocess.run(["bash", "-euc", commands[0]], cwd=tmp_path, check=True, capture_output=True, timeout=60)
    files = Files(certificate=tmp_path / "node.pem", key=tmp_path / "node.key", authorities=tmp_path / "ca.pem")
    variables = {f"CXRNODE_{name}": value for name, value in secured(files).items()}
    said = cxrnode("check", CXRNODE_NODE__STATE_DIR=str(tmp_path / "state"), **variables).stdout
    assert "ok    certificates: valid for more than 30 days" in said
