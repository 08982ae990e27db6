"""A Peer in memory: archives that keep what they are sent, and report commitment when the test lets them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from cxrnode.domain.capability import NAMES
from cxrnode.domain.delivery import CommitmentPolicy, Committable, Delivery, Destination
from cxrnode.errors import AssociationLost, ClassNotAccepted, CxrnodeError
from cxrnode.ports import StoreResult


class FakePeer:
    """All destinations at once. `dead` names those that cannot be reached; `takes` what one takes that does not take
    everything; `negotiates` whether it says so when it is asked, or only when an object comes."""

    def __init__(self) -> None:
        self.kept: dict[str, dict[str, bytes]] = {}
        self.sent: Counter[tuple[str, str]] = Counter()
        self.overwritten: list[str] = []
        """UIDs that came a second time with other bytes: one UID, two contents."""
        self.reports: list[tuple[str, tuple[str, ...], dict[str, int]]] = []
        self.dead: set[str] = set()
        self.takes: dict[str, frozenset[str]] = {}
        self.negotiates = True

    def echo(self, destination: Destination) -> None:
        """Answer, unless dead."""
        self._reach(destination)

    def accepted(self, destination: Destination) -> frozenset[str]:
        """Give the classes that it says it takes."""
        self._reach(destination)
        everything = frozenset(NAMES)
        return self.takes.get(destination.name, everything) if self.negotiates else everything

    def store(self, destination: Destination, deliveries: Sequence[tuple[Delivery, Path]]) -> Sequence[StoreResult]:
        """Keep each object."""
        return [self._store(destination, delivery, path) for delivery, path in deliveries]

    def _store(self, destination: Destination, delivery: Delivery, path: Path) -> StoreResult:
        try:
            self._reach(destination)
            self._take(destination, delivery)
        except CxrnodeError as error:
            return StoreResult(delivery=delivery, status=-1, error=error)
        held, content = self.kept.setdefault(destination.name, {}), path.read_bytes()
        if held.setdefault(delivery.sop_instance_uid, content) != content:
            self.overwritten.append(delivery.sop_instance_uid)
        self.sent[destination.name, delivery.sop_instance_uid] += 1
        return StoreResult(delivery=delivery, status=0)

    def ask_commitment(self, destination: Destination, transaction_uid: str, deliveries: Sequence[Committable]) -> bool:
        """Prepare the report, to be taken from `reports`."""
        self._reach(destination)
        if destination.commitment is CommitmentPolicy.NONE:
            return False
        held = self.kept.get(destination.name, {})
        uids = [delivery.sop_instance_uid for delivery in deliveries]
        failed = {uid: 0x0112 for uid in uids if uid not in held}
        self.reports.append((transaction_uid, tuple(uid for uid in uids if uid in held), failed))
        return True

    def _take(self, destination: Destination, delivery: Delivery) -> None:
        if delivery.sop_class_uid not in self.takes.get(destination.name, {delivery.sop_class_uid}):
            raise ClassNotAccepted(operation="C-STORE", subject=f"{delivery.sop_instance_uid} to {destination.name}")

    def _reach(self, destination: Destination) -> None:
        if destination.name in self.dead:
            raise AssociationLost("nobody is there", operation="associate", subject=destination.name)
