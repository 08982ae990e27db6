"""Key Object Selections (PS3.3 A.35.4, PS3.16 TID 2010): the images with something on them, and what is taken back.

Hides the grammar of the document. Promises one that refers to exactly what it was given, each reference in its list of
evidence as well. A note that rejects objects is a selection with a title of rejection (IHE RAD TF-2 4.66, IOCM).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes as standard
from pydicom.sr.coding import Code

from cxrnode.domain.capability import ENCAPSULATED_PDF, KEY_OBJECT_SELECTION, PRESENTATION_STATE, REPORT_CLASSES
from cxrnode.domain.finding import ImageResult, Presence, StudyResult
from cxrnode.domain.identity import derived_uid
from cxrnode.domain.reasons import RETRACTIONS
from cxrnode.domain.selection import OWN_MANUFACTURER
from cxrnode.domain.study import Instance
from cxrnode.evidence import blank, codes, headers
from cxrnode.evidence.identity import FORMAT, Author, content_of, models_in, series_uid
from cxrnode.evidence.items import code_item, data_set, hierarchy, reference
from cxrnode.evidence.page import named_findings

SERIES_NUMBER = 7006
SERIES_DESCRIPTION = "cxrnode key images"
REJECTION_SERIES_NUMBER = 7007
REJECTION_SERIES_DESCRIPTION = "cxrnode rejection note"

OF_INTEREST = Code("113000", "DCM", "Of Interest")
REJECTED_FOR_QUALITY = Code("113001", "DCM", "Rejected for Quality Reasons")
REJECTED_FOR_SAFETY = Code("113037", "DCM", "Rejected for Patient Safety Reasons")
_DESCRIPTION = Code("113012", "DCM", "Key Object Description")
_LANGUAGE = Code("121049", "DCM", "Language of Content Item and Descendants")
_ENGLISH = Code("en", "RFC5646", "English")
_NOT_IMAGES = frozenset({*REPORT_CLASSES.values(), PRESENTATION_STATE, ENCAPSULATED_PDF, KEY_OBJECT_SELECTION})
"""The classes of ours that an IMAGE reference cannot name."""


_CONTAINS, _CONTEXT = "CONTAINS", "HAS OBS CONTEXT"

_Reference = tuple[str, str, str]
"""Series Instance UID, SOP Class UID, SOP Instance UID."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """An object that is taken back. `series`: its Series Instance UID, empty where it has its own as our objects do."""

    sop_class_uid: str
    sop_instance_uid: str
    series: str = ""

    @property
    def series_uid(self) -> str:
        """Its Series Instance UID; pages alone share one."""
        return self.series or series_uid(self.sop_instance_uid)


def positive(study: StudyResult) -> tuple[ImageResult, ...]:
    """Give the images on which a finding is said to be present."""
    return tuple(
        image
        for image in study.images
        if any(finding.presence is Presence.PRESENT for result in image.results for finding in result.findings)
    )


def key_objects_uid(author: Author, study: StudyResult) -> str:
    """Give the SOP Instance UID of the selection. What is said of other images does not change it."""
    selected = [[content_of(image.source), models_in(image)] for image in positive(study)]
    return derived_uid("KOS", FORMAT, asdict(author), study.study_uid, selected, _found(study))


def compose_key_objects(author: Author, study: StudyResult, all_headers: Mapping[int, Dataset]) -> Dataset:
    """Compose the selection of the positive images, of which there is one at least, settled and complete."""
    sources = [image.source for image in positive(study)]
    uid = key_objects_uid(author, study)
    series = blank.Series(uid=series_uid(uid), number=SERIES_NUMBER, description=SERIES_DESCRIPTION, modality="KO")
    built = blank.blank(author, KEY_OBJECT_SELECTION, uid, study.study_uid, series)
    chosen = [(s.description.series_uid, s.description.sop_class_uid, s.uid) for s in sources]
    built.update(_selection(author, study.study_uid, OF_INTEREST, _found(study), chosen))
    moment = max(headers.moment_of(all_headers[source.row]) for source in sources)
    given = _given(author, study.study_uid, chosen)
    models = dict.fromkeys(model for image in positive(study) for model in image.models)
    return blank.finish(built, author, all_headers[sources[0].row], moment, given, tuple(models))


def rejection_uid(author: Author, study_uid: str, source: Instance, rejected: Sequence[Rejected], code: str) -> str:
    """Give the SOP Instance UID of the note that takes these objects back, whatever their order."""
    stated = _named(rejected)
    return derived_uid("REJECTION", FORMAT, asdict(author), study_uid, content_of(source), stated, _why(code))


def compose_rejection(
    author: Author, study_uid: str, source: Instance, header: Dataset, rejected: Sequence[Rejected], code: str
) -> Dataset:
    """Compose the note that takes objects of ours back. `code`: a key of RETRACTIONS; `header`: that of `source`."""
    uid = rejection_uid(author, study_uid, source, rejected, code)
    series = blank.Series(
        uid=series_uid(uid), number=REJECTION_SERIES_NUMBER, description=REJECTION_SERIES_DESCRIPTION, modality="KO"
    )
    built = blank.blank(author, KEY_OBJECT_SELECTION, uid, study_uid, series)
    title = REJECTED_FOR_SAFETY if RETRACTIONS[code].unsafe else REJECTED_FOR_QUALITY
    chosen = _named(rejected)
    built.update(_selection(author, study_uid, title, _why(code), chosen))
    return blank.finish(built, author, header, headers.moment_of(header), _given(author, study_uid, chosen))


def _named(rejected: Iterable[Rejected]) -> list[_Reference]:
    return sorted((one.series_uid, one.sop_class_uid, one.sop_instance_uid) for one in rejected)


def _found(study: StudyResult) -> str:
    """Say what is present, each finding once."""
    named = (one for image in positive(study) for one in named_findings(image))
    names = dict.fromkeys(name for name, finding in named if finding.presence is Presence.PRESENT)
    return codes.plain(f"Present: {'; '.join(names)}. {codes.INTENDED_USE}.", 1024)


def _why(code: str) -> str:
    return f"The results were taken back, because {RETRACTIONS[code].text}. {codes.INTENDED_USE}."


def _selection(author: Author, study_uid: str, title: Code, description: str, chosen: Sequence[_Reference]) -> Dataset:
    """Give the modules Key Object Document and SR Document Content (PS3.3 C.17.6.2, C.17.3)."""
    return data_set(
        ReferencedPerformedProcedureStepSequence=[],
        CurrentRequestedProcedureEvidenceSequence=[hierarchy(study_uid, chosen)],
        ValueType="CONTAINER",
        ConceptNameCodeSequence=[code_item(title)],
        ContinuityOfContent="SEPARATE",
        ContentTemplateSequence=[data_set(MappingResource="DCMR", TemplateIdentifier="2010")],
        ContentSequence=[*_context(author), _text(_DESCRIPTION, description, _CONTAINS), *map(_reference, chosen)],
    )


def _context(author: Author) -> Iterator[Dataset]:
    """Language (TID 1204) and the device that selects (TID 1002, 1004)."""
    yield _item("CODE", "HAS CONCEPT MOD", _LANGUAGE, ConceptCodeSequence=[code_item(_ENGLISH)])
    device = [code_item(standard.DCM.Device)]
    yield _item("CODE", _CONTEXT, standard.DCM.ObserverType, ConceptCodeSequence=device)
    yield _item("UIDREF", _CONTEXT, standard.DCM.DeviceObserverUID, UID=author.device_uid)
    yield _text(standard.DCM.DeviceObserverName, author.device_name, _CONTEXT)
    yield _text(standard.DCM.DeviceObserverManufacturer, OWN_MANUFACTURER, _CONTEXT)
    yield _text(standard.DCM.DeviceObserverModelName, "cxrnode", _CONTEXT)
    yield _text(standard.DCM.DeviceObserverSerialNumber, author.device_name, _CONTEXT)


def _reference(named: _Reference) -> Dataset:
    """Refer to an object, without a purpose: TID 2010 forbids one."""
    _, sop_class_uid, sop_instance_uid = named
    value_type = "COMPOSITE" if sop_class_uid in _NOT_IMAGES else "IMAGE"
    referenced = [reference(sop_class_uid, sop_instance_uid)]
    return _item(value_type, _CONTAINS, None, ReferencedSOPSequence=referenced)


def _text(name: Code, value: str, relationship: str) -> Dataset:
    return _item("TEXT", relationship, name, TextValue=value)


def _item(value_type: str, relationship: str, name: Code | None, **values: object) -> Dataset:
    named = {"ConceptNameCodeSequence": [code_item(name)]} if name else {}
    return data_set(RelationshipType=relationship, ValueType=value_type, **named, **values)


def _given(author: Author, study_uid: str, chosen: Iterable[_Reference]) -> set[str]:
    return {author.device_uid, study_uid, *(uid for named in chosen for uid in named)}
