"""Hides the backbone that our own networks share, and what differs from MONAI's EfficientNet.

Promises networks that are built from numbers alone and touch no file, whose state dict names MONAI's own layers. The
backbone is EfficientNet-Lite0 (Tan and Le, EfficientNet: Rethinking Model Scaling, ICML 2019, arXiv 1905.11946; the
Lite variants of 2020 leave out squeeze and excitation and use ReLU6): MONAI's EfficientNet with those two changes.
Input is one gray picture (N, 1, S, S), 0..1, with S a multiple of 32.
"""

from __future__ import annotations

from typing import cast

from monai.networks.nets.efficientnet import EfficientNet
from torch import Tensor, nn

_LITE0 = (
    "r1_k3_s11_e1_i32_o16",
    "r2_k3_s22_e6_i16_o24",
    "r2_k5_s22_e6_i24_o40",
    "r3_k3_s22_e6_i40_o80",
    "r3_k5_s11_e6_i80_o112",
    "r4_k5_s22_e6_i112_o192",
    "r1_k3_s11_e6_i192_o320",
)
STAGES = len(_LITE0)
STRIDES = (2, 4, 8, 16, 32)
CHANNELS = (16, 24, 40, 112, 320)
"""Channels of the trunk's features at STRIDES."""
_TAPS = (0, 1, 2, 4, 6)
"""The stages after which the features at STRIDES are taken."""

_MIDDLE, _SPREAD = 127 / 255, 128 / 255
"""How the published ImageNet weights of the Lite variants take a picture: (gray - 127) / 128."""


class LiteTrunk(EfficientNet):  # type: ignore[misc]  # MONAI has no annotations that mypy follows
    """EfficientNet-Lite0 without its head: features at strides 2, 4, 8, 16 and 32 with CHANNELS channels each."""

    def __init__(self, drop_connect_rate: float = 0.1, stages: int = STAGES) -> None:
        """Build the trunk's first `stages` stages; `drop_connect_rate` is the stochastic depth while training."""
        super().__init__(list(_LITE0), in_channels=1, num_classes=1, drop_connect_rate=drop_connect_rate)
        for name in ("_conv_head", "_conv_head_padding", "_bn1", "_avg_pooling", "_dropout", "_fc"):
            delattr(self, name)
        self._blocks = cast(nn.Sequential, self.get_submodule("_blocks"))[:stages]
        _use_relu6(self)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Give the features of (N, 1, S, S), the finest first."""
        x = (images - _MIDDLE) / _SPREAD
        x = self._swish(self._bn0(self._conv_stem(self._conv_stem_padding(x))))
        taken = []
        for number, stage in enumerate(cast(nn.Sequential, self.get_submodule("_blocks"))):
            x = stage(x)
            if number in _TAPS:
                taken.append(x)
        return taken


class ChestClassifier(nn.Module):
    """The trunk, its head of 1280 features, and one logit a channel: (N, out_channels)."""

    def __init__(self, out_channels: int, dropout: float = 0.2, drop_connect_rate: float = 0.1) -> None:
        """Build a classifier of `out_channels` logits."""
        super().__init__()
        self.trunk = LiteTrunk(drop_connect_rate)
        self.head = nn.Sequential(
            nn.Conv2d(CHANNELS[-1], 1280, 1, bias=False), nn.BatchNorm2d(1280, eps=1e-3, momentum=0.01), nn.ReLU6()
        )
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(1280, out_channels)

    def features(self, images: Tensor) -> Tensor:
        """Give the pooled features (N, 1280)."""
        return cast(Tensor, self.head(self.trunk(images)[-1]).mean((2, 3)))

    def forward(self, images: Tensor) -> Tensor:
        """Give the logits (N, out_channels) of (N, 1, S, S)."""
        return cast(Tensor, self.linear(self.dropout(self.features(images))))


class PictureGate(nn.Module):
    """The trunk down to stride 16, its features where they lie on a grid of five by five, and one logit a channel.

    What lies on which side decides here, so the features are not pooled over the whole picture.
    """

    def __init__(self, out_channels: int, dropout: float = 0.2) -> None:
        """Build a gate of `out_channels` logits."""
        super().__init__()
        self.trunk = LiteTrunk(drop_connect_rate=0.0, stages=5)
        self.pool = nn.AdaptiveAvgPool2d(5)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(CHANNELS[3] * 25, out_channels)

    def forward(self, images: Tensor) -> Tensor:
        """Give the logits (N, out_channels) of (N, 1, S, S)."""
        return cast(Tensor, self.linear(self.dropout(self.pool(self.trunk(images)[-1]).flatten(1))))


def _use_relu6(module: nn.Module) -> None:
    for name, child in module.named_children():
        if name == "_swish":
            setattr(module, name, nn.ReLU6())
        else:
            _use_relu6(child)


def take_imagenet(network: nn.Module, state: dict[str, Tensor]) -> None:
    """Fill a network's `trunk`, and `head` where it has one, from the published Lite0 state dict.

    The stem's weights are summed over its three colours: that is what a gray picture in all three gives.
    Raises KeyError or RuntimeError where the state dict is another network's.
    """
    stem = {"_conv_stem.weight": state["_conv_stem.weight"].sum(1, keepdim=True)}
    trunk = cast(LiteTrunk, network.trunk)
    flat = {_flat(name): name for name in trunk.state_dict()}
    trunk.load_state_dict({name: stem.get(key, state[key]) for key, name in flat.items()})
    if isinstance(network, ChestClassifier):
        head = {"0.weight": state["_conv_head.weight"]}
        head |= {f"1.{key}": state[f"_bn1.{key}"] for key in network.head[1].state_dict()}
        network.head.load_state_dict(head)


def _flat(name: str) -> str:
    """Give a block's name in the published file: MONAI puts the number of the stage before the block's own."""
    if not name.startswith("_blocks."):
        return name
    _, _, block = name.split(".", 2)
    return f"_blocks.{block}"


def check_size(size: int) -> int:
    """Give `size` back. Raises ValueError where the trunk cannot halve it five times."""
    if size % STRIDES[-1]:
        raise ValueError(f"the input must be a multiple of {STRIDES[-1]} pixels, not {size}")
    return size
