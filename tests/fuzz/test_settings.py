"""Settings of every kind: a tree that can be worked with, or SettingsInvalid that says why not, and nothing else."""

from __future__ import annotations

import errno
import json
import math
import os
import random
import re
import tomllib
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import BaseModel

from cxrnode import settings
from cxrnode.errors import SettingsInvalid
from cxrnode.settings import Settings, load
from tests.fuzz.mutations import mutated

DOCUMENTED = Path(__file__).resolve().parents[2] / "deploy" / "cxrnode.toml"
EVERYTHING = re.sub(r"^#(?=[\[a-z])", "", DOCUMENTED.read_text(encoding="utf-8"), flags=re.MULTILINE)
VALUES = (
    True, False, 0, 1, -1, 65536, 1 << 31, 1 << 63, 10**30, -(10**400), 0.5, math.inf, -math.inf, math.nan, 1e308,
    5e-324,
    "", " ", "0", "1e400", "inf", "nan", "\0", "\\", "x" * 70000, "../../etc", "\u202e", "\ud7ff", "é", "%s", "$HOME",
    "null", "[]", "{}", "default", "auto", "127.0.0.1", "::", "0.0.0.0/0", "1.2.3", "9" * 5000, [], [[]], [""], [None],
    ["a", 1], {}, {"": {}}, {"a": {"b": {"c": 1}}}, [{}], [{"name": "a", "ae_title": "A"}] * 3,
)  # fmt: skip
"""What stands where something else belongs."""
LONGEST_WAIT = timedelta(days=366_000)
"""Longer than anybody waits; what is longer still does not fit into a date."""


@pytest.fixture(autouse=True)
def _no_settings_around(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("CXRNODE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(settings, "SYSTEM_FILE", Path("nowhere.toml"))


def attempt(tried: Callable[[str, str], None], **overrides: Any) -> None:
    """Load; whatever is loaded can be worked with, whatever is not says why."""
    try:
        loaded = load(**overrides)
    except SettingsInvalid as wrong:
        assert str(wrong).strip()
        tried("settings", "refused, and said why")
        return
    for name, value in numbers(loaded):
        assert math.isfinite(value), name
        assert -(1 << 63) <= value < 1 << 63, name
        if name.endswith("seconds"):
            assert timedelta(seconds=value) < LONGEST_WAIT, name
    assert loaded.rules_in_force
    assert len([destination.destination() for destination in loaded.destinations]) == len(loaded.destinations)
    tried("settings", "loaded")


def numbers(section: BaseModel, above: str = "") -> Iterator[tuple[str, float]]:
    """Give every number of a tree of settings, with its name."""
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            yield from numbers(value, f"{above}{name}.")
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            yield f"{above}{name}", value


def places(tree: dict[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Give the place of each setting and each section."""
    for name, value in tree.items():
        yield (*above, name)
        if isinstance(value, dict):
            yield from places(value, (*above, name))


PLACES = list(places(tomllib.loads(EVERYTHING)))


@pytest.fixture
def chosen(request: pytest.FixtureRequest, inputs: Callable[[int, int], int]) -> list[tuple[str, ...]]:
    """All places in the long form, some in the normal one: others for each value."""
    return random.Random(request.node.name).sample(PLACES, inputs(15, len(PLACES)))


def test_a_mutated_file_is_loaded_or_refused(
    inputs: Callable[[int, int], int],
    tried: Callable[[str, str], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The documented file with every setting in force, damaged anywhere; also into what is no UTF-8 and no TOML."""
    dice, file = random.Random("settings"), tmp_path / "cxrnode.toml"
    monkeypatch.setenv("CXRNODE_CONFIG", str(file))
    lines = [line for line in EVERYTHING.splitlines() if not line.startswith("#")]
    for _ in range(inputs(150, 8000)):
        chosen = [line for line in lines if line.startswith("[") or dice.random() < 0.3]
        file.write_bytes(mutated(dice, "\n".join(chosen).encode(), most=2))
        attempt(tried)


@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
def test_any_value_in_any_place_is_taken_or_refused(
    value: Any, chosen: list[tuple[str, ...]], tried: Callable[[str, str], None]
) -> None:
    """Each setting and each section in turn."""
    for place in chosen:
        tree: Any = value
        for name in reversed(place):
            tree = {name: tree}
        attempt(tried, **tree)


@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
def test_any_variable_is_taken_or_refused(
    value: Any, chosen: list[tuple[str, ...]], tried: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As text and as JSON, in each setting and each section, and one step too deep."""
    for place in (*chosen, ("node", "port", "x"), ("node",) * 40, ("",), ("destinations", "0", "name")):
        name = "CXRNODE_" + "__".join(place).upper()
        for text in {str(value), json.dumps(value)}:
            if "\0" in text:
                continue
            with monkeypatch.context() as one:
                one.setenv(name, text)
                attempt(tried)


@given(
    tree=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from([name for place in PLACES for name in place]) | st.text(max_size=8), inner, max_size=3
            )
        ),
        max_leaves=12,
    )
)
@hypothesis_settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None
)
def test_any_tree_is_taken_or_refused(tree: Any, tried: Callable[[str, str], None]) -> None:
    """Trees of any shape, made of words that settings know."""
    attempt(tried, **(tree if isinstance(tree, dict) else {"node": tree}))


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another encoding, a file of the root's, nothing but brackets: each is named, none ends in a traceback."""
    file = tmp_path / "cxrnode.toml"
    monkeypatch.setenv("CXRNODE_CONFIG", str(file))
    for content in (
        b"\xff\xfe[\0n\0",
        b"[" * 100_000,
        b"a = " + b"[" * 100_000,
        b"a" * 10_000_000,
        b"a." * 5000 + b"b=1",
    ):
        file.write_bytes(content)
        with pytest.raises(SettingsInvalid):
            load()


def test_a_name_that_no_file_can_have_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Too long, a folder, a file below a file."""
    (tmp_path / "file").touch()
    for name in ("x" * 5000, str(tmp_path), str(tmp_path / "file" / "below")):
        monkeypatch.setenv("CXRNODE_CONFIG", name)
        with pytest.raises(SettingsInvalid, match="does not exist"):
            load()


def test_a_file_of_somebody_else_s_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A file that the service's user may not read says so; it was a traceback."""
    (tmp_path / "cxrnode.toml").touch()
    monkeypatch.setenv("CXRNODE_CONFIG", str(tmp_path / "cxrnode.toml"))

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "denied")

    monkeypatch.setattr(Path, "open", denied)
    monkeypatch.setattr("builtins.open", denied)
    with pytest.raises(SettingsInvalid, match="errno 13"):
        load()


@pytest.mark.parametrize("value", ["inf", "nan", "1e300", "1" + "0" * 30])
@pytest.mark.parametrize("place", ["studies.quiet_seconds", "line.jobs.attempts", "listener.maximum_associations"])
def test_a_number_without_use_is_refused_at_its_place(
    place: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TOML has them, and a date, a lock and the ledger have no room for them."""
    section, name = place.rsplit(".", 1)
    (tmp_path / "cxrnode.toml").write_text(f"[{section}]\n{name} = {value}\n", encoding="utf-8")
    monkeypatch.setenv("CXRNODE_CONFIG", str(tmp_path / "cxrnode.toml"))
    with pytest.raises(SettingsInvalid, match=f"{place}: "):
        load()


def test_what_the_documents_say_is_loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The control: undamaged, with the variable that opens it, the same text is taken."""
    file = tmp_path / "cxrnode.toml"
    file.write_text("[node]\nport = 104\n", encoding="utf-8")
    monkeypatch.setenv("CXRNODE_CONFIG", str(file))
    assert isinstance(load(), Settings)
    assert load().node.port == 104
