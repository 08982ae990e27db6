"""Hides the file that holds a network's weights.

Promises that nothing but tensors is made of it, that it cannot hold more than it is long, and that weights of another
network are refused in words that say what is different.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from typing import TYPE_CHECKING

from cxrnode.inference.configuration import reason, refusal

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
        _refuse_compressed(content)
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        state = state["model"] if set(state) == {"model"} else state
        _refuse_all_but_tensors(state)
    except MemoryError:
        raise
    except Exception as cause:
        what = f"the weights are no state dict, or hold more than tensors ({reason(cause)})"
        raise refusal(what, name) from cause
    return state  # type: ignore[no-any-return]


def _refuse_compressed(content: bytes) -> None:
    """torch.save only stores: what is longer unpacked may be of any size."""
    file = io.BytesIO(content)
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > len(content):
                raise ValueError("the file is compressed")


def _refuse_all_but_tensors(state: Mapping[str, object]) -> None:
    import torch

    for key, held in state.items():
        if not isinstance(held, torch.Tensor):
            raise TypeError(f"{key} is no tensor")


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
