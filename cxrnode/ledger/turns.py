"""Whose turn it is in a queue of two classes: the urgent first, and after a few of them one of the rest.

Hides the count. Promises that of IN_A_ROW + 1 claims in a row at least one goes to what is not urgent while something
of it is due, so that urgent work, however much comes, never stops the rest (decision 0033).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from cxrnode.domain.priority import ORDINARY, URGENT

IN_A_ROW = 4
"""Claims that go to what is urgent before one goes to the rest."""

Row = TypeVar("Row")


class Turns:
    """The count of each queue; a restart begins it anew, which costs the rest at most IN_A_ROW claims."""

    def __init__(self) -> None:
        """Begin with the turn of what is urgent."""
        self._passed: dict[str, int] = {}

    def take(self, queue: str, due: Callable[[int], Sequence[Row]]) -> Sequence[Row]:
        """Give what is due of the class whose turn it is in `queue`; of the other where that is nothing.

        `due` gives what is due of one class, and is asked for one class where that is enough.
        """
        passed = self._passed.get(queue, 0)
        urgent = due(URGENT)
        if urgent and passed < IN_A_ROW:
            self._passed[queue] = passed + 1
            return urgent
        ordinary = due(ORDINARY)
        if ordinary:
            self._passed[queue] = 0
        return ordinary or urgent
