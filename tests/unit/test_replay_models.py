"""`cxrnode replay --models`: which bundles run for one replay."""

from __future__ import annotations

from pathlib import Path

import pytest

from cxrnode.cli.films import _with_models
from cxrnode.inference.bundle import METADATA
from cxrnode.settings import Settings, load


@pytest.fixture
def in_force(tmp_path: Path) -> Settings:
    """Settings that run one bundle of a folder of two."""
    for name in ("lungs", "opacity"):
        (tmp_path / name / METADATA).parent.mkdir(parents=True)
        (tmp_path / name / METADATA).touch()
    return load(models={"folder": tmp_path, "enabled": ["lungs"]})


@pytest.mark.parametrize(
    ("asked", "runs"),
    [
        (None, ("lungs",)),
        ("default", "default"),
        ("all", ("lungs", "opacity")),
        ("opacity, lungs", ("opacity", "lungs")),
    ],
)
def test_the_command_line_wins_over_the_settings(in_force: Settings, asked: str | None, runs: object) -> None:
    """Nothing said leaves the settings in force; `all` is every bundle of the folder."""
    assert _with_models(in_force, asked, withheld=False).models.enabled == runs


def test_withheld_findings_are_stated_where_either_says_so(in_force: Settings) -> None:
    """The option adds to the settings and takes nothing away."""
    assert not _with_models(in_force, None, withheld=False).models.state_withheld
    stated = _with_models(in_force, None, withheld=True)
    assert stated.models.state_withheld
    assert _with_models(stated, None, withheld=False).models.state_withheld
