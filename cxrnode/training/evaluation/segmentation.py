"""Hides how masks are scored.

Promises scores on the film's own rows and columns, of masks tidied as the node tidies them, by source, with intervals
by patient; the same bundle and films give the same numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrnode.domain.chest import tidied
from cxrnode.domain.measurement import ChestMeasurements, Mask, measure_chest
from cxrnode.inference.bundle import BundleCard, Network
from cxrnode.pixels.geometry import restore
from cxrnode.training.evaluation.answering import Answer, answer
from cxrnode.training.evaluation.estimate import Estimate, estimate
from cxrnode.training.evaluation.overlap import compare
from cxrnode.training.example import Example
from cxrnode.training.films import Film, read_film

LUNGS = ("right_lung", "left_lung")
CHEST = (*LUNGS, "heart")
MISSED = 0.5
"""A lung whose Dice coefficient is under this was missed."""
SCORES = ("dice", "iou", "accuracy", "precision", "recall")

OTHER_TRUTH = {
    "covid_v7labs": "the lung's outline includes the heart's shadow: another convention",
    "covid_genblock": "the lung's outline includes the heart's shadow: another convention",
    "viral_pneumonia": "children, and masks drawn by a machine",
    "nih_physician": "two films of uncertain terms",
}
"""Sources where a low score may be the truth's fault, and why; that a lung is missed is a fault there, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One film examined: scores by channel, None where nobody drew it. `ratio` is (said, true).

    `share` is the true share of the picture; nought where there is truly nothing.
    """

    name: str
    source: str
    patient: str
    dice: dict[str, float | None]
    iou: dict[str, float | None]
    accuracy: dict[str, float | None]
    precision: dict[str, float | None]
    recall: dict[str, float | None]
    share: dict[str, float]
    ratio: tuple[float, float] | None

    @property
    def worst_dice(self) -> float:
        """The lowest Dice coefficient of its structures; 1 where nothing was drawn."""
        return min((value for value in self.dice.values() if value is not None), default=1.0)

    @property
    def lung_missed(self) -> bool:
        """Whether a lung that somebody drew was not found."""
        return any((self.dice.get(lung) or 0.0) < MISSED for lung in LUNGS if self.share.get(lung, 0.0) > 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceReport:
    """One source: estimates by channel, and of the cardiothoracic ratio where hearts are labelled.

    `iou_where_drawn` leaves out the films that truly have nothing (an empty mask, rightly found empty, scores 1).
    `bias` is said minus true; `share` is the smallest and largest true share of the picture by channel. `missed` names
    the films with a lung missed. `caveat`: why the scores do not count towards an aim.
    """

    source: str
    films: int
    dice: dict[str, Estimate]
    iou: dict[str, Estimate]
    accuracy: dict[str, Estimate]
    precision: dict[str, Estimate]
    recall: dict[str, Estimate]
    iou_where_drawn: dict[str, Estimate]
    share: dict[str, tuple[float, float]]
    missed: tuple[str, ...]
    ratio_error: Estimate | None
    ratio_bias: Estimate | None
    ratio_missing: int
    caveat: str


def segment(network: Network, film: Film) -> list[Mask]:
    """Give the masks that the node would give, on the film's own rows and columns, in the order of the channels."""
    return said_masks(network.card, answer(network, film.image, film.pixel_aspect))


def said_masks(card: BundleCard, said: Answer) -> list[Mask]:
    """Cut an answer's maps at the card's operating points, on the film's own rows and columns, and tidy them."""
    if said.read.maps is None:
        raise ValueError(f"{card.name} gives no maps")
    maps = restore(said.read.maps, said.letterbox)
    cut = zip(card.channels, maps, card.thresholds, strict=True)
    return [tidied(label, plane >= point) for label, plane, point in cut]


def read_one(network: Network, example: Example) -> Reading:
    """Examine one film."""
    film = read_film(example, network.card.channels)
    place = (example.name, example.source, example.patient)
    return read_masks(segment(network, film), film, network.card.channels, place)


def read_masks(said: Sequence[Mask], film: Film, channels: Sequence[str], place: tuple[str, str, str]) -> Reading:
    """Compare what was said of a film with its truth; `place` is its name, source and patient."""
    name, source, patient = place
    counts = {
        channel: compare(said[index], film.truth[index]) if film.labelled[index] else None
        for index, channel in enumerate(channels)
    }
    scores = {
        score: {channel: None if one is None else float(getattr(one, score)) for channel, one in counts.items()}
        for score in SCORES
    }
    return Reading(
        name=name,
        source=source,
        patient=patient,
        dice=scores["dice"],
        iou=scores["iou"],
        accuracy=scores["accuracy"],
        precision=scores["precision"],
        recall=scores["recall"],
        share={channel: float(mask.mean()) for channel, mask in zip(channels, film.truth, strict=True)},
        ratio=_ratio_of(said, film, channels),
    )


def _ratio_of(said: Sequence[Mask], film: Film, channels: Sequence[str]) -> tuple[float, float] | None:
    """Give (said, true), with not-a-number for no answer; None where no truth has a ratio."""
    if tuple(channels) != CHEST or not film.labelled.all():
        return None
    truth = measured(list(film.truth)).cardiothoracic_ratio
    answer_given = measured(said).cardiothoracic_ratio
    return None if truth is None else (float("nan") if answer_given is None else answer_given, truth)


def measured(masks: Sequence[NDArray[np.bool_]]) -> ChestMeasurements:
    """Measure right lung, left lung and heart."""
    right, left, heart = masks
    return measure_chest(right, left, heart)


def report_masks(readings: Sequence[Reading]) -> tuple[SourceReport, ...]:
    """Put readings together by source."""
    sources = sorted({one.source for one in readings})
    return tuple(_source(source, [one for one in readings if one.source == source]) for source in sources)


def worst_readings(readings: Sequence[Reading], count: int) -> tuple[Reading, ...]:
    """Give the worst films of each source, the lowest Dice first."""
    found: list[Reading] = []
    for source in sorted({one.source for one in readings}):
        films = [one for one in readings if one.source == source]
        found += sorted(films, key=lambda one: (one.worst_dice, one.name))[:count]
    return tuple(found)


def _source(source: str, films: Sequence[Reading]) -> SourceReport:
    # Another source's heart may be the whole mediastinum: no truth for the ratio.
    ratios = [(one.patient, *one.ratio) for one in films if one.ratio is not None and source not in OTHER_TRUTH]
    answered = [(patient, said - true) for patient, said, true in ratios if not np.isnan(said)]
    patients = [patient for patient, _ in answered]
    estimates = {score: _estimates([(one.patient, getattr(one, score)) for one in films]) for score in SCORES}
    return SourceReport(
        source=source,
        films=len(films),
        dice=estimates["dice"],
        iou=estimates["iou"],
        accuracy=estimates["accuracy"],
        precision=estimates["precision"],
        recall=estimates["recall"],
        iou_where_drawn=_estimates([(one.patient, _drawn(one.iou, one.share)) for one in films]),
        share={
            channel: (min(one.share[channel] for one in films), max(one.share[channel] for one in films))
            for channel in estimates["dice"]
        },
        missed=tuple(sorted(one.name for one in films if one.lung_missed)),
        ratio_error=estimate([abs(error) for _, error in answered], patients) if answered else None,
        ratio_bias=estimate([error for _, error in answered], patients) if answered else None,
        ratio_missing=len(ratios) - len(answered),
        caveat=OTHER_TRUTH.get(source, ""),
    )


def _drawn(scores: Mapping[str, float | None], share: Mapping[str, float]) -> dict[str, float | None]:
    return {channel: value if share[channel] > 0 else None for channel, value in scores.items()}


def _estimates(scored: Sequence[tuple[str, Mapping[str, float | None]]]) -> dict[str, Estimate]:
    found: dict[str, Estimate] = {}
    for channel in scored[0][1]:
        pairs = [(patient, value) for patient, scores in scored if (value := scores[channel]) is not None]
        if pairs:
            found[channel] = estimate([value for _, value in pairs], [patient for patient, _ in pairs])
    return found
