"""Hides how a bundle is examined on films that it never saw, whatever its kind.

Promises that what is examined is what the node runs (`answering`), that every number has its count and interval, and
that the same bundle and films give the same report. The pictures and tables go to `out`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cxrnode.errors import NeedsOperator
from cxrnode.inference.bundle import BundleCard, Network
from cxrnode.training.catalogue import read_catalogue
from cxrnode.training.evaluation.answering import Answer, answer_all, said_boxes
from cxrnode.training.evaluation.classification import Said, Stated, Statement, report_finding, report_question
from cxrnode.training.evaluation.detection import Boxed, report_boxes
from cxrnode.training.evaluation.questions import (
    finding_truth,
    has,
    has_by_report,
    place_in,
    question_of,
    true_boxes,
)
from cxrnode.training.evaluation.report import Report, Tell, Wrong
from cxrnode.training.evaluation.segmentation import Reading, read_masks, report_masks, said_masks, worst_readings
from cxrnode.training.example import Example
from cxrnode.training.films import read_film

DRAWN, REPORTED = "people", "a program, from reports"
"""Who said what is true of a finding."""
EVERY_PART = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What was found film by film: masks; by question, answers; by finding and teller, statements; by label, boxes."""

    readings: list[Reading] = field(default_factory=list)
    said: dict[str, list[Said]] = field(default_factory=dict)
    statements: dict[tuple[str, str], list[Statement]] = field(default_factory=dict)
    boxed: dict[str, list[Boxed]] = field(default_factory=dict)
    lines: list[dict[str, Any]] = field(default_factory=list)


def evaluate(
    name: str,
    data: Path,
    *,
    bundle: Path,
    out: Path | None = None,
    part: str = "test",
    source: str = "",
    device: str = "cpu",
    threads: int = 2,
    worst: int = 10,
    report: Tell = lambda line: None,
) -> Report:
    """Examine a bundle on one part of the data (train, validate, test, all), and one source if that is asked for.

    With `out`, write report.json, report.md, films.jsonl and pictures there, and keep the thumbnails by which films
    were compared. Raises NeedsOperator where no film of that part tells anything the bundle speaks of, ModelAltered
    where the weights are not the pinned ones.
    """
    network = Network.load(bundle, device, threads)
    chosen = choose(network.card, read_catalogue(data, out), part, source)
    if not chosen:
        raise no_film(name, part, source)
    seen = look(network, chosen, report)
    found = summarise(network.card, part, seen, len(chosen), worst)
    if out is not None:
        from cxrnode.training.evaluation.writing import write_report

        write_report(out, found, seen, network, chosen)
    return found


def choose(card: BundleCard, examples: Sequence[Example], part: str, source: str = "") -> list[Example]:
    """Pick the films of a part, and a source, on which something is known that the bundle speaks of."""
    return [
        one for one in examples if part in (one.part, EVERY_PART) and source in ("", one.source) and _known(card, one)
    ]


def no_film(name: str, part: str, source: str = "") -> NeedsOperator:
    """Give the error of a data folder on which a bundle cannot be examined."""
    wanted = f"its {part} part" if not source else f"its {part} part of {source}"
    return NeedsOperator(
        f"the data folder has no film in {wanted} that shows what this model is asked",
        operation="examine",
        subject=name,
        hint="docs/operations.md, Training a model",
    )


def _known(card: BundleCard, example: Example) -> bool:
    named = [*card.labels, *(rule.channel for rule in card.findings)]
    asked = any(has(example, name) is not None or has_by_report(example, name) is not None for name in named)
    return asked or any(place_in(example, group) is not None for group in card.groups)


def look(network: Network, examples: Sequence[Example], report: Tell = lambda line: None) -> Seen:
    """Examine films one by one."""
    seen = Seen()
    for number, (example, said) in enumerate(answer_all(network, examples), 1):
        note(seen, network.card, example, said)
        report({"event": "film", "done": number, "of": len(examples)})
    return seen


def note(seen: Seen, card: BundleCard, example: Example, said: Answer) -> None:
    """Add to `seen` what was said of one film."""
    line: dict[str, Any] = {"name": example.name, "source": example.source, "patient": example.patient}
    line["scores"] = {score.finding: score.probability for score in said.read.scores}
    if card.kind == "segmentation" and any(name in example.masks for name in card.channels):
        line |= _note_masks(seen, card, example, said)
    elif said.read.probabilities:
        line["probabilities"] = dict(said.read.probabilities)
    _note_classes(seen, card, example, said)
    _note_findings(seen, card, example, said)
    _note_boxes(seen, card, example, said)
    seen.lines.append(line)


def _note_masks(seen: Seen, card: BundleCard, example: Example, said: Answer) -> dict[str, Any]:
    film = read_film(example, card.channels)
    place = (example.name, example.source, example.patient)
    one = read_masks(said_masks(card, said), film, card.channels, place)
    seen.readings.append(one)
    return {"dice": one.dice, "iou": one.iou, "share": one.share, "ratio": one.ratio}


def _note_classes(seen: Seen, card: BundleCard, example: Example, said: Answer) -> None:
    for group in card.groups:
        film = Said(
            name=example.name,
            source=example.source,
            patient=example.patient,
            probabilities=np.array([said.read.probabilities[channel] for channel in group]),
            truth=place_in(example, group),
        )
        if film.truth is not None:
            seen.said.setdefault(question_of(group), []).append(film)


def _note_findings(seen: Seen, card: BundleCard, example: Example, said: Answer) -> None:
    for rule, score in zip(card.findings, said.read.scores, strict=True):
        told = {DRAWN: finding_truth(example, rule), REPORTED: has_by_report(example, rule.channel)}
        for by, truth in told.items():
            # A program's word counts only where no person looked.
            if truth is not None and (by == DRAWN or told[DRAWN] is None):
                seen.statements.setdefault((rule.name, by), []).append(
                    Statement(
                        name=example.name,
                        source=example.source,
                        patient=example.patient,
                        probability=score.probability,
                        truth=truth,
                    )
                )


def _note_boxes(seen: Seen, card: BundleCard, example: Example, said: Answer) -> None:
    for label, boxed in boxes_by_label(card, example, said).items():
        seen.boxed.setdefault(label, []).append(boxed)


def boxes_by_label(card: BundleCard, example: Example, said: Answer) -> dict[str, Boxed]:
    """Give a detection's boxes on a film beside the true ones, by label; labels that nobody looked for are left out."""
    found: dict[str, Boxed] = {}
    for label in card.labels if card.kind == "detection" else ():
        true = true_boxes(example, label)
        if true is not None:
            corners = [(box.left, box.top, box.right, box.bottom) for box in true]
            boxes, probabilities = said_boxes(card, said, label)
            found[label] = Boxed(
                name=example.name,
                source=example.source,
                patient=example.patient,
                truth=np.array(corners, dtype=np.float64).reshape(-1, 4),
                said=boxes,
                probabilities=probabilities,
            )
    return found


def summarise(card: BundleCard, part: str, seen: Seen, films: int, worst: int) -> Report:
    """Put what was found film by film together."""
    groups = {question_of(group): [name.partition(".")[2] or name for name in group] for group in card.groups}
    stated = {rule.name: stated_of(card, rule.name) for rule in card.findings}
    return Report(
        name=card.name,
        version=card.version,
        digest=card.digest,
        kind=card.kind,
        part=part,
        films=films,
        sources=report_masks(seen.readings),
        questions=tuple(one for key, said in seen.said.items() for one in report_question(said, key, groups[key])),
        findings=tuple(
            one for (name, by), found in seen.statements.items() for one in report_finding(found, stated[name], by)
        ),
        boxes=tuple(
            report_boxes(boxed, label, "all sources", card.operating_points[label])
            for label, boxed in seen.boxed.items()
        ),
        worst=worst_readings(seen.readings, worst),
        wrong=(*_wrong_classes(seen, groups, worst), *_wrong_findings(seen, stated, worst)),
    )


def stated_of(card: BundleCard, finding: str) -> Stated:
    """Give the points by which the card states a finding."""
    rule = next(rule for rule in card.findings if rule.name == finding)
    return Stated(
        finding=rule.name,
        operating_point=rule.operating_point,
        low=rule.low,
        high=rule.high,
        withheld=rule.withheld,
        holds_for=rule.holds_for,
    )


def _wrong_classes(seen: Seen, groups: dict[str, list[str]], worst: int) -> list[Wrong]:
    found: list[Wrong] = []
    for question, films in seen.said.items():
        wrong = [
            Wrong(
                name=film.name,
                source=film.source,
                asked=question,
                said=groups[question][int(film.probabilities.argmax())],
                probability=float(film.probabilities.max()),
                truth=groups[question][film.truth],
            )
            for film in films
            if film.truth is not None and film.probabilities.argmax() != film.truth
        ]
        found += sorted(wrong, key=lambda one: (-one.probability, one.name))[:worst]
    return found


def _wrong_findings(seen: Seen, stated: dict[str, Stated], worst: int) -> list[Wrong]:
    found: list[Wrong] = []
    for (name, by), films in seen.statements.items():
        point = stated[name].operating_point
        wrong = [film for film in films if by == DRAWN and (film.probability >= point) != film.truth]
        wrong.sort(key=lambda film: (-abs(film.probability - film.truth), film.name))
        found += [
            Wrong(
                name=film.name,
                source=film.source,
                asked=name,
                said="absent" if film.truth else "present",
                probability=film.probability,
                truth="present" if film.truth else "absent",
            )
            for film in wrong[:worst]
        ]
    return found
