"""What stands below a picture: in a few sentences what is found, what is not, by which models, and with what reserve.

Hides which reserves a picture needs. Promises ASCII, nothing of the patient, and that what is looked for and absent is
said, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from cxrnode.domain.finding import Finding, ImageResult, ModelResult, Presence
from cxrnode.domain.reasons import CAVEATS, REASONS
from cxrnode.domain.wording import likelihood, name_of, quantity, spoken
from cxrnode.evidence.codes import INTENDED_USE, STRUCTURES, plain
from cxrnode.evidence.colours import WHITE, Colour, colour_of

SHORT = {"cardiothoracic_ratio": "CTR"}
"""What a number that is drawn as lines is called beside them."""

_NOT_ON_PICTURES = frozenset({"view_unstated", "body_part_unstated", "not_calibrated", "detector_plane"})
"""Reserves about what no picture shows: how the film was chosen, and numbers in millimetres."""

_SAID_SHORTER = frozenset({"withheld", "holds_for_children", "holds_for_adults"})
"""Reserves of a finding that a picture has in a word or leaves to the report; what changed its verdict is said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """A line below the picture, before it is broken, in the colour of what it speaks of."""

    text: str
    colour: Colour = WHITE


def caption_of(image: ImageResult, *, sides_known: bool) -> tuple[Sentence, ...]:
    """Give all sentences, what was found first. `sides_known`: whether the image says which side is which."""
    said = [*_found(image), *_ruled_out(image), *_measured(image), *_missing(image), *_reserves(image, sides_known)]
    return (*said, Sentence(text=f"Models: {', '.join(models_of(image)) or 'none'}"), Sentence(text=INTENDED_USE))


def models_of(image: ImageResult) -> tuple[str, ...]:
    """Name every model whose answer is in the result, with its version."""
    models = (model for one in image.results for model in (one.model, *one.leaning_on))
    return tuple(dict.fromkeys(plain(f"{model.name} {model.version}") for model in models))


def measured_text(name: str, value: float, unit: str) -> str:
    """Give a number as it stands beside its lines."""
    return plain(f"{SHORT.get(name, spoken(name))} {quantity(value, unit).replace('²', '2')}")


def _found(image: ImageResult) -> Iterator[Sentence]:
    """Say what is present, then what nobody can say."""
    shared = _shared(image)
    for presence in (Presence.PRESENT, Presence.INDETERMINATE):
        for one in image.results:
            for finding in (finding for finding in one.findings if finding.presence is presence):
                yield Sentence(text=_stated(finding, _by(one, finding.name, shared)), colour=colour_of(finding.name))


def _stated(finding: Finding, by: str) -> str:
    name = name_of(finding.name)
    where = "".join(f", {side}" for side in (" and ".join(finding.sides),) if side)
    number = "" if finding.probability is None else f" ({likelihood(finding.probability, finding.undecided)})"
    withheld = ["off by default"] if "withheld" in finding.caveats else []
    reserves = "".join(f", {reserve}" for reserve in (*([name.reserve] if name.reserve else []), *withheld))
    why = "".join(f". {CAVEATS[caveat]}" for caveat in finding.caveats if caveat not in _SAID_SHORTER)
    return plain(f"{name.title}{by}: {finding.presence.value}{where}{number}{reserves}{why}", 480)


def _ruled_out(image: ImageResult) -> Iterator[Sentence]:
    shared = _shared(image)
    absent: list[str] = []
    unseen: list[str] = []
    for one in image.results:
        judged = [finding.name for finding in one.findings if finding.presence is Presence.ABSENT]
        for label in (*judged, *_unseen(one)):
            organ = label in STRUCTURES and STRUCTURES[label].anatomical
            (unseen if organ else absent).append(plain(f"{spoken(label)}{_by(one, label, shared)}"))
    if absent:
        yield Sentence(text=f"Absent: {', '.join(dict.fromkeys(absent))}")
    if unseen:
        yield Sentence(text=f"Not found: {', '.join(dict.fromkeys(unseen))}")


def _measured(image: ImageResult) -> Iterator[Sentence]:
    for one in image.results:
        for number in one.measurements:
            if number.lines:
                title = name_of(number.name).title
                yield Sentence(text=plain(f"{title}: {quantity(number.value, number.unit)} (white lines)", 240))


def _missing(image: ImageResult) -> Iterator[Sentence]:
    for model, code in image.missing:
        yield Sentence(text=plain(f"No result of {model}, because {REASONS[code].text}", 240))


def _reserves(image: ImageResult, sides_known: bool) -> Iterator[Sentence]:
    drawn = (caveat for one in image.results for m in one.measurements if m.lines for caveat in m.caveats)
    unstated = () if sides_known else ("orientation_unstated",)
    for caveat in dict.fromkeys((*unstated, *image.caveats, *drawn)):
        if caveat not in _NOT_ON_PICTURES:
            yield Sentence(text=f"Note: {CAVEATS[caveat]}")


def _unseen(result: ModelResult) -> list[str]:
    """Name what was looked for and not found."""
    return [*result.absent, *(region.label for region in result.regions if not region.mask.any())]


def _shared(image: ImageResult) -> Collection[str]:
    """Name the findings of which more than one model speaks."""
    spoken_of = ({*(finding.name for finding in one.findings), *_unseen(one)} for one in image.results)
    times = Counter(name for names in spoken_of for name in names)
    return {name for name, count in times.items() if count > 1}


def _by(result: ModelResult, name: str, shared: Collection[str]) -> str:
    return f" by the model {result.model.name}" if name in shared else ""
