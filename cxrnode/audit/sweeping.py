"""The spool, with every study that loses bytes told to the audit trail.

Hides which study a file is of. Promises that the same files go in the same order, and that a study is told of when the
removal of its files is on disk.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import BinaryIO

from cxrnode.audit.events import Subject
from cxrnode.audit.peer import subject_in
from cxrnode.audit.trail import AuditTrail
from cxrnode.ports.retention import Spool


class AuditedSpool:
    """Implements ports.retention.Spool over another one. Used by one sweep at a time."""

    def __init__(self, spool: Spool, path: Callable[[str], Path], trail: AuditTrail, *, by_operator: bool) -> None:
        """Remove from `spool`, whose files lie at `path` of their keys; `by_operator`: by a command."""
        self._spool, self._path, self._trail, self._by_operator = spool, path, trail, by_operator
        self._gone: list[BinaryIO | None] = []

    def alone(self) -> AbstractContextManager[bool]:
        """See ports.retention.Spool."""
        return self._spool.alone()

    def free_bytes(self) -> int:
        """See ports.retention.Spool."""
        return self._spool.free_bytes()

    def size_of(self, key: str) -> int:
        """See ports.retention.Spool."""
        return self._spool.size_of(key)

    def remove(self, key: str) -> None:
        """See ports.retention.Spool. The ledger is held meanwhile, so whose the file was is read in `sync`."""
        gone: list[BinaryIO | None] = []
        with ExitStack() as opened:
            try:
                gone.append(opened.enter_context(self._path(key).open("rb")))
            except FileNotFoundError:
                pass
            except OSError:
                gone.append(None)
            self._spool.remove(key)
            opened.pop_all()
        self._gone += gone

    def sync(self, keys: Collection[str]) -> None:
        """See ports.retention.Spool."""
        self._spool.sync(keys)
        gone, self._gone = self._gone, []
        for subject, count in Counter(map(_whose, gone)).items():
            why = "an operator's sweep" if self._by_operator else "the retention settings"
            self._trail.deleted(subject, count=count, why=why, by_operator=self._by_operator)


def _whose(gone: BinaryIO | None) -> Subject:
    if gone is None:
        return Subject(study_uid="")
    with gone:
        return subject_in(gone)
