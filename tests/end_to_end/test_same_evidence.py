"""Evidence is the same whatever the threads, whatever the batch, whatever came before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cxrnode.phantom import Radiograph, write
from tests.replaying import evidence, replay

FILM = Radiograph(rows=384, cols=320)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight studies: a whole batch of eight."""
    folder = tmp_path_factory.mktemp("source")
    for seed in range(8):
        write(replace(FILM, seed=seed), folder / f"{seed}.dcm")
    return folder


@pytest.fixture(scope="module")
def plain(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The evidence of one thread and a batch of eight."""
    out = tmp_path_factory.mktemp("plain")
    replay([source], out, inference={"threads": 1, "batch": 8, "device": "cpu"})
    return evidence(out)


@pytest.mark.parametrize(("threads", "batch"), [(2, 8), (1, 1)])
def test_threads_and_batches_change_no_byte(
    source: Path, plain: dict[str, str], tmp_path: Path, threads: int, batch: int
) -> None:
    """Eight films, eight SEGs and eight SRs, of equal SHA-256 under equal names."""
    replay([source], tmp_path / "out", inference={"threads": threads, "batch": batch, "device": "cpu"})
    assert len(plain) == 16
    assert evidence(tmp_path / "out") == plain


def test_what_comes_with_a_film_does_not_change_its_evidence(
    source: Path, plain: dict[str, str], tmp_path: Path
) -> None:
    """One film alone gives what it gave among eight."""
    replay([source / "3.dcm"], tmp_path / "out", inference={"device": "cpu"})
    alone = evidence(tmp_path / "out")
    assert len(alone) == 2
    assert alone.items() <= plain.items()
