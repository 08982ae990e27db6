"""What is negotiated and answered on the wire, from the tables that the listener and the sender run on.

Hides how pynetdicom holds a presentation context. Promises a line for every context and for every status that is told
apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pydicom.uid import UID

from cxrnode.conformance.markdown import literal, table
from cxrnode.dimse import commitment, contexts, status
from cxrnode.dimse.connection import Waits
from cxrnode.dimse.contexts import MAXIMUM_PDU
from cxrnode.dimse.listener import REJECTED
from cxrnode.errors import ClassNotAccepted, CxrnodeError, NeedsOperator, Retryable
from cxrnode.evidence.encode import IMPLEMENTATION_CLASS_UID
from cxrnode.pipeline.reception import MISMATCH
from cxrnode.settings.sections import ListenerSettings

_CONTEXT = ("abstract syntax", "UID", "transfer syntaxes", "role of the node")
_STATUS = ("status", "meaning", "what happens")
_NEXT: Mapping[type[CxrnodeError] | None, str] = {
    None: "counts as stored",
    Retryable: "tried again, at growing intervals",
    NeedsOperator: "parked for an operator",
    ClassNotAccepted: "not taken: something else goes instead (5.2.5.1), or parked for an operator where nothing does",
}


def class_name(uid: str) -> str:
    """Give a SOP class as the standard calls it, without the words that all have."""
    return UID(uid).name.removesuffix(" SOP Class").removesuffix(" Storage")


def accepted() -> str:
    """Give the presentation contexts of the listener."""
    rows = [(class_name(one), literal(one), _named(offered), role) for one, offered, role in _contexts()]
    other = ("those of `listener.other_storage_classes`", "", _named(contexts.TRANSFER_SYNTAXES), "SCP")
    return table(_CONTEXT, [*rows, other])


def _named(syntaxes: Sequence[str]) -> str:
    return (
        "all below" if len(syntaxes) == len(contexts.TRANSFER_SYNTAXES) else " and ".join(UID(u).name for u in syntaxes)
    )


def _contexts() -> Iterator[tuple[str, list[str], str]]:
    for context in contexts.accepted(contexts.SOURCE_CLASSES):
        role = "SCU, by role selection: the peer is SCP, and reports" if context.scp_role else "SCP"
        yield str(context.abstract_syntax), [str(one) for one in context.transfer_syntax], role


def proposed() -> str:
    """Give the presentation contexts of the sender."""
    offered: dict[str, list[str]] = {}
    for context in contexts.proposed(contexts.EVIDENCE_CLASSES):
        offered.setdefault(str(context.abstract_syntax), []).append(_named(context.transfer_syntax))
    rows = [(class_name(uid), literal(uid), "; ".join(syntaxes), "SCU") for uid, syntaxes in offered.items()]
    return table(_CONTEXT, rows)


def asking() -> str:
    """Give the presentation contexts of a reconciliation."""
    rows = [
        (class_name(str(one.abstract_syntax)), literal(str(one.abstract_syntax)), _named(one.transfer_syntax), "SCU")
        for one in contexts.asking()
    ]
    return table(_CONTEXT, rows)


def transfer_syntaxes() -> str:
    """Give what the listener takes, in the order in which it chooses."""
    return table(("transfer syntax", "UID"), [(UID(uid).name, literal(uid)) for uid in contexts.TRANSFER_SYNTAXES])


def given() -> str:
    """Give the answers to C-STORE."""
    rows = [(f"0x{code:04X}", what, when) for code, what, when in _GIVEN]
    return table(("status", "meaning", "when"), rows)


_GIVEN = (
    (
        status.SUCCESS,
        "Success",
        "the bytes and the names of file and folder are on disk, and the ledger's row is committed. The same content "
        "again is Success, too, and changes nothing but that bytes which were deleted here are kept again",
    ),
    (
        status.OUT_OF_RESOURCES,
        "Out of Resources",
        "free space is below `listener.free_space_floor_mb`, more than `listener.in_flight_mb` are being received, or "
        "the disk or the ledger cannot be written now: send again later; or the object is larger than "
        "`listener.largest_object_mb`",
    ),
    (
        MISMATCH,
        "Data Set does not match SOP Class",
        "the SOP class or instance of the data set is not that of the command",
    ),
    (
        status.SOP_CLASS_NOT_SUPPORTED,
        "SOP Class not supported",
        "the class of the command is not that of its presentation context",
    ),
    (
        status.CANNOT_UNDERSTAND,
        "Cannot understand",
        "a C-STORE without data set, or an error that nobody foresaw",
    ),
)


def received() -> str:
    """Give what the node does after each status of C-STORE or N-ACTION."""
    rows = [(_range(first, last), says, _NEXT[error]) for first, last, error, says in status.NEXT]
    return table(_STATUS, [*rows, ("any other", "", _NEXT[Retryable])])


def _range(first: int, last: int) -> str:
    return f"0x{first:04X}" if first == last else f"0x{first:04X} to 0x{last:04X}"


def not_offered() -> str:
    """Give the answers to N-ACTION that mean that there is no storage commitment."""
    return ", ".join(f"0x{one:04X}" for one in sorted(status.NOT_OFFERED))


def reports() -> str:
    """Give the answers to N-EVENT-REPORT."""
    rows = (
        (status.SUCCESS, "the transaction is the node's, and the ledger has what was reported"),
        (status.INVALID_ARGUMENT, "the transaction is not the node's, or none is named"),
        (commitment.PROCESSING_FAILURE, "an error that nobody foresaw: report again"),
    )
    return table(("status", "when"), [(f"0x{code:04X}", when) for code, when in rows])


def rejected() -> str:
    """Give when an association is rejected."""
    kinds = {1: "permanent", 2: "transient"}
    rows = [(why, kinds[result], source, reason) for (result, source, reason), why in REJECTED.items()]
    return table(("when", "result", "source", "reason"), rows)


def association() -> str:
    """Give what holds for every association."""
    waits, ours = Waits(), ListenerSettings()
    rows = (
        ("application context", literal("1.2.840.10008.3.1.1.1"), ""),
        ("Implementation Class UID of files", literal(IMPLEMENTATION_CLASS_UID), ""),
        ("Implementation Version Name of files", "`CXRNODE_` and the version, 16 characters at most", ""),
        ("maximum PDU received", f"{MAXIMUM_PDU} bytes", ""),
        ("associations accepted at once", f"{ours.maximum_associations}", "`listener.maximum_associations`"),
        ("of them from one address", f"{ours.maximum_per_address}", "`listener.maximum_per_address`"),
        ("associations asked for at once", "one a destination", ""),
        ("asynchronous operations window", "not negotiated: one operation at a time", ""),
        ("wait for an association request", f"{ours.negotiation_seconds:g} s", "`listener.negotiation_seconds`"),
        ("wait for the peer's next message", f"{ours.idle_seconds:g} s", "`listener.idle_seconds`"),
        ("slowest rate of a message", f"{ours.slowest_kb_per_second:g} kB/s", "`listener.slowest_kb_per_second`"),
        ("largest object accepted", f"{ours.largest_object_mb} MB", "`listener.largest_object_mb`"),
        ("wait for a connection to a destination", f"{waits.connect_seconds:g} s", ""),
        ("wait for its answer to an association request", f"{waits.negotiation_seconds:g} s", ""),
        ("wait for its answer to an operation", f"{waits.answer_seconds:g} s", ""),
        ("idle association with a destination is released after", f"{waits.idle_seconds:g} s", ""),
    )
    return table(("parameter", "value", "setting"), rows)


def services() -> str:
    """Give the DIMSE services of the overview."""
    rows = (
        ("Verification", "yes", "yes"),
        ("Storage: what is read (1.1)", "", "yes"),
        ("Storage: what is created (1.1)", "yes", "by setting: kept, never analysed"),
        ("Storage Commitment Push Model", "yes, towards its destinations", "**no**"),
        ("Modality Worklist, MPPS, Unified Procedure Step, Instance Availability", "no", "no"),
        ("Query: FIND in the Study Root model", "yes, for `cxrnode check --reconcile`", "no"),
        ("Retrieve", "no", "no"),
        ("Print", "no", "no"),
    )
    return table(("service", "node as SCU", "node as SCP"), rows)
