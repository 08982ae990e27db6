"""What goes to viewers that read neither SEG nor SR, composed for the tests."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from cxrnode.domain.finding import ImageResult
from cxrnode.evidence.capture import compose_capture
from cxrnode.evidence.encode import encoded
from cxrnode.evidence.headers import read_header
from cxrnode.evidence.identity import Author
from cxrnode.evidence.presentation import compose_presentation
from cxrnode.inference.image_pass import preview_of
from cxrnode.pixels.decode import decode
from cxrnode.pixels.grayscale import display
from tests.evidence_cases import Case, case, composer


@dataclass(frozen=True)
class Plain:
    """A case, its image's result, and the files of both objects."""

    made: Case
    image: ImageResult
    preview: NDArray[np.uint8]
    capture_file: bytes
    presentation_file: bytes

    @property
    def capture(self) -> Dataset:
        """The Secondary Capture as pydicom reads it."""
        return pydicom.dcmread(io.BytesIO(self.capture_file))

    @property
    def presentation(self) -> Dataset:
        """The presentation state as pydicom reads it."""
        return pydicom.dcmread(io.BytesIO(self.presentation_file))


def author(**changes: str) -> Author:
    """Who writes."""
    return composer(**changes).author


def plain(folder: Path, **changes: object) -> Plain:
    """Make a case of the phantom and compose both objects of it."""
    return composed(case(folder, **changes))


def composed(made: Case, image: ImageResult | None = None) -> Plain:
    """Compose both objects of a case, with what four models said of it unless `image` says otherwise."""
    said = image or made.full_study().images[0]
    header, by = read_header(made.source, made.path), author()
    preview = preview_of(display(decode(made.path)).values)
    capture = compose_capture(by, said, header, preview)
    presentation = compose_presentation(by, said, header)
    files = (encoded(built, by.software_version) for built in (capture, presentation))
    return Plain(made, said, preview, *files)
