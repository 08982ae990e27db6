"""Hides which networks a bundle may name and how one is built.

Promises that nothing outside the table ALLOWED can be called, whatever a bundle's configuration says, and that torch
and MONAI are imported only when a network is built.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from inspect import signature
from itertools import count
from typing import TYPE_CHECKING, Any

from cxrnode.inference.configuration import reason, refusal

if TYPE_CHECKING:
    from torch import nn

ALLOWED: Mapping[str, str] = {
    "UNet": "monai.networks.nets",
    "BasicUNet": "monai.networks.nets",
    "DynUNet": "monai.networks.nets",
    "FlexibleUNet": "monai.networks.nets",
    "SegResNet": "monai.networks.nets",
    "AttentionUnet": "monai.networks.nets",
    "DenseNet121": "monai.networks.nets",
    "DenseNet169": "monai.networks.nets",
    "DenseNet201": "monai.networks.nets",
    "EfficientNetBN": "monai.networks.nets",
    "SEResNet50": "monai.networks.nets",
    "resnet18": "monai.networks.nets",
    "resnet50": "monai.networks.nets",
    "Classifier": "monai.networks.nets",
    "ChestClassifier": "cxrnode.inference.networks",
    "PictureGate": "cxrnode.inference.networks",
    "ChestDetector": "cxrnode.inference.detector",
    "ChestSegmenter": "cxrnode.inference.segmenter",
}
"""A network's name and the module it comes from: constructors that take numbers and strings and touch no file."""

MOST_LAYERS = 10_000
"""Ten times as many as the deepest network of the table has."""

FETCHES = "pretrained"
"""The argument that makes a constructor of the table fetch something: a bundle brings its own weights."""


def build_network(definition: Mapping[str, Any], *, place: str = "") -> nn.Module:
    """Build the network of a `network_def` with its references already resolved; `place` is where it is written.

    Raises NeedsOperator where `_target_` is not in the table or its arguments do not fit.
    """
    if not isinstance(definition, Mapping):
        raise refusal("the bundle defines no network", place)
    target = str(definition.get("_target_", ""))
    shown = ": ".join(part for part in (place, target) if part)
    constructor = _allowed(target, shown)
    arguments = {key: value for key, value in definition.items() if not key.startswith("_")}
    if arguments.get(FETCHES):
        raise refusal("the network asks for pretrained weights from elsewhere", shown)
    if FETCHES in signature(constructor).parameters:
        arguments[FETCHES] = False  # MONAI's EfficientNetBN fetches unless it is told not to
    try:
        with _of_some_size():
            return constructor(**arguments)
    except MemoryError:
        raise
    except Exception as cause:
        raise refusal(f"the network cannot be built from its arguments ({reason(cause)})", shown) from cause


@contextmanager
def _of_some_size() -> Iterator[None]:
    """Raise ValueError in this thread's constructors when they have made more than MOST_LAYERS: one given a number of
    layers without end would go on until the memory is full."""
    from torch.nn.modules.module import register_module_module_registration_hook

    thread, made = threading.get_ident(), count(1)

    def registered(*_: object) -> None:
        if threading.get_ident() == thread and next(made) > MOST_LAYERS:
            raise ValueError(f"more than {MOST_LAYERS} layers")

    hook = register_module_module_registration_hook(registered)
    try:
        yield
    finally:
        hook.remove()


def count_numbers(definition: Mapping[str, Any], *, place: str = "") -> int:
    """Count the numbers in a network's state dict without taking memory for them. Raises as `build_network`."""
    import torch

    with torch.device("meta"):
        module = build_network(definition, place=place)
    return sum(tensor.numel() for tensor in module.state_dict().values())


def _allowed(target: str, shown: str) -> Callable[..., nn.Module]:
    module, _, name = target.rpartition(".")
    if name not in ALLOWED or module not in ("", ALLOWED[name]):
        raise refusal("the bundle names a network that is not allowed", shown)
    constructor: Callable[..., nn.Module] = getattr(import_module(ALLOWED[name]), name)
    return constructor
