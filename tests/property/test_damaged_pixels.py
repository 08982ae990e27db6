"""A damaged file is refused or decoded, whatever is damaged: nothing else comes out, and the process goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cxrnode.errors import Unsuitable
from cxrnode.phantom import Radiograph, render
from cxrnode.phantom.encode import ENCODINGS
from cxrnode.pixels.codecs import CODECS, Layout
from cxrnode.pixels.codestream import joined
from cxrnode.pixels.decode import decode
from cxrnode.pixels.grayscale import display
from cxrnode.pixels.orientation import from_header

SIDE = 48
JPEGS = [syntax for syntax in ENCODINGS if ".1.2.4." in syntax]


def specification(syntax: str) -> Radiograph:
    bits = min(12, ENCODINGS[syntax].most_bits)
    return Radiograph(rows=SIDE, cols=SIDE, modality="CR", bits_stored=bits, transfer_syntax=syntax)


def damaged(draw: st.DrawFn, content: bytes, first: int) -> bytes:
    """Some bytes from `first` on replaced, and sometimes the end cut off."""
    places = draw(st.lists(st.integers(first, len(content) - 1), min_size=1, max_size=8))
    changed = bytearray(content)
    for place in places:
        changed[place] = draw(st.integers(0, 255))
    return bytes(changed[: draw(st.sampled_from([len(changed), len(changed), len(changed) * 3 // 4, 700]))])


@pytest.mark.parametrize("syntax", ENCODINGS)
@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_damaged_file_is_refused_or_shown(syntax: str, data: st.DataObject, tmp_path: Path) -> None:
    """Anything may be wrong after the preamble: the only error is Unsuitable."""
    content = render(specification(syntax)).file
    (tmp_path / "f.dcm").write_bytes(data.draw(st.composite(damaged)(content, 132)))
    try:
        pixels = decode(tmp_path / "f.dcm")
    except Unsuitable:
        return
    display(pixels)
    from_header(pixels.header)


@pytest.mark.parametrize("syntax", JPEGS)
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_damaged_stream_header_never_ends_the_process(syntax: str, data: st.DataObject) -> None:
    """GDCM calls terminate() on headers that make no sense; such headers must not reach it."""
    spec = specification(syntax)
    frame = joined(render(spec).dataset.PixelData)
    place, value = data.draw(st.integers(2, 180)), data.draw(st.integers(0, 255))
    layout = Layout(
        rows=SIDE,
        cols=SIDE,
        allocated=8 if spec.bits_stored == 8 else 16,
        stored=spec.bits_stored,
        high=spec.bits_stored - 1,
        signed=False,
    )
    try:
        CODECS[syntax](frame[:place] + bytes([value]) + frame[place + 1 :], layout)
    except Exception as error:  # noqa: BLE001 - a codec may raise anything; decode() makes it Unsuitable
        assert not isinstance(error, MemoryError)
