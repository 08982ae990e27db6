"""The ledger as the line sees it.

Hides that it is SQLite, and which module a verb's SQL is in. Promises the port's contract: each verb is one
transaction, committed to disk when it returns; threads may share one ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from cxrnode.domain.delivery import Delivery, DeliveryState
from cxrnode.domain.identity import StudyUID
from cxrnode.domain.job import JobState
from cxrnode.domain.study import Description, Recorded, Sender
from cxrnode.ledger import (
    adopting,
    capability,
    clocks,
    closing,
    committing,
    completing,
    counting,
    holding,
    jobs,
    naming,
    operating,
    queries,
    quiet,
    receiving,
    recoding,
    retaining,
    retracting,
    sending,
)
from cxrnode.ledger.database import Database
from cxrnode.ledger.inventory import Inventory
from cxrnode.ledger.lock import Holder
from cxrnode.ledger.quiet import Place
from cxrnode.ledger.turns import Turns
from cxrnode.ledger.views import Counts, EvidenceView, InstanceView, JobDetails, JobView
from cxrnode.ports import Claim, Completion, Membership, Recoding, StatedEvidence, Verdict


class SqliteLedger:
    """The node's ledger; see ports.Ledger for what each verb promises. Owns the file and, if exclusive, its lock."""

    def __init__(self, database: Database, *, incarnation: str, exclusive: bool) -> None:
        """Work on an open database. `incarnation` names this run of the node in its leases."""
        self._database = database
        self._incarnation = incarnation
        self._exclusive = exclusive
        self._turns = Turns()

    @classmethod
    def open(cls, path: Path, *, incarnation: str, exclusive: bool, holder: Holder | None = None) -> Self:
        """Open the ledger at `path`; `holder` is who a second node is told holds it.

        Exclusive (serve, replay): makes and migrates it, and holds `<path>.lock`, which proves the leases of every
        other incarnation dead. Not exclusive (status, jobs, pause): works beside a running node.
        Raises AlreadyRunning, LedgerDamaged, or Fatal where another version wrote it or there is none.
        """
        database = Database.open(path, exclusive=exclusive, holder=holder)
        return cls(database, incarnation=incarnation, exclusive=exclusive)

    def shut(self) -> None:
        """Close the file and release the lock (`close` is the verb that closes a study)."""
        self._database.shut()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shut()

    def find_twin(self, description: Description) -> Recorded:
        """Tell what recording this would make of it."""
        with self._database.reading() as connection:
            return receiving.find_twin(connection, description)

    def kept_key(self, description: Description) -> str | None:
        """Give the key of the bytes that a duplicate repeats; None where they are swept."""
        with self._database.reading() as connection:
            return retaining.kept_key(connection, description)

    def restore(self, description: Description, key: str, now: datetime, is_kept: Callable[[str], bool]) -> bool:
        """Let a duplicate's bytes take the place of those that are gone; False where a sweep took them, too."""
        with self._database.writing() as connection:
            return retaining.restore(connection, description, key, now, is_kept)

    def record(
        self,
        description: Description,
        sender: Sender,
        key: str,
        now: datetime,
        *,
        candidate: bool,
        priority: int = 0,
    ) -> Recorded:
        """Record a kept instance."""
        with self._database.writing() as connection:
            return receiving.record(connection, description, sender, key, now, candidate=candidate, priority=priority)

    def adopt(
        self, description: Description, sender: Sender, key: str, kept_at: datetime, now: datetime, *, candidate: bool
    ) -> Recorded:
        """Record what was kept long ago and has no row."""
        with self._database.writing() as connection:
            return adopting.adopt(connection, description, sender, key, kept_at, now, candidate=candidate)

    def unknown_keys(self, keys: Collection[str]) -> Sequence[str]:
        """Give those of the keys that have no row."""
        with self._database.reading() as connection:
            return receiving.unknown_keys(connection, keys)

    def open_studies(self) -> Sequence[tuple[StudyUID, datetime]]:
        """Give the open studies, each with the time of its last instance, the longest quiet first."""
        with self._database.reading() as connection:
            return receiving.open_studies(connection)

    def quiet_studies(self, until: datetime, *, after: Place | None, limit: int) -> Sequence[Place]:
        """Give a page of open studies whose last instance came at `until` or before, the longest quiet first."""
        with self._database.reading() as connection:
            return quiet.quiet_studies(connection, until, after=after, limit=limit)

    def membership(self, study: StudyUID) -> Membership:
        """Give the current revisions of a study."""
        with self._database.reading() as connection:
            return receiving.membership(connection, study)

    def close(
        self,
        membership: Membership,
        verdicts: Sequence[Verdict],
        *,
        models: Sequence[str],
        destinations: Sequence[str],
        now: datetime,
        schedule: bool,
        priority: int = 0,
    ) -> int | None:
        """Close the study with this membership; give the number of the job, None where there is none."""
        with self._database.writing() as connection:
            return closing.close(
                connection,
                membership,
                verdicts,
                models=models,
                destinations=destinations,
                now=now,
                schedule=schedule,
                priority=priority,
            )

    def recodings(self, *, limit: int) -> Sequence[Recoding]:
        """Give copies in another transfer syntax that wait to be compared."""
        with self._database.reading() as connection:
            return recoding.waiting(connection, limit)

    def settle_recoding(self, copy: Recoding, now: datetime, *, same: bool) -> None:
        """Write what the comparison came to."""
        with self._database.writing() as connection:
            recoding.settle(connection, copy, now, same=same)

    def claim_jobs(self, now: datetime, *, limit: int, lease_seconds: float) -> Sequence[Claim]:
        """Lease due jobs."""
        with self._database.writing() as connection:
            return jobs.claim(
                connection,
                now,
                limit=limit,
                lease_seconds=lease_seconds,
                incarnation=self._incarnation,
                exclusive=self._exclusive,
                turns=self._turns,
            )

    def renew(self, claims: Sequence[Claim], now: datetime, *, lease_seconds: float) -> None:
        """Move the deadline of leases still held."""
        with self._database.writing() as connection:
            jobs.renew(connection, claims, now, lease_seconds=lease_seconds, incarnation=self._incarnation)

    def complete(self, claim: Claim, completion: Completion, now: datetime) -> None:
        """Write the job's end with all that follows from it."""
        with self._database.writing() as connection:
            completing.complete(connection, claim, completion, now)

    def fail_job(
        self, claim: Claim, *, due_at: datetime | None, reason: str, now: datetime, counts: bool = True
    ) -> None:
        """Schedule the job again, or park it."""
        with self._database.writing() as connection:
            jobs.fail(connection, claim, due_at=due_at, reason=reason, now=now, counts=counts)

    def claim_deliveries(
        self, destination: str, now: datetime, *, limit: int, lease_seconds: float
    ) -> Sequence[Delivery]:
        """Lease due deliveries of one destination."""
        with self._database.writing() as connection:
            return sending.claim(
                connection,
                destination,
                now,
                limit=limit,
                lease_seconds=lease_seconds,
                incarnation=self._incarnation,
                exclusive=self._exclusive,
                turns=self._turns,
            )

    def mark_sent(self, delivery: Delivery, now: datetime, *, ask_at: datetime | None) -> None:
        """The peer took it."""
        with self._database.writing() as connection:
            sending.mark_sent(connection, delivery, now, ask_at=ask_at)

    def fail_delivery(
        self, delivery: Delivery, *, due_at: datetime | None, reason: str, now: datetime, counts: bool = True
    ) -> None:
        """Schedule it again, or park it."""
        with self._database.writing() as connection:
            sending.fail(connection, delivery, due_at=due_at, reason=reason, now=now, counts=counts)

    def decline(self, delivery: Delivery, *, reason: str, now: datetime) -> frozenset[int]:
        """Withdraw what its destination takes no such class of, and let its job run again."""
        with self._database.writing() as connection:
            return capability.decline(connection, delivery, reason=reason, now=now)

    def accepted(self, destination: str) -> frozenset[str] | None:
        """Give the SOP classes that a destination said it takes; None where it was never asked."""
        with self._database.reading() as connection:
            return capability.accepted(connection, destination)

    def record_accepted(self, destination: str, classes: Collection[str], now: datetime) -> None:
        """Write what a destination takes."""
        with self._database.writing() as connection:
            capability.record_accepted(connection, destination, classes, now)

    def begin_commitment(
        self, destination: str, transaction_uid: str, now: datetime, *, limit: int, ask_again_at: datetime
    ) -> Sequence[Delivery]:
        """Record a storage commitment transaction before it is asked for."""
        with self._database.writing() as connection:
            return committing.begin_commitment(
                connection, destination, transaction_uid, now, limit=limit, ask_again_at=ask_again_at
            )

    def confirm(
        self,
        transaction_uid: str,
        *,
        committed: Sequence[str],
        failed: Mapping[str, int],
        now: datetime,
        attempts: int,
    ) -> bool:
        """Write a storage commitment report."""
        with self._database.writing() as connection:
            return committing.confirm(
                connection, transaction_uid, committed=committed, failed=failed, now=now, attempts=attempts
            ) or holding.confirm(connection, transaction_uid, committed=committed, now=now)

    def latest_time(self) -> datetime | None:
        """Give the latest time in the newest entries of the history."""
        with self._database.reading() as connection:
            return clocks.latest(connection)

    def pull_in(self, now: datetime, *, beyond: datetime, lease_until: datetime) -> int:
        """Let be due now what is due later than `beyond`; give how many rows that were."""
        with self._database.writing() as connection:
            return clocks.pull_in(connection, now, beyond=beyond, lease_until=lease_until)

    def no_commitment(self, deliveries: Sequence[Delivery], *, park: bool, reason: str, now: datetime) -> None:
        """SENT is final, or parked."""
        with self._database.writing() as connection:
            committing.no_commitment(connection, deliveries, park=park, reason=reason, now=now)

    @property
    def inventory(self) -> Inventory:
        """The ledger as retention and reconciliation see it."""
        return Inventory(self._database)

    # What follows is the operator's: it is not in the port, because the line never asks it.

    def find_jobs(
        self,
        *,
        state: JobState | None = None,
        delivery: DeliveryState | None = None,
        study: str | None = None,
        accession: str | None = None,
        patient_id: str | None = None,
        limit: int = 100,
    ) -> Sequence[JobView]:
        """Give the jobs that match all that is stated, the newest first; `delivery`: with a delivery in this state."""
        with self._database.reading() as connection:
            return queries.find_jobs(
                connection,
                state=state,
                delivery=delivery,
                study=study,
                accession=accession,
                patient_id=patient_id,
                limit=limit,
            )

    def studies_named(self, matches: Callable[[str], bool]) -> Sequence[str]:
        """Give the studies whose UID, or that of one of their objects, `matches`; it looks at every one."""
        with self._database.reading() as connection:
            return naming.studies_named(connection, matches)

    def job_details(self, job: int) -> JobDetails:
        """Give all about one job. NeedsOperator where there is none of that number."""
        with self._database.reading() as connection:
            return queries.job_details(connection, job)

    def evidence_of(self, study: StudyUID) -> Sequence[EvidenceView]:
        """Give all evidence of a study with its deliveries, the oldest first."""
        with self._database.reading() as connection:
            return queries.evidence_of(connection, study)

    def counts(self) -> Counts:
        """Count what there is by state."""
        with self._database.reading() as connection:
            return counting.counts(connection)

    def outcomes(self) -> Iterator[InstanceView]:
        """Walk over all instances in the order they came, in pages: a million is no list, and no long transaction."""
        page = self._outcomes_after(0)
        while page:
            yield from page
            page = self._outcomes_after(page[-1].row)

    def _outcomes_after(self, row: int) -> list[InstanceView]:
        with self._database.reading() as connection:
            return queries.outcomes_after(connection, row)

    def requeue_job(self, job: int, now: datetime) -> int:
        """Queue a parked or completed job again, and its parked deliveries; give its number.

        Where its results were taken back, that is the number of a new job, which states them again. NeedsOperator where
        that cannot be.
        """
        with self._database.writing() as connection:
            return operating.requeue(connection, job, now)

    def to_retract(self, job: int) -> Sequence[StatedEvidence]:
        """Give what retracting the job would take back. NeedsOperator where that cannot be."""
        with self._database.reading() as connection:
            return retracting.to_retract(connection, job)

    def schedule_retraction(self, job: int, because: str, now: datetime) -> int:
        """Take the job's results back: what is not sent is withdrawn, and a job, whose number this gives, tells of it.

        NeedsOperator where that cannot be.
        """
        with self._database.writing() as connection:
            return retracting.schedule(connection, job, because, now)

    def set_paused(self, paused: bool, now: datetime) -> None:
        """Let no job be claimed, or let them be claimed again; instances are still received and kept."""
        with self._database.writing() as connection:
            operating.set_paused(connection, paused, now)

    def paused(self) -> bool:
        """Tell whether an operator has paused running jobs."""
        with self._database.reading() as connection:
            return queries.paused(connection)

    def check(self) -> None:
        """Let SQLite look through the whole file. Raises LedgerDamaged."""
        with self._database.reading() as connection:
            queries.check(connection)
