"""The own writer of explicit VR little endian writes what pydicom writes, byte for byte."""

from __future__ import annotations

from datetime import date
from io import BytesIO

import pydicom
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRLittleEndian

from cxrnode.evidence.encode import encoded

WORDS = st.text("ABC_ 0123", min_size=0, max_size=9)
UIDS = st.integers(1, 2**100).map(lambda number: f"2.25.{number}")
SIGNED, UNSIGNED = st.integers(-(2**15), 2**15 - 1), st.integers(0, 2**16 - 1)
DECIMALS = st.integers(-9999, 9999).map(lambda number: f"{number / 100:.2f}")
SINGLE = st.floats(width=32, allow_nan=False, allow_infinity=False)
VALUES: dict[str, st.SearchStrategy[object]] = {
    **{vr: st.one_of(WORDS, st.lists(WORDS, max_size=3)) for vr in ("AE", "CS", "LO", "SH", "UC")},
    **dict.fromkeys(("LT", "ST", "UT", "PN"), WORDS),
    **{vr: st.one_of(numbers, st.lists(numbers, max_size=4)) for vr, numbers in {"US": UNSIGNED, "SS": SIGNED}.items()},
    **{vr: st.one_of(numbers, st.lists(numbers, max_size=4)) for vr, numbers in {"UL": UNSIGNED, "SL": SIGNED}.items()},
    "FL": st.one_of(SINGLE, st.lists(SINGLE, max_size=9)),
    "FD": st.floats(allow_nan=False),
    "DS": st.one_of(DECIMALS, st.lists(DECIMALS, max_size=3)),
    "IS": SIGNED,
    "UI": st.one_of(UIDS, st.lists(UIDS, max_size=3)),
    "DA": st.dates(min_value=date(1900, 1, 1)).map(lambda day: f"{day:%Y%m%d}"),
    "TM": st.times().map(lambda time: f"{time:%H%M%S}"),
    "AT": st.integers(0x00080000, 0x7FE00010),
    **{vr: st.binary(max_size=9) for vr in ("OB", "UN")},
    "OW": st.binary(max_size=4).map(lambda half: half * 2),
}
"""What the values of each VR look like; odd lengths, none and several among them."""


def _dataset(elements: list[tuple[int, str, object]]) -> Dataset:
    made = Dataset()
    for tag, vr, value in elements:
        made[Tag(tag)] = DataElement(tag, vr, value)
    return made


PLAIN = st.sampled_from(sorted(VALUES)).flatmap(
    lambda vr: st.tuples(st.integers(0x00090000, 0x7FDFFFFF).map(lambda tag: tag | 1), st.just(vr), VALUES[vr])
)
DATASETS = st.recursive(
    st.lists(PLAIN, max_size=6).map(_dataset),
    lambda inner: st.tuples(
        st.lists(PLAIN, max_size=4), st.lists(inner, max_size=3), st.integers(0x00300001, 0x003F0001)
    ).map(lambda parts: _dataset([*parts[0], (parts[2] | 1, "SQ", parts[1])])),
    max_leaves=8,
)


@given(DATASETS)
def test_an_object_is_written_as_pydicom_writes_it(made):
    """Any elements in any nesting, the file meta with them."""
    made.SOPClassUID, made.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.66.4", "2.25.4711"
    ours = encoded(made, "1.0")
    read = pydicom.dcmread(BytesIO(ours))
    made.file_meta = read.file_meta
    buffer = BytesIO()
    pydicom.dcmwrite(buffer, made, enforce_file_format=True, implicit_vr=False, little_endian=True)
    assert read.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert ours == buffer.getvalue()


@given(DATASETS)
def test_an_item_that_stands_in_many_places_is_written_in_each(item):
    """It is encoded once and used again, at any depth."""
    below = Dataset()
    below.ConceptCodeSequence = [item]
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.66.4", "2.25.4711"
    made.ConceptNameCodeSequence = [item, item]
    made.ContentSequence = [below, below]
    read = pydicom.dcmread(BytesIO(encoded(made, "1.0")))
    places = [*read.ConceptNameCodeSequence, *(one.ConceptCodeSequence[0] for one in read.ContentSequence)]
    assert len(places) == 4
    assert all(place == places[0] for place in places)
    assert sorted(places[0].keys()) == sorted(item.keys())
