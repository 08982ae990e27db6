"""A Composer that writes small text instead of DICOM, under the same law: the same arguments, the same bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from cxrnode.domain.delivery import Geometry
from cxrnode.domain.finding import ModelResult, StudyResult, summary_of
from cxrnode.domain.identity import derived_uid
from cxrnode.domain.study import Instance
from cxrnode.ports import EvidenceObject

SEG, SR = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.88.33"


class FakeComposer:
    """Says in JSON what a SEG or SR would state."""

    report_class_uid = SR

    def segmentation_uid(self, source: Instance, result: ModelResult, geometry: Geometry) -> str:
        """Give the UID of the SEG."""
        return derived_uid("SEG", source.uid, source.description.header_digest, result.model.digest, geometry)

    def segmentation(
        self, source: Instance, path: Path, result: ModelResult, geometry: Geometry
    ) -> EvidenceObject | None:
        """Write the SEG; None where every mask is empty."""
        if not result.regions:
            return None
        uid = self.segmentation_uid(source, result, geometry)
        areas = {region.label: int(region.mask.sum()) for region in result.regions}
        return _object("SEG", SEG, uid, source.uid, result.model.name, {"areas": areas, "bytes": path.stat().st_size})

    def report_uid(self, study: StudyResult, segmentations: Mapping[str, Sequence[str]]) -> str:
        """Give the UID of the SR."""
        said = [[image.source.uid, [summary_of(r) for r in image.results], image.missing] for image in study.images]
        refused = [[one.source.uid, one.code] for one in study.refused]
        return derived_uid("SR", study.study_uid, study.predecessor, said, refused, dict(segmentations))

    def report(
        self, study: StudyResult, paths: Mapping[int, Path], segmentations: Mapping[str, Sequence[str]]
    ) -> EvidenceObject:
        """Write the SR."""
        assert all(path.is_file() for path in paths.values())
        content = {
            "predecessor": study.predecessor,
            "images": [image.source.uid for image in study.images],
            "refused": [[one.source.uid, one.code] for one in study.refused],
        }
        return _object("SR", SR, self.report_uid(study, segmentations), "", "", content)

    def predecessor_of(self, report: Path) -> str:
        """Give the predecessor that a kept SR names."""
        return str(json.loads(report.read_text())["predecessor"])


def _object(kind: str, sop_class: str, uid: str, source: str, model: str, content: object) -> EvidenceObject:
    assert isinstance(content, dict)
    return EvidenceObject(
        kind=kind,
        sop_class_uid=sop_class,
        sop_instance_uid=uid,
        series_uid=derived_uid("series", uid),
        source=source,
        model=model,
        encoded=json.dumps({"uid": uid, **content}, sort_keys=True).encode(),
    )
