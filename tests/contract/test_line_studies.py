"""What is one study, what comes late, what comes twice, and what is no film: the line on a real ledger."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from cxrnode.domain.finding import Failure, ModelIdentity
from cxrnode.domain.job import JobState
from cxrnode.domain.reasons import CAVEATS
from cxrnode.phantom import Defect, Patient, View
from tests import chests
from tests.bench import FILM, PACS, Bench
from tests.fakes.predictor import LUNGS

PA = replace(FILM, study="one")
LATERAL = replace(PA, view=View.LATERAL)
HAND = replace(FILM, seed=3, defect=Defect.HAND)


def test_pa_and_lateral_on_overlapping_associations_are_one_study(make: Callable[..., Bench]) -> None:
    """While one association that sent the study is open it stays open; then there is one job with both images."""
    bench = make()
    bench.take(PA, association="a", ended=False)
    bench.take(LATERAL, association="b")
    bench.work(3)
    assert bench.jobs() == []
    bench.line.association_ended("a")
    bench.work()
    assert bench.states() == [JobState.COMPLETED]
    assert bench.codes() == {"", "lateral"}
    (report,) = bench.said()
    assert len(report["images"]) == 1
    assert [code for _, code in report["refused"]] == ["lateral"]


def test_a_late_lateral_leaves_the_segmentation_and_gives_a_report_that_names_the_first(
    make: Callable[..., Bench],
) -> None:
    """The PA's SEG stays one and is sent once; the new SR's predecessor is the old SR."""
    bench = make()
    bench.take(PA)
    bench.work()
    (segmentation,), (first,) = bench.said("SEG"), bench.said()
    bench.take(LATERAL, association="later")
    bench.work()
    assert bench.said("SEG") == [segmentation]
    assert bench.peer.sent["pacs", segmentation["uid"]] == 1
    _, second = bench.said()
    assert (first["predecessor"], second["predecessor"]) == ("", first["uid"])


def test_a_second_push_adds_nothing(make: Callable[..., Bench]) -> None:
    """Success, and no job, no object, no delivery more."""
    bench = make()
    for _ in range(2):
        bench.take(PA)
        bench.take(LATERAL)
        bench.work()
    assert bench.states() == [JobState.COMPLETED]
    assert len(bench.deliveries()) == 2
    assert set(bench.peer.sent.values()) == {1}
    assert len(list(bench.archive.finished())) == 2


def test_a_corrected_header_gives_new_evidence(make: Callable[..., Bench]) -> None:
    """A name that was put right: another job, another SEG, and a report that follows the first."""
    bench = make()
    film = replace(PA, identity="same")
    bench.take(film)
    bench.work()
    bench.take(replace(film, patient=Patient(name="Corrected^Name")))
    bench.work()
    assert bench.states() == [JobState.COMPLETED] * 2
    first, second = bench.said()
    assert second["predecessor"] == first["uid"]
    assert len({one["uid"] for one in bench.said("SEG")}) == 2


def test_a_hand_gets_a_row_and_no_object_even_where_refusals_are_wanted(make: Callable[..., Bench]) -> None:
    """A reader of hands does not wait for us."""
    bench = make(destinations=(replace(PACS, not_analysed=True),))
    bench.take(HAND)
    bench.work()
    assert (bench.jobs(), bench.codes(), dict(bench.peer.sent)) == ([], {"not_chest"}, {})


@pytest.mark.parametrize(("wanted", "reports"), [(True, 1), (False, 0)])
def test_a_lone_lateral_is_reported_only_where_it_is_wanted(
    make: Callable[..., Bench], *, wanted: bool, reports: int
) -> None:
    """`not_analysed` of the destination decides; the ledger knows the reason either way."""
    bench = make(destinations=(replace(PACS, not_analysed=wanted),))
    bench.take(LATERAL)
    bench.work()
    assert (bench.states(), bench.codes()) == ([JobState.COMPLETED], {"lateral"})
    assert [[code for _, code in one["refused"]] for one in bench.said()] == [["lateral"]] * reports
    assert len(bench.deliveries()) == reports


def test_a_hand_in_a_chest_study_is_neither_analysed_nor_reported(make: Callable[..., Bench]) -> None:
    """The report speaks of chest films only."""
    bench = make()
    bench.take(PA)
    bench.take(replace(HAND, study="one"))
    bench.work()
    (report,) = bench.said()
    assert (len(report["images"]), report["refused"]) == (1, [])
    assert bench.codes() == {"", "not_chest"}


def test_a_late_hand_does_not_reopen_the_study(make: Callable[..., Bench]) -> None:
    """What is no candidate joins silently, with its verdict."""
    bench = make()
    bench.take(PA)
    bench.work()
    bench.take(replace(HAND, study="one"))
    bench.work()
    assert bench.states() == [JobState.COMPLETED]
    assert bench.codes() == {"", "not_chest"}


def test_other_pixels_under_the_same_uid_park_the_study_and_nothing_is_sent_anew(make: Callable[..., Bench]) -> None:
    """Both are kept for a person; a retry analyses the pixels that came first."""
    bench = make()
    film = replace(PA, identity="same")
    bench.take(film)
    bench.work()
    bench.take(replace(film, seed=9))
    bench.work()
    assert bench.states() == [JobState.COMPLETED, JobState.PARKED]
    assert len(bench.deliveries()) == 2
    bench.ledger.requeue_job(bench.jobs()[1].job, bench.clock.now())
    bench.work()
    assert bench.states() == [JobState.COMPLETED] * 2
    assert len(bench.said("SEG")) == 1


def test_one_model_that_fails_for_good_is_named_beside_the_other_s_findings(make: Callable[..., Bench]) -> None:
    """The others' findings go out and the outcome says what is missing, and why."""
    bench = make(models=("lungs", "opacity"))
    bench.predictor.models["opacity"] = ModelIdentity(name="opacity", version="1", digest="e" * 64, backend="fake")
    bench.predictor.failing_models["opacity"] = Failure(code="model_failed")
    bench.take(PA)
    bench.work()
    assert bench.states() == [JobState.COMPLETED]
    (member,) = bench.ledger.job_details(1).members
    assert member.summary is not None
    assert member.summary["missing"] == [["opacity", "model_failed"]]
    assert [result["model"] for result in member.summary["results"]] == ["lungs"]
    assert len(bench.said("SEG")) == 1


def _with_gate(bench: Bench, **probabilities: float) -> None:
    said = chests.gate(**probabilities)
    bench.predictor.models["gate"], bench.predictor.answers["gate"] = said.model, said


def test_what_the_gate_refuses_is_not_analysed_by_any_model(make: Callable[..., Bench]) -> None:
    """The reason is told where it is wanted, and nothing is drawn."""
    bench = make(models=("lungs", "gate"), destinations=(replace(PACS, not_analysed=True),))
    _with_gate(bench, inverted=0.9)
    bench.take(PA)
    bench.work()
    assert (bench.states(), bench.codes()) == ([JobState.COMPLETED], {"inverted"})
    assert [[code for _, code in one["refused"]] for one in bench.said()] == [["inverted"]]
    assert bench.said("SEG") == []


def test_without_the_gate_s_answer_the_findings_go_out_and_say_so(make: Callable[..., Bench]) -> None:
    """Nothing looked whether they may be said."""
    bench = make(models=("lungs", "gate"))
    _with_gate(bench)
    bench.take(PA)
    bench.work()
    bench.predictor.failing_models["gate"] = Failure(code="model_failed")
    bench.take(replace(PA, seed=2, study="two"))
    bench.work()
    looked, unlooked = (bench.ledger.job_details(job.job).members[0].summary for job in bench.jobs())
    assert looked is not None and unlooked is not None
    assert (looked["missing"], unlooked["missing"]) == ([], [["gate", "model_failed"]])
    assert (CAVEATS["gate_missing"] in looked["caveats"], CAVEATS["gate_missing"] in unlooked["caveats"]) == (
        False,
        True,
    )
    assert len(bench.said("SEG")) == 2


@pytest.mark.parametrize(("wanted", "stated"), [(False, []), (True, ["pneumothorax"])])
def test_what_a_card_withholds_is_stated_where_the_plan_says_so(
    make: Callable[..., Bench], *, wanted: bool, stated: list[str]
) -> None:
    """And nowhere else."""
    bench = make(models=("lungs", "pneumothorax"), state_withheld=wanted)
    said = chests.pneumothorax(np.ones((PA.rows, PA.cols), dtype=bool), withheld="not good enough")
    bench.predictor.models["pneumothorax"], bench.predictor.answers["pneumothorax"] = said.model, said
    bench.take(PA)
    bench.work()
    (member,) = bench.ledger.job_details(1).members
    assert member.summary is not None
    assert [name for result in member.summary["results"] for name in result["findings"]] == stated
    assert len(bench.said("SEG")) == 1 + wanted


def test_a_model_that_may_do_better_is_tried_again_and_then_named(make: Callable[..., Bench]) -> None:
    """A transient failure costs attempts; when they are spent the others' findings go out."""
    bench = make(models=("lungs", "opacity"))
    bench.predictor.failing_models["opacity"] = Failure(code="model_failed", transient=True)
    bench.take(PA)
    bench.work()
    assert (bench.states(), bench.said()) == ([JobState.SCHEDULED], [])
    bench.work(6)
    assert bench.states() == [JobState.COMPLETED]
    assert len(bench.predictor.asked) == 3
    (member,) = bench.ledger.job_details(1).members
    assert member.summary is not None
    assert member.summary["missing"] == [["opacity", "model_failed"]]


def test_pixels_that_cannot_be_decoded_are_the_image_s_own_reason(make: Callable[..., Bench]) -> None:
    """No retry helps: the job completes, and the reason is recorded."""
    bench = make()
    bench.take(replace(PA, defect=Defect.NO_PIXELS))
    bench.take(replace(PA, seed=2))
    bench.predictor.failures = {bench.archive.path(key): Failure(code="unreadable") for key in bench.archive.finished()}
    bench.work()
    assert bench.states() == [JobState.COMPLETED]
    assert bench.codes() == {"no_pixels", "unreadable"}
    assert bench.said() == []


def test_films_of_several_studies_go_through_the_models_together(make: Callable[..., Bench]) -> None:
    """One call for what is due at once; each study gets its own report."""
    bench = make()
    for seed in range(4):
        bench.take(replace(FILM, seed=seed))
    bench.work()
    assert [len(asked) for asked in bench.predictor.asked] == [4]
    assert len(bench.said()) == 4


def test_a_model_identity_is_what_the_predictor_said(make: Callable[..., Bench]) -> None:
    """The evidence names the model that made it."""
    bench = make()
    bench.take(PA)
    bench.work()
    (job,) = bench.jobs()
    assert {one.model for one in bench.ledger.evidence_of(job.study_uid)} == {LUNGS.name, ""}
