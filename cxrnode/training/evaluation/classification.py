"""Hides how answers to a question of several classes, and statements on single findings, are counted.

Promises numbers by source and over all films, each with its count and interval, since class and source go together in
public data: an area under the curve within one source says more than one over all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, confusion_matrix

from cxrnode.training.evaluation.calibration import Bin, calibration_error, reliability
from cxrnode.training.evaluation.estimate import Rate, area_under_curve, mean_of_areas, rate

Numbers = NDArray[np.float64]
Flags = NDArray[np.bool_]

EVERYWHERE = "all sources"


class Sourced(Protocol):
    """What belongs to a source."""

    @property
    def source(self) -> str:
        """The source's name."""
        ...


Placed = TypeVar("Placed", bound=Sourced)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Said:
    """One film's calibrated answer: the probability of each class of a group, and the true class's place or None."""

    name: str
    source: str
    patient: str
    probabilities: Numbers
    truth: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassScore:
    """One class against the rest. `recall` is its sensitivity."""

    label: str
    support: int
    precision: Rate | None
    recall: Rate | None
    specificity: Rate | None
    f1: Rate | None
    auc: Rate | None
    average_precision: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionReport:
    """A question on one source or all. `confusion`: rows are the truth, columns what was said; `films` are counted."""

    question: str
    source: str
    films: int
    accuracy: Rate | None
    macro_auc: Rate | None
    macro_f1: float
    classes: tuple[ClassScore, ...]
    confusion: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Statement:
    """One film's image-level probability of a finding, and whether it is there."""

    name: str
    source: str
    patient: str
    probability: float
    truth: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """The points by which a finding is stated, from the bundle's card."""

    finding: str
    operating_point: float
    low: float
    high: float
    withheld: str = ""
    holds_for: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingReport:
    """A finding on one source or all.

    Sensitivity, specificity, precision and F1 at the operating point; `indeterminate`: within the band;
    `called` and `cleared`: of those with it the share stated present, of those without it the share stated absent.
    `by`: who said what is true.
    """

    stated: Stated
    by: str
    source: str
    films: int
    positives: int
    auc: Rate | None
    sensitivity: Rate | None
    specificity: Rate | None
    precision: Rate | None
    f1: Rate | None
    called: Rate | None
    cleared: Rate | None
    indeterminate: Rate | None
    calibration_error: float
    reliability: tuple[Bin, ...]


def report_question(films: Sequence[Said], question: str, labels: Sequence[str]) -> tuple[QuestionReport, ...]:
    """Report all films, then each source, of those whose class is known and one of the labels."""
    known = [film for film in films if film.truth is not None]
    return tuple(_question(part, question, source, labels) for source, part in by_source(known))


def by_source(films: Sequence[Placed]) -> list[tuple[str, list[Placed]]]:
    """Give all films as one part, then the films of each source."""
    sources = sorted({film.source for film in films})
    several: list[tuple[str, list[Placed]]] = [(EVERYWHERE, list(films))] if len(sources) > 1 else []
    return [*several, *((source, [film for film in films if film.source == source]) for source in sources)]


def _question(films: Sequence[Said], question: str, source: str, labels: Sequence[str]) -> QuestionReport:
    truth = np.array([film.truth for film in films], dtype=np.intp)
    scores = np.stack([film.probabilities for film in films])
    said, patients = scores.argmax(axis=1), [film.patient for film in films]
    table = confusion_matrix(truth, said, labels=range(len(labels)))
    classes = tuple(_class(index, label, truth, said, scores, patients) for index, label in enumerate(labels))
    there = [index for index in range(len(labels)) if 0 < np.count_nonzero(truth == index) < len(truth)]
    macro = mean_of_areas([(scores[:, index], truth == index) for index in there], patients) if there else None
    return QuestionReport(
        question=question,
        source=source,
        films=len(films),
        accuracy=rate(said == truth, np.ones(len(films)), patients),
        macro_auc=macro,
        macro_f1=float(np.mean([one.f1.value if one.f1 else 0.0 for one in classes if one.support])),
        classes=classes,
        confusion=tuple(tuple(int(count) for count in row) for row in table),
    )


def _class(
    index: int, label: str, truth: NDArray[np.intp], said: NDArray[np.intp], scores: Numbers, patients: Sequence[str]
) -> ClassScore:
    true, called = truth == index, said == index
    both = bool(true.any() and not true.all())
    return ClassScore(
        label=label,
        support=int(true.sum()),
        precision=rate(true & called, called, patients),
        recall=rate(true & called, true, patients),
        specificity=rate(~true & ~called, ~true, patients),
        f1=rate(2.0 * (true & called), 1.0 * true + called, patients) if true.any() else None,
        auc=area_under_curve(scores[:, index], true, patients),
        average_precision=float(average_precision_score(true, scores[:, index])) if both else None,
    )


def report_finding(films: Sequence[Statement], stated: Stated, by: str) -> tuple[FindingReport, ...]:
    """Report all films, then each source."""
    return tuple(_finding(part, stated, by, source) for source, part in by_source(films))


def _finding(films: Sequence[Statement], stated: Stated, by: str, source: str) -> FindingReport:
    said = np.array([film.probability for film in films], dtype=np.float64)
    true = np.array([film.truth for film in films], dtype=np.bool_)
    patients = [film.patient for film in films]
    called, bins = said >= stated.operating_point, reliability(said, true)
    return FindingReport(
        stated=stated,
        by=by,
        source=source,
        films=len(films),
        positives=int(true.sum()),
        auc=area_under_curve(said, true, patients),
        sensitivity=rate(true & called, true, patients),
        specificity=rate(~true & ~called, ~true, patients),
        precision=rate(true & called, called, patients),
        f1=rate(2.0 * (true & called), 1.0 * true + called, patients) if true.any() else None,
        called=rate(true & (said >= stated.high), true, patients),
        cleared=rate(~true & (said < stated.low), ~true, patients),
        indeterminate=rate((said >= stated.low) & (said < stated.high), np.ones(len(films)), patients),
        calibration_error=calibration_error(bins),
        reliability=bins,
    )
