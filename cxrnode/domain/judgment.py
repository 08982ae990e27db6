"""From the predictions on one image to statements: regions, measurements, findings, or why there are none.

Hides what each model's masks, scores and boxes mean, and that models need each other: the gate may refuse the image,
the lungs give a pneumothorax its side. Promises that the same predictions and the same header give the same statements,
and that a picture which is no frontal chest gives a reason instead of numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from cxrnode.domain.agreement import agreed
from cxrnode.domain.chest import (
    HEART,
    LUNGS,
    SIDES,
    Chest,
    Upright,
    by_side,
    chest_of,
    heart_on_right,
    hemithorax_share,
    reaching_lungs,
    tidied,
)
from cxrnode.domain.finding import (
    Box,
    Finding,
    Mask,
    Measurement,
    ModelResult,
    Prediction,
    Presence,
    Region,
    Score,
)
from cxrnode.domain.measurement import ChestMeasurements, Diameter, measure_chest
from cxrnode.domain.selection import ImageFacts, View, is_child
from cxrnode.errors import Unsuitable

GATE = "gate"
"""The model that looks whether the others may: what is said without it carries a caveat."""

REFUSALS = ("not_frontal", "inverted", "mirrored", "child")
"""What a gate can say, in the order in which it is told; each is a key of REASONS."""

SIDED = frozenset({"pneumothorax"})
"""Masks that are stated by side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What is said of one image, and with what reserve: `caveats` are keys of CAVEATS."""

    results: tuple[ModelResult, ...]
    caveats: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Film:
    """What is known of the image beside the predictions."""

    facts: ImageFacts
    view: View
    upright: Upright
    child: bool | None
    state_withheld: bool


def judge_image(
    predictions: Sequence[Prediction],
    facts: ImageFacts,
    view: View,
    upright: Upright,
    *,
    state_withheld: bool = False,
    children: bool = False,
) -> Judged:
    """Say what all predictions on one image came to; a gate's own gives no result.

    `state_withheld` states what a card withholds, too. Raises Unsuitable with the gate's reason (`child` only where
    `children` are not wanted and no age says otherwise), and Unsuitable("implausible") where lungs were looked for and
    not found.
    """
    child = _ask_gate(predictions, facts, children=children)
    film = _Film(facts=facts, view=view, upright=upright, child=child, state_withheld=state_withheld)
    speaking = [prediction for prediction in predictions if not _is_gate(prediction)]
    stated = [tuple(_findings(prediction, film)) for prediction in speaking]
    masks = [_tidied(prediction, said) for prediction, said in zip(speaking, stated, strict=True)]
    chests = (chest_of(one.model, tidy, upright) for one, tidy in zip(speaking, masks, strict=True))
    chest = next((chest for chest in [*chests] if chest), None)
    results = [_result(*each, chest, film) for each in zip(speaking, stated, masks, strict=True)]
    caveats = ("heart_on_right",) if chest and heart_on_right(chest) else ()
    outlined = [{label: mask for label, mask in one.items() if label in SIDED} for one in masks]
    return Judged(results=agreed(results, outlined, chest, facts), caveats=caveats)


def _is_gate(prediction: Prediction) -> bool:
    refusals = [score.finding in REFUSALS for score in prediction.scores]
    return bool(refusals) and all(refusals) and not prediction.masks and not prediction.boxes


def _ask_gate(predictions: Sequence[Prediction], facts: ImageFacts, *, children: bool) -> bool | None:
    """Raise what a gate refuses the image for; tell whether the patient is a child, None where nobody knows.

    A stated age comes before what a gate thinks of it.
    """
    scores = [score for prediction in predictions for score in prediction.scores if score.finding in REFUSALS]
    refused = {score.finding for score in scores if score.probability >= score.operating_point}
    child = is_child(facts)
    if child is not None or children:
        looks = refused & {"child"}
        refused -= {"child"}
        child = True if child is None and looks else child
    code = next((code for code in REFUSALS if code in refused), "")
    if code:
        raise Unsuitable("refused by what its pixels look like", code=code, operation="judge")
    return child


def _findings(prediction: Prediction, film: _Film) -> Iterator[Finding]:
    """Give what the model's card lets it say of this patient, judged by the card's points."""
    for score in prediction.scores:
        holds = {"": True, "children": film.child is not False, "adults": film.child is not True}[score.holds_for]
        if score.finding in REFUSALS or not holds or (score.withheld and not film.state_withheld):
            continue
        presence = presence_of(score)
        yield Finding(
            name=score.finding,
            presence=presence,
            probability=score.probability,
            operating_point=score.operating_point,
            band=(score.low, score.high),
            boxes=() if presence is Presence.ABSENT else _boxes(prediction, score),
            caveats=tuple(_reserve(score, film)),
        )


def presence_of(score: Score) -> Presence:
    """Judge a probability by its card: present from `high` on, absent below `low`, between them nobody says."""
    if score.probability >= score.high:
        return Presence.PRESENT
    return Presence.ABSENT if score.probability < score.low else Presence.INDETERMINATE


def _reserve(score: Score, film: _Film) -> Iterator[str]:
    if score.withheld:
        yield "withheld"
    if score.holds_for and film.child is None:
        yield f"holds_for_{score.holds_for}"


def _boxes(prediction: Prediction, score: Score) -> tuple[Box, ...]:
    """Give the boxes of a finding, the most probable first, but those whose own probability says that it is absent."""
    boxes = [box for box in prediction.boxes if box.label == score.finding and box.probability >= score.low]
    return tuple(sorted(boxes, key=lambda box: (-box.probability, box.top, box.left, box.bottom, box.right)))


def _tidied(prediction: Prediction, stated: Sequence[Finding]) -> dict[str, Mask]:
    """Tidy the masks that are to be shown: one with a probability of its own is, unless that is absent or unstated."""
    scored = {score.finding for score in prediction.scores}
    shown = {finding.name for finding in stated if finding.presence is not Presence.ABSENT}
    wanted = ((label, mask) for label, mask in prediction.masks if label in shown or label not in scored)
    return {label: np.ascontiguousarray(tidied(label, mask)) for label, mask in wanted}


def _result(
    prediction: Prediction, findings: Sequence[Finding], masks: Mapping[str, Mask], chest: Chest | None, film: _Film
) -> ModelResult:
    masks = {label: reaching_lungs(mask, chest) if label in SIDED else mask for label, mask in masks.items()}
    parts = {label: _parts(mask, chest, film) for label, mask in masks.items() if label in SIDED}
    shown = _labelled(masks, parts)
    measured = [*_sizes(parts, chest, film)]
    if chest and chest.model == prediction.model:
        measured += _measured(chest.upright, film)
    leans = chest is not None and chest.model != prediction.model and any(parts.values())
    scored = {score.finding for score in prediction.scores}
    return ModelResult(
        model=prediction.model,
        regions=tuple(Region(label=label, mask=mask, model=prediction.model) for label, mask in shown.items()),
        absent=tuple(label for label, mask in masks.items() if not mask.any() and label not in scored),
        measurements=tuple(measured),
        findings=tuple(_with_sides(finding, parts, chest) for finding in findings),
        leaning_on=(chest.model,) if chest and leans else (),
    )


def _parts(mask: Mask, chest: Chest | None, film: _Film) -> dict[str, Mask]:
    """Split a stored mask by side: stored masks by side."""
    turned = by_side(np.asarray(film.upright.apply(mask)), chest)
    return {side: np.ascontiguousarray(film.upright.undo(part)) for side, part in turned.items()}


def _labelled(masks: Mapping[str, Mask], parts: Mapping[str, Mapping[str, Mask]]) -> dict[str, Mask]:
    """Give the masks that have a pixel, each under the label of its side where it has one."""
    shown: dict[str, Mask] = {}
    for label, mask in masks.items():
        if label in parts:
            shown |= {f"{side}_{label}": part for side, part in parts[label].items()}
        elif mask.any():
            shown[label] = mask
    return shown


def _with_sides(finding: Finding, parts: Mapping[str, Mapping[str, Mask]], chest: Chest | None) -> Finding:
    sides = tuple(side for side in SIDES if side in parts.get(finding.name, {}))
    guessed = sides and not (chest and chest.both_lungs)
    return replace(finding, sides=sides, caveats=(*finding.caveats, *(("side_from_half",) if guessed else ())))


def _sizes(parts: Mapping[str, Mapping[str, Mask]], chest: Chest | None, film: _Film) -> Iterator[Measurement]:
    """State each part as a share of its hemithorax, where the lungs say what that is."""
    if chest is None or not chest.both_lungs:
        return
    for label, sides in parts.items():
        for side, part in sides.items():
            share = hemithorax_share(part, chest.stored[f"{side}_lung"])
            yield Measurement(
                name="hemithorax_share",
                value=100 * share,
                unit="%",
                region=f"{side}_{label}",
                caveats=("area_share",),
            )


def _measured(masks: Mapping[str, Mask], film: _Film) -> Iterator[Measurement]:
    right, left = (masks[label] for label in LUNGS)
    heart = masks.get(HEART, np.zeros_like(right))
    chest = measure_chest(right, left, heart, _spacing(film.facts, right.shape))
    yield from _ratio(chest, film)
    for label, area in zip(LUNGS, (chest.right_lung_area, chest.left_lung_area), strict=True):
        if area is not None:
            yield _area(label, area, calibrated=chest.calibrated)
    if chest.asymmetry is not None:
        yield Measurement(name="lung_asymmetry", value=chest.asymmetry, unit="1")


def _spacing(facts: ImageFacts, shape: tuple[int, ...]) -> tuple[float, float] | None:
    """Give the spacing between rows and columns of the upright picture, which may be turned by a quarter."""
    if not facts.spacing:
        return None
    rows, columns = facts.spacing
    return (rows, columns) if shape == (facts.rows, facts.columns) else (columns, rows)


def _ratio(chest: ChestMeasurements, film: _Film) -> Iterator[Measurement]:
    if chest.cardiothoracic_ratio is None or chest.heart_diameter is None or chest.thorax_diameter is None:
        return
    yield Measurement(
        name="cardiothoracic_ratio",
        value=chest.cardiothoracic_ratio,
        unit="1",
        lines=tuple(_stored(line, film) for line in (chest.heart_diameter, chest.thorax_diameter)),
        caveats=("ap_view",) if film.view is View.AP else (),
    )


def _stored(line: Diameter, film: _Film) -> tuple[tuple[float, float], ...]:
    ends = np.array([[line.left, line.row], [line.right, line.row]])
    points = film.upright.undo_points(ends, (film.facts.rows, film.facts.columns))
    return tuple((float(column), float(row)) for column, row in points)


def _area(label: str, area: float, *, calibrated: bool) -> Measurement:
    """State mm2 where the spacing is known, else per cent of the picture."""
    value, unit = (area, "mm2") if calibrated else (100 * area, "%")
    caveat = "detector_plane" if calibrated else "not_calibrated"
    return Measurement(name="area", value=value, unit=unit, region=label, caveats=(caveat,))
