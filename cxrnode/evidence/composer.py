"""The composer that the line uses: it implements ports.Composer.

Hides DICOM. Promises the same bytes for the same arguments, in this process and in any other, and that highdicom is
loaded when it is first needed: the node's port opens before.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from cxrnode import __version__
from cxrnode.domain.capability import REPORT_CLASSES, ReportClass
from cxrnode.domain.delivery import Geometry
from cxrnode.domain.finding import ModelResult, StudyResult
from cxrnode.domain.study import Instance
from cxrnode.errors import NeedsOperator, SettingsInvalid
from cxrnode.evidence.encode import encoded
from cxrnode.evidence.headers import read_header
from cxrnode.evidence.identity import Author, segmentation_uid
from cxrnode.ports import EvidenceObject

_NAME = re.compile(r"[\x20-\x5b\x5d-\x7e]{1,64}")
_OFFSET = re.compile(r"([+-][0-9]{4})?")


class EvidenceComposer:
    """Writes SEG and SR under one author."""

    def __init__(self, *, device_name: str, timezone_offset: str = "", software_version: str = __version__) -> None:
        """Name the device (its UID derives from the name) and the zone of local times that state none (`+0100`).

        Raises SettingsInvalid for a name that is not 1 to 64 printable ASCII characters, or an offset of another form.
        """
        if not _NAME.fullmatch(device_name):
            raise SettingsInvalid("the device name is not 1 to 64 printable ASCII characters without backslash")
        if not _OFFSET.fullmatch(timezone_offset):
            raise SettingsInvalid("the time zone offset is not of the form +0100")
        self.author = Author(
            device_name=device_name, software_version=software_version, timezone_offset=timezone_offset
        )

    @property
    def report_class_uid(self) -> str:
        """SOP Class UID of the reports it writes unless another is asked for."""
        return REPORT_CLASSES[ReportClass.COMPREHENSIVE]

    def predecessor_of(self, report: Path) -> str:
        """Give the SOP Instance UID that a kept report names as its predecessor, empty where it names none."""
        from cxrnode.evidence import report as reports

        return reports.predecessor_of(report)

    def segmentation_uid(self, source: Instance, result: ModelResult, geometry: Geometry) -> str:
        """Give the SOP Instance UID that `segmentation` would write."""
        return segmentation_uid(self.author, source, result, geometry)

    def segmentation(
        self, source: Instance, path: Path, result: ModelResult, geometry: Geometry
    ) -> EvidenceObject | None:
        """Compose the SEG of one model on one source; None where every mask is empty."""
        from cxrnode.evidence import segmentation as segmentations_

        header = read_header(source, path)
        built = segmentations_.compose_segmentation(self.author, source, header, result, geometry)
        if built is None:
            return None
        return EvidenceObject(
            kind="SEG",
            sop_class_uid=str(built.SOPClassUID),
            sop_instance_uid=str(built.SOPInstanceUID),
            series_uid=str(built.SeriesInstanceUID),
            source=source.uid,
            model=result.model.name,
            encoded=encoded(built, self.author.software_version),
        )

    def report_uid(
        self,
        study: StudyResult,
        segmentations: Mapping[str, Sequence[str]],
        report_class: ReportClass = ReportClass.COMPREHENSIVE,
    ) -> str:
        """Give the SOP Instance UID that `report` would write."""
        from cxrnode.evidence import report as reports

        return reports.report_uid(self.author, study, segmentations, report_class)

    def report(
        self,
        study: StudyResult,
        paths: Mapping[int, Path],
        segmentations: Mapping[str, Sequence[str]],
        report_class: ReportClass = ReportClass.COMPREHENSIVE,
    ) -> EvidenceObject:
        """Compose the SR of a study. `paths`: kept sources by row; `segmentations`: UIDs of SEGs by source UID."""
        from cxrnode.evidence import report as reports

        sources = reports.sources_of(study)
        if not sources:
            raise NeedsOperator("a report of no image", operation="compose evidence", subject=study.study_uid)
        headers = {source.row: read_header(source, paths[source.row]) for source in sources}
        built = reports.compose_report(self.author, study, headers, segmentations, report_class)
        return EvidenceObject(
            kind="SR",
            sop_class_uid=str(built.SOPClassUID),
            sop_instance_uid=str(built.SOPInstanceUID),
            series_uid=str(built.SeriesInstanceUID),
            source="",
            model="",
            encoded=encoded(built, self.author.software_version),
        )
