"""A tiny bundle with a network that was never trained, so that tests need no released model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import torch
from monai.networks.nets import BasicUNet

CHANNELS = ("right_lung", "left_lung", "heart")
SIZE = 64
FEATURES = (8, 8, 8, 8, 8, 8)


def write_tiny_bundle(
    folder: Path,
    *,
    seed: int = 1,
    outputs: int = 3,
    change: Callable[[torch.nn.Module], None] = lambda network: None,
) -> Path:
    """Write a bundle of a BasicUNet of `outputs` channels with seeded weights; its card states three channels.

    `change` may spoil the network before its weights are written.
    """
    for part in ("configs", "models"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = BasicUNet(spatial_dims=2, in_channels=1, out_channels=outputs, features=FEATURES)
    change(network)
    weights = folder / "models" / "model.pt"
    torch.save(network.state_dict(), weights)
    sha256 = hashlib.sha256(weights.read_bytes()).hexdigest()
    _write_json(folder / "configs" / "inference.json", _inference(outputs))
    _write_json(folder / "configs" / "metadata.json", _metadata(sha256))
    return folder


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")


def _inference(outputs: int) -> dict[str, object]:
    return {
        "network_def": {
            "_target_": "monai.networks.nets.BasicUNet",
            "spatial_dims": 2,
            "in_channels": 1,
            "out_channels": outputs,
            "features": list(FEATURES),
        }
    }


def _metadata(sha256: str) -> dict[str, object]:
    return {
        "version": "0.0.1",
        "task": "none: it was never trained",
        "intended_use": "tests",
        "network_data_format": {
            "inputs": {"image": {"num_channels": 1, "spatial_shape": [SIZE, SIZE]}},
            "outputs": {
                "pred": {
                    "num_channels": len(CHANNELS),
                    "channel_def": {str(index): name for index, name in enumerate(CHANNELS)},
                }
            },
        },
        "cxrnode": {
            "name": "tiny",
            "licence": "none",
            "operating_points": dict.fromkeys(CHANNELS, 0.5),
            "weights_sha256": sha256,
        },
    }
