"""Recipes as files: what a variant changes, what is frozen, where weights come from, and several side by side."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cxrnode.errors import NeedsOperator
from cxrnode.inference.network import build_network
from cxrnode.training.beginning import begin_from, gray_of
from cxrnode.training.freezing import blocks_of, freeze
from cxrnode.training.options import TrainOptions
from cxrnode.training.recipe import FOLDER, find_recipe, recipe_names

CLASSIFIERS = [name for name in recipe_names() if name.startswith("classifier")]


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_builds_the_network_that_its_bundle_states(name: str) -> None:
    """The network takes the recipe's input and has the recipe's channels."""
    recipe = find_recipe(name)
    network = build_network(recipe.network).eval()
    with torch.inference_mode():
        said = network(torch.rand(1, 1, recipe.size, recipe.size))
    corners = 4 if recipe.kind == "detection" else 0
    assert said.shape[1] == len(recipe.channels) + corners
    assert recipe.model == name.partition("-")[0]
    assert getattr(network, "size", recipe.size) == recipe.size


def test_a_variant_changes_what_it_names_and_nothing_else() -> None:
    """One loss instead of two: the rest is the recipe that it extends."""
    whole, variant = find_recipe("lungs"), find_recipe("lungs-bce")
    assert variant.loss == {"dice": 0.0, "entropy": 2.0}
    assert (variant.network, variant.samples, variant.card) == (whole.network, whole.samples, whole.card)


def test_a_variant_with_another_network_takes_nothing_of_the_old_one() -> None:
    """No argument of one constructor reaches another's."""
    assert "dropout" not in find_recipe("classifier-densenet121-all").network


def test_a_recipe_of_ones_own_is_a_file(tmp_path: Path) -> None:
    """Named by its path, it may extend one beside it."""
    (tmp_path / "lungs.toml").write_text((FOLDER / "lungs.toml").read_text())
    (tmp_path / "lungs-mine.toml").write_text('extends = "lungs"\n[options]\nlearning_rate = 0.5\n')
    recipe = find_recipe(str(tmp_path / "lungs-mine.toml"))
    assert TrainOptions.of(recipe.options).learning_rate == 0.5
    assert TrainOptions.of(recipe.options, {"learning_rate": 0.1}).learning_rate == 0.1


def test_what_a_caller_gives_wins_over_the_recipe_even_where_it_is_the_default() -> None:
    """Whoever asks for as many steps as there would be without a recipe gets them."""
    plain = TrainOptions()
    assert TrainOptions.of({"steps": 600, "batch": 24}, {"steps": plain.steps}) == replace(plain, batch=24)


def test_an_option_that_there_is_none_of_is_named() -> None:
    """A misspelt option of a recipe is not passed over in silence."""
    with pytest.raises(NeedsOperator, match="learning_rat"):
        TrainOptions.of({"learning_rat": 0.5})


@pytest.mark.parametrize("name", ["mine.toml", "lungs.toml"])
def test_a_recipe_of_ones_own_extends_one_of_the_programs(tmp_path: Path, name: str) -> None:
    """Nothing is beside it, or only itself: the program's recipe of that name is meant."""
    (tmp_path / name).write_text('extends = "lungs"\n[loss]\ndice = 0.5\n')
    recipe, whole = find_recipe(str(tmp_path / name)), find_recipe("lungs")
    assert recipe.loss == {**whole.loss, "dice": 0.5}
    assert recipe.network == whole.network


def test_a_recipe_with_a_mistake_is_named(tmp_path: Path) -> None:
    """The operator learns which file, and what is wrong with it."""
    (tmp_path / "odd.toml").write_text('model = "lungs"\nsizes = 3\n')
    with pytest.raises(NeedsOperator, match=r"odd\.toml"):
        find_recipe(str(tmp_path / "odd.toml"))


@pytest.mark.parametrize("name", [name for name in CLASSIFIERS if name.endswith(("head", "last_block", "all"))])
def test_head_last_block_or_all_learn(name: str) -> None:
    """What is frozen takes no gradient and stays in eval mode; what learns does."""
    recipe = find_recipe(name)
    network = build_network(recipe.network).train()
    still = freeze(network, recipe.init)
    learning = {key for key, weight in network.named_parameters() if weight.requires_grad}
    everything = {key for key, _ in network.named_parameters()}
    last = {key for key, weight in network.named_parameters() if any(weight is one for one in _last_block(network))}
    assert not any(part.training for part in still)
    if recipe.init["learns"] == "all":
        assert learning == everything
    elif recipe.init["learns"] == "last_block":
        assert last <= learning < everything
    else:
        assert learning and not learning & last


def _last_block(network: torch.nn.Module) -> list[torch.nn.Parameter]:
    return [weight for part in blocks_of(network)[-1] for weight in part.parameters()]


def test_a_network_whose_blocks_are_not_known_is_not_frozen_in_silence() -> None:
    """A recipe that asks for it is refused."""
    network = build_network(find_recipe("lungs").network)
    with pytest.raises(NeedsOperator, match="blocks"):
        freeze(network, {"frozen_stages": 2})


def test_imagenet_weights_see_gray_as_they_saw_gray_in_three_colours() -> None:
    """The first layer summed over its colours gives the same as one gray picture three times."""
    torch.manual_seed(0)
    colour, gray = (torch.nn.Conv2d(channels, 4, 3) for channels in (3, 1))
    gray.load_state_dict(gray_of(colour.state_dict(), gray.state_dict()))
    picture = torch.rand(2, 1, 9, 9)
    assert torch.allclose(colour(picture.expand(-1, 3, -1, -1)), gray(picture), atol=1e-5)


def test_the_backbone_begins_with_the_published_weights() -> None:
    """The installed package's stem, summed over its colours, is the network's."""
    recipe = find_recipe("classifier")
    network = build_network(recipe.network)
    before = network.state_dict()["trunk._blocks.6.15._project_conv.weight"].clone()
    begin_from(network, recipe, None)
    assert not torch.equal(before, network.state_dict()["trunk._blocks.6.15._project_conv.weight"])


def test_a_recipe_that_begins_from_a_bundle_that_is_not_there_says_which(tmp_path: Path) -> None:
    """No silent start from scratch."""
    recipe = replace(find_recipe("classifier"), init={"from": "bundle:nowhere"})
    with pytest.raises(NeedsOperator, match="nowhere"):
        begin_from(build_network(recipe.network), recipe, tmp_path)
