"""Hides the network that draws boxes: its pyramid, its anchors, and how an offset becomes a box.

Promises a network that is built from numbers alone and whose one answer holds everything: for N candidate boxes the
logits of each label and the corners in pixels of the input. Nothing is suppressed or thresholded here.

RetinaNet (Lin et al., Focal Loss for Dense Object Detection, ICCV 2017, arXiv 1708.02002) on the Lite trunk, of MONAI's
pyramid, heads, anchors and box coder. What is added is one logit of the whole film for each label, which every box of
that label takes with it: a box stands the higher the more the film as a whole looks like having one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from monai.apps.detection.networks.retinanet_network import RetinaNetClassificationHead, RetinaNetRegressionHead
from monai.apps.detection.utils.anchor_utils import AnchorGenerator
from monai.apps.detection.utils.box_coder import BoxCoder
from monai.networks.blocks.feature_pyramid_network import FeaturePyramidNetwork
from torch import Tensor, nn

from cxrnode.inference.networks import CHANNELS, STRIDES, LiteTrunk, check_size


class Said(NamedTuple):
    """What the network says before boxes are made.

    `local` (B, N, K) is each candidate's own logit, `film` (B, K) the whole film's, `offsets` (B, N, 4) a box against
    its anchor as MONAI's BoxCoder codes it.
    """

    local: Tensor
    film: Tensor
    offsets: Tensor

    @property
    def logits(self) -> Tensor:
        """The candidates' logits (B, N, K), with the film's."""
        return self.local + self.film[:, None]


class ChestDetector(nn.Module):
    """Boxes of `labels` kinds on one gray picture (B, 1, size, size): (B, labels + 4, N).

    The channels are the labels' logits, then left, top, right, bottom in pixels of the input, corner based, inside it.
    """

    anchors: Tensor

    def __init__(
        self,
        labels: int = 1,
        size: int = 320,
        width: int = 64,
        strides: Sequence[int] = (16, 32),
        anchor_sizes: Sequence[Sequence[float]] = ((40.0, 64.0), (88.0, 128.0)),
        anchor_shapes: Sequence[float] = (1.0, 2.0),
        dropout: float = 0.2,
        drop_connect_rate: float = 0.1,
    ) -> None:
        """Build a detector for `labels` kinds of box.

        `strides` are the levels of the pyramid, `anchor_sizes` the square roots of the anchors' areas at each, in
        pixels of the input, `anchor_shapes` their height over their width. Raises ValueError where they do not fit.
        """
        super().__init__()
        if len(anchor_sizes) != len(strides) or len({len(one) for one in anchor_sizes}) != 1:
            raise ValueError("every level needs its anchor sizes, and all levels as many")
        self.size = check_size(size)
        self.strides = tuple(strides)
        self.labels = labels
        self.per_place = len(anchor_sizes[0]) * len(anchor_shapes)
        self.trunk = LiteTrunk(drop_connect_rate)
        self.pyramid = FeaturePyramidNetwork(2, [CHANNELS[STRIDES.index(stride)] for stride in strides], width)
        self.classes = RetinaNetClassificationHead(width, self.per_place, labels, spatial_dims=2)
        self.corners = RetinaNetRegressionHead(width, self.per_place, spatial_dims=2)
        self.film = _film_head(labels, dropout)
        self.coder = BoxCoder((1.0, 1.0, 1.0, 1.0))
        anchors = _anchors(self.size, self.strides, anchor_sizes, anchor_shapes)
        self.register_buffer("anchors", anchors, persistent=False)

    @property
    def places(self) -> tuple[int, ...]:
        """How many places each level has; at each stand `per_place` anchors."""
        return tuple((self.size // stride) ** 2 for stride in self.strides)

    def said(self, images: Tensor) -> Said:
        """Say what is in pictures (B, 1, size, size), boxes still coded. Raises ValueError for another size."""
        if images.shape[1:] != (1, self.size, self.size):
            raise ValueError(f"the detector takes (B, 1, {self.size}, {self.size}), not {tuple(images.shape)}")
        features = self.trunk(images)
        levels = {str(stride): features[STRIDES.index(stride)] for stride in self.strides}
        maps = list(self.pyramid(levels).values())
        return Said(
            local=_by_anchor(self.classes(maps), self.labels),
            film=cast(Tensor, self.film(features[-1])),
            offsets=_by_anchor(self.corners(maps), 4),
        )

    def boxes(self, offsets: Tensor) -> Tensor:
        """Make boxes (B, N, 4) of their offsets: left, top, right, bottom in pixels of the input, not clipped."""
        films = offsets.shape[0]
        coded = offsets.reshape(-1, 4).float()
        return cast(Tensor, self.coder.decode_single(coded, self.anchors.repeat(films, 1))).reshape(films, -1, 4)

    def forward(self, images: Tensor) -> Tensor:
        """Give logits and boxes (B, labels + 4, N) of pictures (B, 1, size, size)."""
        said = self.said(images)
        boxes = self.boxes(said.offsets).clamp(0.0, float(self.size))
        return torch.cat([said.logits.float(), boxes], dim=2).transpose(1, 2)


class _Pooled(nn.Module):
    """Gives the mean and the highest of each feature over the picture: (B, C, h, w) to (B, 2 C)."""

    def forward(self, features: Tensor) -> Tensor:
        return torch.cat([features.mean((2, 3)), features.amax((2, 3))], dim=1)


def _film_head(labels: int, dropout: float) -> nn.Module:
    """Make the head of the film's logits; it begins without an opinion."""
    linear = nn.Linear(2 * CHANNELS[-1], labels)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    return nn.Sequential(_Pooled(), nn.Dropout(dropout), linear)


def _anchors(size: int, strides: Sequence[int], sizes: Sequence[Sequence[float]], shapes: Sequence[float]) -> Tensor:
    """Lay out the anchors (N, 4) in the order of `_by_anchor`; "xy" makes them left, top, right, bottom."""
    generator = AnchorGenerator(
        sizes=tuple(tuple(one) for one in sizes), aspect_ratios=(tuple(shapes),) * len(sizes), indexing="xy"
    )
    levels = [torch.zeros(1, 1, size // stride, size // stride) for stride in strides]
    return cast(Tensor, generator(torch.zeros(1, 1, size, size), levels)[0])


def _by_anchor(maps: Sequence[Tensor], values: int) -> Tensor:
    """Bring maps (B, A * values, h, w) of all levels to (B, N, values): by level, row, column, anchor."""
    films = maps[0].shape[0]
    return torch.cat([one.permute(0, 2, 3, 1).reshape(films, -1, values) for one in maps], dim=1)
