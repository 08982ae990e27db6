"""What counts as another answer where a model outlines structures: whether each is found, and where it lies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cxrnode.inference.bundle import BundleCard
from cxrnode.inference.card import FindingRule
from cxrnode.inference.reading import answers
from cxrnode.pixels.geometry import fit_letterbox, place, shrink
from cxrnode.pixels.normalise import prepare
from cxrnode.training.evaluation.answering import Answer
from cxrnode.training.evaluation.disguises import add_border, add_uneven_border
from cxrnode.training.evaluation.shortcuts import changes, spoken, try_shortcuts
from tests import crowds
from tests.fakes.bundle import CHANNELS, write_tiny_bundle
from tests.fakes.card import card

SIDE = 96
LUNG = card("segmentation", ["right_lung"], size=SIDE, operating_points={"right_lung": 0.5})
AIR = card(
    "segmentation",
    ["pneumothorax"],
    size=SIDE,
    operating_points={"pneumothorax": 0.5},
    findings=(FindingRule(name="pneumothorax", channel="pneumothorax", operating_point=0.5, low=0.5, high=0.5),),
)


def bright(top: int, bottom: int) -> NDArray[np.float32]:
    """Give a film with one bright structure, 40 columns wide."""
    film = np.zeros((SIDE, SIDE), dtype=np.float32)
    film[top:bottom, 20:60] = 1.0
    return film


def outlined(film: NDArray[np.float32], by: BundleCard = LUNG) -> Answer:
    """Give the answer of a model that outlines what is bright, on a film of any size."""
    box = fit_letterbox(film.shape[0], film.shape[1], SIDE)
    raw = place(shrink(film, box), box)[None]
    return Answer(raw=raw, letterbox=box, read=answers(by, raw, box))


@pytest.mark.parametrize(
    ("rows", "found", "moved"),
    [
        ((10, 70), False, False),
        ((12, 72), False, False),
        ((14, 74), False, True),
        ((10, 62), False, True),
        ((10, 11), True, True),
    ],
    ids=["as it was", "two of sixty rows lower", "four rows lower", "an eighth is gone", "nearly all is gone"],
)
def test_an_outline_that_moved_is_another_answer(rows: tuple[int, int], *, found: bool, moved: bool) -> None:
    """Whether the lung is found, and whether its outline lies where it lay, are two questions."""
    plain, other = (spoken(LUNG, outlined(bright(*each))) for each in ((10, 70), rows))
    assert changes(plain, other) == {"right_lung found": found, "right_lung outline": moved}


@pytest.mark.parametrize(("bottom", "moved"), [(64, False), (60, False), (55, True)])
def test_a_heart_may_differ_by_more_than_a_lung(bottom: int, *, moved: bool) -> None:
    """Dice 0.947, 0.909, 0.857: as readers do, whose hearts end where no film shows."""
    heart = card("segmentation", ["heart"], size=SIDE, operating_points={"heart": 0.5})
    plain, other = (spoken(heart, outlined(bright(10, one), heart)) for one in (70, bottom))
    assert changes(plain, other) == {"heart found": False, "heart outline": moved}


def test_what_is_not_found_on_the_plain_film_has_no_outline_to_keep() -> None:
    """Only whether it is found is asked."""
    plain, other = spoken(LUNG, outlined(bright(10, 11))), spoken(LUNG, outlined(bright(50, 51)))
    assert changes(plain, other) == {"right_lung found": False}


@pytest.mark.parametrize("seed", range(5))
def test_a_border_moves_no_outline_that_stays_on_the_patient(seed: int) -> None:
    """The outline is brought back onto the plain film, where a border shifted it; left where it is, it would differ."""
    film = bright(10, 70)
    framed, there = add_border(film, np.random.default_rng(seed))
    assert framed.shape != film.shape and np.array_equal(framed[there], film)
    seen = np.zeros_like(framed)
    seen[there] = film
    changed = changes(spoken(LUNG, outlined(film)), spoken(LUNG, outlined(seen), there))
    assert changed == {"right_lung found": False, "right_lung outline": False}


@pytest.mark.parametrize("seed", range(5))
def test_an_uneven_border_is_not_taken_for_a_flat_frame(seed: int) -> None:
    """The film in it is untouched, and what is shown to a network is more than the film."""
    film = np.random.default_rng(9).uniform(0.1, 0.9, (300, 240)).astype(np.float32)
    framed, there = add_uneven_border(film, np.random.default_rng(seed))
    flat, same_place = add_border(film, np.random.default_rng(seed))
    assert there == same_place and np.array_equal(framed[there], film)
    uneven, even = (prepare(one, 64)[1].window for one in (framed, flat))
    assert even.rows * even.cols < 1.03 * film.size
    assert uneven.rows * uneven.cols > 0.5 * (film.size + framed.size)


def test_a_model_with_a_finding_is_asked_for_it_and_not_for_its_outline() -> None:
    """A pneumothorax is called or not; a mask that is empty or thin would say little by its overlap."""
    plain, near, gone = (spoken(AIR, outlined(bright(*rows), AIR)) for rows in ((10, 20), (16, 26), (0, 0)))
    assert changes(plain, near) == {"pneumothorax": False}
    assert changes(plain, gone) == {"pneumothorax": True}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six films with drawn lungs and hearts."""
    folder = tmp_path_factory.mktemp("data") / "JSRT"
    crowds.WRITERS["JSRT"](folder)
    return folder


def last_convolution(network: torch.nn.Module) -> torch.nn.Conv2d:
    """Give the layer that makes the maps."""
    return [module for module in network.modules() if isinstance(module, torch.nn.Conv2d)][-1]


def sure(network: torch.nn.Module) -> None:
    """Let the network outline the whole film, whatever it shows."""
    with torch.no_grad():
        last_convolution(network).weight.zero_()
        last_convolution(network).bias.fill_(5.0)  # type: ignore[union-attr]


def test_a_model_that_outlines_the_same_each_time_passes(data: Path, tmp_path: Path) -> None:
    """Both questions for each structure and disguise, over all films."""
    bundle = write_tiny_bundle(tmp_path / "bundle", change=sure)
    found = try_shortcuts("tiny", data, bundle=bundle, part="all", threads=1)
    assert found.passed
    asked = {f"{channel} {question}" for channel in CHANNELS for question in ("found", "outline")}
    assert {one.asked for one in found.tried} == asked
    assert {(one.films, one.changed.value) for one in found.tried} == {(6, 0.0)}


def test_a_model_whose_outlines_hang_on_the_grain_fails_though_it_finds_all(data: Path, tmp_path: Path) -> None:
    """A network that was never trained outlines the film's texture: found each time, and each time elsewhere."""
    bundle = write_tiny_bundle(tmp_path / "bundle")
    found = try_shortcuts("tiny", data, bundle=bundle, part="all", threads=1)
    lost = {one.asked for one in found.tried if not one.passed}
    assert lost and all(asked.endswith("outline") for asked in lost)
    assert not found.passed
    assert "right_lung outline" in found.table()
