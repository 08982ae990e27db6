"""Run: predict claimed jobs in one batch, say what was found, keep the evidence, complete.

Hides how answers become statements and what follows a failure. Promises that completing writes the job, its
evidence and all its deliveries at once, that whoever lost the lease writes nothing, and that an image which ends the
models' process holds up its own study only (quarantine).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from cxrnode.domain.finding import Failure, ImagePrediction, ImageResult, RefusedImage, summary_of
from cxrnode.domain.job import after_failure
from cxrnode.domain.judgment import GATE, judge_image
from cxrnode.domain.reasons import CAVEATS
from cxrnode.domain.selection import NotSuitable, Suitable, select
from cxrnode.domain.study import Instance
from cxrnode.errors import Fatal, LeaseLost, NeedsOperator, Retryable, Unsuitable
from cxrnode.pipeline.composing import Composed, Composing
from cxrnode.pipeline.failure import counts, due, reason, tell_failure
from cxrnode.pipeline.plan import Plan
from cxrnode.pipeline.quarantine import is_doubted, settled, tell_quarantined, try_again
from cxrnode.pixels import orientation
from cxrnode.ports import Archive, Claim, Clock, Completion, Ledger, Outcome, Picture, Predictor, Request
from cxrnode.telemetry import Event, tell

Seen = Callable[[Instance, ImagePrediction, ImageResult | None], None]
"""Is told of each image's answers, and what they came to (replay draws its overlays from it)."""


Answers = Mapping[tuple[int, int], ImagePrediction]
"""What was answered, by job and row."""


class Running:
    """The worker that runs jobs."""

    def __init__(
        self,
        *,
        plan: Plan,
        archive: Archive,
        ledger: Ledger,
        predictor: Predictor,
        composing: Composing,
        clock: Clock,
        chance: Callable[[], float],
        seen: Seen | None = None,
    ) -> None:
        """Compose it over its ports; `chance` gives jitter in [0, 1)."""
        self._plan = plan
        self._archive = archive
        self._ledger = ledger
        self._predictor = predictor
        self._composing = composing
        self._clock = clock
        self._chance = chance
        self._seen = seen

    def run_jobs(self) -> int:
        """Claim what is due, predict it in one batch, and finish each job; give how many were claimed.

        Nothing is claimed while the models cannot run: jobs wait in the ledger and cost no attempt.
        """
        if self._predictor.waits_for():
            return 0
        claims = self._ledger.claim_jobs(
            self._clock.now(), limit=self._plan.batch, lease_seconds=self._plan.job_lease_seconds
        )
        if not claims:
            return 0
        for claim in claims:
            tell(Event.JOB_CLAIMED, job=claim.job, attempt=claim.attempt, study=claim.study_uid)
        held = [claim for claim in claims if not self._is_spent(claim)]
        try:
            answers = self._predict(held)
        except Fatal:
            # The node stops; its leases die with it, and the next one claims these jobs again.
            raise
        except Exception as error:  # noqa: BLE001 - a job worker's edge: every failure is the job's, decided in one place
            for claim in held:
                self._job_failed(claim, error)
            return len(claims)
        doubtful = [claim for claim in held if _doubted(claim, answers)]
        for claim in held:
            if claim not in doubtful:
                self._finish_or_fail(claim, answers)
        for claim in doubtful:
            self._finish_alone(claim, answers)
        return len(claims)

    def _finish_alone(self, claim: Claim, answers: Answers) -> None:
        """Try a job's doubted images one by one, then finish it."""
        try:
            tried = {**answers, **self._tried_alone(claim, answers)}
        except Fatal:
            raise
        except Exception as error:  # noqa: BLE001 - a job worker's edge, as in run_jobs
            self._job_failed(claim, error)
        else:
            self._finish_or_fail(claim, tried)

    def _tried_alone(self, claim: Claim, answers: Answers) -> Answers:
        doubted = _doubted(claim, answers)
        requests = {key: request for key, request in self._requests(claim).items() if key in doubted}
        tried: dict[tuple[int, int], ImagePrediction] = {}
        for key, request in requests.items():
            (answer,) = self._predictor.predict([request], lambda: self._renew([claim]), alone=True)
            tried[key] = settled(answer)
            tell_quarantined(claim.job, doubted[key], tried[key])
        return tried

    def _is_spent(self, claim: Claim) -> bool:
        """Park a job whose every attempt ended without a word: it may be what ended the node each time."""
        spent = claim.tries > self._plan.job_policy.attempts
        if spent:
            self._job_failed(
                claim, Retryable("its attempts ended without a result", operation="run", subject=claim.study_uid)
            )
        return spent

    def _predict(self, claims: Sequence[Claim]) -> Answers:
        requests: dict[tuple[int, int], Request] = {}
        for claim in claims:
            requests |= self._requests(claim)
        if not requests:
            return {}
        answers = self._predictor.predict(list(requests.values()), lambda: self._renew(claims))
        return dict(zip(requests, answers, strict=True))

    def _requests(self, claim: Claim) -> dict[tuple[int, int], Request]:
        """Give what to ask of a job's images, by job and row; nothing for one that only takes results back."""
        if claim.retracts:
            return {}
        preview = self._plan.preview or self._composing.needs_pictures(claim)
        return {
            (claim.job, member.row): self._request(claim, member, preview=preview)
            for member in claim.members
            if not claim.verdicts[member.row]
        }

    def _request(self, claim: Claim, member: Instance, *, preview: bool) -> Request:
        return Request(
            row=member.row,
            path=self._archive.path(member.key),
            transfer_syntax_uid=member.description.transfer_syntax_uid,
            models=claim.models,
            preview=preview,
        )

    def _renew(self, claims: Sequence[Claim]) -> None:
        # A lease that another process's hold on the ledger keeps from being renewed is not lost for that: nobody but
        # this worker could claim the job (decision 0034), and the next heartbeat renews it.
        with suppress(Retryable):
            self._ledger.renew(claims, self._clock.now(), lease_seconds=self._plan.job_lease_seconds)

    def _finish_or_fail(self, claim: Claim, answers: Answers) -> None:
        try:
            self._finish(claim, answers)
        except LeaseLost:
            tell(Event.LEASE_LOST, logging.WARNING, job=claim.job, attempt=claim.attempt)
        except Fatal:
            raise
        except Exception as error:  # noqa: BLE001 - a job worker's edge, as in run_jobs
            self._job_failed(claim, error)

    def _finish(self, claim: Claim, answers: Answers) -> None:
        if claim.retracts:
            self._complete(claim, self._composing.retract(claim), [_taken_back(claim, m) for m in claim.members])
            return
        images: list[ImageResult] = []
        refused: list[RefusedImage] = []
        for member in claim.members:
            said = self._say(claim, member, answers.get((claim.job, member.row)))
            if isinstance(said, ImageResult):
                images.append(said)
            else:
                refused.append(said)
        composed = self._composing.compose(claim, images, refused, _previews(claim, answers))
        outcomes = [_analysed(image) for image in images] + [_not_analysed(image) for image in refused]
        self._complete(claim, composed, outcomes)

    def _complete(self, claim: Claim, composed: Composed, outcomes: Sequence[Outcome]) -> None:
        completion = Completion(evidence=composed.evidence, outcomes=tuple(outcomes), fallbacks=composed.fallbacks)
        self._ledger.complete(claim, completion, self._clock.now())
        images = sum(not outcome.code for outcome in outcomes)
        tell(
            Event.JOB_COMPLETED,
            job=claim.job,
            study=claim.study_uid,
            images=images,
            count=len(composed.evidence),
        )

    def _say(self, claim: Claim, member: Instance, answer: ImagePrediction | None) -> ImageResult | RefusedImage:
        said = self._judge(claim, member, answer)
        if self._seen and answer:
            self._seen(member, answer, said if isinstance(said, ImageResult) else None)
        return said

    def _judge(self, claim: Claim, member: Instance, answer: ImagePrediction | None) -> ImageResult | RefusedImage:
        if answer is None:
            return RefusedImage(source=member, code=claim.verdicts[member.row])
        try_again(answer, last=claim.tries >= self._plan.job_policy.attempts)
        if answer.failure:
            self._require_kept(member, answer.failure)
            return RefusedImage(source=member, code=answer.failure.code)
        suitable = select(member.facts, children=self._plan.children)
        if isinstance(suitable, NotSuitable):  # the rules were other ones when the study closed
            return RefusedImage(source=member, code=suitable.code)
        return self._judge_pixels(member, answer, suitable)

    def _require_kept(self, member: Instance, failure: Failure) -> None:
        """A file that is gone, or that the disk does not give back, is no image that cannot be decoded.

        It was lost here, and a person has to bring it back.
        """
        if not self._archive.path(member.key).is_file():
            happened = "its file is gone from the spool"
        elif failure.transient and failure.code == "unreadable":
            happened = "its file cannot be read"
        else:
            return
        hint = "see 'A kept instance cannot be read' in docs/operations.md"
        raise NeedsOperator(happened, operation="predict", subject=member.uid, hint=hint)

    def _judge_pixels(
        self, member: Instance, answer: ImagePrediction, suitable: Suitable
    ) -> ImageResult | RefusedImage:
        """What the gate refuses is not analysed, whatever the other models said of it."""
        missing = tuple((name, failure.code) for name, failure in answer.failed)
        try:
            judged = judge_image(
                answer.predictions,
                member.facts,
                suitable.view,
                orientation.of(member.facts.patient_orientation),
                state_withheld=self._plan.state_withheld,
                children=self._plan.children,
            )
        except Unsuitable as error:
            return RefusedImage(source=member, code=error.code)
        if not judged.results:
            return RefusedImage(source=member, code=missing[0][1] if missing else "no_model")
        unlooked = ("gate_missing",) if GATE in dict(missing) else ()
        caveats = (*suitable.caveats, *unlooked, *judged.caveats)
        return ImageResult(source=member, view=suitable.view, results=judged.results, missing=missing, caveats=caveats)

    def _job_failed(self, claim: Claim, error: Exception) -> None:
        now = self._clock.now()
        decision = after_failure(
            error, attempt=claim.tries, now=now, policy=self._plan.job_policy, chance=self._chance()
        )
        tell_failure(error, decision, now, Event.JOB_RETRIED, Event.JOB_PARKED, job=claim.job, attempt=claim.attempt)
        try:
            self._ledger.fail_job(claim, due_at=due(decision), reason=reason(error), now=now, counts=counts(decision))
        except LeaseLost:
            tell(Event.LEASE_LOST, logging.WARNING, job=claim.job, attempt=claim.attempt)


def _doubted(claim: Claim, answers: Answers) -> dict[tuple[int, int], Instance]:
    """Give the images of a job on which the models' process was lost, by job and row."""
    keys = {(claim.job, member.row): member for member in claim.members}
    return {key: member for key, member in keys.items() if is_doubted(answers.get(key))}


def _previews(claim: Claim, answers: Answers) -> dict[int, Picture]:
    """Give the display image of each source that has one, by its row."""
    pictures = ((row, answer.preview) for (job, row), answer in answers.items() if job == claim.job)
    return {row: picture for row, picture in pictures if picture is not None}


def _taken_back(claim: Claim, member: Instance) -> Outcome:
    return Outcome(row=member.row, code=claim.verdicts[member.row] or "retracted", summary={})


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
