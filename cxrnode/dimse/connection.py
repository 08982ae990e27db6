"""An association that we ask for.

Hides how pynetdicom makes one and how it says that it could not. Promises TCP_NODELAY, a time limit on every wait, and
AssociationLost or NeedsOperator where there is no association. That TLS failed is AssociationLost with the reason in
words: certificates are renewed by somebody else, and then it works again without anybody here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from queue import Queue
from typing import TYPE_CHECKING, Any

from pynetdicom import evt
from pynetdicom.ae import ApplicationEntity
from pynetdicom.dimse_primitives import N_EVENT_REPORT
from pynetdicom.presentation import PresentationContext
from pynetdicom.service_class_n import StorageCommitmentServiceClass

from cxrnode.dimse.answers import hold_to_answers
from cxrnode.dimse.contexts import MAXIMUM_PDU
from cxrnode.dimse.handshake import SILENT_SERVER, TLS_SERVER, Call, is_record
from cxrnode.dimse.server import close_socket, connected, quieten, tune
from cxrnode.dimse.tls import HINT as TLS_HINT
from cxrnode.dimse.tls import Tls
from cxrnode.errors import AssociationLost, CxrnodeError, NeedsOperator

if TYPE_CHECKING:
    from pynetdicom.association import Association
    from pynetdicom.dimse_primitives import DimseServiceType
    from pynetdicom.events import Event

HINT = "see 'A destination refuses the association' in docs/operations.md"

_NOTHING = b"nothing"
"""In place of the peer's first bytes: it closed the connection without any."""

# Source and diagnostic of a permanent A-ASSOCIATE-RJ (PS3.8 Table 9-21) that only a person can mend.
_REJECTED = {
    (1, 1): "the peer rejects the association and gives no reason",
    (1, 2): "the peer does not know the DICOM application context",
    (1, 3): "the peer does not know our AE title",
    (1, 7): "the peer does not have this AE title",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a peer listens, and what it and we are called.

    `tls`: under which the association goes, in the clear where there is none; `certificate_name`: the name that the
    peer's certificate is for, its host where empty, any where "*".
    """

    host: str
    port: int
    called: str
    calling: str
    tls: Tls | None = None
    certificate_name: str = ""

    def __str__(self) -> str:
        return f"{self.called} at {self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """How long we wait, in seconds: for a connection, for the association, for one answer, and before an association
    that nobody uses is released."""

    connect_seconds: float = 10.0
    negotiation_seconds: float = 20.0
    answer_seconds: float = 60.0
    idle_seconds: float = 30.0


def connect(
    address: Address,
    contexts: Sequence[PresentationContext],
    waits: Waits,
    handlers: Sequence[Any] = (),
    roles: Sequence[Any] = (),
) -> Association:
    """Make an association. Raises AssociationLost, or NeedsOperator where the peer refuses it for good."""
    quieten()
    entity = ApplicationEntity(ae_title=address.calling)
    entity.connection_timeout, entity.acse_timeout = waits.connect_seconds, waits.negotiation_seconds
    # The owner releases an association that is idle; pynetdicom's own idle limit races with a request just begun.
    entity.dimse_timeout, entity.network_timeout = waits.answer_seconds, None

    call = _Call(address)

    def opened(event: Event) -> None:
        tune(connected(event.assoc), waits.answer_seconds)
        hold_to_answers(event.assoc)
        call.listen_to(event.assoc)
        _serve_reports_apart(event.assoc)
        _leave_answers(event.assoc)

    try:
        association = entity.associate(
            address.host,
            address.port,
            list(contexts),
            address.called,
            MAXIMUM_PDU,
            ext_neg=list(roles),
            evt_handlers=[(evt.EVT_CONN_OPEN, opened), *handlers],
            tls_args=call.tls_args,  # type: ignore[arg-type]  # it uses wrap_socket only
        )
    except OSError as error:
        raise AssociationLost("the host name has no address", operation="associate", subject=str(address)) from error
    if not association.is_established:
        raise call.insecure() or _why_not(association, address)
    _drop_what_was_not_offered(association)
    return association


def _drop_what_was_not_offered(association: Association) -> None:
    """Take an answer that names a transfer syntax which we did not propose (PS3.8 9.3.3.2) for a refusal: nothing can
    be sent in it, and pynetdicom's requests end in a ValueError."""
    proposed = {one.context_id: one.transfer_syntax for one in association.requestor.requested_contexts}
    for number, context in list(association._accepted_cx.items()):
        if context.transfer_syntax[0] not in proposed.get(number, ()):
            del association._accepted_cx[number]


class _Call:
    """What one attempt came to below DICOM, which pynetdicom does not say: TLS, and how the peer's answer begins."""

    def __init__(self, address: Address) -> None:
        self._address, self._heard = address, b""
        named = address.certificate_name != "*"
        name = address.certificate_name if named and address.certificate_name else address.host
        self._secured = Call(address.tls, name, named=named) if address.tls is not None else None

    @property
    def tls_args(self) -> tuple[Call, str] | None:
        return (self._secured, self._secured.name) if self._secured is not None else None

    def listen_to(self, association: Association) -> None:
        wrapped: Any = association.dul.socket
        if self._secured is not None:
            self._secured.begun()
        else:
            wrapped.recv = partial(self._hear, wrapped, wrapped.recv)

    def insecure(self) -> CxrnodeError | None:
        """Give why there was no association, where that is a matter of TLS."""
        says = self._secured.trouble() if self._secured is not None else self._no_dicom()
        return AssociationLost(says, operation="associate", subject=str(self._address), hint=TLS_HINT) if says else None

    def _hear(self, wrapped: Any, read: Callable[[int], bytearray], count: int) -> bytearray:
        """Keep how the first PDU begins."""
        wrapped.recv, self._heard = read, _NOTHING
        data = read(count)
        self._heard = bytes(data) or _NOTHING
        return data

    def _no_dicom(self) -> str:
        if is_record(self._heard):
            return TLS_SERVER
        return SILENT_SERVER if self._heard is _NOTHING else ""


def usable(association: Association) -> bool:
    """Tell whether a request may go out. pynetdicom's `is_established` alone lags behind the end of the connection,
    and a request begun in between waits its full time for nothing."""
    return association.is_established and association.dul.is_alive()


def end(association: Association) -> None:
    """Release the association, or abort it where it does not answer."""
    if usable(association):
        association.release()
    lose(association)


def lose(association: Association) -> None:
    """Abandon an association that did not answer, whatever pynetdicom still believes of it."""
    if association.is_established:
        association.abort()
    close_socket(association)


def _why_not(association: Association, address: Address) -> CxrnodeError:
    if association.is_rejected:
        answer: Any = association.acceptor.primitive
        says = _REJECTED.get((answer.result_source, answer.diagnostic)) if answer and answer.result == 1 else None
        if says:
            return NeedsOperator(says, operation="associate", subject=str(address), hint=HINT)
        return AssociationLost("the peer takes no more associations now", operation="associate", subject=str(address))
    if association.rejected_contexts and not association.accepted_contexts:
        return NeedsOperator(
            "the peer accepts none of what we offer", operation="associate", subject=str(address), hint=HINT
        )
    return AssociationLost("no association could be made", operation="associate", subject=str(address))


def _serve_reports_apart(association: Association) -> None:
    """Serve N-EVENT-REPORT without pynetdicom's Association._serve_request.

    That method sets the flag by which the send methods wait for the reactor (`_is_paused`) to False when it is done,
    from a thread of its own: a request begun at that moment would wait for ever.
    """

    def serve(msg: DimseServiceType, context_id: int) -> None:
        context = association._accepted_cx.get(context_id)
        if context is not None and isinstance(msg, N_EVENT_REPORT) and msg.is_valid_request:
            StorageCommitmentServiceClass(association).SCP(msg, context)

    association._serve_request = serve  # type: ignore[method-assign]


def _leave_answers(association: Association) -> None:
    """Let pynetdicom's reactor take requests only.

    A send method waits for a flag that the reactor sets before it stops, so that one more turn of it may come after,
    which takes an answer off the queue and drops it: one match of a C-FIND would be missing without anybody knowing.
    """
    provider = association.dimse
    take = provider.get_msg

    def get_msg(block: bool = False) -> Any:
        return take(block) if block or _is_request(provider.msg_queue) else (None, None)

    provider.get_msg = get_msg  # type: ignore[method-assign]


def _is_request(waiting: Queue[Any]) -> bool:
    with waiting.mutex:
        message = waiting.queue[0][1] if waiting.queue else None
    return message is not None and message.is_valid_request
