"""The gate in small: who is a child, what may be asked of a picture, points that keep their specificity."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cxrnode.inference.bundle import METADATA, Network, read_card
from cxrnode.training.catalogue import read_catalogue
from cxrnode.training.evaluation.gate import AS_IT_IS, Trial, examine_gate, set_gate_points, summarise
from cxrnode.training.example import Example
from cxrnode.training.options import TrainOptions
from cxrnode.training.recipe import find_recipe
from cxrnode.training.tasks.gate import GateTask, draw_picture, is_child, keep, learnable
from cxrnode.training.trainer import train

GATE = find_recipe("gate")
SMALL = replace(
    GATE,
    size=64,
    init={"from": "scratch"},
    network={"_target_": "monai.networks.nets.resnet18", "spatial_dims": 2, "n_input_channels": 1, "num_classes": 4},
    options={},
)
GIVEN = {"steps": 2, "batch": 4, "validate_every": 2, "threads": 1, "device": "cpu", "learning_rate": 1e-3}
COLUMNS = ("image", "mask", "heart", "source", "patient_id", "aspect_w_h", "flag")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty drawn chests of two sources: a heart that leans to the picture's right, lungs beside it."""
    root = tmp_path_factory.mktemp("data") / "lungs"
    (root / "images").mkdir(parents=True)
    with (root / "index.csv").open("w", newline="") as lines:
        table = csv.DictWriter(lines, COLUMNS)
        table.writeheader()
        for number in range(30):
            table.writerow(_draw_chest(root, number))
    return root.parent


def _draw_chest(root: Path, number: int) -> dict[str, str]:
    rng = np.random.default_rng(number)
    y, x = np.ogrid[0:90, 0:100]
    lungs = (((y - 45) / 30) ** 2 + ((abs(x - 50) - 24) / 16) ** 2) < 1
    heart = (((y - 60) / 18) ** 2 + ((x - 58) / 14) ** 2) < 1
    image = np.where(heart, 0.9, np.where(lungs, 0.2, 0.6)) + rng.normal(0, 0.02, (90, 100))
    name = f"images/{number:03d}.png"
    Image.fromarray(np.clip(image * 255, 0, 255).astype(np.uint8)).save(root / name)
    source = "jsrt" if number % 2 else "viral_pneumonia"
    return dict(zip(COLUMNS, (name, name, "", source, f"P{number}", "", ""), strict=True))


def _example(source: str, age: int | None = None) -> Example:
    return Example(name="a", source=source, patient="p", part="train", image=Path("a.png"), age=age)


@pytest.mark.parametrize(
    ("source", "age", "child"),
    [
        ("nih", 4, True),
        ("nih", 12, None),
        ("nih", 40, False),
        ("nih", None, None),
        ("nih", 411, None),
        ("kermany", None, True),
        ("jsrt", None, False),
        ("covid_radiography", None, None),
    ],
)
def test_a_film_is_a_childs_only_where_its_record_or_its_source_says_so(
    source: str, age: int | None, child: bool | None
) -> None:
    """Between ten and eighteen, and of a source of all ages, nobody has a say; an age of 411 years is none."""
    assert is_child(_example(source, age)) is child


def test_a_stranger_is_asked_nothing_but_whether_it_is_one(data: Path) -> None:
    """Whether a page of text is mirrored has no answer; of a sound film everything known is asked."""
    films = [keep(example) for example in read_catalogue(data)[:4]]
    seen = [draw_picture(films, (0, 1), GATE, np.random.default_rng(seed)).answers for seed in range(40)]
    strangers = [answers for answers in seen if answers["not_frontal"]]
    sound = [answers for answers in seen if not answers["not_frontal"]]
    assert strangers and sound
    assert all(answers == {"not_frontal": True} for answers in strangers)
    assert all(set(answers) == set(GATE.channels) for answers in sound)
    for question in ("inverted", "mirrored"):
        assert {answers[question] for answers in sound} == {True, False}


def test_batches_are_functions_of_their_number(data: Path) -> None:
    """A run that was stopped goes on with the very pictures it would have seen."""
    task = GateTask(SMALL, read_catalogue(data), TrainOptions.of(GIVEN))
    first, again, other = task.batch(3), task.batch(3), task.batch(4)
    assert np.array_equal(first.images, again.images)
    assert np.array_equal(first.answers, again.answers)
    assert not np.array_equal(first.images, other.images)
    assert first.images.shape == (4, 1, 64, 64)
    assert first.images.min() >= 0.0 and first.images.max() <= 1.0


def test_a_question_that_was_not_asked_does_not_move_the_network(data: Path) -> None:
    """Its answer may be anything."""
    task = GateTask(SMALL, read_catalogue(data), TrainOptions.of(GIVEN))
    batch = task.batch(0)
    turned = replace(batch, answers=np.where(batch.asked > 0, batch.answers, 1 - batch.answers))
    network = task.network.eval()
    assert torch.equal(task.loss(network, batch), task.loss(network, turned))
    assert not np.array_equal(batch.answers, turned.answers)


def test_a_group_can_be_left_out_and_is_thinned_evenly(data: Path) -> None:
    """A recipe may leave out the children of one source only, and keeps at most so many of a group."""
    examples = read_catalogue(data)
    without = replace(SMALL, samples={**SMALL.samples, "leave_out": ["viral_pneumonia child"], "most": 5})
    chosen = learnable(examples, without)
    assert {example.source for example in chosen} == {"jsrt"}
    assert len(chosen) == 5


def test_a_trained_gate_is_examined_and_gets_its_points(data: Path, tmp_path: Path) -> None:
    """From films to a bundle with findings of the gate's names, and a report of every source."""
    bundle = train(SMALL, data, tmp_path / "run", GIVEN).bundle
    points = set_gate_points(data, bundle, threads=1)
    card = read_card(bundle)
    assert [rule.name for rule in card.findings] == list(GATE.channels)
    assert all(rule.low == rule.high == rule.operating_point == points[rule.name] for rule in card.findings)
    report = examine_gate(data, bundle=bundle, out=tmp_path / "out", threads=1)
    assert {line.pictures for line in report.refused} == {"jsrt, adults", "viral_pneumonia, children"}
    assert {line.question for line in report.refused} == {*GATE.channels, "any"}
    assert json.loads((tmp_path / "out/report.json").read_text())["digest"] == card.digest
    assert (tmp_path / "out/wrong.png").is_file()
    assert "as they are" in report.table()


def test_setting_the_points_again_writes_the_same_card(data: Path, tmp_path: Path) -> None:
    """Nothing drifts: the same films and weights give the same bytes, and the weights stay the pinned ones."""
    bundle = train(SMALL, data, tmp_path / "run", GIVEN).bundle
    set_gate_points(data, bundle, threads=1)
    first = (bundle / METADATA).read_bytes()
    set_gate_points(data, bundle, threads=1)
    assert (bundle / METADATA).read_bytes() == first
    assert Network.load(bundle).card.findings


def _trial(made: str, said: float, child: bool | None = False, source: str = "jsrt") -> Trial:
    answers = dict.fromkeys(GATE.channels, 0.0) | {"mirrored": said, "child": said}
    return Trial(name="n", source=source, patient="p", made=made, child=child, age=30, said=answers)


def test_refusals_of_sound_films_and_caught_defects_are_counted_apart(data: Path, tmp_path: Path) -> None:
    """A mirrored film that is called mirrored is no refusal of a sound one; a child that is called one is no error."""
    card = read_card(train(SMALL, data, tmp_path / "run", GIVEN).bundle)
    trials = [
        _trial(AS_IT_IS, 0.01),
        _trial(AS_IT_IS, 0.9),
        _trial("mirrored", 0.9),
        _trial(AS_IT_IS, 0.9, child=True, source="kermany"),
    ]
    report = summarise(card, "test", trials)
    shares = {(line.pictures, line.question): line.rate.value for line in report.refused}
    assert shares["jsrt, adults", "any"] == 0.5
    assert shares["kermany, children", "child"] == 1.0
    caught = {(line.pictures, line.rate.n, line.rate.value) for line in report.caught if line.question == "mirrored"}
    assert caught == {("mirrored, jsrt", 1, 1.0)}
    assert report.wrong[0].startswith("jsrt n")
