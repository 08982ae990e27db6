"""TLS towards destinations, in process: which certificate counts, and what is said of the others."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cxrnode.dimse.connection import Waits
from cxrnode.dimse.sender import Sender
from cxrnode.dimse.tls import Tls
from cxrnode.domain.access import Transport
from cxrnode.domain.delivery import Destination
from cxrnode.domain.identity import AETitle
from cxrnode.errors import AssociationLost, NeedsOperator
from cxrnode.testing import start_pacs
from tests.authority import Authority, stranger
from tests.fakes.door import LOOPBACK, NODE

QUICK = 8.0
"""Seconds within which every failure has ended, on a busy machine too; most take some milliseconds."""


@pytest.fixture
def hospital(tmp_path: Path) -> Authority:
    """The authority that both sides trust."""
    return Authority(tmp_path / "pki")


@pytest.fixture
def sender(hospital: Authority) -> Iterator[Sender]:
    """Our side as a client."""
    waits = Waits(connect_seconds=2, negotiation_seconds=2, answer_seconds=2)
    made = Sender(ae_title=NODE, report=lambda _: False, waits=waits, tls=hospital.tls("client"))
    yield made
    made.close()


def at(port: int, **wanted: str) -> Destination:
    """Give a destination under TLS."""
    return Destination(
        **{"name": "pacs", "ae_title": AETitle("PACS"), "host": LOOPBACK, "port": port, "transport": Transport.TLS}
        | wanted  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("names", "expected", "says"),
    [
        (("127.0.0.1",), "", ""),
        (("pacs.hospital.example",), "pacs.hospital.example", ""),
        (("pacs.hospital.example",), "*", ""),
        (("pacs.hospital.example",), "", "not for '127.0.0.1': write the name it is for as certificate_name"),
        (("xr1.hospital.example",), "pacs.hospital.example", "not for 'pacs.hospital.example'"),
    ],
)
def test_a_destination_s_certificate_has_to_be_for_its_name(hospital, sender, names, expected, says):
    """One modality's certificate does not make it the archive; where the names do not match, the setting says which."""
    with start_pacs(tls=Tls(hospital.issue("pacs", *names))) as pacs:
        destination = at(pacs.port, certificate_name=expected)
        if not says:
            sender.echo(destination)
            return
        with pytest.raises(AssociationLost, match=says):
            sender.echo(destination)


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("wrong authority", "of an authority that is not in tls.authorities"),
        ("expired", "the peer's certificate has expired"),
        ("distrusts us", "the peer does not trust our certificate"),
    ],
)
def test_a_destination_with_a_wrong_certificate_gets_nothing(tmp_path, hospital, sender, kind, says):
    """Not a byte of DICOM goes out; it is tried again later, and says in words what is wrong."""
    with start_pacs(tls=stranger(tmp_path, hospital, kind)) as pacs:
        began = time.monotonic()
        with pytest.raises(AssociationLost, match=says):
            sender.echo(at(pacs.port))
        assert time.monotonic() - began < QUICK


def test_a_destination_that_says_nothing_is_given_up(sender):
    """A port that accepts and stays silent costs the time of a connection, and the reason says TLS."""
    with socket.create_server((LOOPBACK, 0)) as mute:
        began = time.monotonic()
        with pytest.raises(AssociationLost, match="did not finish the TLS handshake in time"):
            sender.echo(at(mute.getsockname()[1]))
        assert time.monotonic() - began < 2 + QUICK


def test_a_plain_destination_gets_nothing_under_tls(sender):
    """Never in the clear where the settings say TLS."""
    with start_pacs() as pacs, pytest.raises(AssociationLost, match="it expects plain DICOM"):
        sender.echo(at(pacs.port))


def test_a_tls_destination_that_is_called_in_the_clear_is_told_apart(hospital, sender):
    """The message names the setting."""
    with start_pacs(tls=hospital.tls("pacs")) as pacs, pytest.raises(AssociationLost, match='transport = "tls"'):
        sender.echo(at(pacs.port, transport=Transport.PLAIN))


def test_without_tls_nothing_goes_to_a_destination_that_wants_it():
    """A sender that was composed without TLS does not fall back to the clear."""
    sender = Sender(ae_title=NODE, report=lambda _: False)
    with pytest.raises(NeedsOperator, match="there is no TLS here"):
        sender.echo(at(104))
