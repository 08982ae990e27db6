"""Composes the SR of a study: a document of the wanted class around the tree of its statements (PS3.3 A.35, C.17).

Hides which instances a document must list, and where. Promises an object that dciodvfy and PixelMed's validator find
no error in, of each class, even where nothing was analysed. In DICOM SR "evidence" means the instances a document
refers to, our sources: only here is the word used like that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset

from cxrnode.domain.capability import REPORT_CLASSES, SEGMENTATION, ReportClass
from cxrnode.domain.finding import StudyResult
from cxrnode.domain.identity import derived_uid
from cxrnode.domain.selection import OWN_MANUFACTURER
from cxrnode.domain.study import Instance
from cxrnode.errors import NeedsOperator
from cxrnode.evidence import codes, headers, settle
from cxrnode.evidence.algorithms import add_algorithms, model_uid
from cxrnode.evidence.content import Frame, report_tree
from cxrnode.evidence.identity import FORMAT, Author, content_of, models_in, region_uid, series_uid
from cxrnode.evidence.items import data_set, hierarchy
from cxrnode.evidence.statements import Group, Note
from cxrnode.evidence.stating import groups_of, notes_of
from cxrnode.ports import ReportLink

SERIES_NUMBER = 7000

_Reference = tuple[str, str, str]
"""Series Instance UID, SOP Class UID, SOP Instance UID."""


def report_uid(
    author: Author, study: StudyResult, segmentations: Mapping[str, Sequence[str]], report_class: ReportClass
) -> str:
    """Give the SOP Instance UID of the SR that states this about this study.

    `segmentations` by source UID: the SEGs of the source's results, in their order.
    """
    return _uid_of(author, study, groups_of(study), notes_of(study), segmentations, report_class)


def _uid_of(
    author: Author,
    study: StudyResult,
    groups: Sequence[Group],
    notes: Sequence[Note],
    segmentations: Mapping[str, Sequence[str]],
    report_class: ReportClass,
) -> str:
    return derived_uid(
        "SR",
        FORMAT,
        asdict(author),
        REPORT_CLASSES[report_class],
        study.study_uid,
        [study.predecessor, study.predecessor_class, study.revision, study.retraction],
        [content_of(source) for source in study.sources],
        [asdict(group) for group in groups],
        [asdict(note) for note in notes],
        models_in(study),
        {source: [*uids] for source, uids in segmentations.items() if uids},
    )


def link_of(report: Path) -> ReportLink:
    """Give what a kept report says of its place in its line."""
    document = _read(report)
    references = [
        (str(reference.ReferencedSOPInstanceUID), str(reference.ReferencedSOPClassUID))
        for study in document.get("PredecessorDocumentsSequence") or ()
        for series in study.ReferencedSeriesSequence
        for reference in series.ReferencedSOPSequence
    ]
    predecessor, predecessor_class = references[0] if references else ("", "")
    return ReportLink(
        sop_class_uid=str(document.SOPClassUID),
        revision=int(document.InstanceNumber),
        predecessor=predecessor,
        predecessor_class=predecessor_class,
    )


def compose_report(
    author: Author,
    study: StudyResult,
    all_headers: Mapping[int, Dataset],
    segmentations: Mapping[str, Sequence[str]],
    report_class: ReportClass,
) -> Dataset:
    """Compose the SR, settled and complete. `all_headers` by row; `segmentations` as `report_uid` takes them."""
    sources = study.sources
    if not sources:
        raise NeedsOperator("a report of no image", operation="compose evidence", subject=study.study_uid)
    groups, notes = groups_of(study), notes_of(study)
    uid = _uid_of(author, study, groups, notes, segmentations, report_class)
    tree = report_tree(author, sources, groups, notes, _frames(study, segmentations))
    moment = max(headers.moment_of(all_headers[source.row]) for source in sources)
    segs = [seg for source in sources for seg in segmentations.get(source.uid, ())]
    built = _document(author, study, uid, tree, report_class)
    _list_references(built, study, _instances(sources, segs))
    settle.settle(built, moment)
    add_algorithms(built, study.models)
    own = {uid, series_uid(uid), author.device_uid, *(model_uid(model) for model in study.models)}
    tracked = {group.tracking_uid for group in groups}
    settle.prove_settled(built, moment, {*own, *tracked, *_referenced(study, sources, segs)})
    headers.copy_patient_and_study(all_headers[sources[0].row], built, author.timezone_offset)
    return built


def _series_description(study: StudyResult) -> str:
    """Say which of several reports this is: viewers list their series by this text, or by its first twenty letters."""
    said = "cxrnode retraction" if study.retraction else "cxrnode report"
    return f"{said}, revision {study.revision}" if study.revision > 1 else said


def _document(author: Author, study: StudyResult, uid: str, tree: Dataset, report_class: ReportClass) -> Dataset:
    """Give the document around the tree: a machine wrote it, and nobody signed it (PS3.3 C.17.1, C.17.2)."""
    document = data_set(
        SOPClassUID=REPORT_CLASSES[report_class],
        SOPInstanceUID=uid,
        StudyInstanceUID=study.study_uid,
        SeriesInstanceUID=series_uid(uid),
        Modality="SR",
        SeriesNumber=SERIES_NUMBER,
        SeriesDescription=_series_description(study),
        InstanceNumber=study.revision,
        Manufacturer=OWN_MANUFACTURER,
        ManufacturerModelName="cxrnode",
        SoftwareVersions=author.software_version,
        DeviceSerialNumber=author.device_name,
        CompletionFlag="COMPLETE",
        VerificationFlag="UNVERIFIED",
        PreliminaryFlag="PRELIMINARY",
        CodingSchemeIdentificationSequence=[_private_scheme()],
        ReferencedPerformedProcedureStepSequence=[],
        PerformedProcedureCodeSequence=[],
    )
    document.update(tree)
    return document


def _private_scheme() -> Dataset:
    """Say whose codes the private ones are (PS3.3 C.12.1.1.5)."""
    return data_set(
        CodingSchemeDesignator=codes.PRIVATE_SCHEME,
        CodingSchemeName=codes.PRIVATE_SCHEME_NAME,
        CodingSchemeUID=codes.PRIVATE_SCHEME_UID,
        CodingSchemeResponsibleOrganization=OWN_MANUFACTURER,
    )


def _instances(sources: Sequence[Instance], segs: Sequence[str]) -> list[_Reference]:
    """Give what the tree refers to, images first: Slicer reads the first item."""
    images = [(source.description.series_uid, source.description.sop_class_uid, source.uid) for source in sources]
    return [*images, *((series_uid(seg), SEGMENTATION, seg) for seg in segs)]


def _list_references(built: Dataset, study: StudyResult, instances: Sequence[_Reference]) -> None:
    """List the instances that the tree refers to, and the document that this one follows (PS3.3 C.17.2)."""
    built.update(data_set(CurrentRequestedProcedureEvidenceSequence=[hierarchy(study.study_uid, instances)]))
    if study.predecessor:
        # Every object of ours has its own series, so the predecessor's series follows from its UID.
        before = (series_uid(study.predecessor), study.predecessor_class or built.SOPClassUID, study.predecessor)
        built.update(data_set(PredecessorDocumentsSequence=[hierarchy(study.study_uid, [before])]))


def _frames(study: StudyResult, segmentations: Mapping[str, Sequence[str]]) -> dict[str, Frame]:
    """Find the frame of each tracked segment: our SEGs have one frame a segment, in the order of the regions."""
    frames: dict[str, Frame] = {}
    for image in study.images:
        tracked = [
            [region_uid(image.source, result.model, region.label) for region in result.regions if region.mask.any()]
            for result in image.results
        ]
        segs, shown = segmentations.get(image.source.uid, ()), [uids for uids in tracked if uids]
        if len(segs) > len(shown):  # one for each region
            shown = [[uid] for uids in shown for uid in uids]
        for uids, seg in zip(shown if segs else (), segs, strict=True):
            frames |= {uid: Frame(sop_instance_uid=seg, number=number) for number, uid in enumerate(uids, 1)}
    return frames


def _referenced(study: StudyResult, sources: Sequence[Instance], segs: Sequence[str]) -> set[str]:
    uids = {study.study_uid, codes.PRIVATE_SCHEME_UID, *(source.uid for source in sources)}
    uids.update(source.description.series_uid for source in sources)
    for own in (*segs, *([study.predecessor] if study.predecessor else [])):
        uids.update({own, series_uid(own)})
    return uids


def _read(report: Path) -> Dataset:
    try:
        return pydicom.dcmread(report)
    except (OSError, ValueError, EOFError, pydicom.errors.InvalidDicomError) as error:
        raise NeedsOperator(
            "a kept report cannot be read",
            operation="compose evidence",
            hint="see 'A kept instance cannot be read' in docs/operations.md",
        ) from error
