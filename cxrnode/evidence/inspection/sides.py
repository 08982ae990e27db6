"""Whether right is right everywhere: in codes, in words, in segmentation and report, and on the image.

Hides how a picture lies. Promises an objection wherever two of them name different sides, or where a lung lies on the
other side of the patient than it is said to; an image that does not say how it lies proves nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from cxrnode.domain.finding import Mask
from cxrnode.evidence import codes
from cxrnode.evidence.inspection.masks import Plane
from cxrnode.evidence.inspection.tree import Group
from cxrnode.pixels.orientation import Orientation

_WORDS = {"right": codes.RIGHT.value, "left": codes.LEFT.value}


def misnamed(planes: Sequence[Plane]) -> Iterator[str]:
    """Give an objection for each segment whose label says another side than its code."""
    for plane in planes:
        said = _side_in(plane.title)
        if said and said != plane.laterality:
            yield f"SegmentSequence[{plane.segment}].SegmentLabel: another side than its code"


def misplaced(planes: Sequence[Plane], orientations: Mapping[str, Orientation]) -> Iterator[str]:
    """Give an objection where the right lung does not lie to the patient's right of the left one."""
    lungs = [plane for plane in planes if plane.kind == codes.LUNG.value and plane.count]
    for right in (plane for plane in lungs if plane.laterality == codes.RIGHT.value):
        for left in (plane for plane in lungs if plane.laterality == codes.LEFT.value):
            orientation = orientations.get(right.source)
            if orientation is None or orientation.assumed or right.source != left.source:
                continue
            if _middle(orientation.apply(right.mask)) >= _middle(orientation.apply(left.mask)):
                yield f"SegmentSequence[{right.segment}]: the right lung lies to the patient's left of the left lung"


def unequal(groups: Sequence[Group], planes: Sequence[Plane]) -> Iterator[str]:
    """Give an objection for each group that names another side than its segment, or than its own title."""
    sides = {plane.tracking_uid: plane.laterality for plane in planes}
    for group in groups:
        if group.laterality != sides.get(group.tracking_uid, group.laterality):
            yield f"{group.path}: another laterality than the segment of the same tracking UID"
        said = _side_in(group.title)
        if said and said != group.laterality:
            yield f"{group.path}: its title names another side than its laterality"


def _side_in(text: str) -> str:
    """Give the code of the one side that a text names; empty where it names none, or both."""
    # A word with a hyphen or an underscore is a name: of an asymmetry, or of a model.
    words = {_WORDS[word] for word in re.findall(r"[\w-]+", text.lower()) if word in _WORDS}
    return words.pop() if len(words) == 1 else ""


def _middle(mask: Mask) -> float:
    """Give the mean column of a mask, from every eighth row where that is enough."""
    some = mask[::8] if mask[::8].any() else mask
    columns = np.count_nonzero(some, axis=0)
    return float(columns @ np.arange(columns.size) / columns.sum())
