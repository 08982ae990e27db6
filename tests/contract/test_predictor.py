"""What the line relies on in a Predictor, held against the child process and the fake alike."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import pytest
from pydicom import uid

from cxrnode.errors import Unsuitable
from cxrnode.inference.predictor import ChildPredictor
from cxrnode.phantom import Defect, Radiograph, write
from cxrnode.ports import Predictor, Request
from tests.fakes.bundle import write_tiny_bundle
from tests.fakes.predictor import LUNGS, FakePredictor

SOUND = Radiograph(rows=400, cols=320)


class _Predictor(Predictor, Protocol):
    def same_pixels(self, first: Path, second: Path) -> bool: ...


@pytest.fixture(scope="module")
def child(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChildPredictor]:
    bundle = write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "lungs")
    with ChildPredictor({"lungs": bundle}, device="cpu", heartbeat_seconds=0.2) as predictor:
        yield predictor


@pytest.fixture(params=["child", "fake"])
def predictor(request: pytest.FixtureRequest) -> _Predictor:
    return request.getfixturevalue("child") if request.param == "child" else FakePredictor((LUNGS,))


def ask(path: Path, row: int = 0, *, models: tuple[str, ...] = ("lungs",), preview: bool = False) -> Request:
    return Request(row=row, path=path, transfer_syntax_uid="", models=models, preview=preview)


def made(folder: Path, name: str, spec: Radiograph) -> Path:
    write(spec, folder / name)
    return folder / name


def test_masks_lie_on_the_stored_rows_and_columns(predictor: _Predictor, tmp_path: Path) -> None:
    """Every mask is a whole boolean plane of the source's own size."""
    answer = predictor.predict([ask(made(tmp_path, "a", SOUND))], lambda: None)[0]
    masks = dict(answer.predictions[0].masks)
    assert list(masks) == ["right_lung", "left_lung", "heart"]
    for mask in masks.values():
        assert mask.dtype == np.bool_
        assert mask.shape == (400, 320)
        assert mask.flags.c_contiguous


def test_answers_come_in_the_order_of_the_requests(predictor: _Predictor, tmp_path: Path) -> None:
    """Images of different sizes, large ones first, come back in their places."""
    sizes = [(900, 700), (300, 280), (600, 640), (280, 300), (320, 260)]
    paths = [made(tmp_path, str(rows), Radiograph(rows=rows, cols=cols)) for rows, cols in sizes]
    answers = predictor.predict([ask(path, row) for row, path in enumerate(paths)], lambda: None)
    assert [answer.predictions[0].masks[0][1].shape for answer in answers] == sizes


def test_unreadable_image_fails_alone(predictor: _Predictor, tmp_path: Path) -> None:
    """A file that is text is a Failure in its place; its neighbours are answered."""
    paths = [
        made(tmp_path, "a", SOUND),
        made(tmp_path, "b", Radiograph(defect=Defect.GARBAGE)),
        made(tmp_path, "c", SOUND),
    ]
    answers = predictor.predict([ask(path) for path in paths], lambda: None)
    assert [answer.failure.code if answer.failure else "" for answer in answers] == ["", "unreadable", ""]
    assert answers[1].predictions == ()
    assert all(len(answers[place].predictions) == 1 for place in (0, 2))


def test_model_that_is_not_there_fails_alone(predictor: _Predictor, tmp_path: Path) -> None:
    """A model nobody loaded is a failed entry; the other model's prediction stands."""
    asked = ask(made(tmp_path, "a", SOUND), models=("lungs", "unheard-of"))
    answer = predictor.predict([asked], lambda: None)[0]
    assert [said.model.name for said in answer.predictions] == ["lungs"]
    assert [(name, why.code) for name, why in answer.failed] == [("unheard-of", "model_failed")]


def test_preview_comes_only_where_it_was_asked_for(predictor: _Predictor, tmp_path: Path) -> None:
    """A preview is 8 bits, 1024 pixels long at most, with the source's own aspect."""
    path = made(tmp_path, "a", Radiograph(rows=1500, cols=1200))
    with_it, without = predictor.predict([ask(path, preview=True), ask(path)], lambda: None)
    assert without.preview is None
    assert with_it.preview is not None
    assert with_it.preview.dtype == np.uint8
    rows, cols = with_it.preview.shape
    assert max(rows, cols) <= 1024
    assert rows / cols == pytest.approx(1500 / 1200, rel=0.01)
    assert int(np.ptp(with_it.preview)) > 100


def test_no_requests_give_no_answers(predictor: _Predictor) -> None:
    """An empty batch is answered at once."""
    assert list(predictor.predict([], lambda: None)) == []


def test_same_request_gives_the_same_bits(predictor: _Predictor, tmp_path: Path) -> None:
    """Asked twice, in other company, an image gets the same masks."""
    path, other = made(tmp_path, "a", SOUND), made(tmp_path, "b", Radiograph(seed=9))
    alone = predictor.predict([ask(path)], lambda: None)[0]
    among = predictor.predict([ask(other), ask(path), ask(other)], lambda: None)[1]
    for (_, one), (_, two) in zip(alone.predictions[0].masks, among.predictions[0].masks, strict=True):
        assert np.array_equal(one, two)


def test_same_pixels_are_known_in_another_transfer_syntax(predictor: _Predictor, tmp_path: Path) -> None:
    """RLE and plain hold the same values; another patient's picture does not."""
    plain = made(tmp_path, "plain", SOUND)
    packed = made(tmp_path, "rle", Radiograph(rows=400, cols=320, transfer_syntax=uid.RLELossless))
    other = made(tmp_path, "other", Radiograph(rows=400, cols=320, seed=2))
    assert plain.read_bytes() != packed.read_bytes()
    assert predictor.same_pixels(plain, packed)
    assert not predictor.same_pixels(plain, other)


def test_pixels_that_cannot_be_decoded_are_not_compared(predictor: _Predictor, tmp_path: Path) -> None:
    """Neither same nor other: Unsuitable says that it cannot be told."""
    garbage = made(tmp_path, "garbage", Radiograph(defect=Defect.GARBAGE))
    with pytest.raises(Unsuitable) as caught:
        predictor.same_pixels(made(tmp_path, "a", SOUND), garbage)
    assert caught.value.code == "unreadable"
