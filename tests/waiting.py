"""Waiting for a condition with a deadline: the only way that tests wait for another thread or process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

_LOOK_AGAIN_SECONDS = 0.05


def wait_for(condition: Callable[[], object], seconds: float) -> None:
    """Return as soon as `condition` holds. TimeoutError, naming it, when it does not within `seconds`."""
    deadline, pause = time.monotonic() + seconds, threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds} s: {getattr(condition, '__qualname__', condition)}")
        pause.wait(_LOOK_AGAIN_SECONDS)
