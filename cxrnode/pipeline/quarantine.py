"""Quarantine: an image on which the models' process was lost is tried once more, alone.

Hides which failures mean that. Promises that whoever shared a batch with such an image is finished before it is tried
again, that an image is set aside for good only where the process ended on it a second time with nothing else running
(the first time it may have been the memory that another one took), and that what may pass is left to the job's own
attempts.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from cxrnode.domain.finding import Failure, ImagePrediction
from cxrnode.domain.study import Instance
from cxrnode.errors import Retryable
from cxrnode.telemetry import Event, tell

LASTING = frozenset({"crashed", "hung"})
"""Once more alone, and it is the image's own."""
PASSING = frozenset({"no_memory", "device_lost"})
"""Hardly the image's fault: a model that never gets through for it parks its job."""


def is_doubted(answer: ImagePrediction | None) -> bool:
    """Tell whether an image is to be tried alone."""
    return answer is not None and any(
        failure.transient and failure.code in LASTING | PASSING for _, failure in failures(answer)
    )


def failures(answer: ImagePrediction) -> list[tuple[str, Failure]]:
    """Give what failed, by model; the image itself under an empty name."""
    return [*answer.failed, *([("", answer.failure)] if answer.failure else [])]


def settled(answer: ImagePrediction) -> ImagePrediction:
    """Give the answer of an image that was tried alone, what it was doubted for now being known."""
    return replace(
        answer,
        failed=tuple((name, _settled(failure)) for name, failure in answer.failed),
        failure=_settled(answer.failure) if answer.failure else None,
    )


def _settled(failure: Failure) -> Failure:
    return replace(failure, transient=False) if failure.code in LASTING else failure


def tell_quarantined(job: int, member: Instance, answer: ImagePrediction) -> None:
    """Log what is set aside."""
    for model, failure in failures(answer):
        if failure.code in LASTING and not failure.transient:
            tell(
                Event.IMAGE_QUARANTINED,
                logging.WARNING,
                job=job,
                instance=member.uid,
                model=model,
                code=failure.code,
            )


def try_again(answer: ImagePrediction, *, last: bool) -> None:
    """Raise Retryable where another attempt may help; on the `last` one only where the job is to be parked for it."""
    for model, failure in failures(answer):
        if not failure.transient or (last and not (model and failure.code in PASSING)):
            continue
        happened, hint = _WORDS.get(failure.code, ("a model failed and may do better", ""))
        raise Retryable(happened, operation="predict", subject=model or "image", hint=hint)


_WORDS = {
    "no_memory": ("there is not enough memory", "see 'Not enough memory for the models' in docs/operations.md"),
    "device_lost": ("the GPU is lost each time", "see 'The GPU is lost' in docs/operations.md"),
    "unreadable": ("its file could not be read", "see 'A kept instance cannot be read' in docs/operations.md"),
}
"""What another attempt may mend, and what to do where it does not."""
