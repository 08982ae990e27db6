"""THE LINE: received, kept, recorded, acknowledged; closed; run; delivered; committed.

Every step reads the ledger, does one thing through a port, and writes its end in one transaction with the next
step's beginning. Nothing here knows a library, a thread or a clock of its own, so the tests can kill it before and
after every port call; claiming is the only recovery.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from threading import Lock

from cxrnode.domain.delivery import CommitmentPolicy, Delivery, Destination, Geometry
from cxrnode.domain.finding import (
    ImagePrediction,
    ImageResult,
    ModelResult,
    RefusedImage,
    StudyResult,
    summary_of,
)
from cxrnode.domain.identity import AETitle, InstanceUID, StudyUID, derived_uid
from cxrnode.domain.job import Park, Retry, RetryPolicy, after_failure
from cxrnode.domain.judgment import judge
from cxrnode.domain.routing import Rule, route
from cxrnode.domain.selection import CAVEATS, REASONS, NotSuitable, Suitable, is_candidate, select
from cxrnode.domain.study import Arrival, Instance, Recorded, Sender, is_due
from cxrnode.errors import CxrnodeError, LeaseLost, Refused, Retryable, Unsuitable
from cxrnode.ports import (
    Archive,
    Claim,
    Clock,
    Completion,
    Composer,
    EvidenceObject,
    KeptEvidence,
    Ledger,
    Outcome,
    Peer,
    Predictor,
    Reader,
    Request,
    StoreResult,
    Verdict,
)
from cxrnode.telemetry import Event, tell, unexpected

SUCCESS = 0x0000
MISMATCH = 0xA900
"""Data Set does not match SOP Class (PS3.4 B.2.3)."""

_NOBODY = Sender(calling_ae=AETitle("ADOPTED"), called_ae=AETitle("ADOPTED"), address="", association="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the operator decided: the settings, as the line needs them."""

    rules: tuple[Rule, ...]
    models: tuple[str, ...]
    destinations: tuple[Destination, ...]
    quiet_seconds: float
    batch: int
    job_policy: RetryPolicy
    delivery_policy: RetryPolicy
    job_lease_seconds: float
    delivery_lease_seconds: float
    commitment_wait_seconds: float
    """How long an N-EVENT-REPORT may take before commitment is asked for again."""
    preview: bool = False


class Line:
    """The straight line over its ports. Safe to call from many threads: the ledger serialises."""

    def __init__(
        self,
        *,
        plan: Plan,
        archive: Archive,
        ledger: Ledger,
        reader: Reader,
        predictor: Predictor,
        composer: Composer,
        peer: Peer,
        clock: Clock,
        chance: Callable[[], float],
        seen: Callable[[Instance, ImagePrediction, ImageResult | None], None] | None = None,
    ) -> None:
        """Compose the line. `chance` gives jitter in [0, 1); `seen` is told of each image's answers (replay's overlays)."""
        self._plan = plan
        self._archive = archive
        self._ledger = ledger
        self._reader = reader
        self._predictor = predictor
        self._composer = composer
        self._peer = peer
        self._clock = clock
        self._chance = chance
        self._seen = seen
        self._sending: dict[str, set[StudyUID]] = {}
        self._sending_lock = Lock()

    # Receive

    def start(self) -> None:
        """Sweep unfinished files, and adopt finished ones that have no row: acknowledged instances in disguise."""
        swept = self._archive.sweep()
        if swept:
            tell(Event.SPOOL_SWEPT, count=swept)
        for key in self._ledger.unknown_keys(self._archive.finished()):
            self._adopt(key)

    def _adopt(self, key: str) -> None:
        arrival = Arrival(
            path=self._archive.path(key),
            sop_class_uid="",
            sop_instance_uid=InstanceUID(""),
            transfer_syntax_uid="",
            sender=_NOBODY,
        )
        description = self._reader.describe(arrival)
        self._ledger.record(description, _NOBODY, key, self._clock.now(), candidate=is_candidate(description.facts))
        tell(Event.INSTANCE_ADOPTED, instance=description.sop_instance_uid)

    def receive(self, arrival: Arrival) -> int:
        """Keep, record, and only then answer Success (law 1). Raises Refused with the status to answer instead."""
        self._archive.check_space()
        description = self._reader.describe(arrival)
        _check_command(arrival, description.sop_class_uid, description.sop_instance_uid)
        self._mark_sending(arrival.sender.association, description.study_uid)
        recorded = self._ledger.find_twin(description)
        if recorded is Recorded.DUPLICATE:
            self._archive.discard(arrival.path)
        else:
            key = self._archive.keep_source(arrival.path, description)
            recorded = self._ledger.record(
                description,
                arrival.sender,
                key,
                self._clock.now(),
                candidate=not description.unreadable and is_candidate(description.facts),
            )
        tell(
            Event.INSTANCE_RECEIVED,
            instance=description.sop_instance_uid,
            study=description.study_uid,
            recorded=str(recorded),
            bytes=description.size,
            association=arrival.sender.association,
        )
        return SUCCESS

    def _mark_sending(self, association: str, study: StudyUID) -> None:
        with self._sending_lock:
            self._sending.setdefault(association, set()).add(study)

    def association_ended(self, association: str) -> None:
        """Whatever it sent, it sends no more."""
        with self._sending_lock:
            self._sending.pop(association, None)

    def _still_sent(self, study: StudyUID) -> bool:
        with self._sending_lock:
            return any(study in studies for studies in self._sending.values())

    # Close

    def close_due(self) -> int:
        """Close every study that is due; give how many."""
        now = self._clock.now()
        return sum(
            self._close(study, now) for study, last in self._ledger.open_studies() if self._is_due(study, last, now)
        )

    def _is_due(self, study: StudyUID, last: datetime, now: datetime) -> bool:
        return is_due(
            last_instance_at=last,
            now=now,
            quiet_seconds=self._plan.quiet_seconds,
            still_sent=self._still_sent(study),
        )

    def _close(self, study: StudyUID, now: datetime) -> bool:
        membership = self._ledger.membership(study)
        verdicts = [Verdict(row=member.row, code=_code(member)) for member in membership.instances]
        wanted = [member for member, verdict in zip(membership.instances, verdicts, strict=True) if _matters(verdict)]
        chosen = route(
            (wanted or membership.instances)[0].sender, self._plan.rules, self._plan.models, self._plan.destinations
        )
        if not chosen.models:
            verdicts = [replace(verdict, code=verdict.code or "no_model") for verdict in verdicts]
        job = self._ledger.close(
            membership,
            verdicts,
            models=chosen.models,
            destinations=[destination.name for destination in chosen.destinations],
            now=now,
            schedule=any(_matters(verdict) for verdict in verdicts),
        )
        tell(Event.STUDY_CLOSED, study=study, images=len(verdicts), count=len(wanted), job=job)
        return True

    # Run

    def run_jobs(self) -> int:
        """Claim what is due, predict it in one batch, and finish each job; give how many were claimed."""
        claims = self._ledger.claim_jobs(
            self._clock.now(), limit=self._plan.batch, lease_seconds=self._plan.job_lease_seconds
        )
        if not claims:
            return 0
        for claim in claims:
            tell(Event.JOB_CLAIMED, job=claim.job, attempt=claim.attempt, study=claim.study_uid)
        try:
            answers = self._predict(claims)
        except Exception as error:  # noqa: BLE001 - a job worker's edge: every failure is the job's, decided in one place
            for claim in claims:
                self._job_failed(claim, error)
            return len(claims)
        for claim in claims:
            self._finish_or_fail(claim, answers)
        return len(claims)

    def _predict(self, claims: Sequence[Claim]) -> Mapping[tuple[int, int], ImagePrediction]:
        requests: dict[tuple[int, int], Request] = {}
        for claim in claims:
            for member in claim.members:
                if not claim.verdicts[member.row]:
                    requests[claim.job, member.row] = self._request(claim, member)
        if not requests:
            return {}
        answers = self._predictor.predict(list(requests.values()), lambda: self._renew(claims))
        return dict(zip(requests, answers, strict=True))

    def _request(self, claim: Claim, member: Instance) -> Request:
        return Request(
            row=member.row,
            path=self._archive.path(member.key),
            transfer_syntax_uid=member.description.transfer_syntax_uid,
            models=claim.models,
            preview=self._plan.preview,
        )

    def _renew(self, claims: Sequence[Claim]) -> None:
        self._ledger.renew(claims, self._clock.now(), lease_seconds=self._plan.job_lease_seconds)

    def _finish_or_fail(self, claim: Claim, answers: Mapping[tuple[int, int], ImagePrediction]) -> None:
        try:
            self._finish(claim, answers)
        except LeaseLost:
            tell(Event.LEASE_LOST, logging.WARNING, job=claim.job, attempt=claim.attempt)
        except Exception as error:  # noqa: BLE001 - a job worker's edge, as in run_jobs
            self._job_failed(claim, error)

    def _finish(self, claim: Claim, answers: Mapping[tuple[int, int], ImagePrediction]) -> None:
        images: list[ImageResult] = []
        refused: list[RefusedImage] = []
        for member in claim.members:
            said = self._say(claim, member, answers.get((claim.job, member.row)))
            if isinstance(said, ImageResult):
                images.append(said)
            else:
                refused.append(said)
        evidence = self._compose(claim, images, refused)
        outcomes = [_analysed(image) for image in images] + [_not_analysed(image) for image in refused]
        self._ledger.complete(claim, Completion(evidence=tuple(evidence), outcomes=tuple(outcomes)), self._clock.now())
        tell(Event.JOB_COMPLETED, job=claim.job, study=claim.study_uid, images=len(images), count=len(evidence))

    def _say(self, claim: Claim, member: Instance, answer: ImagePrediction | None) -> ImageResult | RefusedImage:
        said = self._judge(claim, member, answer)
        if self._seen and answer:
            self._seen(member, answer, said if isinstance(said, ImageResult) else None)
        return said

    def _judge(self, claim: Claim, member: Instance, answer: ImagePrediction | None) -> ImageResult | RefusedImage:
        if answer is None:
            return RefusedImage(source=member, code=claim.verdicts[member.row])
        if answer.failure:
            return RefusedImage(source=member, code=answer.failure.code)
        suitable = select(member.facts)
        assert isinstance(suitable, Suitable)  # closing gave it an empty verdict by the same rule
        missing = [(name, failure.code) for name, failure in answer.failed]
        self._try_again_while_it_may_help(claim, answer)
        results: list[ModelResult] = []
        for prediction in answer.predictions:
            try:
                results.append(judge(prediction, member.facts, suitable.view))
            except Unsuitable as error:
                missing.append((prediction.model.name, error.code))
        if not results:
            return RefusedImage(source=member, code=missing[0][1] if missing else "no_model")
        return ImageResult(
            source=member,
            view=suitable.view,
            results=tuple(results),
            missing=tuple(missing),
            caveats=suitable.caveats,
        )

    def _try_again_while_it_may_help(self, claim: Claim, answer: ImagePrediction) -> None:
        transient = [name for name, failure in answer.failed if failure.transient]
        if transient and claim.attempt < self._plan.job_policy.attempts:
            raise Retryable("a model failed and may do better", operation="predict", subject=transient[0])

    # Compose

    def _compose(
        self, claim: Claim, images: Sequence[ImageResult], refused: Sequence[RefusedImage]
    ) -> list[KeptEvidence]:
        destinations = [d for d in self._plan.destinations if d.name in claim.destinations]
        told = tuple(sorted((r for r in refused if REASONS[r.code].candidate), key=lambda r: r.source.uid))
        if not images:
            destinations = [d for d in destinations if d.not_analysed]
        if not images and not (told and destinations):
            return []
        study = StudyResult(
            study_uid=claim.study_uid,
            images=tuple(sorted(images, key=lambda image: image.source.uid)),
            refused=told,
        )
        kept: list[KeptEvidence] = []
        for geometry in _geometries(destinations):
            names = tuple(d.name for d in destinations if d.geometry is geometry)
            kept += self._compose_for(claim, study, geometry, names)
        return kept

    def _compose_for(
        self, claim: Claim, study: StudyResult, geometry: Geometry, names: tuple[str, ...]
    ) -> list[KeptEvidence]:
        segmentations: dict[str, list[KeptEvidence]] = {}
        for image in study.images:
            found = (self._keep_segmentation(image.source, result, geometry, names) for result in image.results)
            segmentations[image.source.uid] = [seg for seg in found if seg]
        report = self._keep_report(claim, study, segmentations, geometry, names)
        return [*(seg for segs in segmentations.values() for seg in segs), report]

    def _keep_segmentation(
        self, source: Instance, result: ModelResult, geometry: Geometry, names: tuple[str, ...]
    ) -> KeptEvidence | None:
        if not result.regions:
            return None
        uid = self._composer.segmentation_uid(source, result, geometry)
        composed: EvidenceObject | None = None
        if self._archive.kept_evidence(uid) is None:
            composed = self._composer.segmentation(source, self._archive.path(source.key), result, geometry)
            if composed is None:
                return None
        return self._keep("SEG", "1.2.840.10008.5.1.4.1.1.66.4", uid, composed, source.uid, result.model.name, names)

    def _keep_report(
        self,
        claim: Claim,
        study: StudyResult,
        segmentations: Mapping[str, Sequence[KeptEvidence]],
        geometry: Geometry,
        names: tuple[str, ...],
    ) -> KeptEvidence:
        uids = {source: [seg.sop_instance_uid for seg in segs] for source, segs in segmentations.items()}
        kind = report_kind(geometry)
        study = self._after_its_predecessor(study, uids, claim.reports.get(kind, ""))
        uid = self._composer.report_uid(study, uids)
        composed: EvidenceObject | None = None
        if self._archive.kept_evidence(uid) is None:
            sources = [i.source for i in study.images] + [r.source for r in study.refused]
            composed = self._composer.report(
                study,
                {source.row: self._archive.path(source.key) for source in sources},
                {s: [self._archive.path(seg.key) for seg in segs] for s, segs in segmentations.items()},
            )
        return self._keep(kind, self._composer.report_class_uid, uid, composed, "", "", names)

    def _after_its_predecessor(
        self, study: StudyResult, uids: Mapping[str, Sequence[str]], predecessor: str
    ) -> StudyResult:
        """Name the report that this one follows; a study that says the same again gets the same report again."""
        key = self._archive.kept_evidence(predecessor) if predecessor else None
        if key is None:
            return study
        unchanged = replace(study, predecessor=self._composer.predecessor_of(self._archive.path(key)))
        if self._composer.report_uid(unchanged, uids) == predecessor:
            return unchanged
        return replace(study, predecessor=predecessor)

    def _keep(
        self,
        kind: str,
        sop_class_uid: str,
        uid: str,
        composed: EvidenceObject | None,
        source: str,
        model: str,
        names: tuple[str, ...],
    ) -> KeptEvidence:
        if composed is not None:
            self._archive.keep_evidence(uid, composed.encoded)
            tell(Event.EVIDENCE_KEPT, evidence=uid, sop_class=sop_class_uid, instance=source, model=model)
        key = self._archive.kept_evidence(uid)
        assert key is not None  # kept before, or just now
        return KeptEvidence(
            kind=kind,
            sop_class_uid=sop_class_uid,
            sop_instance_uid=uid,
            source=source,
            model=model,
            key=key,
            sha256=_sha256(self._archive.path(key)),
            destinations=names,
        )

    def _job_failed(self, claim: Claim, error: Exception) -> None:
        now = self._clock.now()
        decision = after_failure(
            error, attempt=claim.attempt, now=now, policy=self._plan.job_policy, chance=self._chance()
        )
        _tell_failure(error, decision, now, Event.JOB_RETRIED, Event.JOB_PARKED, job=claim.job, attempt=claim.attempt)
        try:
            self._ledger.fail_job(claim, due_at=_due(decision), reason=_reason(error), now=now)
        except LeaseLost:
            tell(Event.LEASE_LOST, logging.WARNING, job=claim.job, attempt=claim.attempt)

    # Deliver

    def deliver(self, destination: Destination) -> int:
        """Send what is due to one destination and mark each object's own end; give how many were claimed."""
        now = self._clock.now()
        deliveries = self._ledger.claim_deliveries(
            destination.name, now, limit=self._plan.batch, lease_seconds=self._plan.delivery_lease_seconds
        )
        if deliveries:
            sent = self._peer.store(destination, [(d, self._archive.path(d.key)) for d in deliveries])
            for result in sent:
                self._mark(destination, result)
        return len(deliveries)

    def _mark(self, destination: Destination, result: StoreResult) -> None:
        now, delivery = self._clock.now(), result.delivery
        try:
            if result.error is None:
                ask_at = None if destination.commitment is CommitmentPolicy.NONE else now
                self._ledger.mark_sent(delivery, now, ask_at=ask_at)
                tell(Event.DELIVERY_SENT, evidence=delivery.sop_instance_uid, destination=destination.name)
            else:
                self._delivery_failed(delivery, destination, result.error, now)
        except LeaseLost:
            tell(Event.LEASE_LOST, logging.WARNING, evidence=delivery.sop_instance_uid, attempt=delivery.attempt)

    def _delivery_failed(self, delivery: Delivery, destination: Destination, error: Exception, now: datetime) -> None:
        decision = after_failure(
            error, attempt=delivery.attempt, now=now, policy=self._plan.delivery_policy, chance=self._chance()
        )
        self._ledger.fail_delivery(delivery, due_at=_due(decision), reason=_reason(error), now=now)
        _tell_failure(
            error,
            decision,
            now,
            Event.DELIVERY_RETRIED,
            Event.DELIVERY_PARKED,
            evidence=delivery.sop_instance_uid,
            destination=destination.name,
            attempt=delivery.attempt,
        )

    def ask_commitments(self, destination: Destination) -> int:
        """Ask one destination to commit to what it was sent; the transaction is recorded before N-ACTION goes out."""
        if destination.commitment is CommitmentPolicy.NONE:
            return 0
        now = self._clock.now()
        transaction = derived_uid("commitment", destination.name, now.isoformat(), self._chance())
        deliveries = self._ledger.begin_commitment(
            destination.name,
            transaction,
            now,
            limit=100,
            ask_again_at=now + timedelta(seconds=self._plan.commitment_wait_seconds),
        )
        if deliveries:
            tell(Event.COMMITMENT_ASKED, destination=destination.name, transaction=transaction, count=len(deliveries))
            self._ask(destination, transaction, deliveries)
        return len(deliveries)

    def _ask(self, destination: Destination, transaction: str, deliveries: Sequence[Delivery]) -> None:
        """What goes wrong here is mended by time: the deliveries are asked for again when their report is overdue."""
        try:
            offered = self._peer.ask_commitment(destination, transaction, deliveries)
        except CxrnodeError as error:
            tell(Event.DELIVERY_RETRIED, logging.WARNING, destination=destination.name, error=type(error).__name__)
            return
        if not offered:
            required = destination.commitment is CommitmentPolicy.REQUIRED
            self._ledger.no_commitment(
                deliveries,
                park=required,
                reason="the destination does not offer storage commitment" if required else "",
                now=self._clock.now(),
            )

    def confirm(self, transaction: str, committed: Sequence[str], failed: Mapping[str, int]) -> bool:
        """Take an N-EVENT-REPORT; False where the transaction is not ours."""
        known = self._ledger.confirm(
            transaction,
            committed=committed,
            failed=failed,
            now=self._clock.now(),
            attempts=self._plan.delivery_policy.attempts,
        )
        tell(Event.COMMITMENT_REPORTED, transaction=transaction, count=len(committed), failed=len(failed))
        return known


def report_kind(geometry: Geometry) -> str:
    """Name the kind of a report in the ledger: reports for each geometry follow each other."""
    return "SR" if geometry is Geometry.VIEWER else "SR-strict"


def _check_command(arrival: Arrival, sop_class: str, sop_instance: str) -> None:
    """The data set has to be what the command said (PS3.4 B.2.3); a file has no command."""
    said = (arrival.sop_class_uid, arrival.sop_instance_uid)
    if any(said) and said != (sop_class, sop_instance):
        raise Refused(
            "the data set names another SOP instance than the C-STORE command",
            status=MISMATCH,
            operation="C-STORE",
            subject=arrival.sop_instance_uid,
            hint="the sender must repair it",
        )


def _code(member: Instance) -> str:
    verdict = select(member.facts)
    return verdict.code if isinstance(verdict, NotSuitable) else ""


def _matters(verdict: Verdict) -> bool:
    return not verdict.code or REASONS[verdict.code].candidate


def _analysed(image: ImageResult) -> Outcome:
    summary: dict[str, object] = {
        "view": str(image.view),
        "results": [summary_of(result) for result in image.results],
        "missing": [list(pair) for pair in image.missing],
        "caveats": [CAVEATS[caveat] for caveat in image.caveats],
    }
    return Outcome(row=image.source.row, code="", summary=summary)


def _not_analysed(image: RefusedImage) -> Outcome:
    return Outcome(row=image.source.row, code=image.code, summary={})


def _geometries(destinations: Sequence[Destination]) -> list[Geometry]:
    """Give the geometries to compose for; evidence is kept even where nobody gets it."""
    return sorted({d.geometry for d in destinations}) or [Geometry.VIEWER]


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _due(decision: Retry | Park) -> datetime | None:
    return decision.due_at if isinstance(decision, Retry) else None


def _reason(error: Exception) -> str:
    """Say what happened for the ledger; of an error nobody foresaw only its kind, because its text may quote values."""
    return str(error) if isinstance(error, CxrnodeError) else f"unexpected {type(error).__name__}"


def _tell_failure(
    error: Exception, decision: Retry | Park, now: datetime, retried: Event, parked: Event, **fields: object
) -> None:
    if not isinstance(error, CxrnodeError):
        unexpected("run", error, **fields)
    if isinstance(decision, Retry):
        due_in = round((decision.due_at - now).total_seconds(), 1)
        tell(retried, logging.WARNING, error=type(error).__name__, due_in=due_in, **fields)
    else:
        tell(parked, logging.ERROR, error=type(error).__name__, **fields)
