"""What is urgent goes first, and the rest is never starved, in whatever order work comes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cxrnode.domain.priority import ORDINARY, URGENT
from cxrnode.ledger.turns import IN_A_ROW, Turns


class Queue:
    """Two classes of work, first in, first out, claimed in batches."""

    def __init__(self) -> None:
        self.turns = Turns()
        self.waiting: dict[int, list[int]] = {ORDINARY: [], URGENT: []}

    def claim(self, limit: int) -> tuple[int, list[int]] | None:
        """Give the class that was claimed, and what of it; None where nothing waits."""
        found = list(self.turns.take("jobs", lambda priority: [(priority, n) for n in self.waiting[priority][:limit]]))
        if not found:
            return None
        priority = found[0][0]
        del self.waiting[priority][: len(found)]
        return priority, [number for _, number in found]


STEPS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(1, 4)), min_size=1, max_size=60)


@given(STEPS)
def test_neither_class_waits_for_ever(steps: list[tuple[int, int, int]]) -> None:
    """At most IN_A_ROW claims pass what is ordinary, at most one what is urgent, and nothing waits for nothing."""
    queue, passed, number = Queue(), {ORDINARY: 0, URGENT: 0}, 0
    for urgent, ordinary, limit in steps:
        for priority, many in ((URGENT, urgent), (ORDINARY, ordinary)):
            queue.waiting[priority] += range(number, number + many)
            number += many
        waited = {priority: bool(queue.waiting[priority]) for priority in passed}
        claimed = queue.claim(limit)
        assert (claimed is not None) == any(waited.values())
        for priority in passed:
            left_out = claimed is not None and claimed[0] != priority and waited[priority]
            passed[priority] = passed[priority] + 1 if left_out else 0
        assert passed[ORDINARY] <= IN_A_ROW
        assert passed[URGENT] <= 1


@given(STEPS)
def test_each_class_keeps_its_order(steps: list[tuple[int, int, int]]) -> None:
    """Within a class the oldest goes first."""
    queue, claimed, number = Queue(), {ORDINARY: list[int](), URGENT: list[int]()}, 0
    for urgent, ordinary, limit in steps:
        for priority, many in ((URGENT, urgent), (ORDINARY, ordinary)):
            queue.waiting[priority] += range(number, number + many)
            number += many
        if one := queue.claim(limit):
            claimed[one[0]] += one[1]
    assert all(numbers == sorted(numbers) for numbers in claimed.values())
