"""What the rules look an object up in: the study, its sources, and the other objects of it.

Hides headers and files. Promises the bytes of a source as they stand, read before anything interprets them, and masks
for every region: those of the segmentations, or of the result where no segmentation shows them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from pydicom.dataset import Dataset

from cxrnode.domain.finding import StudyResult
from cxrnode.evidence import codes, geometry, headers
from cxrnode.evidence.identity import region_uid
from cxrnode.evidence.inspection import masks, origin
from cxrnode.evidence.inspection.masks import Plane
from cxrnode.evidence.inspection.measured import Place
from cxrnode.evidence.inspection.reading import Kept
from cxrnode.evidence.inspection.references import Known
from cxrnode.pixels.orientation import Orientation, from_header


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scene:
    """A study's sources by SOP Instance UID, and its objects."""

    study: StudyResult
    known: Mapping[str, Known]
    """Sources and objects alike."""
    stated: Mapping[str, Mapping[str, bytes]]
    """What the sources state of patient and study."""
    places: Mapping[str, Place]
    orientations: Mapping[str, Orientation]
    foreign_uids: frozenset[str]
    """UIDs that the sources brought, however they are formed."""
    planes: Mapping[str, tuple[Plane, ...]]
    """By segmentation."""

    results: Mapping[str, Plane]
    """The masks of the result itself, by tracking UID."""

    def shown(self) -> list[Plane]:
        """Give the masks of all segmentations, and those of the result where no segmentation shows them."""
        planes = [*chain.from_iterable(self.planes.values())]
        tracked = {plane.tracking_uid for plane in planes}
        return [*planes, *(plane for uid, plane in self.results.items() if uid not in tracked)]


def scene_of(
    study: StudyResult, files: Mapping[str, Kept], segmentations: Collection[str], sources: Mapping[int, Path]
) -> Scene:
    """Read the sources and the masks. Raises NeedsOperator where a kept source cannot be read."""
    all_headers: dict[str, Dataset] = {}
    for source in study.sources:
        if source.row in sources:
            all_headers[source.uid] = headers.read_header(source, sources[source.row])
    stated = {uid: origin.stated(header) for uid, header in all_headers.items()}
    return Scene(
        study=study,
        known={**_sources(study), **{uid: _known(file) for uid, file in files.items()}},
        stated=stated,
        places={uid: _place(header) for uid, header in all_headers.items()},
        orientations={uid: from_header(header) for uid, header in all_headers.items()},
        foreign_uids=_brought(study, all_headers),
        results={plane.tracking_uid: plane for plane in _of_the_result(study)},
        planes={uid: _planes(files[uid]) for uid in segmentations if uid in files},
    )


def _sources(study: StudyResult) -> dict[str, Known]:
    described = ((source.uid, source.description) for source in study.sources)
    return {uid: Known(sop_class_uid=d.sop_class_uid, series_uid=d.series_uid, source=True) for uid, d in described}


def _known(file: Kept) -> Known:
    return Known(sop_class_uid=file.root.text("SOPClassUID"), series_uid=file.root.text("SeriesInstanceUID"))


def _brought(study: StudyResult, all_headers: Mapping[str, Dataset]) -> frozenset[str]:
    frames = (str(header.get("FrameOfReferenceUID") or "") for header in all_headers.values())
    described = (source.description for source in study.sources)
    uids = ((d.sop_instance_uid, d.study_uid, d.series_uid, d.sop_class_uid) for d in described)
    return frozenset({study.study_uid, *chain.from_iterable(uids), *frames} - {""})


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


def _of_the_result(study: StudyResult) -> Iterator[Plane]:
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
