"""The listener: takes what modalities and archives push, and the commitment reports of archives.

Hides pynetdicom. Promises that C-STORE is answered only after `receive` has returned, with its status; that the file
handed over holds the peer's data set byte for byte; that `association_ended` is called exactly once for every
association that was opened, after the last of its instances was received.

A disk under its floor does not close the door: the association is accepted, C-ECHO and commitment reports are
answered, and each C-STORE gets 0xA700, which tells the sender what is wrong; a rejected association would not.
"""

from __future__ import annotations

import ipaddress
import itertools
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from pynetdicom import evt

from cxrnode import telemetry
from cxrnode.dimse import contexts, status
from cxrnode.dimse.acceptor import reject, visit_of
from cxrnode.dimse.commitment import Report, take_report
from cxrnode.dimse.handshake import names_of
from cxrnode.dimse.house import RELEASED
from cxrnode.dimse.refusals import Heard, Refusals
from cxrnode.dimse.server import STOPPING, Limits, Securing, Server, Spooling, connected
from cxrnode.dimse.spool import Part, SpoolingProvider, refusal_of
from cxrnode.dimse.tls import HINT as TLS_HINT
from cxrnode.dimse.tls import Tls
from cxrnode.domain.identity import AETitle, InstanceUID
from cxrnode.domain.study import Arrival, Sender
from cxrnode.errors import CxrnodeError, NeedsOperator, Refused, Retryable
from cxrnode.telemetry import Event

if TYPE_CHECKING:
    from pynetdicom.association import Association
    from pynetdicom.events import Event as PeerEvent

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

REJECTED = {
    (1, 1, 1): "the address is not on the list",
    (1, 1, 3): "the calling AE title is not on the list",
    (1, 1, 7): "the called AE title is not ours",
    (2, 3, 2): "too many associations",
}
"""Result, source and diagnostic of the A-ASSOCIATE-RJ that we answer with (PS3.8 Table 9-21)."""
_WRONG_ADDRESS = _NO_REASON = (1, 1, 1)
_WRONG_CALLING_TITLE = (1, 1, 3)
UNCHECKED = "who it is could not be checked"
ANOTHER_S_TITLE = "the certificate is not for this calling AE title (listener.certificate_names)"

HINT = "see 'Who is refused, and why' in docs/operations.md"

_HIGH = 1
"""Priority (0000,0700) of a C-STORE that is urgent (PS3.7 9.3.1.1)."""

_CLASSES_TOLD = 20
"""Of an association that offers classes which are not taken: some senders offer every class there is."""

_ORDINARY = (RELEASED, STOPPING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """Who may come in, and with what. An empty list of calling AE titles or networks lets everybody in."""

    ae_title: str
    host: str = "127.0.0.1"
    port: int = 11112
    """0 takes a free port; see `Listener.port`."""
    calling_ae_titles: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    """Addresses or networks: `10.1.2.3`, `10.1.0.0/16`, `fe80::/10`."""
    storage_classes: tuple[str, ...] = contexts.SOURCE_CLASSES
    limits: Limits = field(default_factory=Limits)
    tls: Tls | None = None
    """Under which every association comes in; in the clear where there is none."""
    certificate_names: Mapping[str, str] = field(default_factory=dict)
    """By calling AE title: a name that the certificate of who calls itself so has to be for."""


class _Request(Protocol):
    """pynetdicom's C-STORE request, as `SpoolingProvider` leaves it."""

    AffectedSOPClassUID: str
    AffectedSOPInstanceUID: str
    Priority: int | None
    _dataset_file: Part | None


def _nothing(*_: object) -> None:
    return


class Listener:
    """Owns the port and the associations on it."""

    def __init__(
        self,
        door: Door,
        *,
        incoming: Path,
        receive: Callable[[Arrival], int],
        report: Report,
        admit: Callable[[], None] = _nothing,
        association_opened: Callable[[Sender], None] = _nothing,
        association_ended: Callable[[str], None] = _nothing,
        refused: Heard = _nothing,
    ) -> None:
        """Keep what is needed; `start` opens the port.

        `receive` gives the DIMSE status, or raises Refused with it; it may move the file away, which is otherwise
        removed. `admit` raises Refused (OutOfSpace) where no object may be taken now; it is called before the first
        byte of each is written. `report` takes a commitment report, False for an unknown transaction. `refused` is
        told what is logged of refusals. All are called from the associations' own threads, several at once.
        """
        self._receive, self._report = receive, report
        self._opened, self._ended = association_opened, association_ended
        self._networks = _networks(door.networks)
        self._numbers = itertools.count(1)
        self._senders: dict[Association, Sender] = {}
        self._door, self._refusals = door, Refusals(heard=refused)
        self._server = Server(
            ae_title=door.ae_title,
            host=door.host,
            port=door.port,
            contexts=contexts.accepted(door.storage_classes),
            handlers=self._handlers(),
            spooling=Spooling(
                folder=incoming,
                admit=lambda _: admit(),
                ended=self._end,
                turned_away=self._tell_turned_away,
                look_around=self._refusals.flush,
            ),
            limits=door.limits,
            calling_ae_titles=door.calling_ae_titles,
            securing=Securing(tls=door.tls, failed=self._tell_insecure),
        )

    @property
    def port(self) -> int:
        """The port in use."""
        return self._server.port

    def start(self) -> None:
        """Listen. NeedsOperator where the address cannot be used."""
        try:
            self._server.start()
        except OSError as error:
            raise NeedsOperator(
                f"cannot listen: errno {error.errno}",
                operation="listen",
                subject=f"{self._door.host}:{self._door.port}",
                hint="see 'The port is taken' in docs/operations.md",
            ) from error
        telemetry.tell(Event.LISTENING, aet=self._door.ae_title, address=self._door.host, port=self.port)

    def stop(self, grace_seconds: float = 5.0) -> None:
        """Take no more associations, let objects under way be answered for `grace_seconds`, then abort the rest.

        Returns within 4 s more; only a `receive` that is still busy then is left behind.
        """
        self._server.stop(grace_seconds)
        self._refusals.flush(everything=True)

    def _handlers(self) -> list[tuple[object, ...]]:
        return [
            (evt.EVT_REQUESTED, self._check_address),
            (evt.EVT_REJECTED, self._tell_rejected),
            (evt.EVT_ESTABLISHED, self._begin),
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_N_EVENT_REPORT, partial(take_report, report=self._report)),
            (evt.EVT_N_ACTION, _refuse_action),
        ]

    def _check_address(self, event: PeerEvent) -> None:
        try:
            if not self._may_enter(_address(event.assoc)):
                reject(event.assoc, REJECTED[_WRONG_ADDRESS], _WRONG_ADDRESS)
            elif not self._is_who_it_says(event.assoc):
                reject(event.assoc, ANOTHER_S_TITLE, _WRONG_CALLING_TITLE)
        except Exception as error:  # noqa: BLE001 - the edge: pynetdicom would log it, and let the peer in
            telemetry.unexpected("check_address", error)
            reject(event.assoc, UNCHECKED, _NO_REASON)

    def _is_who_it_says(self, association: Association) -> bool:
        asked: Any = association.requestor.primitive
        name = self._door.certificate_names.get(str(asked.calling_ae_title).strip())
        return name is None or name.lower() in names_of(connected(association))

    def _may_enter(self, address: str) -> bool:
        if not self._networks:
            return True
        try:
            peer = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(peer in network for network in self._networks)

    def _tell_rejected(self, event: PeerEvent) -> None:
        association = event.assoc
        asked: Any = association.requestor.primitive
        answer: Any = association.acceptor.primitive
        why = (answer.result, answer.result_source, answer.diagnostic)
        self._refusals.tell(
            Event.ASSOCIATION_REFUSED,
            calling_ae=asked.calling_ae_title,
            called_ae=asked.called_ae_title,
            address=_address(association),
            reason=visit_of(association).why or REJECTED.get(why, "rejected"),
            hint=HINT,
        )

    def _tell_turned_away(self, address: str, why: str, stumbled: str) -> None:
        more: dict[str, Any] = {"error": stumbled} if stumbled else {}
        self._refusals.tell(Event.ASSOCIATION_REFUSED, address=address, reason=why, hint=HINT, **more)

    def _tell_insecure(self, address: str, why: str) -> None:
        self._refusals.tell(Event.ASSOCIATION_REFUSED, address=address, reason=why, hint=TLS_HINT)

    def _begin(self, event: PeerEvent) -> None:
        association = event.assoc
        asked: Any = association.requestor.primitive
        sender = Sender(
            calling_ae=AETitle(str(asked.calling_ae_title).strip()),
            called_ae=AETitle(str(asked.called_ae_title).strip()),
            address=_address(association),
            association=str(next(self._numbers)),
        )
        self._senders[association] = sender
        telemetry.tell(
            Event.ASSOCIATION_OPENED,
            association=sender.association,
            calling_ae=sender.calling_ae,
            called_ae=sender.called_ae,
            address=sender.address,
        )
        self._tell_classes(association, sender)
        try:
            self._opened(sender)
        except Exception as error:  # noqa: BLE001 - the edge: pynetdicom would log the text of whatever comes
            telemetry.unexpected("association_opened", error)

    def _tell_classes(self, association: Association, sender: Sender) -> None:
        """Tell the classes that were offered and are not taken: loud where the sender can send nothing at all."""
        accepted = {str(context.abstract_syntax) for context in association.accepted_contexts}
        asked: Any = association.requestor.primitive
        offered = dict.fromkeys(str(each.abstract_syntax) for each in asked.presentation_context_definition_list)
        refused = [sop_class for sop_class in offered if sop_class not in accepted]
        storing = accepted - {contexts.VERIFICATION, contexts.STORAGE_COMMITMENT}
        for sop_class in refused[:_CLASSES_TOLD]:
            self._refusals.tell(
                Event.CLASS_NOT_ACCEPTED,
                logging.INFO if storing else logging.WARNING,
                sop_class=sop_class,
                calling_ae=sender.calling_ae,
                address=sender.address,
                reason="not among the classes that are taken",
                hint=HINT,
            )

    def _end(self, association: Association, why: str) -> None:
        sender = self._senders.pop(association, None)
        if sender is None:
            return
        telemetry.tell(
            Event.ASSOCIATION_ENDED,
            logging.INFO if why in _ORDINARY else logging.WARNING,
            association=sender.association,
            calling_ae=sender.calling_ae,
            address=sender.address,
            reason=why,
        )
        try:
            self._ended(sender.association)
        except Exception as error:  # noqa: BLE001 - the edge: the last act of the association's thread
            telemetry.unexpected("association_ended", error)

    def _store(self, event: PeerEvent) -> int:
        request, provider = cast(_Request, event.request), cast(SpoolingProvider, event.assoc.dimse)
        sender = self._senders[event.assoc]
        try:
            return self._take(event, request, sender)
        except Refused as refused:
            return self._tell_refused(request, sender, refused.status, refused)
        except Retryable as error:
            return self._tell_refused(request, sender, status.OUT_OF_RESOURCES, error)
        except OSError as error:
            # A disk that fails says nothing of the object.
            failing = refusal_of(error)
            return self._tell_refused(request, sender, failing.status, failing)
        except Exception as error:  # noqa: BLE001 - the edge: the sender gets an answer whatever comes
            telemetry.unexpected("C-STORE", error, association=sender.association)
            return status.CANNOT_UNDERSTAND
        finally:
            if request._dataset_file is not None:
                provider.done_with(request._dataset_file)

    def _take(self, event: PeerEvent, request: _Request, sender: Sender) -> int:
        part = request._dataset_file
        if request.AffectedSOPClassUID != event.context.abstract_syntax:
            # PS3.7 9.1.1.1.9: the class of the request is not the one its presentation context stands for.
            raise Refused("the SOP class is not the context's", status=status.SOP_CLASS_NOT_SUPPORTED)
        if part is None:
            raise Refused("a C-STORE without data set", status=status.CANNOT_UNDERSTAND)
        part.close()
        if part.refused:
            raise part.refused
        return self._receive(
            Arrival(
                path=part.path,
                sop_class_uid=str(request.AffectedSOPClassUID),
                sop_instance_uid=InstanceUID(str(request.AffectedSOPInstanceUID)),
                transfer_syntax_uid=str(event.context.transfer_syntax),
                sender=sender,
                priority=int(request.Priority == _HIGH),
            )
        )

    def _tell_refused(self, request: _Request, sender: Sender, answer: int, error: CxrnodeError) -> int:
        more: dict[str, Any] = {"hint": error.hint} if error.hint else {}
        self._refusals.tell(
            Event.INSTANCE_REFUSED,
            instance=str(request.AffectedSOPInstanceUID),
            status=f"0x{answer:04X}",
            reason=error.happened,
            association=sender.association,
            calling_ae=sender.calling_ae,
            address=sender.address,
            **more,
        )
        return answer


def _refuse_action(_: PeerEvent) -> tuple[int, None]:
    # The node is no archive: it never commits to keep what it was sent.
    return status.UNRECOGNISED_OPERATION, None


def _networks(texts: Sequence[str]) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(text, strict=False) for text in texts)


def _address(association: Association) -> str:
    return str(association.requestor.address).removeprefix("::ffff:")
