"""From a prediction to statements: regions, measurements, and whether this is a frontal chest at all.

Hides what each model's masks mean. Promises that the same prediction and the same header give the same statements,
and that a picture without plausible lungs gives a reason instead of numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from cxrnode.domain.finding import Mask, Measurement, ModelResult, Prediction, Region
from cxrnode.domain.measurement import ChestMeasurements, Diameter, cleaned, measure_chest
from cxrnode.domain.selection import ImageFacts, View
from cxrnode.errors import Unsuitable

LUNGS = ("right_lung", "left_lung")
HEART = "heart"

LEAST_LUNGS, MOST_LUNGS = 0.05, 0.75
"""Share of the picture that both lungs take together: wider than any lungs on a frontal film, see decision 0013."""

_Values = TypeVar("_Values", bound=np.generic)


class Upright(Protocol):
    """The way from stored pixels to a picture whose columns run to the patient's left and rows to the feet."""

    def apply(self, array: NDArray[_Values]) -> NDArray[_Values]:
        """Turn stored planes (..., rows, columns) upright."""
        ...

    def undo_points(self, points: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.float64]:
        """Bring (column, row) points of the upright picture back to stored coordinates; `shape` is the stored one."""
        ...


def judge(prediction: Prediction, facts: ImageFacts, view: View, upright: Upright) -> ModelResult:
    """Say what a prediction came to. Raises Unsuitable("implausible") where lungs were looked for and not found."""
    masks = {label: cleaned(mask) for label, mask in prediction.masks}
    measurements: tuple[Measurement, ...] = ()
    if set(LUNGS) <= masks.keys():
        turned = {label: np.ascontiguousarray(upright.apply(mask)) for label, mask in masks.items()}
        _check_plausible(turned["right_lung"], turned["left_lung"])
        measurements = tuple(_measured(turned, facts, view, upright))
    return ModelResult(
        model=prediction.model,
        regions=tuple(
            Region(label=label, mask=np.ascontiguousarray(mask), model=prediction.model)
            for label, mask in masks.items()
            if mask.any()
        ),
        absent=tuple(label for label, mask in masks.items() if not mask.any()),
        measurements=measurements,
    )


def _check_plausible(right: Mask, left: Mask) -> None:
    share = float((right | left).mean())
    swapped = right.any() and left.any() and _middle(right) >= _middle(left)
    if swapped or not LEAST_LUNGS <= share <= MOST_LUNGS:
        raise Unsuitable("no frontal chest in the pixels", code="implausible", operation="judge")


def _middle(mask: Mask) -> float:
    """Give the mean column of a mask."""
    columns = mask.sum(axis=0)
    return float(columns @ np.arange(columns.size) / columns.sum())


def _measured(masks: Mapping[str, Mask], facts: ImageFacts, view: View, upright: Upright) -> Iterator[Measurement]:
    right, left = (masks[label] for label in LUNGS)
    heart = masks.get(HEART, np.zeros_like(right))
    chest = measure_chest(right, left, heart, _spacing(facts, right.shape))
    yield from _ratio(chest, view, upright, (facts.rows, facts.columns))
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


def _ratio(chest: ChestMeasurements, view: View, upright: Upright, shape: tuple[int, int]) -> Iterator[Measurement]:
    if chest.cardiothoracic_ratio is None or chest.heart_diameter is None or chest.thorax_diameter is None:
        return
    yield Measurement(
        name="cardiothoracic_ratio",
        value=chest.cardiothoracic_ratio,
        unit="1",
        lines=tuple(_stored(line, upright, shape) for line in (chest.heart_diameter, chest.thorax_diameter)),
        caveats=("ap_view",) if view is View.AP else (),
    )


def _stored(line: Diameter, upright: Upright, shape: tuple[int, int]) -> tuple[tuple[float, float], ...]:
    points = upright.undo_points(np.array([[line.left, line.row], [line.right, line.row]]), shape)
    return tuple((float(column), float(row)) for column, row in points)


def _area(label: str, area: float, *, calibrated: bool) -> Measurement:
    """State mm2 where the spacing is known, else per cent of the picture."""
    value, unit = (area, "mm2") if calibrated else (100 * area, "%")
    caveat = "detector_plane" if calibrated else "not_calibrated"
    return Measurement(name="area", value=value, unit=unit, region=label, caveats=(caveat,))
