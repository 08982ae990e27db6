"""The destinations, with every transfer to them told to the audit trail.

Hides which patient an object is of. Promises that the objects go to the same peer in the same order with the same
results, and that each study's transfer is told before its first byte leaves and after its last; one that is tried
again and again is one transfer, told when it begins, when why it fails changes, and when it is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from cxrnode import ports
from cxrnode.audit.events import Instances, Subject
from cxrnode.audit.trail import AuditTrail, Peer
from cxrnode.domain.delivery import Committable, Delivery, Destination
from cxrnode.errors import CxrnodeError
from cxrnode.pixels.header import HeaderReader
from cxrnode.ports import StoreResult

_MOST_TRIED = 10_000
"""Transfers that are remembered as told; of more, each attempt is told again."""


class AuditedPeer:
    """Implements ports.Peer over another one."""

    def __init__(self, peer: ports.Peer, trail: AuditTrail) -> None:
        """Send through `peer`, tell `trail`."""
        self._peer, self._trail = peer, trail
        self._failing: dict[tuple[Peer, Subject], str] = {}
        """Why what was begun and not made has failed, as it was told."""

    def echo(self, destination: Destination) -> None:
        """See ports.Peer."""
        self._peer.echo(destination)

    def accepted(self, destination: Destination) -> frozenset[str]:
        """See ports.Peer."""
        return self._peer.accepted(destination)

    def store(self, destination: Destination, deliveries: Sequence[tuple[Delivery, Path]]) -> Sequence[StoreResult]:
        """See ports.Peer."""
        subjects = {delivery.row: subject_of(path) for delivery, path in deliveries}
        other = Peer(ae_title=destination.ae_title, address=destination.host)
        for subject in dict.fromkeys(subjects.values()):
            if (other, subject) not in self._failing:
                self._trail.begins_sending(other, subject)
        results = self._peer.store(destination, deliveries)
        for subject in dict.fromkeys(subjects.values()):
            self._tell(other, subject, [one for one in results if subjects[one.delivery.row] == subject])
        return results

    def ask_commitment(self, destination: Destination, transaction_uid: str, deliveries: Sequence[Committable]) -> bool:
        """See ports.Peer."""
        return self._peer.ask_commitment(destination, transaction_uid, deliveries)

    def _tell(self, other: Peer, subject: Subject, results: Sequence[StoreResult]) -> None:
        """What went and what did not are two messages: one message has one outcome (PS3.15 A.5.2)."""
        went, stayed, why = Instances(), Instances(), ""
        for result in results:
            counted = went if result.error is None else stayed
            counted.add(result.delivery.sop_class_uid, result.delivery.sop_instance_uid)
            why = why or _why(result)
        if went.counts:
            self._trail.sent(other, subject, went)
        failed_before = self._failing.pop((other, subject), "")
        if stayed.counts:
            if why != failed_before:
                self._trail.sent(other, subject, stayed, failed=why)
            self._remember((other, subject), why)

    def _remember(self, transfer: tuple[Peer, Subject], why: str) -> None:
        if len(self._failing) >= _MOST_TRIED:
            self._failing.clear()
        self._failing[transfer] = why


def _why(result: StoreResult) -> str:
    error = result.error
    return error.happened if isinstance(error, CxrnodeError) else type(error).__name__ if error else ""


def subject_of(path: Path) -> Subject:
    """Give whose study a kept object is of; empty where it cannot be read, which the sender will say."""
    try:
        with path.open("rb") as file:
            return subject_in(file)
    except OSError:
        return Subject(study_uid="")


def subject_in(file: BinaryIO) -> Subject:
    """Give the same of a file that is open, whatever a sender wrote into it."""
    study_uid, patient = HeaderReader().whose(file)
    return Subject(
        study_uid=study_uid,
        patient_id=patient.patient_id,
        patient_name=patient.name,
        accession=patient.accession_number,
    )
