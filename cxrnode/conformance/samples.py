"""Every kind of object that the node writes, composed of studies made up, as it would leave.

Hides files and composers. Promises that what the statement says of an object was read in an object: the composer is
the one that the node runs, and each sample differs from the first by one thing, so that it shows what comes from where.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pydicom
from pydicom.dataset import Dataset

from cxrnode.conformance import sources, studies
from cxrnode.domain.capability import Choice, Kind, ReportClass
from cxrnode.domain.delivery import Geometry
from cxrnode.domain.finding import StudyResult
from cxrnode.domain.selection import CR_STORAGE, DX_FOR_PRESENTATION
from cxrnode.domain.study import Instance
from cxrnode.evidence import EvidenceComposer
from cxrnode.evidence.encode import encoded
from cxrnode.ports import Draft, StatedEvidence

VERSION = "1.2.3"
"""What the samples say for the program's version."""
DEVICES = ("CXRNODE", "OTHER")
"""What they say for the device's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The objects of one study by kind, and the headers of its images."""

    headers: tuple[Dataset, ...]
    objects: Mapping[Kind, Sequence[Dataset]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """Objects of one study by two authors for either geometry; then of images that state less, or otherwise."""

    full: Sample
    by_another: Sample
    bare: Sample
    with_tables: Sample
    retracted: Sample

    def all(self) -> tuple[Sample, ...]:
        """Give each of them."""
        return self.full, self.by_another, self.bare, self.with_tables, self.retracted

    def of(self, kind: Kind) -> list[Dataset]:
        """Give every object of a kind."""
        return [one for sample in self.all() for one in sample.objects.get(kind, ())]


def compose() -> Samples:
    """Compose all of them."""
    ours, others = _author(DEVICES[0], ""), _author(DEVICES[1], "+0100")
    with TemporaryDirectory() as held:
        folder = Path(held)
        return Samples(
            full=_full(folder, ours),
            by_another=_full(folder, others, Geometry.STRICT),
            bare=_plain(folder, ours, sources.bare_header(), CR_STORAGE),
            with_tables=_plain(folder, ours, sources.header_with_tables(), DX_FOR_PRESENTATION),
            retracted=_retracted(folder, ours),
        )


def _author(device_name: str, timezone_offset: str) -> EvidenceComposer:
    return EvidenceComposer(device_name=device_name, timezone_offset=timezone_offset, software_version=VERSION)


def _full(folder: Path, composer: EvidenceComposer, geometry: Geometry = Geometry.VIEWER) -> Sample:
    header, other_header = sources.full_header(), sources.full_header()
    source = sources.instance_of(header, DX_FOR_PRESENTATION, "full")
    other = sources.instance_of(other_header, DX_FOR_PRESENTATION, "full", "lateral")
    paths = {source.row: _written(folder, header), other.row: _written(folder, other_header)}
    drafts = _drafts(composer, studies.full_study(source, other), paths, geometry)
    note = _rejection(folder, composer, source, paths, drafts, "wrong_result")
    return Sample(headers=(header, other_header), objects=_by_kind([*drafts, note]))


def _plain(folder: Path, composer: EvidenceComposer, header: Dataset, sop_class_uid: str) -> Sample:
    source = sources.instance_of(header, sop_class_uid, str(header.Rows))
    paths = {source.row: _written(folder, header)}
    drafts = _drafts(composer, studies.plain_study(source), paths)
    note = _rejection(folder, composer, source, paths, drafts, "test")
    return Sample(headers=(header,), objects=_by_kind([*drafts, note]))


def _retracted(folder: Path, composer: EvidenceComposer) -> Sample:
    header = sources.bare_header()
    source = sources.instance_of(header, CR_STORAGE, "retracted")
    drafts = _drafts(composer, studies.retracted_study(source), {source.row: _written(folder, header)})
    return Sample(headers=(header,), objects=_by_kind(drafts))


def _rejection(
    folder: Path,
    composer: EvidenceComposer,
    source: Instance,
    paths: Mapping[int, Path],
    drafts: Sequence[Draft],
    because: str,
) -> Draft:
    stated = [_stated(draft) for draft in drafts]
    return composer.rejection(source, paths[source.row], stated, _files(folder, drafts), because)


def _drafts(
    composer: EvidenceComposer, study: StudyResult, paths: Mapping[int, Path], geometry: Geometry = Geometry.VIEWER
) -> Sequence[Draft]:
    kinds = tuple(kind for kind in Kind if kind is not Kind.REJECTION)
    choice = Choice(kinds=kinds, report_class=ReportClass.COMPREHENSIVE_3D, geometry=geometry)
    previews = {s.row: np.zeros((s.facts.rows, s.facts.columns), dtype=np.uint8) for s in study.sources}
    return composer.drafts(study, choice, paths, previews)


def _written(folder: Path, header: Dataset) -> Path:
    path = folder / f"{header.SOPInstanceUID}.dcm"
    path.write_bytes(encoded(header, VERSION))
    return path


def _stated(draft: Draft) -> StatedEvidence:
    uid = draft.sop_instance_uid
    return StatedEvidence(kind=draft.line, sop_class_uid=draft.sop_class_uid, sop_instance_uid=uid, key=uid)


def _files(folder: Path, drafts: Sequence[Draft]) -> dict[str, Path]:
    files = {}
    for draft in drafts:
        files[draft.sop_instance_uid] = folder / draft.sop_instance_uid
        files[draft.sop_instance_uid].write_bytes(draft.compose())
    return files


def _by_kind(drafts: Sequence[Draft]) -> dict[Kind, list[Dataset]]:
    found: dict[Kind, list[Dataset]] = {}
    for kind, held in _read(drafts):
        found.setdefault(kind, []).append(held)
    return found


def _read(drafts: Sequence[Draft]) -> Iterator[tuple[Kind, Dataset]]:
    for draft in drafts:
        yield draft.kind, pydicom.dcmread(BytesIO(draft.compose()))
