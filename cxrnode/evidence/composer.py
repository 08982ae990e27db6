"""The composer that the line uses: it implements ports.Composer.

Hides DICOM. Promises the same bytes for the same arguments, in this process and in any other, and that what writes an
object is loaded when it is first needed: the node's port opens before.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from cxrnode import __version__
from cxrnode.domain.capability import Choice, Kind
from cxrnode.domain.finding import StudyResult
from cxrnode.domain.study import Instance
from cxrnode.errors import SettingsInvalid
from cxrnode.evidence.identity import Author
from cxrnode.ports import Draft, KeptEvidence, Picture, ReportLink, StatedEvidence

if TYPE_CHECKING:
    from cxrnode.evidence.inspection import Inspector

_NAME = re.compile(r"[\x20-\x5b\x5d-\x7e]{1,64}")
_OFFSET = re.compile(r"([+-][0-9]{4})?")


class EvidenceComposer:
    """Writes evidence objects under one author, and looks at them before they leave."""

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

    def link_of(self, report: Path) -> ReportLink:
        """Give what a kept report says of its place in its line."""
        from cxrnode.evidence import report as reports

        return reports.link_of(report)

    def report_uid(self, study: StudyResult, choice: Choice) -> str:
        """Give the SOP Instance UID of the report among the drafts of the same arguments."""
        from cxrnode.evidence.drafts import Drafting

        return Drafting(author=self.author, study=study, choice=choice, paths={}, previews={}).report_uid()

    def drafts(
        self, study: StudyResult, choice: Choice, paths: Mapping[int, Path], previews: Mapping[int, Picture]
    ) -> Sequence[Draft]:
        """Give every object of a study that `choice` names, and its report in any case; SEGs before the report."""
        from cxrnode.evidence.drafts import Drafting

        work = Drafting(author=self.author, study=study, choice=choice, paths=paths, previews=previews)
        return work.drafts()

    def rejection(
        self,
        source: Instance,
        path: Path,
        rejected: Sequence[StatedEvidence],
        files: Mapping[str, Path],
        because: str,
    ) -> Draft:
        """Give the note that rejects these objects of the study of `source`."""
        from cxrnode.evidence.drafts import rejection_of

        return rejection_of(self.author, source, path, rejected, files, because)

    def inspect(
        self,
        study: StudyResult,
        kept: Sequence[KeptEvidence],
        files: Mapping[str, Path],
        paths: Mapping[int, Path],
    ) -> Mapping[str, str]:
        """Look at objects as they would leave; give by SOP Instance UID what is wrong with those that must not."""
        from cxrnode.evidence.inspection import Inspected

        seen = [
            Inspected(
                kind=Kind(one.kind.split()[0]),
                sop_instance_uid=one.sop_instance_uid,
                path=files[one.sop_instance_uid],
                source=one.source,
            )
            for one in kept
        ]
        return self._inspector.inspect(study, seen, paths)

    @cached_property
    def _inspector(self) -> Inspector:
        from cxrnode.evidence.inspection import Inspector

        return Inspector()
