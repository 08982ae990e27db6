"""The audit trail of a real node: what came, what went, who was turned away, what operators did, and a collector.

Every message that the node and the commands write is held against the schema, and the log beside it names nobody.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import pytest

from cxrnode.dimse.tls import Tls
from cxrnode.phantom import Patient, Radiograph, render
from cxrnode.telemetry import hash_of
from cxrnode.testing import start_pacs
from tests.auditing import alert_texts, event_of, header_and_message, lines_in, told_in, wrong_with
from tests.authority import Authority
from tests.end_to_end.processes import Serve, all_committed, serving
from tests.fakes.collector import FakeCollector
from tests.waiting import wait_for

JANE = Patient(name="Auditova^Jana", patient_id="AUDIT-1", birth_date="19800101")


@dataclass(frozen=True, slots=True, kw_only=True)
class Audited:
    """A node that has done its work and was stopped."""

    node: Serve
    film: Radiograph
    collected: list[bytes]
    listed: str

    @property
    def folder(self) -> Path:
        """Where the trail lies."""
        return self.node.state / "audit"

    def told(self, code: str) -> list[Xml.Element]:
        """Give the messages of one event."""
        return [root for root in told_in(self.folder) if event_of(root) == code]


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Audited]:
    """Send two films of a study and one stranger, let an operator look and change, stop; hashed UIDs in the log."""
    folder = tmp_path_factory.mktemp("audit")
    paths = []
    for number in range(2):
        film = Radiograph(rows=288, cols=256, patient=JANE, study="audited", seed=number)
        paths.append(folder / f"{number}.dcm")
        paths[-1].write_bytes(render(film).file)
    with FakeCollector() as collector, start_pacs() as pacs:
        syslog = {"AUDIT__SYSLOG__HOST": "127.0.0.1", "AUDIT__SYSLOG__PORT": str(collector.port)}
        settings = {**syslog, "AUDIT__SYSLOG__TRANSPORT": "tcp", "AUDIT__SITE": "Hospital", "LOG__UIDS": "hashed"}
        with serving(folder / "node", pacs, **settings) as node:
            assert node.send(paths) == [0, 0]
            node.wait(lambda: all_committed(node.jobs()))
            assert not node.echo(called="SOMEBODY")
            for arguments in (["jobs", "show", "1"], ["pause"], ["resume"], ["jobs", "retry", "1"]):
                assert node.cli(*arguments).returncode == 0, arguments
            (name,) = {event["study"] for event in node.events("instance_received")}
            listed = node.cli("jobs", "list", "--hash", name, "--json").stdout
            wait_for(lambda: len(collector.messages) >= len(lines_in(node.state / "audit")), 30)
            assert node.terminate() == 0
            yield Audited(node=node, film=film, collected=list(collector.messages), listed=listed)


def test_every_message_of_a_node_and_its_commands_follows_the_schema(audited: Audited) -> None:
    """PS3.15 A.5, over everything that was told."""
    lines = lines_in(audited.folder)
    assert len(lines) > 10
    assert [wrong_with(line) for line in lines] == [[]] * len(lines)
    assert {path.stat().st_mode & 0o777 for path in audited.folder.iterdir()} == {0o600}


def test_what_came_is_told_once_for_its_association_and_study(audited: Audited) -> None:
    """Begun with the first film, made with both, by whom, of whom."""
    came = [root for root in audited.told("110104") if _action(root) == "C"]
    text = Xml.tostring(came[0], encoding="unicode")
    assert len(came) == 1 and 'NumberOfInstances="2"' in text
    for said in ("Auditova^Jana", "AUDIT-1", "AETITLES=MODALITY", "127.0.0.1"):
        assert said in text


def test_what_went_is_told_for_every_object(audited: Audited) -> None:
    """Each SEG and SR that the archive took stands in a message that names the archive."""
    went = [root for root in audited.told("110104") if _action(root) == "R"]
    uids = Counter(one.get("UID") for root in went for one in root.iter("Instance"))
    sent = {one.sop_instance_uid for job in audited.node.jobs() for one in job.evidence}
    assert set(uids) == sent and len(sent) >= 2
    assert all("AETITLES=" in Xml.tostring(root, encoding="unicode") for root in went)


def test_who_was_turned_away_is_told_as_a_security_alert(audited: Audited) -> None:
    """With the reason that the log gives, too."""
    texts = [text for root in audited.told("110113") for text in alert_texts(root)]
    assert any("to SOMEBODY: the called AE title is not ours" in text for text in texts)


def test_what_operators_did_is_told_with_their_name(audited: Audited) -> None:
    """Looking, changing, pausing."""
    looked, changed = audited.told("110103")
    assert (_action(looked), _action(changed)) == ("R", "U")
    assert [one.get("UserIsRequestor") for one in looked.iter("ActiveParticipant")] == ["true", "false"]
    texts = [text for root in audited.told("110113") for text in alert_texts(root)]
    assert {"pause", "resume"} <= set(texts)


def test_the_node_s_start_and_stop_are_told(audited: Audited) -> None:
    """First and last."""
    kinds = [root.find("EventIdentification/EventTypeCode") for root in audited.told("110100")]
    assert [kind.get("csd-code") for kind in kinds if kind is not None] == ["110120", "110121"]


def test_a_collector_gets_every_message_as_it_stands_in_the_file(audited: Audited) -> None:
    """The commands' messages as well, which other processes wrote."""
    came = {header_and_message(framed)[1] for framed in audited.collected}
    before_the_stop = lines_in(audited.folder)[:-1]
    assert set(before_the_stop) <= came


def test_a_log_with_hashed_uids_names_no_study_and_the_operator_finds_it_all_the_same(audited: Audited) -> None:
    """No UID of a film or an object in the whole log; the hash leads to the job, and back."""
    with audited.node.ledger() as ledger:
        (study,) = {job.study_uid for job in ledger.find_jobs()}
    uids = {study} | {one.sop_instance_uid for job in audited.node.jobs() for one in job.evidence}
    uids |= {member.sop_instance_uid for job in audited.node.jobs() for member in job.members}
    text = audited.node.text()
    assert [uid for uid in uids if uid in text] == []
    salt = (audited.node.state / "log-salt").read_bytes()
    assert hash_of(study, salt) in text
    assert study in audited.listed


def test_the_log_beside_the_trail_names_nobody(audited: Audited) -> None:
    """What the trail says, the log does not."""
    assert not re.search("Auditova|AUDIT-1", audited.node.text())


def test_a_node_sends_its_audit_over_tls_to_the_collector_of_its_settings_only(tmp_path: Path) -> None:
    """With the node's own certificate; a collector of another authority gets nothing, and the health page says so."""
    hospital, elsewhere = Authority(tmp_path / "hospital"), Authority(tmp_path / "elsewhere", "elsewhere")
    files = hospital.issue("node")
    named = {f"TLS__{name.upper()}": str(getattr(files, name)) for name in ("certificate", "key", "authorities")}
    with FakeCollector(context=Tls(elsewhere.issue("it", trusting=hospital)).server_context()) as stranger:
        port = stranger.port
        node = Serve(tmp_path / "node", AUDIT__SYSLOG__HOST="localhost", AUDIT__SYSLOG__PORT=str(port), **named)
        try:
            node.start()
            node.wait(lambda: "TLS failed" in _health(node).get("detail", ""))
            assert stranger.messages == []
            stranger.stop()
            with FakeCollector(context=hospital.tls("collector").server_context(), port=port) as collector:
                node.wait(lambda: collector.messages)
                node.wait(lambda: _health(node).get("ok"))
        finally:
            node.clear_away()
    assert node.events("audit_delayed") and node.events("audit_resumed")


def test_a_killed_node_s_trail_says_that_a_transfer_began(tmp_path: Path) -> None:
    """Between an acknowledged film and the end of its association the node is killed: the patient stands there."""
    path = tmp_path / "film.dcm"
    path.write_bytes(render(Radiograph(rows=288, cols=256, patient=JANE, study="cut short")).file)
    with serving(tmp_path / "node") as node, _open_association(node.port) as association:
        assert association.send_c_store(path).Status == 0
        node.kill()
        codes = [event_of(root) for root in told_in(node.state / "audit")]
        assert codes == ["110100", "110102"]
        assert "AUDIT-1" in Xml.tostring(told_in(node.state / "audit")[1], encoding="unicode")


def _health(node: Serve) -> dict[str, Any]:
    """Give what the health page says of the audit trail; nothing while there is no page."""
    found: dict[str, Any] = node.health()[1].get("dependencies", {}).get("audit", {})
    return found


def _open_association(port: int):
    from contextlib import contextmanager

    from pynetdicom import AE
    from pynetdicom.sop_class import DigitalXRayImageStorageForPresentation as Film

    @contextmanager
    def opened():
        entity = AE("MODALITY")
        entity.add_requested_context(Film)
        association = entity.associate("127.0.0.1", port, ae_title="CXRNODE")
        assert association.is_established
        try:
            yield association
        finally:
            association.abort()

    return opened()


def _action(root: Xml.Element) -> str | None:
    event = root.find("EventIdentification")
    return None if event is None else event.get("EventActionCode")
