"""A setting that is given changes no other one."""

from __future__ import annotations

import pytest

from cxrnode.settings import load


def test_wait_between_deliveries_leaves_their_attempts_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs and deliveries have defaults of their own, also where one of their settings is given."""
    before = load().line
    monkeypatch.setenv("CXRNODE_LINE__DELIVERIES__FIRST_SECONDS", "1.5")
    monkeypatch.setenv("CXRNODE_LINE__JOBS__FIRST_SECONDS", "2.5")
    after = load().line
    assert (after.deliveries.first_seconds, after.jobs.first_seconds) == (1.5, 2.5)
    assert (after.deliveries.attempts, after.jobs.attempts) == (before.deliveries.attempts, before.jobs.attempts)
