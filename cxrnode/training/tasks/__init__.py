"""The kinds of training, by the `kind` of a recipe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cxrnode.errors import NeedsOperator
from cxrnode.training.example import Example
from cxrnode.training.options import TrainOptions
from cxrnode.training.recipe import Recipe
from cxrnode.training.task import Task
from cxrnode.training.tasks.classification import Classification
from cxrnode.training.tasks.detection import Detection
from cxrnode.training.tasks.gate import GateTask
from cxrnode.training.tasks.pneumothorax import Pneumothorax
from cxrnode.training.tasks.segmentation import Segmentation


def build_task(recipe: Recipe, examples: Sequence[Example], options: TrainOptions, out: Path) -> Task:
    """Build the training that a recipe's kind names; `out` is the run folder. Raises NeedsOperator for another."""
    if "shares" in recipe.samples:
        return Pneumothorax(recipe, examples, options, out)
    if recipe.kind == "segmentation":
        return Segmentation(recipe, examples, options)
    if "defects" in recipe.samples:
        return GateTask(recipe, examples, options)
    if recipe.kind == "classification":
        return Classification(recipe, examples, options)
    if recipe.kind == "detection":
        return Detection(recipe, examples, options)
    raise NeedsOperator(f"there is no training of the kind {recipe.kind!r}", operation="train", subject=recipe.name)
