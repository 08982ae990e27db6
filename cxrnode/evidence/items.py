"""Data sets of our own making: sequence items, coded concepts, references.

Hides what pydicom asks of each attribute that is set on a data set: a report is three thousand of them. Promises an
item that is written as if its attributes had been set one by one. Values must be of their attribute's kind already; who
states the same concept twice gets the same item twice, which nobody may change.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache, lru_cache

from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.sr.coding import Code
from pydicom.tag import BaseTag, Tag


def data_set(**values: object) -> Dataset:
    """Make a data set of attributes by keyword; a sequence is given as the list of its items."""
    elements: dict[BaseTag, DataElement | RawDataElement] = {}
    for keyword, value in values.items():
        tag, vr = _attribute(keyword)
        held = DicomSequence(value) if vr == "SQ" and isinstance(value, Iterable) else value
        elements[tag] = DataElement(
            tag, vr, held, already_converted=vr not in _CONVERTED and not isinstance(value, list)
        )
    return Dataset(elements)


_CONVERTED = frozenset({"PN", "DS", "IS"})
"""Their values are objects of pydicom."""


@lru_cache(maxsize=1024)
def code_item(code: Code) -> Dataset:
    """Give a coded concept (PS3.3 Table 8.8-1): one item for every place that states it."""
    return data_set(CodeValue=code.value, CodingSchemeDesignator=code.scheme_designator, CodeMeaning=code.meaning)


def reference(sop_class_uid: str, sop_instance_uid: str) -> Dataset:
    """Give a SOP Instance Reference (PS3.3 Table 10-11)."""
    return data_set(ReferencedSOPClassUID=sop_class_uid, ReferencedSOPInstanceUID=sop_instance_uid)


def hierarchy(study_uid: str, instances: Iterable[tuple[str, str, str]]) -> Dataset:
    """Give a Hierarchical SOP Instance Reference (PS3.3 Table 10-3): Series, SOP Class and SOP Instance UIDs.

    Series come in the order of their first instance.
    """
    by_series: dict[str, list[Dataset]] = {}
    for series, sop_class, sop_instance in instances:
        by_series.setdefault(series, []).append(reference(sop_class, sop_instance))
    listed = [data_set(SeriesInstanceUID=s, ReferencedSOPSequence=found) for s, found in by_series.items()]
    return data_set(StudyInstanceUID=study_uid, ReferencedSeriesSequence=listed)


@cache
def _attribute(keyword: str) -> tuple[BaseTag, str]:
    tag = Tag(tag_for_keyword(keyword) or 0)
    return tag, dictionary_VR(tag)
