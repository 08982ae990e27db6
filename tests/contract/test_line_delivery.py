"""Where evidence goes, what a dead destination costs, retries, parking, pausing: the line on a real ledger."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from cxrnode.domain.delivery import CommitmentPolicy, DeliveryState, Geometry
from cxrnode.domain.identity import AETitle
from cxrnode.domain.job import JobState
from cxrnode.domain.routing import SENDER, Rule
from tests.bench import FILM, PACS, Bench

VNA = replace(PACS, name="vna", ae_title=AETitle("VNA"))
CR1 = replace(PACS, name="back", ae_title=AETitle("CR1"))


def _to(bench: Bench) -> dict[str, set[DeliveryState]]:
    found: dict[str, set[DeliveryState]] = {}
    for way in bench.deliveries():
        found.setdefault(way.destination, set()).add(way.state)
    return found


def test_the_calling_ae_title_chooses_the_destinations(make: Callable[..., Bench]) -> None:
    """The first rule that matches decides; who sends back to the sender names @sender."""
    bench = make(
        destinations=(PACS, VNA, CR1),
        rules=(Rule(calling_ae="ER*", destinations=("vna",)), Rule(destinations=("pacs", SENDER))),
    )
    for seed, calling in enumerate(("ER_PORTABLE", "CR1", "CR2")):
        bench.clock.move(0.1)
        bench.take(replace(FILM, seed=seed), calling=calling)
    bench.work()
    assert [job.destinations for job in bench.jobs()] == [("vna",), ("pacs", "back"), ("pacs",)]
    assert {name: len(held) for name, held in bench.peer.kept.items()} == {"vna": 2, "pacs": 4, "back": 2}


def test_without_a_destination_the_evidence_is_kept(make: Callable[..., Bench]) -> None:
    """Nothing is sent; SEG and SR are in the archive."""
    bench = make(destinations=(), rules=(Rule(),))
    bench.take(FILM)
    bench.work()
    assert bench.states() == [JobState.COMPLETED]
    assert (len(bench.said("SEG")), len(bench.said()), bench.deliveries()) == (1, 1, [])


def test_a_source_without_a_model_is_not_analysed_and_says_so(make: Callable[..., Bench]) -> None:
    """A rule may name models; a film that gets none has its reason."""
    bench = make(rules=(Rule(models=("another",), destinations=("pacs",)),))
    bench.take(FILM)
    bench.work()
    assert (bench.codes(), bench.predictor.asked) == ({"no_model"}, [])


def test_strict_and_viewer_destinations_get_their_own_objects(make: Callable[..., Bench]) -> None:
    """Two geometries, two SEGs and two reports; neither destination sees the other's."""
    bench = make(
        destinations=(PACS, replace(VNA, geometry=Geometry.STRICT)), rules=(Rule(destinations=("pacs", "vna")),)
    )
    bench.take(FILM)
    bench.work()
    assert {name: len(held) for name, held in bench.peer.kept.items()} == {"pacs": 2, "vna": 2}
    assert not bench.peer.kept["pacs"].keys() & bench.peer.kept["vna"].keys()
    assert (len(bench.said("SEG")), len(bench.said("SR"))) == (2, 2)


def test_a_dead_destination_delays_no_other(make: Callable[..., Bench]) -> None:
    """One is committed at once; the other's deliveries are tried again, and arrive once it is back."""
    bench = make(destinations=(PACS, VNA), rules=(Rule(destinations=("pacs", "vna")),))
    bench.peer.dead = {"vna"}
    bench.take(FILM)
    bench.work()
    assert _to(bench) == {"pacs": {DeliveryState.COMMITTED}, "vna": {DeliveryState.PENDING}}
    bench.peer.dead = set()
    bench.work(3)
    assert _to(bench) == {"pacs": {DeliveryState.COMMITTED}, "vna": {DeliveryState.COMMITTED}}
    assert set(bench.peer.sent.values()) == {1}


def test_retries_wait_longer_each_time_and_end_parked(make: Callable[..., Bench]) -> None:
    """Half to all of 10 and 20 s here; the third failure parks, and an operator's retry sends."""
    bench = make()
    bench.peer.dead = {"pacs"}
    bench.take(FILM)
    bench.work()
    waits = [(way.due_at - bench.clock.now()).total_seconds() for way in bench.deliveries()]
    assert waits == [7.5, 7.5]
    bench.work(seconds=7.5)
    waits = [(way.due_at - bench.clock.now()).total_seconds() for way in bench.deliveries()]
    assert waits == [15.0, 15.0]
    bench.work(seconds=15)
    assert _to(bench) == {"pacs": {DeliveryState.PARKED}}
    assert all("nobody is there" in way.reason for way in bench.deliveries())
    bench.peer.dead = set()
    bench.ledger.requeue_job(bench.jobs()[0].job, bench.clock.now())
    bench.work()
    assert _to(bench) == {"pacs": {DeliveryState.COMMITTED}}


def test_what_the_archive_does_not_hold_is_sent_again_and_committed(make: Callable[..., Bench]) -> None:
    """A report of failure sends only the failed again, under the same UID."""
    bench = make()
    bench.take(FILM)
    bench.clock.move(6)
    bench.line.close_due()
    bench.line.run_jobs()
    bench.line.deliver(PACS)
    lost = next(iter(bench.peer.kept["pacs"]))
    del bench.peer.kept["pacs"][lost]
    bench.line.ask_commitments(PACS)
    bench.line.confirm(*bench.peer.reports.pop())
    assert {way.state for way in bench.deliveries()} == {DeliveryState.COMMITTED, DeliveryState.PENDING}
    bench.work(3)
    assert _to(bench) == {"pacs": {DeliveryState.COMMITTED}}
    assert sorted(bench.peer.sent.values()) == [1, 2]


def test_an_overdue_report_is_asked_for_again(make: Callable[..., Bench]) -> None:
    """A report that never comes is asked for again after its time, in a transaction of its own."""
    bench = make()
    bench.take(FILM)
    bench.clock.move(6)
    bench.line.close_due()
    bench.line.run_jobs()
    bench.line.deliver(PACS)
    bench.line.ask_commitments(PACS)
    (lost,) = bench.peer.reports
    bench.peer.reports.clear()
    assert bench.line.ask_commitments(PACS) == 0
    bench.clock.move(61)
    assert bench.line.ask_commitments(PACS) == 2
    assert bench.peer.reports[0][0] != lost[0]
    bench.deliver()
    assert _to(bench) == {"pacs": {DeliveryState.COMMITTED}}
    assert bench.line.confirm(*lost) is True


def test_a_report_of_nobody_s_transaction_is_not_ours(make: Callable[..., Bench]) -> None:
    """An unknown transaction changes nothing."""
    bench = make()
    bench.take(FILM)
    bench.work()
    assert bench.line.confirm("1.2.3", ["4.5.6"], {}) is False


def test_a_destination_that_is_not_asked_to_commit_is_never_called_committed(make: Callable[..., Bench]) -> None:
    """SENT is final."""
    bench = make(destinations=(replace(PACS, commitment=CommitmentPolicy.NONE),))
    bench.take(FILM)
    bench.work(3)
    assert _to(bench) == {"pacs": {DeliveryState.SENT}}


def test_paused_jobs_wait_and_go_on(make: Callable[..., Bench]) -> None:
    """Received and kept and closed, but not run, until it is resumed."""
    bench = make()
    bench.ledger.set_paused(True, bench.clock.now())
    bench.take(FILM)
    bench.work(3)
    assert (bench.states(), bench.predictor.asked) == ([JobState.SCHEDULED], [])
    bench.ledger.set_paused(False, bench.clock.now())
    bench.work()
    assert bench.states() == [JobState.COMPLETED]


def test_a_lost_child_costs_a_retry(make: Callable[..., Bench]) -> None:
    """The job waits its time, runs again, and ends."""
    bench = make()
    bench.predictor.losses = 1
    bench.take(FILM)
    bench.work()
    (job,) = bench.jobs()
    assert (job.state, (job.due_at - bench.clock.now()).total_seconds()) == (JobState.SCHEDULED, 7.5)
    assert "ended before it answered" in job.reason
    bench.work(2)
    assert bench.states() == [JobState.COMPLETED]


def test_a_poison_job_is_parked_alone(make: Callable[..., Bench]) -> None:
    """A film that ends the child each time takes its first batch down once; the others end, it parks."""
    bench = make()
    for seed in range(4):
        bench.take(replace(FILM, seed=seed))
    poison = replace(FILM, seed=2).uid("instance")
    answer = bench.predictor.predict

    def predict(requests, alive):  # type: ignore[no-untyped-def]
        bench.predictor.losses = int(any(poison in request.path.name for request in requests))
        return answer(requests, alive)

    bench.predictor.predict = predict  # type: ignore[method-assign]
    bench.work(12)
    assert sorted(bench.states()) == [JobState.COMPLETED] * 3 + [JobState.PARKED]
    assert len(bench.said()) == 3
    (parked,) = bench.ledger.find_jobs(state=JobState.PARKED)
    assert parked.study_uid == replace(FILM, seed=2).uid("study")
