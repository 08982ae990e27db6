"""The folder of bundles: which are seen, which run by default, and how one gets there."""

from __future__ import annotations

from pathlib import Path

import pytest

from cxrnode.errors import NeedsOperator, SettingsInvalid
from cxrnode.inference.shelf import bundles_in, enabled_by_default, put
from cxrnode.node import bundle_folders, enabled_models
from cxrnode.settings import load
from tests.fakes.bundle import write_tiny_bundle

OFF = {"enabled_by_default": False, "disabled_because": "never trained"}


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """A folder with one bundle that is on by default, one that is off, and one that is still being put there."""
    folder = tmp_path / "models"
    write_tiny_bundle(folder / "on")
    write_tiny_bundle(folder / "off", own=OFF)
    write_tiny_bundle(folder / ".coming")
    return folder


def test_only_whole_bundles_are_seen(shelf: Path) -> None:
    """A hidden folder is one that is not finished; a folder without a card is none."""
    (shelf / "notes").mkdir()
    assert list(bundles_in(shelf)) == ["off", "on"]


def test_by_default_the_cards_decide(shelf: Path) -> None:
    """A bundle that says it is not good enough stays off, and runs where the settings name it."""
    assert enabled_models(load(models={"folder": shelf})) == ("on",)
    named = load(models={"folder": shelf, "enabled": ["off", "on"]})
    assert bundle_folders(named) == {"off": shelf / "off", "on": shelf / "on"}


def test_no_bundle_is_an_error_and_not_a_node_that_does_nothing(tmp_path: Path) -> None:
    """An empty folder, or one in which every bundle is off, is a mistake; an empty list is a decision."""
    with pytest.raises(NeedsOperator, match="no bundle is enabled by default"):
        enabled_by_default(tmp_path)
    assert enabled_models(load(models={"folder": tmp_path, "enabled": []})) == ()


def test_a_rule_that_names_a_model_which_is_off_is_refused(shelf: Path) -> None:
    """It would send nothing for its senders."""
    assert enabled_models(load(models={"folder": shelf}, rules=[{"models": ["on"]}])) == ("on",)
    with pytest.raises(SettingsInvalid, match="a rule names a model that is not enabled") as error:
        enabled_models(load(models={"folder": shelf}, rules=[{"models": ["off"]}]))
    assert error.value.subject == "off"


def test_a_bundle_is_not_overwritten_unless_that_is_wanted(shelf: Path) -> None:
    """The old one stays whole until the new one is there, and nothing is left of it afterwards."""
    with pytest.raises(NeedsOperator, match="a bundle of that name is there"):
        put(shelf / ".coming", shelf / "on", replace=False)
    (shelf / ".coming" / "mark").touch()
    put(shelf / ".coming", shelf / "on", replace=True)
    assert (shelf / "on" / "mark").is_file()
    assert sorted(path.name for path in shelf.iterdir()) == ["off", "on"]
