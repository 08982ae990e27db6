"""Bundles as nobody should publish them: read, or refused with an error of ours; none of their text is run."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cxrnode.errors import CxrnodeError, NeedsOperator
from cxrnode.inference.bundle import read_card
from cxrnode.inference.configuration import read_configuration, resolve
from cxrnode.inference.network import build_network, count_numbers
from tests.fuzz.mutations import mutated

pytestmark = pytest.mark.filterwarnings("ignore")

LUNGS = Path(__file__).resolve().parents[2] / "models" / "lungs"
MARK = "run-by-a-bundle"
VALUES = (
    None, True, -1, 0, 10**30, 1e308, float("nan"), float("inf"), "", "x" * 5000, [], {}, [[[[]]]],
    {"_target_": "os.system"},
    f"$open('{MARK}', 'w')", "$__import__('os')", "@network_def", "@network_def#nothing", "@", "$", "$1 + ", "%x",
    "$@network_def * 9999999", "$" + "(" * 5000, "$9 ** 9 ** 9", "$'a' * 10**10", "../../../etc/passwd", "\0", "\ud800",
)  # fmt: skip
NETWORK = "network_def"
MOST_NUMBERS = 100_000_000


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the lungs' bundle, without its weights, and a folder in which nothing may appear."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(LUNGS / "configs", tmp_path / "bundle" / "configs")
    return tmp_path / "bundle"


def read(bundle: Path, tried: Callable[[str, str], None]) -> None:
    """Read card and configuration and build the network; only errors of ours come out."""
    for step in (read_card, _built):
        try:
            step(bundle)
        except CxrnodeError as error:
            str(error).encode()
            tried("bundles", f"refused by {type(error).__name__}")
        else:
            tried("bundles", "read")


def _built(bundle: Path) -> object:
    """As the program does: one with more numbers than its weights' file has bytes is not built."""
    configuration = read_configuration(bundle / "configs" / "inference.json")
    definition, place = resolve(configuration, NETWORK), configuration.place((NETWORK, "_target_"))
    return count_numbers(definition, place=place) < MOST_NUMBERS and build_network(definition, place=place)


def places(tree: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Give the place of everything in a JSON document."""
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [place for name, value in inner for place in ((*above, name), *places(value, (*above, name)))]


def replaced(tree: Any, place: tuple[Any, ...], value: Any) -> Any:
    """Give a document with another value at a place."""
    changed = json.loads(json.dumps(tree))
    inner = changed
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    return changed


@pytest.mark.parametrize("name", ["metadata.json", "inference.json"])
def test_a_bundle_of_any_values_is_read_or_refused(
    name: str, bundle: Path, inputs: Callable[[int, int], int], tried: Callable[[str, str], None]
) -> None:
    """Any value in any place of its documents."""
    dice, file = random.Random(f"values {name}"), bundle / "configs" / name
    whole = json.loads(file.read_text(encoding="utf-8"))
    everywhere = places(whole)
    for _ in range(inputs(60, 3000)):
        file.write_text(json.dumps(replaced(whole, dice.choice(everywhere), dice.choice(VALUES))), encoding="utf-8")
        read(bundle, tried)
    assert not (bundle.parent / MARK).exists()


@pytest.mark.parametrize("name", ["metadata.json", "inference.json"])
def test_a_damaged_document_is_read_or_refused(
    name: str, bundle: Path, inputs: Callable[[int, int], int], tried: Callable[[str, str], None]
) -> None:
    """Damaged bytes, also into what is no JSON and no UTF-8."""
    dice, file = random.Random(f"damage {name}"), bundle / "configs" / name
    content = file.read_bytes()
    for _ in range(inputs(60, 3000)):
        file.write_bytes(mutated(dice, content, most=2))
        read(bundle, tried)
    assert not (bundle.parent / MARK).exists()


@pytest.mark.parametrize(
    "content", [b"", b"[" * 100_000, b'{"a":' * 100_000, b"9" * 100_000, b"\xff\xfe", b"null", b"[]"]
)
def test_a_document_that_is_none_is_refused(content: bytes, bundle: Path) -> None:
    """Nothing, brackets without end, a number longer than any, another encoding."""
    for name in ("metadata.json", "inference.json"):
        kept = (bundle / "configs" / name).read_bytes()
        (bundle / "configs" / name).write_bytes(content)
        with pytest.raises(CxrnodeError):
            read_card(bundle)
            _built(bundle)
        (bundle / "configs" / name).write_bytes(kept)


@pytest.mark.parametrize("layers", [10**5, 10**30])
def test_a_network_without_end_is_refused(layers: int, bundle: Path) -> None:
    """MONAI builds as many units as it is told to: it filled the memory before anything counted them."""
    file = bundle / "configs" / "inference.json"
    whole = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps(replaced(whole, (NETWORK, "num_res_units"), layers)), encoding="utf-8")
    with pytest.raises(NeedsOperator, match="more than 10000 layers"):
        _built(bundle)


def test_a_sound_bundle_is_read(bundle: Path) -> None:
    """The control."""
    assert read_card(bundle).name == "lungs"
    assert _built(bundle)
