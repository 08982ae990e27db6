"""Hides how a bundle is examined on films that it never saw.

Promises that what is examined is what the node runs: the same preparation, the same network from the same bundle, the
same way back to the film's own rows and columns, the same tidying. Numbers come with their counts and 95% confidence
intervals (by patient), by source; the worst films come as pictures. The same bundle and data give the same report.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrnode.domain.measurement import ChestMeasurements, Mask, cleaned, measure_chest
from cxrnode.errors import NeedsOperator
from cxrnode.inference.bundle import Network
from cxrnode.pixels.geometry import restore
from cxrnode.pixels.normalise import prepare
from cxrnode.training.catalogue import read_catalogue
from cxrnode.training.evaluation.overlay import draw_overlay
from cxrnode.training.example import Example, Part
from cxrnode.training.films import Film, read_film
from cxrnode.training.recipe import find_recipe
from cxrnode.training.score import Estimate, dice, estimate, iou
from cxrnode.training.tasks.segmentation import learnt_from


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One film examined. Values by channel; None where the truth is not labelled. `ratio` is (said, true)."""

    name: str
    source: str
    patient: str
    dice: dict[str, float | None]
    iou: dict[str, float | None]
    share: dict[str, float]
    ratio: tuple[float, float] | None

    @property
    def worst_dice(self) -> float:
        """The lowest Dice coefficient of its structures."""
        return min(value for value in self.dice.values() if value is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceReport:
    """One source: estimates by channel, and of the cardiothoracic ratio where hearts are labelled.

    `bias` is said minus true; `share` is the smallest and largest true share of the picture by channel.
    """

    source: str
    films: int
    dice: dict[str, Estimate]
    iou: dict[str, Estimate]
    share: dict[str, tuple[float, float]]
    ratio_error: Estimate | None
    ratio_bias: Estimate | None
    ratio_missing: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What `evaluate` found: by source, and the worst films of each source, the lowest Dice first."""

    name: str
    version: str
    digest: str
    part: str
    sources: tuple[SourceReport, ...]
    worst: tuple[Reading, ...]

    def as_json(self) -> dict[str, Any]:
        """Give the report as values that JSON knows."""
        return asdict(self)

    def table(self) -> str:
        """Give the report as a Markdown table: mean [95% interval]."""
        head = ("source", "structure", "n", "Dice", "median Dice", "IoU")
        lines = [head, ("---",) * len(head)]
        for source in self.sources:
            lines += [
                (source.source, channel, str(one.n), str(one), f"{one.median:.4f}", str(source.iou[channel]))
                for channel, one in source.dice.items()
            ]
        return "\n".join(["| " + " | ".join(line) + " |" for line in lines] + _ratio_lines(self.sources))


def _ratio_lines(sources: Sequence[SourceReport]) -> list[str]:
    return [_ratio_line(source) for source in sources if source.ratio_error is not None]


def _ratio_line(source: SourceReport) -> str:
    if source.ratio_error is None or source.ratio_bias is None:
        return ""
    return (
        f"\nCardiothoracic ratio, {source.source}, n={source.ratio_error.n} "
        f"({source.ratio_missing} without an answer): mean absolute error {source.ratio_error}, "
        f"bias {source.ratio_bias}"
    )


def evaluate(
    name: str,
    data: Path,
    *,
    bundle: Path,
    out: Path | None = None,
    part: Part = "test",
    device: str = "cpu",
    threads: int = 2,
    worst: int = 10,
    report: Callable[[dict[str, Any]], None] = lambda line: None,
) -> Report:
    """Examine a bundle on one part of the data.

    With `out`, write report.json, report.md, films.jsonl and pictures of the `worst` films of each source.
    Raises NeedsOperator where the recipe, the data or the part is missing, ModelAltered where the weights are not the
    pinned ones.
    """
    recipe = find_recipe(name)
    chosen = [one for one in learnt_from(recipe, read_catalogue(data)) if one.part == part]
    if not chosen:
        raise NeedsOperator(f"the data folder has no film in its {part} part", operation="evaluate", subject=name)
    network = Network.load(bundle, device, threads)
    if network.card.channels != recipe.channels:
        raise NeedsOperator("the bundle's channels are not the recipe's", operation="evaluate", subject=name)
    readings = []
    for example in chosen:
        readings.append(read_one(network, example))
        report({"event": "film", "done": len(readings), "of": len(chosen), "worst_dice": readings[-1].worst_dice})
    result = summarise(network, part, readings, worst)
    if out is not None:
        _write(out, result, readings, network, chosen)
    return result


def segment(network: Network, film: Film) -> list[Mask]:
    """Give the masks that the node would give, on the film's own rows and columns, in the order of the channels."""
    image, box = prepare(film.image, network.card.input_size, film.pixel_aspect)
    maps = restore(network.predict(image[None, None])[0], box)
    return [cleaned(plane >= point) for plane, point in zip(maps, network.card.thresholds, strict=True)]


def read_one(network: Network, example: Example) -> Reading:
    """Examine one film."""
    film = read_film(example)
    said, truth = segment(network, film), list(film.truth)
    channels = network.card.channels
    return Reading(
        name=example.name,
        source=example.source,
        patient=example.patient,
        dice=_by_channel(dice, channels, said, film),
        iou=_by_channel(iou, channels, said, film),
        share={channel: float(mask.mean()) for channel, mask in zip(channels, truth, strict=True)},
        ratio=_ratios(_measure(said), _measure(truth)) if film.labelled.all() else None,
    )


def _by_channel(
    score: Callable[[Mask, Mask], float], channels: Sequence[str], said: Sequence[Mask], film: Film
) -> dict[str, float | None]:
    return {
        channel: score(said[index], film.truth[index]) if film.labelled[index] else None
        for index, channel in enumerate(channels)
    }


def _measure(masks: Sequence[NDArray[np.bool_]]) -> ChestMeasurements:
    right, left, heart = masks
    return measure_chest(right, left, heart)


def _ratios(said: ChestMeasurements, truth: ChestMeasurements) -> tuple[float, float] | None:
    """Give (said, true), with not-a-number for no answer; None where the truth itself has no ratio."""
    if truth.cardiothoracic_ratio is None:
        return None
    answer = said.cardiothoracic_ratio
    return (float("nan") if answer is None else answer, truth.cardiothoracic_ratio)


def summarise(network: Network, part: str, readings: Sequence[Reading], worst: int) -> Report:
    """Put readings together by source."""
    by_source = {source: [one for one in readings if one.source == source] for source in sorted(_sources(readings))}
    return Report(
        name=network.card.name,
        version=network.card.version,
        digest=network.card.digest,
        part=part,
        sources=tuple(_source_report(source, films) for source, films in by_source.items()),
        worst=tuple(one for films in by_source.values() for one in sorted(films, key=_badness)[:worst]),
    )


def _badness(one: Reading) -> tuple[float, str]:
    return one.worst_dice, one.name


def _sources(readings: Iterable[Reading]) -> set[str]:
    return {one.source for one in readings}


def _source_report(source: str, films: Sequence[Reading]) -> SourceReport:
    ratios = [(one.patient, *one.ratio) for one in films if one.ratio is not None]
    answered = [(patient, said - true) for patient, said, true in ratios if not np.isnan(said)]
    patients = [patient for patient, _ in answered]
    return SourceReport(
        source=source,
        films=len(films),
        dice=_estimates([(one.patient, one.dice) for one in films]),
        iou=_estimates([(one.patient, one.iou) for one in films]),
        share={
            channel: (min(one.share[channel] for one in films), max(one.share[channel] for one in films))
            for channel in _estimates([(one.patient, one.dice) for one in films])
        },
        ratio_error=estimate([abs(error) for _, error in answered], patients) if answered else None,
        ratio_bias=estimate([error for _, error in answered], patients) if answered else None,
        ratio_missing=len(ratios) - len(answered),
    )


def _estimates(scored: Sequence[tuple[str, dict[str, float | None]]]) -> dict[str, Estimate]:
    found: dict[str, Estimate] = {}
    for channel in scored[0][1]:
        pairs = [(patient, value) for patient, scores in scored if (value := scores[channel]) is not None]
        if pairs:
            found[channel] = estimate([value for _, value in pairs], [patient for patient, _ in pairs])
    return found


def _write(out: Path, result: Report, readings: Sequence[Reading], network: Network, chosen: Sequence[Example]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.json").write_text(json.dumps(result.as_json(), indent=2) + "\n", encoding="utf-8")
    (out / "report.md").write_text(result.table() + "\n", encoding="utf-8")
    lines = "".join(json.dumps(asdict(one)) + "\n" for one in readings)
    (out / "films.jsonl").write_text(lines, encoding="utf-8")
    place = {(example.source, example.name): example for example in chosen}
    ranks: Counter[str] = Counter()
    for one in result.worst:
        ranks[one.source] += 1
        path = out / f"worst_{one.source}_{ranks[one.source]:02d}_{one.name}.png"
        _draw_worst(path, network, place[one.source, one.name], one)


def _draw_worst(path: Path, network: Network, example: Example, one: Reading) -> None:
    film = read_film(example)
    said = segment(network, film)
    measured = _measure(said)
    scores = " ".join(f"{channel} {value:.3f}" for channel, value in one.dice.items() if value is not None)
    ratio = f" ratio {one.ratio[0]:.3f} true {one.ratio[1]:.3f}" if one.ratio else ""
    lines = (measured.heart_diameter, measured.thorax_diameter)
    draw_overlay(film.image, said, list(film.truth), lines, f"{one.name}: {scores}{ratio}", path)
