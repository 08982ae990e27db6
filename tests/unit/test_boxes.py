"""Films with boxes: whose boxes count, how boxes move with the picture, and a training that draws and looks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from cxrnode.inference.card import CORNERS, BoxRule
from cxrnode.inference.reading import box_candidates
from cxrnode.training import boxes
from cxrnode.training.boxes import BoxTruth, Readers, cache_boxes, draw_boxes, extents, true_boxes
from cxrnode.training.example import Example, TrueBox
from cxrnode.training.options import TrainOptions
from cxrnode.training.recipe import Recipe, find_recipe
from cxrnode.training.tasks.detection import Detection, look, prepare_check, with_weak_labels
from tests.fakes.card import card

READERS = Readers(
    counts={"rsna": ["lung_opacity"], "chestxdet": ["Consolidation"]},
    unsure={"chestxdet": ["Effusion"]},
    answer="lung_opacity",
)
FILM = Example(name="film", source="nih", patient="P", part="train", image=Path("film.png"))
SIZE = 64


def _box(label: str, by: str, corners: Sequence[float] = (10, 20, 40, 60)) -> TrueBox:
    left, top, right, bottom = corners
    return TrueBox(label=label, drawn_by=by, left=left, top=top, right=right, bottom=bottom)


def _read(example: Example) -> tuple[int, bool, float]:
    truth = true_boxes(example, READERS)
    return len(truth.boxes), truth.whole, truth.probability


def test_a_film_without_boxes_is_clear_only_where_somebody_looked() -> None:
    """Nobody's boxes are no answer; looked at and none drawn is one."""
    assert _read(replace(FILM, boxes=())) == (0, True, 0.0)
    count, whole, probability = _read(FILM)
    assert (count, whole) == (0, False)
    assert math.isnan(probability)


def test_the_first_reader_who_looked_has_the_say() -> None:
    """RSNA's readers found no opacity: what another reader drew there does not count."""
    both = (_box("Consolidation", "chestxdet"), _box("lung_opacity", "rsna"))
    assert _read(replace(FILM, boxes=both, classes={"rsna": "lung_opacity"})) == (1, True, 1.0)
    assert _read(replace(FILM, boxes=both[:1], classes={"rsna": "not_normal"})) == (0, True, 0.0)
    assert _read(replace(FILM, boxes=both[:1])) == (1, True, 1.0)


def test_a_box_that_may_be_one_makes_a_film_nobodys() -> None:
    """An effusion alone is neither an opacity nor none; beside a consolidation, others may have been left undrawn."""
    count, whole, probability = _read(replace(FILM, boxes=(_box("Effusion", "chestxdet"),)))
    assert (count, whole, math.isnan(probability)) == (0, False, True)
    beside = (_box("Effusion", "chestxdet"), _box("Consolidation", "chestxdet"))
    assert _read(replace(FILM, boxes=beside)) == (1, False, 1.0)


def test_a_box_of_another_thing_leaves_the_film_clear() -> None:
    """A reader who drew a fracture looked, and drew no opacity; a reader who is not asked did not look."""
    assert _read(replace(FILM, boxes=(_box("Fracture", "chestxdet"),))) == (0, True, 0.0)
    assert math.isnan(_read(replace(FILM, boxes=(_box("Pneumonia", "nih"),)))[2])


@pytest.fixture
def drawn(tmp_path: Path) -> Example:
    """A film of 90 by 120 with a bright oval and its box."""
    return _draw(tmp_path / "drawn.png", FILM, (20.0, 30.0, 50.0, 74.0))


def _draw(path: Path, example: Example, box: tuple[float, float, float, float] | None) -> Example:
    y, x = np.mgrid[0:90, 0:120] + 0.5
    image = 0.25 + 0.1 * np.sin(x / 9) + np.random.default_rng(3).normal(0, 0.02, (90, 120))
    if box is not None:
        left, top, right, bottom = box
        oval = (2 * x - left - right) ** 2 / (right - left) ** 2 + (2 * y - top - bottom) ** 2 / (bottom - top) ** 2
        image[oval < 1] = 0.95
    Image.fromarray(np.clip(image * 255, 0, 255).astype(np.uint8)).save(path)
    boxes = () if box is None else (_box("lung_opacity", "rsna", box),)
    classes = {"rsna": "normal" if box is None else "lung_opacity"}
    return replace(example, image=path, boxes=boxes, classes=classes)


def test_a_sample_is_a_function_of_film_and_generator(drawn: Example) -> None:
    """The same generator, the same picture and boxes; another, another."""
    film = cache_boxes(drawn, true_boxes(drawn, READERS), SIZE)
    one, same, other = (draw_boxes(film, SIZE, np.random.default_rng(seed), mirror=0.5) for seed in (5, 5, 6))
    assert np.array_equal(one.image, same.image)
    assert np.array_equal(one.boxes, same.boxes)
    assert not np.array_equal(one.image, other.image)


@pytest.mark.parametrize("mirror", [0.0, 1.0])
def test_boxes_stay_on_what_is_seen(drawn: Example, mirror: float) -> None:
    """However a film is bent, mirrored or cropped: what is brighter than all else lies in the box."""
    film = cache_boxes(drawn, true_boxes(drawn, READERS), SIZE)
    inside: list[NDArray[np.bool_]] = []
    for seed in range(40):
        sample = draw_boxes(film, SIZE, np.random.default_rng(seed), mirror)
        for left, top, right, bottom in sample.boxes.astype(int):
            middle = sample.image[0, (top + bottom) // 2, (left + right) // 2]
            inside.append(middle > np.quantile(sample.image, 0.7))
    assert len(inside) > 30
    assert np.mean(inside) > 0.9


def test_a_mirrored_sample_is_the_sample_seen_from_behind(drawn: Example) -> None:
    """Picture and box change sides together."""
    film = cache_boxes(drawn, true_boxes(drawn, READERS), SIZE)
    plain, mirrored = (draw_boxes(film, SIZE, np.random.default_rng(2), mirror) for mirror in (0.0, 1.0))
    assert np.array_equal(plain.image[..., ::-1], mirrored.image)
    assert np.allclose(plain.boxes[:, [2, 1, 0, 3]] * [-1, 1, -1, 1] + [SIZE, 0, SIZE, 0], mirrored.boxes)


def test_gray_values_are_changed_as_often_as_the_recipe_says(drawn: Example, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change that blanks six pictures in ten blanks three at half that, none at nought."""
    blank = (0.6, lambda image, rng: np.zeros_like(image))
    monkeypatch.setattr(boxes, "CHANGES", (blank,))
    film = cache_boxes(drawn, true_boxes(drawn, READERS), SIZE)
    blanked = {
        gray: np.mean(
            [not draw_boxes(film, SIZE, np.random.default_rng(seed), gray=gray).image.any() for seed in range(60)]
        )
        for gray in (0.0, 0.5, 1.0)
    }
    assert blanked[0.0] == 0
    assert 0.15 < blanked[0.5] < 0.45 < blanked[1.0] < 0.75


def test_a_film_whose_box_was_lost_no_longer_says_that_there_is_one(drawn: Example) -> None:
    """Moved out of the picture, an opacity is no longer to be seen: nothing is learnt of the whole film."""
    truth = BoxTruth(boxes=(_box("lung_opacity", "rsna", (-90, -90, -60, -60)),), whole=True, probability=1.0)
    sample = draw_boxes(cache_boxes(drawn, truth, SIZE), SIZE, np.random.default_rng(0))
    assert len(sample.boxes) == 0
    assert math.isnan(sample.probability)


def test_a_sliver_is_no_box() -> None:
    """What a border left of a mask counts from eight pixels on, either way."""
    masks = np.zeros((4, 32, 32), dtype=np.float32)
    masks[0, 2:12, 3:20] = 1
    masks[1, 2:9, 3:20] = 1
    masks[2, 2:20, 3:10] = 1
    assert extents(masks).tolist() == [[3, 2, 20, 12]]


def test_a_weak_label_is_worth_what_it_earned_on_films_that_were_read() -> None:
    """Of two oedemas one was an opacity: a third has one with (1 + 1) / 4; a label nobody saw is worth nothing."""
    yes, no = BoxTruth(boxes=(), whole=False, probability=1.0), BoxTruth(boxes=(), whole=True, probability=0.0)
    unread = BoxTruth(boxes=(), whole=False, probability=math.nan)
    oedema, strange = {"nih.Edema": True}, {"nih.Hernia": True}
    labelled = [(oedema, yes), (oedema, no), (oedema, unread), (strange, unread)]
    known = with_weak_labels([(replace(FILM, labels=labels), truth) for labels, truth in labelled])
    assert [truth.probability for _, truth in known] == [1.0, 0.0, 0.5]


@pytest.fixture
def films(tmp_path: Path) -> list[Example]:
    """Four films with an opacity and four without in the training part, as many to check on, and two weak ones."""
    made = []
    for number in range(16):
        part = "train" if number < 8 else "validate"
        example = replace(FILM, name=f"film{number}", patient=f"P{number}", part=part, labels={"nih.Edema": True})  # type: ignore[arg-type]
        box = (20.0 + number, 30.0, 50.0 + number, 74.0) if number % 2 else None
        made.append(_draw(tmp_path / f"{number}.png", example, box))
    weak = replace(made[0], name="weak", boxes=None, classes={})
    return [*made, weak, replace(weak, labels={})]


def _recipe() -> Recipe:
    whole = find_recipe("opacity")
    small = {"size": SIZE, "width": 16, "anchor_sizes": [[12.0], [24.0]]}
    return replace(whole, size=SIZE, network={**whole.network, **small})


def test_films_are_drawn_by_how_well_they_are_known(films: list[Example]) -> None:
    """Half of what is drawn has boxes, although fewer films do; a film of which nothing is known is never drawn."""
    training = Detection(_recipe(), films, TrainOptions(batch=8, seed=3))
    assert training.counts() == {"boxed": 4, "clear": 4, "weak": 1, "checks": 8}
    batches = [training.batch(number) for number in range(12)]
    assert batches[0].images.shape == (8, 1, SIZE, SIZE)
    boxed = np.concatenate([[len(boxes) > 0 for boxes in batch.boxes] for batch in batches])
    assert 0.35 < boxed.mean() < 0.65
    assert all(np.array_equal(training.batch(5).images, training.batch(5).images) for _ in range(2))


def test_a_step_of_training_gives_a_loss_and_a_look_gives_scores(films: list[Example]) -> None:
    """A network that knows nothing: a finite loss with gradients everywhere that learns, and scores between 0 and 1."""
    training = Detection(_recipe(), films, TrainOptions(batch=4))
    training.loss(training.network.train(), training.batch(0)).backward()  # type: ignore[no-untyped-call]
    assert all(weight.grad is not None for weight in training.network.parameters())
    scores = training.validate(training.network.eval())
    assert set(scores) == {"score", "mean_precision", "auc"}
    assert all(0.0 <= value <= 1.0 for value in scores.values())


def test_a_validation_film_is_prepared_as_the_node_does_with_its_boxes_on_the_grid(drawn: Example) -> None:
    """90 by 120 onto 64 by 64: eight empty rows above, and the box around the bright oval."""
    check = prepare_check(drawn, true_boxes(drawn, READERS), SIZE)
    left, top, right, bottom = check.boxes[0]
    scale = SIZE / 120
    assert (left, top, right, bottom) == pytest.approx((20 * scale, 8 + 30 * scale, 50 * scale, 8 + 74 * scale))
    assert not check.image[:8].any()
    assert check.image[int(top + bottom) // 2, int(left + right) // 2] > 0.9


def test_a_checkpoint_is_judged_by_the_boxes_that_the_node_would_choose(films: list[Example]) -> None:
    """The same heaps, the same ends at the picture's borders, as many of them, in the same order."""
    network = Detection(_recipe(), films, TrainOptions()).network.eval()
    check = prepare_check(films[1], true_boxes(films[1], READERS), SIZE)
    rule = BoxRule(overlap=0.2, most=5, inside=0.5)
    found = look(network, check, rule)
    with torch.inference_mode():
        image = torch.from_numpy(check.image[None, None]).to(memory_format=torch.channels_last)
        raw = network(image)[0].numpy()
    node = box_candidates(card("detection", ("opacity", *CORNERS), SIZE, boxes=rule), raw, check.letterbox)
    assert len(node) == 5
    assert found.said.tolist() == [[box.left, box.top, box.right, box.bottom] for box in node]
    assert found.probabilities.tolist() == pytest.approx([box.probability for box in node])
