"""A plain chest of 120 rows and 100 columns, and predictions on it, for the tests of judgment and agreement."""

from __future__ import annotations

import numpy as np

from cxrnode.domain.finding import Box, Mask, ModelIdentity, Prediction, Score
from cxrnode.domain.selection import ImageFacts

ROWS, COLS = 120, 100
FACTS = ImageFacts(rows=ROWS, columns=COLS, patient_orientation=("L", "F"), age_years=50.0)


def model(name: str) -> ModelIdentity:
    """A model of that name."""
    return ModelIdentity(name=name, version="1.0.0", digest=name[0] * 64, backend="cpu")


def plane(rows: tuple[int, int] = (0, 0), cols: tuple[int, int] = (0, 0)) -> Mask:
    """A block of pixels, empty by default."""
    mask = np.zeros((ROWS, COLS), dtype=bool)
    mask[slice(*rows), slice(*cols)] = True
    return mask


RIGHT, LEFT, HEART = plane((20, 80), (10, 40)), plane((20, 80), (60, 90)), plane((60, 90), (40, 68))


def lungs(right: Mask = RIGHT, left: Mask = LEFT, heart: Mask = HEART) -> Prediction:
    """What the lungs model says of the plain chest."""
    masks = (("right_lung", right), ("left_lung", left), ("heart", heart))
    return Prediction(model=model("lungs"), masks=masks)


def score(finding: str, probability: float, **changes: object) -> Score:
    """A score that is present from 0.6, absent below 0.4."""
    values: dict[str, object] = {"operating_point": 0.5, "low": 0.4, "high": 0.6, **changes}
    return Score(finding=finding, probability=probability, **values)  # type: ignore[arg-type]


def pneumothorax(mask: Mask, probability: float = 0.9, **changes: object) -> Prediction:
    """What the pneumothorax model says."""
    scores = (score("pneumothorax", probability, **changes),)
    return Prediction(model=model("pneumothorax"), masks=(("pneumothorax", mask),), scores=scores)


def box(left: float, top: float, right: float, bottom: float, probability: float = 0.9) -> Box:
    """A box of an opacity."""
    return Box(label="lung_opacity", probability=probability, left=left, top=top, right=right, bottom=bottom)


def opacity(*boxes: Box, probability: float | None = None) -> Prediction:
    """What the detector says: its image-level probability is that of its best box."""
    best = max((one.probability for one in boxes), default=0.0) if probability is None else probability
    return Prediction(model=model("opacity"), boxes=boxes, scores=(score("lung_opacity", best),))


def classifier(**probabilities: float) -> Prediction:
    """What the classifier says, by finding."""
    scores = tuple(score(name, probability) for name, probability in probabilities.items())
    return Prediction(model=model("classifier"), scores=scores)


def gate(**probabilities: float) -> Prediction:
    """What the gate says, by reason; what is not named is no reason."""
    names = ("not_frontal", "inverted", "mirrored", "child")
    return Prediction(model=model("gate"), scores=tuple(score(name, probabilities.get(name, 0.01)) for name in names))
