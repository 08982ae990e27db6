"""How lungs are learnt on films that are ill, portable or badly cut: one convention of two, shadows, a second run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cxrnode.errors import NeedsOperator
from cxrnode.inference.bundle import Network
from cxrnode.inference.network import build_network
from cxrnode.training import augment
from cxrnode.training.beginning import begin_from
from cxrnode.training.films import Film
from cxrnode.training.recipe import find_recipe
from cxrnode.training.samples import CUT, CUT_REACH, cache_film, draw_batch, fill_shelf
from cxrnode.training.tasks.segmentation import less_the_heart, reader_of

LUNGS = find_recipe("lungs")
SHIPPED = Path(__file__).parents[2] / "models"


class Seer:
    """A network that sees a heart in the middle third of whatever it is shown."""

    def __init__(self, card: object) -> None:
        """Take the card that names its channels."""
        self.card = card

    def predict(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give (N, 3, S, S) with the heart's plane bright in its middle third."""
        size = batch.shape[-1]
        said = np.zeros((len(batch), 3, size, size), dtype=np.float32)
        said[:, 2, size // 3 : 2 * size // 3, size // 3 : 2 * size // 3] = 1.0
        return said


def chest(rows: int = 96, cols: int = 96) -> Film:
    """Two oblong lungs, the left one drawn across the middle too, as those do who include the part behind the heart."""
    truth = np.zeros((3, rows, cols), dtype=np.bool_)
    truth[0, 10:86, 6:30] = True
    truth[1, 10:86, 50:90] = True
    image = np.random.default_rng(0).uniform(0.4, 0.6, (rows, cols)).astype(np.float32)
    image[truth[0] | truth[1]] -= 0.3
    return Film(image=image, truth=truth, labelled=np.array([True, True, False]), pixel_aspect=1.0)


def test_what_the_bundle_sees_as_heart_is_no_lung() -> None:
    """The drawn lung loses the heart's place and nothing else."""
    film = chest()
    network = Seer(Network.load(SHIPPED / "lungs").card)
    left = less_the_heart(film, network).truth  # type: ignore[arg-type]
    assert np.array_equal(left[0], film.truth[0])
    assert not left[1, 36:60, 50:60].any()
    assert left[1, 36:60, 68:90].all()
    assert left[1, 10:28, 50:90].all()


def test_only_the_named_sources_lose_the_heart() -> None:
    """A recipe that names none asks no bundle: it need not be there."""
    reader_of(LUNGS, Path("nowhere"))
    with pytest.raises(NeedsOperator, match="lungs' bundle"):
        reader_of(find_recipe("lungs-robust"), Path("nowhere"))


def test_a_second_run_begins_with_the_first_ones_weights() -> None:
    """Every weight of the shipped lungs is there before the first step."""
    recipe = find_recipe("lungs-robust")
    network = build_network(recipe.network)
    begin_from(network, recipe, SHIPPED)
    kept = torch.load(SHIPPED / "lungs" / "models" / "model.pt", map_location="cpu", weights_only=True)
    state = network.state_dict()
    assert kept.keys() == state.keys()
    assert all(torch.equal(state[key].float(), value.float()) for key, value in kept.items())


def test_a_bundle_of_another_shape_is_no_beginning() -> None:
    """Half of the weights would be chance: that is refused, not trained."""
    recipe = replace(find_recipe("lungs-robust"), network={**LUNGS.network, "channels": [8, 96], "strides": [2]})
    with pytest.raises(NeedsOperator, match="another network"):
        begin_from(build_network(recipe.network), recipe, SHIPPED)


def test_a_whiteout_makes_one_side_bright_and_stays_a_picture() -> None:
    """Somewhere the air is gone; the other side, on the whole, is as it was."""
    image = chest().image
    shares = []
    for seed in range(40):
        changed = augment.DENSE[0][1](image, np.random.default_rng(seed))
        assert changed.shape == image.shape
        assert np.isfinite(changed).all()
        brighter = changed - image > 0.1
        halves = sorted((float(brighter[:, :48].mean()), float(brighter[:, 48:].mean())))
        shares.append(halves[1])
        assert halves[1] > 2 * halves[0]
    assert np.mean(shares) > 0.2


def test_letters_are_bright_and_few() -> None:
    """They cover a little of the picture and leave the rest alone."""
    image = np.full((200, 200), 0.2, dtype=np.float32)
    shares = []
    for seed in range(30):
        changed = augment._letters(image, np.random.default_rng(seed))
        moved = np.abs(changed - image) > 0.01
        assert (changed >= image - 0.01).all()
        shares.append(moved.mean())
    assert 0.001 < np.mean(shares) < 0.1


def test_some_films_are_cut_through_a_lung_and_the_truth_with_them() -> None:
    """A film that may be moved further loses more of its lungs at the picture's edge; every eighth may."""
    film = cache_film(chest(), 64)

    def seen(reach: float) -> float:
        draws = [augment.draw_sample(film, 64, np.random.default_rng(seed), (), reach) for seed in range(100)]
        return float(np.quantile([one.truth[:2].sum((1, 2)).min() for one in draws], 0.1))

    assert seen(CUT_REACH) < 0.9 * seen(augment.REACH)
    reaches: list[float] = []

    def noting(*given: object) -> augment.Sample:
        reaches.append(float(given[4]))  # type: ignore[arg-type]
        return augment.draw_sample(film, 64, np.random.default_rng(0))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cxrnode.training.samples.draw_sample", noting)
        for number in range(25):
            draw_batch(fill_shelf([(chest(), "jsrt")], 64), LUNGS, 16, 3, number)
    assert set(reaches) == {augment.REACH, CUT_REACH}
    assert np.mean(np.array(reaches) == CUT_REACH) == pytest.approx(CUT, abs=0.05)
