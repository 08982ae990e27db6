"""The content tree of a measurement report (PS3.16 TID 1500), built from statements.

Hides the grammar: relationships, templates, purposes of reference. Promises the exact standard code meanings (viewers
match them as text), a coordinate in every measurement group, and no attribute that depends on anything but the
statements.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes as standard
from pydicom.sr.coding import Code

from cxrnode.domain.capability import SEGMENTATION
from cxrnode.domain.finding import ModelIdentity
from cxrnode.domain.selection import OWN_MANUFACTURER
from cxrnode.domain.study import Instance
from cxrnode.evidence import codes
from cxrnode.evidence.identity import Author
from cxrnode.evidence.items import code_item, data_set, reference
from cxrnode.evidence.statements import Group, Note, Number

CONTAINS = "CONTAINS"
CONTEXT = "HAS OBS CONTEXT"
ACQUIRED = "HAS ACQ CONTEXT"
MODIFIER = "HAS CONCEPT MOD"
INFERRED = "INFERRED FROM"
SELECTED = "SELECTED FROM"

_MEASUREMENT_REPORT = Code("126000", "DCM", "Imaging Measurement Report")  # CID 7021
_IMAGING_REPORT = Code("18748-4", "LN", "Diagnostic Imaging Report")  # CID 7000
_MEASUREMENT_GROUP = Code("125007", "DCM", "Measurement Group")
_QUALITATIVE_EVALUATIONS = Code("C0034375", "UMLS", "Qualitative Evaluations")
_IMAGING_PROCEDURE = Code("363679005", "SCT", "Imaging procedure")  # CID 100
_ENGLISH = Code("en", "RFC5646", "English")
_FINDING_CATEGORY = Code("276214006", "SCT", "Finding category")
_GEOMETRIC_PURPOSE = Code("130400", "DCM", "Geometric purpose of region")
_BOUNDED_BY = Code("75958009", "SCT", "Bounded by")
_IMAGE_REGION = Code("111030", "DCM", "Image Region")
_FINDING_SITE = Code("363698007", "SCT", "Finding Site")
_LATERALITY = Code("272741003", "SCT", "Laterality")
_SOURCE = Code("260753009", "SCT", "Source")


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """The frame of a SEG that shows a tracked region."""

    sop_instance_uid: str
    number: int


def report_tree(
    author: Author,
    sources: Sequence[Instance],
    groups: Sequence[Group],
    notes: Sequence[Note],
    frames: Mapping[str, Frame],
) -> Dataset:
    """Build the root container. `sources`: all images spoken of; `frames`: by tracking UID.

    Where nothing was measured it is no measurement report: OHIF opens an empty page for one without groups, but prints
    what has another title.
    """
    by_uid: dict[str, Instance] = {source.uid: source for source in sources}
    below = [*_context(author), _image_library(sources)]
    if groups:
        measured = [item for group in groups for item in _measurement_groups(group, by_uid[group.source], frames)]
        below.append(_container(Code("126010", "DCM", "Imaging Measurements"), measured))
    # The template's order: codes before sentences.
    said = [_reason(note, note.concept, note.reason, by_uid) for note in notes if note.concept and note.reason]
    said.append(_text(codes.INTENDED_USE_CONCEPT, codes.INTENDED_USE, CONTAINS))
    said += [_text(codes.COMMENT, note.text, CONTAINS, *_of(note, by_uid)) for note in notes]
    below.append(_container(_QUALITATIVE_EVALUATIONS, said))
    if groups:
        return _container(_MEASUREMENT_REPORT, below, relationship="", template="1500")
    return _container(_IMAGING_REPORT, below, relationship="")


def _context(author: Author) -> Iterator[Dataset]:
    """Language (TID 1204), the device that observes (TID 1002, 1004), procedure reported."""
    yield _code(standard.DCM.LanguageOfContentItemAndDescendants, _ENGLISH, MODIFIER)
    yield _code(standard.DCM.ObserverType, standard.DCM.Device, CONTEXT)
    yield _uid(standard.DCM.DeviceObserverUID, author.device_uid, CONTEXT)
    yield _text(standard.DCM.DeviceObserverName, author.device_name, CONTEXT)
    yield _text(standard.DCM.DeviceObserverManufacturer, OWN_MANUFACTURER, CONTEXT)
    yield _text(standard.DCM.DeviceObserverModelName, "cxrnode", CONTEXT)
    yield _text(standard.DCM.DeviceObserverSerialNumber, author.device_name, CONTEXT)
    yield _code(standard.DCM.ProcedureReported, _IMAGING_PROCEDURE, MODIFIER)


def _image_library(sources: Sequence[Instance]) -> Dataset:
    """List the images that the report speaks of, analysed or not (TID 1600), numbered where there are several."""
    images = [_image(_SOURCE, source, CONTAINS, *_numbered(sources, place)) for place, source in enumerate(sources, 1)]
    entries = _container(Code("126200", "DCM", "Image Library Group"), images)
    return _container(Code("111028", "DCM", "Image Library"), [entries], template="1600")


def _numbered(sources: Sequence[Instance], place: int) -> Iterator[Dataset]:
    if len(sources) > 1:
        yield _text(codes.COMMENT, f"Image {place}", ACQUIRED)


def _measurement_groups(group: Group, source: Instance, frames: Mapping[str, Frame]) -> Iterator[Dataset]:
    """The group with its coordinates, and one of the same tracking UID for the SEG frame that shows the region.

    Where there is a frame, the numbers stand with the frame: they are the region's, not those of the box around it.
    Viewers join the two by their tracking UID.
    """
    shown = frames.get(group.tracking_uid) if group.region else None
    yield _measurement_group(group, _outline(group, source), () if shown else _said(group))
    if shown:
        yield _measurement_group(group, _segment(shown, source), _said(group))


def _measurement_group(group: Group, place: Iterable[Dataset], said: Iterable[Dataset]) -> Dataset:
    """Name the algorithm once, for all that the group says (TID 4019), after what a person looks for."""
    items = [*_tracking(group), *_described(group), *place, *said, *_algorithm(group.model, group.leaning_on)]
    return _container(_MEASUREMENT_GROUP, items, template="1410")


def _tracking(group: Group) -> Iterator[Dataset]:
    yield _text(standard.DCM.TrackingIdentifier, group.title, CONTEXT)
    yield _uid(standard.DCM.TrackingUniqueIdentifier, group.tracking_uid, CONTEXT)


def _described(group: Group) -> Iterator[Dataset]:
    """What it is and where it is."""
    if group.category:
        yield _code(_FINDING_CATEGORY, group.category, CONTAINS)
    if group.finding:
        yield _code(standard.DCM.Finding, group.finding, CONTAINS)
    if group.site:
        side = [_code(_LATERALITY, group.laterality, MODIFIER)] if group.laterality else []
        yield _code(_FINDING_SITE, group.site, MODIFIER, *side)


@lru_cache(maxsize=64)
def _algorithm(model: ModelIdentity, leaning_on: tuple[ModelIdentity, ...]) -> tuple[Dataset, ...]:
    """PS3.16 TID 4019; other models that it needed are its parameters. The whole of each stands in the header.

    The same items for every group that names it: they are composed, proved and encoded once.
    """
    digests = [f"digest={model.digest}", *(f"with={one.name} {one.version} {one.digest}" for one in leaning_on)]
    return (
        _text(standard.DCM.AlgorithmName, model.name, MODIFIER),
        _text(standard.DCM.AlgorithmVersion, model.version, MODIFIER),
        *(_text(standard.DCM.AlgorithmParameters, digest, MODIFIER) for digest in digests),
    )


def _outline(group: Group, source: Instance) -> Iterator[Dataset]:
    if group.bounded_by:
        yield _code(_GEOMETRIC_PURPOSE, _BOUNDED_BY, CONTAINS)
    corners = np.array(group.outline, dtype=np.float32).ravel().tolist()
    image = _image(standard.DCM.SourceOfMeasurement, source, SELECTED)
    yield _item("SCOORD", _IMAGE_REGION, CONTAINS, image, GraphicData=corners, GraphicType="POLYLINE")


def _segment(frame: Frame, source: Instance) -> Iterator[Dataset]:
    """A frame number and no segment number: both together are an error (PS3.3 C.18.4.1, type 1C)."""
    seg = reference(SEGMENTATION, frame.sop_instance_uid)
    seg.update(data_set(ReferencedFrameNumber=frame.number))
    yield _item("IMAGE", standard.DCM.ReferencedSegmentationFrame, CONTAINS, ReferencedSOPSequence=[seg])
    yield _image(standard.DCM.SourceImageForSegmentation, source, CONTAINS)


def _said(group: Group) -> Iterator[Dataset]:
    for number in group.numbers:
        yield _num(number)
    for concept, judgment in group.judgments:
        yield _code(concept, judgment, CONTAINS)
    for caveat in group.caveats:
        yield _text(codes.COMMENT, caveat, CONTAINS)


def _reason(note: Note, concept: Code, reason: Code, sources: Mapping[str, Instance]) -> Dataset:
    return _code(concept, reason, CONTAINS, *_of(note, sources))


def _of(note: Note, sources: Mapping[str, Instance]) -> Iterator[Dataset]:
    """Say which image a note is about."""
    if note.source:
        yield _image(standard.DCM.SourceOfMeasurement, sources[note.source], INFERRED)


def _container(name: Code, below: Sequence[Dataset], *, relationship: str = CONTAINS, template: str = "") -> Dataset:
    # Separate: DCMTK leaves the names out of what is continuous text.
    told = {"ContentTemplateSequence": [_template(template)]} if template else {}
    return _item("CONTAINER", name, relationship, *below, ContinuityOfContent="SEPARATE", **told)


@cache
def _template(identifier: str) -> Dataset:
    return data_set(MappingResource="DCMR", TemplateIdentifier=identifier)


def _code(name: Code, value: Code, relationship: str, *below: Dataset) -> Dataset:
    return _item("CODE", name, relationship, *below, ConceptCodeSequence=[code_item(value)])


def _text(name: Code, value: str, relationship: str, *below: Dataset) -> Dataset:
    return _item("TEXT", name, relationship, *below, TextValue=codes.plain(value, 1024))


def _uid(name: Code, value: str, relationship: str) -> Dataset:
    return _item("UIDREF", name, relationship, UID=value)


def _num(number: Number) -> Dataset:
    """A number as its printed text alone: a binary floating point value beside it would be another number."""
    measured = data_set(NumericValue=number.text, MeasurementUnitsCodeSequence=[code_item(number.unit)])
    return _item("NUM", number.concept, CONTAINS, MeasuredValueSequence=[measured])


def _image(name: Code, source: Instance, relationship: str, *below: Dataset) -> Dataset:
    image = reference(source.description.sop_class_uid, source.uid)
    return _item("IMAGE", name, relationship, *below, ReferencedSOPSequence=[image])


def _item(kind: str, name: Code, relationship: str, *below: Dataset, **value: object) -> Dataset:
    """Make a content item (PS3.3 C.17.3) over those `below` it; the root has no relationship."""
    if relationship:
        value["RelationshipType"] = relationship
    if below:
        value["ContentSequence"] = list(below)
    return data_set(ValueType=kind, ConceptNameCodeSequence=[code_item(name)], **value)
