"""deploy/cxrnode.toml against the tree of settings, and what a wrong setting says."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from cxrnode import settings
from cxrnode.domain.capability import Kind, ReportClass
from cxrnode.domain.delivery import RejectionNotes
from cxrnode.errors import SettingsInvalid
from cxrnode.settings import Settings, load
from cxrnode.settings.sections import DestinationSettings, RuleSettings, StatSettings

DOCUMENTED = Path(__file__).resolve().parents[2] / "deploy" / "cxrnode.toml"
WISHES = [kind for kind in Kind if kind is not Kind.REJECTION]
_PACS = '[[destinations]]\nname = "pacs"\nae_title = "PACS"\n'
_OF_THE_MACHINE = {"node.state_dir", "models.folder"}
"""Settings whose defaults are places; the file shows those of a service."""


@pytest.fixture(autouse=True)
def _no_settings_around(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("CXRNODE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(settings, "SYSTEM_FILE", Path("nowhere.toml"))


@pytest.fixture
def load_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Load settings from the text of a file."""

    def load_it(text: str) -> Settings:
        file = tmp_path / "cxrnode.toml"
        file.write_text(text)
        monkeypatch.setenv("CXRNODE_CONFIG", str(file))
        return load()

    return load_it


def everything() -> str:
    """Give the documented file with every commented setting in force."""
    return re.sub(r"^#(?=[\[a-z])", "", DOCUMENTED.read_text(encoding="utf-8"), flags=re.MULTILINE)


def leaves(tree: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Give each setting of sections as `node.port` and its value; lists of sections are left out."""
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{above}{name}.")
        elif name not in {"destinations", "rules", "stat"}:
            yield f"{above}{name}", value


def optional(section: type[BaseModel]) -> set[str]:
    """Give the names of a section's settings that have a default."""
    return {name for name, field in section.model_fields.items() if not field.is_required()}


def test_every_setting_is_documented_and_nothing_else():
    """Who looks for a setting finds it in the file, and what stands in the file exists."""
    documented = dict(leaves(tomllib.loads(everything())))
    real = dict(leaves(Settings().model_dump(mode="json")))
    assert documented.keys() == real.keys()


def test_every_documented_default_is_the_real_one():
    """A default in the file that is not the program's would be believed."""
    documented = dict(leaves(tomllib.loads(everything())))
    real = dict(leaves(Settings().model_dump(mode="json")))
    assert {name: documented[name] for name in real if name not in _OF_THE_MACHINE} == {
        name: value for name, value in real.items() if name not in _OF_THE_MACHINE
    }


def test_destinations_and_rules_are_documented_whole():
    """Their settings stand in lists of sections, which have no defaults of their own in the tree."""
    documented = tomllib.loads(everything())
    (destination,), (rule,) = documented["destinations"], documented["rules"]
    assert destination.keys() == DestinationSettings.model_fields.keys()
    assert rule.keys() == RuleSettings.model_fields.keys()
    (stat,) = documented["stat"]
    assert stat.keys() == StatSettings.model_fields.keys()
    real = DestinationSettings(name="pacs", ae_title="PACS").model_dump(mode="json")
    assert {name: destination[name] for name in optional(DestinationSettings)} == {
        name: real[name] for name in optional(DestinationSettings)
    }


@pytest.mark.parametrize("words", [WISHES, ReportClass, RejectionNotes], ids=["objects", "reports", "notes"])
def test_every_word_that_a_destination_can_be_given_is_documented(words: Iterable[str]):
    """Nobody has to read the program to learn what there is."""
    text = DOCUMENTED.read_text(encoding="utf-8")
    assert [str(word) for word in words if f'"{word}"' not in text] == []


def test_the_file_as_it_is_differs_from_the_defaults_in_the_state_folder_only(load_text, monkeypatch):
    """Installed as it lies there, it is a node on loopback with the service's state folder."""
    loaded = load_text(DOCUMENTED.read_text(encoding="utf-8"))
    assert loaded.node.state_dir == Path("/var/lib/cxrnode")
    monkeypatch.delenv("CXRNODE_CONFIG")
    assert loaded.model_dump() == Settings(node={"state_dir": "/var/lib/cxrnode"}).model_dump()


def test_the_file_with_everything_in_force_is_accepted(load_text):
    """Its examples fit together: rules name configured destinations and enabled models."""
    loaded = load_text(everything())
    assert [rule.destinations for rule in loaded.rules_in_force] == [("pacs", "@sender")]


def test_every_problem_is_reported_at_once_with_its_place(load_text):
    """An operator mends a file once, not once a problem."""
    with pytest.raises(SettingsInvalid) as caught:
        load_text('[node]\nport = 99999\nae_titel = "X"\n[studies]\nquiet_seconds = -1\n')
    for place in ("node.port", "node.ae_titel", "studies.quiet_seconds"):
        assert place in str(caught.value)


def test_a_rule_that_names_what_is_not_there_is_refused(load_text):
    """A misspelt destination would lose evidence silently."""
    with pytest.raises(SettingsInvalid, match=r"rules\.0 names no destination 'pax'"):
        load_text('[[rules]]\ndestinations = ["pax"]\n')


def test_two_destinations_of_one_name_are_refused(load_text):
    """The ledger knows destinations by their names."""
    one = '[[destinations]]\nname = "pacs"\nae_title = "PACS"\n'
    with pytest.raises(SettingsInvalid, match="two destinations are called 'pacs'"):
        load_text(one + one)


def test_changing_one_wait_of_deliveries_leaves_their_attempts_as_they_are(load_text):
    """A section that is there for one setting keeps the defaults of the others."""
    assert load_text("[line.deliveries]\nfirst_seconds = 1\n").line.deliveries.attempts == 300


def test_a_variable_wins_over_the_file(load_text, monkeypatch):
    """So does a test's or a container's environment."""
    monkeypatch.setenv("CXRNODE_NODE__PORT", "104")
    assert load_text("[node]\nport = 105\n").node.port == 104


def test_a_misspelt_variable_is_refused(monkeypatch):
    """It would do nothing, and nobody would see it."""
    monkeypatch.setenv("CXRNODE_NOED__PORT", "104")
    with pytest.raises(SettingsInvalid, match="CXRNODE_NOED__PORT"):
        load()


def test_a_file_that_is_named_and_missing_is_refused(monkeypatch, tmp_path):
    """Defaults in its place would be another node."""
    monkeypatch.setenv("CXRNODE_CONFIG", str(tmp_path / "missing.toml"))
    with pytest.raises(SettingsInvalid, match="does not exist"):
        load()


def test_a_file_that_is_no_toml_is_refused_with_its_name(load_text):
    """The error names the file, not only the line."""
    with pytest.raises(SettingsInvalid, match=r"cxrnode\.toml"):
        load_text("[node\n")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[retention]\nsources_held_by = ["pax"]\n', "names no destination 'pax'"),
        ("[retention]\nsource_days = 30\n", "deletes no source that nobody else keeps"),
        ("[retention]\nnot_analysed_days = 30\n", "deletes no source that nobody else keeps"),
        ("[retention]\nbelow_free_mb = 100\n", "senders would be refused before"),
        (f'[retention]\nsources_held_by = ["pacs"]\n{_PACS}commitment = "none"\n', "asked for storage commitment"),
    ],
)
def test_retention_that_would_do_nothing_or_come_too_late_is_refused(load_text, text, says):
    """Who writes it believes that the disk is looked after."""
    with pytest.raises(SettingsInvalid, match=says):
        load_text(text)


def test_retention_that_fits_is_accepted(load_text):
    """By an archive that commits, or by the operator's word."""
    held = load_text(f'[retention]\nsource_days = 30\nsources_held_by = ["pacs"]\n{_PACS}')
    assert held.retention.rules().held_by == ("pacs",)
    assert load_text("[retention]\nsource_days = 0.5\nuncommitted = true\n").retention.rules().source_days == 0.5
    assert not load_text("").retention.rules()
