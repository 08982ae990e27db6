"""What is still to be asked of the child, however often it is lost meanwhile.

Hides which answers came before a child was lost, and what it was working on. Promises that every request is answered in
the end, each loss leaving less to ask: what the child was lost on is not asked again, but doubted (a Failure that may
pass), a model where it was in a model, else the whole image.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from cxrnode.domain.finding import Failure, ImagePrediction
from cxrnode.inference.process import Stage
from cxrnode.ports import Request

_WHOLE = ""
"""In place of a model's name: the image itself is doubted."""


class Asking:
    """The requests of one call."""

    def __init__(self, requests: Sequence[Request]) -> None:
        """Begin with nothing answered."""
        self._requests = requests
        self._answers: dict[int, ImagePrediction] = {}
        self._doubts: dict[int, dict[str, Failure]] = {}
        self._losses = 0

    def left(self) -> list[int]:
        """Give the places of the requests that have no answer yet."""
        return [place for place in range(len(self._requests)) if place not in self._answers]

    def request(self, place: int) -> Request:
        """Give what to ask: without the models that are doubted."""
        asked, doubted = self._requests[place], self._doubts.get(place, {})
        return replace(asked, models=tuple(name for name in asked.models if name not in doubted))

    def take(self, place: int, answer: ImagePrediction) -> None:
        """Take an answer."""
        self._answers[place] = _with_doubts(self._requests[place], answer, self._doubts.get(place, {}))

    def doubt(self, asked: Sequence[int], stages: Iterable[Stage], code: str) -> bool:
        """Learn what a child was lost on, by places among those `asked`, and how.

        False where it is lost too often for that to be the images' doing.
        """
        self._losses += 1
        failure = Failure(code=code, detail="the process that analyses images was lost on it", transient=True)
        for place, model in [(asked[image], stage.model) for stage in stages for image in stage.images]:
            if place in self._answers:
                continue
            self._doubts.setdefault(place, {})[model] = failure
            if model == _WHOLE:
                self._answers[place] = ImagePrediction(failure=failure)
        return self._losses <= len(self._requests) + 1

    def answers(self) -> tuple[ImagePrediction, ...]:
        """Give every answer, in the order of the requests. KeyError before all are there."""
        return tuple(self._answers[place] for place in range(len(self._requests)))


def _with_doubts(request: Request, answer: ImagePrediction, doubted: Mapping[str, Failure]) -> ImagePrediction:
    failed = {**dict(answer.failed), **doubted}
    return replace(answer, failed=tuple((name, failed[name]) for name in request.models if name in failed))
