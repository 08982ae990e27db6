"""A study with true numbers and every kind of object of it, kept as files, for the tests of the inspection."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset

from cxrnode.domain.capability import Kind, ReportClass
from cxrnode.domain.delivery import Geometry
from cxrnode.domain.finding import Box, ImageResult, Mask, Prediction, RefusedImage, Score, StudyResult
from cxrnode.domain.judgment import Judged, judge_image
from cxrnode.domain.selection import View
from cxrnode.domain.study import Instance
from cxrnode.evidence import capture, document, encode, headers, key_objects, pages, presentation
from cxrnode.evidence.identity import Author
from cxrnode.evidence.inspection import Inspected, Inspector
from cxrnode.evidence.report import compose_report
from cxrnode.evidence.segmentation import compose_segmentation
from cxrnode.pixels.orientation import of
from tests.evidence_cases import CLASSIFIER, LUNGS, OPACITY, PNEUMOTHORAX, Case, case

AUTHOR = Author(device_name="CXRNODE-TEST", software_version="0.1.0", timezone_offset="+0100")


@dataclass(frozen=True)
class Made:
    """A study, its sources on disk, and the objects that were made of it, one file each."""

    study: StudyResult
    sources: dict[int, Path]
    objects: tuple[Inspected, ...]

    def of(self, kind: Kind) -> Inspected:
        """The first object of a kind."""
        return next(one for one in self.objects if one.kind is kind)

    def objections(self, program: str = "") -> dict[str, str]:
        """What is objected to, by SOP Instance UID; without dciodvfy where no program is named."""
        return dict(Inspector(program=program).inspect(self.study, self.objects, self.sources))

    def objection(self, kind: Kind, change: Callable[[Dataset], object]) -> str:
        """What is objected to in the first object of a kind after a change of its file, beside the segmentations."""
        damaged = self.of(kind)
        dataset = pydicom.dcmread(damaged.path)
        change(dataset)
        dataset.save_as(damaged.path)
        beside = tuple(one for one in self.objects if one.kind in (Kind.SEG, kind))
        return replace(self, objects=beside).objections().get(damaged.sop_instance_uid, "")


def study_of(one: Case, *, with_lateral: bool = True, **changes: object) -> StudyResult:
    """What four models say of a case, judged as the node does it: every number is that of its mask."""
    judged = judged_of(one.source, one.masks())
    image = ImageResult(source=one.source, view=View.PA, results=judged.results, caveats=judged.caveats)
    refused = (RefusedImage(source=one.lateral, code="lateral"),) if with_lateral else ()
    study = StudyResult(study_uid=one.source.study_uid, images=(image,), refused=refused)
    return replace(study, **changes)  # type: ignore[arg-type]


def judged_of(source: Instance, masks: dict[str, Mask]) -> Judged:
    """What the node says of these masks on an image."""
    return judge_image(predictions_of(masks), source.facts, View.PA, of(source.facts.patient_orientation))


def predictions_of(masks: dict[str, Mask]) -> list[Prediction]:
    """Lungs and heart as they are, air at both apices, opacities in the right lung, an abnormal chest."""
    rows, columns = (np.flatnonzero(masks["right_lung"].any(axis=axis)) for axis in (1, 0))
    box = Box(
        label="lung_opacity",
        probability=0.9,
        left=float(columns[0]),
        top=float(rows[0]),
        right=float(columns[-1]),
        bottom=float(rows[0] + rows[-1]) / 2 + 0.25,
    )
    return [
        Prediction(model=LUNGS, masks=tuple(masks.items())),
        Prediction(
            model=PNEUMOTHORAX,
            masks=(("pneumothorax", _apices(masks)),),
            scores=(_score("pneumothorax", 0.8),),
        ),
        Prediction(model=OPACITY, scores=(_score("lung_opacity", 0.9),), boxes=(box,)),
        Prediction(model=CLASSIFIER, scores=(_score("abnormal_chest", 0.95), _score("covid19_pneumonia", 0.01))),
    ]


def _score(finding: str, probability: float) -> Score:
    return Score(finding=finding, probability=probability, operating_point=0.5, low=0.4, high=0.6)


def _apices(masks: dict[str, Mask]) -> Mask:
    air = np.zeros_like(masks["right_lung"])
    for label in ("right_lung", "left_lung"):
        half = masks[label].copy()
        half[: len(half) // 2] &= np.arange(half.shape[1]) % 2 < 2
        half[len(half) // 3 :] = False
        air |= half
    return air


def made(
    folder: Path,
    *,
    geometry: Geometry = Geometry.VIEWER,
    report_class: ReportClass = ReportClass.COMPREHENSIVE_3D,
    kinds: Sequence[Kind] = tuple(Kind),
    **changes: object,
) -> Made:
    """Make the objects of a study of the phantom; `changes` are of its specification."""
    one = case(folder, **changes)
    return made_of(one, study_of(one), folder, geometry=geometry, report_class=report_class, kinds=kinds)


def made_of(
    one: Case,
    study: StudyResult,
    folder: Path,
    *,
    geometry: Geometry = Geometry.VIEWER,
    report_class: ReportClass = ReportClass.COMPREHENSIVE_3D,
    kinds: Sequence[Kind] = tuple(Kind),
) -> Made:
    """Make the objects of these kinds of a study, as the line does it."""
    all_headers = {s.row: headers.read_header(s, one.paths()[s.row]) for s in study.sources}
    composed: list[tuple[Kind, str, Dataset]] = []
    segmentations: dict[str, list[str]] = {}
    for image in study.images:
        for result in image.results:
            built = compose_segmentation(AUTHOR, image.source, all_headers[image.source.row], result, geometry)
            if built is not None and Kind.SEG in kinds:
                composed.append((Kind.SEG, image.source.uid, built))
                segmentations.setdefault(image.source.uid, []).append(str(built.SOPInstanceUID))
    report = compose_report(AUTHOR, study, all_headers, segmentations, report_class)
    composed += [(Kind.SR, "", report)]
    composed += _besides(study, all_headers)
    composed += [(Kind.REJECTION, "", _rejection(one, study, all_headers, composed))]
    return Made(
        study=study,
        sources=one.paths(),
        objects=tuple(_kept(folder, *each) for each in composed if each[0] in kinds),
    )


def _besides(study: StudyResult, all_headers: dict[int, Dataset]) -> list[tuple[Kind, str, Dataset]]:
    found = [(Kind.PDF, "", document.compose_document(AUTHOR, study, all_headers))]
    if key_objects.positive(study):
        found += [(Kind.KOS, "", key_objects.compose_key_objects(AUTHOR, study, all_headers))]
    for image in study.images:
        header, facts = all_headers[image.source.row], image.source.facts
        preview = np.full((facts.rows // 2, facts.columns // 2), 90, dtype=np.uint8)
        found += [(Kind.SC, image.source.uid, capture.compose_capture(AUTHOR, image, header, preview))]
        found += [(Kind.GSPS, image.source.uid, presentation.compose_presentation(AUTHOR, image, header))]
    for number, _ in enumerate(pages.page_uids(AUTHOR, study), 1):
        found += [(Kind.PAGES, "", pages.compose_page(AUTHOR, study, all_headers, number))]
    return found


def _rejection(
    one: Case, study: StudyResult, all_headers: dict[int, Dataset], composed: Sequence[tuple[Kind, str, Dataset]]
) -> Dataset:
    rejected = [
        key_objects.Rejected(
            sop_class_uid=str(built.SOPClassUID),
            sop_instance_uid=str(built.SOPInstanceUID),
            series=str(built.SeriesInstanceUID),
        )
        for _, _, built in composed
    ]
    source = study.sources[0]
    return key_objects.compose_rejection(
        AUTHOR, study.study_uid, source, all_headers[source.row], rejected, "wrong_result"
    )


def _kept(folder: Path, kind: Kind, source: str, built: Dataset) -> Inspected:
    path = folder / f"{built.SOPInstanceUID}.dcm"
    path.write_bytes(encode.encoded(built, AUTHOR.software_version))
    return Inspected(kind=kind, sop_instance_uid=str(built.SOPInstanceUID), path=path, source=source)
