"""Training a pneumothorax model, in small: groups, batches, loss, the quick look, lungs that are found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from cxrnode.errors import NeedsOperator
from cxrnode.training.example import Example, MaskAt, Part
from cxrnode.training.hosts import LungFinder, believable, take_host
from cxrnode.training.options import TrainOptions
from cxrnode.training.recipe import find_recipe
from cxrnode.training.tasks import build_task
from cxrnode.training.tasks.pneumothorax import LABEL, Batch, Pneumothorax, film_loss, grouped
from tests.fakes.bundle import write_tiny_bundle

SIZE = 64
ROWS, COLS = 100, 110
TINY = {
    "_target_": "monai.networks.nets.BasicUNet",
    "spatial_dims": 2,
    "in_channels": 1,
    "out_channels": 1,
    "features": [4, 4, 4, 4, 4, 4],
}
RECIPE = replace(find_recipe("pneumothorax"), size=SIZE, network=TINY)
OPTIONS = TrainOptions(batch=8, seed=5)


def _lung(side: int) -> NDArray[np.bool_]:
    y, x = np.ogrid[0:ROWS, 0:COLS]
    return np.asarray(((y - 50) / 38) ** 2 + ((x - (30, 80)[side]) / 19) ** 2 < 1)


def _write_film(folder: Path, name: str) -> Path:
    rng = np.random.default_rng(len(name))
    y, x = np.mgrid[0:ROWS, 0:COLS]
    image = np.where(_lung(0) | _lung(1), 0.3, 0.7) + 0.1 * (np.sin(y / 4) > 0.3) + 0.1 * ((x + y) % 9 < 2)
    path = folder / f"{name}.png"
    Image.fromarray(np.clip((image + rng.normal(0, 0.01, image.shape)) * 255, 0, 255).astype(np.uint8)).save(path)
    return path


def _film(folder: Path, name: str, part: Part, source: str = "jsrt", **known: object) -> Example:
    lungs = folder / "lungs.png"
    if not lungs.is_file():
        Image.fromarray((_lung(0) * 1 + _lung(1) * 2).astype(np.uint8)).save(lungs)
    masks = {"right_lung": (MaskAt(path=lungs, value=1),), "left_lung": (MaskAt(path=lungs, value=2),)}
    masks |= known.pop("masks", {})  # type: ignore[arg-type]
    image = _write_film(folder, name)
    return Example(name=name, source=source, patient=name, part=part, image=image, masks=masks, **known)  # type: ignore[arg-type]


def _drawn(folder: Path) -> dict[str, tuple[MaskAt, ...]]:
    path = folder / "air.png"
    air = _lung(1) & (np.arange(ROWS)[:, None] < 35)
    Image.fromarray((air * 255).astype(np.uint8)).save(path)
    return {"pneumothorax": (MaskAt(path=path),)}


@pytest.fixture
def films(tmp_path: Path) -> list[Example]:
    """Three sound films, one reported, one drawn and two sound ones to check on."""
    return [
        *(_film(tmp_path, f"sound{number}", "train") for number in range(3)),
        _film(tmp_path, "reported", "train", "nih", labels={LABEL: True}),
        _film(tmp_path, "check", "validate", "siim", masks=_drawn(tmp_path)),
        _film(tmp_path, "check sound", "validate", "nih", labels={"nih.No Finding": True}),
        _film(tmp_path, "check effusion", "validate", "nih", labels={"nih.Effusion": True}),
        _film(tmp_path, "check reported", "validate", "nih", labels={LABEL: True}),
    ]


def _task(films: Sequence[Example], out: Path, **changes: object) -> Pneumothorax:
    task = build_task(replace(RECIPE, **changes), films, OPTIONS, out)  # type: ignore[arg-type]
    assert isinstance(task, Pneumothorax)
    return task


def test_a_reported_pneumothorax_is_never_taken_for_a_sound_film(films: list[Example]) -> None:
    """It is in the group of the reported, and so no host."""
    groups, _ = grouped([film for film in films if film.part == "train"], RECIPE)
    assert [film.name for film in groups["untouched"]] == ["sound0", "sound1", "sound2"]
    assert [film.name for film in groups["reported"]] == ["reported"]
    assert groups["drawn"] == []


def test_batches_are_functions_of_their_number(films: list[Example], tmp_path: Path) -> None:
    """The same number, the same batch, in another task of the same films too; another number, another batch."""
    task, twin = _task(films, tmp_path), _task(films, tmp_path)
    one, same, other = task.batch(3), twin.batch(3), task.batch(4)
    assert one.images.shape == one.truth.shape == (8, 1, SIZE, SIZE)
    assert np.array_equal(one.images, same.images)
    assert np.array_equal(one.truth, same.truth)
    assert not np.array_equal(one.images, other.images)


def test_every_group_is_drawn_and_says_what_it_knows(films: list[Example], tmp_path: Path) -> None:
    """Simulated: outlined and present; untouched: outlined and absent; reported: present without an outline."""
    task = _task(films, tmp_path)
    batches = [task.batch(number) for number in range(12)]
    kinds = {(bool(o), bool(p)) for batch in batches for o, p in zip(batch.outlined, batch.present, strict=True)}
    assert kinds == {(True, True), (True, False), (False, True)}
    for batch in batches:
        area = (batch.truth > 0.5).sum((1, 2, 3))
        assert (area[(batch.outlined == 1) & (batch.present == 1)] > 0).all()
        assert (area[batch.outlined == 0] == 0).all()


def test_a_group_without_films_leaves_its_share_to_the_others(films: list[Example], tmp_path: Path) -> None:
    """Without reports every film is outlined; with drawn films to learn from they are drawn."""
    unreported = _task([film for film in films if film.name != "reported"], tmp_path)
    assert all(unreported.batch(number).outlined.all() for number in range(6))
    drawn = _film(tmp_path, "drawn", "train", "siim", masks=_drawn(tmp_path))
    only_drawn = _task([drawn, *films[4:]], tmp_path, samples={"shares": {"drawn": 1.0, "simulated": 1.0}})
    assert only_drawn.counts() == {"drawn": 1, "untouched": 0, "reported": 0, "hosts": 0, "checks": 4}
    assert only_drawn.batch(0).present.sum() >= 6


def test_drawn_films_for_training_keep_their_masks(tmp_path: Path) -> None:
    """Unaugmented, the truth is the mask, or its mirror image, on the network's grid."""
    drawn = _film(tmp_path, "drawn", "train", "siim", masks=_drawn(tmp_path))
    check = _film(tmp_path, "check", "validate", "siim", masks=_drawn(tmp_path))
    task = _task([drawn, check], tmp_path, samples={"augment": False, "decoys": False, "shares": {"drawn": 1.0}})
    truth = task.batch(0).truth[:, 0] > 0.5
    share = (_lung(1) & (np.arange(ROWS)[:, None] < 35)).sum() / (COLS * COLS)
    assert truth.mean((1, 2)) == pytest.approx(np.full(8, share), rel=0.15)
    sides = {bool(np.nonzero(one)[1].mean() > SIZE / 2) for one in truth}
    assert sides == {True, False}


def test_films_without_one_are_disturbed_as_often_as_the_recipe_says(films: list[Example], tmp_path: Path) -> None:
    """Disturbed, no sample is the film as it is and its truth is still empty; undisturbed, every sample is."""
    one = [films[0], *films[4:]]
    samples = {"augment": False, "decoys": False, "shares": {"untouched": 1.0}}
    plain, disturbed = (_task(one, tmp_path, samples={**samples, "disturbed": d}).batch(0) for d in (0.0, 1.0))
    faces = [plain.images[0], plain.images[0][..., ::-1]]
    assert all(min(np.abs(image - face).max() for face in faces) < 0.01 for image in plain.images)
    assert all(min(np.abs(image - face).max() for face in faces) > 0.05 for image in disturbed.images)
    assert not disturbed.truth.any()
    assert not disturbed.present.any()


def test_what_is_not_outlined_speaks_by_the_film_alone() -> None:
    """Two pixels over another changes nothing where only the report is known; outlined, it does."""
    truth, present = torch.zeros(1, 1, 32, 32), torch.ones(1)
    here, there = (torch.full((1, 1, 32, 32), -4.0) for _ in range(2))
    here[..., 3, 3:5], there[..., 20, 20:22] = 5.0, 5.0
    truth[..., 3, 3:5] = 1.0

    def loss(logits: Tensor, outlined: float) -> float:
        return float(film_loss(logits, truth, torch.full((1,), outlined), present, {}))

    assert loss(here, 0.0) == pytest.approx(loss(there, 0.0))
    assert loss(here, 1.0) < loss(there, 1.0)
    assert loss(here, 0.0) < loss(torch.full((1, 1, 32, 32), -4.0), 0.0)


class _Fixed(nn.Module):
    """Says the same map of every film."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, images: Tensor) -> Tensor:
        return self.logits.expand(len(images), 1, SIZE, SIZE)


def test_the_quick_look_rewards_the_truth(films: list[Example], tmp_path: Path) -> None:
    """Who says the drawn mask of every film overlaps wholly and tells nothing apart; silence overlaps none."""
    task = _task(films, tmp_path)
    truth = torch.from_numpy(_check_truth(films[4], tmp_path)).float()[None, None]
    with torch.inference_mode():
        told = task.validate(_Fixed(truth * 12 - 6))
        silent = task.validate(_Fixed(torch.full((1, 1, SIZE, SIZE), -6.0)))
    # The mask for training was shrunk in two steps, that of the check in one.
    assert told["dice"] > 0.92
    assert silent["dice"] == 0.0
    assert told["auc"] == silent["auc"] == 0.5
    assert told["score"] == pytest.approx((told["dice"] + told["auc"]) / 2)


def test_a_mask_said_softly_counts_as_much_as_one_said_loudly(films: list[Example], tmp_path: Path) -> None:
    """Where a mask is cut is chosen after the training, so the quick look does not choose it before."""
    task = _task(films, tmp_path)
    truth = torch.from_numpy(_check_truth(films[4], tmp_path)).float()[None, None]
    with torch.inference_mode():
        loud, soft = (task.validate(_Fixed(truth * (top + 6) - 6)) for top in (6, -1))
    assert soft == loud


class _Said(nn.Module):
    """Says one logit all over each film, in turn."""

    def __init__(self, *logits: float) -> None:
        super().__init__()
        self.device = nn.Parameter(torch.zeros(1))
        self.logits = iter(logits)

    def forward(self, images: Tensor) -> Tensor:
        return torch.full((len(images), 1, SIZE, SIZE), next(self.logits))


def test_each_film_of_the_quick_look_counts_once_drawn_or_reported(films: list[Example], tmp_path: Path) -> None:
    """Of four pairs the drawn one wins two, and the reported one, between the two sound films, one."""
    task = _task(films, tmp_path)
    with torch.inference_mode():
        assert task.validate(_Said(3.0, -3.0, -1.0, -2.0))["auc"] == 0.75


def _check_truth(film: Example, out: Path) -> NDArray[np.float32]:
    """Give the drawn mask on the grid, from a task that learns from the film unaugmented."""
    task = _task(
        [replace(film, part="train"), film],
        out,
        samples={"augment": False, "decoys": False, "shares": {"drawn": 1.0}},
    )
    planes = task.batch(0).truth[:, 0]
    return next(plane for plane in planes if np.nonzero(plane > 0.5)[1].mean() > SIZE / 2)


def test_training_lowers_the_loss(films: list[Example], tmp_path: Path) -> None:
    """A few steps on one batch, and the network says more of it than it did."""
    torch.manual_seed(0)
    task = _task(films, tmp_path)
    batch = task.batch(0)
    assert isinstance(batch, Batch)
    optimiser = torch.optim.Adam(task.network.parameters(), lr=0.02)
    losses = []
    for _ in range(15):
        loss = task.loss(task.network, batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]


def test_without_a_drawn_film_to_check_on_reports_have_the_say(films: list[Example], tmp_path: Path) -> None:
    """Nothing simulated stands in for it; without reports too the operator learns what is missing."""
    undrawn = [film for film in films if film.name != "check"]
    with torch.inference_mode():
        told = _task(undrawn, tmp_path).validate(_Fixed(torch.full((1, 1, SIZE, SIZE), -6.0)))
    assert told == {"score": 0.5, "auc": 0.5}
    with pytest.raises(NeedsOperator, match="validation"):
        _task([film for film in undrawn if film.name != "check reported"], tmp_path)


def test_sound_films_of_other_sources_stand_in_for_the_hosts(films: list[Example], tmp_path: Path) -> None:
    """Where the recipe's hosts are missing: what readers found sound, and lungs that somebody drew, and it is said."""
    elsewhere = [replace(film, source="elsewhere") for film in films[:3]]
    seen = replace(elsewhere[0], name="seen", source="chestxdet", masks={**films[0].masks, "pneumothorax": ()})
    task = _task([*elsewhere, seen, *films[4:]], tmp_path)
    assert task.counts()["untouched"] == task.counts()["hosts"] == 4
    assert "none of the recipe's sources (nih, shenzhen, jsrt) is there" in task.shortfall.instead
    assert task.shortfall.sources == "chestxdet, elsewhere"


def test_the_lungs_bundle_is_named_where_it_is_missing(films: list[Example], tmp_path: Path) -> None:
    """A host whose lungs nobody drew needs it."""
    bare = replace(films[0], masks={})
    with pytest.raises(NeedsOperator, match="lungs' bundle"):
        build_task(RECIPE, [bare, *films[1:]], replace(OPTIONS, bundles=tmp_path), tmp_path)


def test_lungs_that_look_like_none_are_not_believed() -> None:
    """Both lungs on their sides and of like size pass; swapped, missing or tiny ones do not."""
    right, left = _lung(0), _lung(1)
    assert believable(np.stack([right, left]))
    assert not believable(np.stack([left, right]))
    assert not believable(np.stack([right, np.zeros_like(left)]))
    assert not believable(np.stack([right, left & (np.arange(ROWS)[:, None] < 25)]))


def test_found_lungs_are_kept_for_a_run_that_goes_on(films: list[Example], tmp_path: Path) -> None:
    """The second finder knows the answer without its network; of another bundle it does not take it."""
    bundle = write_tiny_bundle(tmp_path / "lungs", seed=1)
    first = LungFinder(bundle, tmp_path / "kept.npz")
    take_host(replace(films[0], masks={}), SIZE, first)
    first.keep()
    second = LungFinder(bundle, tmp_path / "kept.npz")
    other = LungFinder(write_tiny_bundle(tmp_path / "other", seed=2), tmp_path / "kept.npz")
    assert second.known() == first.known() == {films[0].name}
    assert other.known() == set()
