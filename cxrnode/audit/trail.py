"""What the node, and an operator's command, tell the audit trail.

Hides messages, files and the collector. Promises that no verb raises or waits for a network: where the file cannot be
written the log says so, and the work that was to be told of goes on (docs/decisions/0037).

Transfers are told by association and study, not by instance (PS3.15 A.5.3.7): that one began with its first object,
that it was made when the association has ended. One that began and was not made was cut short with the node.
"""

from __future__ import annotations

import logging
import os
import pwd
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from cxrnode.audit import events
from cxrnode.audit.book import Book, first_day_kept
from cxrnode.audit.events import Instances, Side, Subject
from cxrnode.audit.forwarder import Forwarder
from cxrnode.audit.message import Action, Outcome, Participant, Source
from cxrnode.audit.syslog import HINT, Collector
from cxrnode.domain.study import Description, Sender
from cxrnode.telemetry import Event, tell, where

_HINT = "see 'The audit trail cannot be written' in docs/operations.md"
_NOBODY_LOGGED_IN = 2**32 - 1
"""Of a service, and where the kernel does not keep it."""
_MOST_STUDIES = 64
"""Of one association at once: one that brings a whole archive is told of study after study."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Who is at the other end."""

    ae_title: str
    address: str = ""


@dataclass(slots=True)
class _Transfer:
    subject: Subject
    peer: Peer
    called: str
    instances: Instances = field(default_factory=Instances)


class AuditTrail:
    """Owns the files and the connection to the collector; threads may share it."""

    def __init__(
        self,
        folder: Path,
        *,
        ae_title: str,
        host: str,
        now: Callable[[], datetime],
        site: str = "",
        keep_days: int = 0,
        collector: Collector | None = None,
    ) -> None:
        """Write below `folder` as the node `ae_title` of `host`, the audit source `ae_title@host`.

        Files are kept for `keep_days`, 0 for ever; where there is a collector, until they are sent in any case.
        """
        self._ae_title, self._now, self._keep_days = ae_title, now, keep_days
        self._source = Source(name=f"{ae_title}@{host}", site=site)
        self._book = Book(folder)
        self._forwarder = Forwarder(self._book, collector, host) if collector else None
        self._transfers: dict[tuple[str, str], _Transfer] = {}
        self._lock = threading.Lock()
        self._failing = False

    def started(self) -> None:
        """Tell that the node was started."""
        self._write(lambda at: events.activity(events.START, at, self._source, self._process(), user()))

    def stopped(self) -> None:
        """Tell that the node stops, bring everything to disk and let go of the collector."""
        with self._lock:
            open_ones = {association for association, _ in self._transfers}
        for association in open_ones:
            self.association_ended(association)
        self._write(lambda at: events.activity(events.STOP, at, self._source, self._process(), user()))
        self.close()

    def close(self) -> None:
        """Bring everything to disk."""
        self._book.close()
        if self._forwarder:
            self._forwarder.close()

    def took(self, sender: Sender, description: Description) -> None:
        """Tell of an instance that came and is about to be answered with Success, as the line has it."""
        patient = description.patient
        subject = Subject(
            study_uid=description.study_uid,
            patient_id=patient.patient_id,
            patient_name=patient.name,
            accession=patient.accession_number,
        )
        self.received(
            Peer(ae_title=sender.calling_ae, address=sender.address),
            subject,
            association=sender.association,
            called=sender.called_ae,
            sop_class=description.sop_class_uid,
            instance=description.sop_instance_uid,
        )

    def received(
        self, peer: Peer, subject: Subject, *, association: str, called: str, sop_class: str, instance: str
    ) -> None:
        """Tell of an instance that came and was answered with Success."""
        key = (association, subject.study_uid)
        with self._lock:
            transfer = self._transfers.get(key)
            begins = transfer is None
            if transfer is None:
                transfer = self._transfers[key] = _Transfer(subject=subject, peer=peer, called=called)
            transfer.instances.add(sop_class, instance)
            made = self._too_many(association)
        if begins:
            self._write(lambda at: events.begin(at, self._source, subject, _theirs(peer), self._ours(called)))
        if made:
            self._tell_transferred(made)

    def association_ended(self, association: str) -> None:
        """Tell of the transfers that were made on an association that brings no more."""
        with self._lock:
            made = [self._transfers.pop(key) for key in list(self._transfers) if key[0] == association]
        for transfer in made:
            self._tell_transferred(transfer)

    def heard(self, event: Event, fields: Mapping[str, object]) -> None:
        """Tell what the log says of a refusal at the door, where it was an association's."""
        if event is Event.ASSOCIATION_REFUSED:
            calling, called, address = (str(fields.get(name) or "") for name in ("calling_ae", "called_ae", "address"))
            count = f" ({fields['count']} times since)" if "count" in fields else ""
            self.refused(calling_ae=calling, called_ae=called, address=address, reason=f"{fields['reason']}{count}")

    def refused(self, *, calling_ae: str, called_ae: str, address: str, reason: str) -> None:
        """Tell of an association that was refused, or a TLS connection that was not made."""
        asker = Participant(user=calling_ae or address or "unknown", requestor=False, address=address)
        self._write(
            lambda at: events.alert(
                events.NODE_AUTHENTICATION,
                at,
                self._source,
                (self._process(), asker),
                about={"node": address or calling_ae},
                because=f"association from {calling_ae or '(no AE title)'} to {called_ae or '(none)'}: {reason}",
                outcome=Outcome.MINOR_FAILURE,
            )
        )

    def begins_sending(self, peer: Peer, subject: Subject) -> None:
        """Tell that objects of a study are about to be sent."""
        self._write(lambda at: events.begin(at, self._source, subject, self._ours(), _theirs(peer)))

    def sent(self, peer: Peer, subject: Subject, instances: Instances, *, failed: str = "") -> None:
        """Tell what of a study was sent, or `failed` to be, and why."""
        self._write(
            lambda at: events.transferred(
                at, self._source, subject, instances, self._ours(), _theirs(peer), came=False, failed=failed
            )
        )

    def deleted(self, subject: Subject, *, count: int, why: str, by_operator: bool) -> None:
        """Tell that a study's objects were removed from the spool, by an operator or by the node's own rule."""
        who = self._operators() if by_operator else (self._process(),)
        gone = Instances(counts={"": count})
        self._write(lambda at: events.deleted(at, self._source, subject, gone, who, why))

    def looked_at(self, subject: Subject, command: str) -> None:
        """Tell that an operator was shown a study's results."""
        self._write(lambda at: events.accessed(Action.READ, at, self._source, subject, self._operators(), command))

    def changed(self, subject: Subject, command: str) -> None:
        """Tell that an operator changed what is stated of a study (retract) or had it stated again (retry)."""
        self._write(lambda at: events.accessed(Action.UPDATE, at, self._source, subject, self._operators(), command))

    def commanded(self, command: str) -> None:
        """Tell that an operator used a command that changes the node or names several patients."""
        self._write(
            lambda at: events.alert(
                events.RESTRICTED_FUNCTION,
                at,
                self._source,
                self._operators(),
                about={"uri": f"urn:cxrnode:command:{command.split()[0]}"},
                because=command,
                outcome=Outcome.SUCCESS,
            )
        )

    def sync(self) -> int:
        """Bring what was told to disk and remove what is too old; always gives 0. For a bell."""
        try:
            self._book.sync()
            self._remove_old()
        except OSError as error:
            self._failed(error)
        return 0

    def forward(self) -> int:
        """Send a batch to the collector; give how many messages went. For a bell."""
        try:
            return self._forwarder.forward() if self._forwarder else 0
        except OSError as error:
            self._failed(error)
            return 0

    def trouble(self) -> tuple[str, str]:
        """Say what is wrong, and what to do; empty where nothing is."""
        if self._failing:
            return "its files cannot be written", _HINT
        delayed = self._forwarder.delayed if self._forwarder else ""
        return (f"{delayed}; its messages wait in the files", HINT) if delayed else ("", "")

    def interrupt(self) -> None:
        """Break off what is being sent: it is sent again at the next start."""
        if self._forwarder:
            self._forwarder.interrupt()

    def waiting_bytes(self) -> int:
        """Give how much waits for the collector."""
        return self._forwarder.waiting_bytes() if self._forwarder else 0

    def _remove_old(self) -> None:
        if self._keep_days:
            names = self._forwarder.done_with() if self._forwarder else {path.name for path in self._book.files()}
            self._book.remove_before(first_day_kept(self._now().date(), self._keep_days), names)

    def _too_many(self, association: str) -> _Transfer | None:
        mine = [key for key in self._transfers if key[0] == association]
        return self._transfers.pop(mine[0]) if len(mine) > _MOST_STUDIES else None

    def _tell_transferred(self, made: _Transfer) -> None:
        sender, receiver = _theirs(made.peer), self._ours(made.called)
        self._write(
            lambda at: events.transferred(at, self._source, made.subject, made.instances, sender, receiver, came=True)
        )

    def _write(self, composed: Callable[[datetime], bytes]) -> None:
        at = self._now()
        try:
            self._book.append(composed(at), at)
            self._failing = False
        except OSError as error:
            self._failed(error)
        except Exception as error:  # noqa: BLE001 - the edge: the audit must not end the work that it tells of
            tell(Event.AUDIT_FAILED, logging.ERROR, error=type(error).__name__, where=where(error))

    def _failed(self, error: OSError) -> None:
        """Say it once, until a message is written again."""
        if not self._failing:
            self._failing = True
            tell(Event.AUDIT_FAILED, logging.ERROR, error=type(error).__name__, code=error.errno, hint=_HINT)

    def _process(self) -> Participant:
        return Participant(
            user=str(os.getpid()), requestor=False, ae_titles=(self._ae_title,), name="cxrnode", role=events.APPLICATION
        )

    def _operators(self) -> tuple[Participant, ...]:
        return Participant(user=user(), requestor=True), self._process()

    def _ours(self, called: str = "") -> Side:
        return Side(ae_title=called or self._ae_title, user=str(os.getpid()))


def user(environment: Mapping[str, str] = os.environ, login: Path = Path("/proc/self/loginuid")) -> str:
    """Give who runs this process: who logged in, as the kernel knows it; else whom `sudo` names, else its user.

    The variables LOGNAME and USER are not asked: anybody can write them.
    """
    with suppress(OSError, ValueError):
        uid = int(login.read_text())
        if uid != _NOBODY_LOGGED_IN:
            return _name(uid)
    return environment.get("SUDO_USER") or _name(os.getuid())


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _theirs(peer: Peer) -> Side:
    return Side(ae_title=peer.ae_title, address=peer.address)
