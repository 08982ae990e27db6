"""Hides who is tested on whom: which films must not be parted.

Promises that one patient, and one film that several data sets hold, is in one part only; that the part is a hash and
no file moves another's; that real pneumothorax masks, which are scarce, are for measuring, except those of SIIM-ACR's
own data set; and that the patients of lung films stay where `part_of` puts them, whatever else joins their group.

With other data sets beside it a film may join another group, and change its part: name the same folders for training
and for evaluation.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from cxrnode.training.example import Example, Part, part_of, share_of

OTHER_LUNGS = {
    "covid_v7labs": "the lung's outline includes the heart's shadow: another convention",
    "covid_genblock": "the lung's outline includes the heart's shadow: another convention",
    "viral_pneumonia": "children, and masks drawn by a machine",
    "covid_radiography": "masks drawn by a machine",
    "nih_physician": "two films of uncertain terms",
}
"""Sources whose lungs are not learnt from where there are others, and why."""

_STRICTEST: tuple[Part, ...] = ("test", "validate", "train")
_NIH_FILM = re.compile(r"^(\d{8})_\d{3}$")
_SIIM_FILM = re.compile(r"^1\.2\.276\.0\.7230010\.3\.1\.4\.8323329\.\d+\.\d+\.\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Examples with their parts, and the group of each: films that are one patient's, or the same film."""

    examples: tuple[Example, ...]
    groups: tuple[int, ...]
    joined: int
    """How many pairs of films of different patients were joined because they are alike."""


def split(examples: Sequence[Example], alike: Iterable[tuple[int, int]] = ()) -> Split:
    """Assign every example its part. `alike` are pairs of places in `examples` of nearly the same picture."""
    pairs = list(alike)
    keys = [_keys(example) for example in examples]
    groups = _groups(keys, pairs)
    members: dict[int, list[int]] = defaultdict(list)
    for place, group in enumerate(groups):
        members[group].append(place)
    parts: dict[int, Part] = {}
    for places in members.values():
        parts |= zip(places, _parts([examples[place] for place in places]), strict=True)
    return Split(
        examples=tuple(replace(example, part=parts[place]) for place, example in enumerate(examples)),
        groups=groups,
        joined=sum(keys[one].isdisjoint(keys[other]) for one, other in pairs),
    )


def _keys(example: Example) -> frozenset[str]:
    """Name the patient, and the film where its name tells whose it is, in one way for all data sets."""
    keys = {example.patient.lower().replace("cohen-", "ieee8023-")}
    if nih := _NIH_FILM.match(example.name):
        keys.add(f"nih-{nih.group(1)}")
    if siim := _SIIM_FILM.match(example.name):
        keys.add(siim.group())
    return frozenset(keys)


def _groups(keys: Sequence[frozenset[str]], pairs: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    """Number the groups of films that a key or a likeness joins, directly or through others."""
    first: dict[str, int] = {}
    edges = [(place, first.setdefault(key, place)) for place, some in enumerate(keys) for key in sorted(some)]
    ends = np.array(edges + list(pairs), dtype=np.int64).reshape(-1, 2)
    graph = coo_array((np.ones(len(ends), dtype=np.int8), (ends[:, 0], ends[:, 1])), shape=(len(keys), len(keys)))
    return tuple(connected_components(graph, directed=False)[1].tolist()) if keys else ()


def _parts(group: Sequence[Example]) -> list[Part]:
    """Give the part of each film of one group: that of its first patient, of those with drawn lungs if there are."""
    drawn = [example.patient for example in group if "right_lung" in example.masks]
    key = min(drawn or [example.patient for example in group])
    fixed = {part_of(example.patient) for example in group if is_anchored(example)}
    shared = next((part for part in _STRICTEST if part in fixed), part_of(key))
    if fixed <= {"train"} and any(is_scarce(example) for example in group):
        shared = "validate" if share_of(key) < 0.3 else "test"
    return [part_of(example.patient) if is_anchored(example) else shared for example in group]


def is_anchored(example: Example) -> bool:
    """Say whether an example keeps its patient's part: somebody drew its right and left lung."""
    return "right_lung" in example.masks and example.source not in OTHER_LUNGS


def is_scarce(example: Example) -> bool:
    """Say whether an example's real pneumothorax mask is kept for measuring."""
    if "pneumothorax" not in example.masks or example.source == "siim":
        return False
    return bool(example.masks["pneumothorax"]) or example.source.startswith("pneumothorax")
