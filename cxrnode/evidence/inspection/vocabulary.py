"""Whether every coded concept exists, under the meaning that the standard gives it: viewers match meanings as text.

Hides where codes are listed: pydicom's copy of PS3.16. Promises an objection for a value that its scheme does not have,
for another meaning, and for a title that makes of a document something else. Private codes are taken as they are.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import cache

from pydicom.sr.codedict import codes as standard
from pydicom.sr.coding import Code

from cxrnode.domain.capability import Kind
from cxrnode.evidence.codes import PRIVATE_SCHEME
from cxrnode.evidence.inspection.reading import Item, every_item

_BESIDES: Mapping[tuple[str, str], str] = {
    ("276214006", "SCT"): "Finding category",  # TID 1410
    ("260753009", "SCT"): "Source",  # TID 1600
    ("C0034375", "UMLS"): "Qualitative Evaluations",  # TID 1500
    ("en", "RFC5646"): "English",  # CID 5000
    ("18748-4", "LN"): "Diagnostic Imaging Report",  # CID 7000
}
"""What PS3.16 says and the list does not, or says otherwise."""

_SELECTION = "2010"
_TITLES: Mapping[Kind, Mapping[tuple[str, str], str]] = {
    Kind.SR: {("126000", "DCM"): "1500", ("18748-4", "LN"): ""},
    Kind.KOS: {("113000", "DCM"): _SELECTION},
    Kind.REJECTION: {(value, "DCM"): _SELECTION for value in ("113001", "113037", "113038", "113039")},
}
"""The titles of a kind of document, each with its template; a report of nothing measured follows none.

CID 7010: an archive hides what a selection with a title of rejection refers to.
"""


def misspelt(root: Item, carried_over: Collection[int]) -> Iterator[str]:
    """Give an objection for each code that is none, or means something else. What was carried over is the source's."""
    ours = Item({tag: element for tag, element in root.elements.items() if tag not in carried_over})
    for path, item in every_item(ours):
        if "CodeMeaning" in item:
            yield from (f"{path}{fault}" for fault in _fault(item))


def mistitled(kind: Kind, root: Item) -> Iterator[str]:
    """Give an objection for a document whose title or template is that of another kind."""
    titles, title = _TITLES.get(kind), root.code("ConceptNameCodeSequence")
    if titles is None:
        return
    if title not in titles:
        yield "ConceptNameCodeSequence: not a title of such a document"
    template = next(iter(root.items("ContentTemplateSequence")), Item()).text("TemplateIdentifier")
    if template != titles.get(title, template):
        yield f"ContentTemplateSequence[1].TemplateIdentifier: not {titles[title] or 'none'}"


def _fault(item: Item) -> Iterator[str]:
    value, scheme = item.text("CodeValue"), item.text("CodingSchemeDesignator")
    if scheme == PRIVATE_SCHEME or not value:
        return
    meanings = _meanings().get((value, scheme))
    if meanings is None:
        yield f"CodeValue: {value} is no known code of {scheme}"
    elif item.raw("CodeMeaning").decode("ascii", "replace") not in meanings:
        yield f"CodeMeaning: not that of {value} in {scheme}"


@cache
def _meanings() -> Mapping[tuple[str, str], frozenset[str]]:
    found: dict[tuple[str, str], set[str]] = {place: {meaning} for place, meaning in _BESIDES.items()}
    for scheme in (standard.DCM, standard.SCT, standard.UCUM):
        for code in scheme.concepts.values():
            assert isinstance(code, Code)
            found.setdefault((code.value, code.scheme_designator), set()).add(code.meaning)
    return {place: frozenset(meanings) for place, meanings in found.items()}
