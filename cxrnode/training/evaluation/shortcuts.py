"""Hides how it is found out whether a model answers by what has nothing to do with the patient.

Promises, for each disguise of a film, the share of films whose answer changes, with its count and interval. An answer
is: the class said of each question; whether each finding is called at its operating point; for a structure without a
finding of its own, whether it is found and where its outline lies. Films are disguised the same way each time.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cxrnode.domain.chest import HEART
from cxrnode.errors import Unsuitable
from cxrnode.inference.bundle import BundleCard, Network
from cxrnode.training.catalogue import read_catalogue
from cxrnode.training.evaluation.answering import Answer, answer
from cxrnode.training.evaluation.disguises import DISGUISES, WHOLE, Place
from cxrnode.training.evaluation.estimate import Rate, rate
from cxrnode.training.evaluation.examine import choose, no_film
from cxrnode.training.evaluation.overlap import Mask, dice
from cxrnode.training.evaluation.questions import question_of
from cxrnode.training.evaluation.report import Tell, markdown
from cxrnode.training.evaluation.segmentation import said_masks
from cxrnode.training.example import Example, read_picture
from cxrnode.training.films import pixel_aspect

MOST_CHANGED = 0.05
"""One answer in twenty."""
SEEN = 0.01
"""Share of the picture from which a structure without a finding of its own counts as found."""
SAME_OUTLINE, SAME_HEART = 0.95, 0.885
"""Dice coefficient with the plain film's outline below which an outline has moved; a heart's has a limit of its own.

Both leave two and a half times what parts the released network from the reader who drew (0.98 for a lung and 0.954 for
the heart, JSRT's test part): where a heart begins above and ends below no film shows.
"""

Verdicts = dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortcut:
    """How many of some films' answers to one question a disguise changed; `passed`: at most one in twenty."""

    disguise: str
    asked: str
    changed: Rate
    films: int
    by_source: dict[str, float]

    @property
    def passed(self) -> bool:
        """Whether the share itself, not its interval, is small enough."""
        return self.changed.value <= MOST_CHANGED


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Spoken:
    """What a bundle said of a film: in words, by question; outlines, by structure without a finding, on the film."""

    words: Verdicts
    outlines: dict[str, Mask]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortcuts:
    """What `try_shortcuts` found of one bundle."""

    name: str
    digest: str
    part: str
    films: int
    tried: tuple[Shortcut, ...]

    @property
    def passed(self) -> bool:
        """Whether every answer stood every disguise."""
        return all(one.passed for one in self.tried)

    def as_json(self) -> dict[str, Any]:
        """Give what was found as values that JSON knows."""
        each = [{**asdict(one), "passed": one.passed} for one in self.tried]
        return {**asdict(self), "tried": each, "passed": self.passed}

    def table(self) -> str:
        """Give what was found as Markdown."""
        rows = [
            (one.disguise, one.asked, one.films, one.changed, _worst(one.by_source), "yes" if one.passed else "NO")
            for one in self.tried
        ]
        return markdown(("disguise", "asked", "films", "answers changed", "most in a source", "passed"), rows)


def try_shortcuts(
    name: str,
    data: Path,
    *,
    bundle: Path,
    part: str = "test",
    most: int | None = None,
    device: str = "cpu",
    threads: int = 2,
    report: Tell = lambda line: None,
) -> Shortcuts:
    """Ask a bundle again about films that were disguised; `most` films, spread over the part, where it is given.

    Raises NeedsOperator where the part has no film that the bundle is asked about.
    """
    network = Network.load(bundle, device, threads)
    chosen = _spread(choose(network.card, read_catalogue(data), part), most)
    if not chosen:
        raise no_film(name, part)
    changes: dict[tuple[str, str], list[tuple[Example, bool]]] = {}
    for number, example in enumerate(chosen, 1):
        for key, changed in _changes(network, example):
            changes.setdefault(key, []).append((example, changed))
        report({"event": "film", "done": number, "of": len(chosen)})
    card = network.card
    tried = tuple(_shortcut(disguise, asked, found) for (disguise, asked), found in changes.items())
    return Shortcuts(name=card.name, digest=card.digest, part=part, films=len(chosen), tried=tried)


def _spread(examples: Sequence[Example], most: int | None) -> Sequence[Example]:
    if most is None or len(examples) <= most:
        return examples
    return [examples[index] for index in np.linspace(0, len(examples) - 1, most).round().astype(int)]


def _changes(network: Network, example: Example) -> list[tuple[tuple[str, str], bool]]:
    image = read_picture(example)
    aspect = pixel_aspect(example, image.shape)
    try:
        plain = spoken(network.card, answer(network, image, aspect))
    except Unsuitable:
        return []
    found = []
    for disguise, change in DISGUISES.items():
        rng = np.random.default_rng(zlib.crc32(f"{disguise} {example.source} {example.name}".encode()))
        disguised, there = change(image, rng)
        other = spoken(network.card, answer(network, disguised, aspect), there)
        found += [((disguise, asked), changed) for asked, changed in changes(plain, other).items()]
    return found


def changes(plain: Spoken, other: Spoken) -> dict[str, bool]:
    """Say of each question whether a disguise changed its answer; what is not found has no outline to ask for."""
    found = {asked: other.words[asked] != said for asked, said in plain.words.items()}
    for channel, outline in plain.outlines.items():
        if _seen(outline):
            least = SAME_HEART if channel == HEART else SAME_OUTLINE
            found[f"{channel} outline"] = dice(outline, other.outlines[channel]) < least
    return found


def verdicts(card: BundleCard, said: Answer) -> Verdicts:
    """Give a bundle's answers in words: classes, findings called or not, structures found or not."""
    return spoken(card, said).words


def spoken(card: BundleCard, said: Answer, there: Place = WHOLE) -> Spoken:
    """Give a bundle's answer; outlines are those of the plain film, which lies `there` in the one that was examined."""
    words = {question_of(group): max(group, key=lambda name: said.read.probabilities[name]) for group in card.groups}
    for score in said.read.scores:
        words[score.finding] = "present" if score.probability >= score.operating_point else "absent"
    outlines = {}
    if said.read.maps is not None and not said.read.scores:
        outlines = {name: mask[there] for name, mask in zip(card.channels, said_masks(card, said), strict=True)}
    words |= {f"{name} found": "found" if _seen(mask) else "not found" for name, mask in outlines.items()}
    return Spoken(words=words, outlines=outlines)


def _seen(mask: Mask) -> bool:
    return bool(mask.mean() >= SEEN)


def _shortcut(disguise: str, asked: str, found: Sequence[tuple[Example, bool]]) -> Shortcut:
    changed = np.array([change for _, change in found])
    share = rate(changed, np.ones(len(found)), [example.patient for example, _ in found])
    if share is None:
        raise ValueError("a share of no films")
    return Shortcut(disguise=disguise, asked=asked, changed=share, films=len(found), by_source=_by_source(found))


def _by_source(found: Sequence[tuple[Example, bool]]) -> dict[str, float]:
    sources = sorted({example.source for example, _ in found})
    return {
        source: round(float(np.mean([change for example, change in found if example.source == source])), 4)
        for source in sources
    }


def _worst(shares: Mapping[str, float]) -> str:
    source = max(shares, key=lambda name: shares[name])
    return f"{source} {shares[source]:.3f}"
