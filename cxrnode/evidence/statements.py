"""What a report states, as plain values, before any DICOM is made of it.

Hides how results become statements: rounding, boxes around masks, wording, what is said where nothing was found.
Promises values that depend on the study's result alone, so that the report's UID and its content tree are made of the
same thing: no two reports of one UID can differ.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from pydicom.sr.coding import Code

from cxrnode.domain.finding import (
    Finding,
    ImageResult,
    Mask,
    Measurement,
    ModelIdentity,
    ModelResult,
    Presence,
    Region,
    StudyResult,
)
from cxrnode.domain.reasons import CAVEATS, REASONS
from cxrnode.domain.study import Instance
from cxrnode.errors import NeedsOperator
from cxrnode.evidence import codes
from cxrnode.evidence.identity import finding_uid, region_uid

Point = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A value as it is printed, with its concept and unit."""

    concept: Code
    text: str
    unit: Code


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """One measurement group (PS3.16 TID 1410): what is said of one place on one image.

    `outline` is a polyline of (column, row) coordinates, (0.5, 0.5) being the centre of the first pixel (PS3.3
    C.10.5.1.2). `region` is the label of the segment that shows the same thing, or empty.
    """

    title: str
    tracking_uid: str
    source: str
    model: ModelIdentity
    outline: tuple[Point, ...]
    bounded_by: bool = False
    region: str = ""
    category: Code | None = None
    finding: Code | None = None
    site: Code | None = None
    laterality: Code | None = None
    numbers: tuple[Number, ...] = ()
    judgments: tuple[tuple[Code, Code], ...] = ()
    caveats: tuple[str, ...] = ()
    leaning_on: tuple[ModelIdentity, ...] = ()
    """Other models that the numbers or the laterality are made with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A sentence about the study or about one image, with a coded reason where there is one."""

    text: str
    source: str = ""
    concept: Code | None = None
    reason: Code | None = None


def groups_of(study: StudyResult) -> tuple[Group, ...]:
    """Give every measurement group of a study, in the order of its images and models. Raises UnknownConcept."""
    return tuple(group for image in study.images for group in _image_groups(image))


def notes_of(study: StudyResult) -> tuple[Note, ...]:
    """Give what the report says beside the groups: caveats, models that gave no result, images not analysed."""
    notes = [note for image in study.images for note in _image_notes(image)]
    for refused in study.refused:
        text = f"Not analysed, because {REASONS[refused.code].text}"
        source, reason = refused.source.uid, codes.reason(refused.code)
        notes.append(Note(text=text, source=source, concept=codes.NOT_ANALYSED, reason=reason))
    return tuple(notes)


def _image_notes(image: ImageResult) -> Iterator[Note]:
    for caveat in image.caveats:
        yield Note(text=CAVEATS[caveat], source=image.source.uid)
    for model, code in image.missing:
        text = f"No result of {model}, because {REASONS[code].text}"
        yield Note(text=text, source=image.source.uid, concept=codes.NO_RESULT, reason=codes.reason(code))


def _image_groups(image: ImageResult) -> Iterator[Group]:
    times = Counter(finding.name for result in image.results for finding in result.findings)
    shared = {name for name, count in times.items() if count > 1}
    for result in image.results:
        yield from _groups(image.source, result, shared)


def _groups(source: Instance, result: ModelResult, shared: Collection[str]) -> Iterator[Group]:
    """Give the groups of one model; a finding in `shared`, of which others speak too, is named with its model."""
    for region in result.regions:
        if region.mask.any():
            yield _region_group(source, result, region)
    for label in (*result.absent, *(region.label for region in result.regions if not region.mask.any())):
        yield _absent_group(source, result, label)
    for measurement in result.measurements:
        if not _belongs(measurement, result):
            yield from _measurement_groups(source, result.model, measurement)
    for finding in result.findings:
        by = f" by {result.model.name}" if finding.name in shared else ""
        yield from _finding_groups(source, result, finding, by)


def _belongs(measurement: Measurement, result: ModelResult) -> bool:
    """Tell whether a measurement is stated with its region: one of a region that is there and draws no lines."""
    shown = {region.label for region in result.regions if region.mask.any()}
    return measurement.region in shown and not measurement.lines


def _region_group(source: Instance, result: ModelResult, region: Region) -> Group:
    what = codes.structure(region.label)
    own = [m for m in result.measurements if m.region == region.label and not m.lines]
    doubted = _doubted(region, result)
    return Group(
        title=f"{what.title}: {doubted.value}" if doubted else what.title,
        tracking_uid=region_uid(source, result.model, region.label),
        source=source.uid,
        model=result.model,
        outline=_around(_bounds(region.mask)),
        bounded_by=True,
        region=region.label,
        category=None if doubted else what.category,
        finding=None if doubted else what.kind,
        site=what.site or (what.kind if what.laterality else None),
        laterality=what.laterality,
        numbers=tuple(_stated(m, source) for m in own),
        judgments=((what.kind, codes.PRESENCES[doubted]),) if doubted else (),
        caveats=tuple(dict.fromkeys(CAVEATS[caveat] for m in own for caveat in m.caveats)),
        leaning_on=result.leaning_on if what.laterality else (),
    )


def _doubted(region: Region, result: ModelResult) -> Presence | None:
    """Give the presence of the finding that a region shows, where that is not present: the region is then no finding.

    None where it is present, and for an anatomical structure.
    """
    shown = (one for one in result.findings if region.label in (one.name, f"right_{one.name}", f"left_{one.name}"))
    return next((one.presence for one in shown if one.presence is not Presence.PRESENT), None)


def _absent_group(source: Instance, result: ModelResult, label: str) -> Group:
    what = codes.structure(label)
    # A patient has lungs: that the model saw none is not that they are absent.
    judgment = codes.NOT_FOUND if what.anatomical else codes.PRESENCES[Presence.ABSENT]
    return Group(
        title=f"{what.title}: {judgment.meaning.lower()}",
        tracking_uid=region_uid(source, result.model, label),
        source=source.uid,
        model=result.model,
        outline=_whole(source),
        site=what.site or what.kind,
        laterality=what.laterality,
        judgments=((what.kind, judgment),),
    )


def _measurement_groups(source: Instance, model: ModelIdentity, measurement: Measurement) -> Iterator[Group]:
    """One group for the number; where it is drawn with several lines, one more for each (a group has one outline)."""
    how = codes.quantity(measurement.name, measurement.unit)
    side = codes.structure(measurement.region) if measurement.region else None
    lines = [tuple((round(x, 2), round(y, 2)) for x, y in line) for line in measurement.lines]
    yield Group(
        title=f"{side.title}: {how.title}" if side else how.title,
        tracking_uid=finding_uid(source, model, measurement.name, measurement.region),
        source=source.uid,
        model=model,
        outline=lines[0] if len(lines) == 1 else _whole(source),
        site=(side.site or side.kind) if side else None,
        laterality=side.laterality if side else None,
        numbers=(_stated(measurement, source),),
        caveats=tuple(CAVEATS[caveat] for caveat in measurement.caveats),
    )
    for (title, concept), line in zip(how.lines, lines if len(lines) > 1 else (), strict=False):
        uid = finding_uid(source, model, measurement.name, measurement.region, concept.value)
        yield Group(title=title, tracking_uid=uid, source=source.uid, model=model, outline=line, finding=concept)


def _finding_groups(source: Instance, result: ModelResult, finding: Finding, by: str) -> Iterator[Group]:
    """One group for the image, with the judgment; one for each box. Finding (121071) says only what is present."""
    what, model = codes.abnormality(finding.name), result.model
    present = finding.presence is Presence.PRESENT
    yield Group(
        title=f"{what.title}{by}: {finding.presence.value}",
        tracking_uid=finding_uid(source, model, finding.name),
        source=source.uid,
        model=model,
        outline=_whole(source),
        category=codes.ABNORMAL_STRUCTURE if present and what.structure else None,
        finding=what.concept if present else None,
        site=what.site,
        laterality=codes.LATERALITIES.get(finding.sides),
        leaning_on=result.leaning_on if finding.sides else (),
        numbers=tuple(_probabilities(finding, source)),
        judgments=((what.concept, codes.PRESENCES[finding.presence]),),
        caveats=(*_undecided(finding, source), *(CAVEATS[caveat] for caveat in finding.caveats)),
    )
    yield from _box_groups(source, model, finding)


def _box_groups(source: Instance, model: ModelIdentity, finding: Finding) -> Iterator[Group]:
    """Give the boxes; where the finding is not present each is a place to look at, not a finding."""
    what, present = codes.abnormality(finding.name), finding.presence is Presence.PRESENT
    for number, box in enumerate(finding.boxes, 1):
        yield Group(
            title=f"{what.title} {number}",
            tracking_uid=finding_uid(source, model, finding.name, number),
            source=source.uid,
            model=model,
            outline=_around((box.left, box.top, box.right, box.bottom)),
            bounded_by=True,
            category=codes.ABNORMAL_STRUCTURE if present else None,
            finding=what.concept if present else None,
            site=what.site,
            numbers=(_number(codes.PROBABILITY, 100 * box.probability, source),),
            judgments=() if present else ((what.concept, codes.PRESENCES[finding.presence]),),
        )


def _probabilities(finding: Finding, source: Instance) -> Iterator[Number]:
    if finding.probability is not None:
        yield _number(codes.PROBABILITY, 100 * finding.probability, source)
    if finding.operating_point is not None:
        yield _number(codes.OPERATING_POINT, 100 * finding.operating_point, source)
    if finding.band and finding.band[0] < finding.band[1]:
        yield from (_number(how, 100 * bound, source) for how, bound in zip(codes.BAND, finding.band, strict=True))


def _undecided(finding: Finding, source: Instance) -> Iterator[str]:
    """Say between which bounds a probability lies that decides nothing: its threshold alone would not explain it."""
    if finding.probability is not None and finding.undecided:
        of = (finding.probability, *finding.undecided)
        said, low, high = (f"{_number(codes.PROBABILITY, 100 * value, source).text} %" for value in of)
        yield f"Indeterminate: {said} lies between {low} and {high}"


def _stated(measurement: Measurement, source: Instance) -> Number:
    return _number(codes.quantity(measurement.name, measurement.unit), measurement.value, source)


def _number(how: codes.Quantity, value: float, source: Instance) -> Number:
    """Round to the decimals of its kind: what is stated is text, the same on every machine."""
    if not math.isfinite(value):
        raise NeedsOperator(
            f"{how.title} is no number",
            operation="compose evidence",
            subject=source.uid,
            hint="see 'Evidence cannot be composed' in docs/operations.md",
        )
    return Number(concept=how.concept, text=f"{round(value, how.decimals) + 0.0:.{how.decimals}f}", unit=how.unit)


def _whole(source: Instance) -> tuple[Point, ...]:
    """The whole image: viewers need a place to show what is said of the image (OHIF stays black without one)."""
    return _around((0.0, 0.0, float(source.facts.columns), float(source.facts.rows)))


def _bounds(mask: Mask) -> tuple[float, float, float, float]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def _around(sides: Sequence[float]) -> tuple[Point, ...]:
    """A closed polyline of five points: top left, top right, bottom right, bottom left, top left."""
    left, top, right, bottom = (round(side, 2) for side in sides)
    return (left, top), (right, top), (right, bottom), (left, bottom), (left, top)


__all__ = ["Group", "Note", "Number", "Point", "groups_of", "notes_of"]
