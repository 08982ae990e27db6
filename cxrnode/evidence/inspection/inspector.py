"""Every object of a study under every rule: what each is objected to for, by SOP Instance UID.

Hides the order of the rules. Promises that a file which cannot be read or followed is objected to, never raised for,
and that what refers to an object with an objection has one itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from cxrnode.domain.capability import CLASSES, REPORT_CLASSES, Kind
from cxrnode.domain.finding import StudyResult
from cxrnode.evidence.inspection import (
    dciodvfy,
    masks,
    measured,
    origin,
    pictures,
    references,
    sides,
    stated,
    tree,
    vocabulary,
)
from cxrnode.evidence.inspection.carried import CARRIED_OVER
from cxrnode.evidence.inspection.measured import Chart
from cxrnode.evidence.inspection.reading import Kept, read
from cxrnode.evidence.inspection.required import missing
from cxrnode.evidence.inspection.scene import Scene, scene_of
from cxrnode.evidence.inspection.tables import IODS
from cxrnode.evidence.inspection.values import wrong_values

LINES = 10
"""How many lines an objection has at most: a person reads it."""

_TREES = (Kind.SR, Kind.KOS, Kind.REJECTION)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspected:
    """A kept object. `source`: SOP Instance UID of the image that it is of, empty for what is of the whole study."""

    kind: Kind
    sop_instance_uid: str
    path: Path
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspector:
    """Looks at objects, with dciodvfy where that is installed when this is made."""

    program: str = field(default_factory=dciodvfy.find)

    def inspect(
        self, study: StudyResult, objects: Sequence[Inspected], sources: Mapping[int, Path]
    ) -> Mapping[str, str]:
        """Give the objections by SOP Instance UID, none for what is well. `sources`: kept sources by row.

        Raises NeedsOperator where a kept source cannot be read.
        """
        opened = {one.sop_instance_uid: _opened(one) for one in objects}
        files = {uid: file for uid, file in opened.items() if file is not None}
        scene = scene_of(study, files, [one.sop_instance_uid for one in objects if one.kind is Kind.SEG], sources)
        found = {one.sop_instance_uid: [*self._objections(one, files, scene)] for one in objects}
        # A note of rejection does not fall with what it takes back.
        falling = [one.sop_instance_uid for one in objects if one.kind is not Kind.REJECTION]
        _spread(found, {uid: files[uid] for uid in falling if uid in files})
        return {uid: _told(lines) for uid, lines in found.items() if lines}

    def _objections(self, one: Inspected, files: Mapping[str, Kept], scene: Scene) -> Iterator[str]:
        file = files.get(one.sop_instance_uid)
        if file is None:
            yield "the file cannot be read"
            return
        try:
            yield from chain.from_iterable(_rules(one, file, scene))
        except Exception as error:  # noqa: BLE001 - what a damaged object makes a rule stumble on is an objection
            yield f"cannot be looked through: {type(error).__name__}"
        if self.program:
            yield from dciodvfy.errors(self.program, one.path, scene.foreign_uids)


def inspect(study: StudyResult, objects: Sequence[Inspected], sources: Mapping[int, Path]) -> Mapping[str, str]:
    """Give the objections by SOP Instance UID, none for what is well. `sources`: kept sources by row."""
    return Inspector().inspect(study, objects, sources)


def _opened(one: Inspected) -> Kept | None:
    try:
        return read(one.path)
    except Exception:  # noqa: BLE001 - pydicom raises whatever a broken file makes it stumble on
        return None


def _rules(one: Inspected, file: Kept, scene: Scene) -> Iterator[Iterator[str]]:
    """Give what each rule objects to, what a person would want to know first before the rest."""
    root = file.root
    own = [scene.stated[one.source]] if one.source in scene.stated else [*scene.stated.values()]
    yield origin.mistaken(file, _classes(one.kind), one.sop_instance_uid)
    yield origin.misfiled(root, one.kind, scene.study, scene.known)
    yield origin.estranged(root, own)
    if one.kind is Kind.SEG:
        planes = scene.planes.get(one.sop_instance_uid, ())
        yield masks.misshapen(root, planes)
        yield stated.foreign(planes, scene.results)
        yield sides.misnamed(planes)
        yield sides.misplaced(planes, scene.orientations)
    if one.kind is Kind.SR:
        chart = Chart(groups=tree.groups_of(root), planes=scene.shown(), places=scene.places)
        yield stated.unstated(scene.study, chart.groups)
        yield measured.disagreeing(chart)
        yield sides.unequal(chart.groups, chart.planes)
    yield pictures.misdrawn(one.kind, root, one.source, scene.places)
    yield references.unresolved(one.kind, one.source, root, scene.study, scene.known)
    yield chain.from_iterable(missing(root, module) for module in IODS.get(root.text("SOPClassUID"), ()))
    if one.kind in _TREES:
        yield tree.ungrammatical(root)
        yield vocabulary.mistitled(one.kind, root)
    yield vocabulary.misspelt(root, CARRIED_OVER)
    yield wrong_values(root, CARRIED_OVER, scene.foreign_uids)
    yield origin.unsaid(root)


def _classes(kind: Kind) -> tuple[str, ...]:
    return tuple(REPORT_CLASSES.values()) if kind is Kind.SR else (CLASSES[kind],)


def _spread(found: Mapping[str, list[str]], files: Mapping[str, Kept]) -> None:
    """Object to whatever refers to an object with an objection, and to what refers to that, and so on."""
    referred = {uid: references.referred_to(file.root) & found.keys() - {uid} for uid, file in files.items()}
    spreading = True
    while spreading:
        spreading = False
        for uid, others in referred.items():
            faulty = sorted(other for other in others if found[other])
            if faulty and not found[uid]:
                found[uid].append(f"refers to {faulty[0]}, which has an objection")
                spreading = True


def _told(lines: Sequence[str]) -> str:
    """Give an objection of at most LINES lines, the same thing said once."""
    said = list(dict.fromkeys(lines))
    if len(said) > LINES:
        said = [*said[: LINES - 1], f"and {len(said) - LINES + 1} more"]
    return "\n".join(said)
