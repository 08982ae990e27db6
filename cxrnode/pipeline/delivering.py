"""Deliver: C-STORE each object, then ask for storage commitment, then believe only the report (PS3.4 Annex J).

Hides retries, overdue reports, and when a destination is asked what it takes. Promises that each object's delivery to
each destination has its own truth, and that what a destination takes no more is not tried for ever: its job runs again
and composes what goes in its place.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from cxrnode.domain.capability import NAMES, SEGMENTATION, choose
from cxrnode.domain.delivery import CommitmentPolicy, Delivery, Destination
from cxrnode.domain.identity import derived_uid
from cxrnode.domain.job import after_failure
from cxrnode.errors import AssociationLost, ClassNotAccepted, CxrnodeError, LeaseLost
from cxrnode.pipeline.failure import counts, due, reason, tell_failure
from cxrnode.pipeline.plan import Plan
from cxrnode.ports import Archive, Clock, Ledger, Peer, StoreResult
from cxrnode.telemetry import Event, tell


class Delivering:
    """The worker of each destination, and what the destinations report back."""

    def __init__(
        self, *, plan: Plan, archive: Archive, ledger: Ledger, peer: Peer, clock: Clock, chance: Callable[[], float]
    ) -> None:
        """Compose it over its ports; `chance` gives jitter in [0, 1)."""
        self._plan = plan
        self._archive = archive
        self._ledger = ledger
        self._peer = peer
        self._clock = clock
        self._chance = chance

    def deliver(self, destination: Destination) -> int:
        """Send what is due to one destination and mark each object's own end; give how many were claimed."""
        now = self._clock.now()
        deliveries = self._ledger.claim_deliveries(
            destination.name, now, limit=self._plan.batch, lease_seconds=self._plan.delivery_lease_seconds
        )
        wanted = self._without_declined(destination, deliveries, now) if deliveries else []
        outlines = [delivery for delivery in wanted if delivery.sop_class_uid == SEGMENTATION]
        sent = self._sent(destination, outlines)
        gone = self._mark_all(destination, sent)
        # A report that names a SEG follows it: where the SEG is refused, another report takes its place.
        rest = [d for d in wanted if d.sop_class_uid != SEGMENTATION and d.row not in gone]
        lost = next((result for result in sent if isinstance(result.error, AssociationLost)), None)
        if lost and self._ledger.accepted(destination.name) is None:
            self._mark_all(destination, [replace(lost, delivery=delivery) for delivery in rest])
        else:
            self._mark_all(destination, self._sent(destination, rest))
        return len(deliveries)

    def _sent(self, destination: Destination, deliveries: Sequence[Delivery]) -> Sequence[StoreResult]:
        if not deliveries:
            return ()
        return self._peer.store(destination, [(d, self._archive.path(d.key)) for d in deliveries])

    def _mark_all(self, destination: Destination, results: Sequence[StoreResult]) -> set[int]:
        """Mark what became of each; give the rows of all deliveries that are withdrawn for a refusal."""
        gone: set[int] = set()
        # What is there is marked first: a refusal withdraws whatever else of its job is not known to be there.
        for result in sorted(results, key=lambda result: result.error is not None):
            if result.delivery.row not in gone:
                gone |= self._mark(destination, result)
        return gone

    def ask_capabilities(self, destination: Destination) -> int:
        """Ask a destination which of our SOP classes it takes, and write it down; what cannot be reached stays as it
        was. Always gives 0: there is nothing more to do at once."""
        self._negotiated(destination)
        return 0

    def _negotiated(self, destination: Destination) -> frozenset[str] | None:
        accepted = self._asked(destination)
        if accepted is not None:
            self._ledger.record_accepted(destination.name, accepted, self._clock.now())
        return accepted

    def _asked(self, destination: Destination) -> frozenset[str] | None:
        try:
            accepted = self._peer.accepted(destination)
        except CxrnodeError as error:
            tell(Event.DESTINATION_ASKED, logging.WARNING, destination=destination.name, error=type(error).__name__)
            return None
        tell(Event.DESTINATION_ASKED, destination=destination.name, count=len(accepted))
        return accepted

    def _without_declined(
        self, destination: Destination, deliveries: Sequence[Delivery], now: datetime
    ) -> list[Delivery]:
        """Decline what the destination is known not to take, before anything that refers to it is sent."""
        accepted = self._ledger.accepted(destination.name)
        if accepted is None:
            accepted = self._negotiated(destination)
        if accepted is None:
            return list(deliveries)
        gone: set[int] = set()
        for delivery in deliveries:
            if delivery.row not in gone and not _is_chosen(destination, delivery, accepted):
                gone |= self._decline(destination, delivery, now)
        return [delivery for delivery in deliveries if delivery.row not in gone]

    def _decline(self, destination: Destination, delivery: Delivery, now: datetime) -> frozenset[int]:
        """Give it up for what goes in its place; give the rows of all deliveries that are withdrawn with it."""
        reason = f"no {NAMES.get(delivery.sop_class_uid, delivery.sop_class_uid)} goes to this destination"
        try:
            gone = self._ledger.decline(delivery, reason=reason, now=now)
        except LeaseLost:
            tell(Event.LEASE_LOST, logging.WARNING, evidence=delivery.sop_instance_uid, attempt=delivery.attempt)
            return frozenset({delivery.row})
        tell(Event.DELIVERY_DECLINED, evidence=delivery.sop_instance_uid, destination=destination.name)
        return gone

    def _mark(self, destination: Destination, result: StoreResult) -> frozenset[int]:
        """Mark what became of it; give the rows of all deliveries that are withdrawn for a refusal."""
        now, delivery = self._clock.now(), result.delivery
        try:
            if result.error is None:
                ask_at = None if destination.commitment is CommitmentPolicy.NONE else now
                self._ledger.mark_sent(delivery, now, ask_at=ask_at)
                tell(Event.DELIVERY_SENT, evidence=delivery.sop_instance_uid, destination=destination.name)
            elif isinstance(result.error, ClassNotAccepted) and self._has_stand_in(destination, delivery, now):
                return self._decline(destination, delivery, now)
            else:
                self._delivery_failed(delivery, destination, result.error, now)
        except LeaseLost:
            tell(Event.LEASE_LOST, logging.WARNING, evidence=delivery.sop_instance_uid, attempt=delivery.attempt)
        return frozenset()

    def _has_stand_in(self, destination: Destination, delivery: Delivery, now: datetime) -> bool:
        """Tell whether something else goes in place of a class that was refused, and remember the refusal."""
        known = self._ledger.accepted(destination.name)
        accepted = _believed(delivery.sop_class_uid, known, self._asked(destination))
        self._ledger.record_accepted(destination.name, accepted, now)
        return not _is_chosen(destination, delivery, accepted)

    def _delivery_failed(self, delivery: Delivery, destination: Destination, error: Exception, now: datetime) -> None:
        decision = after_failure(
            error, attempt=delivery.tries, now=now, policy=self._plan.delivery_policy, chance=self._chance()
        )
        self._ledger.fail_delivery(
            delivery, due_at=due(decision), reason=reason(error), now=now, counts=counts(decision)
        )
        tell_failure(
            error,
            decision,
            now,
            Event.DELIVERY_RETRIED,
            Event.DELIVERY_PARKED,
            evidence=delivery.sop_instance_uid,
            destination=destination.name,
            attempt=delivery.attempt,
        )

    def ask_commitments(self, destination: Destination) -> int:
        """Ask one destination to commit to what it was sent; the transaction is recorded before N-ACTION goes out."""
        if destination.commitment is CommitmentPolicy.NONE:
            return 0
        now = self._clock.now()
        transaction = derived_uid("commitment", destination.name, now.isoformat(), self._chance())
        deliveries = self._ledger.begin_commitment(
            destination.name,
            transaction,
            now,
            limit=100,
            ask_again_at=now + timedelta(seconds=self._plan.commitment_wait_seconds),
        )
        if deliveries:
            tell(Event.COMMITMENT_ASKED, destination=destination.name, transaction=transaction, count=len(deliveries))
            self._ask(destination, transaction, deliveries)
        return len(deliveries)

    def _ask(self, destination: Destination, transaction: str, deliveries: Sequence[Delivery]) -> None:
        """What goes wrong here is mended by time: the deliveries are asked for again when their report is overdue."""
        try:
            offered = self._peer.ask_commitment(destination, transaction, deliveries)
        except CxrnodeError as error:
            tell(Event.DELIVERY_RETRIED, logging.WARNING, destination=destination.name, error=type(error).__name__)
            return
        if not offered:
            required = destination.commitment is CommitmentPolicy.REQUIRED
            self._ledger.no_commitment(
                deliveries,
                park=required,
                reason="the destination does not offer storage commitment" if required else "",
                now=self._clock.now(),
            )

    def confirm(self, transaction: str, committed: Sequence[str], failed: Mapping[str, int]) -> bool:
        """Take an N-EVENT-REPORT; False where the transaction is not ours."""
        known = self._ledger.confirm(
            transaction,
            committed=committed,
            failed=failed,
            now=self._clock.now(),
            attempts=self._plan.delivery_policy.attempts,
        )
        tell(Event.COMMITMENT_REPORTED, transaction=transaction, count=len(committed), failed=len(failed))
        return known


def _is_chosen(destination: Destination, delivery: Delivery, accepted: frozenset[str]) -> bool:
    """Tell whether an object of this class would be made for a destination that takes these."""
    return delivery.sop_class_uid in choose(destination, accepted).classes


def _believed(refused: str, known: frozenset[str] | None, said: frozenset[str] | None) -> frozenset[str]:
    """Give what a destination takes that refused a class. `known`: before that; `said`: as it says now.

    One that says that it takes what it just refused is not believed anything that was not known before: it may have
    refused that, too, and would be sent one after the other for ever.
    """
    if known is not None and (said is None or refused in said):
        said = known if said is None else known & said
    return (frozenset(NAMES) if said is None else said) - {refused}
