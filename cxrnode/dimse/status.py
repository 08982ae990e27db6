"""What happens next after a DIMSE status, as a table (PS3.4 B.2.3, PS3.7 9.1.1.1.9 and Annex C).

Hides the ranges of the standard. Promises an error of ours, or None where the peer took the object.
"""

from __future__ import annotations

from collections.abc import Mapping

from cxrnode.errors import ClassNotAccepted, CxrnodeError, NeedsOperator, Retryable

SUCCESS = 0x0000
PROCESSING_FAILURE = 0x0110
INVALID_ARGUMENT = 0x0115
SOP_CLASS_NOT_SUPPORTED = 0x0122
NOT_AUTHORISED = 0x0124
UNRECOGNISED_OPERATION = 0x0211
OUT_OF_RESOURCES = 0xA700
CANNOT_UNDERSTAND = 0xC001
"""What a sender gets when something nobody foresaw happened here."""

NO_ANSWER = -1
"""No DIMSE status: the peer did not answer, or was not asked."""

NOT_OFFERED = frozenset({SOP_CLASS_NOT_SUPPORTED, 0x0118, 0x0123, UNRECOGNISED_OPERATION})
"""Answers to N-ACTION that say: no storage commitment here."""

HINT = "see 'A destination refuses an object' in docs/operations.md"
CLASS_HINT = "see 'A destination does not take an object' in docs/operations.md"

_HINTS: Mapping[type[CxrnodeError], str] = {NeedsOperator: HINT, ClassNotAccepted: CLASS_HINT}

NEXT: tuple[tuple[int, int, type[CxrnodeError] | None, str], ...] = (
    (0x0000, 0x0000, None, "success"),
    (0xB000, 0xBFFF, None, "stored, with a warning"),
    # Some archives answer a second C-STORE of the same UID so; one UID never stands for two contents of ours.
    (0x0111, 0x0111, None, "already stored"),
    (0x0110, 0x0110, Retryable, "processing failure"),
    (0x0117, 0x0117, NeedsOperator, "invalid SOP instance"),
    (0x0122, 0x0122, ClassNotAccepted, "SOP class not supported"),
    (0x0124, 0x0124, NeedsOperator, "not authorised"),
    (0x0210, 0x0210, Retryable, "duplicate invocation"),
    (0x0211, 0x0212, NeedsOperator, "operation not recognised"),
    (0x0213, 0x0213, Retryable, "resource limitation"),
    (0xA700, 0xA7FF, Retryable, "out of resources"),
    (0xA900, 0xA9FF, NeedsOperator, "data set does not match the SOP class"),
    (0xC000, 0xCFFF, NeedsOperator, "cannot understand"),
)
"""First and last status of a range, what happens next (None: the peer holds it), what the status says."""


def failure(status: int, *, operation: str, subject: str) -> CxrnodeError | None:
    """Give the error that `status` means, None where the peer took it. An unknown status is tried again."""
    matches = ((error, says) for first, last, error, says in NEXT if first <= status <= last)
    error, says = next(matches, (Retryable, "a status the standard does not know"))
    if error is None:
        return None
    happened = f"the peer answered 0x{status:04X}, {says}"
    return error(happened, operation=operation, subject=subject, hint=_HINTS.get(error, ""))
