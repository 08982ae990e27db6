"""What must stand in a data set: attributes by type, and what values they may have (PS3.3, PS3.5 7.4).

Hides how a table is gone through. Promises an objection with the attribute's path, its type and the section that asks
for it, and never a value. The tables themselves are in `tables`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from cxrnode.evidence.inspection.reading import Item

Condition = Callable[[Item], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute:
    """One attribute of a module: its type, when that holds, its allowed values, what its items hold and how many."""

    keyword: str
    type: str
    when: Condition | None = None
    values: tuple[str, ...] = ()
    within: tuple[Attribute, ...] = ()
    single: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """A module of an IOD, and the section of PS3.3 that it is in."""

    name: str
    section: str
    attributes: tuple[Attribute, ...]
    when: Condition | None = None


def must(
    keyword: str,
    *values: str,
    when: Condition | None = None,
    within: tuple[Attribute, ...] = (),
    single: bool = False,
) -> Attribute:
    """Type 1, or 1C where there is a condition: there, with a value."""
    kind = "1C" if when else "1"
    return Attribute(keyword=keyword, type=kind, when=when, values=values, within=within, single=single)


def may_be_empty(keyword: str, *values: str, when: Condition | None = None) -> Attribute:
    """Type 2, or 2C where there is a condition: there, with a value or without."""
    return Attribute(keyword=keyword, type="2C" if when else "2", when=when, values=values)


def optional(keyword: str, *values: str, within: tuple[Attribute, ...] = (), single: bool = False) -> Attribute:
    """Type 3: where it is there, it holds these values, or such items."""
    return Attribute(keyword=keyword, type="3", values=values, within=within, single=single)


def has(keyword: str) -> Condition:
    """Give the condition that another attribute has a value."""
    return lambda item: not item.empty(keyword)


def has_none(*keywords: str) -> Condition:
    """Give the condition that none of some attributes has a value."""
    return lambda item: all(item.empty(keyword) for keyword in keywords)


def states(keyword: str, *values: str) -> Condition:
    """Give the condition that another attribute has one of some values."""
    return lambda item: item.text(keyword) in values


def missing(item: Item, module: Module) -> Iterator[str]:
    """Give an objection for each attribute of the module that is missing, empty, or has a value it may not have."""
    if module.when is None or module.when(item):
        yield from unmet(item, module.attributes, module.section)


def unmet(item: Item, attributes: tuple[Attribute, ...], section: str, path: str = "") -> Iterator[str]:
    """Give what an item lacks of some attributes; `path` is the item's own."""
    for attribute in attributes:
        fault = _fault(item, attribute)
        if fault:
            yield f"{path}{attribute.keyword}: {fault} (type {attribute.type}, PS3.3 {section})"
        for number, inner in enumerate(item.items(attribute.keyword) if attribute.within else (), 1):
            yield from unmet(inner, attribute.within, section, f"{path}{attribute.keyword}[{number}].")


def _fault(item: Item, attribute: Attribute) -> str:
    keyword = attribute.keyword
    if keyword not in item:
        wanted = attribute.type != "3" and (attribute.when is None or attribute.when(item))
        return "missing" if wanted else ""
    if item.empty(keyword):
        return "empty" if attribute.type.startswith("1") else ""
    if attribute.values and not set(item.texts(keyword)) <= set(attribute.values):
        return f"not {' or '.join(attribute.values)}"
    if attribute.single and len(item.items(keyword)) != 1:
        return f"{len(item.items(keyword))} items instead of one"
    return ""
