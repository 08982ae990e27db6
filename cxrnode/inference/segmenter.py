"""Hides how a segmenting network is built on the shared backbone.

Promises networks that are built from numbers and two words, touch no file, and give logits (N, C, S, S) of
(N, 1, S, S). A U-Net (Ronneberger, Fischer and Brox, MICCAI 2015) keeps the fine features; a fully convolutional
network (Long, Shelhamer and Darrell, CVPR 2015) reads the coarse ones of a backbone that may stay as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from monai.networks.nets.flexible_unet import UNetDecoder
from torch import Tensor, nn
from torch.nn.functional import interpolate

from cxrnode.inference.networks import CHANNELS, STRIDES, LiteTrunk

RARE = -4.0
"""Logit with which every pixel begins: what is looked for covers about one pixel in fifty."""
FCN_STRIDES = (8, 16, 32)


class ChestSegmenter(nn.Module):
    """The trunk and a decoder: one logit a pixel and channel, at half the input's resolution, brought to its size.

    `head` is "unet" or "fcn".
    """

    def __init__(
        self,
        out_channels: int = 1,
        head: str = "unet",
        decoder_channels: Sequence[int] = (128, 64, 48, 32),
        dropout: float = 0.1,
        drop_connect_rate: float = 0.1,
    ) -> None:
        """Build the network. Raises ValueError where `head` is neither word."""
        super().__init__()
        if head not in ("unet", "fcn"):
            raise ValueError(f"the head is 'unet' or 'fcn', not {head!r}")
        self.trunk = LiteTrunk(drop_connect_rate)
        self.head = _UNetHead(decoder_channels, dropout) if head == "unet" else _FcnHead(decoder_channels[0], dropout)
        self.last = nn.Conv2d(self.head.width, out_channels, 3, padding=1)
        nn.init.constant_(cast(Tensor, self.last.bias), RARE)

    def forward(self, images: Tensor) -> Tensor:
        """Give the logits (N, C, S, S) of pictures (N, 1, S, S), 0..1, S a multiple of 32."""
        coarse = self.last(self.head(self.trunk(images)))
        return interpolate(coarse, size=images.shape[-2:], mode="bilinear", align_corners=False)


class _UNetHead(nn.Module):
    """MONAI's decoder over all five of the trunk's features."""

    def __init__(self, channels: Sequence[int], dropout: float) -> None:
        super().__init__()
        if len(channels) != len(STRIDES) - 1:
            raise ValueError(f"a U-Net needs {len(STRIDES) - 1} decoder channels, not {len(channels)}")
        self.width = channels[-1]
        # MONAI's decoder has no skip at its last step: the finest features are not used.
        self.decoder = UNetDecoder(
            spatial_dims=2,
            encoder_channels=CHANNELS,
            decoder_channels=channels,
            act="relu",
            norm="batch",
            dropout=dropout,
            bias=False,
            upsample="nontrainable",
            pre_conv="default",
            interp_mode="nearest",
            align_corners=None,
            is_pad=False,
        )

    def forward(self, features: list[Tensor]) -> Tensor:
        return cast(Tensor, self.decoder(features, skip_connect=len(STRIDES) - 2))


class _FcnHead(nn.Module):
    """Features at strides 8, 16 and 32, each brought to one width and to stride 8, summed and smoothed."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.width = width
        self.taps = tuple(STRIDES.index(stride) for stride in FCN_STRIDES)
        self.narrow = nn.ModuleList(nn.Conv2d(CHANNELS[tap], width, 1) for tap in self.taps)
        self.smooth = nn.Sequential(
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Dropout2d(dropout),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        )

    def forward(self, features: list[Tensor]) -> Tensor:
        finest = features[self.taps[0]].shape[-2:]
        parts = [
            interpolate(narrow(features[tap]), size=finest, mode="bilinear", align_corners=False)
            for tap, narrow in zip(self.taps, self.narrow, strict=True)
        ]
        return cast(Tensor, self.smooth(sum(parts[1:], parts[0])))
