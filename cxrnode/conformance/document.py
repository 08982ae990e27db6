"""The statement as a whole: prose with named places, and what fills each of them.

Hides which table comes from which room. Promises the same text on every machine, and an error for a place that nothing
fills, or that is filled for nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from cxrnode import __version__
from cxrnode.conformance import concepts, content, network, parameters, security
from cxrnode.conformance.attributes import Row, rows_of, shared, without
from cxrnode.conformance.markdown import block, literal, table
from cxrnode.conformance.samples import Samples, compose
from cxrnode.conformance.trees import outline
from cxrnode.domain.capability import Kind
from cxrnode.domain.reasons import SMALLEST_SIDE
from cxrnode.domain.selection import ADULT_FROM, OWN_MANUFACTURER, RADIOGRAPH_MODALITIES
from cxrnode.evidence import codes

_TEMPLATE = Path(__file__).with_name("statement.md")
_PLACE = re.compile(r"\{\{(\w+)\}\}")
_ATTRIBUTES = ("attribute", "tag", "type", "presence", "source", "value")


def statement() -> str:
    """Give the conformance statement of this version, in Markdown."""
    return filled(_TEMPLATE.read_text(encoding="utf-8"), _places(compose()))


def filled(template: str, places: Mapping[str, str]) -> str:
    """Put a text into every place. ValueError where the template's places are not exactly those."""
    wanted = set(_PLACE.findall(template))
    if wanted != places.keys():
        raise ValueError(f"the template's places are not those that are filled: {sorted(wanted ^ places.keys())}")
    return _PLACE.sub(lambda place: places[place[1]], template)


def _places(samples: Samples) -> dict[str, str]:
    return {
        "version": __version__,
        **_of_the_network(),
        **_of_the_images(),
        **_of_the_codes(),
        **_of_the_objects(samples),
        "general": parameters.general(),
        "destinations": parameters.destinations(),
    }


def _of_the_network() -> dict[str, str]:
    return {
        "services": network.services(),
        "received": network.received(),
        "not_offered": network.not_offered(),
        "association": network.association(),
        "proposed": network.proposed(),
        "asking": network.asking(),
        "accepted": network.accepted(),
        "transfer_syntaxes": network.transfer_syntaxes(),
        "rejected": network.rejected(),
        "given": network.given(),
        "reports": network.reports(),
        "transport": security.transport(),
    }


def _of_the_images() -> dict[str, str]:
    *others, last = sorted(RADIOGRAPH_MODALITIES)
    return {
        "modalities": f"{', '.join(others)} or {last}",
        "smallest_side": str(SMALLEST_SIDE),
        "adult_from": str(ADULT_FROM),
        "manufacturer": OWN_MANUFACTURER,
        "reasons": concepts.reasons(),
    }


def _of_the_codes() -> dict[str, str]:
    return {
        "scheme": literal(codes.PRIVATE_SCHEME),
        "scheme_uid": literal(codes.PRIVATE_SCHEME_UID),
        "structures": concepts.structures(),
        "findings": concepts.findings(),
        "judgments": concepts.judgments(),
        "quantities": concepts.quantities(),
        "caveats": concepts.caveats(),
        "private": concepts.private(),
    }


def _of_the_objects(samples: Samples) -> dict[str, str]:
    rows = {kind: rows_of(samples, kind) for kind in Kind}
    alike = shared(rows)
    return {
        "transferred": content.transferred(),
        "templates": content.templates(samples),
        "kinds": content.kinds(samples),
        "fallbacks": content.fallbacks(),
        "retractions": content.retractions(),
        "shared": _listed(alike),
        **{f"attributes_{kind.lower()}": _listed(without(rows[kind], alike)) for kind in Kind},
        **{f"modules_{kind.lower()}": content.modules(kind) for kind in Kind if kind is not Kind.REJECTION},
        "tree_sr": block(outline(samples.of(Kind.SR))),
        "tree_kos": block(outline(samples.of(Kind.KOS))),
        "algorithms": content.algorithms(samples),
    }


def _listed(rows: list[Row]) -> str:
    return table(_ATTRIBUTES, [row.cells for row in rows])
