"""Hides the file that holds a network's weights.

Promises that nothing but tensors is made of it, that it cannot hold more than it is long, and that weights of another
network are refused in words that say what is different.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from typing import TYPE_CHECKING

from cxrnode.inference.configuration import refusal

if TYPE_CHECKING:
    from torch import Tensor, nn


def fill(module: nn.Module, content: bytes, name: str) -> None:
    """Fill a network from a state dict, half precision becoming its own; `name` is the file's. Raises NeedsOperator."""
    state = _state(content, name)
    try:
        module.load_state_dict(state)
    except RuntimeError as cause:
        misfit = _misfit(module.state_dict(), state)
        raise refusal(f"the weights do not fit the network: {misfit}", name) from cause


def _state(content: bytes, name: str) -> Mapping[str, Tensor]:
    """Read a state dict; MONAI's CheckpointSaver may have put it under the key `model`."""
    import torch

    try:
        compressed = _unpacked_size(content) > len(content)
        state = None if compressed else torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as cause:  # not in torch's words: they tell how to load what may run code
        raise refusal("the weights are no state dict, or hold more than tensors", name) from cause
    if compressed:
        raise refusal("the weights' file is compressed: save the state dict again", name)
    if isinstance(state, dict) and set(state) == {"model"}:
        state = state["model"]
    if not isinstance(state, dict):
        raise refusal("the weights are no state dict", name)
    for key, held in state.items():
        if not isinstance(key, str) or not isinstance(held, torch.Tensor):
            raise refusal(f"the weights hold more than tensors by name ({key}): save the state dict alone", name)
    return state


def _unpacked_size(content: bytes) -> int:
    """Give the bytes that weights unpack to: torch.save only stores, what was compressed may be of any size."""
    file = io.BytesIO(content)
    if not zipfile.is_zipfile(file):
        return 0  # the form of before PyTorch 1.6, no archive
    with zipfile.ZipFile(file) as archive:
        return sum(entry.file_size for entry in archive.infolist())


def _misfit(network: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> str:
    """Say the first thing in which weights are not a network's."""
    for name in sorted(network.keys() - weights.keys()):
        return f"they lack {name}"
    for name in sorted(weights.keys() - network.keys()):
        return f"it has no {name}"
    for name, tensor in network.items():
        if tensor.shape != weights[name].shape:
            return f"{name} is {tuple(weights[name].shape)}, not {tuple(tensor.shape)}"
    return "they are of another form"
