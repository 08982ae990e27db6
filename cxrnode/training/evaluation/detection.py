"""Hides how boxes are scored.

Promises the mean average precision as the RSNA Pneumonia Detection Challenge of 2018 counted it, the FROC curve, and
how well matched boxes lie. Shih G et al. Augmenting the National Institutes of Health chest radiograph dataset with
expert annotations of possible pneumonia. Radiology: Artificial Intelligence 2019;1:e180041.

The challenge's rule: at each threshold the boxes of a film are taken in the order of their confidence; a box that
overlaps a true box not yet taken by more than the threshold is a hit. The film's score is hits / (hits + boxes too
many + true boxes missed), averaged over the thresholds. A film with neither truth nor box is left out of the mean; one
with boxes and no truth counts as nought.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrnode.training.evaluation.estimate import Estimate, Rate, estimate, rate
from cxrnode.training.evaluation.overlap import Boxes, box_ious

THRESHOLDS = tuple(round(0.40 + 0.05 * step, 2) for step in range(8))
"""0.40, 0.45, ... 0.75."""
FALSE_BOXES = (0.125, 0.25, 0.5, 1.0, 2.0)
"""Boxes too many a film, at which the FROC curve is read."""
HIT = 0.4
"""Intersection over union from which the FROC curve and the matched boxes count a hit."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Boxed:
    """One film: true boxes (M, 4), and all boxes said (N, 4) with a probability each, the surest first."""

    name: str
    source: str
    patient: str
    truth: Boxes
    said: Boxes
    probabilities: NDArray[np.float64]

    def drawn(self, point: float) -> Boxes:
        """The boxes said with at least this probability."""
        return self.said[self.probabilities >= point]


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxReport:
    """Boxes of one label on some films, at the operating point; `froc` at any."""

    label: str
    source: str
    films: int
    positive: int
    operating_point: float
    mean_precision: Rate | None
    recall: Rate | None
    precision: Rate | None
    matched_iou: Estimate | None
    froc: tuple[tuple[float, float], ...]


def match(said: Boxes, truth: Boxes, threshold: float) -> tuple[tuple[int, int, float], ...]:
    """Pair boxes, the surest first, each with the free true box it overlaps most: (said, true, overlap)."""
    overlaps = box_ious(said, truth)
    found: list[tuple[int, int, float]] = []
    for index in range(len(said)):
        if not len(truth):
            break
        best = int(overlaps[index].argmax())
        if overlaps[index, best] > threshold:
            found.append((index, best, float(overlaps[index, best])))
            overlaps[:, best] = -1.0
    return tuple(found)


def film_precision(said: Boxes, truth: Boxes) -> float | None:
    """Give a film's score as the challenge counted it; None where it is left out."""
    score = float(_precisions(said, truth)[-1])
    return None if np.isnan(score) else score


def _precisions(said: Boxes, truth: Boxes) -> NDArray[np.float64]:
    """Give a film's scores (N+1,) where none, the surest, the two surest ... of its boxes are drawn; NaN: left out.

    A surer box is matched first whatever follows: so one matching tells them all.
    """
    hits = np.zeros((len(THRESHOLDS), len(said) + 1))
    for row, threshold in zip(hits, THRESHOLDS, strict=True):
        for index, _, _ in match(said, truth, threshold):
            row[index + 1 :] += 1
    drawn_or_true = np.arange(len(said) + 1) + len(truth) - hits
    scores = np.divide(hits, drawn_or_true, out=np.full_like(hits, np.nan), where=drawn_or_true > 0)
    return np.asarray(scores.mean(axis=0))


def mean_precision(films: Sequence[Boxed], point: float) -> Rate | None:
    """Give the challenge's score over films whose boxes are drawn from probability `point` on."""
    scores = [film_precision(film.drawn(point), film.truth) for film in films]
    values = [0.0 if score is None else score for score in scores]
    return rate(values, [score is not None for score in scores], [film.patient for film in films])


def best_point(films: Sequence[Boxed]) -> float:
    """Give the probability from which to draw boxes for the best mean precision; 0.5 where no box was said.

    Of equals the highest counts: fewer boxes for the same score.
    """
    said = np.concatenate([film.probabilities for film in films]) if films else np.empty(0)
    if not len(said):
        return 0.5
    points = np.unique(np.quantile(said, np.linspace(0, 1, 101)))
    drawn = [(film.probabilities >= points[:, None]).sum(axis=1) for film in films]
    scores = [_precisions(film.said, film.truth)[counts] for film, counts in zip(films, drawn, strict=True)]
    mean = np.nanmean(scores, axis=0)
    return float(points[np.flatnonzero(mean >= mean.max())[-1]])


def froc(films: Sequence[Boxed]) -> tuple[tuple[float, float], ...]:
    """Give (boxes too many a film, share of true boxes hit) at every probability, from the highest down.

    A hit is an overlap of more than HIT. Empty where no true box is known.
    """
    total = sum(len(film.truth) for film in films)
    marks = sorted((mark for film in films for mark in _marks(film)), reverse=True)
    if not total:
        return ()
    curve, hits, many = [(0.0, 0.0)], 0, 0
    for place, (probability, hit) in enumerate(marks):
        hits, many = hits + hit, many + (not hit)
        if place + 1 == len(marks) or marks[place + 1][0] < probability:
            curve.append((many / len(films), hits / total))
    return tuple(curve)


def _marks(film: Boxed) -> list[tuple[float, bool]]:
    hit = {index for index, _, _ in match(film.said, film.truth, HIT)}
    return [(float(p), index in hit) for index, p in enumerate(film.probabilities)]


def read_froc(curve: Sequence[tuple[float, float]], at: Sequence[float] = FALSE_BOXES) -> tuple[float, ...]:
    """Read a FROC curve: the highest share hit with at most so many boxes too many a film."""
    return tuple(max((hit for many, hit in curve if many <= limit), default=0.0) for limit in at)


def report_boxes(films: Sequence[Boxed], label: str, source: str, point: float) -> BoxReport:
    """Put one label's films together."""
    drawn = [film.drawn(point) for film in films]
    pairs = [match(said, film.truth, HIT) for said, film in zip(drawn, films, strict=True)]
    hits = [len(pair) for pair in pairs]
    patients = [film.patient for film in films]
    overlaps = [(film.patient, one[2]) for film, pair in zip(films, pairs, strict=True) for one in pair]
    curve = froc(films)
    return BoxReport(
        label=label,
        source=source,
        films=len(films),
        positive=sum(len(film.truth) > 0 for film in films),
        operating_point=point,
        mean_precision=mean_precision(films, point),
        recall=rate(hits, [len(film.truth) for film in films], patients),
        precision=rate(hits, [len(said) for said in drawn], patients),
        matched_iou=estimate([o for _, o in overlaps], [p for p, _ in overlaps]) if overlaps else None,
        froc=tuple(zip(FALSE_BOXES, read_froc(curve), strict=True)) if curve else (),
    )
