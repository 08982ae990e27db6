"""Hides which files an evaluation leaves behind.

Promises report.json, report.md, films.jsonl (a line a film), and pictures: confusion matrices, ROC and FROC curves,
reliability diagrams, and the worst films with what was said and what is true.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_curve

from cxrnode.inference.bundle import BundleCard, Network
from cxrnode.training.evaluation.answering import Answer, answer, said_boxes
from cxrnode.training.evaluation.classification import EVERYWHERE, Statement, by_source
from cxrnode.training.evaluation.detection import froc
from cxrnode.training.evaluation.examine import DRAWN, Seen
from cxrnode.training.evaluation.overlay import DrawnBox, draw_overlay
from cxrnode.training.evaluation.pictures import Curve, draw_confusion, draw_froc, draw_reliability, draw_roc
from cxrnode.training.evaluation.questions import true_boxes
from cxrnode.training.evaluation.report import Report, Wrong, keep_report
from cxrnode.training.evaluation.segmentation import CHEST, Reading, measured, said_masks
from cxrnode.training.example import Example, read_picture
from cxrnode.training.films import pixel_aspect, read_film

Places = Mapping[tuple[str, str], Example]

FEW = 30
"""Films of a source under which its reliability is not drawn: a dot would be two or three films."""


def write_report(out: Path, found: Report, seen: Seen, network: Network, chosen: Sequence[Example]) -> None:
    """Write everything into the folder `out`."""
    keep_report(out, found, seen.lines)
    _draw_diagrams(out, found, seen)
    place = {(example.source, example.name): example for example in chosen}
    _draw_worst(out, found.worst, network, place)
    _draw_wrong(out, found.wrong, network, place)


def _draw_diagrams(out: Path, found: Report, seen: Seen) -> None:
    for question in found.questions:
        where = question.source.replace(" ", "_")
        labels = [each.label for each in question.classes]
        title = f"{found.name}: {question.question}, {question.source}, {question.films} films"
        draw_confusion(question.confusion, labels, title, out / f"confusion_{question.question}_{where}.png")
    for asked in {(one.stated.finding, one.by) for one in found.findings if one.by == DRAWN}:
        _draw_finding(out, found, asked[0], seen.statements[asked])
    for question_name, films in seen.said.items():
        labels = next([each.label for each in one.classes] for one in found.questions if one.question == question_name)
        scores = np.stack([film.probabilities for film in films])
        truth = np.array([film.truth for film in films])
        curves = {
            f"{label}: n={int((truth == place).sum())}": roc(scores[:, place], truth == place)
            for place, label in enumerate(labels)
            if 0 < int((truth == place).sum()) < len(truth)
        }
        draw_roc(curves, f"{found.name}: {question_name}, one class against the rest", out / f"roc_{question_name}.png")
    for label, boxed in seen.boxed.items():
        curve = froc(boxed)
        if curve:
            draw_froc({f"{label}: {len(boxed)} films": curve}, f"{found.name}: FROC", out / f"froc_{label}.png")


def roc(scores: NDArray[np.float64], truth: NDArray[np.bool_]) -> Curve:
    """Give the ROC curve as (share of false alarms, sensitivity)."""
    alarms, hits, _ = roc_curve(truth, scores)
    return list(zip(alarms.tolist(), hits.tolist(), strict=True))


def _draw_finding(out: Path, found: Report, finding: str, films: Sequence[Statement]) -> None:
    reports = {one.source: one for one in found.findings if one.stated.finding == finding and one.by == DRAWN}
    curves: dict[str, Curve] = {}
    for source, part in by_source(films):
        truth = np.array([film.truth for film in part])
        if truth.any() and not truth.all():
            label = f"{source}: AUC {reports[source].auc}, n={len(part)}"
            curves[label] = roc(np.array([film.probability for film in part]), truth)
    if not curves:
        return  # No source has films with it and films without: there is nothing to rank, nor to rely on.
    draw_roc(curves, f"{found.name}: {finding}", out / f"roc_{finding}.png")
    shown = {
        f"{source}: n={one.films}": one.reliability
        for source, one in reports.items()
        if source == EVERYWHERE or one.films >= FEW
    }
    draw_reliability(shown, f"{found.name}: {finding}, reliability", out / f"reliability_{finding}.png")


def _draw_worst(out: Path, worst: Sequence[Reading], network: Network, place: Places) -> None:
    ranks: Counter[str] = Counter()
    for one in worst:
        ranks[one.source] += 1
        example = place[one.source, one.name]
        film = read_film(example, network.card.channels)
        said = said_masks(network.card, answer(network, film.image, film.pixel_aspect))
        chest = measured(said) if tuple(network.card.channels) == CHEST else None
        scores = " ".join(f"{channel} {value:.3f}" for channel, value in one.dice.items() if value is not None)
        ratio = f" ratio {one.ratio[0]:.3f} true {one.ratio[1]:.3f}" if one.ratio else ""
        draw_overlay(
            film.image,
            said,
            list(film.truth),
            (chest.heart_diameter, chest.thorax_diameter) if chest else (),
            f"{one.name}: {scores}{ratio}",
            out / f"worst_{one.source}_{ranks[one.source]:02d}_{one.name}.png",
        )


def _draw_wrong(out: Path, wrong: Sequence[Wrong], network: Network, place: Places) -> None:
    ranks: Counter[str] = Counter()
    for one in wrong:
        ranks[one.asked] += 1
        path = out / f"wrong_{one.asked}_{ranks[one.asked]:02d}_{one.source}_{one.name}.png"
        example = place[one.source, one.name]
        image = read_picture(example)
        caption = f"{one.name}: said {one.said} ({one.probability:.2f}), truth {one.truth}"
        said = answer(network, image, pixel_aspect(example, image.shape))
        masks = said_masks(network.card, said) if said.read.maps is not None else []
        truth = list(read_film(example, network.card.channels).truth) if masks else []
        draw_overlay(image, masks, truth, (), caption, path, boxes=_boxes_of(network.card, said, example))


def _boxes_of(card: BundleCard, said: Answer, example: Example) -> list[DrawnBox]:
    if card.kind != "detection":
        return []
    drawn: list[DrawnBox] = []
    for label in card.labels:
        drawn += [
            DrawnBox(left=box.left, top=box.top, right=box.right, bottom=box.bottom, caption="", true=True)
            for box in true_boxes(example, label) or ()
        ]
        for corners, probability in zip(*said_boxes(card, said, label), strict=True):
            if probability >= card.operating_points[label]:
                left, top, right, bottom = (float(edge) for edge in corners)
                text = f"{label} {probability:.2f}"
                drawn.append(DrawnBox(left=left, top=top, right=right, bottom=bottom, caption=text, true=False))
    return drawn
