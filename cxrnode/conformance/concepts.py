"""Every code that an object can hold, by what it is used for.

Hides how the table of coded concepts is built. Promises every private code that any of its entries mentions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass

from pydicom.sr.coding import Code

from cxrnode.conformance.markdown import concept, literal, table
from cxrnode.domain.reasons import CAVEATS, REASONS, RETRACTIONS
from cxrnode.evidence import codes


def structures() -> str:
    """Give what a segment can show."""
    rows = [
        (one.title, concept(one.category), concept(one.kind), concept(one.laterality), concept(one.site))
        for one in codes.STRUCTURES.values()
    ]
    return table(("segment", "property category", "property type", "type modifier", "anatomic region"), rows)


def findings() -> str:
    """Give what is said to be present or absent."""
    rows = [(one.title, concept(one.concept), concept(one.site)) for one in codes.ABNORMALITIES.values()]
    return table(("finding", "concept", "finding site"), rows)


def judgments() -> str:
    """Give the values of a judgment."""
    rows = [(f"a finding is {presence.value}", concept(code)) for presence, code in codes.PRESENCES.items()]
    return table(
        ("judgment", "value"), [*rows, ("a structure that everybody has was not found", concept(codes.NOT_FOUND))]
    )


def quantities() -> str:
    """Give the numbers, with their units."""
    rows = []
    for one in (*codes.QUANTITIES.values(), codes.OPERATING_POINT, *codes.BAND):
        lines = "; ".join(concept(code) for _, code in one.lines)
        rows.append((one.title, concept(one.concept), one.unit.value, one.decimals, lines))
    return table(("number", "concept", "UCUM unit", "decimals", "lines, a group each"), rows)


def reasons() -> str:
    """Give why an image is not analysed, in the order of REASONS."""
    rows = [
        (literal(key), concept(codes.reason(key)) if one.candidate else "", one.text) for key, one in REASONS.items()
    ]
    return table(("reason", "code in the report", "not analysed, because"), rows)


def caveats() -> str:
    """Give the sentences that stand beside a statement."""
    return table(("caveat", "comment"), [(literal(key), text) for key, text in CAVEATS.items()])


def private() -> str:
    """Give every code of the private scheme."""
    rows = [(literal(code.value), code.meaning) for code in private_codes()]
    return table(("code value", "code meaning"), rows)


def private_codes() -> list[Code]:
    """Give every code of the private scheme that an object can hold."""
    told = [codes.reason(key) for key, one in REASONS.items() if one.candidate]
    taken_back = [codes.retraction(key) for key in RETRACTIONS]
    found = {code.value: code for code in (*_codes_in(vars(codes)), *told, *taken_back)}
    return [found[value] for value in sorted(found) if found[value].scheme_designator == codes.PRIVATE_SCHEME]


def _codes_in(held: object) -> Iterator[Code]:
    """Walk through what a module holds: codes, values that have codes, and tables of them."""
    if isinstance(held, Code):
        yield held
    elif isinstance(held, Mapping):
        for value in held.values():
            yield from _codes_in(value)
    elif isinstance(held, (tuple, list)):
        for value in held:
            yield from _codes_in(value)
    elif is_dataclass(held) and not isinstance(held, type):
        for one in fields(held):
            yield from _codes_in(getattr(held, one.name))
