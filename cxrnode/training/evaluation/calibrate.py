"""Hides how a bundle gets its calibration and its points: from the films of the validation part, into its card.

Promises that the same bundle and films give the same bytes: calibration is fitted on the network's own logits, never on
what an earlier calibration made of them. What a finding is chosen for stays as the card says it, and so do the reasons
to withhold it and for whom it holds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from cxrnode.errors import NeedsOperator
from cxrnode.inference.bundle import METADATA, BundleCard, Network, read_card
from cxrnode.inference.card import CORNERS, Calibration, FindingRule
from cxrnode.inference.reading import calibrated_probability, class_probabilities, sigmoid
from cxrnode.training.catalogue import read_catalogue
from cxrnode.training.evaluation.answering import Answer, answer_all, raw_logits
from cxrnode.training.evaluation.calibration import (
    Aim,
    Bin,
    Points,
    calibration_error,
    choose_points,
    fit_sigmoid,
    fit_softmax,
    read_aim,
    reliability,
)
from cxrnode.training.evaluation.cutting import Agreement, agreement, best_cut
from cxrnode.training.evaluation.detection import Boxed, best_point
from cxrnode.training.evaluation.examine import boxes_by_label, choose, no_film
from cxrnode.training.evaluation.questions import finding_truth, has, place_in
from cxrnode.training.evaluation.report import Tell, markdown
from cxrnode.training.example import Example
from cxrnode.training.export import with_points

USUAL_AIM = Aim(kind="sensitivity", value=0.90)
"""Where neither the card nor the caller says what a finding is chosen for."""
FEWEST = 5
"""Films with a finding, and films without, under which no point is set: it would be one film's."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Heard:
    """One film: the example, the image-level logit of each channel, its boxes by label, how its masks agree."""

    example: Example
    logits: Mapping[str, float]
    boxed: Mapping[str, Boxed] = field(default_factory=dict)
    agreed: Agreement = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What was set for one finding, and its calibration error before and after on the films it was fitted on.

    `points` is None where too few films show whether it is there: `positives` and `negatives` say how many.
    """

    finding: str
    aim: Aim
    points: Points | None
    error_before: float
    error_after: float
    positives: int
    negatives: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What `calibrate` did: by channel the calibration, by finding the points, from where boxes and masks are drawn."""

    name: str
    films: int
    calibration: dict[str, Calibration]
    settings: tuple[Setting, ...]
    drawn_from: dict[str, float]

    def table(self) -> str:
        """Give the outcome as Markdown."""
        scaled = markdown(
            ("channel", "scale", "bias"), [(name, one.scale, one.bias) for name, one in self.calibration.items()]
        )
        drawn = markdown(("boxes or mask of", "drawn from"), list(self.drawn_from.items()))
        return "\n\n".join(part for part in (scaled, _settings_table(self.settings), drawn) if part)


def calibrate(
    name: str,
    data: Path,
    *,
    bundle: Path,
    part: str = "validate",
    aims: Mapping[str, Aim] | None = None,
    device: str = "cpu",
    threads: int = 2,
    report: Tell = lambda line: None,
) -> Outcome:
    """Fit a bundle's calibration on one part of the data, set its findings' points, and write both into its card.

    `aims` by finding win over what the card says. Raises NeedsOperator where one is of no finding, or the part has no
    film that shows anything the bundle speaks of, ModelAltered where the weights are not the pinned ones.
    """
    complete_card(bundle)
    network = Network.load(bundle, device, threads)
    unknown = sorted((aims or {}).keys() - {rule.name for rule in network.card.findings})
    if unknown:
        known = ", ".join(rule.name for rule in network.card.findings)
        raise NeedsOperator(f"the model has no finding '{unknown[0]}' to aim at; it has: {known}", subject=name)
    chosen = choose(network.card, read_catalogue(data), part)
    if not chosen:
        raise no_film(name, part)
    plain = replace(network.card, calibration={})
    heard = []
    for example, said in answer_all(network, chosen):
        heard.append(_hear(plain, example, said))
        report({"event": "film", "done": len(heard), "of": len(chosen)})
    outcome = settle(plain, heard, aims or {}, part)
    write_card(bundle, outcome, part)
    return outcome


def _hear(card: BundleCard, example: Example, said: Answer) -> Heard:
    return Heard(
        example=example,
        logits=raw_logits(card, said),
        boxed=boxes_by_label(card, example, said),
        agreed=agreement(card, example, said),
    )


def settle(card: BundleCard, heard: Sequence[Heard], aims: Mapping[str, Aim], part: str) -> Outcome:
    """Fit and set everything, from what was heard of the films; `card` has no calibration."""
    calibration = _fit(card, heard)
    fitted = replace(card, calibration=calibration)
    settings = tuple(_set(card, fitted, rule, heard, aims) for rule in card.findings)
    reached = {one.finding: one.points.operating_point for one in settings if one.points is not None}
    return Outcome(
        name=card.name,
        films=len(heard),
        calibration=calibration,
        settings=settings,
        drawn_from=_draw_from(fitted, heard, reached) | _cut_from(card, heard),
    )


def _fit(card: BundleCard, heard: Sequence[Heard]) -> dict[str, Calibration]:
    found: dict[str, Calibration] = {}
    for group in card.groups:
        films = [(one, place) for one in heard if (place := place_in(one.example, group)) is not None]
        if films:
            logits = np.array([[one.logits[channel] for channel in group] for one, _ in films])
            found |= dict(zip(group, fit_softmax(logits, np.array([place for _, place in films])), strict=True))
    grouped = {channel for group in card.groups for channel in group}
    for channel in card.labels:
        films_of = [(one, truth) for one in heard if (truth := has(one.example, channel)) is not None]
        if channel not in grouped and films_of and channel in films_of[0][0].logits:
            logits = np.array([one.logits[channel] for one, _ in films_of])
            found[channel] = fit_sigmoid(logits, np.array([truth for _, truth in films_of]))
    return found


def _set(
    plain: BundleCard, fitted: BundleCard, rule: FindingRule, heard: Sequence[Heard], aims: Mapping[str, Aim]
) -> Setting:
    films = [(one, truth) for one in heard if (truth := finding_truth(one.example, rule)) is not None]
    true = np.array([truth for _, truth in films], dtype=np.bool_)
    before, after = (
        np.array([probability_of(card, rule, one.logits) for one, _ in films], dtype=np.float64)
        for card in (plain, fitted)
    )
    aim = aims.get(rule.name) or read_aim(rule.chosen_for) or USUAL_AIM
    positives, negatives = int(true.sum()), int((~true).sum())
    return Setting(
        finding=rule.name,
        aim=aim,
        points=choose_points(after, true, aim) if min(positives, negatives) >= FEWEST else None,
        error_before=_error(reliability(before, true)),
        error_after=_error(reliability(after, true)),
        positives=positives,
        negatives=negatives,
    )


def _error(bins: Sequence[Bin]) -> float:
    return round(calibration_error(bins), 4)


def probability_of(card: BundleCard, rule: FindingRule, logits: Mapping[str, float]) -> float:
    """Give a finding's probability, as the node states it, from the image-level logits."""
    if card.kind == "classification":
        said = class_probabilities(card, np.array([logits[name] for name in card.channels], dtype=np.float32))
        probability = said[rule.channel]
    else:
        calibration = card.calibration.get(rule.channel, Calibration())
        probability = calibrated_probability(sigmoid(logits[rule.channel]), calibration)
    return 1 - probability if rule.inverse else probability


def _draw_from(card: BundleCard, heard: Sequence[Heard], reached: Mapping[str, float]) -> dict[str, float]:
    """Give from which probability boxes are drawn: best by RSNA's score, and never above the finding's point.

    So a finding that is called has a box to show for it.
    """
    found: dict[str, float] = {}
    for label in card.labels if card.kind == "detection" else ():
        films = [one.boxed[label] for one in heard if label in one.boxed]
        if any(len(film.truth) for film in films):
            scaled = [replace(film, probabilities=_calibrated(card, label, film)) for film in films]
            above = [reached[rule.name] for rule in card.findings if rule.channel == label and rule.name in reached]
            found[label] = round(min([best_point(scaled), *above]), 6)
    return found


def _cut_from(card: BundleCard, heard: Sequence[Heard]) -> dict[str, float]:
    """Give from which probability on a pixel belongs to a finding's mask."""
    films = [one.agreed for one in heard]
    cuts = {rule.channel: best_cut(films, rule.channel) for rule in card.findings}
    return {channel: cut for channel, cut in cuts.items() if cut is not None}


def _calibrated(card: BundleCard, label: str, film: Boxed) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    rule = card.calibration.get(label, Calibration())
    return np.array([calibrated_probability(float(p), rule) for p in film.probabilities], dtype=np.float64)


def complete_card(bundle: Path) -> None:
    """Give a card whose findings have no points yet such that it can be read; another stays as it is, to the byte."""
    try:
        metadata = json.loads((bundle / METADATA).read_bytes())
        own, channels = metadata["cxrnode"], metadata["network_data_format"]["outputs"]["pred"]["channel_def"]
        kind = str(own.get("kind", "segmentation"))
        labels = [name for name in channels.values() if kind != "detection" or name not in CORNERS]
        whole = with_points(own, kind, labels)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return  # No bundle of ours: reading its card says what is wrong with it.
    if whole != own:
        write_metadata(bundle, {**metadata, "cxrnode": whole})


def write_card(bundle: Path, outcome: Outcome, part: str) -> None:
    """Write an outcome into a bundle's metadata.json, whole or not at all; all else there stays as it is.

    Raises NeedsOperator where the card would not be read again: then the file is as it was.
    """
    path = bundle / METADATA
    before = path.read_bytes()
    metadata = json.loads(before)
    own = metadata["cxrnode"]
    if outcome.calibration:
        own["calibration"] = {
            name: {"scale": one.scale, "bias": one.bias} for name, one in sorted(outcome.calibration.items())
        }
    if outcome.drawn_from:
        own.setdefault("operating_points", {}).update(outcome.drawn_from)
    for setting in outcome.settings:
        if setting.points is not None:
            said = own["findings"][setting.finding]
            said |= {key: getattr(setting.points, key) for key in ("operating_point", "low", "high")}
            said["chosen_for"] = f"{setting.aim} on the {part_in_words(part)} part"
    write_metadata(bundle, metadata)
    try:
        read_card(bundle)
    except NeedsOperator:
        _replace(path, before)
        raise


def part_in_words(part: str) -> str:
    """Give a part's name as a card has it."""
    return {"validate": "validation", "train": "training"}.get(part, part)


def write_metadata(bundle: Path, metadata: Mapping[str, Any]) -> None:
    """Write a bundle's metadata.json, whole or not at all."""
    _replace(bundle / METADATA, (json.dumps(metadata, indent=2, ensure_ascii=False) + "\n").encode())


def _replace(path: Path, content: bytes) -> None:
    whole = path.with_suffix(".part")
    whole.write_bytes(content)
    whole.replace(path)


def _settings_table(settings: Sequence[Setting]) -> str:
    head = ("finding", "aim", "with it", "without", "operating point", "band", "sensitivity", "specificity")
    return markdown((*head, "indeterminate", "calibration error before", "after"), [_row(one) for one in settings])


def _row(one: Setting) -> tuple[object, ...]:
    counts = (one.finding, one.aim, one.positives, one.negatives)
    if one.points is None:
        return *counts, "not set: too few films", None, None, None, None, one.error_before, one.error_after
    points = one.points
    band = f"{points.low:g} to {points.high:g}"
    reached = (f"{points.sensitivity:.3f}", f"{points.specificity:.3f}", f"{points.indeterminate:.3f}")
    return *counts, f"{points.operating_point:g}", band, *reached, one.error_before, one.error_after
