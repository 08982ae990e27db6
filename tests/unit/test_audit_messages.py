"""The messages of the audit trail: the schema of PS3.15 A.5, whatever a sender wrote into its headers."""

from __future__ import annotations

import os
import pwd
import threading
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cxrnode.audit import AuditTrail, book
from cxrnode.audit.book import Book
from cxrnode.audit.events import Instances, Subject
from cxrnode.audit.trail import Peer, user
from tests.auditing import alert_texts, event_of, lines_in, told_in, wrong_with
from tests.fakes.clock import FakeClock

MODALITY = Peer(ae_title="XR-1", address="10.20.0.5")
PACS = Peer(ae_title="PACS", address="pacs.example")
JANE = Subject(study_uid="1.2.3", patient_id="P-1", patient_name="Doe^Jane", accession="A-1")
FILM = "1.2.840.10008.5.1.4.1.1.1"


def trail_in(folder: Path, clock: FakeClock | None = None, keep_days: int = 0) -> AuditTrail:
    """Give a trail that writes to a folder."""
    now = (clock or FakeClock()).now
    return AuditTrail(folder, ae_title="CXRNODE", host="node.example", site="Hospital", now=now, keep_days=keep_days)


def tell_everything(trail: AuditTrail, subject: Subject, text: str) -> None:
    """Tell each kind of event once, with a text where a stranger's may stand."""
    trail.started()
    trail.received(MODALITY, subject, association="1", called="CXRNODE", sop_class=FILM, instance=f"1.2.{text}")
    trail.association_ended("1")
    trail.refused(calling_ae=text, called_ae=text, address=text, reason="the calling AE title is not on the list")
    trail.begins_sending(PACS, subject)
    trail.sent(PACS, subject, Instances(counts={FILM: 1}, listed={FILM: ["1.2.9"]}))
    trail.sent(PACS, subject, Instances(counts={FILM: 1}, listed={FILM: ["1.2.9"]}), failed=text)
    trail.deleted(subject, count=3, why="older than 30 days", by_operator=False)
    trail.deleted(subject, count=3, why=text, by_operator=True)
    trail.looked_at(subject, "jobs show 7")
    trail.changed(subject, "jobs retract 7 --because wrong_patient")
    trail.commanded("pause")
    trail.stopped()


def test_every_message_follows_the_schema(tmp_path: Path) -> None:
    """Elements, attributes, order and codes of PS3.15 A.5.1 and of the event's own table in A.5.3."""
    tell_everything(trail_in(tmp_path), JANE, "text")
    lines = lines_in(tmp_path)
    assert [wrong_with(line) for line in lines] == [[]] * 13
    assert {event_of(root) for root in told_in(tmp_path)} == {
        "110100",
        "110102",
        "110103",
        "110104",
        "110105",
        "110113",
    }


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@example(text="\x00\udc80\ufffe]]><!--\n\u202e")
@given(text=st.text(max_size=2000))
def test_no_text_of_a_stranger_breaks_a_message(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Control characters, markup, line feeds, halves of characters: each event stays one valid line."""
    folder = tmp_path_factory.mktemp("audit")
    subject = Subject(study_uid=text, patient_id=text, patient_name=text, accession=text)
    tell_everything(trail_in(folder), subject, text)
    lines = lines_in(folder)
    assert len(lines) == 13
    assert [wrong_with(line) for line in lines] == [[]] * 13


def test_the_validator_of_these_tests_finds_faults(tmp_path: Path) -> None:
    """Negative control: each damage to a valid message is seen."""
    tell_everything(trail_in(tmp_path), JANE, "text")
    line = next(each for each in lines_in(tmp_path) if b"110104" in each)
    assert wrong_with(line) == []
    for old, new in [
        (b' UserIsRequestor="true"', b""),
        (b'EventActionCode="C"', b'EventActionCode="X"'),
        (b'csd-code="110180"', b'code="110180"'),
        (b"ParticipantObjectName>", b"ParticipantName>"),
        (b'"110153"', b'"110154"'),
        (b"+00:00", b""),
    ]:
        assert old in line
        assert wrong_with(line.replace(old, new)) != [], old


def test_a_transfer_names_patient_study_and_both_ends(tmp_path: Path) -> None:
    """Who sent what of whom: that is what the trail is for."""
    trail = trail_in(tmp_path)
    for number in range(3):
        trail.received(MODALITY, JANE, association="4", called="CXRNODE", sop_class=FILM, instance=f"1.2.3.{number}")
    trail.association_ended("4")
    begin, made = told_in(tmp_path)
    assert (event_of(begin), event_of(made)) == ("110102", "110104")
    text = Xml.tostring(made, encoding="unicode")
    for said in ("Doe^Jane", "P-1", "A-1", "1.2.3", "XR-1", "10.20.0.5", 'NumberOfInstances="3"', "1.2.3.2"):
        assert said in text


def test_an_association_of_many_studies_is_told_study_by_study_in_bounded_memory(tmp_path: Path) -> None:
    """An archive that pushes a year on one association must not fill the memory, and every study is told once."""
    trail = trail_in(tmp_path)
    for number in range(200):
        subject = Subject(study_uid=f"1.2.{number}")
        trail.received(MODALITY, subject, association="1", called="CXRNODE", sop_class=FILM, instance=f"1.2.{number}.1")
    assert len(trail._transfers) <= 64
    trail.association_ended("1")
    made = [root for root in told_in(tmp_path) if event_of(root) == "110104"]
    assert len(made) == 200 and not trail._transfers


def test_a_study_of_thousands_of_objects_is_one_message_that_a_collector_takes(tmp_path: Path) -> None:
    """All are counted, as many are listed as fit."""
    trail = trail_in(tmp_path)
    uid = "1.2.840." + "9" * 50
    for number in range(3000):
        trail.received(MODALITY, JANE, association="1", called="CXRNODE", sop_class=FILM, instance=f"{uid}.{number}")
    trail.association_ended("1")
    line = lines_in(tmp_path)[-1]
    assert wrong_with(line) == []
    assert b'NumberOfInstances="3000"' in line


def test_a_line_that_was_torn_does_not_spoil_the_next(tmp_path: Path) -> None:
    """A power cut in the midst of a line: the next message begins a line of its own."""
    trail_in(tmp_path).commanded("pause")
    (path,) = tmp_path.glob("*.xml")
    path.write_bytes(path.read_bytes() + b"<AuditMessage><Event")
    trail_in(tmp_path).commanded("resume")
    first, torn, second = lines_in(tmp_path)
    assert (wrong_with(first), wrong_with(second)) == ([], [])
    assert torn == b"<AuditMessage><Event"


def test_a_line_that_another_process_tore_does_not_spoil_ours(tmp_path: Path) -> None:
    """An operator's command and a full disk, while the node has the file open."""
    trail = trail_in(tmp_path)
    trail.commanded("one")
    (path,) = tmp_path.glob("*.xml")
    with path.open("ab") as other:
        other.write(b"<AuditMessage><Event")
    trail.commanded("two")
    assert [alert_texts(Xml.fromstring(line)) for line in book.messages(path, 0, 1 << 20)[0]] == [["one"], ["two"]]


def test_a_message_does_not_wait_for_a_disk_that_is_slow_to_sync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The door tells refusals from the thread that accepts: a slow fsync must not keep everybody out."""
    trail, slow, told = trail_in(tmp_path), threading.Event(), threading.Event()
    trail.commanded("one")
    monkeypatch.setattr(book.os, "fsync", lambda handle: slow.set() or told.wait(10.0))
    syncing = threading.Thread(target=trail.sync)
    syncing.start()
    assert slow.wait(10.0)
    teller = threading.Thread(target=lambda: (trail.commanded("two"), told.set()))
    teller.start()
    teller.join(5.0)
    done = not teller.is_alive()
    told.set()
    syncing.join()
    assert done


def test_the_files_are_for_the_owner_only_and_one_a_day(tmp_path: Path) -> None:
    """Mode 0600 in a folder of 0700, a new file after midnight (UTC)."""
    clock = FakeClock()
    trail = trail_in(tmp_path / "audit", clock)
    trail.commanded("pause")
    clock.move(24 * 3600)
    trail.commanded("resume")
    files = sorted((tmp_path / "audit").iterdir())
    assert [path.name for path in files] == ["audit-2026-03-01.xml", "audit-2026-03-02.xml"]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert (tmp_path / "audit").stat().st_mode & 0o777 == 0o700


def test_files_are_removed_after_the_days_of_the_settings(tmp_path: Path) -> None:
    """With `keep_days = 2`, today's and the two days' before; without it, all."""
    clock = FakeClock()
    for keep_days, left in ((0, 6), (2, 3)):
        trail = trail_in(tmp_path, clock, keep_days)
        for _ in range(6 if keep_days == 0 else 0):
            trail.commanded("pause")
            clock.move(24 * 3600)
        clock.move(-24 * 3600 if keep_days == 0 else 0)
        trail.sync()
        assert len(list(tmp_path.iterdir())) == left


def test_a_file_that_cannot_be_written_is_said_once_and_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The work that was to be told of goes on; the log says that the trail does not."""
    blocked = tmp_path / "audit"
    blocked.write_text("a file where the folder should be")
    trail = trail_in(blocked)
    for _ in range(3):
        trail.commanded("pause")
    assert [record.message for record in caplog.records] == ["audit_failed"]
    blocked.unlink()
    trail.commanded("resume")
    assert [alert_texts(root) for root in told_in(blocked)] == [["resume"]]


def test_a_disk_that_fills_in_the_midst_of_a_message_spoils_that_one_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said; what was written of it is no message, and the next begins a line of its own."""
    trail = trail_in(tmp_path)
    trail.commanded("one")
    with monkeypatch.context() as full:
        full.setattr(book.os, "write", lambda handle, data: _write(handle, data[:100]))
        trail.commanded("two")
    trail.commanded("three")
    assert [record.message for record in caplog.records] == ["audit_failed"]
    first, torn, third = lines_in(tmp_path)
    assert (wrong_with(first), wrong_with(third), len(torn)) == ([], [], 100)
    assert book.messages(next(tmp_path.glob("*.xml")), 0, 1 << 20)[0] == [first, third]


_write = os.write


def test_a_file_that_was_moved_away_is_begun_anew(tmp_path: Path) -> None:
    """Messages must not go on into a file that nobody looks for."""
    trail = trail_in(tmp_path)
    trail.commanded("one")
    (path,) = tmp_path.glob("*.xml")
    path.rename(tmp_path / "moved")
    trail.commanded("two")
    path.unlink()
    trail.commanded("three")
    assert [alert_texts(root) for root in told_in(tmp_path)] == [["three"]]


def test_two_processes_write_whole_lines_to_one_file(tmp_path: Path) -> None:
    """The node and an operator's command, as two handles on one file."""
    clock = FakeClock()
    books = [Book(tmp_path), Book(tmp_path)]
    for number in range(100):
        books[number % 2].append(b"<AuditMessage>%d</AuditMessage>" % number, clock.now())
    assert lines_in(tmp_path) == [b"<AuditMessage>%d</AuditMessage>" % number for number in range(100)]


def test_who_became_somebody_else_is_told_by_his_own_name(tmp_path: Path) -> None:
    """Operators run the commands as the node's user: `sudo -u cxrnode`. What the kernel knows counts first."""
    unset, set_ = tmp_path / "unset", tmp_path / "set"
    unset.write_text(str(2**32 - 1))
    set_.write_text("0")
    assert user({"SUDO_USER": "alice"}, set_) == pwd.getpwuid(0).pw_name
    assert user({"SUDO_USER": "alice"}, unset) == "alice"
    assert user({"USER": "mallory", "LOGNAME": "mallory"}, unset) == pwd.getpwuid(os.getuid()).pw_name
    set_.write_text("3999999999")
    assert user({}, set_) == "uid 3999999999"
