"""The objects of one study for destinations that get the same, each before its bytes.

Hides which module writes which kind. Promises that a draft's UID needs no file and no pixel, that a source's header is
read once for all of them, and that what refers to another object comes after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset

from cxrnode.domain.capability import CLASSES, Choice, Kind, class_of
from cxrnode.domain.finding import ImageResult, ModelResult, StudyResult
from cxrnode.domain.study import Instance
from cxrnode.errors import Retryable
from cxrnode.evidence import capture, document, key_objects, pages, presentation, report
from cxrnode.evidence.encode import encoded
from cxrnode.evidence.headers import read_header
from cxrnode.evidence.identity import Author, segmentation_uid
from cxrnode.evidence.segmentation import compose_segmentation, segmented
from cxrnode.ports import Draft, Picture, StatedEvidence


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Drafting:
    """One study, one choice, and what its objects are made of."""

    author: Author
    study: StudyResult
    choice: Choice
    paths: Mapping[int, Path]
    previews: Mapping[int, Picture]
    _read: dict[int, Dataset] = field(default_factory=dict)

    def drafts(self) -> list[Draft]:
        """Give every object that the choice names, and the report in any case."""
        wanted = {*self.choice.kinds, Kind.SR}
        return [draft for kind, make in _MAKERS.items() if kind in wanted for draft in make(self)]

    def report_uid(self) -> str:
        """Give the UID of the report."""
        return report.report_uid(self.author, self.study, self.segmentations(), self.choice.report_class)

    def segmentations(self) -> dict[str, list[str]]:
        """Give by source UID the SEGs that go with the report, in the order of the results and their regions."""
        if Kind.SEG not in self.choice.kinds:
            return {}
        return {
            image.source.uid: [self.seg_uid(image, one) for one in self.segmented(image)] for image in self.study.images
        }

    def segmented(self, image: ImageResult) -> list[ModelResult]:
        """Give what each SEG on an image shows."""
        return [part for result in image.results for part in segmented(result, self.choice.geometry)]

    def seg_uid(self, image: ImageResult, result: ModelResult) -> str:
        """Give the UID of one model's SEG on an image."""
        return segmentation_uid(self.author, image.source, result, self.choice.geometry)

    def header(self, source: Instance) -> Dataset:
        """Give what is taken over from a source, read once."""
        if source.row not in self._read:
            self._read[source.row] = read_header(source, self.paths[source.row])
        return self._read[source.row]

    def headers(self) -> dict[int, Dataset]:
        """Give the headers of every source, by row."""
        return {source.row: self.header(source) for source in self.study.sources}

    def picture(self, source: Instance) -> Picture:
        """Give a source's display image. Raises Retryable where none came with the prediction."""
        if source.row not in self.previews:
            raise Retryable("its display image was not asked for", operation="compose evidence", subject=source.uid)
        return self.previews[source.row]

    def draft(
        self,
        kind: Kind,
        uid: str,
        compose: Callable[[], Dataset],
        *,
        line: str = "",
        source: str = "",
        model: str = "",
    ) -> Draft:
        """Give a draft of one kind; `compose` gives its finished data set."""
        return Draft(
            kind=kind,
            line=line or str(kind),
            sop_class_uid=class_of(kind, self.choice.report_class),
            sop_instance_uid=uid,
            source=source,
            model=model,
            compose=lambda: encoded(compose(), self.author.software_version),
        )


def _segmentations(work: Drafting) -> Iterator[Draft]:
    for image in work.study.images:
        for result in work.segmented(image):
            yield work.draft(
                Kind.SEG,
                work.seg_uid(image, result),
                partial(_segmentation, work, image, result),
                source=image.source.uid,
                model=result.model.name,
            )


def _segmentation(work: Drafting, image: ImageResult, result: ModelResult) -> Dataset:
    header = work.header(image.source)
    built = compose_segmentation(work.author, image.source, header, result, work.choice.geometry)
    assert built is not None  # it outlines something
    return built


def _report(work: Drafting) -> Iterator[Draft]:
    yield work.draft(Kind.SR, work.report_uid(), partial(_written_report, work), line=work.choice.report_line)


def _written_report(work: Drafting) -> Dataset:
    how = work.segmentations(), work.choice.report_class
    return report.compose_report(work.author, work.study, work.headers(), *how)


def _presentation_states(work: Drafting) -> Iterator[Draft]:
    for image in work.study.images:
        uid = presentation.presentation_uid(work.author, image)
        yield work.draft(Kind.GSPS, uid, partial(_presentation_state, work, image), source=image.source.uid)


def _presentation_state(work: Drafting, image: ImageResult) -> Dataset:
    return presentation.compose_presentation(work.author, image, work.header(image.source))


def _captures(work: Drafting) -> Iterator[Draft]:
    for image in work.study.images:
        uid = capture.capture_uid(work.author, image)
        yield work.draft(Kind.SC, uid, partial(_capture, work, image), source=image.source.uid)


def _capture(work: Drafting, image: ImageResult) -> Dataset:
    return capture.compose_capture(work.author, image, work.header(image.source), work.picture(image.source))


def _document(work: Drafting) -> Iterator[Draft]:
    given = work.author, work.study
    uid = document.document_uid(*given)
    yield work.draft(Kind.PDF, uid, lambda: document.compose_document(*given, work.headers()))


def _pages(work: Drafting) -> Iterator[Draft]:
    for number, uid in enumerate(pages.page_uids(work.author, work.study), 1):
        yield work.draft(Kind.PAGES, uid, partial(_page, work, number))


def _page(work: Drafting, number: int) -> Dataset:
    return pages.compose_page(work.author, work.study, work.headers(), number)


def _key_objects(work: Drafting) -> Iterator[Draft]:
    if key_objects.positive(work.study):
        given = work.author, work.study
        uid = key_objects.key_objects_uid(*given)
        yield work.draft(Kind.KOS, uid, lambda: key_objects.compose_key_objects(*given, work.headers()))


_MAKERS: dict[Kind, Callable[[Drafting], Iterator[Draft]]] = {
    Kind.SEG: _segmentations,
    Kind.SR: _report,
    Kind.GSPS: _presentation_states,
    Kind.SC: _captures,
    Kind.PDF: _document,
    Kind.PAGES: _pages,
    Kind.KOS: _key_objects,
}


def rejection_of(
    author: Author,
    source: Instance,
    path: Path,
    rejected: Sequence[StatedEvidence],
    files: Mapping[str, Path],
    because: str,
) -> Draft:
    """Give the note that rejects these objects; `files` are the objects by their UIDs, `path` is the kept source."""
    named = [
        key_objects.Rejected(
            sop_class_uid=one.sop_class_uid,
            sop_instance_uid=one.sop_instance_uid,
            series=_series_of(one, files[one.sop_instance_uid]),
        )
        for one in rejected
    ]

    def compose() -> bytes:
        header = read_header(source, path)
        built = key_objects.compose_rejection(author, source.study_uid, source, header, named, because)
        return encoded(built, author.software_version)

    return Draft(
        kind=Kind.REJECTION,
        line=str(Kind.REJECTION),
        sop_class_uid=CLASSES[Kind.REJECTION],
        sop_instance_uid=key_objects.rejection_uid(author, source.study_uid, source, named, because),
        source="",
        model="",
        compose=compose,
    )


def _series_of(one: StatedEvidence, file: Path) -> str:
    """Give the series that a kept object says it is in: pages share one. What was swept has one of its own."""
    if not one.kind.startswith(Kind.PAGES) and not file.is_file():
        return ""
    return str(pydicom.dcmread(file, specific_tags=["SeriesInstanceUID"], stop_before_pixels=True).SeriesInstanceUID)
