"""Hides how an evaluation is printed and kept.

Promises one value with all that was found, as JSON and as Markdown; every number stands beside its count.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from cxrnode.training.evaluation.classification import ClassScore, FindingReport, QuestionReport
from cxrnode.training.evaluation.detection import BoxReport
from cxrnode.training.evaluation.segmentation import Reading, SourceReport

Tell = Callable[[dict[str, Any]], None]
"""Is told how far an examination is."""


class Printed(Protocol):
    """What was found, as JSON and as Markdown."""

    def as_json(self) -> dict[str, Any]:
        """Give it as values that JSON knows."""
        ...

    def table(self) -> str:
        """Give it as Markdown tables."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrong:
    """A film on which the model was wrong and sure: what it said, how sure, and what is true."""

    name: str
    source: str
    asked: str
    said: str
    probability: float
    truth: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What `evaluate` found: masks by source, questions, findings and boxes; the worst films of each.

    `worst` holds films by their masks, the lowest Dice of a source first; `wrong` by what was said, the surest first.
    """

    name: str
    version: str
    digest: str
    kind: str
    part: str
    films: int
    sources: tuple[SourceReport, ...] = ()
    questions: tuple[QuestionReport, ...] = ()
    findings: tuple[FindingReport, ...] = ()
    boxes: tuple[BoxReport, ...] = ()
    worst: tuple[Reading, ...] = ()
    wrong: tuple[Wrong, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Give the report as values that JSON knows."""
        return asdict(self)

    def table(self) -> str:
        """Give the report as Markdown: each number with its 95 % interval."""
        parts = [
            _masks(self.sources),
            *_missed(self.sources),
            *_ratios(self.sources),
            _questions(self.questions),
            _classes(self.questions),
            *(_confusion(question) for question in self.questions),
            _findings(self.findings),
            _boxes(self.boxes),
            _wrong(self.wrong),
        ]
        return "\n\n".join(part for part in parts if part)


def keep_report(out: Path, found: Printed, films: Iterable[Mapping[str, Any]]) -> None:
    """Write report.json, report.md and films.jsonl, a line a film, into the folder `out`."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.json").write_text(json.dumps(found.as_json(), indent=2) + "\n", encoding="utf-8")
    (out / "report.md").write_text(found.table() + "\n", encoding="utf-8")
    (out / "films.jsonl").write_text("".join(json.dumps(film) + "\n" for film in films), encoding="utf-8")


def markdown(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Give a Markdown table; a missing value is a dash; nothing where there are no rows."""
    lines = [[("-" if value is None else str(value)) for value in row] for row in rows]
    if not lines:
        return ""
    return "\n".join("| " + " | ".join(line) + " |" for line in [list(head), ["---"] * len(head), *lines])


def _masks(sources: Sequence[SourceReport]) -> str:
    scores = ("Dice", "median Dice", "IoU", "IoU where drawn", "pixel accuracy", "precision", "recall")
    return markdown(
        ("source", "structure", "n", *scores),
        [
            (
                source.source,
                channel,
                one.n,
                one,
                f"{one.median:.4f}",
                source.iou[channel],
                source.iou_where_drawn.get(channel),
                source.accuracy[channel],
                source.precision[channel],
                source.recall[channel],
            )
            for source in sources
            for channel, one in source.dice.items()
        ],
    )


def _missed(sources: Sequence[SourceReport]) -> list[str]:
    lunged = [source for source in sources if {"right_lung", "left_lung"} & source.dice.keys()]
    rows = [
        (source.source, source.films, len(source.missed), ", ".join(source.missed) or "none", source.caveat or None)
        for source in lunged
    ]
    head = ("source", "films", "with a lung missed (Dice under 0.5)", "which", "its masks are no aim, because")
    return [markdown(head, rows)] if rows else []


def _ratios(sources: Sequence[SourceReport]) -> list[str]:
    return [
        f"Cardiothoracic ratio, {source.source}, n={source.ratio_error.n} "
        f"({source.ratio_missing} without an answer): mean absolute error {source.ratio_error}, "
        f"bias {source.ratio_bias}"
        for source in sources
        if source.ratio_error is not None
    ]


def _questions(questions: Sequence[QuestionReport]) -> str:
    head = ("question", "source", "films", "accuracy", "macro AUC", "macro F1")
    rows = [
        (one.question, one.source, one.films, one.accuracy, one.macro_auc, f"{one.macro_f1:.3f}") for one in questions
    ]
    return markdown(head, rows)


def _classes(questions: Sequence[QuestionReport]) -> str:
    head = ("question", "source", "class", "support", "precision", "recall", "specificity", "F1", "AUC", "AP")
    rows = [(one.question, one.source, *_class(each)) for one in questions for each in one.classes if each.support]
    return markdown(head, rows)


def _class(one: ClassScore) -> tuple[object, ...]:
    precise = None if one.average_precision is None else f"{one.average_precision:.3f}"
    return one.label, one.support, one.precision, one.recall, one.specificity, one.f1, one.auc, precise


def _confusion(question: QuestionReport) -> str:
    labels = [each.label for each in question.classes]
    rows = [(label, *counts) for label, counts in zip(labels, question.confusion, strict=True)]
    title = f"{question.question}, {question.source}: rows the truth, columns what was said"
    return f"{title}\n\n{markdown(('truth', *labels), rows)}"


FINDING_COLUMNS: tuple[tuple[str, Callable[[FindingReport], object]], ...] = (
    ("finding", lambda one: one.stated.finding),
    ("truth by", lambda one: one.by),
    ("source", lambda one: one.source),
    ("films", lambda one: one.films),
    ("with it", lambda one: one.positives),
    ("AUC", lambda one: one.auc),
    ("operating point", lambda one: f"{one.stated.operating_point:.3g}"),
    ("sensitivity", lambda one: one.sensitivity),
    ("specificity", lambda one: one.specificity),
    ("precision", lambda one: one.precision),
    ("F1", lambda one: one.f1),
    ("band", lambda one: f"{one.stated.low:.3g} to {one.stated.high:.3g}"),
    ("stated present of those with it", lambda one: one.called),
    ("stated absent of those without", lambda one: one.cleared),
    ("indeterminate", lambda one: one.indeterminate),
    ("calibration error", lambda one: f"{one.calibration_error:.3f}"),
)


def _findings(findings: Sequence[FindingReport]) -> str:
    rows = [tuple(read(one) for _, read in FINDING_COLUMNS) for one in findings]
    return markdown([name for name, _ in FINDING_COLUMNS], rows)


def _boxes(boxes: Sequence[BoxReport]) -> str:
    head = ("boxes", "source", "films", "with boxes", "drawn from", "mAP 0.40 to 0.75", "hit", "precision")
    return markdown((*head, "IoU of hits", "hit at boxes too many a film"), [_box_row(one) for one in boxes])


def _box_row(one: BoxReport) -> tuple[object, ...]:
    curve = ", ".join(f"{hit:.2f} at {many:g}" for many, hit in one.froc) or None
    counts = (one.label, one.source, one.films, one.positive, f"{one.operating_point:.3g}")
    return *counts, one.mean_precision, one.recall, one.precision, one.matched_iou, curve


def _wrong(wrong: Sequence[Wrong]) -> str:
    return markdown(
        ("surest and wrong", "source", "asked", "said", "probability", "truth"),
        [(one.name, one.source, one.asked, one.said, f"{one.probability:.3f}", one.truth) for one in wrong],
    )
