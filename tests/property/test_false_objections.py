"""Whatever a source's header says: what is made of it passes the inspection, which would keep it back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pydicom
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from cxrnode.domain.capability import Kind
from cxrnode.evidence import headers
from tests.evidence_cases import Case, case, instance_of
from tests.inspecting import made_of, study_of

pytestmark = pytest.mark.filterwarnings("ignore")
"""pydicom's warnings: the node's log cuts them to who spoke."""

KEPT = frozenset({"SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Rows", "Columns"})
"""Without these there is no image to speak of."""

KEYWORDS = [keyword for keyword in dict.fromkeys(headers.READ) if dictionary_VR(tag_for_keyword(keyword) or 0) != "SQ"]
TEXTS = (
    *(b"", b"\\", b"abc", b"0", b"-1", b"1\\2", b"1\\2\\3\\4", b"NaN", b"1,5", b"1_000", b"1e-5", b"9" * 22),
    *(b"20261399", b"2026.01.31", b"12:30", b"24", b"62", b"62Y", b"+01:00", b"M\xfcller^J\xf6rg", b"a\r\nb", b"=\\="),
    *(b"A" * 300, b"ISO_IR 100", b"\\ISO 2022 IR 87", b"ISO IR 999", b"GB18030", b"\x1b$B;3ED\x1b(B"),
    *(b"L\\F", b"l\\f", b"L", b"L\\L", b"X\\F", b"F\\R", b"01", b"YES", b"0.14299999999999999\\0.143", b"0\\0"),
    *(b".5\\.5", b"10\\20", b"1.2.03", b"abc.def", b"RECTANGULAR", b"MONOCHROME1", b"SIGMOID"),
)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """One small case; its file is read, not written."""
    return case(tmp_path_factory.mktemp("film"), rows=96, cols=80)


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    stated=st.dictionaries(
        st.sampled_from([keyword for keyword in KEYWORDS if keyword not in KEPT]),
        st.none() | st.sampled_from(TEXTS) | st.binary(max_size=12),
        min_size=1,
        max_size=8,
    )
)
@example(stated={"PixelSpacing": b"0.14299999999999999\\0.143"})
@example(stated={"WindowCenter": b"100", "WindowWidth": b"1_000"})
@example(stated={"PatientOrientation": b"l\\f"})
def test_what_a_source_says_of_itself_keeps_no_object_back(
    film: Case, stated: dict[str, bytes | None], tmp_path: Path
) -> None:
    """Of every kind, whatever is odd, foreign, broken or missing; UIDs of the objects themselves are there."""
    source = pydicom.dcmread(film.path)
    for keyword, value in stated.items():
        tag = Tag(tag_for_keyword(keyword) or 0)
        source.pop(tag, None)
        if value is not None:
            padded = value + b" " * (len(value) % 2)
            vr = dictionary_VR(tag).partition(" ")[0]
            source[tag] = RawDataElement(tag, vr, len(padded), padded, 0, False, True)
    path = tmp_path / "film.dcm"
    source.save_as(path)
    odd = replace(film, path=path, source=instance_of(path))
    everything = made_of(odd, study_of(odd, with_lateral=False), tmp_path)
    assert {one.kind for one in everything.objects} == set(Kind)
    assert everything.objections() == {}
