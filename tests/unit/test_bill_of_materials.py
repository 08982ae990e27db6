"""`make audit` and `make sbom`: the tools' own lock, and what stands on the bill besides the locked packages."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cxrnode.inference.bundle import read_card
from cxrnode.inference.shelf import bundles_in

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "deploy" / "sbom.py"


def bill(tmp_path: Path, root: Path = ROOT) -> dict[str, dict[str, object]]:
    """Run the script as `make sbom` does; give the components by name."""
    packages = tmp_path / "packages.json"
    packages.write_text(json.dumps({"bomFormat": "CycloneDX", "components": [{"name": "pydicom", "type": "library"}]}))
    command = [sys.executable, "-I", root / "deploy" / "sbom.py", packages]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    whole = json.loads(done.stdout)
    assert whole["bomFormat"] == "CycloneDX"
    return {one["name"]: one for one in whole["components"]}


def test_the_bill_names_every_model_with_the_digest_that_its_card_pins(tmp_path: Path) -> None:
    """The models are delivered with the program; PyTorch is pinned beside the lock."""
    components = bill(tmp_path)
    models = {name: one for name, one in components.items() if one["type"] == "machine-learning-model"}
    cards = {name: read_card(folder) for name, folder in bundles_in(ROOT / "models").items()}
    assert set(models) == set(cards) and len(cards) >= 5
    for name, card in cards.items():
        assert models[name]["hashes"] == [{"alg": "SHA-256", "content": card.weights_sha256}]
        assert models[name]["version"] == card.version
    assert {"pydicom", "torch"} <= set(components)


def test_weights_that_are_not_the_pinned_ones_are_on_no_bill(tmp_path: Path) -> None:
    """A bill that names what is not delivered would be worse than none."""
    copy = tmp_path / "copy"
    shutil.copytree(ROOT / "models" / "lungs", copy / "models" / "lungs")
    (copy / "deploy").mkdir()
    for name in ("sbom.py", "torch.txt"):
        shutil.copy(ROOT / "deploy" / name, copy / "deploy" / name)
    bill(tmp_path, copy)
    weights = copy / "models" / "lungs" / "models" / "model.pt"
    weights.write_bytes(weights.read_bytes() + b"\0")
    with pytest.raises(subprocess.CalledProcessError):
        bill(tmp_path, copy)


def test_the_script_needs_nothing_but_the_standard_library() -> None:
    """It runs in the environment of the tools, where nothing of ours is installed."""
    imported = re.findall(r"^(?:from|import) (\w+)", SCRIPT.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(imported) <= sys.stdlib_module_names
    assert importlib.util.spec_from_file_location("sbom", SCRIPT) is not None


def test_the_tools_have_a_lock_with_hashes_of_their_own() -> None:
    """They are installed where they audit, so they are as trustworthy as the program's own packages."""
    text = (ROOT / "deploy" / "tools.lock").read_text(encoding="utf-8")
    entries = re.findall(r"^([a-z0-9.-]+)==\S+ \\\n((?: {4}--hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", text, re.MULTILINE)
    rest = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE)
    assert {"pip-audit", "cyclonedx-bom"} <= {name for name, _ in entries}
    assert len(entries) == len(re.findall(r"==", rest))
    assert "://" not in text
