"""What does not change an answer, and so is not part of a model's identity (law 4)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from cxrnode.domain.finding import ImagePrediction
from cxrnode.inference.predictor import ChildPredictor
from cxrnode.phantom import Radiograph, write
from cxrnode.ports import Request

MODELS = Path(__file__).parents[2] / "models"
BUNDLES = {path.parent.parent.name: path.parent.parent for path in sorted(MODELS.glob("*/configs/metadata.json"))}


@pytest.fixture(scope="module")
def requests(tmp_path_factory: pytest.TempPathFactory) -> list[Request]:
    folder = tmp_path_factory.mktemp("films")
    specs = [Radiograph(seed=seed, rows=500 + 60 * seed, cols=520) for seed in range(1, 4)]
    for row, spec in enumerate(specs):
        write(spec, folder / f"{row}.dcm")
    return [
        Request(row=row, path=folder / f"{row}.dcm", transfer_syntax_uid="", models=tuple(BUNDLES), preview=True)
        for row in range(len(specs))
    ]


def answers(requests: Sequence[Request], *, threads: int, batch: int) -> Sequence[ImagePrediction]:
    with ChildPredictor(BUNDLES, device="cpu", threads=threads, batch=batch) as predictor:
        return predictor.predict(requests, lambda: None)


@pytest.fixture(scope="module")
def plain(requests: list[Request]) -> Sequence[ImagePrediction]:
    return answers(requests, threads=1, batch=1)


@pytest.mark.parametrize(("threads", "batch"), [(2, 1), (1, 8)], ids=["two threads", "a batch of eight"])
def test_answer_does_not_depend_on(
    requests: list[Request], plain: Sequence[ImagePrediction], threads: int, batch: int
) -> None:
    """The released models on films of several sizes: the same identities, the same bits."""
    for one, two in zip(plain, answers(requests, threads=threads, batch=batch), strict=True):
        assert np.array_equal(one.preview, two.preview)  # type: ignore[arg-type]
        assert len(one.predictions) == len(two.predictions) == len(BUNDLES)
        for first, second in zip(one.predictions, two.predictions, strict=True):
            assert (first.model, first.scores, first.boxes) == (second.model, second.scores, second.boxes)
            for (label, mask), (_, again) in zip(first.masks, second.masks, strict=True):
                assert mask.any() or first.model.name != "lungs", label
                assert np.array_equal(mask, again), label
