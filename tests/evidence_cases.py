"""Sources, results and studies for the tests of the evidence room, made on the phantom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset

from cxrnode.domain.capability import ReportClass
from cxrnode.domain.delivery import Geometry
from cxrnode.domain.finding import (
    Box,
    Finding,
    ImageResult,
    Mask,
    Measurement,
    ModelIdentity,
    ModelResult,
    Presence,
    RefusedImage,
    Region,
    StudyResult,
)
from cxrnode.domain.identity import AETitle, InstanceUID
from cxrnode.domain.reasons import CAVEATS
from cxrnode.domain.selection import View
from cxrnode.domain.study import Arrival, Instance, Sender
from cxrnode.evidence import EvidenceComposer
from cxrnode.evidence.encode import encoded
from cxrnode.evidence.headers import read_header
from cxrnode.evidence.identity import segmentation_uid
from cxrnode.evidence.report import compose_report, report_uid
from cxrnode.evidence.segmentation import compose_segmentation, segmented
from cxrnode.phantom import Radiograph, study_of, write
from cxrnode.pixels.header import HeaderReader

LUNGS = ModelIdentity(name="lungs", version="0.1.0", digest="ab" * 32, backend="cpu torch fp32")
PNEUMOTHORAX = ModelIdentity(name="pneumothorax", version="0.2.0", digest="cd" * 32, backend="cpu torch fp32")
OPACITY = ModelIdentity(name="opacity", version="0.3.0", digest="ef" * 32, backend="cpu torch fp32")
CLASSIFIER = ModelIdentity(name="classifier", version="0.4.0", digest="01" * 32, backend="cpu torch fp32")
SENDER = Sender(calling_ae=AETitle("MODALITY"), called_ae=AETitle("CXRNODE"), address="127.0.0.1", association="1")


@dataclass(frozen=True)
class Case:
    """A frontal radiograph on disk, its instance, what the model said of it, and a lateral of the same study."""

    path: Path
    source: Instance
    result: ModelResult
    lateral_path: Path
    lateral: Instance

    def masks(self) -> dict[str, Mask]:
        """The masks by label."""
        return {region.label: region.mask for region in self.result.regions}

    def study(self, *, with_lateral: bool = False, predecessor: str = "") -> StudyResult:
        """The study's result: the frontal analysed, the lateral refused if it is in."""
        image = ImageResult(source=self.source, view=View.PA, results=(self.result,), caveats=("detector_plane",))
        refused = (RefusedImage(source=self.lateral, code="lateral"),) if with_lateral else ()
        return StudyResult(study_uid=self.source.study_uid, images=(image,), refused=refused, predecessor=predecessor)

    def full_study(self) -> StudyResult:
        """The study as all models saw it, one of them missing, with every caveat of an image; the lateral refused."""
        caveats = tuple(code for code in CAVEATS if code not in {"withheld", "area_share"})
        results = four_kinds(self.masks())
        image = ImageResult(
            source=self.source, view=View.AP, results=results, missing=(("gate", "model_failed"),), caveats=caveats
        )
        refused = (RefusedImage(source=self.lateral, code="not_frontal"),)
        return StudyResult(study_uid=self.source.study_uid, images=(image,), refused=refused)

    def paths(self) -> dict[int, Path]:
        """The kept sources by row."""
        return {self.source.row: self.path, self.lateral.row: self.lateral_path}

    def headers(self) -> dict[int, Dataset]:
        """What is read of the kept sources, by row."""
        return {source.row: read_header(source, self.paths()[source.row]) for source in (self.source, self.lateral)}


@dataclass(frozen=True)
class EvidenceObject:
    """A composed object; `encoded` is the whole DICOM file."""

    kind: str
    sop_class_uid: str
    sop_instance_uid: str
    series_uid: str
    encoded: bytes


class Writer(EvidenceComposer):
    """The composer, and single objects of it: the line asks for all that a destination gets."""

    def segmentation_uid(self, source: Instance, result: ModelResult, geometry: Geometry) -> str:
        """The UID that `segmentation` would write."""
        return segmentation_uid(self.author, source, result, geometry)

    def segmentation(
        self, source: Instance, path: Path, result: ModelResult, geometry: Geometry
    ) -> EvidenceObject | None:
        """The SEG of one model on one source; None where every mask is empty."""
        built = compose_segmentation(self.author, source, read_header(source, path), result, geometry)
        return self._finished("SEG", built) if built is not None else None

    def single_report_uid(
        self,
        study: StudyResult,
        segmentations: Mapping[str, Sequence[str]],
        report_class: ReportClass = ReportClass.COMPREHENSIVE_3D,
    ) -> str:
        """The UID that `report` would write."""
        return report_uid(self.author, study, segmentations, report_class)

    def report(
        self,
        study: StudyResult,
        paths: Mapping[int, Path],
        segmentations: Mapping[str, Sequence[str]],
        report_class: ReportClass = ReportClass.COMPREHENSIVE_3D,
    ) -> EvidenceObject:
        """The SR of a study."""
        headers = {source.row: read_header(source, paths[source.row]) for source in study.sources}
        return self._finished("SR", compose_report(self.author, study, headers, segmentations, report_class))

    def _finished(self, kind: str, built: Dataset) -> EvidenceObject:
        return EvidenceObject(
            kind=kind,
            sop_class_uid=str(built.SOPClassUID),
            sop_instance_uid=str(built.SOPInstanceUID),
            series_uid=str(built.SeriesInstanceUID),
            encoded=encoded(built, self.author.software_version),
        )


def composer(**changes: str) -> Writer:
    """A composer of a device that the tests name."""
    return Writer(**{"device_name": "CXRNODE-TEST", "timezone_offset": "+0100", **changes})


def instance_of(path: Path, row: int = 1) -> Instance:
    """Describe a file as the line does when it comes in."""
    header = pydicom.dcmread(path, stop_before_pixels=True, force=True)
    arrival = Arrival(
        path=path,
        sop_class_uid=str(header.SOPClassUID),
        sop_instance_uid=InstanceUID(str(header.SOPInstanceUID)),
        transfer_syntax_uid=str(header.file_meta.get("TransferSyntaxUID", "1.2.840.10008.1.2")),
        sender=SENDER,
    )
    description = HeaderReader().describe(arrival)
    return Instance(
        row=row, description=description, sender=SENDER, key="key", received_at=datetime(2026, 1, 2, tzinfo=UTC)
    )


def result_of(masks: dict[str, Mask], *, findings: bool = True) -> ModelResult:
    """What a model could say of these masks; the numbers are made up."""
    measurements = (
        Measurement(
            name="cardiothoracic_ratio",
            value=0.48765,
            unit="1",
            lines=(((100.0, 200.0), (300.1234, 200.0)), ((50.0, 250.0), (450.0, 250.0))),
        ),
        Measurement(name="area", value=12345.678, unit="mm2", region="right_lung", caveats=("detector_plane",)),
        Measurement(name="area", value=11345.4, unit="mm2", region="left_lung", caveats=("detector_plane",)),
        Measurement(name="lung_asymmetry", value=-0.01234, unit="1"),
    )
    box = Box(label="lung_opacity", probability=0.9, left=10.5, top=20, right=60, bottom=80)
    said = (
        Finding(name="pneumothorax", presence=Presence.ABSENT, probability=0.01, operating_point=0.5),
        Finding(name="lung_opacity", presence=Presence.PRESENT, probability=0.91, operating_point=0.5, boxes=(box,)),
    )
    regions = tuple(Region(label=label, mask=np.ascontiguousarray(m), model=LUNGS) for label, m in masks.items())
    return ModelResult(
        model=LUNGS,
        regions=regions,
        absent=("pneumothorax",),
        measurements=measurements,
        findings=said if findings else (),
    )


def four_kinds(masks: dict[str, Mask]) -> tuple[ModelResult, ...]:
    """What four models could say of one chest together: every kind of finding, with every caveat there is."""
    return (
        result_of(masks, findings=False),
        _pneumothorax_of(masks),
        ModelResult(model=OPACITY, findings=(_opacity(Presence.INDETERMINATE, "in_heart", "models_disagree"),)),
        ModelResult(model=CLASSIFIER, findings=_classified()),
    )


def _pneumothorax_of(masks: dict[str, Mask]) -> ModelResult:
    parts = {}
    for side in ("right", "left"):
        rows = np.flatnonzero(masks[f"{side}_lung"].any(axis=1))
        parts[f"{side}_pneumothorax"] = masks[f"{side}_lung"].copy()
        parts[f"{side}_pneumothorax"][rows[0] + len(rows) // 4 :] = False
    finding = Finding(
        name="pneumothorax",
        presence=Presence.PRESENT,
        probability=0.8123,
        operating_point=0.6,
        sides=("right", "left"),
        caveats=("withheld", "side_from_half", "outside_lungs", "other_side_stated"),
    )
    sizes = (("right_pneumothorax", 14.26), ("left_pneumothorax", 3.0))
    return ModelResult(
        model=PNEUMOTHORAX,
        regions=tuple(Region(label=label, mask=mask, model=PNEUMOTHORAX) for label, mask in parts.items()),
        measurements=tuple(
            Measurement(name="hemithorax_share", value=value, unit="%", region=label, caveats=("area_share",))
            for label, value in sizes
        ),
        findings=(finding,),
        leaning_on=(LUNGS,),
    )


def _opacity(presence: Presence, *caveats: str) -> Finding:
    boxes = tuple(
        Box(label="lung_opacity", probability=p, left=10.5, top=20, right=60, bottom=80 + 100 * p) for p in (0.9, 0.4)
    )
    return Finding(
        name="lung_opacity",
        presence=presence,
        probability=0.9,
        operating_point=0.5,
        band=(0.4, 0.95),
        boxes=boxes,
        caveats=caveats,
    )


def _classified() -> tuple[Finding, ...]:
    said = (
        ("covid19_pneumonia", Presence.INDETERMINATE, ("holds_for_adults", "outside_thorax")),
        ("viral_pneumonia", Presence.PRESENT, ("withheld", "holds_for_children")),
        ("lung_opacity", Presence.ABSENT, ()),
        ("abnormal_chest", Presence.PRESENT, ("normal_and_finding",)),
    )
    return tuple(
        Finding(name=name, presence=presence, probability=0.25, operating_point=0.5, caveats=caveats)
        for name, presence, caveats in said
    )


def segmentations_of(study: StudyResult, **author: str) -> dict[str, list[str]]:
    """The UIDs of the SEGs of a study's results, by source UID, as the line hands them to a report."""
    writer = composer(**author)
    return {
        image.source.uid: [
            writer.segmentation_uid(image.source, part, Geometry.VIEWER)
            for result in image.results
            for part in segmented(result, Geometry.VIEWER)
        ]
        for image in study.images
    }


def case(folder: Path, **changes: object) -> Case:
    """Make a case from the phantom; `changes` are of its specification."""
    specs: tuple[Radiograph, Radiograph] = study_of(**{"rows": 300, "cols": 261, **changes})  # type: ignore[arg-type]
    path, lateral_path = folder / "frontal.dcm", folder / "lateral.dcm"
    truth = write(specs[0], path).truth
    write(specs[1], lateral_path)
    masks = {label: getattr(truth, label) for label in ("right_lung", "left_lung", "heart")}
    return Case(
        path=path,
        source=instance_of(path),
        result=result_of(masks),
        lateral_path=lateral_path,
        lateral=instance_of(lateral_path, row=2),
    )


def kept(folder: Path, evidence: EvidenceObject | None) -> Path:
    """Write a composed object to disk."""
    assert evidence is not None
    path = folder / f"{evidence.sop_instance_uid}.dcm"
    path.write_bytes(evidence.encoded)
    return path
