"""Training, in small: the split, the samples, the loss, a run that stops and goes on, an evaluation."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cxrnode.errors import NeedsOperator, SettingsInvalid
from cxrnode.training import trainer
from cxrnode.training.augment import draw_sample
from cxrnode.training.catalogue import read_catalogue
from cxrnode.training.compare import compare
from cxrnode.training.evaluation.examine import evaluate
from cxrnode.training.evaluation.halving import try_halving
from cxrnode.training.example import part_of
from cxrnode.training.films import read_film
from cxrnode.training.recipe import Recipe, find_recipe
from cxrnode.training.samples import Batch, cache_film, draw_batch, fill_shelf
from cxrnode.training.tasks.segmentation import Segmentation, learnt_from, masked_loss
from cxrnode.training.trainer import rate_at, train

LUNGS = find_recipe("lungs")
SMALL = replace(LUNGS, size=64, network={**LUNGS.network, "channels": [4, 8, 8], "strides": [2, 2]})
COLUMNS = ("image", "mask", "heart", "source", "patient_id", "aspect_w_h", "flag")
QUICK = {"steps": 4, "batch": 2, "validate_every": 2, "threads": 1, "device": "cpu"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty drawn chests: dark ovals for lungs, a bright one for the heart; every second without a drawn heart."""
    root = tmp_path_factory.mktemp("data") / "lungs"
    for folder in ("images", "masks", "hearts"):
        (root / folder).mkdir(parents=True)
    with (root / "index.csv").open("w", newline="") as lines:
        table = csv.DictWriter(lines, COLUMNS)
        table.writeheader()
        for number in range(40):
            table.writerow(_draw_chest(root, number))
        table.writerow({**_draw_chest(root, 99), "source": "covid_v7labs"})
    return root.parent


def _draw_chest(root: Path, number: int) -> dict[str, str]:
    rng = np.random.default_rng(number)
    rows, cols = 90, 100
    y, x = np.ogrid[0:rows, 0:cols]
    right = ((y - 45) / 30) ** 2 + ((x - 28 - rng.integers(4)) / 16) ** 2 < 1
    left = ((y - 45) / 30) ** 2 + ((x - 72 + rng.integers(4)) / 16) ** 2 < 1
    heart = (((y - 55) / 15) ** 2 + ((x - 52) / 14) ** 2 < 1) & ~right & ~left
    image = 0.6 - 0.4 * (right | left) + 0.2 * heart + rng.normal(0, 0.02, (rows, cols))
    name = f"{number:03d}.png"
    Image.fromarray(np.clip(image * 255, 0, 255).astype(np.uint8)).save(root / "images" / name)
    Image.fromarray((right * 1 + left * 2).astype(np.uint8)).save(root / "masks" / name)
    Image.fromarray((heart * 255).astype(np.uint8)).save(root / "hearts" / name)
    source, drawn = ("jsrt", f"hearts/{name}") if number % 2 else ("shenzhen", "")
    values = (f"images/{name}", f"masks/{name}", drawn, source, f"P{number}", "", "")
    return dict(zip(COLUMNS, values, strict=True))


def test_a_patient_is_in_one_part_for_good() -> None:
    """The split is a function of the id alone; these would move if anybody changed it."""
    patients = ("JSRT-JPCLN004", "JSRT-JPCLN016", "CHN-0001", "CHN-0007")
    assert [part_of(patient) for patient in patients] == ["test", "validate", "train", "test"]
    counts = [sum(part_of(f"patient {n}") == part for n in range(5000)) for part in ("test", "validate", "train")]
    assert np.allclose(np.array(counts) / 5000, [0.2, 0.1, 0.7], atol=0.02)


def test_sources_of_another_convention_are_left_out(data: Path) -> None:
    """Lungs that include the heart's shadow are not mixed in."""
    assert {example.source for example in learnt_from(SMALL, read_catalogue(data))[0]} == {"jsrt", "shenzhen"}


def test_a_folder_without_an_index_is_named(tmp_path: Path) -> None:
    """The operator learns what is missing."""
    with pytest.raises(NeedsOperator, match=r"index\.csv"):
        read_catalogue(tmp_path)


def test_a_missing_heart_is_unlabelled_not_absent(data: Path) -> None:
    """Its channel carries no truth, and says so."""
    without = next(example for example in read_catalogue(data) if "heart" not in example.masks)
    assert read_film(without).labelled.tolist() == [True, True, False]


def test_a_stated_aspect_makes_pixels_that_are_not_square(data: Path) -> None:
    """A film squashed to a square whose true width is half its height has pixels twice as tall as wide."""
    example = replace(read_catalogue(data)[0], true_aspect=0.5)
    assert read_film(example).pixel_aspect == pytest.approx((100 / 90) / 0.5)


def test_a_sample_is_a_function_of_film_and_generator(data: Path) -> None:
    """The same generator, the same sample; another, another."""
    film = cache_film(read_film(read_catalogue(data)[1]), 64)
    one, same, other = (draw_sample(film, 64, np.random.default_rng(seed)) for seed in (7, 7, 8))
    assert np.array_equal(one.image, same.image)
    assert np.array_equal(one.truth, same.truth)
    assert not np.array_equal(one.image, other.image)


def test_samples_keep_the_patients_sides(data: Path) -> None:
    """However a film is bent, the right lung stays on the picture's left of the left lung."""
    film = cache_film(read_film(read_catalogue(data)[1]), 64)
    for seed in range(40):
        truth = draw_sample(film, 64, np.random.default_rng(seed)).truth
        centres = [(plane.sum(axis=0) * np.arange(64)).sum() / max(plane.sum(), 1) for plane in truth]
        if truth[0].sum() > 40 and truth[1].sum() > 40:
            assert centres[0] < centres[1]


def test_truth_stays_on_what_is_seen(data: Path) -> None:
    """Bent and cropped together: under the truth of a lung the picture is darker than elsewhere in the letterbox."""
    film = cache_film(read_film(read_catalogue(data)[1]), 64)
    darker = []
    for seed in range(30):
        sample = draw_sample(film, 64, np.random.default_rng(seed))
        lung = (sample.truth[0] > 0.5) | (sample.truth[1] > 0.5)
        if lung.sum() > 100:
            darker.append(sample.image[0][lung].mean() < sample.image[0][sample.truth[2] > 0.5].mean())
    assert np.mean(darker) > 0.9


def test_an_unlabelled_channel_has_no_say_in_the_loss() -> None:
    """Whatever is said of a heart that nobody drew, the loss and its gradient are the same."""
    truth = torch.zeros(1, 3, 8, 8)
    labelled, weight = torch.tensor([[1.0, 1.0, 0.0]]), torch.ones(3)
    logits = torch.zeros(1, 3, 8, 8, requires_grad=True)
    changed = torch.zeros(1, 3, 8, 8)
    changed[:, 2] = 5.0
    loss = masked_loss(logits, truth, labelled, weight)
    loss.backward()
    assert loss.item() == pytest.approx(masked_loss(changed, truth, labelled, weight).item())
    assert logits.grad is not None
    assert not logits.grad[:, 2].any()
    assert logits.grad[:, :2].any()


def test_learning_rate_rises_and_then_falls_to_nearly_nothing() -> None:
    """One cycle."""
    rates = [rate_at(progress) for progress in (0.0, 0.05, 0.5, 1.0)]
    assert rates[0] < rates[1] > rates[2] > rates[3]
    assert rates[1] == pytest.approx(1.0, abs=0.01)
    assert rates[3] < 0.01


def test_sources_are_drawn_by_weight_not_by_number(data: Path) -> None:
    """Half of what is drawn has a heart although fewer films than half might."""
    films = [example for example in learnt_from(SMALL, read_catalogue(data))[0] if example.part == "train"]
    few = [one for one in films if one.source == "jsrt"][:2] + [one for one in films if one.source == "shenzhen"]
    shelf = fill_shelf(((read_film(one), one.source) for one in few), 64)
    labelled = np.concatenate([draw_batch(shelf, SMALL, 16, 1, number).labelled for number in range(8)])
    assert 0.3 < labelled[:, 2].mean() < 0.7


def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(data: Path, tmp_path: Path) -> None:
    """Two steps, a stop, two more: the same weights as four in one go."""
    whole = train(SMALL, data, tmp_path / "whole", QUICK)

    def stop_after_first_look(line: dict[str, object]) -> None:
        if line.get("step") == 2 and "score" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(SMALL, data, tmp_path / "parts", QUICK, stop_after_first_look)
    parts = train(SMALL, data, tmp_path / "parts", QUICK)
    assert whole.steps == parts.steps == 4
    one, other = (torch.load(tmp_path / run / "checkpoint.pt", weights_only=True) for run in ("whole", "parts"))
    assert all(torch.equal(one["network"][key], other["network"][key]) for key in one["network"])
    assert len((tmp_path / "parts" / "log.jsonl").read_text().splitlines()) == 2
    assert Image.open(tmp_path / "parts" / "curves.png").size[0] > 100


def test_a_run_keeps_its_best_weights_unrounded_beside_what_it_ships(data: Path, tmp_path: Path) -> None:
    """So that anybody can see what rounding costs: here it costs nothing."""
    outcome = train(SMALL, data, tmp_path / "run", QUICK)
    full, shipped = (torch.load(tmp_path / "run" / name, weights_only=True) for name in ("best-full.pt", "best.pt"))
    floats = [name for name in full if full[name].is_floating_point()]
    assert {full[name].dtype for name in floats} == {torch.float32}
    assert all(torch.equal(full[name].half(), shipped[name]) for name in floats)
    found = try_halving(data, bundle=outcome.bundle, weights=tmp_path / "run" / "best-full.pt", part="test", threads=1)
    assert found.shipped and found.passed
    assert any(one.name.startswith("Dice, heart") for one in found.measures)


def test_training_without_progress_stops_early(data: Path, tmp_path: Path) -> None:
    """With nothing to learn by (a rate of zero) the run ends after `patience` looks."""
    given = {**QUICK, "steps": 100, "validate_every": 1, "patience": 2, "learning_rate": 0.0, "average": 0.0}
    outcome = train(SMALL, data, tmp_path, given)
    assert outcome.steps < 20


def test_a_trained_bundle_is_evaluated_with_counts_and_intervals(data: Path, tmp_path: Path) -> None:
    """Train, export, evaluate: a report by source, twice the same, with pictures of the worst."""
    outcome = train(SMALL, data, tmp_path / "run", QUICK)
    report = evaluate("lungs", data, bundle=outcome.bundle, out=tmp_path / "seen", threads=1, worst=2)
    again = evaluate("lungs", data, bundle=outcome.bundle, threads=1, worst=2)
    tests = [example.source for example in read_catalogue(data) if example.part == "test"]
    assert {source.source: source.films for source in report.sources} == {
        source: tests.count(source) for source in ("covid_v7labs", "jsrt", "shenzhen")
    }
    other, jsrt, shenzhen = report.sources
    assert "convention" in other.caveat
    assert not jsrt.caveat
    assert jsrt.dice["heart"].n == jsrt.films
    assert "heart" not in shenzhen.dice
    assert jsrt.dice["heart"].low <= jsrt.dice["heart"].mean <= jsrt.dice["heart"].high
    assert report == again
    assert json.loads((tmp_path / "seen" / "report.json").read_text())["digest"] == report.digest
    assert len(list((tmp_path / "seen").glob("worst_*.png"))) == len(report.worst) <= 5


def test_recipes_are_compared_by_their_best_look_and_the_time_of_their_steps_alone(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock on which the first recipe's batch takes a second, the other's four, and a look a hundred."""
    now = [0.0]

    class Timed(Segmentation):
        def __init__(self, recipe: Recipe, *rest: Any) -> None:
            super().__init__(recipe, *rest[:2])
            self.seconds, self.score = (1.0, 0.5) if recipe.name == "lungs" else (4.0, 0.6)

        def batch(self, number: int) -> Batch:
            now[0] += self.seconds
            return super().batch(number)

        def validate(self, network: torch.nn.Module) -> dict[str, float]:
            now[0] += 100.0
            return {"score": self.score, "jsrt heart": 0.4}

    monkeypatch.setattr(trainer, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(trainer, "build_task", Timed)
    found = compare([SMALL, replace(SMALL, name="lungs-slow")], data, tmp_path, QUICK)
    assert [(entry.recipe, entry.seconds_a_step, entry.steps) for entry in found.entries] == [
        ("lungs-slow", 4.0, 4),
        ("lungs", 1.0, 4),
    ]
    assert found.entries[0].scores == {"score": 0.6, "jsrt heart": 0.4}
    assert json.loads((tmp_path / "compare.json").read_text())["entries"][0]["relative_time_a_step"] == 4.0
    head, _, slow, fast = (tmp_path / "compare.md").read_text().splitlines()
    assert head == "| recipe | parameters | steps | time a step (lungs = 1) | score | jsrt heart |"
    assert slow.endswith("| 4 | 4.00 | 0.6000 | 0.4000 |") and fast.endswith("| 4 | 1.00 | 0.5000 | 0.4000 |")


def test_recipes_of_two_models_are_not_compared(data: Path, tmp_path: Path) -> None:
    """Their scores mean different things."""
    with pytest.raises(NeedsOperator, match="one model"):
        compare([SMALL, find_recipe("gate")], data, tmp_path, QUICK)


def test_a_device_that_is_not_there_is_named(data: Path, tmp_path: Path) -> None:
    """Before anything is learnt."""
    with pytest.raises(SettingsInvalid, match="cuda:99"):
        train(SMALL, data, tmp_path, {**QUICK, "device": "cuda:99"})


def test_an_unknown_recipe_is_named_with_those_there_are() -> None:
    """The operator learns what can be trained."""
    with pytest.raises(NeedsOperator, match="lungs"):
        find_recipe("brain")
