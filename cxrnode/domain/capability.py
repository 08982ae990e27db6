"""What is sent to a destination: what it asks for, cut down to what it takes, and what goes in place of the rest.

Hides the order of the fallbacks. Promises that everything a destination does not get is said in a sentence, and that a
destination which takes nothing of ours is still sent its report, so that a person hears of it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cxrnode.domain.delivery import Destination, Geometry


class Kind(StrEnum):
    """A kind of evidence object, by the name that DICOM or the settings have for it."""

    SEG = "SEG"
    """Segmentation: one for each source and model that outlines."""
    SR = "SR"
    """Structured Report: one a study."""
    GSPS = "GSPS"
    """Grayscale Softcopy Presentation State: the drawing over an image, one an image."""
    SC = "SC"
    """Secondary Capture: an image with the drawing burned in, one an image."""
    PDF = "PDF"
    """Encapsulated PDF of the report."""
    PAGES = "PAGES"
    """The report as Secondary Capture, an instance a page."""
    KOS = "KOS"
    """Key Object Selection of the images of a study in which something was found."""
    REJECTION = "REJECTION"
    """The note that takes objects back (IHE IOCM): a Key Object Selection with a title of rejection."""


class ReportClass(StrEnum):
    """The SOP class of a report."""

    COMPREHENSIVE_3D = "comprehensive-3d"
    COMPREHENSIVE = "comprehensive"
    ENHANCED = "enhanced"


SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
PRESENTATION_STATE = "1.2.840.10008.5.1.4.1.1.11.1"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
ENCAPSULATED_PDF = "1.2.840.10008.5.1.4.1.1.104.1"
KEY_OBJECT_SELECTION = "1.2.840.10008.5.1.4.1.1.88.59"

REPORT_CLASSES: Mapping[ReportClass, str] = {
    ReportClass.COMPREHENSIVE_3D: "1.2.840.10008.5.1.4.1.1.88.34",
    ReportClass.COMPREHENSIVE: "1.2.840.10008.5.1.4.1.1.88.33",
    ReportClass.ENHANCED: "1.2.840.10008.5.1.4.1.1.88.22",
}
"""SOP class of each, in the order in which they are offered (docs/decisions/0008); IHE AIR asks for the first."""

CLASSES: Mapping[Kind, str] = {
    Kind.SEG: SEGMENTATION,
    Kind.GSPS: PRESENTATION_STATE,
    Kind.SC: SECONDARY_CAPTURE,
    Kind.PDF: ENCAPSULATED_PDF,
    Kind.PAGES: SECONDARY_CAPTURE,
    Kind.KOS: KEY_OBJECT_SELECTION,
    Kind.REJECTION: KEY_OBJECT_SELECTION,
}
"""SOP class of each kind but the report, which has several."""

INSTEAD: Mapping[Kind, tuple[Kind, ...]] = {
    Kind.SEG: (Kind.GSPS, Kind.SC),
    Kind.SR: (Kind.PDF, Kind.PAGES),
    Kind.GSPS: (Kind.SC,),
    Kind.PDF: (Kind.PAGES,),
}
"""What goes in place of a kind that a destination does not take: the first that it takes. Others have no stand-in."""

_STAND_INS: Mapping[Kind, str] = {
    Kind.GSPS: "Grayscale Softcopy Presentation State",
    Kind.SC: "Secondary Capture of the drawing",
    Kind.PDF: "Encapsulated PDF of the report",
    Kind.PAGES: "Secondary Capture of the report",
}
"""How a person calls what goes in place of something: Secondary Capture is two things."""

NAMES: Mapping[str, str] = {
    SEGMENTATION: "Segmentation",
    REPORT_CLASSES[ReportClass.COMPREHENSIVE_3D]: "Comprehensive 3D SR",
    REPORT_CLASSES[ReportClass.COMPREHENSIVE]: "Comprehensive SR",
    REPORT_CLASSES[ReportClass.ENHANCED]: "Enhanced SR",
    PRESENTATION_STATE: "Grayscale Softcopy Presentation State",
    SECONDARY_CAPTURE: "Secondary Capture",
    ENCAPSULATED_PDF: "Encapsulated PDF",
    KEY_OBJECT_SELECTION: "Key Object Selection",
}
"""Every SOP class that the node writes, as a person calls it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What one destination gets. Destinations of equal `composition` get the same objects."""

    kinds: tuple[Kind, ...]
    """In the order of `Kind`; never REJECTION, which goes with what it takes back."""
    report_class: ReportClass
    geometry: Geometry
    rejection: bool = False
    """Whether it takes the class of a rejection note."""
    fallbacks: tuple[str, ...] = ()
    """What it does not take, and what goes in its place: a sentence each."""

    @property
    def composition(self) -> tuple[tuple[Kind, ...], ReportClass, Geometry]:
        """All that decides which objects are composed."""
        return self.kinds, self.report_class, self.geometry

    @property
    def classes(self) -> frozenset[str]:
        """The SOP classes of all that it gets."""
        notes = {KEY_OBJECT_SELECTION} if self.rejection else set()
        return frozenset({class_of(kind, self.report_class) for kind in self.kinds} | notes)

    @property
    def report_line(self) -> str:
        """What its report is filed under: reports of one class and geometry that name SEGs, or name none."""
        alone = "" if Kind.SEG in self.kinds else " alone"
        return f"{Kind.SR} {self.report_class} {self.geometry}{alone}"


def choose(destination: Destination, accepted: Collection[str] | None) -> Choice:
    """Choose what a destination gets. `accepted`: the SOP classes that it takes; None where nobody knows yet.

    What is not known to be refused is sent: a refusal is an answer, too.
    """
    reports = [c for c in destination.report_classes if accepted is None or REPORT_CLASSES[c] in accepted]
    kinds: set[Kind] = set()
    said: list[str] = []
    for wanted in destination.objects:
        if _is_taken(wanted, accepted, reports):
            kinds.add(wanted)
            if wanted is Kind.SR and reports[0] is not destination.report_classes[0]:
                said.append(_instead(_reports_before(destination, reports[0]), NAMES[REPORT_CLASSES[reports[0]]]))
            continue
        stand_ins = INSTEAD.get(wanted, ()) if destination.fallback else ()
        found = next((kind for kind in stand_ins if _is_taken(kind, accepted, reports)), None)
        kinds |= {found} if found else set()
        said.append(_instead(_called(wanted), _STAND_INS[found] if found else ""))
    if not kinds:
        kinds.add(Kind.SR)
        said.append("takes nothing of what is written for it; the report is sent all the same")
    return Choice(
        kinds=tuple(kind for kind in Kind if kind in kinds),
        report_class=(reports or list(destination.report_classes))[0],
        geometry=destination.geometry,
        rejection=accepted is None or KEY_OBJECT_SELECTION in accepted,
        fallbacks=tuple(said),
    )


def class_of(kind: Kind, report_class: ReportClass) -> str:
    """Give the SOP class of a kind of object."""
    return REPORT_CLASSES[report_class] if kind is Kind.SR else CLASSES[kind]


def _is_taken(kind: Kind, accepted: Collection[str] | None, reports: Collection[ReportClass]) -> bool:
    if kind is Kind.SR:
        return bool(reports)
    return accepted is None or CLASSES[kind] in accepted


def _called(kind: Kind) -> str:
    return "Structured Report" if kind is Kind.SR else NAMES[CLASSES[kind]]


def _reports_before(destination: Destination, taken: ReportClass) -> str:
    classes = destination.report_classes
    return " nor ".join(NAMES[REPORT_CLASSES[one]] for one in classes[: classes.index(taken)])


def _instead(refused: str, found: str) -> str:
    return f"takes no {refused}; " + (f"{found} goes instead" if found else "nothing goes instead")
