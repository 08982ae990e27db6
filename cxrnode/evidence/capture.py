"""The picture of what was found as a Secondary Capture, for viewers that show images and nothing else.

Hides the modules of PS3.3 A.8.1. Promises a colour image that says of itself that it is derived and not for diagnosis,
that nobody can measure on (it states no spacing), and that the node never takes for a radiograph (law 9).
"""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from cxrnode.domain.capability import CLASSES, Kind
from cxrnode.domain.finding import ImageResult
from cxrnode.domain.identity import derived_uid
from cxrnode.evidence import headers
from cxrnode.evidence.blank import Series, blank, finish
from cxrnode.evidence.caption import Sentence, models_of
from cxrnode.evidence.codes import INTENDED_USE, plain
from cxrnode.evidence.colours import Colour
from cxrnode.evidence.drawing import drawing_of
from cxrnode.evidence.identity import FORMAT, Author, content_of, models_in, series_uid
from cxrnode.evidence.painting import PAINTED_WITH, painted

SERIES_NUMBER = 7002
_WARNING = Colour(red=255, green=190, blue=60)


def capture_uid(author: Author, image: ImageResult) -> str:
    """Give the SOP Instance UID of the picture: a function of the drawing, of what is below it and of who paints."""
    drawn = [asdict(drawing_of(image)), models_in(image), PAINTED_WITH]
    return derived_uid("SC", FORMAT, asdict(author), content_of(image.source), drawn)


def compose_capture(author: Author, image: ImageResult, header: Dataset, preview: NDArray[np.uint8]) -> Dataset:
    """Compose the Secondary Capture, settled and complete. `preview`: the whole image as it is displayed, 8 bits."""
    uid, source = capture_uid(author, image), image.source
    series = Series(uid=series_uid(uid), number=SERIES_NUMBER, description="cxrnode findings drawn", modality="OT")
    built = blank(author, CLASSES[Kind.SC], uid, source.study_uid, series)
    _describe(built, author, image, header)
    _put_pixels(built, painted(preview, drawing_of(image), [_head(author)]))
    finish(built, author, header, headers.moment_of(header), {source.uid}, image.models)
    return built


def _head(author: Author) -> Sentence:
    """Say what stands above the picture: nobody is to take it for the radiograph. The caption names the models."""
    return Sentence(text=f"DERIVED, NOT FOR DIAGNOSIS - cxrnode {author.software_version}", colour=_WARNING)


def _describe(built: Dataset, author: Author, image: ImageResult, header: Dataset) -> None:
    """SC Equipment, General Image and SC Image (PS3.3 C.8.6.1, C.7.6.1, C.8.6.2)."""
    built.ConversionType = "WSD"
    built.ImageType = ["DERIVED", "SECONDARY"]
    # No model looks at anything else; of a chest no Laterality is asked (type 2C).
    built.BodyPartExamined = "CHEST"
    made_by = f"cxrnode {author.software_version}, models: {', '.join(models_of(image))}"
    built.DerivationDescription = plain(f"Findings drawn upon the image by {made_by}. {INTENDED_USE}.", 1024)
    built.ImageComments = f"Derived, not for diagnosis. {INTENDED_USE}."
    referenced = Dataset()
    referenced.ReferencedSOPClassUID = image.source.description.sop_class_uid
    referenced.ReferencedSOPInstanceUID = image.source.uid
    referenced.PurposeOfReferenceCodeSequence = Sequence([_used_for()])
    built.SourceImageSequence = Sequence([referenced])
    headers.copy_image_properties(header, built)


def _used_for() -> Dataset:
    """PS3.16 CID 7202."""
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator = "121322", "DCM"
    code.CodeMeaning = "Source image for image processing operation"
    return code


def _put_pixels(built: Dataset, picture: NDArray[np.uint8]) -> None:
    """Image Pixel (PS3.3 C.7.6.3): red, green and blue of a pixel one after the other."""
    built.SamplesPerPixel, built.PhotometricInterpretation, built.PlanarConfiguration = 3, "RGB", 0
    built.Rows, built.Columns = picture.shape[:2]
    built.BitsAllocated, built.BitsStored, built.HighBit, built.PixelRepresentation = 8, 8, 7, 0
    packed = picture.tobytes()
    built.PixelData = packed + b"\x00" * (len(packed) % 2)
    built["PixelData"].VR = "OB"
