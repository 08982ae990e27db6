"""A Composer that writes small text instead of DICOM, under the same law: the same arguments, the same bytes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from cxrnode.domain.capability import CLASSES, Choice, Kind, class_of
from cxrnode.domain.finding import StudyResult, summary_of
from cxrnode.domain.identity import derived_uid
from cxrnode.domain.study import Instance
from cxrnode.ports import Draft, KeptEvidence, Picture, ReportLink, StatedEvidence

_OF_IMAGES = {Kind.GSPS, Kind.SC, Kind.KOS}
"""What is not made where nothing was analysed."""


class FakeComposer:
    """Says in JSON what an object would state."""

    def __init__(self) -> None:
        self.objecting: dict[Kind, str] = {}
        """What the inspection says of every object of a kind."""
        self.composed: list[Kind] = []

    def link_of(self, report: Path) -> ReportLink:
        """Give the place in its line that a kept SR names."""
        said = json.loads(report.read_text())
        return ReportLink(
            sop_class_uid=said["class"],
            revision=said["revision"],
            predecessor=said["predecessor"],
            predecessor_class=said["predecessor_class"],
        )

    def report_uid(self, study: StudyResult, choice: Choice) -> str:
        """Give the UID of the SR."""
        return derived_uid("SR", study.study_uid, choice.report_line, self._segmentations(study, choice), _said(study))

    def drafts(
        self, study: StudyResult, choice: Choice, paths: Mapping[int, Path], previews: Mapping[int, Picture]
    ) -> Sequence[Draft]:
        """Draft a SEG for each result that outlines, the SR, and one object of each other kind that is chosen."""
        assert all(paths[source.row].is_file() for source in study.sources)
        return list(self._drafts(study, choice, previews))

    def rejection(
        self,
        source: Instance,
        path: Path,
        rejected: Sequence[StatedEvidence],
        files: Mapping[str, Path],
        because: str,
    ) -> Draft:
        """Draft the note."""
        pages = [one for one in rejected if one.kind.startswith(Kind.PAGES)]
        assert path.is_file() and all(files[one.sop_instance_uid].is_file() for one in pages)
        uids = sorted(one.sop_instance_uid for one in rejected)
        uid = derived_uid("REJECTION", source.study_uid, uids, because)
        return self._draft(Kind.REJECTION, uid, CLASSES[Kind.REJECTION], {"rejected": uids, "because": because})

    def inspect(
        self,
        study: StudyResult,
        kept: Sequence[KeptEvidence],
        files: Mapping[str, Path],
        paths: Mapping[int, Path],
    ) -> Mapping[str, str]:
        """Object to the kinds of `objecting`."""
        assert all(files[one.sop_instance_uid].is_file() for one in kept)
        return {
            one.sop_instance_uid: text
            for one in kept
            for kind, text in self.objecting.items()
            if one.kind.split()[0] == kind
        }

    def _drafts(self, study: StudyResult, choice: Choice, previews: Mapping[int, Picture]) -> Iterator[Draft]:
        for image in study.images:
            for result in (r for r in image.results if r.regions and Kind.SEG in choice.kinds):
                uid = self._segmentation_uid(image.source, result.model.digest, choice)
                areas = {region.label: int(region.mask.sum()) for region in result.regions}
                sop_class = class_of(Kind.SEG, choice.report_class)
                yield self._draft(
                    Kind.SEG, uid, sop_class, {"areas": areas}, source=image.source.uid, model=result.model.name
                )
        content = {
            "class": class_of(Kind.SR, choice.report_class),
            "revision": study.revision,
            "predecessor": study.predecessor,
            "predecessor_class": study.predecessor_class,
            "retraction": study.retraction,
            "images": [image.source.uid for image in study.images],
            "refused": [[one.source.uid, one.code] for one in study.refused],
            "segmentations": self._segmentations(study, choice),
        }
        uid = self.report_uid(study, choice)
        yield self._draft(Kind.SR, uid, content["class"], content, line=choice.report_line)
        for kind in set(choice.kinds) - {Kind.SEG, Kind.SR} - (set() if study.images else _OF_IMAGES):
            pictured = sorted(previews) if kind is Kind.SC else []
            uid = derived_uid(kind, study.study_uid, _said(study), pictured)
            sop_class = class_of(kind, choice.report_class)
            yield self._draft(kind, uid, sop_class, {"pictures": pictured})

    def _segmentations(self, study: StudyResult, choice: Choice) -> list[str]:
        if Kind.SEG not in choice.kinds:
            return []
        return [
            self._segmentation_uid(image.source, result.model.digest, choice)
            for image in study.images
            for result in image.results
            if result.regions
        ]

    def _segmentation_uid(self, source: Instance, digest: str, choice: Choice) -> str:
        return derived_uid("SEG", source.uid, source.description.header_digest, digest, choice.geometry)

    def _draft(
        self,
        kind: Kind,
        uid: str,
        sop_class: str,
        content: Mapping[str, object],
        *,
        line: str = "",
        source: str = "",
        model: str = "",
    ) -> Draft:
        def compose() -> bytes:
            self.composed.append(kind)
            return json.dumps({"uid": uid, "kind": kind, **content}, sort_keys=True).encode()

        return Draft(
            kind=kind,
            line=line or str(kind),
            sop_class_uid=sop_class,
            sop_instance_uid=uid,
            source=source,
            model=model,
            compose=compose,
        )


def _said(study: StudyResult) -> list[object]:
    """All that a study's report states."""
    images = [[image.source.uid, [summary_of(r) for r in image.results], image.missing] for image in study.images]
    refused = [[one.source.uid, one.code] for one in study.refused]
    taken_back = [study.retraction, [source.uid for source in study.retracted]]
    return [images, refused, taken_back, study.predecessor, study.predecessor_class, study.revision]
