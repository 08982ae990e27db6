"""The block `cxrnode` for a bundle that has none: proposed from what its metadata says of the network's output.

Hides how MONAI's metadata words an output. Promises that nothing in the block was measured and that it says so: every
point is 0.5, the model is off until somebody enables it, and a label without a coded concept is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from cxrnode.domain.reasons import REASONS
from cxrnode.errors import NeedsOperator
from cxrnode.evidence import codes
from cxrnode.inference.bundle import BundleCard, channel_names
from cxrnode.inference.card import FindingRule, Kind, labels_of
from cxrnode.inference.configuration import Configuration

POINT = 0.5
TOP_SHARE = 0.002
"""Share of a map's pixels, the highest ones, whose mean is the image-level probability of a segmentation."""
BACKGROUND = "background"
"""The channel of a softmax that says none of the others; a bundle of the Model Zoo often has it."""
NOT_CHOSEN = "nothing: proposed when the bundle was added, not measured"
OFF = "added at this site: name it in models.enabled once you have looked at what it writes"
_HINT = "docs/operations.md, Bringing a model"


def proposed(metadata: Configuration, *, name: str, licence: str, sha256: str, kind: Kind | None) -> dict[str, Any]:
    """Give a block for a bundle of this metadata; `kind` where the metadata does not tell.

    Raises NeedsOperator where the kind cannot be told, the output is not described, or a label has no coded concept.
    """
    with metadata.part("network_data_format", "outputs", "pred") as output:
        chosen = kind or _kind(output)
        labels = labels_of(chosen, channel_names(output))
    if BACKGROUND in labels:
        happened = f"the output is read as a sigmoid for each channel, and no channel '{BACKGROUND}' is stated"
        raise NeedsOperator(happened, operation="models add", subject=name, hint=_HINT)
    block: dict[str, Any] = {"name": name, "licence": licence, "weights_sha256": sha256, "kind": chosen}
    if chosen != "classification":
        block["operating_points"] = dict.fromkeys(labels, POINT)
    if chosen == "detection":
        block["detection"] = {"overlap": 0.3, "most": 8}
    findings = _findings(chosen, labels)
    if findings:
        block["findings"] = findings
    return {**block, **switched_off()}


def switched_off() -> dict[str, Any]:
    """Give the words that keep a bundle off until the settings name it."""
    return {"enabled_by_default": False, "disabled_because": OFF}


def check_concepts(card: BundleCard) -> None:
    """Refuse a label or a finding that evidence cannot state. Raises UnknownConcept with the hint."""
    if card.kind == "segmentation":
        for label in card.labels:
            codes.structure(label)
    if card.kind == "detection":
        for label in card.labels:
            codes.abnormality(label)
    for rule in card.findings:
        _check_finding(rule)
    if card.kind != "segmentation" and not card.findings:
        raise NeedsOperator("the bundle states no finding", operation="models add", subject=card.name, hint=_HINT)


def _check_finding(rule: FindingRule) -> None:
    """A gate's findings are reasons not to analyse; any other is written."""
    if rule.name not in REASONS:
        codes.abnormality(rule.name)


def _kind(output: Mapping[str, Any]) -> Kind:
    """MONAI's metadata schema has `format` segmentation, and `type` probabilities or `format` classes for classes."""
    words: dict[str, Kind] = {
        "segmentation": "segmentation",
        "probabilities": "classification",
        "classes": "classification",
        "classification": "classification",
        "detection": "detection",
    }
    for said in (output.get("format"), output.get("type")):
        if isinstance(said, str) and said.lower() in words:
            return words[said.lower()]
    hint = f"say which with --kind: {', '.join(get_args(Kind))}"
    raise NeedsOperator("metadata.json does not tell what kind of output it is", operation="models add", hint=hint)


def _findings(kind: Kind, labels: Sequence[str]) -> dict[str, Any]:
    """Give an image-level statement for each label that names an abnormality; a structure everybody has needs none."""
    more = {"top_share": TOP_SHARE} if kind == "segmentation" else {}
    return {
        _finding(label): {
            "channel": label, "operating_point": POINT, "low": POINT, "high": POINT, "chosen_for": NOT_CHOSEN, **more
        }
        for label in labels
        if kind != "segmentation" or not codes.structure(label).anatomical
    }  # fmt: skip


def _finding(label: str) -> str:
    """Give the name of the finding that a label stands for: `group.label` counts as `label`. Raises UnknownConcept."""
    name = label.rpartition(".")[2]
    codes.abnormality(name)
    return name
