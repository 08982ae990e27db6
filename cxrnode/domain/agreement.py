"""Where models overlap: statements that cannot both be true become indeterminate, and say why.

Hides which statement contradicts which, and on what grid that is looked at. Promises that a statement is only ever
lowered, never raised; that a doubted one carries the reason as a caveat; and that what a card withholds casts no doubt
on what it does not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from cxrnode.domain.chest import HEART, LUNGS, Chest, grown
from cxrnode.domain.finding import Box, Finding, Mask, ModelResult, Presence
from cxrnode.domain.measurement import LEAST_SHARE
from cxrnode.domain.reasons import CAVEATS
from cxrnode.domain.selection import ImageFacts

ABNORMAL = "abnormal_chest"
"""Says that something is wrong, whatever it is: absent, it is contradicted by whatever is present."""

MOST = 0.5
"""A region or a box lies where most of it lies: more than this share of its area."""

_COARSE = 256
"""Long side, in pixels, of the grid on which places are compared."""


_Said = tuple[int, Finding]
"""A finding, and the place of its result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Doubt:
    """Casts doubt, for `caveat`, on the finding of this name in the result at this place."""

    result: int
    finding: str
    caveat: str


Outlined = Mapping[str, Mask]
"""What a model outlined, by finding, all of it: what of it is drawn and has a side may be less."""


def agreed(
    results: Sequence[ModelResult], outlined: Sequence[Outlined], chest: Chest | None, facts: ImageFacts
) -> tuple[ModelResult, ...]:
    """Give the results, with what contradicts the lungs, the header or another model made indeterminate.

    `outlined` is each result's. Where a lung was not found nobody knows what lies outside of it: then places are not
    compared.
    """
    doubts = [*_at_odds(results), *_beside_the_header(results, facts)]
    if chest and chest.both_lungs:
        doubts += _misplaced(results, outlined, chest)
    return tuple(replace(result, findings=_lowered(result, number, doubts)) for number, result in enumerate(results))


def _lowered(result: ModelResult, number: int, doubts: Sequence[_Doubt]) -> tuple[Finding, ...]:
    lowered = []
    for finding in result.findings:
        why = dict.fromkeys(d.caveat for d in doubts if (d.result, d.finding) == (number, finding.name))
        changed = replace(finding, presence=Presence.INDETERMINATE, caveats=(*finding.caveats, *why))
        lowered.append(changed if why else finding)
    return tuple(lowered)


def _at_odds(results: Sequence[ModelResult]) -> Iterator[_Doubt]:
    """Two models that say the contrary of one finding, and a chest that is not abnormal with something wrong in it."""
    said = [(number, finding) for number, result in enumerate(results) for finding in result.findings]
    present = [one for one in said if one[1].presence is Presence.PRESENT]
    for absent in (one for one in said if one[1].presence is Presence.ABSENT):
        for other in present:
            caveat = _contradiction(absent[1].name, other[1].name)
            for doubted, doubting in _doubted_by(caveat, absent, other):
                if _counts(doubting[1], doubted[1]):
                    yield _Doubt(result=doubted[0], finding=doubted[1].name, caveat=caveat)


def reserve(caveat: str, finding: str, results: Sequence[ModelResult]) -> str:
    """Give the sentence of a finding's caveat among the results on its image: whoever disagrees is named."""
    said = [(one.alone, result.model.name) for result in results for one in result.findings if one.name == finding]
    present = [name for alone, name in said if alone is Presence.PRESENT]
    absent = [name for alone, name in said if alone is Presence.ABSENT]
    if caveat != "models_disagree" or not (present and absent):
        return CAVEATS[caveat]
    return f"Called indeterminate because {_models(present)} present and {_models(absent)} absent"


def _models(names: Sequence[str]) -> str:
    many = len(names) > 1
    return f"the model{'s' if many else ''} {' and '.join(names)} find{'' if many else 's'} it"


def _contradiction(absent: str, present: str) -> str:
    if absent == present:
        return "models_disagree"
    return "normal_and_finding" if absent == ABNORMAL else ""


def _doubted_by(caveat: str, absent: _Said, present: _Said) -> tuple[tuple[_Said, _Said], ...]:
    """Give who doubts whom: two answers to one question each other; a finding that all is well, but not the contrary.

    What looks at the whole film in general is no judge of what another model saw in one place: it passed by a
    pneumothorax that was certain and well outlined (docs/looked-at.md).
    """
    if caveat == "models_disagree":
        return (absent, present), (present, absent)
    return ((absent, present),) if caveat else ()


def _counts(doubting: Finding, doubted: Finding) -> bool:
    """A withheld statement is not good enough to cast doubt on one that is not withheld."""
    return "withheld" not in doubting.caveats or "withheld" in doubted.caveats


def _beside_the_header(results: Sequence[ModelResult], facts: ImageFacts) -> Iterator[_Doubt]:
    """Image Laterality, or the series': of what lies only on the other side than the image is said to show."""
    shown = {"R": "right", "L": "left"}.get(facts.laterality, "")
    for number, result in enumerate(results):
        for finding in result.findings:
            if shown and finding.sides and shown not in finding.sides:
                yield _Doubt(result=number, finding=finding.name, caveat="other_side_stated")


def _misplaced(results: Sequence[ModelResult], outlined: Sequence[Outlined], chest: Chest) -> Iterator[_Doubt]:
    """Outlines that lie mostly outside the lungs, and boxes that all lie where no lung is."""
    places = _Places.of(chest)
    for number, (result, outlines) in enumerate(zip(results, outlined, strict=True)):
        for finding in result.findings:
            outline, caveat = outlines.get(finding.name), ""
            if finding.presence is Presence.ABSENT:
                continue
            if outline is not None and np.count_nonzero(outline) >= LEAST_SHARE * outline.size:
                caveat = "" if places.at_lungs(outline) else "outside_lungs"
            elif finding.boxes:
                caveat = _place_of_all(_deciding(finding), places)
            if caveat:
                yield _Doubt(result=number, finding=finding.name, caveat=caveat)


def _deciding(finding: Finding) -> list[Box]:
    """Give the boxes that make the finding what it is: those that reach its operating point, else all."""
    least = finding.operating_point or 0.0
    return [box for box in finding.boxes if box.probability >= least] or [*finding.boxes]


def _place_of_all(boxes: Sequence[Box], places: _Places) -> str:
    """Give why none of the boxes can be an opacity of a lung; empty where one can."""
    why = [places.wrong(box) for box in boxes]
    return why[0] if all(why) else ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Places:
    """Where the heart is, where the lungs are and a little around them, and the thorax, on every `step`-th pixel."""

    step: int
    heart: Mask
    lungs: Mask
    thorax: Mask

    @classmethod
    def of(cls, chest: Chest) -> _Places:
        right, left = (chest.stored[label] for label in LUNGS)
        step = max(1, -(-max(right.shape) // _COARSE))
        lungs = (right | left)[::step, ::step]
        heart = chest.stored.get(HEART, np.zeros_like(right))[::step, ::step]
        wide = grown(lungs)
        return cls(step=step, heart=heart & ~lungs, lungs=wide, thorax=_spanned(wide | heart))

    def at_lungs(self, region: Mask) -> bool:
        """Whether most of a stored mask lies at the lungs; a mask too small for the grid does."""
        small = region[:: self.step, :: self.step]
        return not small.any() or float(self.lungs[small].mean()) >= 1 - MOST

    def wrong(self, box: Box) -> str:
        """Give why no lung can be in a box, empty where one can."""
        rows, columns = self._between(box.top, box.bottom), self._between(box.left, box.right)
        if _share(self.heart[rows, columns]) > MOST:
            return "in_heart"
        return "outside_thorax" if _share(self.thorax[rows, columns]) < 1 - MOST else ""

    def _between(self, first: float, last: float) -> slice:
        return slice(max(0, int(first // self.step)), max(0, -int(-last // self.step)))


def _share(plane: Mask) -> float:
    return float(plane.mean()) if plane.size else 0.0


def _spanned(mask: Mask) -> Mask:
    """Add what lies between two pixels of the mask on one row or one column: the mediastinum between the lungs."""
    spans = [
        np.logical_or.accumulate(mask, axis=axis) & np.flip(np.logical_or.accumulate(np.flip(mask, axis), axis), axis)
        for axis in (0, 1)
    ]
    return np.asarray(spans[0] | spans[1])
