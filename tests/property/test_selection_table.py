"""Selection over whatever a header may hold."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from cxrnode.domain.reasons import CAVEATS, REASONS
from cxrnode.domain.selection import (
    CR_STORAGE,
    DX_FOR_PRESENTATION,
    SECONDARY_CAPTURE,
    ImageFacts,
    Suitable,
    View,
    is_candidate,
    select,
)

WORDS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["", "CHEST", "HAND", "PA", "AP", "LAT", "CHEST PA/LAT", "UNKNOWN", "TÓRAX", "OBL", "PORTABLE"]),
)
FACTS = st.builds(
    ImageFacts,
    sop_class_uid=st.sampled_from(["", CR_STORAGE, DX_FOR_PRESENTATION, SECONDARY_CAPTURE, "1.2.3"]),
    modality=st.sampled_from(["", "CR", "DX", "CT", "?"]),
    presentation_intent=WORDS,
    body_part=WORDS,
    region_codes=st.lists(WORDS, max_size=2).map(tuple),
    view_position=WORDS,
    view_codes=st.lists(WORDS, max_size=2).map(tuple),
    image_type=st.lists(WORDS, max_size=4).map(tuple),
    photometric=st.sampled_from(["", "MONOCHROME1", "MONOCHROME2", "RGB"]),
    rows=st.integers(-1, 5000),
    columns=st.integers(-1, 5000),
    frames=st.integers(0, 3),
    patient_orientation=st.lists(WORDS, max_size=3).map(tuple),
    has_pixels=st.booleans(),
    spacing=st.sampled_from([(), (0.1, 0.2)]),
    species=WORDS,
    manufacturer=WORDS,
    words=WORDS,
    series_words=WORDS,
    age_years=st.one_of(st.none(), st.floats(0, 120)),
    laterality=WORDS,
)


@given(FACTS)
@settings(max_examples=400, deadline=None)
def test_every_header_gets_one_verdict_from_the_tables(facts: ImageFacts) -> None:
    """It never raises; a refusal has its reason, an image to analyse is frontal as far as its header goes."""
    verdict = select(facts)
    if isinstance(verdict, Suitable):
        assert verdict.view not in {View.LATERAL, View.OTHER}
        assert set(verdict.caveats) <= CAVEATS.keys()
        assert facts.has_pixels
        assert is_candidate(facts)
    else:
        assert verdict.code in REASONS
        assert is_candidate(facts) is REASONS[verdict.code].candidate
