"""What a signal asks for is done, whichever thread takes it, and wherever it found the main thread."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest

from cxrnode.cli.daemon import heed

SOON = 30.0


@pytest.fixture
def stopped() -> Iterator[threading.Event]:
    """What SIGUSR1 sets, as SIGTERM sets the node's."""
    event = threading.Event()
    before, woken = signal.getsignal(signal.SIGUSR1), signal.set_wakeup_fd(-1)
    heed({signal.SIGUSR1: event.set})
    yield event
    signal.set_wakeup_fd(woken)
    signal.signal(signal.SIGUSR1, before)


def test_a_signal_that_finds_the_main_thread_at_the_event_s_lock_is_not_lost(stopped: threading.Event) -> None:
    """As in the moment in which the node begins to wait, or a second signal within the first: nobody waits for ever."""
    with stopped._cond:  # type: ignore[attr-defined]
        signal.raise_signal(signal.SIGUSR1)
        signal.raise_signal(signal.SIGUSR1)
        assert not stopped._flag  # type: ignore[attr-defined]
    assert stopped.wait(SOON)


def test_a_signal_that_does_not_wake_the_main_thread_is_not_lost(stopped: threading.Event) -> None:
    """As one that another thread takes, or that comes in the moment in which the main thread falls asleep."""
    ended = threading.Event()
    other = threading.Thread(target=ended.wait)
    other.start()
    asleep = threading.Timer(0.2, lambda: signal.pthread_kill(other.ident or 0, signal.SIGUSR1))
    asleep.start()
    try:
        assert stopped.wait(SOON)
    finally:
        ended.set()
