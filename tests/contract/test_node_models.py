"""What a node says of its bundles before its port opens."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cxrnode.errors import ModelAltered, NeedsOperator
from cxrnode.node import bundle_folders
from cxrnode.settings import Settings, load

SHIPPED = Path(__file__).parents[2] / "models" / "lungs"


def _settings(folder: Path) -> Settings:
    return load(models={"folder": folder, "enabled": ["lungs"]})


def test_an_altered_model_is_found_before_the_port_opens(tmp_path: Path) -> None:
    """One flipped bit in the weights, and the node refuses to start; the bundle as it was shipped is taken."""
    shutil.copytree(SHIPPED, tmp_path / "lungs")
    assert bundle_folders(_settings(tmp_path)) == {"lungs": tmp_path / "lungs"}
    weights = tmp_path / "lungs" / "models" / "model.pt"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ModelAltered):
        bundle_folders(_settings(tmp_path))


def test_an_enabled_model_without_a_bundle_is_named(tmp_path: Path) -> None:
    """The error says which model, and which settings to look at."""
    with pytest.raises(NeedsOperator, match="lungs") as error:
        bundle_folders(_settings(tmp_path))
    assert "models.folder" in error.value.hint
