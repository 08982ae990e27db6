"""Takes the clock and chance out of what was built, and proves that none is left (law 4).

Hides which attributes state a moment or a dimension. Promises that every date, time and UID that stands in a settled
object is one that we gave it, whatever built it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset

from cxrnode.domain.identity import derived_uid
from cxrnode.errors import NeedsOperator

_STANDARD_ROOT = "1.2.840.10008."
_OF_CLOCK_OR_CHANCE = frozenset({"DA", "TM", "DT", "UI"})


def settle(built: Dataset, moment: tuple[str, str]) -> None:
    """Write the moment and the dimensions of `built`; `moment` is its date and time.

    Instance Creation Date and Time would be the wall clock's: they are type 3 and never written.
    """
    built.ContentDate, built.ContentTime = moment
    built.SeriesDate, built.SeriesTime = moment
    dimensions = derived_uid("dimensions", str(built.SOPInstanceUID))
    for keyword in ("DimensionOrganizationSequence", "DimensionIndexSequence"):
        for item in built.get(keyword, ()):
            item.DimensionOrganizationUID = dimensions


def prove_settled(built: Dataset, moment: tuple[str, str], given_uids: Collection[str]) -> None:
    """Walk all of `built`, before patient data comes in, and raise where a date, time or UID is not one we gave."""
    given = {*given_uids, derived_uid("dimensions", str(built.SOPInstanceUID))}
    for element in _elements(built, set()):
        if not _is_given(element, moment, given):
            raise NeedsOperator(
                f"{element.keyword or element.tag} holds a value of the clock or of chance",
                operation="compose evidence",
                subject=str(built.SOPInstanceUID),
                hint="see 'Evidence cannot be composed' in docs/operations.md",
            )


def _is_given(element: DataElement, moment: tuple[str, str], uids: Collection[str]) -> bool:
    values = element.value if isinstance(element.value, (list, tuple)) else [element.value]
    texts = [str(value) for value in values if value not in (None, "")]
    if element.VR == "UI":
        return all(text in uids or text.startswith(_STANDARD_ROOT) for text in texts)
    return all(text in moment for text in texts)


def _elements(dataset: Dataset, walked: set[int]) -> Iterator[DataElement]:
    """Give every date, time and UID of a data set; an item that stands in many places is walked once."""
    walked.add(id(dataset))
    for tag, held in list(dataset.items()):
        element = dataset[tag] if isinstance(held, RawDataElement) else held
        if element.VR in _OF_CLOCK_OR_CHANCE:
            yield element
        elif element.VR == "SQ":
            for item in element.value:
                if id(item) not in walked:
                    yield from _elements(item, walked)
