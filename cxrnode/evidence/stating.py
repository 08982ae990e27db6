"""From a study's results to what its report states, in the order in which a person reads it.

Hides which result becomes which statement. Promises that what is present comes first, then what nobody can say, what is
absent, the measurements, and the anatomy last; and that all of it depends on the study's result alone, so that the
report's UID and its content tree are made of the same thing: no two reports of one UID can differ.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from enum import IntEnum

from cxrnode.domain.agreement import reserve
from cxrnode.domain.finding import (
    Box,
    Finding,
    ImageResult,
    Measurement,
    ModelResult,
    Presence,
    Region,
    StudyResult,
)
from cxrnode.domain.reasons import CAVEATS, REASONS, RETRACTIONS
from cxrnode.domain.study import Instance
from cxrnode.evidence import codes
from cxrnode.evidence.identity import finding_uid, region_uid
from cxrnode.evidence.statements import Group, Note, Number, around, border, largest_piece, number, whole


class _Place(IntEnum):
    """Where a statement about an image stands among the others."""

    PRESENT = 0
    INDETERMINATE = 1
    ABSENT = 2
    MEASURED = 3
    ANATOMY = 4

    @classmethod
    def of(cls, presence: Presence) -> _Place:
        """Give the place of what is judged so."""
        return cls[presence.name]


_Placed = tuple[_Place, Group]

_MOST_DECIMALS = 6
"""Of a percentage: what differs by less differs by how a machine counts."""


def groups_of(study: StudyResult) -> tuple[Group, ...]:
    """Give every measurement group of a study, image by image. Raises UnknownConcept."""
    several = len(study.images) > 1
    groups = []
    for image in study.images:
        placed = sorted(_image_groups(image), key=lambda one: one[0])
        of = f" (image {_place_of(study, image.source.uid)})" if several else ""
        groups += [replace(group, title=f"{group.title}{of}") for _, group in placed]
    return tuple(groups)


def notes_of(study: StudyResult) -> tuple[Note, ...]:
    """Give what the report says beside the groups: what is taken back, reserves, what is missing or not analysed."""
    notes = [*_taken_back(study), *(note for image in study.images for note in _image_notes(image))]
    for refused in study.refused:
        text = f"Not analysed, because {REASONS[refused.code].text}"
        source, reason = refused.source.uid, codes.reason(refused.code)
        notes.append(Note(text=text, source=source, concept=codes.NOT_ANALYSED, reason=reason))
    return tuple(replace(note, text=f"{_of_which(study, note)}{note.text}") for note in notes)


def _taken_back(study: StudyResult) -> Iterator[Note]:
    if study.retraction:
        what = f"The results of report {study.predecessor}" if study.predecessor else "The results"
        text = f"{what} were taken back, because {RETRACTIONS[study.retraction].text}"
        yield Note(text=text, concept=codes.TAKEN_BACK, reason=codes.retraction(study.retraction))


def _image_notes(image: ImageResult) -> Iterator[Note]:
    for caveat in image.caveats:
        yield Note(text=CAVEATS[caveat], source=image.source.uid)
    for model, code in image.missing:
        text = f"No result of the model {model}, because {REASONS[code].text}"
        yield Note(text=text, source=image.source.uid, concept=codes.NO_RESULT, reason=codes.reason(code))


def _of_which(study: StudyResult, note: Note) -> str:
    return f"Image {_place_of(study, note.source)}: " if note.source and len(study.sources) > 1 else ""


def _place_of(study: StudyResult, source_uid: str) -> int:
    """Give an image's number in the image library, from 1."""
    return next(place for place, source in enumerate(study.sources, 1) if source.uid == source_uid)


def _image_groups(image: ImageResult) -> Iterator[_Placed]:
    times = Counter(finding.name for result in image.results for finding in result.findings)
    shared = {name for name, count in times.items() if count > 1}
    for result in image.results:
        for finding in result.findings:
            # A finding of which others speak, too, is named with its model.
            by = f" by {result.model.name}" if finding.name in shared else ""
            yield from _finding_groups(image, result, finding, by)
        yield from _other_groups(image.source, result)


def _finding_groups(image: ImageResult, result: ModelResult, finding: Finding, by: str) -> Iterator[_Placed]:
    """The judgment on the image, then each outline and each box of it."""
    place = _Place.of(finding.presence)
    yield place, _judged_group(image, result, finding, by)
    for region in result.regions:
        if region.mask.any() and result.finding_of(region.label) is finding:
            yield place, _region_group(image.source, result, region)
    for count, box in enumerate(finding.boxes, 1):
        yield place, _box_group(image.source, result, finding, count, box)


def _other_groups(source: Instance, result: ModelResult) -> Iterator[_Placed]:
    """What no finding of the model is about: anatomy, outlines that nobody judged, measurements."""
    for region in result.regions:
        if region.mask.any() and not result.finding_of(region.label):
            place = _Place.ANATOMY if codes.structure(region.label).anatomical else _Place.PRESENT
            yield place, _region_group(source, result, region)
    for label in (*result.absent, *(region.label for region in result.regions if not region.mask.any())):
        if not result.finding_of(label):
            place = _Place.ANATOMY if codes.structure(label).anatomical else _Place.ABSENT
            yield place, _absent_group(source, result, label)
    for measurement in result.measurements:
        if not _belongs(measurement, result):
            yield from ((_Place.MEASURED, group) for group in _measurement_groups(source, result, measurement))


def _belongs(measurement: Measurement, result: ModelResult) -> bool:
    """Tell whether a measurement is stated with its region: one of a region that is there and draws no lines."""
    shown = {region.label for region in result.regions if region.mask.any()}
    return measurement.region in shown and not measurement.lines


def _judged_group(image: ImageResult, result: ModelResult, finding: Finding, by: str) -> Group:
    """State the judgment on the whole image. Finding (121071) says only what is present."""
    what, source = codes.abnormality(finding.name), image.source
    present = finding.presence is Presence.PRESENT
    side = f", {' and '.join(finding.sides)}" if finding.sides else ""
    return Group(
        title=f"{what.title}{by}: {finding.presence.value}{side}",
        tracking_uid=finding_uid(source, result.model, finding.name),
        source=source.uid,
        model=result.model,
        outline=whole(source),
        category=codes.ABNORMAL_STRUCTURE if present and what.structure else None,
        finding=what.concept if present else None,
        site=what.site,
        laterality=codes.LATERALITIES.get(finding.sides),
        leaning_on=result.leaning_on if finding.sides else (),
        numbers=tuple(_probabilities(finding, source)),
        judgments=((what.concept, codes.PRESENCES[finding.presence]),),
        caveats=tuple(reserve(caveat, finding.name, image.results) for caveat in finding.caveats),
    )


def _box_group(source: Instance, result: ModelResult, finding: Finding, count: int, box: Box) -> Group:
    """State a box. One that is not present, as its finding or by its own probability, is a place to look at."""
    what, presence = codes.abnormality(finding.name), finding.presence_of(box)
    present = presence is Presence.PRESENT
    return Group(
        title=f"{what.title} {count}" if present else f"{what.title} {count}: {presence.value}",
        tracking_uid=finding_uid(source, result.model, finding.name, count),
        source=source.uid,
        model=result.model,
        outline=around((box.left, box.top, box.right, box.bottom)),
        bounded_by=True,
        category=codes.ABNORMAL_STRUCTURE if present else None,
        finding=what.concept if present else None,
        site=what.site,
        numbers=tuple(_percents(source, (codes.probability(finding.name), box.probability), beside=finding.band or ())),
        judgments=() if present else ((what.concept, codes.PRESENCES[presence]),),
    )


def _probabilities(finding: Finding, source: Instance) -> Iterator[Number]:
    """State the probability and what it was judged by: a band's two bounds, or the one point where there is no band.

    The point beside the bounds would contradict them: 67 % over a threshold of 49 % that is indeterminate.
    """
    stated = []
    if finding.probability is not None:
        stated.append((codes.probability(finding.name), finding.probability))
    if finding.band and finding.band[0] < finding.band[1]:
        stated += zip(codes.BAND, finding.band, strict=True)
    elif finding.operating_point is not None:
        stated.append((codes.OPERATING_POINT, finding.operating_point))
    yield from _percents(source, *stated)


def _percents(
    source: Instance, *stated: tuple[codes.Quantity, float], beside: Sequence[float] = ()
) -> Iterator[Number]:
    """State shares as percentages, with as many decimals as tell them from each other, from nothing and from certainty.

    72.30 % is below 72.34 %, and 99.97 % is not certain: rounded to one digit both would contradict the judgment.
    """
    exact = {0.0, 100.0, *(100 * share for _, share in stated), *(100 * share for share in beside)}
    usual = codes.PROBABILITY.decimals
    told = (some for some in range(usual, _MOST_DECIMALS) if len({round(one, some) for one in exact}) == len(exact))
    decimals = next(told, _MOST_DECIMALS)
    for how, share in stated:
        yield number(replace(how, decimals=decimals), 100 * share, source)


def _region_group(source: Instance, result: ModelResult, region: Region) -> Group:
    """State an outline with its own numbers. Where what it shows is not present, it is a place to look at."""
    what, presence = codes.structure(region.label), result.presence_of(region.label)
    present = presence is Presence.PRESENT
    own = [m for m in result.measurements if m.region == region.label and not m.lines]
    piece, count = largest_piece(region.mask)
    return Group(
        title=what.called(presence),
        tracking_uid=region_uid(source, result.model, region.label),
        source=source.uid,
        model=result.model,
        outline=border(piece),
        region=region.label,
        category=what.category if present else None,
        finding=what.kind if present else None,
        site=what.site or (what.kind if what.laterality else None),
        laterality=what.laterality,
        numbers=tuple(_stated(m, source) for m in own),
        judgments=() if present else ((what.kind, codes.PRESENCES[presence]),),
        caveats=(*dict.fromkeys(CAVEATS[caveat] for m in own for caveat in m.caveats), *_in_part(count)),
        leaning_on=result.leaning_on if what.laterality else (),
    )


def _in_part(pieces: int) -> tuple[str, ...]:
    said = f"The outline is that of the largest of {pieces} parts; the segmentation shows each"
    return (said,) if pieces > 1 else ()


def _absent_group(source: Instance, result: ModelResult, label: str) -> Group:
    what = codes.structure(label)
    # A patient has lungs: that the model saw none is not that they are absent.
    judgment = codes.NOT_FOUND if what.anatomical else codes.PRESENCES[Presence.ABSENT]
    return Group(
        title=f"{what.title}: {judgment.meaning.lower()}",
        tracking_uid=region_uid(source, result.model, label),
        source=source.uid,
        model=result.model,
        outline=whole(source),
        site=what.site or what.kind,
        laterality=what.laterality,
        judgments=((what.kind, judgment),),
    )


def _measurement_groups(source: Instance, result: ModelResult, measurement: Measurement) -> Iterator[Group]:
    """One group for the number; where it is drawn with several lines, one more for each (a group has one outline).

    Viewers print a number beside its outline: it stands with the last of its lines.
    """
    how, model = codes.quantity(measurement.name, measurement.unit), result.model
    side = codes.structure(measurement.region) if measurement.region else None
    lines = [tuple((round(x, 2), round(y, 2)) for x, y in line) for line in measurement.lines]
    yield Group(
        title=f"{side.title}: {how.title}" if side else how.title,
        tracking_uid=finding_uid(source, model, measurement.name, measurement.region),
        source=source.uid,
        model=model,
        outline=lines[-1] if lines else whole(source),
        site=(side.site or side.kind) if side else None,
        laterality=side.laterality if side else None,
        numbers=(_stated(measurement, source),),
        caveats=tuple(CAVEATS[caveat] for caveat in measurement.caveats),
    )
    for (title, concept), line in zip(how.lines, lines if len(lines) > 1 else (), strict=False):
        uid = finding_uid(source, model, measurement.name, measurement.region, concept.value)
        yield Group(title=title, tracking_uid=uid, source=source.uid, model=model, outline=line, finding=concept)


def _stated(measurement: Measurement, source: Instance) -> Number:
    return number(codes.quantity(measurement.name, measurement.unit), measurement.value, source)
