"""Kills a process, as far as a test in one process can: before or after its n-th port call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Killed(BaseException):
    """The process is gone. No handler of ours catches it, as none runs after SIGKILL."""


class Killer:
    """Counts the calls on everything it guards; kills at one of them, then at every other: the dead do nothing."""

    def __init__(self, *, at: int | None = None, after: bool = False) -> None:
        self.calls = 0
        self.names: list[str] = []
        self._at, self._after = at, after
        self.fired = False

    def guard(self, port: Any, name: str) -> Any:
        """Give the port, mortal."""
        return _Guarded(port, name, self)

    def call(self, name: str, verb: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
        """Call a verb, unless this is where the process dies."""
        self.calls += 1
        self.names.append(name)
        here = self._at is not None and self.calls >= self._at
        if here and (self.fired or not self._after):
            self.fired = True
            raise Killed(f"before {name}")
        result = verb(*arguments, **keywords)
        if here:
            self.fired = True
            raise Killed(f"after {name}")
        return result


class _Guarded:
    def __init__(self, port: Any, name: str, killer: Killer) -> None:
        self._port, self._name, self._killer = port, name, killer

    def __getattr__(self, verb: str) -> Any:
        found = getattr(self._port, verb)
        if not callable(found):
            return found
        return lambda *arguments, **keywords: self._killer.call(f"{self._name}.{verb}", found, *arguments, **keywords)
