"""What is refused over and over is told once, then counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from cxrnode.dimse import acceptor, admission, house, listener, server, spool
from cxrnode.dimse.refusals import Refusals
from cxrnode.telemetry import Event


class Hands:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.at = 0.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def hands():
    return Hands()


@pytest.fixture
def told(caplog):
    """The fields of what was logged, so far."""
    caplog.set_level("INFO", "cxrnode")
    return lambda: [record.fields for record in caplog.records if hasattr(record, "fields")]


def _refuse(refusals, reason="too slow", **fields):
    refusals.tell(Event.ASSOCIATION_REFUSED, **{"address": "10.0.0.1", "calling_ae": "XR", "reason": reason} | fields)


def test_first_is_told_at_once_and_its_like_once_a_minute_with_their_number(hands, told):
    """A hundred in a minute are two lines: the first, and a count of 99; none goes uncounted."""
    refusals = Refusals(clock=hands)
    for _ in range(100):
        _refuse(refusals)
    assert [fields.get("count") for fields in told()] == [None]
    hands.at = 60.0
    refusals.flush()
    refusals.flush()
    assert [fields.get("count") for fields in told()] == [None, 99]


def test_another_address_caller_or_reason_is_told_for_itself(hands, told):
    """What differs in who or why is another refusal; a number of an association is no difference."""
    refusals = Refusals(clock=hands)
    _refuse(refusals)
    _refuse(refusals, address="10.0.0.2")
    _refuse(refusals, calling_ae="CT")
    _refuse(refusals, reason="idle")
    _refuse(refusals, association="7")
    assert len(told()) == 4


def test_count_goes_on_while_the_refusals_do(hands, told):
    """A stranger that knocks all day is a line a minute, told as he knocks."""
    refusals = Refusals(clock=hands)
    for second in range(0, 3600, 10):
        hands.at = second
        _refuse(refusals)
    assert 59 <= len(told()) <= 60
    refusals.flush(everything=True)
    assert sum(fields.get("count", 1) for fields in told()) == 360


def test_made_up_names_fill_neither_the_log_nor_the_memory(hands, told):
    """Ten thousand callers' names are a few hundred lines and kinds; the rest is counted by its reason."""
    refusals = Refusals(clock=hands, most=50)
    for number in range(10_000):
        _refuse(refusals, calling_ae=f"AE{number}")
    refusals.flush(everything=True)
    assert len(told()) == 52
    assert sum(fields.get("count", 1) for fields in told()) == 10_000
    assert len(refusals._counts) == 51


def test_what_was_forgotten_is_told_anew(hands, told):
    """Ten quiet minutes later the same refusal is news again."""
    refusals = Refusals(clock=hands)
    _refuse(refusals)
    hands.at = 601.0
    refusals.flush()
    _refuse(refusals)
    assert [fields.get("count") for fields in told()] == [None, None]


def test_what_is_not_told_yet_is_told_when_the_door_closes(hands, told):
    """A count that is not due goes out with `everything`."""
    refusals = Refusals(clock=hands)
    _refuse(refusals)
    _refuse(refusals)
    refusals.flush()
    assert len(told()) == 1
    refusals.flush(everything=True)
    assert told()[-1]["count"] == 1


REASONS = (
    *listener.REJECTED.values(),
    *(listener.ANOTHER_S_TITLE, listener.UNCHECKED),
    *(admission.TOO_MANY, admission.TOO_MANY_OF_ONE, admission.TOO_MANY_WAITING, admission.TOO_MANY_CONNECTIONS),
    *(admission.MADE_ROOM, house.LOST, house.NO_REQUEST, acceptor.ABORTED, acceptor.NOT_ACCEPTED, server.STOPPING),
    *(spool.BROKE, spool.NO_CONTEXT, spool.TOO_LONG, spool.UNFORESEEN),
)


@pytest.mark.parametrize("reason", REASONS)
def test_reason_is_where_the_administrator_looks_it_up(reason):
    """The page that every refusal refers to names what it was."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")
    assert reason.removeprefix("the peer ").partition(" (")[0] in page
