"""The segmenting networks: shapes, sizes, what they begin with."""

from __future__ import annotations

import pytest
import torch

from cxrnode.errors import NeedsOperator
from cxrnode.inference.network import build_network
from cxrnode.training.freezing import freeze

SEGMENTER = "cxrnode.inference.segmenter.ChestSegmenter"


@pytest.mark.parametrize("head", ["unet", "fcn"])
def test_logits_have_the_size_of_the_picture_and_begin_low(head: str) -> None:
    """One plane a channel; before training nearly everything is said to be absent."""
    network = build_network({"_target_": SEGMENTER, "out_channels": 2, "head": head}).eval()
    with torch.inference_mode():
        logits = network(torch.rand(1, 1, 96, 96))
    assert logits.shape == (1, 2, 96, 96)
    assert torch.sigmoid(logits).mean() < 0.15


def test_another_head_is_refused() -> None:
    """A bundle that names one cannot be built."""
    with pytest.raises(NeedsOperator):
        build_network({"_target_": SEGMENTER, "head": "transformer"})


def test_decoder_channels_must_fit_the_backbone() -> None:
    """Three steps up from stride 32 do not reach stride 2."""
    with pytest.raises(NeedsOperator):
        build_network({"_target_": SEGMENTER, "decoder_channels": [64, 32, 16]})


def test_a_frozen_backbone_leaves_only_the_head_to_learn() -> None:
    """After a step the trunk is what it was, statistics too; the head is not."""
    network = build_network({"_target_": SEGMENTER, "head": "fcn"})
    still = freeze(network, {"learns": "head"})
    network.train()
    for part in still:
        part.eval()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    network(torch.rand(2, 1, 64, 64)).mean().backward()
    torch.optim.SGD([one for one in network.parameters() if one.requires_grad], lr=1.0).step()
    changed = {key for key, value in network.state_dict().items() if not torch.equal(value, before[key])}
    assert not any(key.startswith("trunk.") for key in changed)
    assert any(key.startswith("last.") for key in changed)
