"""What follows a failed attempt, and the tables of both life cycles."""

from __future__ import annotations

from datetime import UTC, datetime

from cxrnode.domain.delivery import DELIVERY_TRANSITIONS, DeliveryEvent, DeliveryState
from cxrnode.domain.job import JOB_TRANSITIONS, JobState, Park, Retry, RetryPolicy, after_failure
from cxrnode.errors import ChildLost, NeedsOperator, Stopping

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
POLICY = RetryPolicy(attempts=6, first_seconds=10, longest_seconds=60)


def _wait(attempt: int, chance: float) -> float:
    decision = after_failure(ChildLost(), attempt=attempt, now=NOON, policy=POLICY, chance=chance)
    assert isinstance(decision, Retry)
    return (decision.due_at - NOON).total_seconds()


def test_waits_double_up_to_the_longest() -> None:
    """10, 20, 40, then 60 seconds."""
    assert [_wait(attempt, 1.0) for attempt in range(1, 6)] == [10, 20, 40, 60, 60]


def test_chance_spreads_a_wait_over_its_second_half() -> None:
    """What failed together is not tried together."""
    assert (_wait(1, 0.0), _wait(1, 0.5)) == (5, 7.5)


def test_the_last_attempt_parks() -> None:
    """However often it was claimed."""
    for attempt in (6, 7, 1000):
        assert after_failure(ChildLost(), attempt=attempt, now=NOON, policy=POLICY, chance=0) == Park()


def test_what_needs_an_operator_parks_at_once() -> None:
    """Trying again would only repeat it."""
    assert after_failure(NeedsOperator(), attempt=1, now=NOON, policy=POLICY, chance=0) == Park()


def test_what_a_stopping_node_gave_up_costs_no_attempt() -> None:
    """The next start goes on with it at once, however many starts there were."""
    decision = after_failure(Stopping(), attempt=1000, now=NOON, policy=POLICY, chance=1)
    assert decision == Retry(due_at=NOON, counts=False)


def test_an_error_nobody_foresaw_is_tried_again() -> None:
    """Its attempts end too."""
    assert isinstance(after_failure(KeyError(), attempt=1, now=NOON, policy=POLICY, chance=0), Retry)


def test_a_policy_of_a_million_attempts_does_not_overflow() -> None:
    """The wait stays the longest."""
    patient = RetryPolicy(attempts=10**6, first_seconds=5, longest_seconds=900)
    decision = after_failure(ChildLost(), attempt=99_999, now=NOON, policy=patient, chance=1)
    assert isinstance(decision, Retry)
    assert (decision.due_at - NOON).total_seconds() == 900


def test_every_state_can_be_reached_and_the_ends_are_ends() -> None:
    """COMMITTED and CANCELED lead nowhere; all else can go on."""
    assert {*JOB_TRANSITIONS.values()} == {*JobState}
    assert {state for state, _ in JOB_TRANSITIONS} == {*JobState} - {JobState.CANCELED}
    assert {*DELIVERY_TRANSITIONS.values()} == {*DeliveryState}
    assert {state for state, _ in DELIVERY_TRANSITIONS} == {*DeliveryState} - {DeliveryState.COMMITTED}


def test_only_what_is_not_at_the_destination_can_be_withdrawn() -> None:
    """What was sent is taken back by a note, never by forgetting it; and only stating it again brings it back."""
    before = {state for state, event in DELIVERY_TRANSITIONS if event is DeliveryEvent.WITHDRAW}
    assert before == {DeliveryState.PENDING, DeliveryState.SENDING, DeliveryState.PARKED}
    after = {event: to for (state, event), to in DELIVERY_TRANSITIONS.items() if state is DeliveryState.WITHDRAWN}
    assert after == {DeliveryEvent.REQUEUE: DeliveryState.PENDING}
