"""Which study is urgent."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cxrnode.domain.identity import AETitle
from cxrnode.domain.priority import ORDINARY, URGENT, Stat, priority_of
from cxrnode.domain.study import Instance
from tests.fakes.instances import FRONTAL, MODALITY, NOON, described


def member(*, calling: str = "CR1", called: str = "CXRNODE", words: str = "", priority: int = 0) -> Instance:
    sender = replace(MODALITY, calling_ae=AETitle(calling), called_ae=AETitle(called))
    description = described(facts=replace(FRONTAL, words=words))
    return Instance(row=1, description=description, sender=sender, key="k", received_at=NOON, priority=priority)


@pytest.mark.parametrize(
    ("rule", "image", "priority"),
    [
        (Stat(calling_ae="ER*"), {"calling": "ER-1"}, URGENT),
        (Stat(calling_ae="ER*"), {"calling": "CR1"}, ORDINARY),
        (Stat(called_ae="CXRSTAT"), {"called": "CXRSTAT"}, URGENT),
        (Stat(called_ae="CXRSTAT"), {}, ORDINARY),
        (Stat(description="*notfall*"), {"words": "THORAX NOTFALL AP"}, URGENT),
        (Stat(description="*notfall*"), {"words": "THORAX AP"}, ORDINARY),
        (Stat(asked=True), {"priority": 1}, URGENT),
        (Stat(asked=True), {}, ORDINARY),
        (Stat(asked=True, calling_ae="ER*"), {"priority": 1}, ORDINARY),
        (Stat(), {}, URGENT),
    ],
)
def test_all_that_a_rule_states_has_to_hold(rule: Stat, image: dict[str, Any], priority: int) -> None:
    """Source, description and the sender's own word, each by itself and together."""
    assert priority_of([member(**image)], [rule]) == priority


def test_one_image_and_one_rule_are_enough() -> None:
    """A study is urgent with one of its images, by whichever rule; without any rule nothing is."""
    images = [member(), member(priority=1)]
    assert priority_of(images, [Stat(calling_ae="ER*"), Stat(asked=True)]) == URGENT
    assert priority_of(images, []) == ORDINARY
    assert priority_of([], [Stat()]) == ORDINARY
