"""Hides how trained weights become a bundle.

Promises a folder in the bundle specification's layout that `cxrnode.inference.bundle` loads and MONAI verifies, with
the weights' SHA-256 pinned. Its card says that it is not evaluated: numbers come from `evaluate`, and a person writes
the rest.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

from cxrnode.inference.bundle import INFERENCE, METADATA, WEIGHTS
from cxrnode.training.recipe import Recipe

UNSET = 0.5
"""A probability to cut at before anybody has chosen one."""

CARD = """# {name}

Research use only. Not a medical device.

Weights trained with `cxrnode models train {name}`. They have not been evaluated yet: run
`cxrnode models evaluate {name} --data DIR --bundle THIS_FOLDER` and write down what it prints, on which films, and what
the ten worst look like, before anybody relies on them.
"""


def export_bundle(recipe: Recipe, weights: Path, folder: Path, version: str) -> Path:
    """Write the bundle of `recipe` with a state dict's file into `folder`; what is there by these names is replaced."""
    for part in ("configs", "models", "docs"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    shutil.copyfile(weights, folder / WEIGHTS)
    pinned = hashlib.sha256(weights.read_bytes()).hexdigest()
    _write(folder / METADATA, _metadata(recipe, version, pinned))
    _write(folder / INFERENCE, {"network_def": dict(recipe.network)})
    (folder / "docs/README.md").write_text(CARD.format(name=recipe.model), encoding="utf-8")
    return folder


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _metadata(recipe: Recipe, version: str, pinned: str) -> dict[str, Any]:
    said = recipe.card
    return {
        "version": version,
        "changelog": {version: "trained with cxrnode models train"},
        "monai_version": installed("monai"),
        "pytorch_version": installed("torch").split("+")[0],
        "numpy_version": installed("numpy"),
        "required_packages_version": {},
        "name": said.get("title", recipe.name),
        "task": said.get("task", recipe.kind),
        "description": said.get("description", ""),
        "authorship": "The cxrnode founders",
        "copyright": "See LICENSE",
        "data_source": said.get("data_source", ""),
        "data_type": "dicom",
        "image_classes": "one frontal chest radiograph, prepared by cxrnode.pixels.normalise.prepare",
        "label_classes": ", ".join(recipe.channels),
        "pred_classes": ", ".join(recipe.channels),
        "eval_metrics": {},
        "intended_use": said.get("intended_use", ""),
        "references": list(said.get("references", ())),
        "network_data_format": _format(recipe),
        "cxrnode": {"name": recipe.model, "kind": recipe.kind, **_own(recipe), "weights_sha256": pinned},
    }


def _own(recipe: Recipe) -> dict[str, Any]:
    """Give the recipe's own block; a variant with fewer channels has the points of those only."""
    points = {name: value for name, value in recipe.own.get("operating_points", {}).items() if name in recipe.channels}
    return with_points({**recipe.own, **({"operating_points": points} if points else {})}, recipe.kind, recipe.channels)


def with_points(own: Mapping[str, Any], kind: str, labels: Sequence[str]) -> dict[str, Any]:
    """Give a block in which every finding, and every label that is drawn, has points: UNSET until `calibrate` runs."""
    whole = dict(own)
    if "findings" in own:
        whole["findings"] = {name: {**_points_like(said), **said} for name, said in own["findings"].items()}
    if kind != "classification":
        whole["operating_points"] = {**dict.fromkeys(labels, UNSET), **own.get("operating_points", {})}
    return whole


def _points_like(finding: Mapping[str, Any]) -> dict[str, float]:
    return dict.fromkeys(("operating_point", "low", "high"), float(finding.get("operating_point", UNSET)))


def _format(recipe: Recipe) -> dict[str, Any]:
    plane = {"spatial_shape": [recipe.size, recipe.size], "dtype": "float32", "value_range": [0, 1]}
    image = {"type": "image", "format": "magnitude", "modality": "DX", "num_channels": 1, **plane}
    return {
        "inputs": {"image": {**image, "is_patch_data": False, "channel_def": {"0": "display image, equalised"}}},
        "outputs": {"pred": {**_output(recipe, plane), "is_patch_data": False}},
    }


def _output(recipe: Recipe, plane: Mapping[str, Any]) -> dict[str, Any]:
    """Say what the network gives: maps, one logit a channel, or logits and corners of boxes."""
    corners = ("left", "top", "right", "bottom") if recipe.kind == "detection" else ()
    names = {str(index): name for index, name in enumerate((*recipe.channels, *corners))}
    if recipe.kind == "segmentation":
        return {"type": "image", "format": "segmentation", "num_channels": len(names), **plane, "channel_def": names}
    form = {"classification": ("probabilities", "classes"), "detection": ("boxes", "detection")}[recipe.kind]
    shape = {"num_channels": len(names), "dtype": "float32", "value_range": [], "spatial_shape": []}
    return {"type": form[0], "format": form[1], **shape, "channel_def": names}
