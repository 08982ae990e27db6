"""What a bundle's own block `cxrnode` says: how its network's output is read and judged.

Hides the block's spelling. Promises that what is read is whole and makes sense (a word it does not know is an error,
not a word passed over: `calibraton` would change every answer), and that `part_of_the_digest` leaves out prose only.

    kind                segmentation (the default), classification, detection
    operating_points    segmentation: from which probability on a pixel is inside, for each channel;
                        detection: from which calibrated probability on a box is drawn, for each label
    groups              classification: channels that exclude each other (softmax); any other channel is a sigmoid
    calibration         by channel: scale a and bias b of a * logit + b; a channel that is missing stays as it is
    findings            the image-level statements, each with its channel, its points and its band
    detection           overlap (IoU from which two boxes are one), most (boxes on a film), and where it is said inside
                        (share of the smaller box in the other from which they are one)
    enabled_by_default, disabled_because
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

Kind = Literal["segmentation", "classification", "detection"]
CORNERS = ("left", "top", "right", "bottom")
"""A detection's last channels: a box's corners in pixels of the input, corner based."""
HOLDS_FOR = ("", "adults", "children")

_OWNER_WORDS = ("name", "licence", "weights_sha256", "enabled_by_default", "disabled_because")
_WORDS = frozenset((*_OWNER_WORDS, "kind", "operating_points", "groups", "calibration", "findings", "detection"))
_BAND_WORDS = ("channel", "operating_point", "low", "high", "inverse", "top_share")
_FINDING_WORDS = frozenset((*_BAND_WORDS, "chosen_for", "withheld", "holds_for"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """A logit z counts as scale * z + bias."""

    scale: float = 1.0
    bias: float = 0.0

    def logit(self, raw: float) -> float:
        """Give the calibrated logit."""
        return self.scale * raw + self.bias


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingRule:
    """An image-level statement: which channel speaks of it, and how its probability is judged.

    `inverse`: the finding is what the channel is not. `top_share`: a segmentation's image-level probability is the mean
    of this share of its pixels, the highest ones. The other fields: see `cxrnode.domain.finding.Score`.
    """

    name: str
    channel: str
    operating_point: float
    low: float
    high: float
    inverse: bool = False
    top_share: float = 0.0
    chosen_for: str = ""
    withheld: str = ""
    holds_for: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxRule:
    """When two boxes of one label are one, of which the likelier is left; at most `most` are left on a film.

    They are one where their IoU is above `overlap`, or above `inside` of the smaller one's area lies in the other; with
    None a box inside a much larger one is another box.
    """

    overlap: float
    most: int
    inside: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnBlock:
    """The block `cxrnode` of a bundle's metadata, read and checked."""

    kind: Kind
    operating_points: Mapping[str, float]
    groups: tuple[tuple[str, ...], ...]
    calibration: Mapping[str, Calibration]
    findings: tuple[FindingRule, ...]
    boxes: BoxRule | None
    enabled_by_default: bool
    disabled_because: str


def read_own_block(own: Mapping[str, Any], channels: Sequence[str]) -> OwnBlock:
    """Read the block for a network of these output channels.

    Raises ValueError, KeyError or TypeError where it lacks something, contradicts itself or holds an unknown word.
    """
    _refuse_unknown(own, _WORDS, "the block cxrnode")
    kind = _kind(own.get("kind", "segmentation"))
    labels = labels_of(kind, channels)
    disabled_because = str(own.get("disabled_because", ""))
    enabled = _flag(own.get("enabled_by_default", True))
    if not enabled and not disabled_because:
        raise ValueError("a model that is off by default says in disabled_because why")
    return OwnBlock(
        kind=kind,
        operating_points={} if kind == "classification" else _points(own["operating_points"], labels),
        groups=_groups(own.get("groups", ()), kind, labels),
        calibration={name: _calibration(said) for name, said in _of(own.get("calibration", {}), labels).items()},
        findings=tuple(_finding(name, said, kind, labels) for name, said in own.get("findings", {}).items()),
        boxes=read_box_rule(own["detection"]) if kind == "detection" else None,
        enabled_by_default=enabled,
        disabled_because=disabled_because,
    )


def labels_of(kind: Kind, channels: Sequence[str]) -> tuple[str, ...]:
    """Give the channels that name something seen: all, but for a detection's corners."""
    if kind != "detection":
        return tuple(channels)
    if tuple(channels[-4:]) != CORNERS or len(channels) < 5:
        raise ValueError(f"the last channels of a detection are {', '.join(CORNERS)}")
    return tuple(channels[:-4])


def part_of_the_digest(own: Mapping[str, Any]) -> dict[str, Any]:
    """Give what of the block can change an answer.

    Left out: whether the model is on by default and why not, what an operating point was chosen for, and the words of a
    reason to withhold; that a finding is withheld counts.
    """
    kept = {key: value for key, value in own.items() if key not in ("enabled_by_default", "disabled_because")}
    if "findings" in kept:
        kept["findings"] = {name: _judged(said) for name, said in kept["findings"].items()}
    return kept


def _judged(finding: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in finding.items() if key not in ("chosen_for", "withheld")}
    return {**kept, "withheld": bool(finding.get("withheld"))}


def _refuse_unknown(said: Mapping[str, Any], known: frozenset[str], where: str) -> None:
    unknown = sorted(set(said) - known)
    if unknown:
        raise ValueError(f"{where} has an unknown word '{unknown[0]}'")


def _kind(said: object) -> Kind:
    for kind in get_args(Kind):
        if said == kind:
            return kind  # type: ignore[no-any-return]
    raise ValueError(f"kind is one of {', '.join(get_args(Kind))}")


def _of(said: Mapping[str, Any], labels: Sequence[str]) -> Mapping[str, Any]:
    """Give a mapping by label. Raises ValueError where it names one that the network does not have."""
    for name in said:
        if name not in labels:
            raise ValueError(f"the network has no channel '{name}'")
    return said


def _points(said: Mapping[str, Any], labels: Sequence[str]) -> dict[str, float]:
    return {name: _inside(_of(said, labels)[name], f"the operating point of {name}") for name in labels}


def _groups(said: Sequence[Sequence[Any]], kind: Kind, labels: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    groups = tuple(tuple(str(name) for name in group) for group in said)
    named = [name for group in groups for name in group]
    _of(dict.fromkeys(named), labels)
    if groups and kind != "classification":
        raise ValueError("only a classification has groups")
    if len(set(named)) != len(named) or any(len(group) < 2 for group in groups):
        raise ValueError("a group has two channels or more, and a channel is in one group at most")
    return groups


def _calibration(said: Mapping[str, Any]) -> Calibration:
    _refuse_unknown(said, frozenset({"scale", "bias"}), "a calibration")
    scale, bias = float(said.get("scale", 1.0)), float(said.get("bias", 0.0))
    if not (0 < scale < math.inf and math.isfinite(bias)):
        raise ValueError("a calibration's scale is positive, and both are numbers")
    return Calibration(scale=scale, bias=bias)


def _finding(name: str, said: Mapping[str, Any], kind: Kind, labels: Sequence[str]) -> FindingRule:
    _refuse_unknown(said, _FINDING_WORDS, f"the finding {name}")
    _of({said["channel"]: None}, labels)
    if (kind == "segmentation") != ("top_share" in said):
        raise ValueError("top_share is said of a segmentation's findings, and of all of them")
    if said.get("holds_for", "") not in HOLDS_FOR:
        raise ValueError("holds_for is adults, children or empty")
    low, point, high = _band(name, said)
    return FindingRule(
        name=name,
        channel=str(said["channel"]),
        operating_point=point,
        low=low,
        high=high,
        inverse=_flag(said.get("inverse", False)),
        top_share=_share(said["top_share"]) if kind == "segmentation" else 0.0,
        chosen_for=str(said.get("chosen_for", "")),
        withheld=str(said.get("withheld", "")),
        holds_for=str(said.get("holds_for", "")),
    )


def _band(name: str, said: Mapping[str, Any]) -> tuple[float, float, float]:
    low, high = float(said["low"]), float(said["high"])
    point = _inside(said["operating_point"], f"the operating point of {name}")
    if not 0.0 <= low <= point <= high <= 1.0:
        raise ValueError(f"the points of {name} must lie in order: low, operating point, high")
    return low, point, high


def read_box_rule(said: Mapping[str, Any]) -> BoxRule:
    """Read the block `detection`. Raises as `read_own_block`."""
    _refuse_unknown(said, frozenset({"overlap", "most", "inside"}), "the block detection")
    rule = BoxRule(
        overlap=_inside(said["overlap"], "the overlap of boxes"),
        most=int(said["most"]),
        inside=_inside(said["inside"], "the share inside another box") if "inside" in said else None,
    )
    if not 1 <= rule.most <= 100:
        raise ValueError("a film has 1 to 100 boxes at most")
    return rule


def _inside(value: Any, what: str) -> float:
    if not 0.0 < float(value) < 1.0:
        raise ValueError(f"{what} must lie between 0 and 1")
    return float(value)


def _share(value: Any) -> float:
    if not 0.0 < float(value) <= 1.0:
        raise ValueError("top_share must lie between 0 and 1")
    return float(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError("a flag is true or false")
    return value
