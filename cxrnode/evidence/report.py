"""Composes the SR of a study: a Comprehensive SR document around the tree of its statements (PS3.3 A.35.3, C.17).

Hides which instances a document must list, and where. Promises an object that dciodvfy and PixelMed's validator find
no error in, even where nothing was analysed. In DICOM SR "evidence" means the instances a document refers to, our
sources: only here is the word used like that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import highdicom as hd
import pydicom
from highdicom.coding_schemes import CodingSchemeIdentificationItem
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence

from cxrnode.domain.finding import StudyResult
from cxrnode.domain.identity import derived_uid
from cxrnode.domain.selection import OWN_MANUFACTURER
from cxrnode.domain.study import Instance
from cxrnode.errors import NeedsOperator
from cxrnode.evidence import codes, headers, settle
from cxrnode.evidence.content import Frame, report_tree
from cxrnode.evidence.identity import FORMAT, Author, content_of, series_uid
from cxrnode.evidence.statements import groups_of, notes_of

SERIES_NUMBER = 7000
SERIES_DESCRIPTION = "cxrnode report"
SOP_CLASS_UID = "1.2.840.10008.5.1.4.1.1.88.33"
"""Comprehensive SR Storage; see docs/decisions/0008."""

_Reference = tuple[str, str, str]
"""Series Instance UID, SOP Class UID, SOP Instance UID."""


def sources_of(study: StudyResult) -> list[Instance]:
    """Give every image that the report speaks of, in the order of their UIDs."""
    spoken_of = [*(image.source for image in study.images), *(refused.source for refused in study.refused)]
    return sorted(spoken_of, key=lambda source: source.uid)


def report_uid(author: Author, study: StudyResult, segmentations: Mapping[str, Sequence[str]]) -> str:
    """Give the SOP Instance UID of the SR that states this about this study."""
    return derived_uid(
        "SR",
        FORMAT,
        asdict(author),
        study.study_uid,
        study.predecessor,
        [content_of(source) for source in sources_of(study)],
        [asdict(group) for group in groups_of(study)],
        [asdict(note) for note in notes_of(study)],
        {source: sorted(uids) for source, uids in segmentations.items() if uids},
    )


def predecessor_of(report: Path) -> str:
    """Give the SOP Instance UID in a kept report's Predecessor Documents Sequence, empty where it has none."""
    document = pydicom.dcmread(report)
    references = [
        reference.ReferencedSOPInstanceUID
        for study in document.get("PredecessorDocumentsSequence") or ()
        for series in study.ReferencedSeriesSequence
        for reference in series.ReferencedSOPSequence
    ]
    return str(references[0]) if references else ""


def compose_report(
    author: Author, study: StudyResult, all_headers: Mapping[int, Dataset], segmentations: Mapping[str, Sequence[Path]]
) -> Dataset:
    """Compose the SR, settled and complete. `all_headers` by row; `segmentations` are kept SEGs by source UID."""
    sources = sources_of(study)
    read = {source: [_read_segmentation(path) for path in paths] for source, paths in segmentations.items()}
    uids = {source: [str(seg.SOPInstanceUID) for seg in found] for source, found in read.items()}
    uid = report_uid(author, study, uids)
    # In the order of their UIDs, however they were handed in: the report's UID does not know an order either.
    segs = sorted((seg for found in read.values() for seg in found), key=lambda seg: str(seg.SOPInstanceUID))
    groups = groups_of(study)
    tree = report_tree(author, sources, groups, notes_of(study), _frames(segs))
    moment = max(headers.moment_of(all_headers[source.row]) for source in sources)
    instances = _instances(sources, segs)
    built = _document(author, sources[0], uid, tree)
    _list_references(built, study, instances)
    settle.settle(built, moment)
    tracked = {group.tracking_uid for group in groups}
    settle.prove_settled(
        built, moment, {uid, series_uid(uid), author.device_uid, *tracked, *_referenced(study, sources, segs)}
    )
    headers.copy_patient_and_study(all_headers[sources[0].row], built, author.timezone_offset)
    return built


def _document(author: Author, source: Instance, uid: str, tree: Dataset) -> Dataset:
    """Let highdicom write the document around the bare root; it copies and searches whatever hangs below it."""
    branches, tree.ContentSequence = list(tree.ContentSequence), DicomSequence([])
    document: Dataset = hd.sr.ComprehensiveSR(
        evidence=[headers.stand_in(source)],
        content=tree,
        series_instance_uid=series_uid(uid),
        series_number=SERIES_NUMBER,
        sop_instance_uid=uid,
        instance_number=1,
        manufacturer=OWN_MANUFACTURER,
        manufacturer_model_name="cxrnode",
        software_versions=author.software_version,
        device_serial_number=author.device_name,
        series_description=SERIES_DESCRIPTION,
        is_complete=True,
        is_final=False,
        is_verified=False,
        coding_schemes=[_private_scheme()],
    )
    document.ContentSequence = DicomSequence(branches)
    return document


def _private_scheme() -> CodingSchemeIdentificationItem:
    """Say whose codes the private ones are (PS3.3 C.12.1.1.5)."""
    return CodingSchemeIdentificationItem(
        designator=codes.PRIVATE_SCHEME,
        name=codes.PRIVATE_SCHEME_NAME,
        uid=codes.PRIVATE_SCHEME_UID,
        responsible_organization=OWN_MANUFACTURER,
    )


def _instances(sources: Sequence[Instance], segs: Sequence[Dataset]) -> list[_Reference]:
    """Give what the tree refers to, images first: Slicer reads the first item."""
    images = [(source.description.series_uid, source.description.sop_class_uid, source.uid) for source in sources]
    return [*images, *((str(s.SeriesInstanceUID), str(s.SOPClassUID), str(s.SOPInstanceUID)) for s in segs)]


def _list_references(built: Dataset, study: StudyResult, instances: Sequence[_Reference]) -> None:
    """List the instances that the tree refers to, and the document that this one follows (PS3.3 C.17.2)."""
    built.CurrentRequestedProcedureEvidenceSequence = DicomSequence([_hierarchy(study.study_uid, instances)])
    built.ReferencedPerformedProcedureStepSequence = DicomSequence([])
    built.PerformedProcedureCodeSequence = DicomSequence([])
    if study.predecessor:
        # Every object of ours has its own series, so the predecessor's series follows from its UID.
        before = [(series_uid(study.predecessor), SOP_CLASS_UID, study.predecessor)]
        built.PredecessorDocumentsSequence = DicomSequence([_hierarchy(study.study_uid, before)])


def _hierarchy(study_uid: str, instances: Sequence[_Reference]) -> Dataset:
    """Give a Hierarchical SOP Instance Reference (PS3.3 Table 10-3), series in the order they come."""
    item = Dataset()
    item.StudyInstanceUID = study_uid
    item.ReferencedSeriesSequence = DicomSequence([])
    by_series: dict[str, Dataset] = {}
    for series, sop_class, sop_instance in instances:
        if series not in by_series:
            by_series[series] = Dataset()
            by_series[series].SeriesInstanceUID = series
            by_series[series].ReferencedSOPSequence = DicomSequence([])
            item.ReferencedSeriesSequence.append(by_series[series])
        reference = Dataset()
        reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = sop_class, sop_instance
        by_series[series].ReferencedSOPSequence.append(reference)
    return item


def _frames(segs: Sequence[Dataset]) -> dict[str, list[Frame]]:
    """Find the frame of each tracked segment: our SEGs have one frame a segment, in their order."""
    frames: dict[str, list[Frame]] = {}
    for seg in segs:
        for number, segment in enumerate(seg.SegmentSequence, 1):
            frame = Frame(sop_class_uid=seg.SOPClassUID, sop_instance_uid=seg.SOPInstanceUID, number=number)
            frames.setdefault(str(segment.TrackingUID), []).append(frame)
    return frames


def _referenced(study: StudyResult, sources: Sequence[Instance], segs: Sequence[Dataset]) -> set[str]:
    uids = {study.study_uid, codes.PRIVATE_SCHEME_UID, study.predecessor, *(source.uid for source in sources)}
    uids.update(source.description.series_uid for source in sources)
    for seg in segs:
        uids.update({str(seg.SOPInstanceUID), str(seg.SeriesInstanceUID)})
    uid_series = {series_uid(study.predecessor)} if study.predecessor else set()
    return uids | uid_series


def _read_segmentation(path: Path) -> Dataset:
    try:
        return pydicom.dcmread(path, stop_before_pixels=True)
    except (OSError, ValueError, EOFError, pydicom.errors.InvalidDicomError) as error:
        raise NeedsOperator(
            "a kept segmentation cannot be read",
            operation="compose evidence",
            hint="see 'A kept instance cannot be read' in docs/operations.md",
        ) from error
