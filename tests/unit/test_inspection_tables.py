"""The tables of required attributes beside an independent reading of PS3.3: the one that highdicom brings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest
from highdicom import _standard_utils as standard
from pydicom.datadict import tag_for_keyword

from cxrnode.evidence.inspection.required import Attribute
from cxrnode.evidence.inspection.tables import IODS

_NAMES = standard.get_sop_class_iod_map()
_MODULES = standard.get_module_attribute_map()

ELSEWHERE = {"sr-document-content"}
"""The grammar of content items is in `tree`, by value type; the tables hold the root."""

GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
"""In which of the two a functional group stands, and whether it must, is no matter of types."""


def _required(sop_class_uid: str) -> Iterator[tuple[str, tuple[str, ...], str, str]]:
    """Give module, path, keyword and type of what is always required of a SOP class."""
    for module in standard.get_iod_module_map()[_NAMES[sop_class_uid]]:
        if module["usage"] != "M" or module["key"] in ELSEWHERE:
            continue
        for attribute in _MODULES[module["key"]]:
            if attribute["type"] in ("1", "2") and attribute["path"][-1:] not in [[group] for group in GROUPS]:
                yield module["key"], tuple(attribute["path"]), attribute["keyword"], attribute["type"]


def _within(attributes: Iterable[Attribute], path: tuple[str, ...]) -> dict[str, set[str]]:
    """Give the types of our attributes at a path, by keyword: an attribute may stand in several modules."""
    found = [*attributes]
    for step in path:
        found = [inner for attribute in found if attribute.keyword == step for inner in attribute.within]
    types: dict[str, set[str]] = {}
    for attribute in found:
        types.setdefault(attribute.keyword, set()).add(attribute.type)
    return types


@pytest.mark.parametrize("sop_class_uid", IODS, ids=lambda uid: _NAMES[uid])
def test_every_attribute_that_is_always_required_is_in_our_tables(sop_class_uid):
    """At the root, and within each sequence whose items our tables describe; ours may ask for more, not for less."""
    ours = [attribute for module in IODS[sop_class_uid] for attribute in module.attributes]
    missing = []
    for module, path, keyword, kind in _required(sop_class_uid):
        described = _within(ours, path)
        if described and not any(wanted <= kind for wanted in described.get(keyword, ())):
            missing.append((module, *path, keyword, kind))
    assert missing == []


def test_the_comparison_can_fail():
    """Without one attribute of a table it says which."""
    sop_class_uid = next(iter(IODS))
    ours = [a for module in IODS[sop_class_uid] for a in module.attributes if a.keyword != "SegmentationType"]
    wanted = {keyword for _, path, keyword, _ in _required(sop_class_uid) if not path}
    assert wanted - _within(ours, ()).keys() == {"SegmentationType"}


def test_every_keyword_of_the_tables_is_one_of_the_dictionary():
    """A name that is misspelt would be missing from every object."""

    def keywords(attributes: Iterable[Attribute]) -> Iterator[str]:
        for attribute in attributes:
            yield attribute.keyword
            yield from keywords(attribute.within)

    named = {keyword for modules in IODS.values() for module in modules for keyword in keywords(module.attributes)}
    assert [keyword for keyword in sorted(named) if tag_for_keyword(keyword) is None] == []
