"""The content tree of a measurement report (PS3.16 TID 1500), built from statements.

Hides the grammar: relationships, templates, purposes of reference. Promises the exact standard code meanings (viewers
match them as text), a coordinate in every measurement group, and no attribute that depends on anything but the
statements.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import highdicom as hd
import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.sr.codedict import codes as standard
from pydicom.sr.coding import Code

from cxrnode.domain.capability import SEGMENTATION
from cxrnode.domain.finding import ModelIdentity
from cxrnode.domain.selection import OWN_MANUFACTURER
from cxrnode.domain.study import Instance
from cxrnode.evidence import codes
from cxrnode.evidence.identity import Author
from cxrnode.evidence.statements import Group, Note, Number

CONTAINS = "CONTAINS"
CONTEXT = "HAS OBS CONTEXT"
MODIFIER = "HAS CONCEPT MOD"
INFERRED = "INFERRED FROM"
SELECTED = "SELECTED FROM"

_MEASUREMENT_GROUP = Code("125007", "DCM", "Measurement Group")
_QUALITATIVE_EVALUATIONS = Code("C0034375", "UMLS", "Qualitative Evaluations")
_IMAGING_PROCEDURE = Code("363679005", "SCT", "Imaging procedure")  # CID 100
_ENGLISH = Code("en", "RFC5646", "English")
_FINDING_CATEGORY = Code("276214006", "SCT", "Finding category")
_GEOMETRIC_PURPOSE = Code("130400", "DCM", "Geometric purpose of region")
_BOUNDED_BY = Code("75958009", "SCT", "Bounded by")
_IMAGE_REGION = Code("111030", "DCM", "Image Region")
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
    """Build the root container. `sources`: all images spoken of; `frames`: by tracking UID."""
    by_uid: dict[str, Instance] = {source.uid: source for source in sources}
    root = _container(Code("126000", "DCM", "Imaging Measurement Report"), None, template="1500")
    root.ContentSequence = DicomSequence([*_context(author), _image_library(sources)])
    if groups:
        measured = _container(Code("126010", "DCM", "Imaging Measurements"), CONTAINS)
        items = [item for group in groups for item in _measurement_groups(group, by_uid[group.source], frames)]
        measured.ContentSequence = DicomSequence(items)
        root.ContentSequence.append(measured)
    said = _container(_QUALITATIVE_EVALUATIONS, CONTAINS)
    said.ContentSequence = DicomSequence([_text(codes.INTENDED_USE_CONCEPT, codes.INTENDED_USE, CONTAINS)])
    said.ContentSequence.extend(item for note in notes for item in _note(note, by_uid))
    root.ContentSequence.append(said)
    return root


def _context(author: Author) -> Iterator[Dataset]:
    """Language (TID 1204), the device that observes (TID 1002, 1004), procedure reported."""
    yield _code(standard.DCM.LanguageOfContentItemAndDescendants, _ENGLISH, MODIFIER)
    yield from hd.sr.ObserverContext(
        observer_type=standard.DCM.Device,
        observer_identifying_attributes=hd.sr.DeviceObserverIdentifyingAttributes(
            uid=author.device_uid,
            name=author.device_name,
            manufacturer_name=OWN_MANUFACTURER,
            model_name="cxrnode",
            serial_number=author.device_name,
        ),
    )
    yield _code(standard.DCM.ProcedureReported, _IMAGING_PROCEDURE, MODIFIER)


def _image_library(sources: Sequence[Instance]) -> Dataset:
    """List the images that the report speaks of, analysed or not (TID 1600)."""
    library = _container(Code("111028", "DCM", "Image Library"), CONTAINS, template="1600")
    entries = _container(Code("126200", "DCM", "Image Library Group"), CONTAINS)
    entries.ContentSequence = DicomSequence([_image(_SOURCE, source, CONTAINS) for source in sources])
    library.ContentSequence = DicomSequence([entries])
    return library


def _measurement_groups(group: Group, source: Instance, frames: Mapping[str, Frame]) -> Iterator[Dataset]:
    """The group with its coordinates, and one of the same tracking UID for the SEG frame that shows the region.

    Where there is a frame, the numbers stand with the frame: they are the region's, not those of the box around it.
    Viewers join the two by their tracking UID.
    """
    shown = frames.get(group.tracking_uid) if group.region else None
    yield _measurement_group(group, _outline(group, source), [] if shown else [*_said(group)])
    if shown:
        yield _measurement_group(group, _segment(shown, source), [*_said(group)])


def _measurement_group(group: Group, place: Iterable[Dataset], said: Sequence[Dataset]) -> Dataset:
    """A number names its algorithm; a group without one does it itself."""
    measured = any(item.ValueType == "NUM" for item in said)
    algorithm = () if measured else _algorithm(group.model, group.leaning_on)
    item = _container(_MEASUREMENT_GROUP, CONTAINS, template="1410")
    item.ContentSequence = DicomSequence([*_tracking(group), *_described(group), *algorithm, *place, *said])
    return item


def _tracking(group: Group) -> Iterator[Dataset]:
    yield _text(standard.DCM.TrackingIdentifier, group.title, CONTEXT)
    yield _uid_reference(standard.DCM.TrackingUniqueIdentifier, group.tracking_uid, CONTEXT)


def _described(group: Group) -> Iterator[Dataset]:
    """What it is and where it is."""
    if group.category:
        yield _code(_FINDING_CATEGORY, group.category, CONTAINS)
    if group.finding:
        yield _code(standard.DCM.Finding, group.finding, CONTAINS)
    if group.site:
        site = _code(Code("363698007", "SCT", "Finding Site"), group.site, MODIFIER)
        if group.laterality:
            side = _code(Code("272741003", "SCT", "Laterality"), group.laterality, MODIFIER)
            site.ContentSequence = DicomSequence([side])
        yield site


def _algorithm(model: ModelIdentity, leaning_on: Sequence[ModelIdentity]) -> Iterator[Dataset]:
    """PS3.16 TID 4019; other models that it needed are its parameters."""
    yield _text(standard.DCM.AlgorithmName, model.name, MODIFIER)
    yield _text(standard.DCM.AlgorithmVersion, model.version, MODIFIER)
    yield _text(standard.DCM.AlgorithmParameters, f"digest={model.digest}", MODIFIER)
    yield _text(standard.DCM.AlgorithmParameters, f"backend={model.backend}", MODIFIER)
    for other in leaning_on:
        yield _text(standard.DCM.AlgorithmParameters, f"with={other.name} {other.version} {other.digest}", MODIFIER)


def _outline(group: Group, source: Instance) -> Iterator[Dataset]:
    if group.bounded_by:
        yield _code(_GEOMETRIC_PURPOSE, _BOUNDED_BY, CONTAINS)
    outline = hd.sr.ScoordContentItem(
        name=_IMAGE_REGION,
        graphic_type=hd.sr.GraphicTypeValues.POLYLINE,
        graphic_data=np.array(group.outline, dtype=np.float32),
        relationship_type=CONTAINS,
    )
    outline.ContentSequence = DicomSequence([_image(standard.DCM.SourceOfMeasurement, source, SELECTED)])
    yield outline


def _segment(frame: Frame, source: Instance) -> Iterator[Dataset]:
    """A frame number and no segment number: both together are an error (PS3.3 C.18.4.1, type 1C)."""
    yield hd.sr.ImageContentItem(
        name=standard.DCM.ReferencedSegmentationFrame,
        referenced_sop_class_uid=SEGMENTATION,
        referenced_sop_instance_uid=frame.sop_instance_uid,
        referenced_frame_numbers=frame.number,
        relationship_type=CONTAINS,
    )
    yield _image(standard.DCM.SourceImageForSegmentation, source, CONTAINS)


def _said(group: Group) -> Iterator[Dataset]:
    for number in group.numbers:
        yield _num(number, group)
    for concept, judgment in group.judgments:
        yield _code(concept, judgment, CONTAINS)
    for caveat in group.caveats:
        yield _text(codes.COMMENT, caveat, CONTAINS)


def _note(note: Note, sources: Mapping[str, Instance]) -> Iterator[Dataset]:
    if note.concept and note.reason:
        yield _of_image(_code(note.concept, note.reason, CONTAINS), note, sources)
    yield _of_image(_text(codes.COMMENT, note.text, CONTAINS), note, sources)


def _of_image(item: Dataset, note: Note, sources: Mapping[str, Instance]) -> Dataset:
    if note.source:
        image = _image(standard.DCM.SourceOfMeasurement, sources[note.source], INFERRED)
        item.ContentSequence = DicomSequence([image])
    return item


def _container(name: Code, relationship: str | None, template: str = "") -> Dataset:
    item: Dataset = hd.sr.ContainerContentItem(name=name, relationship_type=relationship, template_id=template or None)
    return item


def _code(name: Code, value: Code, relationship: str) -> Dataset:
    item: Dataset = hd.sr.CodeContentItem(name=name, value=value, relationship_type=relationship)
    return item


def _text(name: Code, value: str, relationship: str) -> Dataset:
    text = codes.plain(value, 1024)
    item: Dataset = hd.sr.TextContentItem(name=name, value=text, relationship_type=relationship)
    return item


def _uid_reference(name: Code, value: str, relationship: str) -> Dataset:
    item: Dataset = hd.sr.UIDRefContentItem(name=name, value=value, relationship_type=relationship)
    return item


def _num(number: Number, group: Group) -> Dataset:
    """A number as its printed text: highdicom would add a binary floating point value beside it."""
    item: Dataset = hd.sr.NumContentItem(name=number.concept, value=0, unit=number.unit, relationship_type=CONTAINS)
    item.MeasuredValueSequence[0].NumericValue = number.text
    item.ContentSequence = DicomSequence(_algorithm(group.model, group.leaning_on))
    return item


def _image(name: Code, source: Instance, relationship: str) -> Dataset:
    item: Dataset = hd.sr.ImageContentItem(
        name=name,
        referenced_sop_class_uid=source.description.sop_class_uid,
        referenced_sop_instance_uid=source.uid,
        relationship_type=relationship,
    )
    return item
