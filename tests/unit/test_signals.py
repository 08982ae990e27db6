"""What a signal asks for is done, wherever it found the main thread."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest

from cxrnode.cli.daemon import apart

SOON = 30.0


@pytest.fixture
def stopped() -> Iterator[threading.Event]:
    """What SIGUSR1 sets, as SIGTERM sets the node's."""
    event = threading.Event()
    before = signal.signal(signal.SIGUSR1, apart(event.set))
    yield event
    signal.signal(signal.SIGUSR1, before)


def test_a_signal_that_finds_the_main_thread_at_the_event_s_lock_is_not_lost(stopped: threading.Event) -> None:
    """As in the moment in which the node begins to wait, or a second signal within the first: nobody waits for ever."""
    with stopped._cond:  # type: ignore[attr-defined]
        signal.raise_signal(signal.SIGUSR1)
        signal.raise_signal(signal.SIGUSR1)
        assert not stopped._flag  # type: ignore[attr-defined]
    assert stopped.wait(SOON)
