"""Hides which networks a bundle may name and how one is built.

Promises that nothing outside the table ALLOWED can be called, whatever a bundle's configuration says, and that torch
and MONAI are imported only when a network is built.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from cxrnode.errors import NeedsOperator

if TYPE_CHECKING:
    from torch import nn

ALLOWED: Mapping[str, str] = {
    "UNet": "monai.networks.nets",
    "BasicUNet": "monai.networks.nets",
    "DynUNet": "monai.networks.nets",
    "FlexibleUNet": "monai.networks.nets",
    "SegResNet": "monai.networks.nets",
    "DenseNet121": "monai.networks.nets",
    "EfficientNetBN": "monai.networks.nets",
}
"""A network's name and the module it comes from: constructors that take numbers and strings and touch no file."""

FORBIDDEN_ARGUMENTS = ("pretrained",)
"""Arguments that make a constructor of the table fetch something; only a false value passes."""


def build_network(definition: Mapping[str, Any]) -> nn.Module:
    """Build the network of a `network_def` with its references already resolved.

    Raises NeedsOperator where `_target_` is not in the table or its arguments do not fit.
    """
    target = str(definition.get("_target_", ""))
    name = _allowed_name(target)
    arguments = {key: value for key, value in definition.items() if not key.startswith("_")}
    if any(arguments.get(key) for key in FORBIDDEN_ARGUMENTS):
        raise _refusal("the network asks for pretrained weights from elsewhere", target)
    try:
        network: nn.Module = getattr(import_module(ALLOWED[name]), name)(**arguments)
    except (TypeError, ValueError, KeyError) as cause:
        raise _refusal("the network cannot be built from its arguments", target) from cause
    return network


def _allowed_name(target: str) -> str:
    module, _, name = target.rpartition(".")
    if name in ALLOWED and module in ("", ALLOWED[name]):
        return name
    raise _refusal("the bundle names a network that is not allowed", target)


def _refusal(happened: str, target: str) -> NeedsOperator:
    return NeedsOperator(
        happened, operation="build network", subject=target, hint="docs/operations.md, Bringing a model"
    )
