"""The benchmarks run on tiny bundles and a small film; how long anything takes is never asserted."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import timedelta
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest
import torch
from pydicom.dataset import Dataset

from benchmarks import backlog, composing
from benchmarks.models import TOGETHER, draw_film, load, main, network_way, plain_way
from benchmarks.rows import BEGAN, fill
from benchmarks.timing import race, ratio
from cxrnode.errors import NeedsOperator
from cxrnode.inference.card import Kind
from cxrnode.ledger import SqliteLedger
from tests.fakes.bundle import KINDS, SIZE, write_tiny_bundle


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a bundle of each kind, named by it."""
    folder = tmp_path_factory.mktemp("models")
    for kind in KINDS:
        write_tiny_bundle(folder / kind, kind=kind)
    return folder


def test_every_bundle_and_all_together_come_out(
    bundles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One run prints the tables and keeps them, with the same content as JSON."""
    main(["--folder", str(bundles), "--side", "96", "--rounds", "1", "--threads", "1", "--out", str(tmp_path)])
    kept = json.loads((tmp_path / "models.json").read_text())
    assert [one["model"] for one in kept["sizes"]] == sorted(KINDS)
    on_cpu = [line for line in kept["lines"] if line["place"]["device"] == "cpu"]
    assert [line["model"] for line in on_cpu] == [*sorted(KINDS), TOGETHER]
    assert list(on_cpu[-1]["ratios"]) == ["network", "node", "file"]
    printed = capsys.readouterr().out
    assert printed == (tmp_path / "models.md").read_text()
    assert f"| {TOGETHER} | cpu, 1 thread, 1 at once |" in printed
    assert "torch " in printed and "processor " in printed


@pytest.mark.parametrize("kind", KINDS)
def test_the_baseline_is_the_same_network(bundles: Path, kind: Kind) -> None:
    """A bare network that said something else would be no baseline."""
    loaded = load({kind: bundles / kind}, "cpu")
    picture = np.random.default_rng(3).random((1, 1, SIZE, SIZE), dtype=np.float32)
    (plain,) = plain_way(loaded, {kind: torch.from_numpy(picture)}, "cpu")
    (node,) = network_way(loaded, {kind: picture})
    said = torch.sigmoid(plain) if kind == "segmentation" else plain
    assert np.allclose(said.numpy(), node, atol=1e-3)


def test_ways_are_timed_in_turn() -> None:
    """Every way runs in every round, and the order is turned from round to round."""
    order: list[str] = []
    race({"one": lambda: order.append("one"), "two": lambda: order.append("two")}, 1, 2)
    turns = [name for place, name in enumerate(order) if place == 0 or order[place - 1] != name]
    assert turns == ["one", "two", "one"]
    assert order.count("one") == order.count("two")


def test_a_ratio_is_that_of_the_rounds() -> None:
    """A slow round slows both, so the ratio of each round counts and not that of the means."""
    found = ratio([2.0, 20.0, 2.0], [1.0, 10.0, 1.0])
    assert (found.low, found.median, found.high) == (2.0, 2.0, 2.0)


def test_a_folder_without_bundles_is_named(tmp_path: Path) -> None:
    """Nothing to measure is an error, not an empty table."""
    with pytest.raises(NeedsOperator, match="no such bundle"):
        main(["--folder", str(tmp_path)])


def test_the_film_is_a_synthetic_one(tmp_path: Path) -> None:
    """What is timed needs no data set: a phantom of the size asked for, shown from black to white."""
    film = draw_film(tmp_path, 64)
    assert film.image.shape == (64, 64)
    assert 0 <= film.image.min() < film.image.max() <= 1


@pytest.fixture(scope="module")
def chest(tmp_path_factory: pytest.TempPathFactory) -> composing.Chest:
    """A small film of odd size, with the results of the large one."""
    return composing.make_chest(tmp_path_factory.mktemp("film"), 301, 263)


def test_the_toolkits_segmentation_shows_the_same(chest: composing.Chest) -> None:
    """A baseline with other segments would be none: the same pixels under the same names and tracking UIDs."""
    theirs, ours = (pydicom.dcmread(BytesIO(way[composing.SEG]())) for way in composing.ways_of(chest))  # type: ignore[arg-type]
    assert np.array_equal(theirs.pixel_array != 0, ours.pixel_array != 0)  # one bit a pixel, or one byte
    named = [[(one.SegmentLabel, one.TrackingUID) for one in seg.SegmentSequence] for seg in (theirs, ours)]
    assert named[0] == named[1]
    assert len(named[0]) == 3


def test_the_toolkits_report_says_the_same(chest: composing.Chest) -> None:
    """The same groups in the same order with the same numbers, regions and judgments."""
    theirs, ours = (pydicom.dcmread(BytesIO(way[composing.SR]())) for way in composing.ways_of(chest))  # type: ignore[arg-type]
    said = [_said(report) for report in (theirs, ours)]
    assert said[0] == said[1]
    assert sum(len(numbers) for _, numbers, _, _ in said[0]) == 18


def test_composing_prints_its_ratios(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One run prints the table and keeps it, with the same content as JSON."""
    composing.main(["--rows", "300", "--columns", "256", "--rounds", "1", "--out", str(tmp_path)])
    kept = json.loads((tmp_path / "composing.json").read_text())
    whats = [composing.SEG, composing.STACKED, composing.SR, composing.BOTH]
    assert [line["what"] for line in kept["lines"]] == whats
    assert capsys.readouterr().out == (tmp_path / "composing.md").read_text()


def _said(report: Dataset) -> list[tuple[object, ...]]:
    """Give what each measurement group states that both can state."""
    (measured,) = (top for top in report.ContentSequence if top.ConceptNameCodeSequence[0].CodeValue == "126010")
    return [_of_group(group) for group in measured.ContentSequence]


def _of_group(group: Dataset) -> tuple[object, ...]:
    within = group.ContentSequence
    numbers = {float(item.MeasuredValueSequence[0].NumericValue) for item in within if item.ValueType == "NUM"}
    outlines = [list(item.GraphicData) for item in within if item.ValueType == "SCOORD"]
    judged = {item.ConceptCodeSequence[0].CodeValue for item in within if item.ValueType == "CODE"} & {
        "52101004",
        "272519000",
    }
    (tracked,) = (item.UID for item in within if item.ValueType == "UIDREF")
    return tracked, numbers, outlines, judged


def test_claims_are_timed_in_ledgers_that_keep_their_law(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Rows that were made by hand can be claimed by the real verbs, as many as said, and break no constraint."""
    fill(tmp_path / "small.sqlite", 40, 10)
    with closing(sqlite3.connect(tmp_path / "small.sqlite")) as connection:
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    with SqliteLedger.open(tmp_path / "small.sqlite", incarnation="test", exclusive=True) as ledger:
        assert (ledger.counts().jobs_left, ledger.counts().deliveries_left, ledger.counts().instances) == (10, 10, 40)
        assert len(ledger.claim_jobs(BEGAN + timedelta(days=1), limit=99, lease_seconds=9)) == 10
    backlog.main(["--sizes", "100", "400", "--rounds", "1", "--starts", "0", "--out", str(tmp_path)])
    kept = json.loads((tmp_path / "backlog.json").read_text())
    assert [one["studies"] for one in kept["claims"]] == [100, 400] * 3
    assert capsys.readouterr().out == (tmp_path / "backlog.md").read_text()


def test_a_queue_is_received_and_closed_by_the_line(tmp_path: Path) -> None:
    """Every study of the backlog has its file, its row and its job."""
    backlog.queue(tmp_path, 5)
    with SqliteLedger.open(tmp_path / "ledger.sqlite", incarnation="test", exclusive=True) as ledger:
        assert (ledger.counts().instances, ledger.counts().jobs_left, ledger.counts().open_studies) == (5, 5, 0)
        keys = [view.key for view in ledger.outcomes()]
    assert all((tmp_path / "spool" / key).is_file() for key in keys)
