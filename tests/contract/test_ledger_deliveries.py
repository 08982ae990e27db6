"""The life of deliveries: leases, sending, storage commitment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cxrnode.domain.delivery import Delivery
from cxrnode.errors import LeaseLost
from cxrnode.ledger import DeliveryView, SqliteLedger
from tests.fakes.instances import STUDY, after, claim_one, close, completion, described, kept, record


def queue(ledger: SqliteLedger, *uids: str, destinations: tuple[str, ...] = ("pacs",)) -> None:
    """Complete a job whose evidence these objects are."""
    record(ledger, described())
    close(ledger)
    claim = claim_one(ledger)
    objects = (kept(uid, destinations=destinations) for uid in uids)
    ledger.complete(claim, completion(claim, *objects), after(0))


def claim(
    ledger: SqliteLedger, seconds: float = 1, destination: str = "pacs", *, limit: int = 9, lease_seconds: float = 60
) -> list[Delivery]:
    return list(ledger.claim_deliveries(destination, after(seconds), limit=limit, lease_seconds=lease_seconds))


def send(ledger: SqliteLedger, seconds: float = 1) -> list[Delivery]:
    """Claim and send all, to be asked about at once."""
    sent = claim(ledger, seconds)
    for delivery in sent:
        ledger.mark_sent(delivery, after(seconds), ask_at=after(seconds))
    return sent


def ask(ledger: SqliteLedger, transaction: str, seconds: float = 2, *, again: float = 100) -> list[str]:
    asked = ledger.begin_commitment("pacs", transaction, after(seconds), limit=9, ask_again_at=after(again))
    return [delivery.sop_instance_uid for delivery in asked]


def ways(ledger: SqliteLedger) -> dict[str, DeliveryView]:
    """Give the only delivery of each object by its UID."""
    return {one.sop_instance_uid: one.deliveries[0] for one in ledger.evidence_of(STUDY)}


def test_deliveries_are_claimed_for_one_destination(ledger: SqliteLedger) -> None:
    """A dead destination delays nobody else: each has a queue of its own."""
    queue(ledger, "9.1", "9.2", destinations=("pacs", "viewer"))
    assert [(one.destination, one.sop_instance_uid) for one in claim(ledger)] == [("pacs", "9.1"), ("pacs", "9.2")]
    assert claim(ledger) == []
    (first, _) = claim(ledger, destination="viewer")
    assert (first.key, first.attempt) == ("evidence/9.1.dcm", 1)
    assert claim(ledger, destination="nobody") == []


def test_no_more_deliveries_are_claimed_than_asked_for(ledger: SqliteLedger) -> None:
    """The limit holds for fresh and for lost ones together."""
    queue(ledger, "9.1", "9.2", "9.3")
    assert [one.sop_instance_uid for one in claim(ledger, limit=1, lease_seconds=5)] == ["9.1"]
    assert [one.sop_instance_uid for one in claim(ledger, 10, limit=2)] == ["9.1", "9.2"]


def test_an_expired_delivery_is_claimed_again(ledger: SqliteLedger) -> None:
    """The next claim is the next attempt, and the old one cannot be marked any more."""
    queue(ledger, "9.1")
    (lost,) = claim(ledger, lease_seconds=60)
    assert claim(ledger, 60) == []
    (held,) = claim(ledger, 61)
    assert held.attempt == 2
    marks: tuple[Callable[[], None], ...] = (
        lambda: ledger.mark_sent(lost, after(62), ask_at=None),
        lambda: ledger.fail_delivery(lost, due_at=after(63), reason="late", now=after(62)),
        lambda: ledger.fail_delivery(lost, due_at=None, reason="late", now=after(62)),
    )
    for mark in marks:
        with pytest.raises(LeaseLost):
            mark()
    ledger.mark_sent(held, after(62), ask_at=None)


def test_deliveries_of_another_incarnation_are_claimed_at_once(tmp_path: Path) -> None:
    """After a restart nobody waits for the leases of the node that was killed."""
    path = tmp_path / "ledger.sqlite"
    with SqliteLedger.open(path, incarnation="killed", exclusive=True) as ledger:
        queue(ledger, "9.1")
        claim(ledger, lease_seconds=3600)
    with SqliteLedger.open(path, incarnation="next", exclusive=True) as ledger:
        assert [one.attempt for one in claim(ledger, 2)] == [2]
        assert claim(ledger, 2) == []


def test_a_sending_that_does_not_count_gives_its_try_back(ledger: SqliteLedger) -> None:
    """What a stopping node was about to send is due at once, and as far from being parked as before."""
    queue(ledger, "9.1")
    for attempt in range(1, 4):
        (held,) = claim(ledger, attempt)
        assert (held.attempt, held.tries) == (attempt, 1)
        ledger.fail_delivery(held, due_at=after(attempt), reason="stopping", now=after(attempt), counts=False)
    (held,) = claim(ledger, 5)
    assert held.tries == 1


def test_a_failed_delivery_waits_and_keeps_its_reason(ledger: SqliteLedger) -> None:
    """It is due when it is said to be, and parked where it is never due."""
    queue(ledger, "9.1", "9.2")
    later, never = claim(ledger)
    ledger.fail_delivery(later, due_at=after(30), reason="no association", now=after(2))
    ledger.fail_delivery(never, due_at=None, reason="refused: 0xA900", now=after(2))
    assert claim(ledger, 29) == []
    assert [one.sop_instance_uid for one in claim(ledger, 30)] == ["9.1"]
    parked = ways(ledger)["9.2"]
    assert (parked.state, parked.reason) == ("PARKED", "refused: 0xA900")


def test_sent_is_final_where_nothing_is_to_be_asked(ledger: SqliteLedger) -> None:
    """Without commitment SENT is never called committed, and never asked about."""
    queue(ledger, "9.1")
    (delivery,) = claim(ledger)
    ledger.mark_sent(delivery, after(1), ask_at=None)
    assert ask(ledger, "7.1", 1000) == []
    assert (ways(ledger)["9.1"].state, ledger.counts().awaiting_commitment) == ("SENT", 0)


def test_a_transaction_covers_what_is_due_and_is_not_asked_twice(ledger: SqliteLedger) -> None:
    """A report that never comes is asked for again when its time is over, in a new transaction."""
    queue(ledger, "9.1", "9.2")
    send(ledger)
    assert ask(ledger, "7.0", 0) == []
    assert ask(ledger, "7.1", again=100) == ["9.1", "9.2"]
    assert ask(ledger, "7.2", 99) == []
    assert ask(ledger, "7.3", 100, again=200) == ["9.1", "9.2"]
    assert ledger.counts().awaiting_commitment == 2


def test_a_transaction_over_nothing_is_not_recorded(ledger: SqliteLedger) -> None:
    """A bell that finds nothing to ask about leaves no trace."""
    assert ask(ledger, "7.1") == []
    assert ledger.confirm("7.1", committed=[], failed={}, now=after(1), attempts=3) is False


def test_a_report_commits_what_it_names(ledger: SqliteLedger) -> None:
    """Committed objects are at their end; what the report leaves out is still awaited."""
    queue(ledger, "9.1", "9.2")
    send(ledger)
    ask(ledger, "7.1")
    assert ledger.confirm("7.1", committed=["9.1", "1.2.3.4"], failed={}, now=after(3), attempts=3) is True
    assert {uid: way.state for uid, way in ways(ledger).items()} == {"9.1": "COMMITTED", "9.2": "SENT"}
    assert ways(ledger)["9.1"].committed_at == after(3)
    assert ask(ledger, "7.2", 100) == ["9.2"]


def test_only_what_the_archive_does_not_hold_is_sent_again(ledger: SqliteLedger) -> None:
    """A partial failure brings the failed object back at once, with its reason."""
    queue(ledger, "9.1", "9.2")
    send(ledger)
    ask(ledger, "7.1")
    ledger.confirm("7.1", committed=["9.1"], failed={"9.2": 0x0112}, now=after(3), attempts=3)
    assert "0x0112" in ways(ledger)["9.2"].reason
    assert [(one.sop_instance_uid, one.attempt) for one in claim(ledger, 3)] == [("9.2", 2)]


def test_an_object_the_archive_never_holds_is_parked(ledger: SqliteLedger) -> None:
    """After so many attempts a person has to look."""
    queue(ledger, "9.1")
    for attempt in (1, 2):
        send(ledger, attempt * 10)
        ask(ledger, f"7.{attempt}", attempt * 10)
        ledger.confirm(f"7.{attempt}", committed=[], failed={"9.1": 0x0112}, now=after(attempt * 10), attempts=2)
    assert ways(ledger)["9.1"].state == "PARKED"


def test_a_report_that_comes_twice_changes_nothing(ledger: SqliteLedger) -> None:
    """Not the committed, and not what was sent again since."""
    queue(ledger, "9.1", "9.2")
    send(ledger)
    ask(ledger, "7.1")
    report = {"committed": ["9.1"], "failed": {"9.2": 0x0112}}
    assert ledger.confirm("7.1", **report, now=after(3), attempts=3)
    before = ways(ledger)
    assert ledger.confirm("7.1", **report, now=after(4), attempts=3)
    assert ways(ledger) == before
    send(ledger, 5)
    assert ledger.confirm("7.1", **report, now=after(6), attempts=3)
    assert ways(ledger)["9.2"].state == "SENT"


def test_a_late_report_of_an_earlier_transaction_counts(ledger: SqliteLedger) -> None:
    """Asked twice, answered to the first question: the archive holds it."""
    queue(ledger, "9.1")
    send(ledger)
    ask(ledger, "7.1", 2, again=10)
    ask(ledger, "7.2", 10, again=20)
    assert ledger.confirm("7.1", committed=["9.1"], failed={}, now=after(11), attempts=3)
    assert ways(ledger)["9.1"].state == "COMMITTED"
    assert ledger.confirm("7.2", committed=["9.1"], failed={}, now=after(12), attempts=3)
    assert ways(ledger)["9.1"].committed_at == after(11)


def test_a_report_moves_only_what_its_transaction_asked_about(ledger: SqliteLedger) -> None:
    """A peer cannot commit, or fail, the objects of another transaction."""
    queue(ledger, "9.1")
    send(ledger)
    ask(ledger, "7.1", 2, again=3)
    record(ledger, described("1.2.3.2"), 3)
    close(ledger, seconds=3)
    job = claim_one(ledger, 3)
    ledger.complete(job, completion(job, kept("9.2")), after(3))
    send(ledger, 4)
    ledger.confirm("7.1", committed=["9.2"], failed={}, now=after(5), attempts=3)
    assert {uid: way.state for uid, way in ways(ledger).items()} == {"9.1": "SENT", "9.2": "SENT"}


def test_an_object_on_both_lists_is_sent_again(ledger: SqliteLedger) -> None:
    """A report that contradicts itself costs a sending, never an object."""
    queue(ledger, "9.1")
    send(ledger)
    ask(ledger, "7.1")
    ledger.confirm("7.1", committed=["9.1"], failed={"9.1": 0x0110}, now=after(3), attempts=3)
    assert ways(ledger)["9.1"].state == "PENDING"


def test_an_unknown_transaction_is_told(ledger: SqliteLedger) -> None:
    """The listener answers it with a failure; nothing is written."""
    assert ledger.confirm("1.2.3", committed=["9.1"], failed={}, now=after(1), attempts=3) is False


def test_a_destination_without_commitment_ends_or_parks(ledger: SqliteLedger) -> None:
    """Where it is merely wished for, SENT is final; where it is required, a person has to look."""
    queue(ledger, "9.1", "9.2")
    first, second = send(ledger)
    ask(ledger, "7.1")
    ledger.no_commitment([first], park=False, reason="not offered", now=after(3))
    ledger.no_commitment([second], park=True, reason="not offered", now=after(3))
    assert {uid: way.state for uid, way in ways(ledger).items()} == {"9.1": "SENT", "9.2": "PARKED"}
    assert ask(ledger, "7.2", 1000) == []


def test_a_report_beats_the_end_of_asking(ledger: SqliteLedger) -> None:
    """What was committed meanwhile stays committed."""
    queue(ledger, "9.1")
    sent = send(ledger)
    ask(ledger, "7.1")
    ledger.confirm("7.1", committed=["9.1"], failed={}, now=after(3), attempts=3)
    ledger.no_commitment(sent, park=True, reason="not offered", now=after(4))
    assert ways(ledger)["9.1"].state == "COMMITTED"
