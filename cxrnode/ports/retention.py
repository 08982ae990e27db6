"""What retention needs of the archive, the ledger and the destinations, beside the ports of the line.

Hides nothing. Promises Protocols that the line itself never asks: a replay has no retention, and sweeps nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol

from cxrnode.domain.delivery import Committable, Destination
from cxrnode.domain.retention import Holding, What


class Spool(Protocol):
    """The node's own archive, whose files may go."""

    def alone(self) -> AbstractContextManager[bool]:
        """Keep other sweeps and backups of this spool out; False where one runs, in whichever process."""
        ...

    def free_bytes(self) -> int:
        """Give the free space of the disk."""
        ...

    def size_of(self, key: str) -> int:
        """Give how many bytes lie under a key, 0 where there are none."""
        ...

    def remove(self, key: str) -> None:
        """Remove the bytes under a key; not durable before `sync`. Nothing happens where there are none."""
        ...

    def sync(self, keys: Collection[str]) -> None:
        """Bring the removal of these keys to disk."""
        ...


class Inventory(Protocol):
    """The ledger as retention sees it. Each verb is one transaction; walks go in pages."""

    def holdings(self, what: What, *, before: datetime | None = None, uncommitted: bool) -> Iterator[Holding]:
        """Walk over what is in the spool, the oldest first; with `before` over what is older.

        `uncommitted`: what no destination committed to may go as well.
        """
        ...

    def mark_swept(self, what: What, rows: Collection[int], now: datetime, *, uncommitted: bool) -> Sequence[str]:
        """Mark those that still may go, before anybody removes them; give their keys."""
        ...

    def remove_marked(self, what: What, remove: Callable[[str], None], *, after: str = "") -> Sequence[str]:
        """Call `remove` for a page of marked keys that still may go; nobody can take a mark off meanwhile.

        Gives the page: keys after the key `after`, in their order, none where nothing is left.
        """
        ...

    def removed(self, keys: Collection[str]) -> None:
        """Forget keys whose removal is on disk."""
        ...

    def begin_source_commitment(
        self, destination: str, transaction_uid: str, rows: Collection[int], now: datetime, *, not_since: datetime
    ) -> Sequence[int]:
        """Record a transaction over those of these sources that were not asked about since; give their rows."""
        ...

    def forget_source_commitment(self, transaction_uid: str) -> None:
        """Forget a transaction that nobody could be asked."""
        ...


class Keeper(Protocol):
    """The destinations, as far as they are asked to keep something."""

    def ask_commitment(self, destination: Destination, transaction_uid: str, deliveries: Sequence[Committable]) -> bool:
        """N-ACTION; see ports.Peer."""
        ...
