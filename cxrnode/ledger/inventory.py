"""The ledger as those see it who look after the bytes: retention, and whoever reconciles.

Hides which module a verb's SQL is in. Promises that each verb is one transaction, that walks go in pages and hold
nothing between them, and that bytes are removed only while nobody can need them again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime
from pathlib import Path

from cxrnode.domain.retention import Holding, What
from cxrnode.ledger import holding, reconciling, retaining
from cxrnode.ledger.database import Database
from cxrnode.ledger.reconciling import KeptInstance, KeptObject, SentObject
from cxrnode.ledger.schema import evidence, instances

_PAGE = 500


class Inventory:
    """What the ledger says of what is in the spool; see ports.retention. Lives as long as its ledger."""

    def __init__(self, database: Database) -> None:
        """Work on an open database."""
        self._database = database

    def holdings(self, what: What, *, before: datetime | None = None, uncommitted: bool) -> Iterator[Holding]:
        """Walk over what is in the spool, the oldest first; with `before` over what is older."""
        last = 0
        while page := self._page(what, last, before, uncommitted):
            yield from page
            last = page[-1].row

    def _page(self, what: What, after: int, before: datetime | None, uncommitted: bool) -> Sequence[Holding]:
        with self._database.reading() as connection:
            return retaining.holdings(
                connection, what, after=after, before=before, uncommitted=uncommitted, limit=_PAGE
            )

    def mark_swept(self, what: What, rows: Collection[int], now: datetime, *, uncommitted: bool) -> Sequence[str]:
        """Mark what may go now; give its keys."""
        with self._database.writing() as connection:
            return retaining.mark_swept(connection, what, rows, now, uncommitted=uncommitted)

    def remove_marked(self, what: What, remove: Callable[[str], None], *, after: str = "") -> Sequence[str]:
        """Remove what is marked and still may go; give the keys, a page after the key `after`."""
        with self._database.writing() as connection:
            return retaining.remove_marked(connection, what, remove, after)

    def removed(self, keys: Collection[str]) -> None:
        """Forget keys whose removal is on disk."""
        with self._database.writing() as connection:
            retaining.removed(connection, keys)

    def begin_source_commitment(
        self, destination: str, transaction_uid: str, rows: Collection[int], now: datetime, *, not_since: datetime
    ) -> Sequence[int]:
        """Record a transaction over sources before it is asked for; give those it is about."""
        with self._database.writing() as connection:
            return holding.begin(connection, destination, transaction_uid, rows, now, not_since=not_since)

    def forget_source_commitment(self, transaction_uid: str) -> None:
        """Forget a transaction that nobody could be asked."""
        with self._database.writing() as connection:
            holding.forget(connection, transaction_uid)

    def backup(self, to: Path) -> None:
        """Copy the ledger, as it is at one moment, to a new file for its owner only."""
        self._database.backup(to)

    def instances(self) -> Iterator[KeptInstance]:
        """Walk over all instances, in the order they came."""
        last = 0
        while page := self._instances_after(last):
            yield from page
            last = page[-1].row

    def _instances_after(self, row: int) -> Sequence[KeptInstance]:
        with self._database.reading() as connection:
            return reconciling.instances_after(connection, row)

    def size_at(self, key: str) -> int | None:
        """Give how many bytes are to lie under the key of a source; None for what is none."""
        with self._database.reading() as connection:
            return reconciling.size_at(connection, key)

    def evidence(self) -> Iterator[KeptObject]:
        """Walk over all evidence, in the order it was written."""
        last = 0
        while page := self._evidence_after(last):
            yield from page
            last = page[-1].row

    def _evidence_after(self, row: int) -> Sequence[KeptObject]:
        with self._database.reading() as connection:
            return reconciling.evidence_after(connection, row)

    def is_swept(self, what: What, row: int) -> bool:
        """Tell whether bytes were swept by now."""
        with self._database.reading() as connection:
            return reconciling.is_swept(connection, instances if what is What.SOURCE else evidence, row)

    def studies(self) -> Iterator[str]:
        """Walk over all studies."""
        last = ""
        while page := self._studies_after(last):
            yield from page
            last = page[-1]

    def _studies_after(self, study: str) -> Sequence[str]:
        with self._database.reading() as connection:
            return reconciling.studies_after(connection, study)

    def sent_to(self, destination: str, study: str) -> Sequence[SentObject]:
        """Give what of a study a destination took."""
        with self._database.reading() as connection:
            return reconciling.sent_to(connection, destination, study)

    def unknown_evidence(self, uids: Collection[str]) -> Sequence[str]:
        """Give those of the SOP Instance UIDs that no evidence has."""
        with self._database.reading() as connection:
            return reconciling.unknown_evidence(connection, uids)
