"""What the node says about itself: a closed list of event names and fields, as JSON lines on standard error.

Hides the logging library. Promises that no patient data reaches a log: a record is written only from EVENTS and
FIELDS, whose values are UIDs, AE titles, names from the settings, numbers and words of our own. Records of other
libraries and Python warnings are cut to who spoke and from which line, because their texts quote values.
"""

from __future__ import annotations

import hmac
import json
import logging
import re
import sys
import threading
import warnings
from datetime import UTC, datetime
from enum import StrEnum

_LOGGER = logging.getLogger("cxrnode")


class Event(StrEnum):
    """Everything the node can say."""

    NODE_STARTED = "node_started"
    HEALTH_UNAVAILABLE = "health_unavailable"
    NODE_STOPPING = "node_stopping"
    """What it is doing at that moment: `running`."""
    NODE_STOPPED = "node_stopped"
    """`running`: what did not end in time and is left to the next start."""
    LISTENING = "listening"
    ASSOCIATION_OPENED = "association_opened"
    ASSOCIATION_REFUSED = "association_refused"
    ASSOCIATION_ENDED = "association_ended"
    CLASS_NOT_ACCEPTED = "class_not_accepted"
    INSTANCE_RECEIVED = "instance_received"
    INSTANCE_REFUSED = "instance_refused"
    BELL_FAILED = "bell_failed"
    CLOCK_JUMPED = "clock_jumped"
    SPOOL_SWEPT = "spool_swept"
    SPOOL_RELIEVED = "spool_relieved"
    SOURCES_NOT_ASKED = "sources_not_asked"
    INSTANCE_ADOPTED = "instance_adopted"
    RECODING_SETTLED = "recoding_settled"
    RECODING_RETRIED = "recoding_retried"
    STUDY_CLOSED = "study_closed"
    JOB_CLAIMED = "job_claimed"
    JOB_COMPLETED = "job_completed"
    JOB_RETRIED = "job_retried"
    JOB_PARKED = "job_parked"
    LEASE_LOST = "lease_lost"
    EVIDENCE_KEPT = "evidence_kept"
    EVIDENCE_OBJECTED = "evidence_objected"
    DESTINATION_ASKED = "destination_asked"
    DELIVERY_SENT = "delivery_sent"
    DELIVERY_RETRIED = "delivery_retried"
    DELIVERY_PARKED = "delivery_parked"
    DELIVERY_DECLINED = "delivery_declined"
    COMMITMENT_ASKED = "commitment_asked"
    COMMITMENT_REPORTED = "commitment_reported"
    CHILD_STARTED = "child_started"
    CHILD_READY = "child_ready"
    CHILD_LOST = "child_lost"
    CHILD_SPOKE = "child_spoke"
    MODEL_SQUEEZED = "model_squeezed"
    """For want of memory it ran in smaller batches, or on the CPU: `device`."""
    IMAGE_QUARANTINED = "image_quarantined"
    """The models' process was lost on it twice, the second time alone."""
    CERTIFICATE_LOADED = "certificate_loaded"
    CERTIFICATE_REFUSED = "certificate_refused"
    CERTIFICATE_ENDS = "certificate_ends"
    FOLDER_OPEN = "folder_open"
    AUDIT_FAILED = "audit_failed"
    AUDIT_DELAYED = "audit_delayed"
    AUDIT_RESUMED = "audit_resumed"
    UNEXPECTED = "unexpected"
    FOREIGN = "foreign"


FIELDS = frozenset(
    {
        "address", "aet", "association", "attempt", "batch", "bytes", "called_ae", "calling_ae", "certificate",
        "code", "count", "destination", "device", "due_in", "error", "evidence", "failed", "hint", "images",
        "incarnation", "instance", "job", "line", "logger", "model", "operation", "pid", "port", "reason", "recorded",
        "running", "seconds", "sop_class", "status", "study", "transaction", "transfer_syntax", "version", "where",
    }
)  # fmt: skip

_UIDS = frozenset({"evidence", "instance", "sop_class", "study", "transaction", "transfer_syntax"})
_NAME_A_STUDY = frozenset({"evidence", "instance", "study"})
"""The UIDs that are hashed where that is wanted."""
_HASH_DIGITS = 16
_SALT = b""
_LIKE_A_UID = re.compile(r"[0-9.]{0,64}|none\.[0-9a-f]{32}")
"""Digits and dots (PS3.5 9.1), or what we call an instance that has no UID. Senders may write any text in its place."""


def tell(event: Event, level: int = logging.INFO, **fields: object) -> None:
    """Write one event. ValueError for a field that is not in FIELDS: the list is closed on purpose."""
    stray = fields.keys() - FIELDS
    if stray:
        raise ValueError(f"{sorted(stray)} cannot be logged: not in telemetry.FIELDS")
    told = {name: _told(name, value) for name, value in fields.items()}
    _LOGGER.log(level, event, extra={"fields": told})


def _told(name: str, value: object) -> object:
    """Give a field's value as it may be written."""
    if name not in _UIDS or value is None:
        return value
    if not _LIKE_A_UID.fullmatch(str(value)):
        return "no UID"
    return hash_of(str(value), _SALT) if _SALT and name in _NAME_A_STUDY and value else value


def hash_of(uid: str, salt: bytes) -> str:
    """Give the short hash under which a log names a UID."""
    return "#" + hmac.new(salt, uid.encode(), "sha256").hexdigest()[:_HASH_DIGITS]


def hash_uids(salt: bytes) -> None:
    """From now on, write hashes in place of the UIDs by which a study could be looked up (docs/decisions/0038)."""
    global _SALT
    _SALT = salt


def unexpected(operation: str, error: BaseException, **fields: object) -> None:
    """Write that something nobody foresaw happened: the kind of error and where, never its text."""
    tell(
        Event.UNEXPECTED,
        logging.ERROR,
        operation=operation,
        error=type(error).__name__,
        where=where(error),
        **fields,
    )


def where(error: BaseException) -> str:
    """Give the innermost place of an error as `file:line`, without folders."""
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename.rsplit('/', 1)[-1]}:{trace.tb_lineno}" if trace else ""


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        own = record.name == _LOGGER.name and hasattr(record, "fields")
        fields: dict[str, object] = record.__dict__["fields"] if own else _who(record)
        event = str(record.msg) if own else str(Event.FOREIGN)
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        return json.dumps({"at": at, "level": record.levelname.lower(), "event": event, **fields}, default=str)


def _who(record: logging.LogRecord) -> dict[str, object]:
    return {"logger": record.name, "line": f"{record.filename}:{record.lineno}"}


def start_logging(level: str = "INFO") -> None:
    """Send every record of this process, ours and other libraries', through the closed list to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines())
    # A line that could not be written is lost: logging would print it with its arguments and a traceback instead.
    logging.raiseExceptions = False
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # Other libraries' chatter says only who spoke, so below DEBUG their warnings are enough.
    root.setLevel("DEBUG" if level.upper() == "DEBUG" else "WARNING")
    _LOGGER.setLevel(level.upper())
    for name in list(logging.root.manager.loggerDict):
        other = logging.getLogger(name)
        other.handlers.clear()
        other.propagate = True
    warnings.showwarning = _told_warning


def _told_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: object, **__: object
) -> None:
    line = f"{filename.rsplit('/', 1)[-1]}:{lineno}"
    tell(Event.FOREIGN, logging.WARNING, logger=category.__name__, line=line)


def guard_tracebacks() -> None:
    """Let what nobody foresaw, in the main thread, any other or none, be told as an event: a traceback quotes values.

    For the entry points of a process that handles patients' data; the exit code stays Python's own.
    """
    sys.excepthook = lambda kind, error, trace: unexpected("process", error)
    threading.excepthook = lambda raised: unexpected("thread", raised.exc_value or raised.exc_type())
    # What falls where nobody can catch it: a finaliser, a callback from C.
    sys.unraisablehook = lambda raised: unexpected("aside", raised.exc_value or raised.exc_type())
