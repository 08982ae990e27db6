"""Hides how the gate is measured, whose truth no data set holds: defects are made from films it never saw.

Promises that every picture goes the node's way (`answering.answer`); that films as they are say how often the gate
refuses what it should let pass, by source, and what is made of them how often it lets pass what it should refuse; that
the same bundle and films give the same report. `set_gate_points` sets the operating points on the validation part.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from cxrnode.errors import Unsuitable
from cxrnode.inference.bundle import METADATA, BundleCard, Network
from cxrnode.training.catalogue import read_catalogue
from cxrnode.training.defects import STRANGERS, FloatArray, inverted
from cxrnode.training.evaluation.answering import answer
from cxrnode.training.evaluation.calibrate import part_in_words, write_metadata
from cxrnode.training.evaluation.estimate import Rate, rate
from cxrnode.training.evaluation.examine import no_film
from cxrnode.training.evaluation.report import Tell, keep_report, markdown
from cxrnode.training.example import Example, read_picture
from cxrnode.training.films import pixel_aspect
from cxrnode.training.tasks.gate import group_of, is_child, keep

AS_IT_IS = "as it is"
BANDS = ((0, 5), (5, 10), (10, 16), (16, 18), (18, 101))
"""Ages in years, from and below."""
SPECIFICITY = {"not_frontal": 0.99, "inverted": 0.99, "mirrored": 0.995, "child": 0.99}
"""What each operating point is chosen for: a mirrored film says that a heart is on the right, so it is surest."""
MOST = 250
"""Films of a source and an age that are examined, evenly picked."""
SHOWN = 30
"""Wrong answers that are drawn, the surest first."""
LEAST = 0.1
"""No operating point is lower, however far apart the validation part's films are: other hospitals' are less so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One picture examined: a film, what was `made` of it, and the probability `said` of each question.

    `child` is None where nobody knows; `age` in years where the film's own record has it.
    """

    name: str
    source: str
    patient: str
    made: str
    child: bool | None
    age: int | None
    said: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A row of the report: which pictures, which question (or "any"), how often the answer was yes."""

    pictures: str
    question: str
    rate: Rate


@dataclass(frozen=True, slots=True, kw_only=True)
class GateReport:
    """What was found: refusals of sound films, of made defects, and by age; `wrong` holds the surest errors."""

    name: str
    version: str
    digest: str
    part: str
    points: dict[str, float]
    refused: tuple[Line, ...]
    caught: tuple[Line, ...]
    ages: tuple[Line, ...]
    wrong: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Give the report as values that JSON knows."""
        return asdict(self)

    def table(self) -> str:
        """Give the report as Markdown tables: each share with its 95 % interval."""
        parts = (
            ("Films as they are: how often the gate said yes", self.refused),
            ("Made defects: how often the gate saw them", self.caught),
            ("By age: how often the gate said child", self.ages),
        )
        return "\n\n".join(f"{title}\n\n{_table(lines)}" for title, lines in parts if lines)


def _table(lines: Sequence[Line]) -> str:
    return markdown(
        ("pictures", "question", "n", "share said yes"),
        [(line.pictures, line.question, line.rate.n, line.rate) for line in lines],
    )


def is_gate(card: BundleCard) -> bool:
    """Say whether a bundle asks the gate's questions."""
    return card.kind == "classification" and "not_frontal" in card.channels


def examine_gate(
    data: Path,
    *,
    bundle: Path,
    out: Path | None = None,
    part: str = "test",
    source: str = "",
    device: str = "cpu",
    threads: int = 2,
    report: Tell = lambda line: None,
) -> GateReport:
    """Examine the gate on a part (or "all"), and one source if asked; with `out`, write report, films and pictures.

    Raises NeedsOperator where there is no such film.
    """
    network = Network.load(bundle, device, threads)
    chosen = _films_of(network.card, read_catalogue(data, out), part, source)
    found = list(try_films(network, chosen, report))
    result = summarise(network.card, part, found)
    if out is not None:
        _write(out, result, found, chosen)
    return result


def _films_of(card: BundleCard, examples: Iterable[Example], part: str, source: str = "") -> list[Example]:
    chosen = [one for one in sampled(examples, part) if source in ("", one.source)]
    if not chosen:
        raise no_film(card.name, part, source)
    return chosen


def sampled(examples: Iterable[Example], part: str) -> list[Example]:
    """Pick at most MOST films of each source and age, crops from figures not among them."""
    groups: dict[str, list[Example]] = {}
    for example in sorted(examples, key=lambda one: (one.source, one.name)):
        if part in (example.part, "all") and "crop" not in example.source:
            groups.setdefault(group_of(example), []).append(example)
    return [one for group in groups.values() for one in group[:: -(-len(group) // MOST)]]


def try_films(
    network: Network, examples: Sequence[Example], report: Tell = lambda line: None, *, defects: bool = True
) -> Iterator[Trial]:
    """Examine each film as it is and, with `defects`, its mirror image, its negative, and two strangers in turn."""
    for place, example in enumerate(examples):
        for made, image, aspect in islice(_pictures(place, example, examples[place - 1]), None if defects else 1):
            try:
                read = answer(network, image, aspect).read
            except Unsuitable:
                continue
            yield _trial(example, made, dict(read.probabilities))
        report({"event": "film", "done": place + 1, "of": len(examples)})


def _pictures(place: int, example: Example, other: Example) -> Iterator[tuple[str, FloatArray, float]]:
    image = read_picture(example)
    aspect = pixel_aspect(example, image.shape)
    yield AS_IT_IS, image, aspect
    yield "mirrored", np.ascontiguousarray(image[:, ::-1]), aspect
    yield "inverted", inverted(image), aspect
    films, rng = (keep(example).film(), keep(other).film()), np.random.default_rng((place, 1))
    for step in (0, 1):
        maker = STRANGERS[(2 * place + step) % len(STRANGERS)][1]
        yield maker.__name__, maker(films, rng), 1.0


def _trial(example: Example, made: str, said: dict[str, float]) -> Trial:
    return Trial(
        name=example.name,
        source=example.source,
        patient=example.patient,
        made=made,
        child=is_child(example),
        age=example.age,
        said=said,
    )


def summarise(card: BundleCard, part: str, trials: Sequence[Trial]) -> GateReport:
    """Put trials together by the card's operating points (LEAST where it has none)."""
    points = points_of(card)
    wrong = [trial for trial in trials if trial.made == AS_IT_IS and any(_errors(trial, points))]
    worst = sorted(wrong, key=lambda one: (-max(_errors(one, points).values()), one.name))[:SHOWN]
    return GateReport(
        name=card.name,
        version=card.version,
        digest=card.digest,
        part=part,
        points=points,
        refused=tuple(_refused(trials, points)),
        caught=tuple(_caught(trials, points)),
        ages=tuple(_by_age(trials, points)),
        wrong=tuple(f"{one.source} {one.name}: {_told(one, points)}" for one in worst),
    )


def points_of(card: BundleCard) -> dict[str, float]:
    """Give the operating point of each question; LEAST where the card does not state one yet."""
    stated = {rule.channel: rule.operating_point for rule in card.findings}
    return {question: stated.get(question, LEAST) for question in card.channels}


def _errors(trial: Trial, points: dict[str, float]) -> dict[str, float]:
    """Give the refusals of a film as it is that are wrong, so far as anybody knows."""
    excused = set() if trial.child is False else {"child"}
    return {q: p for q, p in trial.said.items() if p >= points[q] and q not in excused}


def _told(trial: Trial, points: dict[str, float]) -> str:
    return ", ".join(f"{question} {p:.3f}" for question, p in _errors(trial, points).items())


def _refused(trials: Sequence[Trial], points: dict[str, float]) -> Iterator[Line]:
    sound = [trial for trial in trials if trial.made == AS_IT_IS]
    for group in sorted({(one.source, one.child) for one in sound}, key=str):
        films = [one for one in sound if (one.source, one.child) == group]
        known = {True: "children", False: "adults", None: "age unknown"}[group[1]]
        for question in (*points, "any"):
            yield _line(f"{group[0]}, {known}", question, films, points)


def _caught(trials: Sequence[Trial], points: dict[str, float]) -> Iterator[Line]:
    made = [one for one in trials if one.made != AS_IT_IS]
    for name in ("mirrored", "inverted"):
        for source in sorted({one.source for one in made}):
            films = [one for one in made if one.made == name and one.source == source]
            yield _line(f"{name}, {source}", name, films, points)
    for _, maker in STRANGERS:
        yield _line(maker.__name__, "not_frontal", [one for one in made if one.made == maker.__name__], points)


def _by_age(trials: Sequence[Trial], points: dict[str, float]) -> Iterator[Line]:
    aged = [one for one in trials if one.made == AS_IT_IS and one.age]
    for low, high in BANDS:
        films = [one for one in aged if one.age is not None and low <= one.age < high]
        if films:
            yield _line(f"{low} to {high - 1} years", "child", films, points)


def _line(pictures: str, question: str, trials: Sequence[Trial], points: dict[str, float]) -> Line:
    yes = [_said_yes(one, question, points) for one in trials]
    found = rate(yes, [1.0] * len(yes), [one.patient for one in trials]) if yes else None
    return Line(pictures=pictures, question=question, rate=found or Rate(n=0, value=0.0, low=0.0, high=1.0))


def _said_yes(trial: Trial, question: str, points: dict[str, float]) -> float:
    asked = points if question == "any" else (question,)
    return float(any(trial.said[one] >= points[one] for one in asked))


def set_gate_points(
    data: Path,
    bundle: Path,
    *,
    part: str = "validate",
    device: str = "cpu",
    threads: int = 2,
    report: Tell = lambda line: None,
) -> dict[str, float]:
    """Set the operating points on one part of the data and write them into the bundle's card; give them.

    Each is the lowest that keeps SPECIFICITY on films as they are (adults only for "child"), and LEAST at least. The
    probabilities are not calibrated: how often a film is inverted or mirrored is a matter of the site, and no data set
    tells it. Raises NeedsOperator where the part has no film: points would rest on nothing.
    """
    network = Network.load(bundle, device, threads)
    trials = list(try_films(network, _films_of(network.card, read_catalogue(data), part), report, defects=False))
    points = {question: _point(trials, question) for question in network.card.channels}
    metadata = json.loads((bundle / METADATA).read_text(encoding="utf-8"))
    metadata["cxrnode"]["findings"] = {
        question: {
            "channel": question,
            "operating_point": point,
            "low": point,
            "high": point,
            "chosen_for": f"specificity {SPECIFICITY[question]} on the {part_in_words(part)} part, {LEAST} at least",
        }
        for question, point in points.items()
    }
    write_metadata(bundle, metadata)
    return points


def _point(trials: Sequence[Trial], question: str) -> float:
    sound = [one.said[question] for one in trials if question != "child" or one.child is False]
    allowed = int((1 - SPECIFICITY[question]) * len(sound) + 1e-9)
    bound = sorted(sound, reverse=True)[allowed] if allowed < len(sound) else 0.0
    return round(min(max(LEAST, bound + 1e-3), 0.999), 3)


def _write(out: Path, result: GateReport, trials: Sequence[Trial], examples: Sequence[Example]) -> None:
    keep_report(out, result, map(asdict, trials))
    _draw_wrong(result.wrong, {f"{one.source} {one.name}": one for one in examples}, out / "wrong.png")


def _draw_wrong(wrong: Sequence[str], examples: dict[str, Example], path: Path) -> None:
    """Draw the wrong refusals beside each other with what was said."""
    side, across = 220, 6
    sheet = Image.new("L", (side * across, side * max(1, -(-len(wrong) // across))), 40)
    for place, told in enumerate(wrong):
        key, _, said = told.partition(": ")
        tile = Image.fromarray(keep(examples[key]).image)
        tile.thumbnail((side - 4, side - 4))
        corner = (place % across * side, place // across * side)
        sheet.paste(tile, corner)
        ImageDraw.Draw(sheet).text((corner[0] + 2, corner[1] + 2), f"{key[:32]}\n{said}", fill=255)
    sheet.save(path)
