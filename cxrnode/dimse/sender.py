"""The sender: brings evidence to its destinations and asks them to commit to keep it.

Hides pynetdicom. Promises one result for each object whatever happens to the others; an object's bytes as they lie on
disk wherever the peer takes their transfer syntax; one association a destination, kept open between calls, made again
when it is lost and released when nobody uses it. One destination that stalls delays no other.

Sending an object again is harmless: it is the same object under the same UID (law 4). So the first object on a kept
association that turns out to be lost is sent once more on a new one.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pydicom.uid import UID
from pynetdicom import _config, evt

from cxrnode import telemetry
from cxrnode.dimse import commitment, contexts, status
from cxrnode.dimse.connection import Address, Waits, connect, end, lose, usable
from cxrnode.dimse.server import close_socket
from cxrnode.dimse.tls import HINT as TLS_HINT
from cxrnode.dimse.tls import Tls
from cxrnode.domain.access import Transport
from cxrnode.domain.delivery import Committable, Delivery, Destination
from cxrnode.errors import AssociationLost, ClassNotAccepted, CxrnodeError, NeedsOperator, Retryable, Stopping
from cxrnode.ports import StoreResult

if TYPE_CHECKING:
    from pynetdicom.association import Association
    from pynetdicom.events import Event as PeerEvent

T = TypeVar("T")


class Sender:
    """Implements `cxrnode.ports.Peer`. Safe to call from several threads; calls for one destination wait in turn."""

    def __init__(
        self,
        *,
        ae_title: str,
        report: commitment.Report,
        storage_classes: Sequence[str] = contexts.EVIDENCE_CLASSES,
        waits: Waits | None = None,
        tls: Tls | None = None,
    ) -> None:
        """Call ourselves `ae_title`; `report` takes commitment reports that come on our own associations.

        `tls`: for the destinations that want it.
        """
        # Send a file's own bytes instead of decoding and encoding it again.
        _config.STORE_SEND_CHUNKED_DATASET = True
        self._ae_title, self._report = ae_title, report
        self._contexts = contexts.proposed(storage_classes)
        self._waits, self._tls = waits or Waits(), tls
        self._lines: dict[Address, _Line] = {}
        self._lock = threading.Lock()
        self._open_ones: weakref.WeakSet[Association] = weakref.WeakSet()
        self._interrupted = False

    def echo(self, destination: Destination) -> None:
        """C-ECHO. Raises AssociationLost, or NeedsOperator when it is refused."""
        with self._line(destination) as line:
            line.use(partial(_echo, subject=destination.name))

    def negotiated(self, destination: Destination) -> Mapping[str, str]:
        """Give the storage classes of ours that the destination takes, each with the transfer syntax it would go in.

        Asked on a new association, as a kept one may be older than the archive's settings. It takes the kept one's
        place, as DCMTK's storescp and many a workstation serve one at a time. Raises as `echo` does.
        """
        with self._line(destination) as line:
            return contexts.agreed(line.anew().accepted_contexts)

    def accepted(self, destination: Destination) -> frozenset[str]:
        """Give the storage classes of ours that the destination takes. Raises as `echo` does."""
        return frozenset(self.negotiated(destination))

    def store(self, destination: Destination, deliveries: Sequence[tuple[Delivery, Path]]) -> Sequence[StoreResult]:
        """C-STORE each object; one result each, in order. Never raises for one object's failure.

        When the destination cannot be reached, refuses the association or does not answer, the rest is not tried.
        """
        if self._interrupted:
            return [_given_up(delivery) for delivery, _ in deliveries]
        results = self._stored(destination, deliveries)
        if self._interrupted:
            results = [_given_up(one.delivery) if isinstance(one.error, Retryable) else one for one in results]
        return results

    def _stored(self, destination: Destination, deliveries: Sequence[tuple[Delivery, Path]]) -> list[StoreResult]:
        results: list[StoreResult] = []
        with self._line(destination) as line:
            for delivery, path in deliveries:
                result = _store(line, destination, delivery, path)
                results.append(result)
                if line.given_up:
                    break
        rest = deliveries[len(results) :]
        return [*results, *(replace(results[-1], delivery=delivery) for delivery, _ in rest)]

    def ask_commitment(self, destination: Destination, transaction_uid: str, deliveries: Sequence[Committable]) -> bool:
        """N-ACTION for these objects. False: the destination does not offer storage commitment.

        Raises AssociationLost or Retryable to ask again later, NeedsOperator where the destination refuses us.
        """
        references = [(delivery.sop_class_uid, delivery.sop_instance_uid) for delivery in deliveries]
        information = commitment.request(transaction_uid, references)
        with self._line(destination) as line:
            return line.use(partial(_ask, information=information, subject=destination.name))

    def interrupt(self) -> None:
        """Break off what is under way, for good: of it, and of all that is asked later, only Stopping comes."""
        with self._lock:
            self._interrupted = True
            under_way = tuple(self._open_ones)
        for association in under_way:
            close_socket(association)

    def close(self) -> None:
        """Release every association."""
        with self._lock:
            lines, self._lines = list(self._lines.values()), {}
        for line in lines:
            with line:
                line.end()

    def address_of(self, destination: Destination) -> Address:
        """Give where a destination is, as we call it. NeedsOperator where it wants TLS and there is none."""
        return Address(
            host=destination.host,
            port=destination.port,
            called=destination.ae_title,
            calling=self._ae_title,
            tls=self._tls_for(destination),
            certificate_name=destination.certificate_name,
        )

    def _line(self, destination: Destination) -> _Line:
        address = self.address_of(destination)
        with self._lock:
            return self._lines.setdefault(address, _Line(address, self._open, self._waits))

    def _tls_for(self, destination: Destination) -> Tls | None:
        if destination.transport is not Transport.TLS:
            return None
        if self._tls is None:
            # Never in the clear where TLS was asked for.
            raise NeedsOperator("there is no TLS here", operation="associate", subject=destination.name, hint=TLS_HINT)
        return self._tls

    def _open(self, address: Address) -> Association:
        if self._interrupted:
            raise Stopping(operation="associate", subject=str(address))
        handlers = [
            (evt.EVT_N_EVENT_REPORT, partial(commitment.take_report, report=self._report)),
            (evt.EVT_CONN_OPEN, self._remember),
        ]
        return connect(address, self._contexts, self._waits, handlers)

    def _remember(self, event: PeerEvent) -> None:
        with self._lock:
            self._open_ones.add(event.assoc)
            late = self._interrupted
        if late:
            close_socket(event.assoc)


class _Line:
    """The association with one destination; the thread inside `with` has it to itself."""

    def __init__(self, address: Address, open_: Callable[[Address], Association], waits: Waits) -> None:
        self._address, self._open, self._waits = address, open_, waits
        self._lock = threading.Lock()
        self._association: Association | None = None
        self._closer: threading.Timer | None = None

    def __enter__(self) -> _Line:
        self._lock.acquire()
        self._disarm()
        return self

    def __exit__(self, *_: object) -> None:
        if self._association is not None:
            self._closer = threading.Timer(self._waits.idle_seconds, self._end_idle)
            self._closer.daemon = True
            self._closer.start()
        self._lock.release()

    @property
    def given_up(self) -> bool:
        """Whether the last use could not get an association, or the peer stalled."""
        return self._association is None

    def use(self, act: Callable[[Association], T]) -> T:
        """Do something on the association, once more on a new one where the kept one is lost."""
        kept = self._association
        if kept is not None and usable(kept):
            try:
                return self._watched(act, kept)
            except AssociationLost:
                if self.given_up:
                    raise
        return self._watched(act, self.anew())

    def anew(self) -> Association:
        """Make a new association in place of what is open."""
        self.end()
        self._association = self._open(self._address)
        return self._association

    def _watched(self, act: Callable[[Association], T], association: Association) -> T:
        began = time.monotonic()
        try:
            return act(association)
        except AssociationLost:
            lose(association)
            if time.monotonic() - began >= self._waits.answer_seconds:
                self.end()
            raise

    def end(self) -> None:
        """Release what is open."""
        self._disarm()
        association, self._association = self._association, None
        if association is not None:
            end(association)

    def _end_idle(self) -> None:
        # A call that came in between has the lock, and arms a closer of its own.
        if self._lock.acquire(blocking=False):
            try:
                self.end()
            finally:
                self._lock.release()

    def _disarm(self) -> None:
        closer, self._closer = self._closer, None
        if closer is not None:
            closer.cancel()


def _given_up(delivery: Delivery) -> StoreResult:
    error = Stopping(operation="C-STORE", subject=f"{delivery.sop_instance_uid} to {delivery.destination}")
    return StoreResult(delivery=delivery, status=status.NO_ANSWER, error=error)


def _store(line: _Line, destination: Destination, delivery: Delivery, path: Path) -> StoreResult:
    subject = f"{delivery.sop_instance_uid} to {destination.name}"
    answer, error = status.NO_ANSWER, None
    try:
        answer = line.use(partial(_send, path=path, subject=subject))
        error = status.failure(answer, operation="C-STORE", subject=subject)
    except CxrnodeError as failed:
        error = failed
    except Exception as surprise:  # noqa: BLE001 - the edge: one object's failure is one object's result
        telemetry.unexpected("C-STORE", surprise, destination=destination.name, instance=delivery.sop_instance_uid)
        error = Retryable("something unexpected happened", operation="C-STORE", subject=subject)
    return StoreResult(delivery=delivery, status=answer, error=error)


def _send(association: Association, path: Path, subject: str) -> int:
    sop_class, syntax = _read_meta(path, subject)
    offered = {(str(c.abstract_syntax), str(c.transfer_syntax[0])) for c in association.accepted_contexts}
    if (sop_class, syntax) in offered:
        return _status(lambda: association.send_c_store(path), "C-STORE", subject)
    if syntax in contexts.UNCOMPRESSED and any((sop_class, other) in offered for other in contexts.UNCOMPRESSED):
        return _status(lambda: association.send_c_store(dcmread(path)), "C-STORE", subject)
    raise ClassNotAccepted(
        f"the peer accepts no {UID(sop_class).name} in {UID(syntax).name}",
        operation="C-STORE",
        subject=subject,
        hint=status.CLASS_HINT,
    )


def _read_meta(path: Path, subject: str) -> tuple[str, str]:
    try:
        meta = read_file_meta_info(path)
        return str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID)
    except (OSError, InvalidDicomError, AttributeError) as error:
        raise NeedsOperator(
            "the kept object cannot be read",
            operation="C-STORE",
            subject=subject,
            hint="see 'A kept object cannot be read' in docs/operations.md",
        ) from error


def _echo(association: Association, subject: str) -> None:
    if not _accepts(association, contexts.VERIFICATION):
        raise NeedsOperator("the peer does not accept C-ECHO", operation="C-ECHO", subject=subject, hint=status.HINT)
    error = status.failure(_status(association.send_c_echo, "C-ECHO", subject), operation="C-ECHO", subject=subject)
    if error:
        raise error


def _ask(association: Association, information: Dataset, subject: str) -> bool:
    if not _accepts(association, contexts.STORAGE_COMMITMENT):
        return False
    answer = _status(
        lambda: association.send_n_action(
            information,
            commitment.REQUEST_ACTION,
            UID(contexts.STORAGE_COMMITMENT),
            UID(contexts.STORAGE_COMMITMENT_INSTANCE),
        )[0],
        "N-ACTION",
        subject,
    )
    if answer in status.NOT_OFFERED:
        return False
    error = status.failure(answer, operation="N-ACTION", subject=subject)
    if error:
        raise error
    return True


def _accepts(association: Association, abstract_syntax: str) -> bool:
    return any(context.abstract_syntax == abstract_syntax for context in association.accepted_contexts)


def _status(ask: Callable[[], Dataset], operation: str, subject: str) -> int:
    try:
        answer = ask()
    except RuntimeError as error:
        # pynetdicom's word for an association that ended before the request went out.
        raise AssociationLost(operation=operation, subject=subject) from error
    if "Status" not in answer:
        # pynetdicom's word for an abort, a closed connection, or no answer in time. Orthanc aborts an N-ACTION of an
        # AE title that it has no entry for.
        hint = "see 'A destination does not commit' in docs/operations.md" if operation == "N-ACTION" else ""
        raise AssociationLost("the peer did not answer", operation=operation, subject=subject, hint=hint)
    return int(answer.Status)
