"""Run: predict claimed jobs in one batch, say what was found, keep the evidence, complete.

Hides how answers become statements and what follows a failure. Promises that completing writes the job, its
evidence and all its deliveries at once, and that whoever lost the lease writes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from cxrnode.domain.finding import ImagePrediction, ImageResult, RefusedImage, summary_of
from cxrnode.domain.job import after_failure
from cxrnode.domain.judgment import GATE, judge_image
from cxrnode.domain.reasons import CAVEATS
from cxrnode.domain.selection import NotSuitable, Suitable, select
from cxrnode.domain.study import Instance
from cxrnode.errors import Fatal, LeaseLost, Retryable, Unsuitable
from cxrnode.pipeline.composing import Composed, Composing
from cxrnode.pipeline.failure import counts, due, reason, tell_failure
from cxrnode.pipeline.plan import Plan
from cxrnode.pixels import orientation
from cxrnode.ports import Archive, Claim, Clock, Completion, Ledger, Outcome, Picture, Predictor, Request
from cxrnode.telemetry import Event, tell

Seen = Callable[[Instance, ImagePrediction, ImageResult | None], None]
"""Is told of each image's answers, and what they came to (replay draws its overlays from it)."""


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
        """Claim what is due, predict it in one batch, and finish each job; give how many were claimed."""
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
        for claim in held:
            self._finish_or_fail(claim, answers)
        return len(claims)

    def _is_spent(self, claim: Claim) -> bool:
        """Park a job whose every attempt ended without a word: it may be what ended the node each time."""
        spent = claim.tries > self._plan.job_policy.attempts
        if spent:
            self._job_failed(
                claim, Retryable("its attempts ended without a result", operation="run", subject=claim.study_uid)
            )
        return spent

    def _predict(self, claims: Sequence[Claim]) -> Mapping[tuple[int, int], ImagePrediction]:
        requests: dict[tuple[int, int], Request] = {}
        for claim in (claim for claim in claims if not claim.retracts):
            preview = self._plan.preview or self._composing.needs_pictures(claim)
            for member in claim.members:
                if not claim.verdicts[member.row]:
                    requests[claim.job, member.row] = self._request(claim, member, preview=preview)
        if not requests:
            return {}
        answers = self._predictor.predict(list(requests.values()), lambda: self._renew(claims))
        return dict(zip(requests, answers, strict=True))

    def _request(self, claim: Claim, member: Instance, *, preview: bool) -> Request:
        return Request(
            row=member.row,
            path=self._archive.path(member.key),
            transfer_syntax_uid=member.description.transfer_syntax_uid,
            models=claim.models,
            preview=preview,
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
        self._try_again_while_it_may_help(claim, answer)
        if answer.failure:
            return RefusedImage(source=member, code=answer.failure.code)
        suitable = select(member.facts, children=self._plan.children)
        if isinstance(suitable, NotSuitable):  # the rules were other ones when the study closed
            return RefusedImage(source=member, code=suitable.code)
        return self._judge_pixels(member, answer, suitable)

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

    def _try_again_while_it_may_help(self, claim: Claim, answer: ImagePrediction) -> None:
        failures = [*answer.failed, *([("image", answer.failure)] if answer.failure else [])]
        transient = [name for name, failure in failures if failure.transient]
        if transient and claim.tries < self._plan.job_policy.attempts:
            raise Retryable("a model failed and may do better", operation="predict", subject=transient[0])

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


def _previews(claim: Claim, answers: Mapping[tuple[int, int], ImagePrediction]) -> dict[int, Picture]:
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
