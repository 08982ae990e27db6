"""What the node refuses to start with, because somebody could come in or patient data go out unsaid."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any

import pytest

from cxrnode import settings
from cxrnode.domain.access import Transport, is_loopback
from cxrnode.errors import SettingsInvalid
from cxrnode.settings import load

FILES = {"certificate": "node.pem", "key": "node.key", "authorities": "ca.pem"}
PACS = {"name": "pacs", "ae_title": "PACS", "host": "10.20.0.5"}
LISTS: tuple[dict[str, Any], ...] = (
    {},
    {"calling_ae_titles": ["XR1"]},
    {"addresses": ["10.20.0.0/16"]},
    {"anyone": True},
)


@pytest.fixture(autouse=True)
def _no_settings_around(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("CXRNODE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(settings, "SYSTEM_FILE", Path("nowhere.toml"))


def refusal(**sections: Any) -> str:
    """Give what these settings are refused with; empty where they are taken."""
    try:
        load(**sections)
    except SettingsInvalid as refused:
        return str(refused)
    return ""


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost", "::ffff:127.0.0.1"])
def test_loopback_is_this_machine(host: str):
    """There nothing has to be said."""
    assert is_loopback(host)
    assert refusal(node={"host": host}, destinations=[PACS | {"host": host}], web={"host": host}) == ""


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "", "10.20.0.7", "fe80::1", "node.hospital.example", "localhost.example"]
)
def test_anything_else_may_be_another_machine(host: str):
    """A name may lead anywhere, and every address of the machine is one that others reach."""
    assert not is_loopback(host)
    assert "node.host" in refusal(node={"host": host})


@pytest.mark.parametrize(("transport", "lists"), [*itertools.product(Transport, LISTS)])
def test_an_open_port_needs_a_transport_and_a_list_or_the_words_for_it(transport: Transport, lists: dict[str, Any]):
    """Deny by default: every combination of transport and lists on an address that others reach."""
    said = refusal(node={"host": "0.0.0.0"}, listener={"transport": transport, **lists}, tls=FILES)
    assert ("listener.transport" in said) == (transport is Transport.LOCAL)
    assert ("listener.anyone = true" in said) == (lists == {})


@pytest.mark.parametrize("transport", Transport)
def test_a_destination_elsewhere_needs_a_transport(transport: Transport):
    """Evidence is patient data: it leaves the machine encrypted, or because the settings say that it may."""
    said = refusal(destinations=[PACS | {"transport": transport}], tls=FILES)
    assert ("'pacs'" in said and 'transport = "tls"' in said) == (transport is Transport.LOCAL)


def test_a_health_page_for_other_machines_has_to_be_said():
    """It asks for no password."""
    assert "web.anyone = true" in refusal(web={"host": "0.0.0.0"})
    assert refusal(web={"host": "0.0.0.0", "anyone": True}) == ""
    assert refusal(web={"host": "0.0.0.0", "enabled": False}) == ""


@pytest.mark.parametrize("missing", [*FILES, "all"])
def test_tls_without_one_of_its_files_is_refused(missing: str):
    """A certificate without its authority could not tell a peer from a stranger; the message names what is missing."""
    files = {name: "" if missing in {name, "all"} else file for name, file in FILES.items()}
    for users in ({"listener": {"transport": "tls"}}, {"destinations": [PACS | {"transport": "tls"}]}):
        said = refusal(tls=files, **users)
        assert all((f"tls.{name}" in said) == (not file) for name, file in files.items())


@pytest.mark.parametrize(
    "listener", [{}, {"transport": "plain"}, {"transport": "tls", "client_certificates": "ignored"}]
)
def test_ae_titles_bound_to_certificates_that_nobody_shows_are_refused(listener: dict[str, Any]):
    """They would bind nothing, and somebody would believe that they do."""
    bound = {"certificate_names": {"XR1": "xr1.hospital.example"}}
    assert "certificate_names" in refusal(listener=listener | bound, tls=FILES)
    assert refusal(listener={"transport": "tls"} | bound, tls=FILES) == ""


def test_every_unsafe_combination_is_named_at_once():
    """An operator mends the file once, and each sentence says what to write."""
    said = refusal(
        node={"host": "0.0.0.0"},
        web={"host": "0.0.0.0"},
        destinations=[PACS, PACS | {"name": "archive", "transport": "tls"}],
        rules=[{"destinations": ["nowhere"]}],
    )
    wanted = ("listener.transport", "listener.anyone", "web.anyone", "'pacs'", "tls.certificate", "'nowhere'")
    assert [one for one in wanted if one not in said] == []
    assert len(said.splitlines()) >= len(wanted)
