"""`cxrnode models add`: what is tried before somebody else's bundle lies among the models."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from cxrnode.errors import CxrnodeError, ModelAltered, NeedsOperator
from cxrnode.evidence.codes import UnknownConcept
from cxrnode.inference.bundle import METADATA, Network
from cxrnode.inference.shelf import bundles_in
from cxrnode.node import enabled_models
from cxrnode.settings import Settings, load
from cxrnode.trial import candidate
from tests.fakes.bundle import write_tiny_bundle

INFERENCE = Path("configs/inference.json")


@pytest.fixture
def in_force(tmp_path: Path) -> Settings:
    """Settings whose folder of models holds one bundle that runs by default."""
    write_tiny_bundle(tmp_path / "models" / "own")
    return load(models={"folder": tmp_path / "models"}, inference={"device": "cpu"})


def _zoo(folder: Path, labels: tuple[str, ...] = ("pneumothorax",), **changes: Any) -> Path:
    """Write a bundle as the Model Zoo has them: a licence, a model, metadata without a word for this program."""
    outputs = changes.pop("outputs", len(labels))
    write_tiny_bundle(folder, outputs=outputs, change=changes.pop("change", lambda network: None))
    metadata = json.loads((folder / METADATA).read_text())
    del metadata["cxrnode"]
    metadata["network_data_format"]["outputs"]["pred"] |= {
        "format": "segmentation",
        "num_channels": len(labels),
        "channel_def": {str(index): label for index, label in enumerate(labels)},
    }
    (folder / METADATA).write_text(json.dumps(metadata | changes, indent=2))
    (folder / "LICENSE").write_text("Apache License\nVersion 2.0, January 2004\n")
    (folder / "scripts").mkdir()
    (folder / "scripts" / "surprise.py").write_text("raise SystemExit('this ran')\n")
    return folder


def _sure(network: torch.nn.Module) -> None:
    """Make the last layer say yes everywhere."""
    last = [parameter for name, parameter in network.named_parameters() if name.endswith("bias")][-1]
    torch.nn.init.constant_(last, 8.0)


def test_a_bundle_of_the_model_zoo_is_tried_shown_and_put_there_switched_off(
    in_force: Settings, tmp_path: Path
) -> None:
    """Its block is proposed, the line writes a SEG and an SR of the phantom, and the node goes on as before."""
    source, folder = _zoo(tmp_path / "zoo" / "air", change=_sure), in_force.models.folder
    before = {path: path.read_bytes() for path in source.rglob("*") if path.is_file()}
    with candidate(in_force, source, name="air") as tried:
        assert tried.bundle.made
        assert list(bundles_in(folder)) == ["own"], "it is seen before it was tried"
        trial = tried.run(tmp_path / "shown")
        tried.put()
    assert sorted(one.kind for one in trial.evidence) == ["SEG", "SR"]
    assert any("Pneumothorax (36118008, SCT)" in line for one in trial.evidence for line in one.states)
    assert trial.overlay is not None
    assert trial.overlay.is_file()
    assert trial.refused == ""
    card = json.loads((folder / "air" / METADATA).read_text())["cxrnode"]
    assert (card["operating_points"], card["enabled_by_default"]) == ({"pneumothorax": 0.5}, False)
    assert enabled_models(in_force) == ("own",)
    assert sorted(path.name for path in folder.iterdir()) == ["air", "own"]
    assert sorted(path.name for path in (folder / "air").iterdir()) == ["LICENSE", "configs", "models"]
    assert {path: path.read_bytes() for path in source.rglob("*") if path.is_file()} == before


def _changed(file: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content, indent=2))


def _forbidden(folder: Path) -> None:
    _changed(folder / INFERENCE, lambda content: content["network_def"].update(_target_="os.system", command="true"))


def _expression(folder: Path) -> None:
    _changed(folder / INFERENCE, lambda content: content["network_def"].update(out_channels="$__import__('os')"))


def _unlicensed(folder: Path) -> None:
    (folder / "LICENSE").unlink()


def _folder(folder: Path) -> None:
    (folder / "LICENSE").unlink()
    (folder / "LICENSE").mkdir()


def _linked(folder: Path) -> None:
    (folder / "docs").mkdir()
    (folder / "docs" / "secret").symlink_to("/etc/hostname")


def _unpinned(folder: Path) -> None:
    block = {"name": "x", "licence": "x", "operating_points": {"pneumothorax": 0.5}, "weights_sha256": "0" * 64}
    _changed(folder / METADATA, lambda content: content.update(cxrnode=block))


def _device(folder: Path) -> None:
    (folder / INFERENCE).unlink()
    (folder / INFERENCE).symlink_to("/dev/zero")


def _pipe(folder: Path) -> None:
    (folder / "docs").mkdir()
    os.mkfifo(folder / "docs" / "page")


def _huge(folder: Path) -> None:
    _changed(folder / INFERENCE, lambda content: content["network_def"].update(features=[20_000] * 6))


def _undescribed(folder: Path) -> None:
    _changed(folder / METADATA, lambda content: content["network_data_format"].pop("outputs"))


def _background(folder: Path) -> None:
    output = {"num_channels": 2, "channel_def": {"0": "background", "1": "right_lung"}}
    _changed(folder / METADATA, lambda content: content["network_data_format"]["outputs"]["pred"].update(output))


def _formless(folder: Path) -> None:
    _changed(folder / METADATA, lambda content: content["network_data_format"]["outputs"]["pred"].pop("format"))


@pytest.mark.parametrize(
    ("spoil", "error", "said"),
    [
        (_forbidden, NeedsOperator, r"inference.json, line 3: os.system: the bundle names a network that is not"),
        (_expression, NeedsOperator, r"inference.json, line 6"),
        (_unlicensed, NeedsOperator, "says nothing of its licence"),
        (_folder, NeedsOperator, "says nothing of its licence"),
        (_linked, NeedsOperator, "docs/secret: the bundle holds a link"),
        (_unpinned, ModelAltered, "pinned is 000000000000"),
        (_formless, NeedsOperator, "say which with --kind"),
        (_device, NeedsOperator, "configs/inference.json: the bundle holds a link"),
        (_pipe, NeedsOperator, "docs/page: the bundle holds a link, a pipe or a device"),
        (_huge, NeedsOperator, r"inference.json, line 3: the network has \d+ numbers"),
        (_undescribed, NeedsOperator, r"metadata.json, line \d+: 'outputs' is missing"),
        (_background, NeedsOperator, "a sigmoid for each channel, and no channel 'background'"),
    ],
)
def test_what_is_wrong_with_a_bundle_is_named_and_nothing_is_left_of_it(
    in_force: Settings, tmp_path: Path, spoil: Callable[[Path], None], error: type[CxrnodeError], said: str
) -> None:
    """By file and line where it is the configuration; the folder of models is as it was."""
    source = _zoo(tmp_path / "zoo" / "air")
    spoil(source)
    with pytest.raises(error, match=said), candidate(in_force, source, name="air") as tried:
        tried.run(tmp_path / "shown")
    assert [path.name for path in in_force.models.folder.iterdir()] == ["own"]


@pytest.mark.parametrize(
    ("labels", "outputs", "error", "said"),
    [
        (("spleen",), 1, UnknownConcept, "the segment label 'spleen' has no coded concept"),
        (("right_lung", "heart"), 3, NeedsOperator, "does not give what metadata.json says"),
    ],
)
def test_labels_and_form_are_what_evidence_can_state(
    in_force: Settings, tmp_path: Path, labels: tuple[str, ...], outputs: int, error: type[CxrnodeError], said: str
) -> None:
    """A label without a code and a network of another form are refused before the line runs."""
    source = _zoo(tmp_path / "zoo" / "air", labels, outputs=outputs)
    with pytest.raises(error, match=said), candidate(in_force, source, name="air") as tried:
        tried.run(tmp_path / "shown")


def test_a_kind_that_the_output_is_not_is_refused(in_force: Settings, tmp_path: Path) -> None:
    """A detection's last channels are corners."""
    source = _zoo(tmp_path / "zoo" / "air")
    said = "the last channels of a detection are left"
    with pytest.raises(NeedsOperator, match=said), candidate(in_force, source, name="air", kind="detection"):
        pass


def test_a_network_that_fails_without_a_word_is_refused(
    in_force: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An assertion has no text, and a network that gives several maps has no shape."""

    def fails(network: Network, batch: object) -> None:
        raise AssertionError

    monkeypatch.setattr(Network, "predict", fails)
    source = _zoo(tmp_path / "zoo" / "air")
    with candidate(in_force, source, name="air") as tried, pytest.raises(NeedsOperator, match="AssertionError"):
        tried.run(tmp_path / "shown")


def test_what_a_killed_trial_left_is_in_nobodys_way(in_force: Settings, tmp_path: Path) -> None:
    """In a container the next one has the same process number."""
    (in_force.models.folder / f".adding-{os.getpid()}").mkdir()
    with candidate(in_force, _zoo(tmp_path / "zoo" / "air"), name="air") as tried:
        assert tried.bundle.made


def test_a_bundle_that_was_not_tried_is_not_put_there(in_force: Settings, tmp_path: Path) -> None:
    """Nor one whose name is taken."""
    source = _zoo(tmp_path / "zoo" / "air")
    with candidate(in_force, source, name="own") as tried:
        with pytest.raises(NeedsOperator, match="was not tried"):
            tried.put()
        with pytest.raises(NeedsOperator, match="a bundle of that name is there"):
            tried.check_room(replace=False)
        tried.check_room(replace=True)


@pytest.mark.parametrize("name", ["../own", ".hidden", "two words", ""])
def test_a_name_that_is_no_folder_name_is_refused(in_force: Settings, tmp_path: Path, name: str) -> None:
    """It would lie somewhere else."""
    source = _zoo(tmp_path / "zoo" / "air")
    with pytest.raises(NeedsOperator, match="a bundle's name"), candidate(in_force, source, name=name):
        pass
