"""Every object of a study under every rule: what each is objected to for, by SOP Instance UID.

Hides the order of the rules and what they share. Promises that a file which cannot be read or followed is objected to,
never raised for, and that an object which refers to one with an objection has one itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from pydicom.dataset import Dataset

from cxrnode.domain.capability import CLASSES, REPORT_CLASSES, Kind
from cxrnode.domain.finding import StudyResult
from cxrnode.evidence import codes, geometry, headers
from cxrnode.evidence.identity import region_uid
from cxrnode.evidence.inspection import dciodvfy, masks, measured, origin, pictures, references, sides, tree
from cxrnode.evidence.inspection.carried import CARRIED_OVER
from cxrnode.evidence.inspection.masks import Plane
from cxrnode.evidence.inspection.measured import Chart, Place
from cxrnode.evidence.inspection.reading import Kept, read
from cxrnode.evidence.inspection.references import Known
from cxrnode.evidence.inspection.required import missing
from cxrnode.evidence.inspection.tables import IODS
from cxrnode.evidence.inspection.values import wrong_values
from cxrnode.pixels.orientation import Orientation, from_header

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
        kept = {one.sop_instance_uid: _opened(one) for one in objects}
        files = {uid: file for uid, file in kept.items() if file is not None}
        scene = _scene_of(study, objects, files, sources)
        found = {one.sop_instance_uid: [*self._objections(one, files, scene)] for one in objects}
        _spread(found, {one.sop_instance_uid: files[one.sop_instance_uid] for one in objects if _follows(one, files)})
        return {uid: _told(lines) for uid, lines in found.items() if lines}

    def _objections(self, one: Inspected, files: Mapping[str, Kept], scene: _Scene) -> Iterator[str]:
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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Scene:
    """What the rules look objects up in."""

    study: StudyResult
    known: Mapping[str, Known]
    headers: Mapping[str, Dataset]
    places: Mapping[str, Place]
    orientations: Mapping[str, Orientation]
    foreign_uids: frozenset[str]
    planes: Mapping[str, tuple[Plane, ...]]
    """By segmentation."""

    def shown(self) -> list[Plane]:
        """Give the masks of all segmentations, and those of the result where no segmentation shows them."""
        planes = [*chain.from_iterable(self.planes.values())]
        tracked = {plane.tracking_uid for plane in planes}
        return [*planes, *(plane for plane in _unwritten(self.study) if plane.tracking_uid not in tracked)]


def _opened(one: Inspected) -> Kept | None:
    try:
        return read(one.path)
    except Exception:  # noqa: BLE001 - pydicom raises whatever a broken file makes it stumble on
        return None


def _scene_of(
    study: StudyResult, objects: Sequence[Inspected], files: Mapping[str, Kept], sources: Mapping[int, Path]
) -> _Scene:
    read_: dict[str, Dataset] = {
        s.uid: headers.read_header(s, sources[s.row]) for s in study.sources if s.row in sources
    }
    known: dict[str, Known] = {
        s.uid: _known(s.description.sop_class_uid, s.description.series_uid, source=True) for s in study.sources
    }
    for uid, file in files.items():
        known[uid] = _known(file.root.text("SOPClassUID"), file.root.text("SeriesInstanceUID"))
    stated = (str(header.get("FrameOfReferenceUID") or "") for header in read_.values())
    of_sources = ((s.uid, s.study_uid, s.description.series_uid, s.description.sop_class_uid) for s in study.sources)
    segmentations = [one.sop_instance_uid for one in objects if one.kind is Kind.SEG and one.sop_instance_uid in files]
    return _Scene(
        study=study,
        known=known,
        headers=read_,
        places={uid: _place(header) for uid, header in read_.items()},
        orientations={uid: from_header(header) for uid, header in read_.items()},
        foreign_uids=frozenset({study.study_uid, *chain.from_iterable(of_sources), *stated} - {""}),
        planes={uid: _planes(files[uid]) for uid in segmentations},
    )


def _known(sop_class_uid: str, series_uid: str, *, source: bool = False) -> Known:
    return Known(sop_class_uid=sop_class_uid, series_uid=series_uid, source=source)


def _place(header: Dataset) -> Place:
    spacing = geometry.pixel_spacing(header)
    return Place(
        rows=int(header.get("Rows") or 0),
        columns=int(header.get("Columns") or 0),
        spacing=(float(spacing[0]), float(spacing[1])) if spacing else None,
    )


def _planes(file: Kept) -> tuple[Plane, ...]:
    try:
        return masks.planes_of(file.root)
    except (ValueError, OverflowError, MemoryError):
        return ()


def _unwritten(study: StudyResult) -> Iterator[Plane]:
    """Give the masks of the result itself: a destination may get the report without a segmentation."""
    for image in study.images:
        for result in image.results:
            for region in result.regions:
                what = codes.structure(region.label)
                yield Plane(
                    segmentation=result.model.name,
                    frame=0,
                    segment=0,
                    title=what.title,
                    tracking_uid=region_uid(image.source, result.model, region.label),
                    kind=what.kind.value,
                    laterality=what.laterality.value if what.laterality else "",
                    source=image.source.uid,
                    mask=region.mask,
                )


def _rules(one: Inspected, file: Kept, scene: _Scene) -> Iterator[Iterator[str]]:
    """Give what each rule objects to, what a person would want to know first before the rest."""
    root = file.root
    own = [scene.headers[one.source]] if one.source in scene.headers else [*scene.headers.values()]
    yield origin.mistaken(file, _classes(one.kind), one.sop_instance_uid)
    yield origin.estranged(root, own)
    if one.kind is Kind.SEG:
        planes = scene.planes.get(one.sop_instance_uid, ())
        yield masks.misshapen(root, planes)
        yield sides.misnamed(planes)
        yield sides.misplaced(planes, scene.orientations)
    if one.kind is Kind.SR:
        chart = Chart(groups=tree.groups_of(root), planes=scene.shown(), places=scene.places)
        yield measured.disagreeing(chart)
        yield sides.unequal(chart.groups, chart.planes)
    yield pictures.misdrawn(one.kind, root, one.source, scene.places)
    yield references.unresolved(one.kind, one.source, root, scene.study, scene.known)
    yield chain.from_iterable(missing(root, module) for module in IODS.get(root.text("SOPClassUID"), ()))
    if one.kind in _TREES:
        yield tree.ungrammatical(root)
    yield wrong_values(root, CARRIED_OVER, scene.foreign_uids)
    yield origin.unsaid(root)


def _classes(kind: Kind) -> tuple[str, ...]:
    return tuple(REPORT_CLASSES.values()) if kind is Kind.SR else (CLASSES[kind],)


def _follows(one: Inspected, files: Mapping[str, Kept]) -> bool:
    """Tell whether an object falls with what it refers to; a note of rejection does not."""
    return one.sop_instance_uid in files and one.kind is not Kind.REJECTION


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
