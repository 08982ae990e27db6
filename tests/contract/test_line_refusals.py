"""Destinations that refuse what they agreed to, that are asked too late, or that take more or less than before.

Nothing goes round in circles, and no report stands beside another one that it does not follow.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from cxrnode.domain.capability import CLASSES, NAMES, REPORT_CLASSES, Kind, ReportClass
from cxrnode.domain.delivery import CommitmentPolicy, DeliveryState
from cxrnode.domain.identity import AETitle
from cxrnode.domain.job import JobState
from cxrnode.domain.routing import Rule
from cxrnode.phantom import study_of
from tests.bench import FILM, PACS, Bench

VNA = replace(PACS, name="vna", ae_title=AETitle("VNA"), commitment=CommitmentPolicy.NONE)
BOTH = {"destinations": (PACS, VNA), "rules": (Rule(destinations=("pacs", "vna")),)}
PA, LATERAL = study_of(rows=256, cols=256)
EVERYTHING = frozenset(NAMES)
SEG, THREE_D = CLASSES[Kind.SEG], REPORT_CLASSES[ReportClass.COMPREHENSIVE_3D]


def _follow(bench: Bench, name: str = "pacs") -> list[bool]:
    """Tell of each report that a destination holds, but the first, whether it follows the one before."""
    reports = [one for one in bench.held(name) if one["kind"] == "SR"]
    return [newer["predecessor"] == older["uid"] for older, newer in pairwise(reports)]


def test_two_refused_classes_do_not_go_round_in_circles(make):
    """It agrees to every class and refuses two: each is tried once, and the first is still known after the second."""
    bench = make()
    bench.peer.negotiates = False
    bench.peer.takes["pacs"] = EVERYTHING - {SEG, THREE_D}
    bench.take(FILM)
    bench.work(rounds=20)
    assert (bench.states(), len(bench.predictor.asked)) == ([JobState.COMPLETED], 3)
    assert bench.kinds() == ["GSPS", "SR"]


def test_a_report_waits_for_the_seg_that_it_names(make):
    """Where the SEG is refused in the same batch, the report that names it never leaves."""
    bench = make()
    bench.peer.negotiates = False
    bench.peer.takes["pacs"] = EVERYTHING - {SEG}
    bench.take(FILM)
    bench.work(rounds=5)
    assert bench.kinds() == ["GSPS", "SR"]
    assert [one["segmentations"] for one in bench.held() if one["kind"] == "SR"] == [[]]


def test_nothing_goes_to_a_destination_that_comes_up_between_the_seg_and_the_report(make):
    """Nobody could ask it yet: the report that names the SEG waits for the answer, too."""
    bench = make()
    bench.peer.dead.add("pacs")
    bench.peer.takes["pacs"] = EVERYTHING - {SEG}
    bench.take(FILM)
    store, stored = bench.peer.store, []

    def come_up_afterwards(destination, deliveries):
        try:
            return store(destination, deliveries)
        finally:
            stored.append(len(deliveries))
            bench.peer.dead.clear()

    bench.peer.store = come_up_afterwards
    bench.work()
    assert (stored, bench.kinds()) == ([1], [])
    bench.work(rounds=6)
    assert bench.kinds() == ["GSPS", "SR"]


def test_destinations_that_decline_the_same_job_get_one_report_each(make):
    """The second declines when the job is to run again already: its report is held back all the same."""
    bench = make(**BOTH)
    for name in ("pacs", "vna"):
        bench.peer.dead.add(name)
        bench.peer.takes[name] = EVERYTHING - {SEG}
    bench.take(FILM)
    bench.work()
    bench.peer.dead.clear()
    bench.work(rounds=6)
    assert (bench.kinds(), bench.kinds("vna")) == (["GSPS", "SR"], ["GSPS", "SR"])


def test_a_study_that_was_reopened_meanwhile_sends_one_report(make):
    """What both of its jobs stated is declined: the earlier report names it, too, and does not leave."""
    bench = make()
    bench.peer.dead.add("pacs")
    bench.peer.takes["pacs"] = EVERYTHING - {SEG}
    for film in (PA, LATERAL):
        bench.take(film)
        bench.work()
    bench.peer.dead.clear()
    bench.work(rounds=6, seconds=20)
    assert bench.kinds() == ["GSPS", "SR"]


def test_an_archive_that_was_mended_gets_everything_when_the_job_is_retried(make):
    """Whatever it said before is asked anew; what was parked goes out as the job states it now, and not beside it."""
    bench = make()
    bench.peer.takes["pacs"] = frozenset()
    bench.line.ask_capabilities(PACS)
    bench.take(FILM)
    bench.work(rounds=4)
    assert bench.ledger.counts().deliveries_parked == 1
    del bench.peer.takes["pacs"]
    bench.ledger.requeue_job(1, bench.clock.now())
    bench.deliver()
    assert bench.kinds() == []
    bench.work(rounds=4)
    assert bench.kinds() == ["SEG", "SR"]
    assert DeliveryState.PARKED not in {way.state for way in bench.deliveries()}


@pytest.mark.parametrize("first", [EVERYTHING - {SEG}, EVERYTHING - {THREE_D}])
def test_the_first_report_of_another_line_follows_the_one_that_is_there(make, first):
    """A limit is lifted, and the study gets another film: the archive can tell which report is the current one."""
    bench = make()
    bench.peer.takes["pacs"] = first
    bench.line.ask_capabilities(PACS)
    bench.take(PA)
    bench.work(rounds=2)
    del bench.peer.takes["pacs"]
    bench.line.ask_capabilities(PACS)
    bench.take(LATERAL)
    bench.work(rounds=2)
    assert _follow(bench) == [True]
    assert [one["revision"] for one in bench.held() if one["kind"] == "SR"] == [1, 2]


def test_each_report_follows_the_one_that_its_destination_has(make):
    """Two destinations got reports of two classes; both take everything now, and each gets what follows its own."""
    bench = make(**BOTH)
    bench.peer.takes["vna"] = EVERYTHING - {THREE_D}
    bench.line.ask_capabilities(VNA)
    bench.take(PA)
    bench.work(rounds=2)
    del bench.peer.takes["vna"]
    bench.line.ask_capabilities(VNA)
    bench.take(LATERAL)
    bench.work(rounds=2)
    assert (_follow(bench), _follow(bench, "vna")) == ([True], [True])
    segs = [{one["uid"] for one in bench.held(name) if one["kind"] == "SEG"} for name in ("pacs", "vna")]
    assert segs[0] == segs[1]


def test_a_destination_that_never_got_a_report_gets_a_first_one(make):
    """What it declined was withdrawn, so nothing that it is sent may claim to follow it."""
    bench = make(destinations=(replace(PACS, fallback=False, objects=(Kind.SEG, Kind.SR)),))
    bench.peer.takes["pacs"] = frozenset()
    bench.line.ask_capabilities(PACS)
    bench.take(PA)
    bench.work(rounds=2)
    del bench.peer.takes["pacs"]
    bench.line.ask_capabilities(PACS)
    bench.take(LATERAL)
    bench.work(rounds=2)
    assert [(one["predecessor"], one["revision"]) for one in bench.held() if one["kind"] == "SR"] == [("", 1)]


def test_a_document_in_place_of_the_report_is_numbered_like_it(make):
    """The report is kept and sent nowhere, and the next one follows it: so does what the destination gets."""
    bench = make()
    bench.peer.takes["pacs"] = frozenset({CLASSES[Kind.PDF]})
    bench.line.ask_capabilities(PACS)
    for film in (PA, LATERAL):
        bench.take(film)
        bench.work(rounds=2)
    first, second = bench.said()
    assert (second["revision"], second["predecessor"]) == (2, first["uid"])
    assert bench.kinds() == ["PDF", "PDF"]


def test_a_retraction_in_another_class_follows_what_it_takes_back(make):
    """The archive takes no Comprehensive 3D SR any more when the results have to be taken back."""
    bench = make()
    bench.take(FILM)
    bench.work(rounds=2)
    bench.peer.takes["pacs"] = EVERYTHING - {THREE_D}
    bench.line.ask_capabilities(PACS)
    bench.ledger.schedule_retraction(1, "wrong_result", bench.clock.now())
    bench.work(rounds=2)
    assert _follow(bench) == [True]
    assert [one["retraction"] for one in bench.held() if one["kind"] == "SR"] == ["", "wrong_result"]


def test_an_objection_of_one_composition_holds_for_every_destination(make):
    """Two compositions share the SEG, and it is objected to beside one of the two reports only."""
    bench = make(**BOTH)
    bench.peer.takes["vna"] = EVERYTHING - {THREE_D}
    bench.line.ask_capabilities(VNA)
    inspect, inspected = bench.composer.inspect, []

    def object_once(*given):
        bench.composer.objecting = {} if inspected else {Kind.SEG: "not the mask of the report"}
        inspected.append(given)
        return inspect(*given)

    bench.composer.inspect = object_once
    bench.take(FILM)
    bench.work(rounds=2)
    assert len(inspected) == 2
    assert (bench.kinds(), bench.kinds("vna")) == (["SR"], ["SR"])


def test_a_note_of_rejection_is_inspected_like_any_other_object(make):
    """It hides what an archive holds: a wrong one is kept back, and the report that says the same goes out."""
    bench = make()
    bench.take(FILM)
    bench.work()
    bench.composer.objecting = {Kind.REJECTION: "rejects an image that is not ours"}
    bench.ledger.schedule_retraction(1, "wrong_result", bench.clock.now())
    bench.work(rounds=2)
    assert bench.kinds() == ["SEG", "SR", "SR"]
    assert bench.ledger.counts().deliveries_parked == 1
