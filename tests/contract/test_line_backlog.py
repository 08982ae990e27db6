"""Many studies at once: read in pages, and none of them hides another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cxrnode.pipeline import closing
from tests.bench import FILM, Bench


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A line that reads two open studies at once."""
    monkeypatch.setattr(closing, "PAGE", 2)
    return Bench(tmp_path)


def test_studies_that_are_still_sent_do_not_hide_the_one_that_is_not(bench: Bench) -> None:
    """An association that stays open holds back its own studies, be they pages of them."""
    for seed in range(5):
        bench.take(replace(FILM, seed=seed), association="open", ended=False)
    bench.take(replace(FILM, seed=9))
    bench.clock.move(6)
    assert bench.line.close_due() == 1
    assert bench.line.close_due() == 0
    bench.line.association_ended("open")
    assert [bench.line.close_due() for _ in range(4)] == [2, 2, 1, 0]
    assert len(bench.jobs()) == 6


def test_the_longest_quiet_closes_first_and_each_once(bench: Bench) -> None:
    """Whatever the page, studies close in the order in which they fell quiet, and get one job each."""
    for seed in range(5):
        bench.clock.move(1)
        bench.take(replace(FILM, seed=seed))
    bench.clock.move(6)
    assert [bench.line.close_due() for _ in range(4)] == [2, 2, 1, 0]
    received = [view.study_uid for view in bench.ledger.outcomes()]
    assert [job.study_uid for job in bench.jobs()] == received


def test_studies_of_one_moment_are_all_closed(bench: Bench) -> None:
    """A page that ends between studies whose last instances came at the same time leaves none of them out."""
    for seed in range(5):
        bench.take(replace(FILM, seed=seed), association="open" if seed < 3 else "a", ended=seed >= 3)
    bench.clock.move(6)
    assert sum(bench.line.close_due() for _ in range(3)) == 2
    assert len(bench.jobs()) == 2


def test_a_study_that_cannot_be_closed_holds_up_no_other(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody foresaw in one study is told, the others close, and a minute later it is tried again."""
    for seed in range(5):
        bench.take(replace(FILM, seed=seed))
    odd = next(iter(bench.ledger.outcomes())).study_uid
    told: list[dict[str, object]] = []
    monkeypatch.setattr(closing, "unexpected", lambda _, error, **fields: told.append(fields))
    with monkeypatch.context() as broken:
        membership = bench.ledger.membership
        broken.setattr(bench.ledger, "membership", lambda study: {}[study] if study == odd else membership(study))
        bench.clock.move(6)
        assert sum(bench.line.close_due() for _ in range(4)) == 4
        assert told == [{"study": odd}]
        bench.clock.move(61)
        assert bench.line.close_due() == 0
        assert len(told) == 2
    assert bench.line.close_due() == 0, "it is not tried again at once"
    bench.clock.move(61)
    assert bench.line.close_due() == 1
    assert len(bench.jobs()) == 5
