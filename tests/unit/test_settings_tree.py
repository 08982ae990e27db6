"""Settings: one tree from a file and variables, checked as a whole before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from cxrnode.domain.capability import Kind, ReportClass
from cxrnode.domain.delivery import CommitmentPolicy, Destination, Geometry, RejectionNotes
from cxrnode.domain.identity import AETitle
from cxrnode.domain.routing import Rule
from cxrnode.errors import SettingsInvalid
from cxrnode.settings import load


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Forget the machine's own settings."""
    import os

    for name in [name for name in os.environ if name.startswith("CXRNODE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr("cxrnode.settings.SYSTEM_FILE", tmp_path / "no-such-file.toml")


def _file(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "cxrnode.toml").write_text(text, encoding="utf-8")
    monkeypatch.setenv("CXRNODE_CONFIG", str(folder / "cxrnode.toml"))


def test_without_anything_the_defaults_are_sound() -> None:
    """Loopback, one thread, seconds of quiet, everything through every model."""
    settings = load()
    assert (settings.node.ae_title, settings.node.host, settings.node.port) == ("CXRNODE", "127.0.0.1", 11112)
    assert settings.studies.quiet_seconds < 60
    assert settings.rules_in_force == (Rule(),)


def test_arguments_win_over_variables_which_win_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each layer keeps what the one above it does not say."""
    _file(tmp_path, "[node]\nport = 1111\nae_title = 'FILE'\nhost = '127.0.0.2'\n", monkeypatch)
    monkeypatch.setenv("CXRNODE_NODE__PORT", "2222")
    monkeypatch.setenv("CXRNODE_NODE__AE_TITLE", "VARIABLE")
    node = load(node={"port": 3333}).node
    assert (node.port, node.ae_title, node.host) == (3333, "VARIABLE", "127.0.0.2")


@pytest.mark.parametrize("host", ["pacs..hospital.example", "x" * 70 + ".example", "pacs\0", "10.0.0.5\n"])
def test_a_host_that_no_name_can_be_is_refused_at_its_place(host: str) -> None:
    """Asked for its address, Python raises something else than for a name that nobody has."""
    for place, sections in (
        ("node.host", {"node": {"host": host}}),
        ("web.host", {"web": {"host": host}}),
        ("audit.syslog.host", {"audit": {"syslog": {"host": host, "transport": "udp"}}}),
        ("destinations.0.host", {"destinations": [{"name": "pacs", "ae_title": "PACS", "host": host}]}),
    ):
        with pytest.raises(SettingsInvalid, match=f"{place}: .* is no host name or address"):
            load(**sections)


def test_every_problem_is_named_at_once_with_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One run of the node is enough to find them all."""
    text = """
[node]
port = 70000
timezone_offset = "CET"
[studies]
quiet_seconds = -1
[inference]
device = "abacus"
[[destinations]]
name = "the pacs"
ae_title = "back\\\\slash"
[unknown]
"""
    _file(tmp_path, text, monkeypatch)
    with pytest.raises(SettingsInvalid) as caught:
        load()
    for place in (
        "node.port", "node.timezone_offset", "studies.quiet_seconds", "inference.device", "destinations.0.name",
        "destinations.0.ae_title", "unknown",
    ):  # fmt: skip
        assert f"  {place}: " in str(caught.value)
    assert "deploy/cxrnode.toml" in caught.value.hint


def _destination(**settings: object) -> dict[str, object]:
    return {"destinations": [{"name": "a", "ae_title": "A", **settings}]}


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"rules": [{"destinations": ["vna"]}]}, "rules.0 names no destination 'vna'"),
        (
            {"rules": [{"models": ["opacity"]}], "models": {"enabled": ["lungs"]}},
            "rules.0 names no enabled model 'opacity'",
        ),
        ({"models": {"enabled": "all of them"}}, "models.enabled"),
        ({"models": {"enabled": ["../lungs"]}}, "models.enabled"),
        (
            {"destinations": [{"name": "a", "ae_title": "A"}, {"name": "a", "ae_title": "B"}]},
            "two destinations are called 'a'",
        ),
        ({"rules": [{"destination": ["a"]}]}, "rules.0.destination"),
        ({"destinations": [{"name": "a", "ae_title": "A", "port": 0}]}, "destinations.0.port"),
        (_destination(objects=[]), "destinations.0.objects: Value error, the list is empty"),
        (_destination(objects=["SEG", "SEG"]), "destinations.0.objects: Value error, listed twice: SEG"),
        (_destination(objects=["SEG", "RTSTRUCT"]), "objects.1: Value error, 'RTSTRUCT' is none of SEG, SR, GSPS, SC,"),
        (_destination(objects=["REJECTION"]), "objects.0: Value error, a rejection note goes with what it takes back"),
        (_destination(report_classes=[]), "destinations.0.report_classes: Value error, the list is empty"),
        (_destination(report_classes=["enhanced", "enhanced"]), "listed twice: enhanced"),
        (_destination(report_classes=["basic"]), "destinations.0.report_classes.0"),
        (_destination(fallback="perhaps"), "destinations.0.fallback"),
        (_destination(rejection_notes="sometimes"), "destinations.0.rejection_notes"),
        ({"listener": {"other_storage_classes": ["1.02"]}}, "listener.other_storage_classes.0"),
        ({"listener": {"addresses": ["10.0.0.0/33"]}}, "listener.addresses.0"),
        ({"line": {"jobs": {"attempts": 0}}}, "line.jobs.attempts"),
    ],
)
def test_names_that_fit_nothing_are_refused(sections: dict[str, object], said: str) -> None:
    """A rule that names nobody would send nothing."""
    with pytest.raises(SettingsInvalid) as caught:
        load(**sections)
    assert said in str(caught.value)


@pytest.mark.parametrize("name", ["CXRNODE_NODE_PORT", "CXRNODE_QUIET_SECONDS", "CXRNODE_NOD__PORT"])
def test_a_misspelt_variable_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """It would do nothing, silently."""
    monkeypatch.setenv(name, "1")
    with pytest.raises(SettingsInvalid, match=name):
        load()


def test_a_misspelt_part_of_a_variable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Below a known section too."""
    monkeypatch.setenv("CXRNODE_NODE__PROT", "1")
    with pytest.raises(SettingsInvalid, match=r"node\.prot"):
        load()


def test_a_file_that_is_not_there_or_no_toml_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its path."""
    monkeypatch.setenv("CXRNODE_CONFIG", str(tmp_path / "nowhere.toml"))
    with pytest.raises(SettingsInvalid, match="does not exist"):
        load()
    _file(tmp_path, "[node\nport=1", monkeypatch)
    with pytest.raises(SettingsInvalid, match=r"cxrnode\.toml"):
        load()


def test_destinations_and_rules_become_the_line_s_own_values() -> None:
    """With the defaults of each; @sender is a destination that needs no name."""
    known = {"name": "pacs", "ae_title": " PACS ", "geometry": "strict", "commitment": "required"}
    settings = load(destinations=[known], rules=[{"calling_ae": "CR*", "destinations": ["pacs", "@sender"]}])
    destination = settings.destinations[0].destination()
    assert (destination.ae_title, destination.port, destination.not_analysed) == ("PACS", 104, False)
    assert (destination.geometry, destination.commitment) == (Geometry.STRICT, CommitmentPolicy.REQUIRED)
    assert settings.rules_in_force == (Rule(calling_ae="CR*", destinations=("pacs", "@sender")),)
    assert load(destinations=[known]).rules_in_force == (Rule(destinations=("pacs",)),)


def test_what_a_destination_gets_becomes_the_line_s_own_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By default what Destination itself says; from a file the kinds and classes in their order."""
    plain = load(**_destination(ae_title="A")).destinations[0].destination()
    assert plain == Destination(name="a", ae_title=AETitle("A"), host="127.0.0.1", port=104)
    text = """
[[destinations]]
name = "viewer"
ae_title = "VIEWER"
objects = ["SC", "PAGES", "KOS"]
report_classes = ["enhanced", "comprehensive"]
fallback = false
rejection_notes = "always"
"""
    _file(tmp_path, text, monkeypatch)
    told = load().destinations[0].destination()
    assert told.objects == (Kind.SC, Kind.PAGES, Kind.KOS)
    assert all(isinstance(kind, Kind) for kind in told.objects)
    assert told.report_classes == (ReportClass.ENHANCED, ReportClass.COMPREHENSIVE)
    assert (told.fallback, told.rejection_notes) == (False, RejectionNotes.ALWAYS)


def test_which_models_run_is_a_word_or_a_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a file and from a variable alike; the word leaves it to the bundles' cards."""
    assert load().models.enabled == "default"
    _file(tmp_path, "[models]\nenabled = ['lungs', 'opacity']\n", monkeypatch)
    assert load().models.enabled == ("lungs", "opacity")
    monkeypatch.setenv("CXRNODE_MODELS__ENABLED", "default")
    assert load(rules=[{"models": ["any"]}]).models.enabled == "default"
    monkeypatch.setenv("CXRNODE_MODELS__ENABLED", '["gate"]')
    assert load().models.enabled == ("gate",)


def test_settings_never_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tree is frozen."""
    with pytest.raises(ValidationError):
        load().node.port = 1  # type: ignore[misc]


def test_object_of_an_allowed_size_may_be_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that would refuse its own largest objects for ever does not start, and says which two settings it is."""
    monkeypatch.setenv("CXRNODE_LISTENER__LARGEST_OBJECT_MB", "3000")
    with pytest.raises(SettingsInvalid, match=r"in_flight_mb = 2048 is less than listener\.largest_object_mb = 3000"):
        load()
    monkeypatch.setenv("CXRNODE_LISTENER__IN_FLIGHT_MB", "3000")
    load()
