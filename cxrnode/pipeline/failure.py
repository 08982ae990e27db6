"""What a worker does with a failed attempt: when it is tried again, and what it may say about it."""

from __future__ import annotations

import logging
from datetime import datetime

from cxrnode.domain.job import Park, Retry
from cxrnode.errors import CxrnodeError
from cxrnode.telemetry import Event, tell, unexpected


def due(decision: Retry | Park) -> datetime | None:
    """Give the time of the next attempt, None where there is none."""
    return decision.due_at if isinstance(decision, Retry) else None


def counts(decision: Retry | Park) -> bool:
    """Tell whether the failed attempt is one of those that are spent."""
    return decision.counts if isinstance(decision, Retry) else True


def reason(error: Exception) -> str:
    """Say what happened for the ledger; of an error nobody foresaw only its kind, because its text may quote values."""
    return str(error) if isinstance(error, CxrnodeError) else f"unexpected {type(error).__name__}"


def tell_failure(
    error: Exception, decision: Retry | Park, now: datetime, retried: Event, parked: Event, **fields: object
) -> None:
    """Log the failure and what follows it; of an error nobody foresaw only its kind and place."""
    if not isinstance(error, CxrnodeError):
        unexpected("run", error, **fields)
    if isinstance(decision, Retry):
        due_in = round((decision.due_at - now).total_seconds(), 1)
        tell(retried, logging.WARNING, error=type(error).__name__, due_in=due_in, **fields)
    else:
        tell(parked, logging.ERROR, error=type(error).__name__, **fields)
