"""Asks an archive what it holds of a study: C-FIND in the Study Root model (PS3.4 C.4.1, C.6.2).

Hides pynetdicom. Promises hierarchical queries with every unique key above the level asked for, as archives may insist
on (PS3.4 C.4.1.3.1.1), one association that is made again where it was lost, and plain values without patient data:
nothing about a patient is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

from pydicom import Dataset

from cxrnode.dimse import contexts, status
from cxrnode.dimse.connection import Address, Waits, connect, end, lose, usable
from cxrnode.errors import AssociationLost, NeedsOperator, Retryable

if TYPE_CHECKING:
    from pynetdicom.association import Association

_PENDING = (0xFF00, 0xFF01)
_OPERATION = "C-FIND"


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundSeries:
    """A series that an archive holds; the description is empty where it does not tell."""

    series_uid: str
    description: str


class NotOffered(NeedsOperator):
    """The destination offers no C-FIND in the Study Root model."""


class Finder:
    """Asks one archive. Owns an association, from its first question until the `with` ends."""

    def __init__(self, address: Address, waits: Waits | None = None) -> None:
        """Ask nobody yet."""
        self._address, self._waits = address, waits or Waits()
        self._association: Association | None = None

    def series(self, study: str) -> Sequence[FoundSeries]:
        """Give the series of a study. Raises NotOffered, AssociationLost, or as a refused association does."""
        found = self._ask("SERIES", StudyInstanceUID=study, SeriesInstanceUID="", SeriesDescription="")
        return [
            FoundSeries(
                series_uid=str(one.get("SeriesInstanceUID", "")),
                description=str(one.get("SeriesDescription", "") or ""),
            )
            for one in found
        ]

    def instances(self, study: str, series: str) -> Sequence[str]:
        """Give the SOP Instance UIDs of a series. Raises as `series` does."""
        found = self._ask("IMAGE", StudyInstanceUID=study, SeriesInstanceUID=series, SOPInstanceUID="")
        return [str(one.get("SOPInstanceUID", "")) for one in found]

    def _ask(self, level: str, **keys: str) -> list[Dataset]:
        """Ask, once more on a new association where the kept one turns out to be lost: asking changes nothing."""
        identifier = Dataset()
        identifier.QueryRetrieveLevel = level
        for name, value in keys.items():
            setattr(identifier, name, value)
        kept = self._association
        if kept is not None and usable(kept):
            try:
                return list(self._answers(kept, identifier))
            except AssociationLost:
                self.close()
        return list(self._answers(self._anew(), identifier))

    def _anew(self) -> Association:
        self.close()
        self._association = association = connect(self._address, contexts.asking(), self._waits)
        if not any(context.abstract_syntax == contexts.STUDY_ROOT_FIND for context in association.accepted_contexts):
            self.close()
            raise NotOffered(operation=_OPERATION, subject=str(self._address))
        return association

    def _answers(self, association: Association, identifier: Dataset) -> Iterator[Dataset]:
        for answer, match in _begun(
            lambda: association.send_c_find(identifier, contexts.STUDY_ROOT_FIND), str(self._address)
        ):
            if "Status" not in answer:
                lose(association)
                raise AssociationLost("the peer did not answer", operation=_OPERATION, subject=str(self._address))
            code = int(answer.Status)
            if code == status.SOP_CLASS_NOT_SUPPORTED:
                raise NotOffered(operation=_OPERATION, subject=str(self._address))
            if code in _PENDING and match is not None:
                yield match
            elif code != status.SUCCESS:
                happened = f"the peer answered 0x{code:04X}"
                raise Retryable(happened, operation=_OPERATION, subject=str(self._address))

    def close(self) -> None:
        """Release the association."""
        association, self._association = self._association, None
        if association is not None:
            end(association)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _begun(
    ask: Callable[[], Iterator[tuple[Dataset, Dataset | None]]], subject: str
) -> Iterator[tuple[Dataset, Dataset | None]]:
    try:
        return ask()
    except RuntimeError as error:
        # pynetdicom's word for an association that ended before the request went out.
        raise AssociationLost(operation=_OPERATION, subject=subject) from error
