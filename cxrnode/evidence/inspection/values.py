"""Whether each element is what its kind of value may be: VR, multiplicity, characters and length.

Hides PS3.5 6.2 and PS3.6. Promises to look at what we wrote alone: what was carried over from the source, as the bytes
that stand there, is the source's, and so are its UIDs, however they are formed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache

from pydicom.datadict import dictionary_has_tag, dictionary_VM, dictionary_VR

from cxrnode.evidence.inspection.reading import Element, Item, every_element, named

_SEVERAL = frozenset({"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "PN", "SH", "TM", "UC", "UI"})
"""Kinds whose values are separated by a backslash; in the others it is a character."""

_SIZES = {"US": 2, "SS": 2, "UL": 4, "SL": 4, "FL": 4, "FD": 8, "AT": 4, "OW": 2, "OF": 4, "OD": 8}

_HOUR, _REST = "([01][0-9]|2[0-3])", "[0-5][0-9]"
_TIME = rf"{_HOUR}({_REST}({_REST}(\.[0-9]{{1,6}})?)?)?"
_DATE = r"[0-9]{4}(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])"
_LINE, _TEXT = r"[\x20-\x5b\x5d-\x7e]", r"[\x20-\x7e\r\n\t\f]"

_FORMS: Mapping[str, re.Pattern[bytes]] = {
    vr: re.compile(form.encode())
    for vr, form in {
        "AE": rf"{_LINE}{{1,16}}",
        "AS": r"[0-9]{3}[DWMY]",
        "CS": r"[A-Z0-9_ ]{1,16}",
        "DA": _DATE,
        "DS": r"(?=.{1,16}$) *[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)? *",
        "DT": rf"[0-9]{{4}}|[0-9]{{4}}(0[1-9]|1[0-2])|{_DATE}({_TIME})?([+-][0-9]{{4}})?",
        "IS": r"(?=.{1,12}$) *[+-]?[0-9]+ *",
        "LO": rf"{_LINE}{{1,64}}",
        "LT": rf"{_TEXT}{{1,10240}}",
        "PN": rf"{_LINE}{{1,64}}",
        "SH": rf"{_LINE}{{1,16}}",
        "ST": rf"{_TEXT}{{1,1024}}",
        "TM": _TIME,
        "UC": rf"{_LINE}+",
        "UI": r"(?=.{1,64}$)(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))+",
        "UR": r"[\x21-\x7e]+",
        "UT": rf"{_TEXT}+",
    }.items()
}


def wrong_values(root: Item, carried_over: Collection[int], foreign_uids: Collection[str]) -> Iterator[str]:
    """Give an objection for each element of ours that is not what it may be, with its path.

    `carried_over`: tags of the data set that are the source's; `foreign_uids`: UIDs that others made.
    """
    uids = {uid.encode() for uid in foreign_uids}
    ours = Item({tag: element for tag, element in root.elements.items() if tag not in carried_over})
    for path, tag, element in every_element(ours):
        fault = _kind_at_fault(tag, element) or _value_at_fault(element, uids) or _number_at_fault(tag, element)
        if fault:
            yield f"{path}{named(tag)}: {fault}"


def _kind_at_fault(tag: int, element: Element) -> str:
    allowed = _vrs(tag)
    if not allowed:
        return "not an element of the standard"
    return "" if element.vr in allowed else f"VR {element.vr} instead of {' or '.join(sorted(allowed))}"


def _value_at_fault(element: Element, foreign_uids: Collection[bytes]) -> str:
    size = _SIZES.get(element.vr)
    if size:
        return "" if len(element.value) % size == 0 else f"{len(element.value)} bytes are no whole {element.vr}"
    form = _FORMS.get(element.vr)
    if form is None or element.empty:
        return ""
    for value in _values(element):
        if value and not form.fullmatch(value) and value not in foreign_uids:
            return f"not a {element.vr}"
    return ""


def _number_at_fault(tag: int, element: Element) -> str:
    """Whether there are more or fewer values than the dictionary says, where it says a number."""
    wanted = _vm(tag)
    if wanted is None or element.empty or element.vr == "SQ" or element.vr.startswith("O"):
        return ""
    size = _SIZES.get(element.vr)
    count = len(element.value) // size if size else len(_values(element))
    return "" if count == wanted else f"{count} values instead of {wanted}"


def _values(element: Element) -> list[bytes]:
    padding = b"\0" if element.vr == "UI" else b" "
    values = element.value.split(b"\\") if element.vr in _SEVERAL else [element.value]
    return [value.rstrip(padding) for value in values]


@lru_cache(maxsize=2048)
def _vrs(tag: int) -> frozenset[str]:
    return frozenset(dictionary_VR(tag).split(" or ")) if dictionary_has_tag(tag) else frozenset()


@lru_cache(maxsize=2048)
def _vm(tag: int) -> int | None:
    multiplicity = dictionary_VM(tag)
    return int(multiplicity) if multiplicity.isdigit() else None
