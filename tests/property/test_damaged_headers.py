"""A damaged header is described or called unreadable, whatever is damaged: no error comes out."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cxrnode.domain.identity import AETitle, InstanceUID
from cxrnode.domain.selection import is_candidate, select
from cxrnode.domain.study import Arrival, Description, Sender
from cxrnode.errors import Unsuitable
from cxrnode.phantom import Radiograph, render
from cxrnode.phantom.encode import ENCODINGS
from cxrnode.pixels.header import HeaderReader

META = 132
"""Where file meta information begins (PS3.10 7.1)."""

PIXEL_DATA = b"\xe0\x7f\x10\x00"
ITEM = b"\xfe\xff\x00\xe0"
SYNTAXES = [syntax for syntax in ENCODINGS if ".1.2.4." not in syntax]
pytestmark = pytest.mark.filterwarnings("ignore")
"""pydicom's warnings: the node's log cuts them to who spoke."""

NOBODY = Sender(calling_ae=AETitle("A"), called_ae=AETitle("B"), address="", association="")
BROKEN_ELEMENTS = {
    "a VR that is none": b"\x22\x08\x53\x18Q\x00\x04\x00abcd",
    "a sequence without an item": b"\x08\x00\x15\x22SQ\x00\x00\x04\x00\x00\x00abcd",
    "a sequence that ends in mid-item": b"\x08\x00\x15\x22SQ\x00\x00\x0c\x00\x00\x00" + ITEM + b"\x40\x00\x00\x00abcd",
}
SPLICES = (b"SQ", b"UN", b"OB", b"US", b"DS", b"AT", b"UT", ITEM, b"\xff\xff\xff\xff", b"ISO 2022 IR 87")


def describe(path: Path, content: bytes) -> Description:
    """Describe a file of this content."""
    path.write_bytes(content)
    arrival = Arrival(
        path=path, sop_class_uid="", sop_instance_uid=InstanceUID(""), transfer_syntax_uid="", sender=NOBODY
    )
    return HeaderReader().describe(arrival)


@pytest.mark.parametrize("broken", BROKEN_ELEMENTS)
def test_one_broken_element_does_not_hide_the_rest(broken: str, tmp_path: Path) -> None:
    """The film is known by its UIDs and can be analysed; it has another header than the same film without it."""
    content = render(Radiograph(rows=16, cols=16)).file
    at = content.rindex(PIXEL_DATA)
    told = describe(tmp_path / "f.dcm", content[:at] + BROKEN_ELEMENTS[broken] + content[at:])
    whole = describe(tmp_path / "f.dcm", content)
    assert told.unreadable == ""
    assert (told.study_uid, told.sop_instance_uid) == (whole.study_uid, whole.sop_instance_uid)
    assert (told.facts, told.pixel_digest) == (whole.facts, whole.pixel_digest)
    assert told.header_digest != whole.header_digest


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """The content with some bytes replaced, spliced in or left out, and sometimes its end cut off."""
    changed = bytearray(content)
    for place in draw(st.lists(st.integers(META, min(len(content), 2000)), min_size=1, max_size=5)):
        splice = draw(st.sampled_from(SPLICES) | st.binary(min_size=1, max_size=4))
        changed[place : place + draw(st.integers(0, 6))] = splice
    return bytes(changed[: draw(st.sampled_from([len(changed), len(changed), len(changed), 700]))])


@pytest.mark.parametrize("modality", ["DX", "CR"])
@pytest.mark.parametrize("syntax", SYNTAXES)
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_damaged_header_is_described_or_called_unreadable(
    syntax: str, modality: str, data: st.DataObject, tmp_path: Path
) -> None:
    """Anything may be wrong after the preamble: describing raises nothing, selecting nothing but Unsuitable."""
    content = render(Radiograph(rows=16, cols=16, modality=modality, transfer_syntax=syntax)).file
    told = describe(tmp_path / "f.dcm", data.draw(damaged(content)))
    is_candidate(told.facts)
    try:
        select(told.facts)
    except Unsuitable:
        return
