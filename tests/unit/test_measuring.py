"""Bundles of each kind measured, calibrated and put to the test of disguises, on a tiny folder of drawn films."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cxrnode.errors import NeedsOperator
from cxrnode.inference.bundle import METADATA, read_card
from cxrnode.training.evaluation.calibrate import calibrate
from cxrnode.training.evaluation.calibration import Aim
from cxrnode.training.evaluation.disguises import DISGUISES
from cxrnode.training.evaluation.examine import evaluate
from cxrnode.training.evaluation.shortcuts import try_shortcuts
from tests.fakes.bundle import write_tiny_bundle

COLUMNS = ("image", "patient_id", "view", "age", "sex", "scale", "nih_labels", "rsna_class")
BOXES = ("rsna_boxes_xywh_1024", "nih_bbox_xywh_1024", "chestxdet_syms", "chestxdet_boxes_xyxy_1024")
CLASSES = ("Lung Opacity", "No Lung Opacity / Not Normal", "Normal")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty-six drawn films: bright where a box is drawn, with a grain."""
    return draw_films(tmp_path_factory.mktemp("data"), 36)


def draw_films(root: Path, count: int) -> Path:
    """Write films in the layout of `opacity`, a third with a box; gives the root."""
    folder = root / "opacity"
    (folder / "images").mkdir(parents=True)
    with (folder / "index.csv").open("w", newline="") as lines:
        table = csv.DictWriter(lines, [*COLUMNS, *BOXES])
        table.writeheader()
        table.writerows(draw_film(folder, number) for number in range(count))
    return root


def draw_film(folder: Path, number: int) -> dict[str, str]:
    """Write one film of 96 by 80 pixels and give its row."""
    rng = np.random.default_rng(number)
    picture = 0.3 + rng.normal(0, 0.08, (96, 80)) + 0.2 * np.sin(np.arange(80) / 9)[None]
    boxes = []
    if number % 3 == 0:
        left, top = (int(edge) for edge in rng.integers(8, 40, 2))
        picture[top : top + 30, left : left + 24] += 0.4
        boxes = [[left, top, 24, 30]]
    Image.fromarray(np.clip(picture * 255, 0, 255).astype(np.uint8)).save(folder / "images" / f"{number:03d}.png")
    values = (f"images/{number:03d}.png", f"{number:05d}", "PA", "50", "F", "1", "", CLASSES[number % 3])
    return dict(zip((*COLUMNS, *BOXES), (*values, json.dumps(boxes), "[]", "", ""), strict=True))


def test_a_classifier_is_measured_by_question_and_finding(data: Path, tmp_path: Path) -> None:
    """Thirty-six films, three classes: tables, JSON and pictures, the same each time."""
    bundle = write_tiny_bundle(tmp_path / "bundle", kind="classification")
    report = evaluate("tiny", data, bundle=bundle, out=tmp_path / "seen", part="all", threads=1, worst=2)
    (question,) = report.questions
    assert (question.question, question.films) == ("rsna", 36)
    assert [one.support for one in question.classes] == [12, 12, 12]
    found = {one.stated.finding: one for one in report.findings}
    assert found["lung_opacity"].positives == 12
    assert found["abnormal_chest"].positives == 24
    # None of these films shows COVID-19: what can be counted is counted, and there is no area.
    assert (found["covid19_pneumonia"].positives, found["covid19_pneumonia"].auc) == (0, None)
    assert report == evaluate("tiny", data, bundle=bundle, part="all", threads=1, worst=2)
    assert json.loads((tmp_path / "seen/report.json").read_text())["questions"][0]["films"] == 36
    assert len((tmp_path / "seen/films.jsonl").read_text().splitlines()) == 36
    names = {path.name for path in (tmp_path / "seen").glob("*.png")}
    assert {"confusion_rsna_nih.png", "roc_rsna.png", "reliability_lung_opacity.png"} <= names
    assert len([name for name in names if name.startswith("wrong_rsna")]) == 2


def test_a_detector_is_measured_by_its_boxes(data: Path, tmp_path: Path) -> None:
    """Boxes in the film's own pixels, and the film's finding."""
    bundle = write_tiny_bundle(tmp_path / "bundle", kind="detection")
    report = evaluate("tiny", data, bundle=bundle, out=tmp_path / "seen", part="all", threads=1, worst=1)
    (boxes,) = report.boxes
    assert (boxes.label, boxes.films, boxes.positive) == ("lung_opacity", 36, 12)
    (finding,) = report.findings
    assert (finding.films, finding.positives) == (36, 12)
    assert (tmp_path / "seen/froc_lung_opacity.png").is_file()
    assert "mAP" in report.table()


@pytest.mark.parametrize("kind", ["classification", "detection"])
def test_calibrating_twice_gives_the_same_bytes(data: Path, tmp_path: Path, kind: str) -> None:
    """The second run fits the network's logits, not what the first one made of them; the reasons stay."""
    bundle = write_tiny_bundle(tmp_path / "bundle", kind=kind)  # type: ignore[arg-type]
    before = read_card(bundle)
    aims = {"lung_opacity": Aim(kind="sensitivity", value=0.75)}
    outcome = calibrate("tiny", data, bundle=bundle, part="all", aims=aims, threads=1)
    once = (bundle / METADATA).read_bytes()
    calibrate("tiny", data, bundle=bundle, part="all", threads=1)
    assert (bundle / METADATA).read_bytes() == once
    card = read_card(bundle)
    assert card.digest != before.digest
    rules = {rule.name: rule for rule in card.findings}
    assert rules["lung_opacity"].chosen_for == "sensitivity 0.75 on the all part"
    assert [rule.withheld for rule in card.findings] == [rule.withheld for rule in before.findings]
    setting = next(one for one in outcome.settings if one.finding == "lung_opacity")
    assert setting.points is not None
    assert setting.points.sensitivity >= 0.75
    assert "sensitivity 0.75" in outcome.table()


def test_a_finding_of_too_few_films_keeps_its_points(data: Path, tmp_path: Path) -> None:
    """No film here shows COVID-19: its points are as they were, and the table says so."""
    bundle = write_tiny_bundle(tmp_path / "bundle", kind="classification")
    outcome = calibrate("tiny", data, bundle=bundle, part="all", threads=1)
    rule = next(rule for rule in read_card(bundle).findings if rule.name == "covid19_pneumonia")
    assert (rule.operating_point, rule.chosen_for) == (0.5, "nothing: never trained")
    assert "too few films" in outcome.table()


def test_a_bundle_fresh_from_training_gets_its_first_points(data: Path, tmp_path: Path) -> None:
    """A card whose finding states no points yet can be calibrated."""
    bundle = write_tiny_bundle(tmp_path / "bundle", kind="detection")
    metadata = json.loads((bundle / METADATA).read_text())
    metadata["cxrnode"]["findings"] = {"lung_opacity": {"channel": "lung_opacity", "withheld": "not measured"}}
    del metadata["cxrnode"]["operating_points"]
    (bundle / METADATA).write_text(json.dumps(metadata))
    with pytest.raises(NeedsOperator):
        read_card(bundle)
    calibrate("tiny", data, bundle=bundle, part="all", threads=1)
    (rule,) = read_card(bundle).findings
    assert rule.low <= rule.operating_point <= rule.high
    assert (rule.withheld, rule.chosen_for) == ("not measured", "sensitivity 0.90 on the all part")


def test_the_calibrated_points_are_what_evaluation_measures(data: Path, tmp_path: Path) -> None:
    """Sensitivity on the very films that the point was set on is what calibrate says it is."""
    bundle = write_tiny_bundle(tmp_path / "bundle", kind="classification")
    outcome = calibrate("tiny", data, bundle=bundle, part="all", threads=1)
    report = evaluate("tiny", data, bundle=bundle, part="all", threads=1)
    said = {one.stated.finding: one.sensitivity for one in report.findings}
    for setting in outcome.settings:
        if setting.points is not None:
            measured = said[setting.finding]
            assert measured is not None
            assert measured.value == pytest.approx(setting.points.sensitivity)


def _bright(network: torch.nn.Module) -> None:
    """Make the network answer lung opacity, whatever it sees."""
    last = [module for module in network.modules() if isinstance(module, torch.nn.Linear)][-1]
    with torch.no_grad():
        last.weight.zero_()
        last.bias.copy_(torch.tensor([5.0, 0.0, 0.0, -5.0]))


def test_a_model_that_always_says_the_same_takes_no_shortcut(data: Path, tmp_path: Path) -> None:
    """Nothing changes its mind: nought of the films, for each disguise and question."""
    bundle = write_tiny_bundle(tmp_path / "bundle", kind="classification", change=_bright)
    found = try_shortcuts("tiny", data, bundle=bundle, part="all", most=6, threads=1)
    assert found.passed
    assert found.films == 6
    assert {one.disguise for one in found.tried} == set(DISGUISES)
    assert {one.asked for one in found.tried} == {"rsna", "lung_opacity", "abnormal_chest", "covid19_pneumonia"}
    assert all(one.changed.value == 0 for one in found.tried)


def _awake(network: torch.nn.Module) -> None:
    """Give the layers the statistics of noise, so that a network that was never trained tells pictures apart."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
    network.train()
    with torch.no_grad():
        network(torch.rand(8, 1, 64, 64))
    network.eval()


def test_a_model_that_reads_the_grain_fails(data: Path, tmp_path: Path) -> None:
    """Of a point set in the midst of what the plain films give, another size changes more than one answer in twenty."""
    bundle = write_tiny_bundle(tmp_path / "bundle", kind="classification", change=_awake)
    aims = {"lung_opacity": Aim(kind="sensitivity", value=0.5)}
    calibrate("tiny", data, bundle=bundle, part="all", aims=aims, threads=1)
    found = try_shortcuts("tiny", data, bundle=bundle, part="all", threads=1)
    (resized,) = [one for one in found.tried if one.disguise == "resampling" and one.asked == "lung_opacity"]
    assert resized.changed.value > 0.05
    assert not found.passed
    assert "NO" in found.table()


@pytest.mark.parametrize("name", sorted(DISGUISES))
def test_a_disguise_is_a_function_of_film_and_generator(name: str) -> None:
    """The same generator gives the same picture, within black and white; others give others."""
    y, x = np.mgrid[0:560, 0:400]
    film = (0.5 + 0.4 * np.sin(x / 3) * np.cos(y / 5)).astype(np.float32)
    one, same, *others = (DISGUISES[name](film, np.random.default_rng(seed))[0] for seed in (1, 1, 2, 3, 4, 5))
    assert np.array_equal(one, same)
    assert any(one.shape != other.shape or not np.array_equal(one, other) for other in others)
    assert one.min() >= 0.0
    assert one.max() <= 1.0
    assert one.shape != film.shape or not np.array_equal(one, film)


def test_a_part_without_a_film_is_an_error_with_a_hint(data: Path, tmp_path: Path) -> None:
    """Nothing in this folder shows a lung's outline."""
    bundle = write_tiny_bundle(tmp_path / "bundle")
    with pytest.raises(NeedsOperator, match="no film"):
        evaluate("tiny", data, bundle=bundle, threads=1)
