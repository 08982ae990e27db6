"""Which objects there are: what is read, what is written, of which class and in which series, and what goes instead.

Hides where each of these is decided. Promises a line for every SOP class and for every kind of object.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from cxrnode.conformance.markdown import concept, literal, table
from cxrnode.conformance.network import class_name
from cxrnode.conformance.samples import Samples
from cxrnode.dimse.contexts import SOURCE_CLASSES
from cxrnode.domain.capability import INSTEAD, NAMES, REPORT_CLASSES, Kind, ReportClass, class_of
from cxrnode.domain.reasons import OPERATORS_RETRACTIONS, RETRACTIONS
from cxrnode.evidence import codes
from cxrnode.evidence.inspection.tables import IODS
from cxrnode.evidence.key_objects import REJECTED_FOR_QUALITY, REJECTED_FOR_SAFETY
from cxrnode.settings.sections import DestinationSettings

MEANT: Mapping[Kind, tuple[str, str]] = {
    Kind.SEG: ("segmentation", "an image and a model that outlines something on it"),
    Kind.SR: ("report", "a study"),
    Kind.GSPS: ("presentation state: outlines, boxes and captions over the image", "an image"),
    Kind.SC: ("picture: the image with the same drawing burned in", "an image"),
    Kind.PDF: ("report as a document", "a study"),
    Kind.PAGES: ("report as pictures", "a page of a study's report"),
    Kind.KOS: ("flag on the images in which something was found", "a study in which something was found"),
    Kind.REJECTION: ("rejection note", "a retraction and what a destination was sent of it"),
}
"""What each kind is, and what there is one of it for."""


def transferred() -> str:
    """Give every SOP class that is read or written (1.1)."""
    rows = []
    for uid in dict.fromkeys((*SOURCE_CLASSES, *NAMES)):
        written, read = ("yes" if uid in NAMES else ""), ("yes" if uid in SOURCE_CLASSES else "")
        received = "yes" if read else "by setting"
        rows.append((class_name(uid), literal(uid), written, read, written, received))
    columns = ("object", "SOP class UID", "created", "read", "sent (C-STORE SCU)", "received (C-STORE SCP)")
    return table(columns, rows)


def templates(samples: Samples) -> str:
    """Give the root template of each kind of document (1.1.1)."""
    rows = []
    for kind in (Kind.SR, Kind.KOS, Kind.REJECTION):
        document = samples.of(kind)[0]
        template = document.ContentTemplateSequence[0].TemplateIdentifier
        for uid in _classes(kind):
            rows.append((class_name(uid), MEANT[kind][0], f"TID {template}"))
    return table(("SOP class", "document", "root template"), rows)


def kinds(samples: Samples) -> str:
    """Give each kind with its class, series and number."""
    rows = []
    for kind in Kind:
        sample = samples.with_tables.objects[kind][0]
        description = sample.SeriesDescription.replace("other", "MODEL")
        classes = ", ".join(class_name(uid) for uid in _classes(kind))
        what, of = MEANT[kind]
        rows.append((kind, what, of, classes, sample.Modality, sample.SeriesNumber, description))
    columns = ("kind", "is", "one for each", "SOP class", "modality", "series number", "series description")
    return table(columns, rows)


def _classes(kind: Kind) -> tuple[str, ...]:
    return tuple(REPORT_CLASSES.values()) if kind is Kind.SR else (class_of(kind, ReportClass.COMPREHENSIVE_3D),)


def fallbacks() -> str:
    """Give what goes in place of what a destination does not take."""
    reports = [NAMES[REPORT_CLASSES[one]] for one in DestinationSettings.model_fields["report_classes"].default]
    rows = [(first, then, "the same report") for first, then in pairwise(reports)]
    for kind, others in INSTEAD.items():
        named = f"{kind}, in any of its classes" if kind is Kind.SR else str(kind)
        rows.append((named, ", else ".join(others), MEANT[others[0]][0]))
    rows += [(str(kind), "nothing", "") for kind in Kind if kind not in INSTEAD]
    return table(("not taken", "goes instead", "which is"), rows)


def retractions() -> str:
    """Give the reasons for which results are taken back, with the title of the rejection note."""
    rows = []
    for key, why in RETRACTIONS.items():
        title = REJECTED_FOR_SAFETY if why.unsafe else REJECTED_FOR_QUALITY
        said = "an operator" if key in OPERATORS_RETRACTIONS else "the node itself, where `rejection_notes` is `always`"
        rows.append((literal(key), why.text, said, concept(codes.retraction(key)), concept(title)))
    return table(("reason", "the results were taken back, because", "given by", "code in the report", "title"), rows)


def modules(kind: Kind) -> str:
    """Name the modules of a kind, with their sections of PS3.3."""
    held = IODS[class_of(kind, ReportClass.COMPREHENSIVE_3D)]
    return ", ".join(f"{one.name.replace('-', ' ')} ({one.section})" for one in held)


def algorithms(samples: Samples) -> str:
    """Say which kinds of objects name their algorithms in Contributing Equipment Sequence, and which do not."""
    naming = [
        kind for kind in Kind if all("ContributingEquipmentSequence" in one for one in samples.full.objects[kind])
    ]
    others = [kind for kind in Kind if kind not in naming]
    return f"in {_named(naming) or 'no object'}; not in {_named(others) or 'none'}"


def _named(some: list[Kind]) -> str:
    return ", ".join(f"`{kind}`" for kind in some)
