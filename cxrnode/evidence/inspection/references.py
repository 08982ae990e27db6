"""Whether what an object refers to is there: a source of the study, another of our objects, or what it follows.

Hides the several places where DICOM lists instances. Promises that an instance is known, of the class and in the series
that it is said to be in, and listed where its class asks for it; and that a note of rejection never rejects an image.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from cxrnode.domain.capability import Kind
from cxrnode.domain.finding import StudyResult
from cxrnode.evidence.identity import series_uid
from cxrnode.evidence.inspection.reading import Item, every_item

_LISTS: Mapping[Kind, tuple[str, ...]] = {
    Kind.SEG: ("ReferencedSeriesSequence",),
    Kind.GSPS: ("ReferencedSeriesSequence",),
    Kind.SR: ("CurrentRequestedProcedureEvidenceSequence", "PertinentOtherEvidenceSequence"),
    Kind.KOS: ("CurrentRequestedProcedureEvidenceSequence",),
    Kind.REJECTION: ("CurrentRequestedProcedureEvidenceSequence",),
}
"""Where an object of a kind lists what it refers to (PS3.3 C.12.2, C.11.11, C.17.2, C.17.6.2); others have no list."""

_IN_SERIES = ("ReferencedSOPSequence", "ReferencedInstanceSequence", "ReferencedImageSequence")
_BEFORE = "PredecessorDocumentsSequence"
_OF_ONE_IMAGE = (Kind.SEG, Kind.GSPS, Kind.SC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """An instance that may be referred to: its class, and its series."""

    sop_class_uid: str
    series_uid: str
    source: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reference:
    path: str
    uid: str
    sop_class_uid: str


def unresolved(kind: Kind, source: str, root: Item, study: StudyResult, known: Mapping[str, Known]) -> Iterator[str]:
    """Give an objection for each reference that leads nowhere. `known`: by UID; `source`: the object's own."""
    items = [*every_item(root)]
    if kind is Kind.REJECTION:
        known = {**_taken_at_its_word(items), **{uid: one for uid, one in known.items() if one.source}}
    else:
        known = {**known, **_predecessor(root, study)}
    found = [*_references(items)]
    yield from _unknown(found, known)
    yield from _misplaced(items, study, known)
    yield from _unlisted(kind, found)
    if kind in _OF_ONE_IMAGE and source:
        others = {one.uid for one in found} - {source}
        yield from (f"refers to another image than its own: {uid}" for uid in sorted(others))
    if kind is Kind.REJECTION:
        rejected = (one for one in found if one.uid in known and known[one.uid].source)
        yield from (f"{one.path}ReferencedSOPInstanceUID: rejects an image that is not ours" for one in rejected)
    if kind is Kind.SR:
        yield from _out_of_line(found, study)


def referred_to(root: Item) -> frozenset[str]:
    """Give the SOP Instance UIDs of all that an object refers to."""
    return frozenset(one.uid for one in _references(every_item(root)))


def _references(items: Iterable[tuple[str, Item]]) -> Iterator[_Reference]:
    for path, item in items:
        if "ReferencedSOPInstanceUID" in item:
            uid, sop_class = item.text("ReferencedSOPInstanceUID"), item.text("ReferencedSOPClassUID")
            yield _Reference(path=path, uid=uid, sop_class_uid=sop_class)


def _predecessor(root: Item, study: StudyResult) -> dict[str, Known]:
    if not study.predecessor:
        return {}
    sop_class = study.predecessor_class or root.text("SOPClassUID")
    return {study.predecessor: Known(sop_class_uid=sop_class, series_uid=series_uid(study.predecessor))}


def _taken_at_its_word(items: Iterable[tuple[str, Item]]) -> dict[str, Known]:
    """Give what a note of rejection lists, which was sent before, as it lists it."""
    return {
        instance.text("ReferencedSOPInstanceUID"): Known(
            sop_class_uid=instance.text("ReferencedSOPClassUID"), series_uid=series.text("SeriesInstanceUID")
        )
        for _, series in _series_lists(items)
        for keyword in _IN_SERIES
        for instance in series.items(keyword)
    }


def _unknown(found: list[_Reference], known: Mapping[str, Known]) -> Iterator[str]:
    for one in found:
        if one.uid not in known:
            yield f"{one.path}ReferencedSOPInstanceUID: neither a source of the study nor one of our objects"
        elif one.sop_class_uid != known[one.uid].sop_class_uid:
            yield f"{one.path}ReferencedSOPClassUID: not the class of that instance"


def _misplaced(items: Sequence[tuple[str, Item]], study: StudyResult, known: Mapping[str, Known]) -> Iterator[str]:
    for path, item in items:
        if path and "StudyInstanceUID" in item and item.text("StudyInstanceUID") != study.study_uid:
            yield f"{path}StudyInstanceUID: another study"
    for path, series in _series_lists(items):
        for keyword in _IN_SERIES:
            uids = [one.text("ReferencedSOPInstanceUID") for one in series.items(keyword)]
            if any(uid in known and known[uid].series_uid != series.text("SeriesInstanceUID") for uid in uids):
                yield f"{path}SeriesInstanceUID: not the series of what is listed in it"


def _series_lists(items: Iterable[tuple[str, Item]]) -> Iterator[tuple[str, Item]]:
    return ((path, item) for path, item in items if path and "SeriesInstanceUID" in item)


def _unlisted(kind: Kind, found: list[_Reference]) -> Iterator[str]:
    """Whatever is referred to elsewhere in the object stands in its list, too."""
    lists = _LISTS.get(kind, ())
    if not lists:
        return
    listed = {one.uid for one in found if one.path.startswith(lists)}
    for one in found:
        if one.uid not in listed and not one.path.startswith(_BEFORE):
            yield f"{one.path}ReferencedSOPInstanceUID: not in {lists[0]}"


def _out_of_line(found: list[_Reference], study: StudyResult) -> Iterator[str]:
    """A report names the one that it follows, and every image that it speaks of."""
    before = {one.uid for one in found if one.path.startswith(_BEFORE)}
    if before != ({study.predecessor} if study.predecessor else set()):
        yield f"{_BEFORE}: not the report that this one follows"
    listed = {one.uid for one in found if one.path.startswith(_LISTS[Kind.SR])}
    for number, source in enumerate(study.sources, 1):
        if source.uid not in listed:
            yield f"{_LISTS[Kind.SR][0]}: image {number} of {len(study.sources)} is not in it"
