"""Storage commitment in data sets: what is asked, and what an archive reports (PS3.4 Annex J.3).

Hides the data sets of N-ACTION and N-EVENT-REPORT. Promises to read every report that names its transaction, with
or without its sequences.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydicom import Dataset

from cxrnode import telemetry
from cxrnode.dimse import status

if TYPE_CHECKING:
    from pynetdicom.events import Event

PROCESSING_FAILURE = 0x0110
NO_SUCH_INSTANCE = 0x0112
REQUEST_ACTION = 1
"""Action Type ID of "Request Storage Commitment" (PS3.4 J.3.2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitmentReport:
    """What an archive says of one transaction: the SOP Instance UIDs it keeps, and those it does not, each with its
    Failure Reason (0008,1197)."""

    transaction_uid: str
    committed: tuple[str, ...]
    failed: Mapping[str, int]


def request(transaction_uid: str, references: Iterable[tuple[str, str]]) -> Dataset:
    """Give the Action Information (PS3.4 Table J.3-1) for pairs of SOP Class and SOP Instance UID."""
    information = Dataset()
    information.TransactionUID = transaction_uid
    information.ReferencedSOPSequence = [reference(*pair) for pair in references]
    return information


def reference(sop_class: str, sop_instance: str) -> Dataset:
    """Give one element of Referenced SOP Sequence."""
    element = Dataset()
    element.ReferencedSOPClassUID = sop_class
    element.ReferencedSOPInstanceUID = sop_instance
    return element


def read_references(information: Dataset) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Give the transaction UID of an Action Information and its pairs of SOP Class and SOP Instance UID."""
    items = information.get("ReferencedSOPSequence") or ()
    pairs = tuple((str(i.get("ReferencedSOPClassUID", "")), str(i.get("ReferencedSOPInstanceUID", ""))) for i in items)
    return str(information.get("TransactionUID", "")), pairs


def read_report(information: Dataset) -> CommitmentReport:
    """Read an Event Information (PS3.4 Table J.3-2). ValueError where it names no transaction.

    An instance that stands in both sequences counts as failed: nothing is called committed that may not be.
    """
    transaction, kept = read_references(information)
    if not transaction:
        raise ValueError("a storage commitment report without Transaction UID")
    failed = {
        str(i.get("ReferencedSOPInstanceUID", "")): int(i.get("FailureReason", None) or PROCESSING_FAILURE)
        for i in information.get("FailedSOPSequence") or ()
    }
    failed.pop("", None)
    committed = tuple(uid for _, uid in kept if uid and uid not in failed)
    return CommitmentReport(transaction_uid=transaction, committed=committed, failed=failed)


Report = Callable[[CommitmentReport], bool]
"""Takes a report; False for a transaction that nobody asked."""


def take_report(event: Event, report: Report) -> tuple[int, None]:
    """Handle pynetdicom's EVT_N_EVENT_REPORT: Success goes out only after `report` has returned."""
    try:
        known = report(read_report(event.event_information))
    except ValueError:
        return status.INVALID_ARGUMENT, None
    except Exception as error:  # noqa: BLE001 - the edge: pynetdicom would log the text of whatever comes
        telemetry.unexpected("N-EVENT-REPORT", error)
        return status.PROCESSING_FAILURE, None
    return (status.SUCCESS if known else status.INVALID_ARGUMENT), None
