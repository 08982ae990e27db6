"""Bundles are read and never run, and no weight is used before it is checked."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cxrnode.errors import ModelAltered, NeedsOperator
from cxrnode.inference.bundle import INFERENCE, METADATA, WEIGHTS, Network, check_size, read_card, verify
from cxrnode.inference.card import Kind
from cxrnode.inference.configuration import Configuration, read_configuration, resolve
from cxrnode.inference.engine import depends_on_threads
from cxrnode.inference.network import build_network
from tests.fakes.bundle import write_tiny_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A whole bundle around a small network with seeded weights."""
    return write_tiny_bundle(tmp_path / "small", seed=5)


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def pin(bundle: Path) -> None:
    found = hashlib.sha256((bundle / WEIGHTS).read_bytes()).hexdigest()
    edit(bundle / METADATA, lambda content: content["cxrnode"].update(weights_sha256=found))


def saved(held: object) -> bytes:
    file = io.BytesIO()
    torch.save(held, file)
    return file.getvalue()


def pictures(count: int, size: int = 64) -> np.ndarray:
    return np.random.default_rng(1).random((count, 1, size, size), dtype=np.float32)


def test_card_says_what_the_bundle_says(bundle: Path) -> None:
    """Name, version, channels in order, input size and operating points come from the metadata."""
    card = read_card(bundle)
    assert (card.name, card.version, card.input_size) == ("tiny", "0.0.1", 64)
    assert card.channels == ("right_lung", "left_lung", "heart")
    assert card.thresholds == (0.5, 0.5, 0.5)
    assert (card.intended_use, card.kind, card.labels) == ("tests", "segmentation", card.channels)


def test_reading_a_card_does_not_import_torch(bundle: Path) -> None:
    """`cxrnode models list` must be quick."""
    code = (
        "import sys; from pathlib import Path; from cxrnode.inference.bundle import verify; verify(Path(sys.argv[1]));"
        "sys.exit('torch' in sys.modules or 'monai' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    assert subprocess.run([sys.executable, "-c", code, str(bundle)], env=environment, check=False).returncode == 0


def test_altered_weights_are_refused_before_they_are_loaded(bundle: Path) -> None:
    """One changed byte is another model."""
    content = bytearray((bundle / WEIGHTS).read_bytes())
    content[len(content) // 2] ^= 1
    (bundle / WEIGHTS).write_bytes(content)
    for use in (verify, Network.load):
        with pytest.raises(ModelAltered, match="SHA-256"):
            use(bundle)


def test_weights_that_run_code_when_unpickled_are_refused(bundle: Path, tmp_path: Path) -> None:
    """Even pinned weights may hold tensors only."""

    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (os.mkdir, (str(tmp_path / "trapped"),))

    torch.save({"weight": Trap()}, bundle / WEIGHTS)
    pin(bundle)
    with pytest.raises(NeedsOperator, match="more than tensors") as caught:
        Network.load(bundle)
    assert "weights_only" not in str(caught.value), "torch's text tells how to load it all the same"
    assert not (tmp_path / "trapped").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda net: net.update(features=[8, 8, 8, 8, 8, 16]), r"upcat_1.*weight is \(8, 16, 3, 3\), not \(16, 16, 3"),
        (lambda net: net.update(_target_="UNet", channels=[8, 8], strides=[2], features=None), "built"),
        (lambda net: net.update(norm="batch"), r"they lack conv_0\.conv_0\.adn\.N\.num_batches_tracked"),
        (lambda net: net.update(norm="layer"), "built"),
        (lambda net: net.update(norm=["instance", {"affine": False}]), r"it has no conv_0\.conv_0\.adn\.N\.bias"),
    ],
)
def test_weights_of_another_network_are_refused(
    bundle: Path, change: Callable[[dict[str, Any]], object], said: str
) -> None:
    """A state dict must fit exactly; whoever brought it reads where it does not."""
    edit(bundle / INFERENCE, lambda content: change(content["network_def"]))
    with pytest.raises(NeedsOperator, match=said):
        Network.load(bundle)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"version https://git-lfs.github.com/spec/v1\n",
        b"\x80\x02.",
        b"\x80\x02X\x05\x00\x00\x00\xff\xff\xff\xff\xff.",
        saved([torch.zeros(2)]),
        saved({"model": 3}),
        saved({"epoch": 1, "model": {}}),
        saved({1: torch.zeros(2)}),
    ],
)
def test_weights_that_are_no_state_dict_are_refused(bundle: Path, content: bytes) -> None:
    """Whatever the file holds, the operator reads a sentence and no traceback."""
    (bundle / WEIGHTS).write_bytes(content)
    pin(bundle)
    with pytest.raises(
        NeedsOperator, match=r"small/models/model\.pt: the weights (are no state dict|hold more than tensors)"
    ):
        Network.load(bundle)


def test_weights_that_would_grow_are_refused(bundle: Path) -> None:
    """torch.save stores; a compressed file of a page may hold more than there is memory."""
    with zipfile.ZipFile(bundle / WEIGHTS) as stored:
        parts = {entry: stored.read(entry) for entry in stored.namelist()}
    with zipfile.ZipFile(bundle / WEIGHTS, "w", zipfile.ZIP_DEFLATED) as compressed:
        for name, part in parts.items():
            compressed.writestr(name, part + b"\0" * 100_000)
    pin(bundle)
    with pytest.raises(NeedsOperator, match="file is compressed"):
        Network.load(bundle)


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero"), Path.mkdir])
def test_weights_are_a_file(bundle: Path, make: Callable[[Path], None]) -> None:
    """A pipe would be waited for, and a device has no end."""
    (bundle / WEIGHTS).unlink()
    make(bundle / WEIGHTS)
    with pytest.raises(NeedsOperator, match=r"small/models/model\.pt: the bundle lacks a file"):
        verify(bundle)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda net: net.update(norm="$__import__('os').abort()"), "expression"),
        (lambda net: net.update(norm="%other.json#norm"), "elsewhere"),
        (lambda net: net.update(_mode_="debug"), "steers"),
        (lambda net: net.update(norm="@nowhere#at#all"), "nowhere"),
        (lambda net: net.update(norm="@network_def#norm"), "circle"),
        (lambda net: net.update(_target_="os.system"), "not allowed"),
        (lambda net: net.update(_target_="monai.networks.nets.AHNet"), "not allowed"),
        (lambda net: net.update(_target_="evil.UNet"), "not allowed"),
        (lambda net: net.update(colour="red"), r"cannot be built .*unexpected keyword argument 'colour'"),
        (lambda net: net.update(features=[-8] * 6), r"cannot be built .*negative"),
        (lambda net: net.update(features=[1_000_000_000] * 6), "cannot be built"),
        (lambda net: net.update(spatial_dims=7), "cannot be built"),
        (lambda net: net.pop("_target_"), "not allowed"),
    ],
)
def test_a_configuration_that_would_run_anything_else_is_refused(
    bundle: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    """Expressions, macros, steering keys, loose or circular references, and targets outside the table."""
    edit(bundle / INFERENCE, lambda content: change(content["network_def"]))
    with pytest.raises(NeedsOperator, match=message) as caught:
        Network.load(bundle)
    assert "docs/operations.md" in str(caught.value)


def test_pretrained_weights_from_elsewhere_are_refused() -> None:
    """No constructor fetches anything."""
    with pytest.raises(NeedsOperator, match="pretrained"):
        build_network(
            {"_target_": "DenseNet121", "spatial_dims": 2, "in_channels": 1, "out_channels": 2, "pretrained": True}
        )


def test_references_are_replaced_by_what_they_name() -> None:
    """`@` follows objects and lists, through further references, within the file."""
    content = {"widths": [4, "@small#0"], "small": [8], "net": {"channels": "@widths", "first": "@widths::0"}}
    assert resolve(configured(content), "net") == {"channels": [4, 8], "first": 4}


def configured(content: dict[str, Any]) -> Configuration:
    return Configuration(file="inference.json", text=json.dumps(content, indent=1), content=content)


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000])
def test_a_broken_configuration_is_named(tmp_path: Path, text: str) -> None:
    """The operator learns which file cannot be read."""
    (tmp_path / "metadata.json").write_text(text)
    with pytest.raises(NeedsOperator, match=r"metadata\.json"):
        read_configuration(tmp_path / "metadata.json")


def test_a_card_without_an_operating_point_is_refused(bundle: Path) -> None:
    """No probability is cut at a point that nobody chose."""
    edit(bundle / METADATA, lambda content: content["cxrnode"]["operating_points"].pop("heart"))
    with pytest.raises(NeedsOperator, match="heart"):
        read_card(bundle)


def test_a_folder_that_is_no_bundle_is_named(tmp_path: Path) -> None:
    """An empty folder gives an error with a hint, not a traceback of a missing file."""
    with pytest.raises(NeedsOperator, match="lacks a file"):
        read_card(tmp_path)


def test_a_network_larger_than_its_weights_is_refused_before_it_is_made(bundle: Path) -> None:
    """Else a line of text takes all memory there is."""
    check_size(bundle)
    edit(bundle / INFERENCE, lambda content: content["network_def"].update(features=[20_000] * 6))
    with pytest.raises(NeedsOperator, match=r"the network has \d{11} numbers, and its weights' file \d{5} bytes"):
        check_size(bundle)


def test_digest_follows_what_changes_an_answer_and_nothing_else(bundle: Path) -> None:
    """An operating point or a weight makes another model; a published metric or a changed sentence does not."""
    before = read_card(bundle).digest
    edit(bundle / METADATA, lambda content: content.update(eval_metrics={"dice": 0.9}, description="better words"))
    assert read_card(bundle).digest == before
    edit(bundle / METADATA, lambda content: content["cxrnode"]["operating_points"].update(heart=0.4))
    other_point = read_card(bundle).digest
    edit(bundle / METADATA, lambda content: content["cxrnode"].update(weights_sha256="0" * 64))
    assert len({before, other_point, read_card(bundle).digest}) == 3


def test_an_answer_does_not_depend_on_the_batch(bundle: Path) -> None:
    """Bit for bit: alone and among eight."""
    batch = pictures(8)
    network = Network.load(bundle, threads=1)
    together = network.predict(batch)
    assert np.array_equal(together, np.concatenate([network.predict(batch[index : index + 1]) for index in range(8)]))


@pytest.mark.parametrize(("kind", "depends"), [("segmentation", True), ("classification", False)])
def test_threads_that_change_an_answer_are_noticed(tmp_path: Path, kind: Kind, depends: bool) -> None:
    """A BasicUNet sums in another order with two threads, our gate does not: the first one runs with one."""
    network = Network.load(write_tiny_bundle(tmp_path, kind=kind))
    assert depends_on_threads(network, 2) is depends
    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)


def test_an_answer_is_a_probability_for_each_channel(bundle: Path) -> None:
    """(N, C, S, S), float32, 0 to 1."""
    answer = Network.load(bundle).predict(pictures(2))
    assert answer.shape == (2, 3, 64, 64)
    assert answer.dtype == np.float32
    assert 0.0 <= answer.min() <= answer.max() <= 1.0


def test_a_picture_of_another_size_is_refused(bundle: Path) -> None:
    """The card states the input, and nothing else goes in."""
    with pytest.raises(ValueError, match="takes"):
        Network.load(bundle).predict(pictures(1, size=32))
