"""Which modules each SOP class has that we write (PS3.3 A).

Hides nothing. Promises every attribute of type 1 and 2 of the mandatory modules, held by a test against an independent
reading of the standard, and the conditions (1C, 2C) that our objects can come to.
"""

from __future__ import annotations

from collections.abc import Mapping

from cxrnode.domain.capability import (
    ENCAPSULATED_PDF,
    KEY_OBJECT_SELECTION,
    PRESENTATION_STATE,
    REPORT_CLASSES,
    SECONDARY_CAPTURE,
    SEGMENTATION,
)
from cxrnode.evidence.inspection import documents, graphics, images, macros
from cxrnode.evidence.inspection.required import Module, may_be_empty

# Enhanced General Equipment is the segmentation's; we say everywhere which device, software and version wrote it.
_ALWAYS = (macros.PATIENT, macros.STUDY, macros.EQUIPMENT, macros.ENHANCED_EQUIPMENT, macros.SOP_COMMON)
_STEP = may_be_empty("ReferencedPerformedProcedureStepSequence")
_REPORT = (*_ALWAYS, macros.series("SR", _STEP), documents.DOCUMENT, documents.CONTENT)

IODS: Mapping[str, tuple[Module, ...]] = {
    SEGMENTATION: (
        *_ALWAYS,
        macros.series("SEG"),
        images.FRAME_OF_REFERENCE,
        images.GENERAL_IMAGE,
        images.PIXELS,
        images.SEGMENTATION_IMAGE,
        images.FUNCTIONAL_GROUPS,
        images.DIMENSIONS,
        images.INSTANCE_REFERENCE,
    ),
    **dict.fromkeys(REPORT_CLASSES.values(), _REPORT),
    KEY_OBJECT_SELECTION: (*_ALWAYS, macros.series("KO", _STEP), documents.KEY_OBJECTS, documents.CONTENT),
    PRESENTATION_STATE: (
        *_ALWAYS,
        macros.series("PR"),
        graphics.STATE,
        graphics.PRESENTED,
        graphics.DISPLAYED_AREA,
        graphics.GRAPHICS,
        graphics.LAYERS,
        graphics.GRAYSCALE,
    ),
    SECONDARY_CAPTURE: (
        *_ALWAYS,
        macros.series(""),
        images.CAPTURE_EQUIPMENT,
        images.CAPTURE,
        images.GENERAL_IMAGE,
        images.PIXELS,
    ),
    ENCAPSULATED_PDF: (*_ALWAYS, macros.series("DOC"), images.CAPTURE_EQUIPMENT, documents.PDF),
}
"""The modules of each SOP class that we write (PS3.3 A.51, A.35.2, A.35.3, A.35.13, A.35.4, A.33.1, A.8.1, A.45.1)."""
