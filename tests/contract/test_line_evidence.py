"""What each destination gets: fallbacks, refusals, the node's own objections, and results taken back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cxrnode.domain.capability import CLASSES, NAMES, REPORT_CLASSES, Kind, ReportClass
from cxrnode.domain.delivery import CommitmentPolicy, DeliveryState, RejectionNotes
from cxrnode.domain.identity import AETitle
from cxrnode.domain.job import JobState
from cxrnode.domain.routing import Rule
from cxrnode.phantom import study_of
from tests.bench import FILM, PACS, Bench

VNA = replace(PACS, name="vna", ae_title=AETitle("VNA"), commitment=CommitmentPolicy.NONE)
PA, LATERAL = study_of(rows=256, cols=256)
EVERYTHING = frozenset(NAMES)
SEG, KOS = CLASSES[Kind.SEG], CLASSES[Kind.KOS]
SR = {one: REPORT_CLASSES[one] for one in ReportClass}


def _states(bench: Bench) -> set[DeliveryState]:
    return {way.state for way in bench.deliveries()}


def _fallbacks(bench: Bench) -> dict[str, Any]:
    return dict(bench.ledger.job_details(1).job.fallbacks)


@pytest.mark.parametrize(
    ("takes", "kinds"),
    [
        (EVERYTHING - {SEG}, ["GSPS", "SR"]),
        (EVERYTHING - {SR[ReportClass.COMPREHENSIVE_3D]}, ["SEG", "SR"]),
        (frozenset({CLASSES[Kind.SC]}), ["PAGES", "SC"]),
        (frozenset({CLASSES[Kind.PDF], SEG}), ["PDF", "SEG"]),
    ],
)
def test_a_destination_gets_what_it_takes_and_the_job_says_so(make, takes, kinds):
    """It is asked before the first object goes out; nothing that it refuses is tried, nothing waits for an operator."""
    bench = make()
    bench.peer.takes["pacs"] = takes
    bench.line.ask_capabilities(PACS)
    bench.take(FILM)
    bench.work(rounds=2)
    assert bench.kinds() == kinds
    assert _states(bench) == {DeliveryState.COMMITTED}
    assert _fallbacks(bench)["pacs"]
    assert {one["class"] for one in bench.held() if one["kind"] == "SR"} <= takes


def test_a_destination_that_was_away_when_it_was_asked_is_asked_before_anything_is_sent(make):
    """The job has run by then: it runs again, and what refers to the refused SEG never leaves."""
    bench = make()
    bench.peer.dead.add("pacs")
    bench.peer.takes["pacs"] = EVERYTHING - {SEG}
    bench.line.ask_capabilities(PACS)
    bench.take(FILM)
    bench.work()
    bench.peer.dead.clear()
    bench.work(rounds=6)
    assert bench.kinds() == ["GSPS", "SR"]
    assert [one["segmentations"] for one in bench.held() if one["kind"] == "SR"] == [[]]
    assert _states(bench) == {DeliveryState.COMMITTED, DeliveryState.WITHDRAWN}
    assert (bench.states(), len(bench.predictor.asked)) == ([JobState.COMPLETED], 2)


def test_a_destination_that_agrees_and_then_refuses_is_believed_the_refusal(make):
    """Some archives accept every presentation context and answer 0x0122 when an object of the class comes."""
    bench = make()
    bench.peer.negotiates = False
    bench.peer.takes["pacs"] = EVERYTHING - {SEG}
    bench.take(FILM)
    bench.work(rounds=3)
    assert bench.kinds() == ["GSPS", "SR"]
    assert "takes no Segmentation" in " ".join(_fallbacks(bench)["pacs"])
    assert DeliveryState.PARKED not in _states(bench)
    there = {one["uid"] for one in bench.held()}
    evidence = bench.ledger.evidence_of(bench.jobs()[0].study_uid)
    known = {one.sop_instance_uid: way.state for one in evidence for way in one.deliveries}
    assert {known[uid] for uid in there} == {DeliveryState.COMMITTED}


def test_a_destination_that_takes_nothing_leaves_the_report_to_an_operator(make):
    """Nothing can be sent, and somebody has to hear of it."""
    bench = make()
    bench.peer.takes["pacs"] = frozenset()
    bench.line.ask_capabilities(PACS)
    bench.take(FILM)
    bench.work(rounds=4)
    assert [way.state for way in bench.deliveries()] == [DeliveryState.PARKED]
    assert bench.ledger.counts().deliveries_parked == 1


def test_destinations_that_take_the_same_share_their_objects_and_others_get_their_own(make):
    """One takes everything, one takes Secondary Capture alone: the report is composed for each line once."""
    bench = make(destinations=(PACS, VNA), rules=(Rule(destinations=("pacs", "vna")),))
    bench.peer.takes["vna"] = frozenset({CLASSES[Kind.SC]})
    for destination in (PACS, VNA):
        bench.line.ask_capabilities(destination)
    bench.take(FILM)
    bench.work(rounds=2)
    assert (bench.kinds(), bench.kinds("vna")) == (["SEG", "SR"], ["PAGES", "SC"])
    assert set(_fallbacks(bench)) == {"vna"}


def test_what_a_destination_asks_for_is_made_for_it(make):
    """A picture is asked of the child only where somebody gets one."""
    wanted = (Kind.SEG, Kind.SR, Kind.SC, Kind.GSPS, Kind.PDF, Kind.KOS)
    bench = make(destinations=(replace(PACS, objects=wanted),))
    bench.take(FILM)
    bench.work(rounds=2)
    assert bench.kinds() == sorted(wanted)
    (capture,) = (one for one in bench.held() if one["kind"] == "SC")
    assert capture["pictures"] == [1]
    assert [request.preview for asked in bench.predictor.asked for request in asked] == [True]


def test_what_the_inspection_objects_to_is_parked_with_the_reason_and_the_rest_goes_out(make):
    """Nothing wrong is sent; a retry of the job sends it no more than the first time."""
    bench = make()
    bench.composer.objecting = {Kind.SEG: "Rows: not the source's"}
    bench.take(FILM)
    bench.work()
    assert bench.kinds() == ["SR"]
    (parked,) = (way for way in bench.deliveries() if way.state is DeliveryState.PARKED)
    assert "not the source's" in parked.reason
    bench.ledger.requeue_job(1, bench.clock.now())
    bench.work(rounds=2)
    assert bench.kinds() == ["SR"]
    bench.composer.objecting = {}
    bench.ledger.requeue_job(1, bench.clock.now())
    bench.work(rounds=2)
    assert bench.kinds() == ["SEG", "SR"]


def test_a_retraction_sends_a_report_that_follows_and_a_note_that_rejects(make):
    """The note names all that the destination was sent; the report names the one whose place it takes."""
    bench = make()
    bench.take(FILM)
    bench.work()
    sent = {one["uid"] for one in bench.held()}
    (first,) = (one["uid"] for one in bench.held() if one["kind"] == "SR")
    number = bench.ledger.schedule_retraction(1, "wrong_result", bench.clock.now())
    bench.work(rounds=2)
    new = [one for one in bench.held() if one["uid"] not in sent]
    (report,) = (one for one in new if one["kind"] == "SR")
    (note,) = (one for one in new if one["kind"] == "REJECTION")
    assert (report["predecessor"], report["revision"], report["retraction"]) == (first, 2, "wrong_result")
    assert (set(note["rejected"]), note["because"]) == (sent, "wrong_result")
    assert bench.ledger.job_details(number).job.state is JobState.COMPLETED
    assert (bench.codes(), len(bench.predictor.asked)) == ({"retracted"}, 1)


def test_a_destination_that_wants_no_notes_gets_the_report_alone(make):
    """`rejection_notes = "never"`, and an archive that takes no Key Object Selection."""
    bench = make(
        destinations=(replace(PACS, rejection_notes=RejectionNotes.NEVER), VNA),
        rules=(Rule(destinations=("pacs", "vna")),),
    )
    bench.peer.takes["vna"] = EVERYTHING - {KOS}
    bench.line.ask_capabilities(VNA)
    bench.take(FILM)
    bench.work()
    bench.ledger.schedule_retraction(1, "test", bench.clock.now())
    bench.work(rounds=2)
    for name in ("pacs", "vna"):
        assert bench.kinds(name) == ["SEG", "SR", "SR"]


def test_what_was_not_sent_yet_is_never_sent_after_a_retraction(make):
    """The destination was away: when it is back it hears of the retraction only."""
    bench = make()
    bench.peer.dead.add("pacs")
    bench.take(FILM)
    bench.work()
    bench.ledger.schedule_retraction(1, "wrong_patient", bench.clock.now())
    bench.peer.dead.clear()
    bench.work(rounds=6)
    assert [(one["kind"], one["retraction"]) for one in bench.held()] == [("SR", "wrong_patient")]


@pytest.mark.parametrize(
    ("policy", "notes"), [(RejectionNotes.ALWAYS, 1), (RejectionNotes.RETRACTION, 0), (RejectionNotes.NEVER, 0)]
)
def test_a_later_analysis_rejects_what_it_replaces_where_the_destination_wants_that(make, policy, notes):
    """The SEG is stated again and stays; the first report has a follower."""
    bench = make(destinations=(replace(PACS, rejection_notes=policy),))
    bench.take(PA)
    bench.work()
    (first,) = (one["uid"] for one in bench.held() if one["kind"] == "SR")
    bench.take(LATERAL)
    bench.work(rounds=2)
    found = [one for one in bench.held() if one["kind"] == "REJECTION"]
    assert [one["rejected"] for one in found] == [[first]] * notes
    assert [one["revision"] for one in bench.held() if one["kind"] == "SR"] == [1, 2]
