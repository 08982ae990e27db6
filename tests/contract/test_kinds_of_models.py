"""Models of every kind through the real child, on one image in one pass."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from cxrnode.domain.finding import ImagePrediction, Prediction
from cxrnode.inference.bundle import Network, read_card
from cxrnode.inference.card import Kind
from cxrnode.inference.predictor import ChildPredictor
from cxrnode.inference.reading import answers
from cxrnode.phantom import Radiograph, write
from cxrnode.pixels.decode import decode
from cxrnode.pixels.grayscale import display
from cxrnode.pixels.normalise import prepare
from cxrnode.ports import Request
from tests.fakes.bundle import SIZE, write_tiny_bundle

KINDS: tuple[Kind, ...] = get_args(Kind)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("bundles")
    return {kind: write_tiny_bundle(root / kind, kind=kind) for kind in KINDS}


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("films") / "film.dcm"
    write(Radiograph(rows=420, cols=360), path)
    return path


@pytest.fixture(scope="module")
def answer(folders: dict[str, Path], film: Path) -> ImagePrediction:
    request = Request(row=0, path=film, transfer_syntax_uid="", models=KINDS, preview=False)
    with ChildPredictor(folders, device="cpu") as predictor:
        return predictor.predict([request], lambda: None)[0]


def said_by(answer: ImagePrediction, kind: Kind) -> Prediction:
    return next(said for said in answer.predictions if said.model.name == kind)


def test_every_kind_answers_in_its_own_way(answer: ImagePrediction) -> None:
    """Masks of a segmentation, scores of a classification, boxes and a score of a detection; none fails."""
    assert answer.failed == ()
    assert [said.model.name for said in answer.predictions] == list(KINDS)
    assert [bool(said.masks) for said in answer.predictions] == [True, False, False]
    assert [len(said.scores) for said in answer.predictions] == [0, 3, 1]
    assert 0 < len(said_by(answer, "detection").boxes) <= 8


def test_scores_carry_what_the_card_says_of_them(answer: ImagePrediction, folders: dict[str, Path]) -> None:
    """Points, caveats and the order of the card cross the pipe."""
    scores = said_by(answer, "classification").scores
    rules = read_card(folders["classification"]).findings
    assert [score.finding for score in scores] == [rule.name for rule in rules]
    assert [score.withheld for score in scores] == ["", "", "never trained"]
    assert {(score.low, score.operating_point, score.high) for score in scores} == {(0.4, 0.5, 0.6)}


def test_boxes_lie_on_the_stored_image_and_the_finding_is_the_likeliest(answer: ImagePrediction) -> None:
    """Within the film's own rows and columns, likeliest first."""
    said = said_by(answer, "detection")
    assert [box.probability for box in said.boxes] == sorted((box.probability for box in said.boxes), reverse=True)
    assert all(0 <= box.left < box.right <= 360 and 0 <= box.top < box.bottom <= 420 for box in said.boxes)
    assert said.scores[0].probability == said.boxes[0].probability


@pytest.mark.parametrize("kind", ["classification", "detection"])
def test_reading_a_bundle_without_the_child_gives_the_same_numbers(
    answer: ImagePrediction, folders: dict[str, Path], film: Path, kind: Kind
) -> None:
    """What an evaluation examines is what the node runs."""
    network = Network.load(folders[kind])
    picture, letterbox = prepare(display(decode(film)).values, SIZE)
    read = answers(network.card, network.predict(np.asarray(picture)[None, None])[0], letterbox)
    assert read.scores == said_by(answer, kind).scores
    assert [box.probability for box in read.boxes] == [box.probability for box in said_by(answer, kind).boxes]
