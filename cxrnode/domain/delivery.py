"""The life of a delivery: one evidence object on its way to one destination.

Theory of operation. A delivery is PENDING in the same transaction that completes its job. A claim leases it
(SENDING); an expired lease is claimed again. A C-STORE that the peer took makes it SENT. Where the destination
commits, the storage commitment transaction is recorded before N-ACTION goes out, and the N-EVENT-REPORT brings it
to COMMITTED, or back to PENDING for what the archive says it does not hold. A report that never comes is asked for
again when its time is over. Without commitment SENT is final, and is never called committed. PARKED waits for an
operator. WITHDRAWN is not sent and not to be: its destination takes no such class and gets something else instead, or
its job states it no more, or an operator took its results back. Nobody has to look at it; only a job that states it
(again) brings it back, and what was sent is never withdrawn: a rejection note is what takes that back.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from cxrnode.domain.access import Transport
from cxrnode.domain.capability import Kind, ReportClass
from cxrnode.domain.identity import AETitle


class DeliveryState(StrEnum):
    """Where a delivery stands."""

    PENDING = "PENDING"
    SENDING = "SENDING"
    SENT = "SENT"
    COMMITTED = "COMMITTED"
    PARKED = "PARKED"
    WITHDRAWN = "WITHDRAWN"
    """Not sent and not to be."""


class DeliveryEvent(StrEnum):
    """What can happen to a delivery."""

    CLAIM = "claim"
    STORED = "stored"
    RETRY = "retry"
    PARK = "park"
    COMMIT = "commit"
    NOT_HELD = "not_held"
    """The archive's report says it does not have the object."""
    WITHDRAW = "withdraw"
    """It is not to go there after all."""
    REQUEUE = "requeue"
    """An operator's `jobs retry`, or a job that states it again."""


DELIVERY_TRANSITIONS: dict[tuple[DeliveryState, DeliveryEvent], DeliveryState] = {
    (DeliveryState.PENDING, DeliveryEvent.CLAIM): DeliveryState.SENDING,
    (DeliveryState.PENDING, DeliveryEvent.PARK): DeliveryState.PARKED,
    (DeliveryState.PENDING, DeliveryEvent.WITHDRAW): DeliveryState.WITHDRAWN,
    (DeliveryState.SENDING, DeliveryEvent.CLAIM): DeliveryState.SENDING,
    (DeliveryState.SENDING, DeliveryEvent.STORED): DeliveryState.SENT,
    (DeliveryState.SENDING, DeliveryEvent.RETRY): DeliveryState.PENDING,
    (DeliveryState.SENDING, DeliveryEvent.PARK): DeliveryState.PARKED,
    (DeliveryState.SENDING, DeliveryEvent.WITHDRAW): DeliveryState.WITHDRAWN,
    (DeliveryState.SENT, DeliveryEvent.COMMIT): DeliveryState.COMMITTED,
    (DeliveryState.SENT, DeliveryEvent.NOT_HELD): DeliveryState.PENDING,
    (DeliveryState.SENT, DeliveryEvent.PARK): DeliveryState.PARKED,
    (DeliveryState.PARKED, DeliveryEvent.REQUEUE): DeliveryState.PENDING,
    (DeliveryState.PARKED, DeliveryEvent.WITHDRAW): DeliveryState.WITHDRAWN,
    (DeliveryState.WITHDRAWN, DeliveryEvent.REQUEUE): DeliveryState.PENDING,
}


class CommitmentPolicy(StrEnum):
    """Whether a destination is asked to commit (storage commitment push model, PS3.4 Annex J)."""

    REQUIRED = "required"
    """Asked; a destination that does not offer it parks the delivery."""
    IF_OFFERED = "if_offered"
    NONE = "none"


class Geometry(StrEnum):
    """Which geometry a SEG on a radiograph carries; see the decision record on it."""

    VIEWER = "viewer"
    STRICT = "strict"


class RejectionNotes(StrEnum):
    """When a destination is sent a note that rejects what it was sent before (IHE IOCM)."""

    NEVER = "never"
    RETRACTION = "retraction"
    """With an operator's retraction."""
    ALWAYS = "always"
    """Also when a later analysis takes the place of an earlier one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """A configured AE that gets evidence. `not_analysed` asks for SRs that only say why nothing was analysed.

    `objects`: what it is to get. `report_classes`: the first that it takes is written. `fallback`: whether something
    else goes in place of what it does not take.
    """

    name: str
    ae_title: AETitle
    host: str
    port: int
    transport: Transport = Transport.LOCAL
    certificate_name: str = ""
    """Of its TLS certificate: its host where empty, any where "*"."""
    commitment: CommitmentPolicy = CommitmentPolicy.IF_OFFERED
    geometry: Geometry = Geometry.VIEWER
    not_analysed: bool = False
    objects: tuple[Kind, ...] = (Kind.SEG, Kind.SR)
    report_classes: tuple[ReportClass, ...] = tuple(ReportClass)
    fallback: bool = True
    rejection_notes: RejectionNotes = RejectionNotes.RETRACTION


class Committable(Protocol):
    """What a destination can be asked to commit to."""

    @property
    def sop_class_uid(self) -> str:
        """Its SOP Class UID."""
        ...

    @property
    def sop_instance_uid(self) -> str:
        """Its SOP Instance UID."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A claimed delivery. `attempt` fences what is marked on it; `tries` is what the retry policy counts."""

    row: int
    destination: str
    sop_class_uid: str
    sop_instance_uid: str
    key: str
    attempt: int
    tries: int = 1
