"""Compose: one SEG a source and model, one SR a study, for each geometry that a destination asked for.

Hides which evidence is there already. Promises that what is kept wins over composing again (law 4), and that a
study which says the same again gets the same report again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from cxrnode.domain.delivery import Destination, Geometry
from cxrnode.domain.finding import ImageResult, ModelResult, RefusedImage, StudyResult
from cxrnode.domain.reasons import REASONS
from cxrnode.domain.study import Instance
from cxrnode.pipeline.plan import Plan
from cxrnode.ports import Archive, Claim, Composer, EvidenceObject, KeptEvidence
from cxrnode.telemetry import Event, tell

SEGMENTATION_STORAGE = "1.2.840.10008.5.1.4.1.1.66.4"


class Composing:
    """Makes and keeps the evidence of a job."""

    def __init__(self, *, plan: Plan, archive: Archive, composer: Composer) -> None:
        """Compose it over its ports."""
        self._plan = plan
        self._archive = archive
        self._composer = composer

    def compose(
        self, claim: Claim, images: Sequence[ImageResult], refused: Sequence[RefusedImage]
    ) -> list[KeptEvidence]:
        """Give the evidence of these statements, kept; none where nobody wants to hear that nothing was analysed."""
        destinations = [d for d in self._plan.destinations if d.name in claim.destinations]
        told = tuple(sorted((r for r in refused if REASONS[r.code].candidate), key=lambda r: r.source.uid))
        if not images:
            destinations = [d for d in destinations if d.not_analysed]
        if not images and not (told and destinations):
            return []
        study = StudyResult(
            study_uid=claim.study_uid,
            images=tuple(sorted(images, key=lambda image: image.source.uid)),
            refused=told,
        )
        kept: list[KeptEvidence] = []
        for geometry in _geometries(destinations):
            names = tuple(d.name for d in destinations if d.geometry is geometry)
            kept += self._compose_for(claim, study, geometry, names)
        return kept

    def _compose_for(
        self, claim: Claim, study: StudyResult, geometry: Geometry, names: tuple[str, ...]
    ) -> list[KeptEvidence]:
        segmentations: dict[str, list[KeptEvidence]] = {}
        for image in study.images:
            found = (self._keep_segmentation(image.source, result, geometry, names) for result in image.results)
            segmentations[image.source.uid] = [seg for seg in found if seg]
        report = self._keep_report(claim, study, segmentations, geometry, names)
        return [*(seg for segs in segmentations.values() for seg in segs), report]

    def _keep_segmentation(
        self, source: Instance, result: ModelResult, geometry: Geometry, names: tuple[str, ...]
    ) -> KeptEvidence | None:
        if not result.regions:
            return None
        uid = self._composer.segmentation_uid(source, result, geometry)
        composed: EvidenceObject | None = None
        if self._archive.kept_evidence(uid) is None:
            composed = self._composer.segmentation(source, self._archive.path(source.key), result, geometry)
            if composed is None:
                return None
        return self._keep("SEG", SEGMENTATION_STORAGE, uid, composed, source.uid, result.model.name, names)

    def _keep_report(
        self,
        claim: Claim,
        study: StudyResult,
        segmentations: Mapping[str, Sequence[KeptEvidence]],
        geometry: Geometry,
        names: tuple[str, ...],
    ) -> KeptEvidence:
        uids = {source: [seg.sop_instance_uid for seg in segs] for source, segs in segmentations.items()}
        kind = report_kind(geometry)
        study = self._after_its_predecessor(study, uids, claim.reports.get(kind, ""))
        uid = self._composer.report_uid(study, uids)
        composed: EvidenceObject | None = None
        if self._archive.kept_evidence(uid) is None:
            sources = [i.source for i in study.images] + [r.source for r in study.refused]
            composed = self._composer.report(
                study,
                {source.row: self._archive.path(source.key) for source in sources},
                uids,
            )
        return self._keep(kind, self._composer.report_class_uid, uid, composed, "", "", names)

    def _after_its_predecessor(
        self, study: StudyResult, uids: Mapping[str, Sequence[str]], predecessor: str
    ) -> StudyResult:
        """Name the report that this one follows; a study that says the same again gets the same report again."""
        key = self._archive.kept_evidence(predecessor) if predecessor else None
        if key is None:
            return study
        unchanged = replace(study, predecessor=self._composer.predecessor_of(self._archive.path(key)))
        if self._composer.report_uid(unchanged, uids) == predecessor:
            return unchanged
        return replace(study, predecessor=predecessor)

    def _keep(
        self,
        kind: str,
        sop_class_uid: str,
        uid: str,
        composed: EvidenceObject | None,
        source: str,
        model: str,
        names: tuple[str, ...],
    ) -> KeptEvidence:
        if composed is not None:
            self._archive.keep_evidence(uid, composed.encoded)
            tell(Event.EVIDENCE_KEPT, evidence=uid, sop_class=sop_class_uid, instance=source, model=model)
        key = self._archive.kept_evidence(uid)
        assert key is not None  # kept before, or just now
        return KeptEvidence(
            kind=kind,
            sop_class_uid=sop_class_uid,
            sop_instance_uid=uid,
            source=source,
            model=model,
            key=key,
            sha256=_sha256(self._archive.path(key)),
            destinations=names,
        )


def report_kind(geometry: Geometry) -> str:
    """Name the kind of a report in the ledger: reports for each geometry follow each other."""
    return "SR" if geometry is Geometry.VIEWER else "SR-strict"


def _geometries(destinations: Sequence[Destination]) -> list[Geometry]:
    """Give the geometries to compose for; evidence is kept even where nobody gets it."""
    return sorted({d.geometry for d in destinations}) or [Geometry.VIEWER]


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
