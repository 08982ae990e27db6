"""However broken a header says how its image is to be shown: a presentation state and a picture are composed."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from cxrnode.domain.finding import ImageResult
from cxrnode.domain.selection import View
from cxrnode.evidence.capture import compose_capture
from cxrnode.evidence.encode import encoded
from cxrnode.evidence.headers import read_header
from cxrnode.evidence.presentation import compose_presentation
from tests.evidence_cases import Case, case
from tests.plain_viewers import author

KEYWORDS = (
    "PhotometricInterpretation",
    "BurnedInAnnotation",
    "RescaleIntercept",
    "RescaleSlope",
    "RescaleType",
    "WindowCenter",
    "WindowWidth",
    "VOILUTFunction",
    "LossyImageCompression",
    "LossyImageCompressionRatio",
    "PatientOrientation",
    "ShutterShape",
    "ShutterLeftVerticalEdge",
    "VerticesOfThePolygonalShutter",
    "ShutterPresentationValue",
    "PixelRepresentation",
)
VALUES = st.one_of(
    st.binary(max_size=24),
    st.sampled_from([b"", b"abc ", b"1\\2\\x ", b"NaN ", b"1e400 ", b"-0 ", b"RECTANGULAR ", b"01", b"YES "]),
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """One case; its file is read, not written."""
    return case(tmp_path_factory.mktemp("made"))


@settings(max_examples=100, deadline=None)
@given(damage=st.dictionaries(st.sampled_from(KEYWORDS), VALUES, min_size=1, max_size=4))
@example(damage={"LossyImageCompression": b"01", "LossyImageCompressionRatio": b"\x80 "})
def test_whatever_a_header_states_something_is_composed(made: Case, damage: dict[str, bytes]) -> None:
    """Nothing is raised, and what is composed can be read back."""
    header = read_header(made.source, Path(made.path))
    for keyword, value in damage.items():
        tag = Tag(tag_for_keyword(keyword) or 0)
        header[tag] = RawDataElement(tag, dictionary_VR(tag), len(value), value, 0, False, True)
    # Nothing found: what is drawn does not depend on the header, and words take their time.
    image, preview = ImageResult(source=made.source, view=View.PA, results=()), np.full((300, 261), 90, dtype=np.uint8)
    for built in (
        compose_presentation(author(), image, header),
        compose_capture(author(), image, header, preview),
    ):
        file = encoded(built, "0")
        assert pydicom.dcmread(io.BytesIO(file)).SOPInstanceUID == built.SOPInstanceUID
