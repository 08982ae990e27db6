"""Hides what differs between the models that can be trained: the network, its channels, which films, how often.

Promises one table, RECIPES, keyed by the model's name. The network is stated as its bundle states it, so that what is
trained is what is shipped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cxrnode.errors import NeedsOperator


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One model: its network's definition, its grid, its channels, and how often each source is drawn."""

    name: str
    size: int
    channels: tuple[str, ...]
    network: Mapping[str, Any]
    source_weight: Mapping[str, float]
    channel_weight: tuple[float, ...]
    title: str
    task: str
    description: str
    data_source: str
    intended_use: str
    licence: str
    references: tuple[str, ...]


LUNGS = Recipe(
    name="lungs",
    size=320,
    channels=("right_lung", "left_lung", "heart"),
    network={
        "_target_": "monai.networks.nets.UNet",
        "spatial_dims": 2,
        "in_channels": 1,
        "out_channels": 3,
        "channels": [24, 48, 96, 160, 192, 224],
        "strides": [2, 2, 2, 2, 2],
        "num_res_units": 2,
        "norm": "BATCH",
        "act": "PRELU",
    },
    # JSRT alone has hearts, and is the smaller: half of what is drawn.
    source_weight={"jsrt": 0.5, "shenzhen": 0.5},
    channel_weight=(1.0, 1.0, 1.0),
    title="Lungs and heart on a frontal chest radiograph",
    task="Segmentation of the right lung, the left lung and the heart on frontal chest radiographs",
    description="A residual U-Net; masks for the cardiothoracic ratio, lung areas and their asymmetry",
    data_source="JSRT with the SCR masks; the Shenzhen set of the NLM with the masks of Stirenko et al.",
    intended_use="Research use only. Not a medical device. Frontal chest radiographs of adults, upright, PA",
    licence="CC-BY-NC-SA-4.0, research use only",
    references=(
        "Shiraishi J et al. Development of a digital image database for chest radiographs with and without a lung "
        "nodule. AJR 2000;174:71-74",
        "van Ginneken B, Stegmann MB, Loog M. Segmentation of anatomical structures in chest radiographs using "
        "supervised methods. Med Image Anal 2006;10:19-40",
        "Jaeger S et al. Two public chest X-ray datasets for computer-aided screening of pulmonary diseases. Quant "
        "Imaging Med Surg 2014;4:475-477",
        "Stirenko S et al. Chest X-ray analysis of tuberculosis by deep learning with segmentation and augmentation. "
        "IEEE ELNANO 2018:422-428",
    ),
)

RECIPES: Mapping[str, Recipe] = {"lungs": LUNGS}


def find_recipe(name: str) -> Recipe:
    """Look a recipe up. Raises NeedsOperator where there is none of that name."""
    if name in RECIPES:
        return RECIPES[name]
    raise NeedsOperator(
        f"there is no recipe for this model; there are: {', '.join(RECIPES)}",
        operation="train",
        subject=name,
        hint="docs/operations.md, Training a model",
    )
