"""The certificate's files: what keeps them from use, when they end, and how new ones are taken up."""

from __future__ import annotations

import logging
import shutil
import ssl
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from cxrnode.conformance import security
from cxrnode.dimse.certificates import Files, problems
from cxrnode.dimse.tls import CIPHERS, Tls
from cxrnode.errors import SettingsInvalid
from cxrnode.node import tls_of
from cxrnode.settings import load
from tests.authority import Authority, self_signed

BOTH = ("server", "client")
ONE_OF_EACH = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
P_256, NO_CURVE = bytes.fromhex("06082a8648ce3d030107"), bytes.fromhex("06082a8648ce3d03017f")
"""Object identifiers, as a certificate holds them."""


@pytest.fixture
def hospital(tmp_path: Path) -> Authority:
    """An authority."""
    return Authority(tmp_path / "pki")


@pytest.fixture
def files(hospital: Authority) -> Files:
    """A sound certificate."""
    return hospital.issue("node")


def told(caplog: pytest.LogCaptureFixture, event: str) -> list[dict[str, object]]:
    """Give the fields of the events of this name."""
    return [record.__dict__["fields"] for record in caplog.records if record.message == event]


def test_sound_files_have_no_problem(files: Files):
    """Nothing is wrong with what an authority issues for server and client."""
    assert problems(files, BOTH) == []


def test_everything_that_is_wrong_is_said_at_once(tmp_path: Path):
    """Three files that are not there are three sentences, each with the setting and the path."""
    nowhere = Files(certificate=tmp_path / "a", key=tmp_path / "b", authorities=tmp_path / "c")
    with pytest.raises(SettingsInvalid) as caught:
        Tls(nowhere)
    said = [line.strip() for line in str(caught.value).splitlines() if "cannot be read" in line]
    assert [line.split()[:2] for line in said] == [
        ["tls.certificate", str(tmp_path / "a")],
        ["tls.key", str(tmp_path / "b")],
        ["tls.authorities", str(tmp_path / "c")],
    ]


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o660, 0o604, 0o602])
def test_a_key_that_others_may_read_is_refused(files: Files, mode: int):
    """Who has the key is the node."""
    files.key.chmod(mode)
    (said,) = problems(files, BOTH)
    assert "others may read it; chmod 600" in said


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_key_of_its_owner_alone_is_taken(files: Files, mode: int):
    """Also one that nobody may write."""
    files.key.chmod(mode)
    assert problems(files, BOTH) == []


@pytest.mark.parametrize(("purpose", "lacks"), [("SERVER_AUTH", "client"), ("CLIENT_AUTH", "server")])
def test_a_certificate_for_one_side_only_is_refused_where_it_serves_as_the_other(
    tmp_path: Path, purpose: str, lacks: str
):
    """Peers would turn it away one by one, each in its own words."""
    files = self_signed(tmp_path / "own", getattr(ExtendedKeyUsageOID, purpose))
    (said,) = problems(files, BOTH)
    assert f"is not for a TLS {lacks}" in said
    assert problems(files, (BOTH[1 - BOTH.index(lacks)],)) == []
    assert problems(self_signed(tmp_path / "both", *ONE_OF_EACH), BOTH) == []


@pytest.mark.parametrize("only", ["destinations", "audit"])
def test_what_calls_others_over_tls_needs_a_certificate_of_a_client(tmp_path: Path, only: str):
    """An archive, and the collector of audit messages, too."""
    files = self_signed(tmp_path / "own", ExtendedKeyUsageOID.SERVER_AUTH)
    sections: dict[str, Any] = {
        "destinations": [{"name": "pacs", "ae_title": "PACS", "transport": "tls"}],
        "audit": {"syslog": {"host": "collector.example"}},
    }
    in_force = load(tls={name: str(path) for name, path in asdict(files).items()}, **{only: sections[only]})
    with pytest.raises(SettingsInvalid, match="not for a TLS client"):
        tls_of(in_force)


def test_a_certificate_of_no_known_kind_is_named_as_that(files: Files):
    """A key on a curve that nobody has heard of must not end in a traceback."""
    der = x509.load_pem_x509_certificate(files.certificate.read_bytes()).public_bytes(serialization.Encoding.DER)
    strange = der.replace(P_256, NO_CURVE)
    assert strange != der
    files.certificate.write_text(ssl.DER_cert_to_PEM_cert(strange))
    (said,) = problems(files, BOTH)
    assert "of no known kind" in said and str(files.certificate) in said


def test_the_key_of_another_certificate_is_refused(hospital: Authority, files: Files):
    """OpenSSL would say it in its own words, and only when somebody connects."""
    (said,) = problems(replace(files, key=hospital.issue("other").key), BOTH)
    assert "is not the key of" in said


def test_a_key_with_a_password_is_refused(files: Files):
    """A daemon that asks for a password stands still at the next restart."""
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    key = ec.generate_private_key(ec.SECP256R1())
    files.key.write_bytes(key.private_bytes(*form, serialization.BestAvailableEncryption(b"secret")))
    (said,) = problems(files, BOTH)
    assert "asks for a password" in said


@pytest.mark.parametrize("name", ["certificate", "key", "authorities"])
def test_a_file_that_is_something_else_is_refused(files: Files, name: str):
    """A path that is misspelt to another file."""
    getattr(files, name).write_text("hello")
    assert any(f"tls.{name}" in said and "in PEM form" in said for said in problems(files, BOTH))


def test_a_weak_key_is_refused(tmp_path: Path, hospital: Authority, monkeypatch: pytest.MonkeyPatch):
    """RSA below 2048 bits is outside the profile (RFC 9325 4.5)."""
    monkeypatch.setattr("cxrnode.dimse.certificates.SMALLEST_RSA", 4096)
    (said,) = problems(hospital.issue("weak", key_type=trustme.KeyType.RSA), BOTH)
    assert "an RSA key of 2048 bits" in said


def test_only_suites_of_the_profile_are_offered(files: Files):
    """TLS 1.2 or newer, forward secrecy, authenticated encryption (PS3.15 B.12, RFC 9325 4.2), in both directions."""
    tls = Tls(files)
    for context in (tls.server_context(), tls.client_context(), tls.client_context(named=False)):
        assert context.minimum_version.name == "TLSv1_2"
        offered = [one["name"] for one in context.get_ciphers()]
        assert [name for name in offered if not name.startswith("TLS_")] == list(CIPHERS)
        assert {name for name in offered if name.startswith("TLS_")} == set(security.TLS_13)
        assert all("GCM" in name or "POLY1305" in name for name in offered)
        assert context.verify_mode.name == "CERT_REQUIRED"


def test_new_files_are_taken_up_and_bad_ones_are_not(hospital: Authority, caplog: pytest.LogCaptureFixture):
    """What changed is used after it has held for one look; what cannot be used is said once, and the old stays."""
    files = hospital.issue("node")
    tls = Tls(files)
    first = tls.server_context()
    with caplog.at_level(logging.INFO, "cxrnode"):
        tls.look()
        assert tls.server_context() is first
        renewed = hospital.issue("renewed")
        shutil.copyfile(renewed.certificate, files.certificate)  # and its key comes a moment later
        tls.look()
        assert tls.server_context() is first and not told(caplog, "certificate_refused")
        shutil.copyfile(renewed.key, files.key)
        tls.look()
        tls.look()
        second = tls.server_context()
        assert second is not first and len(told(caplog, "certificate_loaded")) == 1
        files.key.write_text("hello")
        for _ in range(5):
            tls.look()
    assert tls.server_context() is second
    (refused,) = told(caplog, "certificate_refused")
    assert "in PEM form" in str(refused["reason"])


def test_a_renewal_that_has_ended_already_is_not_taken_up(hospital: Authority, caplog: pytest.LogCaptureFixture):
    """The old file was copied back by mistake."""
    files = hospital.issue("node")
    tls, old = Tls(files), hospital.issue("old", begins=-10, days=-1)
    first = tls.server_context()
    for name in ("certificate", "key"):
        shutil.copyfile(getattr(old, name), getattr(files, name))
    tls.ask_again()
    tls.look()
    assert tls.server_context() is first
    (refused,) = told(caplog, "certificate_refused")
    assert "ended on" in str(refused["reason"])


def test_a_signal_reads_files_that_did_not_change(files: Files):
    """`systemctl reload` is believed."""
    tls = Tls(files)
    first = tls.server_context()
    tls.ask_again()
    tls.look()
    assert tls.server_context() is not first


@pytest.mark.parametrize(("days", "level"), [(29.5, "WARNING"), (-1, "ERROR")])
def test_the_end_is_told_beforehand_and_once_a_day(
    hospital: Authority, caplog: pytest.LogCaptureFixture, days: float, level: str
):
    """From 30 days before; afterwards as an error."""
    tls = Tls(hospital.issue("node", begins=-90, days=days))
    for _ in range(3):
        tls.look()
    (record,) = [one for one in caplog.records if one.message == "certificate_ends"]
    assert record.levelname == level
    ending = tls.ending(datetime.now(UTC))
    assert ending is not None and ending.whose == "our certificate"


def test_no_end_is_told_while_it_is_far(files: Files, caplog: pytest.LogCaptureFixture):
    """Nothing to do, nothing said."""
    tls = Tls(files)
    tls.look()
    assert tls.ending(datetime.now(UTC)) is None and not told(caplog, "certificate_ends")


def test_a_peer_s_end_is_told_once_a_day(files: Files, caplog: pytest.LogCaptureFixture):
    """The archive's administrator may not look; and not once an association."""
    tls = Tls(files)
    for _ in range(3):
        tls.saw(b"a certificate", datetime.now(UTC) + timedelta(days=3, hours=1))
        tls.saw(b"another", datetime.now(UTC) + timedelta(days=300))
    (said,) = told(caplog, "certificate_ends")
    assert said["reason"] == "a peer's certificate ends in 3 days"
