"""Hides where the blocks of a network are: ours, and MONAI's DenseNet, EfficientNet and ResNet.

Promises the usual three ways to take over a network that has learnt elsewhere: the head only, the last block too, or
all of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from cxrnode.errors import NeedsOperator


def freeze(network: nn.Module, init: Mapping[str, Any]) -> tuple[nn.Module, ...]:
    """Keep some of a network as it is; give those parts, which must stay in eval mode while the rest is trained.

    `init.learns` is "all", "last_block" (and the head), or "head"; `init.frozen_stages` a number of blocks from the
    picture on. Raises NeedsOperator for a network whose blocks are not known.
    """
    learns, count = str(init.get("learns", "all")), int(init.get("frozen_stages", 0))
    if learns == "all" and count == 0:
        return ()
    blocks = blocks_of(network)
    left = {"all": len(blocks) - count, "last_block": 1, "head": 0}.get(learns)
    if left is None:
        raise NeedsOperator(
            "a recipe's init.learns is all, last_block or head",
            operation="train",
            subject=learns,
            hint="docs/operations.md, Training a model",
        )
    still = tuple(part for block in blocks[: max(0, len(blocks) - left)] for part in block)
    for part in still:
        part.requires_grad_(False)
        part.eval()
    return still


def blocks_of(network: Any) -> list[tuple[nn.Module, ...]]:
    """List a network's blocks from the picture on, without its head; the stem goes with the first block.

    Raises NeedsOperator for a network that has none of the known shapes.
    """
    trunk = getattr(network, "trunk", network)
    if hasattr(trunk, "_blocks"):
        return _with_stem((trunk._conv_stem, trunk._bn0), [(block,) for block in trunk._blocks])
    if hasattr(network, "layer4"):
        layers = [(getattr(network, f"layer{number}"),) for number in (1, 2, 3, 4)]
        return _with_stem((network.conv1, network.bn1), layers)
    if hasattr(network, "features") and hasattr(network.features, "denseblock1"):
        return _dense_blocks(network.features)
    raise NeedsOperator(
        "the blocks of this network are not known, so none can be frozen",
        operation="train",
        subject=type(network).__name__,
        hint="docs/operations.md, Training a model",
    )


def _with_stem(stem: tuple[Any, ...], blocks: list[tuple[Any, ...]]) -> list[tuple[nn.Module, ...]]:
    return [(*stem, *blocks[0]), *blocks[1:]]


def _dense_blocks(features: Any) -> list[tuple[nn.Module, ...]]:
    """Cut a DenseNet's layers after each transition."""
    blocks: list[tuple[nn.Module, ...]] = []
    begun: list[nn.Module] = []
    for name, layer in features.named_children():
        begun.append(layer)
        if name.startswith("transition"):
            blocks.append(tuple(begun))
            begun = []
    return [*blocks, tuple(begun)]
