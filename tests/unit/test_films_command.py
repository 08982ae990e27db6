"""`cxrnode models films`: what a data folder holds."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from cxrnode.cli import training  # noqa: F401 - adds its command to `app`
from cxrnode.cli.app import app
from tests import layouts


def test_films_are_counted_by_source_question_and_part(tmp_path: Path) -> None:
    """Every film counts once in all, and once for each thing that is known of it; --run keeps the thumbnails."""
    layouts.write_rsna(tmp_path / "rsna", names={"aaa": "00000011_000.png", "bbb": "00000011_004.png"})
    layouts.write_cohen(tmp_path / "cohen")
    told = CliRunner().invoke(
        app, ["models", "films", "--data", str(tmp_path), "--run", str(tmp_path / "run"), "--json"]
    )
    found = json.loads(told.stdout)
    counts = {(row["source"], row["question"], row["answer"]): row for row in found["counts"]}

    def total(*key: str) -> int:
        return sum(counts[key][part] for part in ("train", "validate", "test"))

    assert (found["films"], found["groups"], found["joined_by_likeness"]) == (8, 6, 0)
    assert total("all", "", "") == 8
    assert (total("rsna", "rsna", "lung_opacity"), total("rsna", "boxes", "none")) == (1, 2)
    assert (total("cohen", "pattern", "covid19"), total("cohen", "", "")) == (2, 5)
    assert (tmp_path / "run" / "thumbnails.npz").is_file()


def test_the_table_says_how_many_films_belong_together(tmp_path: Path) -> None:
    """A person reads a table, and in words how many groups are not parted."""
    layouts.write_kermany(tmp_path)
    told = CliRunner().invoke(app, ["models", "films", "--data", str(tmp_path)])
    assert told.exit_code == 0
    assert "6 films in 5 groups that are not parted" in told.stdout
    assert "viral_pneumonia" in told.stdout
