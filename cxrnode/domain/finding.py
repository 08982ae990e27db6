"""What the models said, and what the node says about it.

A Prediction is what a network said, in the source's own rows and columns, before judgment. Regions,
measurements and findings are statements a radiologist could read, each with its caveats. Promises that
nothing here depends on anything but the prediction, the image and the model's card.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrnode.domain.selection import View
from cxrnode.domain.study import Instance

Mask = NDArray[np.bool_]
"""A boolean plane (rows, columns), C-contiguous, on the source's stored rows and columns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelIdentity:
    """All of a model that can change an answer: part of the identity of every object made with it (law 4).

    `digest` covers weights and configuration; `backend` names device kind, framework and its version, precision,
    and the batch shape where that matters.
    """

    name: str
    version: str
    digest: str
    backend: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A box in source image coordinates, corner based: (0.5, 0.5) is the centre of the first pixel (PS3.3 C.10.5)."""

    label: str
    probability: float
    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A calibrated image-level probability, and by which points of the model's card it is judged.

    From `high` on the finding is present, below `low` absent, between them nobody says; low <= operating_point <= high.
    `withheld`: why it is not stated unless asked for. `holds_for`: `adults`, `children`, or empty for everybody.
    """

    finding: str
    probability: float
    operating_point: float
    low: float
    high: float
    withheld: str = ""
    holds_for: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prediction:
    """What one model said of one image: `masks` by label, image-level `scores`, and `boxes` to be drawn."""

    model: ModelIdentity
    masks: tuple[tuple[str, Mask], ...] = ()
    scores: tuple[Score, ...] = ()
    boxes: tuple[Box, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why one model gave no prediction: `code` is a key of REASONS; `transient` means another attempt may help."""

    code: str
    detail: str = ""
    transient: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImagePrediction:
    """The answers on one image, in the order of the models asked for.

    `preview` is the display image the models saw, 8 bits, long side 1024 at most, in the source's own
    orientation; None unless it was asked for. `failure` stands for the whole image (pixels that cannot be decoded).
    """

    predictions: tuple[Prediction, ...] = ()
    failed: tuple[tuple[str, Failure], ...] = ()
    failure: Failure | None = None
    preview: NDArray[np.uint8] | None = None


class Presence(StrEnum):
    """The judgment on a finding."""

    PRESENT = "present"
    ABSENT = "absent"
    INDETERMINATE = "indeterminate"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Region:
    """A segmented structure. `label` is a key of the evidence room's table of concepts."""

    label: str
    mask: Mask
    model: ModelIdentity


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """A number with its UCUM unit. `lines` are drawn with it: polylines of (column, row) source coordinates.

    `region` is the label of the region it belongs to, empty for the whole image.
    """

    name: str
    value: float
    unit: str
    region: str = ""
    lines: tuple[tuple[tuple[float, float], ...], ...] = ()
    caveats: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A statement with a probability and the points it was judged by. `sides`: `right`, `left`, or both.

    `band`: below the first bound it is absent, from the second on present.
    """

    name: str
    presence: Presence
    probability: float | None = None
    operating_point: float | None = None
    band: tuple[float, float] | None = None
    boxes: tuple[Box, ...] = ()
    sides: tuple[str, ...] = ()
    caveats: tuple[str, ...] = ()

    @property
    def undecided(self) -> tuple[float, ...]:
        """The bounds between which the probability lies; empty where it lies between none."""
        inside = self.band and self.probability is not None and self.band[0] <= self.probability < self.band[1]
        return self.band if self.band and inside else ()

    @property
    def alone(self) -> Presence | None:
        """What its own probability says, whoever doubts it; None where that is no longer known."""
        if self.band is None or self.probability is None:
            return None if self.presence is Presence.INDETERMINATE else self.presence
        if self.probability >= self.band[1]:
            return Presence.PRESENT
        return Presence.ABSENT if self.probability < self.band[0] else Presence.INDETERMINATE

    def presence_of(self, box: Box) -> Presence:
        """Judge one of its boxes: it is no surer than the finding, nor than its own probability lets it be."""
        unsure = self.band is not None and box.probability < self.band[1]
        return Presence.INDETERMINATE if unsure and self.presence is Presence.PRESENT else self.presence


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ModelResult:
    """What one model's prediction came to on one image."""

    model: ModelIdentity
    regions: tuple[Region, ...] = ()
    absent: tuple[str, ...] = ()
    """Labels of structures looked for and not found: a negative is said, not omitted."""
    measurements: tuple[Measurement, ...] = ()
    findings: tuple[Finding, ...] = ()
    leaning_on: tuple[ModelIdentity, ...] = ()
    """Other models whose masks the regions or the numbers are made with, too."""

    def finding_of(self, label: str) -> Finding | None:
        """Give the finding that an outline of this label shows, on either side; None where nobody judged it."""
        shown = (one for one in self.findings if label in (one.name, f"right_{one.name}", f"left_{one.name}"))
        return next(shown, None)

    def presence_of(self, label: str) -> Presence:
        """Judge an outline as its finding is judged; what no finding is about is there where it is outlined."""
        finding = self.finding_of(label)
        return finding.presence if finding else Presence.PRESENT


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImageResult:
    """All that is said about one analysed source."""

    source: Instance
    view: View
    results: tuple[ModelResult, ...]
    missing: tuple[tuple[str, str], ...] = ()
    """Models that failed on it: (model name, code of REASONS)."""
    caveats: tuple[str, ...] = ()

    @property
    def models(self) -> tuple[ModelIdentity, ...]:
        """Every model that its statements are made with, once each."""
        return tuple(dict.fromkeys(model for one in self.results for model in (one.model, *one.leaning_on)))


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedImage:
    """A source that was not analysed, because of `code`, a key of REASONS."""

    source: Instance
    code: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StudyResult:
    """What the report of a study states. `refused` holds candidates only, in the order of their UIDs.

    A retraction states nothing else: `retraction` is a key of RETRACTIONS, `retracted` the sources whose results are
    taken back, and there are neither images nor refused ones.
    """

    study_uid: str
    images: tuple[ImageResult, ...]
    refused: tuple[RefusedImage, ...] = ()
    predecessor: str = ""
    """SOP Instance UID of the report that this one follows."""
    predecessor_class: str = ""
    """Its SOP Class UID; empty where it is that of this report."""
    revision: int = 1
    """How many reports of this line there are with this one."""
    retraction: str = ""
    retracted: tuple[Instance, ...] = ()

    @property
    def models(self) -> tuple[ModelIdentity, ...]:
        """Every model that its statements are made with, once each."""
        return tuple(dict.fromkeys(model for image in self.images for model in image.models))

    @property
    def sources(self) -> tuple[Instance, ...]:
        """Every image that is spoken of, in the order of their UIDs."""
        spoken_of = (*(i.source for i in self.images), *(r.source for r in self.refused), *self.retracted)
        return tuple(sorted(spoken_of, key=lambda source: source.uid))


def summary_of(result: ModelResult) -> dict[str, Any]:
    """Give what a table or a script shows of a result: values by name, rounded as they are printed."""
    numbers = {
        f"{m.region}.{m.name}" if m.region else m.name: {"value": round(m.value, 4), "unit": m.unit}
        for m in result.measurements
    }
    return {
        "model": result.model.name,
        "measurements": numbers,
        "findings": {finding.name: _summed_up(finding) for finding in result.findings},
        "absent": list(result.absent),
    }


def _summed_up(finding: Finding) -> dict[str, Any]:
    return {
        "presence": str(finding.presence),
        "probability": finding.probability,
        "undecided": list(finding.undecided),
        "sides": list(finding.sides),
        "boxes": len(finding.boxes),
        "caveats": list(finding.caveats),
    }
