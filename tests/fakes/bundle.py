"""Tiny bundles of each kind, with networks that were never trained, so that tests need no released model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from cxrnode.inference.card import Kind
from cxrnode.inference.network import build_network

CHANNELS = ("right_lung", "left_lung", "heart")
SIZE = 64
FEATURES = (8, 8, 8, 8, 8, 8)
BAND: Mapping[str, Any] = {"operating_point": 0.5, "low": 0.4, "high": 0.6, "chosen_for": "nothing: never trained"}

KINDS: Mapping[Kind, tuple[tuple[str, ...], Mapping[str, Any]]] = {
    "segmentation": (CHANNELS, {"operating_points": dict.fromkeys(CHANNELS, 0.5)}),
    "classification": (
        ("rsna.lung_opacity", "rsna.not_normal", "rsna.normal", "pattern.covid19"),
        {
            "groups": [["rsna.lung_opacity", "rsna.not_normal", "rsna.normal"]],
            "calibration": {"rsna.lung_opacity": {"scale": 1.5, "bias": -0.5}},
            "findings": {
                "lung_opacity": {"channel": "rsna.lung_opacity", **BAND},
                "abnormal_chest": {"channel": "rsna.normal", "inverse": True, **BAND},
                "covid19_pneumonia": {"channel": "pattern.covid19", "withheld": "never trained", **BAND},
            },
        },
    ),
    "detection": (
        ("lung_opacity", "left", "top", "right", "bottom"),
        {
            "operating_points": {"lung_opacity": 0.001},
            "findings": {"lung_opacity": {"channel": "lung_opacity", **BAND}},
            "detection": {"overlap": 0.3, "most": 8},
        },
    ),
}
"""By kind: the channels, and what the block `cxrnode` says beside name, licence and weights."""


def write_tiny_bundle(
    folder: Path,
    *,
    seed: int = 1,
    outputs: int = 3,
    change: Callable[[torch.nn.Module], None] = lambda network: None,
    kind: Kind = "segmentation",
    own: Mapping[str, Any] | None = None,
) -> Path:
    """Write a bundle with seeded weights; `own` adds to its block `cxrnode`, which else is that of KINDS.

    A segmentation is a BasicUNet of `outputs` channels whose card states three. `change` may spoil the network before
    its weights are written.
    """
    for part in ("configs", "models"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    definition = network_of(kind, outputs)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = build_network(definition)
    change(network)
    weights = folder / "models" / "model.pt"
    torch.save(network.state_dict(), weights)
    sha256 = hashlib.sha256(weights.read_bytes()).hexdigest()
    _write_json(folder / "configs" / "inference.json", {"network_def": definition})
    _write_json(folder / "configs" / "metadata.json", _metadata(sha256, kind, own or {}))
    return folder


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")


def network_of(kind: Kind, outputs: int = 3) -> dict[str, Any]:
    """Give the `network_def` of a tiny network of a kind."""
    if kind == "classification":
        return {"_target_": "cxrnode.inference.networks.PictureGate", "out_channels": len(KINDS[kind][0])}
    if kind == "detection":
        return {"_target_": "cxrnode.inference.detector.ChestDetector", "labels": 1, "size": SIZE, "width": 16}
    return {
        "_target_": "monai.networks.nets.BasicUNet",
        "spatial_dims": 2,
        "in_channels": 1,
        "out_channels": outputs,
        "features": list(FEATURES),
    }


def _metadata(sha256: str, kind: Kind, own: Mapping[str, Any]) -> dict[str, object]:
    channels, says = KINDS[kind]
    form = {"dtype": "float32", "value_range": [0, 1]}
    return {
        "version": "0.0.1",
        "task": "none: it was never trained",
        "intended_use": "tests",
        "network_data_format": {
            "inputs": {"image": {"num_channels": 1, "spatial_shape": [SIZE, SIZE], **form}},
            "outputs": {
                "pred": {
                    "num_channels": len(channels),
                    "channel_def": {str(index): name for index, name in enumerate(channels)},
                    **form,
                }
            },
        },
        "cxrnode": {"name": "tiny", "licence": "none", "weights_sha256": sha256, "kind": kind, **says, **own},
    }
