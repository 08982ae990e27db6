"""Whether a report and the segmentations say what the models' results say: no verdict, box or mask is another.

Hides by which UID a statement is found. Promises an objection where a finding of the result is missing, where its
verdict, its probability, its side or its boxes are others, and where a mask is not that of the result.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from cxrnode.domain.finding import Finding, ModelResult, StudyResult
from cxrnode.domain.study import Instance
from cxrnode.evidence import codes
from cxrnode.evidence.identity import finding_uid
from cxrnode.evidence.inspection.masks import Plane
from cxrnode.evidence.inspection.measured import is_printed, lies
from cxrnode.evidence.inspection.tree import Group


def unstated(study: StudyResult, groups: Sequence[Group]) -> Iterator[str]:
    """Give an objection for each finding of the result that the report does not state as it is."""
    stated = {group.tracking_uid: group for group in groups}
    for image in study.images:
        for result in image.results:
            for finding in result.findings:
                yield from _finding_at_fault(image.source, result, finding, stated)


def foreign(planes: Sequence[Plane], results: Mapping[str, Plane]) -> Iterator[str]:
    """Give an objection for each segment that is none of the result's masks, which are given by tracking UID."""
    for plane in planes:
        where, own = f"SegmentSequence[{plane.segment}]", results.get(plane.tracking_uid)
        if own is None or own.source != plane.source:
            yield f"{where}.TrackingUID: no region of the result on this image"
        elif (own.kind, own.laterality) != (plane.kind, plane.laterality):
            yield f"{where}: not what its tracking UID stands for"
        elif own.count != plane.count or (own.count and own.bounds != plane.bounds):
            yield f"{where}: its mask is not that of the result"


def _finding_at_fault(
    source: Instance, result: ModelResult, finding: Finding, stated: Mapping[str, Group]
) -> Iterator[str]:
    said = f"{finding.name} by {result.model.name}"
    group = stated.get(finding_uid(source, result.model, finding.name))
    if group is None:
        yield f"says nothing of {said}"
        return
    verdict = (codes.abnormality(finding.name).concept.value, codes.PRESENCES[finding.presence].value)
    if verdict not in group.judgments:
        yield f"{group.path}: not the verdict of the result on {said}"
    side = codes.LATERALITIES.get(finding.sides)
    if group.laterality != (side.value if side else ""):
        yield f"{group.path}: not the side of the result on {said}"
    concept = codes.probability(finding.name).concept.value
    texts = [number.text for number in group.numbers if number.concept == concept]
    if finding.probability is not None and not any(is_printed(text, 100 * finding.probability) for text in texts):
        yield f"{group.path}: not the probability of the result on {said}"
    yield from _boxes_at_fault(source, result, finding, stated)


def _boxes_at_fault(
    source: Instance, result: ModelResult, finding: Finding, stated: Mapping[str, Group]
) -> Iterator[str]:
    for count, box in enumerate(finding.boxes, 1):
        group = stated.get(finding_uid(source, result.model, finding.name, count))
        sides = (box.left, box.top, box.right, box.bottom)
        if group is None or not any(lies(outline, sides) for outline in group.outlines):
            yield f"box {count} of {finding.name} by {result.model.name} is not drawn where it is"
