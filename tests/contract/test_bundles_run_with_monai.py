"""The bundles that ship are bundles to MONAI too: its own command takes each of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cxrnode.inference.bundle import INFERENCE, METADATA, NETWORK, read_card
from cxrnode.inference.card import Kind
from tests.fakes.bundle import write_tiny_bundle

REPOSITORY = Path(__file__).parents[2]
SHIPPED = sorted(path.parents[1] for path in (REPOSITORY / "models").glob(f"*/{METADATA}"))


def verified(bundle: Path) -> subprocess.CompletedProcess[str]:
    """Run what a person with MONAI would run; it needs no network."""
    files = {"--meta_file": bundle / METADATA, "--config_file": bundle / INFERENCE}
    command = [sys.executable, "-m", "monai.bundle", "verify_net_in_out", NETWORK, "--device", "cpu"]
    command += [str(part) for pair in files.items() for part in pair]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.parametrize("bundle", SHIPPED, ids=lambda path: path.name)
def test_monai_verifies_a_shipped_bundle(bundle: Path) -> None:
    """What the metadata promise of input and output is what the network does."""
    done = verified(bundle)
    assert done.returncode == 0, done.stderr
    assert "verified with no error" in done.stdout + done.stderr


@pytest.mark.parametrize("bundle", SHIPPED, ids=lambda path: path.name)
def test_a_shipped_bundle_is_named_as_its_folder_and_has_its_licence(bundle: Path) -> None:
    """Settings name folders, objects name cards; what the training films demand goes with the weights."""
    assert read_card(bundle).name == bundle.name
    assert (bundle / "LICENSE").stat().st_size > 0
    assert (bundle / "docs" / "README.md").stat().st_size > 0


@pytest.mark.parametrize("kind", ["classification", "detection"])
def test_monai_verifies_every_kind_and_sees_a_false_promise(tmp_path: Path, kind: Kind) -> None:
    """Also kinds that answer with no map; a card with a channel too many fails."""
    bundle = write_tiny_bundle(tmp_path, kind=kind)
    assert verified(bundle).returncode == 0
    metadata = bundle / METADATA
    metadata.write_text(metadata.read_text().replace('"pred": {"num_channels": ', '"pred": {"num_channels": 1'))
    assert "channel number" in verified(bundle).stderr
