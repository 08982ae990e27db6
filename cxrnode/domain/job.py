"""The life of a job, and what happens after a failed attempt.

Theory of operation. A job is the enabled models on one closed study with one exact membership. It is
SCHEDULED when the study closes. A claim is a lease: it makes the job IN_PROGRESS with a deadline, an attempt
number and the node's incarnation. Completing is fenced by the attempt number. A failed attempt goes back to
SCHEDULED with a later due time, or to PARKED when it is spent or an operator has to look. An expired lease is
claimed again, which is the only recovery there is: IN_PROGRESS --claim--> IN_PROGRESS. Closing a study again
cancels the job it replaces if that one has not begun.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from cxrnode.errors import NeedsOperator, Stopping


class JobState(StrEnum):
    """Where a job stands."""

    SCHEDULED = "SCHEDULED"
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    CANCELED = "CANCELED"
    PARKED = "PARKED"


class JobEvent(StrEnum):
    """What can happen to a job."""

    CLAIM = "claim"
    COMPLETE = "complete"
    RETRY = "retry"
    PARK = "park"
    CANCEL = "cancel"
    REQUEUE = "requeue"
    """An operator's `jobs retry`."""


JOB_TRANSITIONS: dict[tuple[JobState, JobEvent], JobState] = {
    (JobState.SCHEDULED, JobEvent.CLAIM): JobState.IN_PROGRESS,
    (JobState.SCHEDULED, JobEvent.CANCEL): JobState.CANCELED,
    (JobState.IN_PROGRESS, JobEvent.CLAIM): JobState.IN_PROGRESS,
    (JobState.IN_PROGRESS, JobEvent.COMPLETE): JobState.COMPLETED,
    (JobState.IN_PROGRESS, JobEvent.RETRY): JobState.SCHEDULED,
    (JobState.IN_PROGRESS, JobEvent.PARK): JobState.PARKED,
    (JobState.PARKED, JobEvent.REQUEUE): JobState.SCHEDULED,
    (JobState.PARKED, JobEvent.CANCEL): JobState.CANCELED,
    (JobState.COMPLETED, JobEvent.REQUEUE): JobState.SCHEDULED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often, and how long between. The n-th wait is `first_seconds * 2**(n-1)`, at most `longest_seconds`."""

    attempts: int = 5
    first_seconds: float = 5.0
    longest_seconds: float = 900.0

    def wait(self, attempt: int, chance: float) -> timedelta:
        """Give how long to wait after the `attempt`-th failure, from 1; `chance` in [0, 1) spreads its second half."""
        doublings = min(attempt - 1, 30)
        seconds = min(self.first_seconds * 2**doublings, self.longest_seconds)
        return timedelta(seconds=seconds * (0.5 + 0.5 * chance))


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """Try again when the clock shows `due_at`. `counts`: whether the failed attempt is one of those that are spent."""

    due_at: datetime
    counts: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Park:
    """Stop trying and wait for an operator."""


def after_failure(error: Exception, *, attempt: int, now: datetime, policy: RetryPolicy, chance: float) -> Retry | Park:
    """Decide what follows a failed attempt.

    `attempt` counts from 1. `chance` in [0, 1) spreads the wait over half to all of its length (jitter), so
    that what failed together is not tried together. All but NeedsOperator is tried again, also what nobody foresaw: its
    attempts end too. What a stopping node gave up is due at once and costs no attempt.
    """
    if isinstance(error, Stopping):
        return Retry(due_at=now, counts=False)
    if isinstance(error, NeedsOperator) or attempt >= policy.attempts:
        return Park()
    return Retry(due_at=now + policy.wait(attempt, chance))
