"""The threads of associations at a stop."""

from __future__ import annotations

import threading

from cxrnode.dimse.server import join


def test_a_thread_that_is_just_being_started_is_waited_for() -> None:
    """A connection that came at the moment of a SIGTERM ended the node with exit code 1."""
    worked = threading.Event()
    late = threading.Thread(target=worked.set)
    starter = threading.Timer(0.2, late.start)
    starter.start()
    join([late], 30)
    assert worked.is_set()
    starter.join()


def test_one_that_never_starts_is_given_up() -> None:
    """As one that does not end is."""
    endless = threading.Event()
    still = threading.Thread(target=endless.wait)
    still.start()
    join([threading.Thread(target=endless.wait), still], 0.1)
    endless.set()
    still.join()
