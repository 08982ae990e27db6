"""The modules of a presentation state: what it is of, what it draws and how it shows (PS3.3 C.10, C.11).

Hides nothing. Promises tables of PS3.3, each with its section.
"""

from __future__ import annotations

from cxrnode.evidence.inspection.macros import IMAGES, INSTANCE, module
from cxrnode.evidence.inspection.required import has, has_none, may_be_empty, must, optional, states

STATE = module(
    "presentation-state-identification",
    "C.11.10",
    must("PresentationCreationDate"),
    must("PresentationCreationTime"),
    must("InstanceNumber"),
    must("ContentLabel"),
    may_be_empty("ContentDescription"),
    may_be_empty("ContentCreatorName"),
)
PRESENTED = module(
    "presentation-state-relationship",
    "C.11.11",
    must(
        "ReferencedSeriesSequence",
        within=(must("SeriesInstanceUID"), must("ReferencedImageSequence", within=INSTANCE)),
    ),
)
DISPLAYED_AREA = module(
    "displayed-area",
    "C.10.4",
    must(
        "DisplayedAreaSelectionSequence",
        within=(
            IMAGES,
            must("DisplayedAreaTopLeftHandCorner"),
            must("DisplayedAreaBottomRightHandCorner"),
            must("PresentationSizeMode", "SCALE TO FIT", "TRUE SIZE", "MAGNIFY"),
            must("PresentationPixelSpacing", when=states("PresentationSizeMode", "TRUE SIZE")),
            must("PresentationPixelAspectRatio", when=has_none("PresentationPixelSpacing")),
            must("PresentationPixelMagnificationRatio", when=states("PresentationSizeMode", "MAGNIFY")),
        ),
    ),
)
_GRAPHIC = (
    must("GraphicAnnotationUnits", "PIXEL", "DISPLAY"),
    must("GraphicDimensions", "2"),
    must("NumberOfGraphicPoints"),
    must("GraphicData"),
    must("GraphicType", "POINT", "POLYLINE", "INTERPOLATED", "CIRCLE", "ELLIPSE"),
    must("GraphicFilled", "Y", "N", when=states("GraphicType", "CIRCLE", "ELLIPSE")),
)
_TEXT = (
    must("UnformattedTextValue"),
    must("BoundingBoxAnnotationUnits", "PIXEL", "DISPLAY", when=has("BoundingBoxTopLeftHandCorner")),
    must("BoundingBoxTopLeftHandCorner", when=has_none("AnchorPoint")),
    must("BoundingBoxBottomRightHandCorner", when=has("BoundingBoxTopLeftHandCorner")),
    must(
        "BoundingBoxTextHorizontalJustification",
        *("LEFT", "RIGHT", "CENTER"),
        when=has("BoundingBoxTopLeftHandCorner"),
    ),
    must("AnchorPoint", when=has_none("BoundingBoxTopLeftHandCorner")),
    must("AnchorPointAnnotationUnits", "PIXEL", "DISPLAY", when=has("AnchorPoint")),
    must("AnchorPointVisibility", "Y", "N", when=has("AnchorPoint")),
)
GRAPHICS = module(
    "graphic-annotation",
    "C.10.5",
    must(
        "GraphicAnnotationSequence",
        within=(
            IMAGES,
            must("GraphicLayer"),
            must("TextObjectSequence", within=_TEXT, when=has_none("GraphicObjectSequence")),
            must("GraphicObjectSequence", within=_GRAPHIC, when=has_none("TextObjectSequence")),
        ),
    ),
)
LAYERS = module(
    "graphic-layer",
    "C.10.7",
    must("GraphicLayerSequence", within=(must("GraphicLayer"), must("GraphicLayerOrder"))),
)
_LUT = (must("LUTDescriptor"), must("LUTData"))
GRAYSCALE = module(
    "softcopy-presentation-lut",
    "C.11.6",
    must("PresentationLUTSequence", within=_LUT, when=has_none("PresentationLUTShape")),
    must("PresentationLUTShape", "IDENTITY", "INVERSE", when=has_none("PresentationLUTSequence")),
    # Softcopy VOI LUT (C.11.8) and Modality LUT (C.11.1), where they are there.
    optional(
        "SoftcopyVOILUTSequence",
        within=(
            IMAGES,
            must("WindowCenter", when=has_none("VOILUTSequence")),
            must("WindowWidth", when=has("WindowCenter")),
            optional("VOILUTSequence", within=_LUT),
        ),
    ),
    must("RescaleIntercept", when=has("RescaleSlope")),
    must("RescaleSlope", when=has("RescaleIntercept")),
    must("RescaleType", when=has("RescaleIntercept")),
    optional("ModalityLUTSequence", within=(*_LUT, must("ModalityLUTType")), single=True),
)
