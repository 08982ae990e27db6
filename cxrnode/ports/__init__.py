"""The few Protocols the line needs; every adapter is one of these, and so is every fake.

A port says in its docstrings what the line relies on. The contract suite in tests/contract holds the real adapters
and the fakes to it alike.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Protocol

from cxrnode.domain.capability import Choice
from cxrnode.domain.delivery import Committable, Delivery, Destination
from cxrnode.domain.finding import ImagePrediction, StudyResult
from cxrnode.domain.identity import StudyUID
from cxrnode.domain.study import Arrival, Description, Instance, Recorded, Sender
from cxrnode.ports.values import (
    Claim,
    Completion,
    Draft,
    KeptEvidence,
    Membership,
    Outcome,
    Picture,
    Recoding,
    ReportLink,
    Request,
    Retracted,
    StatedEvidence,
    StoreResult,
    Verdict,
)

__all__ = [
    "Archive",
    "Claim",
    "Clock",
    "Completion",
    "Composer",
    "Draft",
    "KeptEvidence",
    "Ledger",
    "Membership",
    "Outcome",
    "Peer",
    "Picture",
    "Predictor",
    "Reader",
    "Recoding",
    "ReportLink",
    "Request",
    "Retracted",
    "StatedEvidence",
    "StoreResult",
    "Verdict",
]


class Clock(Protocol):
    """The time, so that tests can own it."""

    def now(self) -> datetime:
        """Give the time as aware UTC."""
        ...


class Reader(Protocol):
    """Reads headers."""

    def describe(self, arrival: Arrival) -> Description:
        """Read the header up to the pixels and digest the bytes. Never raises for bad content: see `unreadable`."""
        ...

    def sender_of(self, path: Path) -> Sender:
        """Give who sent a kept file, as its file meta says; titles of ADOPTED where it does not."""
        ...


class Archive(Protocol):
    """Bytes on disk. A key names kept bytes for good and is relative to the archive."""

    def check_space(self) -> None:
        """Raise OutOfSpace when the disk is under its floor."""
        ...

    def keep_source(self, path: Path, description: Description) -> str:
        """Move the file under its final name, durable before this returns (fsync file, rename, fsync folder).

        The name derives from the SOP Instance UID and the bytes digest, so keeping the same content again is the same
        key, and a finished file says which instance it is.
        """
        ...

    def keep_evidence(self, uid: str, encoded: bytes) -> str:
        """Keep an evidence object, durable before this returns. What is kept wins: a second call changes nothing."""
        ...

    def kept_evidence(self, uid: str) -> str | None:
        """Give the key of a kept evidence object, or None."""
        ...

    def path(self, key: str) -> Path:
        """Give the path to read kept bytes from."""
        ...

    def kept_at(self, key: str) -> datetime:
        """Give when kept bytes came, as their file says."""
        ...

    def discard(self, path: Path) -> None:
        """Remove an incoming file whose content is already kept."""
        ...

    def sweep(self) -> int:
        """Remove unfinished incoming files; give how many. Only when the node starts."""
        ...

    def finished(self) -> Collection[str]:
        """Give the keys of all kept sources, walked anew each time (for adoption after a start)."""
        ...


class Ledger(Protocol):
    """The one truth. Each verb is one transaction; write verbs raise LeaseLost where a fence fails."""

    def find_twin(self, description: Description) -> Recorded:
        """Tell what recording this would make of it, without writing."""
        ...

    def kept_key(self, description: Description) -> str | None:
        """Give the key of the bytes that a duplicate repeats; None where they are swept."""
        ...

    def restore(self, description: Description, key: str, now: datetime, is_kept: Callable[[str], bool]) -> bool:
        """Let a duplicate's bytes, kept under `key`, take the place of those that are gone; nothing else changes.

        A job that is parked for want of them gives way to a new one. `is_kept` is asked while nothing can be swept:
        False, and nothing changed, where a sweep that began before has removed them.
        """
        ...

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
        """Record a kept instance. A new current revision of a candidate reopens its study; others join silently.

        `priority`: 1 where the sender called it urgent.
        """
        ...

    def adopt(
        self, description: Description, sender: Sender, key: str, kept_at: datetime, now: datetime, *, candidate: bool
    ) -> Recorded:
        """Record what was kept long ago and has no row; it takes no place of a revision that came after `kept_at`."""
        ...

    def unknown_keys(self, keys: Collection[str]) -> Sequence[str]:
        """Give those of the keys of kept sources that have no row."""
        ...

    def quiet_studies(
        self, until: datetime, *, after: tuple[StudyUID, datetime] | None, limit: int
    ) -> Sequence[tuple[StudyUID, datetime]]:
        """Give a page of the open studies whose last instance came at `until` or before, each with that time.

        The longest quiet come first; the next page begins `after` the last of this one. A study with a retraction that
        is not told yet is not among them: nothing takes a retraction's place.
        """
        ...

    def membership(self, study: StudyUID) -> Membership:
        """Give the current revisions of a study."""
        ...

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
        """Close the study with this membership and, if `schedule`, schedule its job; give the job's number.

        `priority`: 1 where the study is urgent.

        None, with nothing written, when an instance came in between (the generation moved on) or a retraction waits.
        """
        ...

    def recodings(self, *, limit: int) -> Sequence[Recoding]:
        """Give copies in another transfer syntax that wait to be compared, the oldest first."""
        ...

    def settle_recoding(self, copy: Recoding, now: datetime, *, same: bool) -> None:
        """Write what the comparison came to: the same image, whose corrected header counts; or a conflict."""
        ...

    def claim_jobs(self, now: datetime, *, limit: int, lease_seconds: float) -> Sequence[Claim]:
        """Lease due jobs of one class of priority, oldest first; a job that failed before alone. Nothing while paused.

        What is urgent goes first, and of every few claims one goes to what is not.
        """
        ...

    def renew(self, claims: Sequence[Claim], now: datetime, *, lease_seconds: float) -> None:
        """Move the deadline of leases still held; those lost are passed over."""
        ...

    def complete(self, claim: Claim, completion: Completion, now: datetime) -> None:
        """Write the job's end, its evidence, outcomes and all deliveries.

        What the job stated before and does not state any more is withdrawn where it is not sent; what was withdrawn
        and is stated again goes out. What is objected to is parked.
        """
        ...

    def fail_job(
        self, claim: Claim, *, due_at: datetime | None, reason: str, now: datetime, counts: bool = True
    ) -> None:
        """Schedule the job again for `due_at`, or park it where that is None. Not `counts`: its try is given back."""
        ...

    def claim_deliveries(
        self, destination: str, now: datetime, *, limit: int, lease_seconds: float
    ) -> Sequence[Delivery]:
        """Lease due deliveries of one destination, in the order in which jobs are leased."""
        ...

    def mark_sent(self, delivery: Delivery, now: datetime, *, ask_at: datetime | None) -> None:
        """The peer took it. `ask_at`: when commitment is to be asked for, None where SENT is final."""
        ...

    def fail_delivery(
        self, delivery: Delivery, *, due_at: datetime | None, reason: str, now: datetime, counts: bool = True
    ) -> None:
        """Schedule it again, or park it where `due_at` is None. Not `counts`: its try is given back."""
        ...

    def decline(self, delivery: Delivery, *, reason: str, now: datetime) -> frozenset[int]:
        """The destination takes no such class: withdraw it, and let its job run again to state what it does take.

        What else that job has not sent there yet is withdrawn with it; the rows of all withdrawn deliveries are given.
        A job that a newer one replaced, or whose results were taken back, is left; so is one that is to run anyway.
        """
        ...

    def accepted(self, destination: str) -> frozenset[str] | None:
        """Give the SOP classes that a destination said it takes; None where it was never asked."""
        ...

    def record_accepted(self, destination: str, classes: Collection[str], now: datetime) -> None:
        """Write what a destination takes, in place of what it said before."""
        ...

    def begin_commitment(
        self, destination: str, transaction_uid: str, now: datetime, *, limit: int, ask_again_at: datetime
    ) -> Sequence[Delivery]:
        """Record a transaction over SENT deliveries whose asking is due; give them. Before N-ACTION goes out."""
        ...

    def confirm(
        self,
        transaction_uid: str,
        *,
        committed: Sequence[str],
        failed: Mapping[str, int],
        now: datetime,
        attempts: int,
    ) -> bool:
        """Write an N-EVENT-REPORT: committed, or back to PENDING (PARKED after `attempts`). False: unknown transaction.

        `failed` maps SOP Instance UID to Failure Reason (0008,1197). A report that comes twice changes nothing.
        """
        ...

    def latest_time(self) -> datetime | None:
        """Give the latest time that was written down of late; None in a new ledger."""
        ...

    def pull_in(self, now: datetime, *, beyond: datetime, lease_until: datetime) -> int:
        """The clock was set back: let be due now what is due later than `beyond`; give how many rows that were.

        No lease lasts longer than `lease_until`.
        """
        ...

    def no_commitment(self, deliveries: Sequence[Delivery], *, park: bool, reason: str, now: datetime) -> None:
        """The destination does not offer commitment: SENT is final, or PARKED where it is required."""
        ...


class Predictor(Protocol):
    """The models, in their child process."""

    def waits_for(self) -> str:
        """Give what has to come before any image can be analysed (a device, a process); empty where nothing has."""
        ...

    def predict(
        self, requests: Sequence[Request], alive: Callable[[], None], *, alone: bool = False
    ) -> Sequence[ImagePrediction]:
        """Answer every request, in order. Calls `alive` while the child's heartbeat comes. Raises ChildLost.

        What the child was lost on while it worked is answered with a transient Failure: `crashed`, `hung`, `no_memory`
        or `device_lost`. `alone`: nothing else runs meanwhile, so that such a Failure is certain.
        """
        ...

    def same_pixels(self, first: Path, second: Path) -> bool:
        """Tell whether two files hold the same stored values. Raises Unsuitable (not to be decoded), ChildLost."""
        ...


class Composer(Protocol):
    """Writes evidence objects. The same arguments give the same bytes (law 4)."""

    def link_of(self, report: Path) -> ReportLink:
        """Give what a kept report says of its place in its line."""
        ...

    def report_uid(self, study: StudyResult, choice: Choice) -> str:
        """Give the SOP Instance UID of the report among the drafts of the same arguments."""
        ...

    def drafts(
        self, study: StudyResult, choice: Choice, paths: Mapping[int, Path], previews: Mapping[int, Picture]
    ) -> Sequence[Draft]:
        """Give every object of a study that `choice` names, and its report in any case; SEGs before the report.

        `paths`: kept sources by row; `previews`: display images by row, needed for Secondary Captures of images.
        """
        ...

    def rejection(
        self,
        source: Instance,
        path: Path,
        rejected: Sequence[StatedEvidence],
        files: Mapping[str, Path],
        because: str,
    ) -> Draft:
        """Give the note that rejects these objects of the study of `source`, which is kept at `path`.

        `files`: the objects by their UIDs; those but pages may have been swept. `because` is a key of RETRACTIONS.
        """
        ...

    def inspect(
        self,
        study: StudyResult,
        kept: Sequence[KeptEvidence],
        files: Mapping[str, Path],
        paths: Mapping[int, Path],
    ) -> Mapping[str, str]:
        """Look at objects as they would leave; give by SOP Instance UID what is wrong with those that must not.

        `files`: the objects by their UIDs; `paths`: kept sources by row.
        """
        ...


class Peer(Protocol):
    """The destinations, over DIMSE (or a folder, in replay)."""

    def echo(self, destination: Destination) -> None:
        """C-ECHO. Raises AssociationLost, or NeedsOperator when it is refused."""
        ...

    def accepted(self, destination: Destination) -> frozenset[str]:
        """Give the SOP classes, of those that the node writes, that the destination takes. Raises as `echo` does."""
        ...

    def store(self, destination: Destination, deliveries: Sequence[tuple[Delivery, Path]]) -> Sequence[StoreResult]:
        """C-STORE each object; one result each, in order. Never raises for one object's failure."""
        ...

    def ask_commitment(self, destination: Destination, transaction_uid: str, deliveries: Sequence[Committable]) -> bool:
        """N-ACTION for these objects. False: the destination does not offer storage commitment.

        The N-EVENT-REPORT comes to the handler that the listener, or the sender (same association), was given.
        """
        ...
