"""Admission by numbers, with a clock that the test moves."""

from __future__ import annotations

from dataclasses import replace
from socket import socket

import pytest

from cxrnode.dimse import admission
from cxrnode.dimse.admission import Flight, Limits, Places, Progress

LIMITS = Limits(
    associations=4,
    per_address=3,
    waiting=6,
    waiting_per_address=3,
    negotiation_seconds=30,
    idle_seconds=60,
    slowest_bytes_per_second=1000,
)


def _enter(places, address="10.0.0.1"):
    assert not places.why_not(address)
    return places.enter(socket.__new__(socket), address)


def _seated(places, address="10.0.0.1"):
    visit, _ = _enter(places, address)
    return places.seat(visit), visit


def _associated(at=0.0):
    progress = Progress(since=at)
    progress.establish(at)
    return progress


def _trickle(progress, *, until, every, count):
    """Bytes keep coming; give when the peer was found late, if it was."""
    now = 0.0
    while now < until:
        now += every
        progress.bytes, progress.heard = progress.bytes + count, now
        if why := progress.why_late(LIMITS, now):
            return now, why
    return None


def test_one_address_cannot_take_every_place():
    """The fourth association of an address is refused while another address still comes in; then the house is full."""
    places = Places(LIMITS)
    assert [_seated(places)[0] for _ in range(4)] == ["", "", "", admission.TOO_MANY_OF_ONE]
    assert _seated(places, "10.0.0.2")[0] == ""
    assert _seated(places, "10.0.0.3")[0] == admission.TOO_MANY


def test_place_is_free_as_soon_as_its_association_is_over():
    """Who was released or turned out holds no place, although its threads still end; who has left is no visit."""
    places = Places(LIMITS)
    visits = [_seated(places)[1] for _ in range(3)]
    visits[0].gone_at = 1.0
    assert _seated(places)[0] == ""
    places.leave(visits[1])
    places.leave(visits[1])
    assert _seated(places)[0] == ""


def test_silent_connections_keep_nobody_from_knocking():
    """An address with too many silent connections is refused one more. Strangers of many addresses make room for
    whoever comes: the one that has waited longest goes."""
    places = Places(LIMITS)
    first, _ = _enter(places)
    _enter(places)
    _enter(places)
    assert places.why_not("10.0.0.1") == admission.TOO_MANY_WAITING
    assert [_enter(places, f"10.0.1.{number}")[1] for number in range(3)] == [None] * 3
    _, makes_room = _enter(places, "10.0.2.1")
    assert makes_room is first


def test_connections_of_all_kinds_are_bounded():
    """Whatever they do, no more than this many have threads, those included that are just ending."""
    places = Places(LIMITS)
    entered = 0
    while not places.why_not(f"10.1.0.{entered}"):
        visit, makes_room = places.enter(socket.__new__(socket), f"10.1.0.{entered}")
        entered += 1
        if makes_room:
            makes_room.gone_at = 0.0
    assert entered == LIMITS.connections == 16
    assert places.why_not("10.2.0.1") == admission.TOO_MANY_CONNECTIONS
    places.leave(visit)
    assert not places.why_not("10.2.0.1")


def test_address_that_floods_us_is_heard_after_a_pause():
    """Fifty refusals within ten seconds: its next visit waits a second, another address's does not, and later all is
    forgotten. What strangers make up fills no memory."""
    at = [0.0]
    places = Places(LIMITS, lambda: at[0])
    for _ in range(50):
        assert not places.has_to_pause(_enter(places, "10.0.0.9")[0])
        places.leave(places.visits()[-1])
        places.refused("10.0.0.9")
    flooder, _ = _enter(places, "10.0.0.9")
    assert places.has_to_pause(flooder)
    assert not places.has_to_pause(_enter(places, "10.0.0.8")[0])
    at[0] = 1.0
    assert not places.has_to_pause(flooder)
    at[0] = 11.0
    assert not places.has_to_pause(_enter(places, "10.0.0.9")[0])
    for number in range(3000):
        places.refused(f"10.9.{number // 250}.{number % 250}")
    assert len(places._refused) == 1000


def test_a_pause_ends_before_the_time_to_ask_does():
    """However short that time is: whoever shares an address with a flood is heard late, never turned out unheard."""
    at, limits = [0.0], replace(LIMITS, negotiation_seconds=0.7)
    places = Places(limits, lambda: at[0])
    for _ in range(50):
        places.refused("10.0.0.9")
    visit, _ = _enter(places, "10.0.0.9")
    assert places.has_to_pause(visit)
    at[0] = 0.5
    assert not places.has_to_pause(visit)
    assert not visit.progress.why_late(limits, at[0])


def test_connection_has_to_ask_for_an_association_in_time():
    """A byte now and then is no request."""
    progress = Progress(since=0.0)
    found = _trickle(progress, until=300, every=5, count=1)
    assert found == (35.0, "no association request within 30 s")


def test_silent_association_is_late_after_the_idle_limit():
    """From its beginning, and from its last message."""
    progress = _associated()
    assert not progress.why_late(LIMITS, 60)
    assert progress.why_late(LIMITS, 61) == "silent for 60 s"
    progress.begin(50)
    progress.end(55)
    assert not progress.why_late(LIMITS, 110)
    assert progress.why_late(LIMITS, 116) == "silent for 60 s"


@pytest.mark.parametrize(("every", "count"), [(25.0, 1), (1.0, 900), (20.0, 100)])
def test_trickle_is_late_although_bytes_keep_coming(every, count):
    """A byte a minute resets no timer: below the slowest rate, the peer is late after about one idle limit."""
    progress = _associated()
    progress.begin(0)
    at, why = _trickle(progress, until=3600, every=every, count=count)
    assert at <= 101
    assert why == "slower than 1 kB/s"


def test_bytes_of_before_are_no_credit():
    """A peer that brought fifty megabytes at once and then stops in mid-object is late an idle limit later."""
    progress = _associated()
    progress.begin(0)
    progress.bytes = 50_000_000
    assert not progress.why_late(LIMITS, 61)
    assert not progress.why_late(LIMITS, 100)
    assert progress.why_late(LIMITS, 122) == "silent in the midst of a message"


def test_slow_but_honest_sender_is_never_late():
    """Just above the slowest rate, an object may take hours."""
    progress = _associated()
    progress.begin(0)
    assert _trickle(progress, until=36_000, every=1, count=1001) is None


def test_time_of_our_own_is_nobody_s_fault():
    """A disk that takes all our time makes no sender late, nor does the time in which it is being served."""
    progress = _associated()
    progress.begin(0)
    progress.ours = 59.5
    progress.bytes = 2_000
    assert not progress.why_late(LIMITS, 61)
    progress.ours_since = 62.0
    assert not progress.why_late(LIMITS, 1000)
    progress.end(1000)
    progress.at_work = True
    assert not progress.why_late(LIMITS, 9000)


def test_association_that_only_echoes_ends_in_the_end():
    """Echoes keep it open ten times as long as silence, not for ever: a study waits for the end of its association."""
    progress = _associated()
    for now in range(0, 630, 30):
        progress.begin(now)
        progress.end(now)
        late = progress.why_late(LIMITS, now)
    assert not late
    progress.begin(630)
    progress.end(630)
    assert progress.why_late(LIMITS, 630) == "nothing but echoes for 600 s"


def test_bytes_under_way_are_bounded_and_come_back():
    """What is over the limit is not counted; what was given back may be taken again."""
    flight = Flight(100)
    assert flight.take(60)
    assert not flight.take(41)
    assert flight.take(40)
    flight.give_back(60)
    assert flight.take(60)
