"""The drawing over an image as a Grayscale Softcopy Presentation State: the radiograph itself, with lines and words.

Hides the modules of PS3.3 A.33.1. Promises that the image is shown as its own header says, and that every line and word
stands in source pixel coordinates, in a layer of its own for each thing that is shown, so that a reader can switch it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from cxrnode.domain.capability import CLASSES, Kind
from cxrnode.domain.finding import ImageResult
from cxrnode.domain.identity import derived_uid
from cxrnode.domain.selection import OWN_MANUFACTURER
from cxrnode.domain.study import Instance
from cxrnode.evidence import graphics, headers, shown
from cxrnode.evidence.blank import Series, blank, finish
from cxrnode.evidence.codes import INTENDED_USE
from cxrnode.evidence.drawing import Drawing, drawing_of
from cxrnode.evidence.identity import FORMAT, Author, content_of, models_in, series_uid

SERIES_NUMBER = 7003


def presentation_uid(author: Author, image: ImageResult) -> str:
    """Give the SOP Instance UID of the presentation state: a function of the drawing and of the models behind it."""
    drawn = [asdict(drawing_of(image)), models_in(image)]
    return derived_uid("GSPS", FORMAT, asdict(author), content_of(image.source), drawn)


def compose_presentation(author: Author, image: ImageResult, header: Dataset) -> Dataset:
    """Compose the presentation state, settled and complete."""
    uid, source, drawing = presentation_uid(author, image), image.source, drawing_of(image)
    series = Series(uid=series_uid(uid), number=SERIES_NUMBER, description="cxrnode graphics", modality="PR")
    built = blank(author, CLASSES[Kind.GSPS], uid, source.study_uid, series)
    # No model looks at anything else; of a chest no Laterality is asked (type 2C).
    built.BodyPartExamined = "CHEST"
    moment = headers.moment_of(header)
    _identify(built, moment)
    _relate(built, source)
    built.DisplayedAreaSelectionSequence = Sequence([_displayed_area(source, drawing)])
    built.GraphicLayerSequence = Sequence(graphics.layers(drawing))
    built.GraphicAnnotationSequence = Sequence(_referring(source, graphics.annotated(drawing)))
    _show(built, header)
    finish(built, author, header, moment, {source.uid, source.description.series_uid}, image.models)
    # It has a moment of its own name; the other belongs to images and documents.
    del built.ContentDate, built.ContentTime
    return built


def _identify(built: Dataset, moment: tuple[str, str]) -> None:
    """Presentation State Identification (PS3.3 C.11.10)."""
    built.ContentLabel, built.ContentDescription = "CXRNODE", INTENDED_USE
    built.ContentCreatorName = f"{OWN_MANUFACTURER}^"
    built.PresentationCreationDate, built.PresentationCreationTime = moment


def _relate(built: Dataset, source: Instance) -> None:
    """Presentation State Relationship (PS3.3 C.11.11)."""
    series = Dataset()
    series.SeriesInstanceUID = source.description.series_uid
    series.ReferencedImageSequence = Sequence([_reference(source)])
    built.ReferencedSeriesSequence = Sequence([series])


def _reference(source: Instance) -> Dataset:
    referenced = Dataset()
    referenced.ReferencedSOPClassUID = source.description.sop_class_uid
    referenced.ReferencedSOPInstanceUID = source.uid
    return referenced


def _referring(source: Instance, items: Iterator[Dataset]) -> Iterator[Dataset]:
    for item in items:
        item.ReferencedImageSequence = Sequence([_reference(source)])
        yield item


def _displayed_area(source: Instance, drawing: Drawing) -> Dataset:
    """The whole image (PS3.3 C.10.4), by the shape of its pixels: a size in mm is the image's own to state."""
    area = Dataset()
    area.ReferencedImageSequence = Sequence([_reference(source)])
    area.DisplayedAreaTopLeftHandCorner = [1, 1]
    area.DisplayedAreaBottomRightHandCorner = [drawing.columns, drawing.rows]
    area.PresentationSizeMode = "SCALE TO FIT"
    area.PresentationPixelAspectRatio = [1, 1] if drawing.aspect == 1 else [round(1000 * drawing.aspect), 1000]
    return area


def _show(built: Dataset, header: Dataset) -> None:
    """Modality LUT, Display Shutter, Softcopy VOI LUT, Softcopy Presentation LUT (PS3.3 C.11.1, C.7.6.11, C.11.8)."""
    built.update(shown.modality_of(header))
    built.update(shown.shutter_of(header))
    voi = shown.voi_of(header)
    if voi is not None:
        built.SoftcopyVOILUTSequence = Sequence([voi])
    built.PresentationLUTShape = shown.polarity_of(header)
