"""Training on tiny copies of every published data set: what each can teach, what it cannot, and a run cut off."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from cxrnode.errors import NeedsOperator
from cxrnode.inference.bundle import METADATA, Network, read_card
from cxrnode.training.recipe import Recipe, find_recipe
from cxrnode.training.trainer import Report, train
from tests import crowds
from tests.fakes.bundle import write_tiny_bundle

CXRNODE = Path(sys.executable).parent / "cxrnode"

CLASSIFIER = """size = 64
[network]
_target_ = "monai.networks.nets.Classifier"
in_shape = [1, 64, 64]
classes = {classes}
channels = [4, 8]
strides = [4, 4]
norm = "BATCH"
[init]
from = "scratch"
frozen_stages = 0
"""

SMALL = {
    "lungs": "size = 64\n[network]\nchannels = [4, 8, 8]\nstrides = [2, 2]\n",
    "classifier": CLASSIFIER.format(classes=7),
    "opacity": """size = 64
[network]
size = 64
width = 16
anchor_sizes = [[12.0], [24.0]]
[init]
from = "scratch"
frozen_stages = 0
""",
    "pneumothorax": """size = 64
[network]
_target_ = "monai.networks.nets.BasicUNet"
spatial_dims = 2
in_channels = 1
out_channels = 1
features = [4, 4, 4, 4, 4, 4]
[init]
from = "scratch"
frozen_stages = 0
""",
    "gate": CLASSIFIER.format(classes=4),
}
"""Each model's own recipe with a network that is learnt in a blink: TOML that extends it."""

TEACHES: Mapping[str, tuple[str, ...]] = {
    "COVID-19_Radiography_Dataset": ("lungs", "classifier", "gate"),
    "siim": ("pneumothorax", "gate"),
    "siim-png-runs": ("pneumothorax", "gate"),
    "siim-png-masks": ("pneumothorax", "gate"),
    "rsna": ("opacity", "classifier", "gate"),
    "JSRT": ("lungs", "gate"),
    "MontgomerySet": ("lungs", "gate"),
    "ChinaSet_AllFiles": ("lungs", "gate"),
    "NIH": ("opacity", "classifier", "pneumothorax", "gate"),
    "ChestX-Det": ("opacity", "gate"),
    "chest_xray": ("classifier", "gate"),
    "covid-chestxray-dataset": ("classifier", "gate"),
    "gathered": ("lungs", "classifier", "opacity", "pneumothorax", "gate"),
}


class Site:
    """Copies of the data sets, small recipes, and a lungs' bundle that was never trained."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for model, text in SMALL.items():
            (folder / f"{model}-small.toml").write_text(f'extends = "{model}"\n{text}')
        self.bundles = write_tiny_bundle(folder / "models" / "lungs").parent

    def data(self, layout: str) -> Path:
        """Give a copy of a data set."""
        copy = self.folder / layout
        if not copy.is_dir():
            crowds.WRITERS[layout](copy)
        return copy

    def recipe(self, model: str) -> Recipe:
        """Give a model's small recipe."""
        return find_recipe(str(self.folder / f"{model}-small.toml"))

    def train(self, model: str, layout: str, out: Path, report: Report = lambda line: None) -> Path:
        """Train for two steps with a look after each; give the bundle."""
        given = {"steps": 2, "batch": 4, "validate_every": 1, "threads": 1, "device": "cpu", "bundles": self.bundles}
        return train(self.recipe(model), self.data(layout), out, given, report).bundle


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """One site for all tests."""
    return Site(tmp_path_factory.mktemp("site"))


@pytest.mark.parametrize(("layout", "model"), [(layout, model) for layout in TEACHES for model in TEACHES[layout]])
def test_every_published_layout_teaches_what_it_can(site: Site, tmp_path: Path, layout: str, model: str) -> None:
    """Two steps and two looks: a run folder that tells the story, and a bundle that the node reads and asks."""
    bundle = site.train(model, layout, tmp_path)
    looks = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [look["step"] for look in looks] == [1, 2]
    assert all(0.0 <= look["score"] <= 1.0 and look["loss"] > 0.0 for look in looks)
    assert {"options.json", "curves.png", "checkpoint.pt", "best.pt"} <= {path.name for path in tmp_path.iterdir()}
    network = Network.load(bundle)
    assert (network.card.name, network.card.input_size) == (model, 64)
    assert tuple(network.card.channels)[: len(site.recipe(model).channels)] == site.recipe(model).channels


@pytest.mark.parametrize("model", SMALL)
def test_a_run_of_each_kind_that_was_cut_off_ends_as_if_it_had_not_been(site: Site, tmp_path: Path, model: str) -> None:
    """Stopped after the first look and begun again: the weights of a run in one go, to the bit."""

    def stop_at_first_look(line: dict[str, Any]) -> None:
        if line.get("step") == 1 and "score" in line:
            raise KeyboardInterrupt

    site.train(model, "gathered", tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        site.train(model, "gathered", tmp_path / "parts", stop_at_first_look)
    assert not (tmp_path / "parts" / "bundle").exists()
    first_lines: list[dict[str, Any]] = []
    site.train(model, "gathered", tmp_path / "parts", first_lines.append)
    assert first_lines[0]["step"] == 1
    one, other = (torch.load(tmp_path / run / "checkpoint.pt", weights_only=True) for run in ("whole", "parts"))
    assert all(torch.equal(one["averaged"][key], other["averaged"][key]) for key in one["averaged"])


@pytest.mark.parametrize(
    ("layout", "model", "wanted"),
    [
        ("chest_xray", "opacity", r"a box by nih .*rsna \(lung_opacity\).* in the training part; .*kermany"),
        ("chest_xray", "lungs", "a drawn right_lung or left_lung or heart in the training part; .*kermany"),
        ("JSRT", "classifier", r"two different answers to pattern \(covid19, .* in the training part; .*jsrt"),
        ("JSRT", "pneumothorax", "a drawn pneumothorax, or reports .* in the validation part; .*jsrt"),
        ("ChestX-Det", "pneumothorax", "lungs to simulate one in, in the training part; .*chestxdet"),
    ],
)
def test_what_a_data_set_cannot_teach_is_named(
    site: Site, tmp_path: Path, layout: str, model: str, wanted: str
) -> None:
    """The error says what was looked for and what there is."""
    with pytest.raises(NeedsOperator, match=wanted):
        site.train(model, layout, tmp_path)


def _remarks(site: Site, model: str, layout: str, out: Path) -> tuple[str, Path]:
    lines: list[dict[str, Any]] = []
    bundle = site.train(model, layout, out, lines.append)
    return "; ".join(line["remark"] for line in lines if "remark" in line), bundle


def test_other_sources_than_the_recipes_are_said_and_stated(site: Site, tmp_path: Path) -> None:
    """Before the first look, and in the card: whose films taught it, and that hearts were not among them."""
    said, bundle = _remarks(site, "lungs", "COVID-19_Radiography_Dataset", tmp_path)
    assert "none of the recipe's sources (jsrt, shenzhen, montgomery) is there" in said
    stated = json.loads((bundle / METADATA).read_text())
    assert stated["data_source"].startswith("covid_radiography; none of the recipe's sources")
    assert not read_card(bundle).enabled_by_default
    assert read_card(bundle).disabled_because == "not learnt, no training film tells: heart"


def test_boxes_of_another_reader_count_only_where_the_recipes_drew_none(site: Site, tmp_path: Path) -> None:
    """NIH's own boxes teach on NIH's films alone, not beside RSNA's."""
    said, _ = _remarks(site, "opacity", "NIH", tmp_path / "nih")
    assert "none of rsna, chestxdet drew boxes: those of nih count" in said
    assert _remarks(site, "opacity", "gathered", tmp_path / "gathered")[0] == ""


def test_a_finding_that_was_not_learnt_is_withheld(site: Site, tmp_path: Path) -> None:
    """Kermany's films answer for viral pneumonia, not for COVID-19 nor for what RSNA asked."""
    _, bundle = _remarks(site, "classifier", "chest_xray", tmp_path)
    withheld = {rule.name: rule.withheld for rule in read_card(bundle).findings}
    assert withheld["viral_pneumonia"] == ""
    assert withheld["covid19_pneumonia"] == "not learnt, no training film tells: pattern.covid19"
    assert withheld["lung_opacity"]
    assert withheld["abnormal_chest"]
    assert read_card(bundle).enabled_by_default


def test_where_all_is_there_nothing_is_remarked(site: Site, tmp_path: Path) -> None:
    """The recipe's own sources, all channels: the card is the recipe's."""
    said, bundle = _remarks(site, "lungs", "JSRT", tmp_path)
    assert said == ""
    assert json.loads((bundle / METADATA).read_text())["data_source"] == find_recipe("lungs").card["data_source"]
    assert read_card(bundle).enabled_by_default


@pytest.fixture
def shell(site: Site) -> Iterator[Mapping[str, str]]:
    """An environment that names the site's bundles and no other settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CXRNODE_")}
    yield {**kept, "CXRNODE_MODELS__FOLDER": str(site.bundles), "OMP_NUM_THREADS": "1"}


def _command(site: Site, model: str, layout: str, out: Path, *more: str) -> list[str]:
    recipe = site.folder / f"{model}-small.toml"
    named = ["--data", str(site.data(layout)), "--out", str(out), "--recipe", str(recipe), "--threads", "1"]
    return [str(CXRNODE), "models", "train", model, *named, *more]


def test_a_command_that_is_interrupted_says_that_it_goes_on_and_does(
    site: Site, shell: Mapping[str, str], tmp_path: Path
) -> None:
    """SIGINT after a look: exit code 130; the same command begins where it was, and names the bundle and what next."""
    recipe = site.folder / "lungs-small.toml"
    recipe.write_text(recipe.read_text() + "[options]\nbatch = 2\nvalidate_every = 1\n")
    long = _command(site, "lungs", "MontgomerySet", tmp_path, "--steps", "100000")
    with subprocess.Popen(long, env=shell, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        looked = next(line for line in running.stderr if "score=" in line)
        running.send_signal(signal.SIGINT)
        rest = running.stderr.read()
    assert looked.startswith("step=1 ")
    assert running.returncode == 130
    assert "the same command goes on" in rest
    assert "Traceback" not in rest
    done = len((tmp_path / "log.jsonl").read_text().splitlines())
    again = _command(site, "lungs", "MontgomerySet", tmp_path, "--steps", str(done + 1))
    ended = subprocess.run(again, env=shell, capture_output=True, text=True, timeout=600, check=True)
    assert f"started step={done} films=4 checks=2" in ended.stderr
    assert "note: not learnt, no training film tells: heart" in ended.stderr
    assert f"ended at step {done + 1};" in ended.stdout
    assert (
        f"cxrnode models evaluate lungs --data {site.data('MontgomerySet')} --bundle {tmp_path / 'bundle'}"
        in ended.stdout
    )


def test_a_command_on_the_wrong_data_set_is_one_line(site: Site, shell: Mapping[str, str], tmp_path: Path) -> None:
    """No traceback: what was looked for, what is there, where to read on; exit code 1."""
    wrong = _command(site, "opacity", "chest_xray", tmp_path)
    ended = subprocess.run(wrong, env=shell, capture_output=True, text=True, timeout=600, check=False)
    assert ended.returncode == 1
    assert ended.stderr.startswith("cxrnode: train: the data folder has no film with a box by")
    assert "its 9 films are of kermany" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
