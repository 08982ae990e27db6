"""When a study is due."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from cxrnode.domain.study import is_due

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("passed", "quiet", "still_sent", "due"),
    [
        (4.9, 5, False, False),
        (5, 5, False, True),
        (500, 5, True, False),
        (0, 0, False, True),
        (0, 0, True, False),
        (-3600, 5, False, False),
    ],
)
def test_a_study_is_due_when_nobody_sends_it_and_it_has_been_quiet(
    passed: float, quiet: float, *, still_sent: bool, due: bool
) -> None:
    """Both hold; a clock that was set back only makes it wait."""
    now = NOON + timedelta(seconds=passed)
    assert is_due(last_instance_at=NOON, now=now, quiet_seconds=quiet, still_sent=still_sent) is due
