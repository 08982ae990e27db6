"""Images on which the models' process is lost: the others are finished first, one more try alone, then a reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from cxrnode.domain.finding import Failure, ImagePrediction, ModelIdentity
from cxrnode.domain.job import JobState
from cxrnode.phantom import Radiograph, View
from cxrnode.ports import Request
from tests.bench import FILM, Bench

MANY = [replace(FILM, seed=seed) for seed in range(4)]
PA, AP = (
    replace(FILM, study="one", view=view, instance_number=number + 1) for number, view in enumerate((View.PA, View.AP))
)


def lost_on(bench: Bench, film: Radiograph, code: str, *, times: int = 99, model: str = "") -> None:
    """Have the models' process lost on a film, or in one model on it, so many times."""
    answer, left = bench.predictor.predict, [times]

    def predict(
        requests: Sequence[Request], alive: Callable[[], None], *, alone: bool = False
    ) -> Sequence[ImagePrediction]:
        answers = list(answer(requests, alive, alone=alone))
        for place, request in enumerate(requests):
            if film.uid("instance") in request.path.name and left[0]:
                left[0] -= 1
                answers[place] = _lost(answers[place], Failure(code=code, transient=True), model)
        return answers

    bench.predictor.predict = predict  # type: ignore[method-assign]


def _lost(answer: ImagePrediction, failure: Failure, model: str) -> ImagePrediction:
    if not model:
        return ImagePrediction(failure=failure)
    others = tuple(said for said in answer.predictions if said.model.name != model)
    return replace(answer, predictions=others, failed=((model, failure),))


def outcome(bench: Bench, film: Radiograph) -> str | None:
    """Give what became of a film."""
    (view,) = (one for one in bench.ledger.outcomes() if one.sop_instance_uid == film.uid("instance"))
    return view.code


@pytest.mark.parametrize("code", ["crashed", "hung"])
def test_a_poison_image_is_set_aside_in_the_same_ring(make: Callable[..., Bench], code: str) -> None:
    """Four studies in one batch: three are complete before the fourth is tried alone; none lost an attempt."""
    bench = make()
    for film in MANY:
        bench.take(film)
    lost_on(bench, MANY[2], code)
    done: list[int] = []
    predict = bench.predictor.predict

    def counting(requests, alive, *, alone=False):  # type: ignore[no-untyped-def]
        if alone:
            done.append(bench.states().count(JobState.COMPLETED))
        return predict(requests, alive, alone=alone)

    bench.predictor.predict = counting  # type: ignore[method-assign]
    bench.work()
    assert (bench.states(), done) == ([JobState.COMPLETED] * 4, [3])
    assert [outcome(bench, film) for film in MANY] == ["", "", code, ""]
    assert {job.attempt for job in bench.jobs()} == {1}


def test_the_rest_of_its_study_is_reported(make: Callable[..., Bench]) -> None:
    """One of two films of a study is poison: the other one's results go out, and the report names the reason."""
    bench = make()
    bench.take(PA)
    bench.take(AP)
    lost_on(bench, PA, "crashed")
    bench.work()
    assert (outcome(bench, PA), outcome(bench, AP)) == ("crashed", "")
    assert bench.kinds() == ["SEG", "SR"]


def test_a_loss_that_does_not_come_again_leaves_no_trace(make: Callable[..., Bench]) -> None:
    """The process was lost by chance: alone, the image is analysed."""
    bench = make()
    bench.take(FILM)
    lost_on(bench, FILM, "crashed", times=1)
    bench.work()
    assert (bench.states(), outcome(bench, FILM), bench.predictor.alone) == ([JobState.COMPLETED], "", 1)


def test_two_poison_images_in_one_batch_cost_two_tries_alone(make: Callable[..., Bench]) -> None:
    """Neither hides the other."""
    bench = make()
    for film in MANY:
        bench.take(film)
    lost_on(bench, MANY[0], "crashed")
    lost_on(bench, MANY[3], "hung")
    bench.work()
    assert [outcome(bench, film) for film in MANY] == ["crashed", "", "", "hung"]
    assert (bench.states(), bench.predictor.alone) == ([JobState.COMPLETED] * 4, 2)


def test_an_image_that_ends_one_model_is_reported_without_it(make: Callable[..., Bench]) -> None:
    """The other model's findings go out, and the missing one is named."""
    bench = make(models=("lungs", "opacity"))
    bench.predictor.models["opacity"] = ModelIdentity(name="opacity", version="1", digest="e" * 64, backend="fake")
    bench.take(FILM)
    lost_on(bench, FILM, "crashed", model="opacity")
    bench.work()
    (member,) = bench.ledger.job_details(1).members
    assert member.summary is not None
    assert (member.outcome, member.summary["missing"]) == ("", [["opacity", "crashed"]])
    assert bench.kinds() == ["SEG", "SR"]


@pytest.mark.parametrize(
    ("code", "heading"), [("no_memory", "Not enough memory for the models"), ("device_lost", "The GPU is lost")]
)
def test_a_model_without_memory_or_gpu_parks_its_job_and_goes_on_when_it_is_told_to(
    make: Callable[..., Bench], code: str, heading: str
) -> None:
    """Nothing is wrong with the image, so nothing is said of it: a person mends the machine."""
    bench = make()
    bench.take(FILM)
    lost_on(bench, FILM, code, times=6, model="lungs")
    bench.work(12)
    (job,) = bench.jobs()
    assert (job.state, bench.said()) == (JobState.PARKED, [])
    assert f"see '{heading}' in docs/operations.md" in job.reason
    bench.ledger.requeue_job(job.job, bench.clock.now())
    bench.work()
    assert (bench.states(), outcome(bench, FILM)) == ([JobState.COMPLETED], "")


def test_an_image_that_never_fits_into_memory_is_a_recorded_reason(make: Callable[..., Bench]) -> None:
    """It is tried as often as any job, then its study is reported without it."""
    bench = make()
    bench.take(PA)
    bench.take(AP)
    lost_on(bench, PA, "no_memory")
    bench.work(12)
    assert (bench.states(), outcome(bench, PA), outcome(bench, AP)) == ([JobState.COMPLETED], "no_memory", "")


def test_jobs_wait_for_a_device_without_losing_attempts(make: Callable[..., Bench]) -> None:
    """Nothing is claimed while the GPU is gone, however long that is; then all goes on by itself."""
    bench = make()
    bench.take(FILM)
    bench.predictor.waiting = "the device 'cuda' is not there"
    bench.work(50, seconds=900)
    assert ([job.attempt for job in bench.jobs()], bench.predictor.asked) == ([0], [])
    bench.predictor.waiting = ""
    bench.work()
    assert bench.states() == [JobState.COMPLETED]
