"""Receive: keep the bytes, record the row, and only then say Success (law 1).

Hides duplicates and revisions. Promises that whatever was answered with Success is durable and recorded.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

from cxrnode.domain.identity import StudyUID
from cxrnode.domain.selection import is_candidate
from cxrnode.domain.study import Arrival, Description, Recorded, Sender
from cxrnode.errors import Refused, Retryable
from cxrnode.ports import Archive, Clock, Ledger, Reader
from cxrnode.telemetry import Event, tell

SUCCESS = 0x0000
MISMATCH = 0xA900
"""Data Set does not match SOP Class (PS3.4 B.2.3)."""

Received = Callable[[Sender, Description], None]
"""Is told who sent what (the audit trail); raises nothing."""


class Reception:
    """The first step of the line, and what it knows of associations that are still sending."""

    def __init__(
        self, *, archive: Archive, ledger: Ledger, reader: Reader, clock: Clock, received: Received | None = None
    ) -> None:
        """Compose it over its ports; `received` is told of each instance that is about to be answered with Success."""
        self._archive = archive
        self._ledger = ledger
        self._reader = reader
        self._clock = clock
        self._received = received
        self._sending: dict[str, set[StudyUID]] = {}
        self._sending_lock = Lock()

    def receive(self, arrival: Arrival) -> int:
        """Keep, record, and only then answer Success (law 1). Raises Refused with the status to answer instead."""
        self._archive.check_space()
        description = self._reader.describe(arrival)
        _check_command(arrival, description.sop_class_uid, description.sop_instance_uid)
        self._mark_sending(arrival.sender.association, description.study_uid)
        recorded = self._ledger.find_twin(description)
        if recorded is Recorded.DUPLICATE:
            recorded = self._keep_again(arrival, description)
        else:
            key = self._archive.keep_source(arrival.path, description)
            recorded = self._ledger.record(
                description,
                arrival.sender,
                key,
                self._clock.now(),
                candidate=not description.unreadable and is_candidate(description.facts),
                priority=arrival.priority,
            )
        tell(
            Event.INSTANCE_RECEIVED,
            instance=description.sop_instance_uid,
            study=description.study_uid,
            recorded=str(recorded),
            bytes=description.size,
            association=arrival.sender.association,
        )
        if self._received is not None:
            self._received(arrival.sender, description)
        return SUCCESS

    def _keep_again(self, arrival: Arrival, description: Description) -> Recorded:
        """Let go what is here already; keep it where it is not, be it swept or lost with a disk."""
        if self._is_here(description):
            self._archive.discard(arrival.path)
            return Recorded.DUPLICATE
        key = self._archive.keep_source(arrival.path, description)
        if not self._ledger.restore(description, key, self._clock.now(), self._is_kept):
            raise Retryable("it was swept while it came again", operation="C-STORE", subject=arrival.sop_instance_uid)
        return Recorded.RESTORED

    def _is_here(self, description: Description) -> bool:
        key = self._ledger.kept_key(description)
        return key is not None and self._is_kept(key)

    def _is_kept(self, key: str) -> bool:
        return self._archive.path(key).is_file()

    def _mark_sending(self, association: str, study: StudyUID) -> None:
        with self._sending_lock:
            self._sending.setdefault(association, set()).add(study)

    def association_ended(self, association: str) -> None:
        """Whatever it sent, it sends no more."""
        with self._sending_lock:
            self._sending.pop(association, None)

    def still_sent(self, study: StudyUID) -> bool:
        """Tell whether an open association has sent this study."""
        with self._sending_lock:
            return any(study in studies for studies in self._sending.values())


def _check_command(arrival: Arrival, sop_class: str, sop_instance: str) -> None:
    """The data set has to be what the command said (PS3.4 B.2.3); a file has no command."""
    said = (arrival.sop_class_uid, arrival.sop_instance_uid)
    if any(said) and said != (sop_class, sop_instance):
        raise Refused(
            "the data set names another SOP instance than the C-STORE command",
            status=MISMATCH,
            operation="C-STORE",
            subject=arrival.sop_instance_uid,
            hint="the sender must repair it",
        )
