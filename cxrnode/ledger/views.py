"""What an operator, a script or a table sees of the ledger.

Promises values that were true together: each view is read in one transaction. They hold patient data, so they go to
the terminal of whoever asked and never into a log.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cxrnode.domain.delivery import DeliveryState
from cxrnode.domain.identity import InstanceUID, StudyUID
from cxrnode.domain.job import JobState
from cxrnode.domain.study import Patient
from cxrnode.ports import StatedEvidence


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceView:
    """One recorded instance with what became of it: a row of findings.csv."""

    row: int
    key: str
    study_uid: StudyUID
    series_uid: str
    sop_instance_uid: InstanceUID
    sop_class_uid: str
    modality: str
    patient: Patient
    received_at: datetime
    code: str | None
    """Empty: analysed; else a key of REASONS; None: not decided yet."""
    summary: Mapping[str, Any] | None
    """What was found, where it was analysed."""
    segmentations: tuple[str, ...]
    """Archive keys of its SEGs from the study's last completed job, and of the study's report."""
    report: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberView:
    """One member of a job: `verdict` is what closing decided, `outcome` what the job came to (None: not yet)."""

    row: int
    sop_instance_uid: InstanceUID
    key: str
    verdict: str
    outcome: str | None
    summary: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryView:
    """One object on its way to one destination. `reason` is the last failure's."""

    destination: str
    state: DeliveryState
    attempt: int
    due_at: datetime
    reason: str
    sent_at: datetime | None
    committed_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceView:
    """One evidence object and where it went. `source` is empty for a report."""

    kind: str
    sop_class_uid: str
    sop_instance_uid: str
    source: str
    model: str
    key: str
    sha256: str
    kept_at: datetime
    deliveries: tuple[DeliveryView, ...]
    objection: str
    """Why the node's own inspection keeps it from being sent; empty where nothing does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """One line of the history."""

    at: datetime
    subject: str
    subject_id: str
    event: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobView:
    """One job in a list. `reason` is the last failure's, or why it is parked."""

    job: int
    study_uid: StudyUID
    patient: Patient
    state: JobState
    attempt: int
    due_at: datetime
    scheduled_at: datetime
    ended_at: datetime | None
    models: tuple[str, ...]
    destinations: tuple[str, ...]
    reason: str
    fallbacks: Mapping[str, Sequence[str]]
    """By destination: what it does not take, and what goes instead, a sentence each."""
    retracts: int | None
    """The job whose results this one takes back."""
    retracted_by: int | None
    """The job that took this one's results back."""
    because: str
    """Why, of either of the two: a key of RETRACTIONS."""
    urgent: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class JobDetails:
    """All that the ledger knows of one job. `history` covers its study, the job and its deliveries, oldest first.

    `taken_back`: what it takes back, where it is a retraction.
    """

    job: JobView
    members: tuple[MemberView, ...]
    evidence: tuple[EvidenceView, ...]
    history: tuple[HistoryEntry, ...]
    taken_back: tuple[StatedEvidence, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How much there is of what."""

    instances: int
    studies_by_state: Mapping[str, int]
    jobs_by_state: Mapping[JobState, int]
    deliveries_by_state: Mapping[str, Mapping[DeliveryState, int]]
    """By destination, then by state."""
    awaiting_commitment: int
    """Deliveries that are SENT and whose storage commitment is not reported yet."""
    oldest_job_due_at: datetime | None
    """When the job that waits longest was due."""
    oldest_delivery_due_at: datetime | None
    last_received_at: datetime | None

    @property
    def open_studies(self) -> int:
        """Studies that wait to be closed."""
        return self.studies_by_state.get("OPEN", 0)

    @property
    def jobs(self) -> int:
        """All jobs there ever were."""
        return sum(self.jobs_by_state.values())

    @property
    def jobs_left(self) -> int:
        """Jobs that will run without anybody's doing."""
        return sum(self.jobs_by_state.get(state, 0) for state in (JobState.SCHEDULED, JobState.IN_PROGRESS))

    @property
    def jobs_parked(self) -> int:
        """Jobs that wait for an operator."""
        return self.jobs_by_state.get(JobState.PARKED, 0)

    @property
    def deliveries_left(self) -> int:
        """Deliveries that are not SENT yet and will be tried without anybody's doing."""
        return self._deliveries(DeliveryState.PENDING) + self._deliveries(DeliveryState.SENDING)

    @property
    def deliveries_parked(self) -> int:
        """Deliveries that wait for an operator."""
        return self._deliveries(DeliveryState.PARKED)

    def _deliveries(self, state: DeliveryState) -> int:
        return sum(states.get(state, 0) for states in self.deliveries_by_state.values())
