"""Commitment reports of every kind: one is taken, or answered with a status, and nothing counts as kept that was not
named as such."""

from __future__ import annotations

import random
import struct
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pynetdicom.dsutils import decode, encode

from cxrnode.dimse import commitment, status
from cxrnode.dimse.commitment import CommitmentReport
from cxrnode.dimse.spool import LONGEST_IN_MEMORY
from tests.bench import FILM, Bench
from tests.fuzz.mutations import mutated

pytestmark = pytest.mark.filterwarnings("ignore")

ANSWERS = {status.SUCCESS, status.INVALID_ARGUMENT, status.PROCESSING_FAILURE}


class Event:
    """pynetdicom's event, whose data set is decoded when it is asked for."""

    def __init__(self, encoded: bytes) -> None:
        self._encoded = BytesIO(encoded)

    @property
    def event_information(self) -> Any:
        return decode(self._encoded, True, True)


def report_of(kept: list[str], failed: list[str], transaction: str = "1.2.3.4") -> bytes:
    """Encode an Event Information (PS3.4 Table J.3-2)."""
    information = commitment.request(transaction, [("1.2", uid) for uid in kept])
    information.FailedSOPSequence = [commitment.reference("1.2", uid) for uid in failed]
    for item in information.FailedSOPSequence:
        item.FailureReason = 0x0112
    encoded = encode(information, True, True)
    assert encoded is not None
    return encoded


def test_a_mutated_report_is_taken_or_answered(
    inputs: Callable[[int, int], int], tried: Callable[[str, str], None]
) -> None:
    """Nothing is raised, whatever is damaged; what is handed on is text and numbers."""
    dice, taken = random.Random("reports"), list[CommitmentReport]()
    content = report_of(["1.2.3.5", "1.2.3.6"], ["1.2.3.7"])

    def take(report: CommitmentReport) -> bool:
        taken.append(report)
        return True

    for _ in range(inputs(500, 30_000)):
        event: Any = Event(mutated(dice, content))
        answer, _ = commitment.take_report(event, take)
        assert answer in ANSWERS
        tried("commitment reports", f"answered 0x{answer:04X}")
    for report in taken:
        assert report.transaction_uid
        assert all(isinstance(uid, str) and uid for uid in (*report.committed, *report.failed))
        assert all(isinstance(reason, int) for reason in report.failed.values())
        assert not set(report.committed) & set(report.failed)


@pytest.mark.parametrize("strange", ["", "9.9.9", "' OR 1=1 --", "x" * 100_000])
def test_a_strange_report_changes_no_delivery(strange: str, tmp_path: Path) -> None:
    """Another transaction, other instances, and names that are none: what was sent goes on waiting for its own."""
    bench = Bench(tmp_path)
    bench.take(FILM)
    bench.clock.move(6)
    bench.line.compare_recoded()
    bench.line.close_due()
    bench.line.run_jobs()
    destination = bench.plan.destinations[0]
    bench.line.deliver(destination)
    bench.line.ask_commitments(destination)
    [(transaction, committed, _)] = bench.peer.reports
    before = bench.deliveries()
    assert bench.line.confirm(strange, committed, {}) is False
    bench.line.confirm(transaction, (strange,), {strange: 1 << 70})
    assert [way.state for way in bench.deliveries()] == [way.state for way in before]
    assert bench.line.confirm(transaction, committed, {})
    assert {way.state for way in bench.deliveries()} != {way.state for way in before}
    bench.ledger.shut()


@pytest.mark.parametrize("tiny", [struct.pack("<HHL", 0xFFFE, 0xE000, 0), None])
def test_the_longest_report_of_what_is_tiny_does_not_hold_the_listener(tiny: bytes | None) -> None:
    """All threads of the listener share one interpreter: empty items or elements of nothing take it for a moment."""
    room = LONGEST_IN_MEMORY
    flat = b"".join(struct.pack("<HHL", 0x11, number & 0xFFFF, 0) for number in range(room // 8))
    items = (tiny or b"") * (room // 8)
    start = struct.pack("<HHL", 8, 0x1195, 4) + b"1.2\0"
    event: Any = Event(start + (struct.pack("<HHL", 8, 0x1199, len(items)) + items if tiny else flat))
    began = time.process_time()
    assert commitment.take_report(event, lambda _: False)[0] in ANSWERS
    assert time.process_time() - began < 4.0  # half a second on a calm machine


def test_a_report_without_end_is_taken() -> None:
    """Thousands of instances that nobody asked for."""
    taken: list[CommitmentReport] = []
    event: Any = Event(report_of(["1.2.3"] * 3000, []))
    answer, _ = commitment.take_report(event, lambda report: bool(taken.append(report)))
    assert (answer, len(taken)) == (status.INVALID_ARGUMENT, 1)
