"""Damaged pixels in every transfer syntax, decoded in a process of its own: a picture of the stated size, or a refusal.

A codec may end the process that decodes; that is seen here and fails, as the node would set the image aside for it.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit, JPEGLosslessSV1, JPEGLSLossless, RLELossless

from cxrnode.phantom import Radiograph, render
from cxrnode.phantom.encode import ENCODINGS
from tests.fuzz import elements
from tests.fuzz.decoding import Decoder
from tests.fuzz.mutations import mutated

SIDE = 48
PIXELS = b"\xe0\x7f\x10\x00"
ROWS, COLUMNS = b"\x28\x00\x10\x00US\x02\x00", b"\x28\x00\x11\x00US\x02\x00"
FRAMES = {
    JPEGBaseline8Bit: (b"\xff\xc0", 5),
    JPEGLosslessSV1: (b"\xff\xc3", 5),
    JPEGLSLossless: (b"\xff\xf7", 5),
    JPEG2000Lossless: (b"\xff\x51", 6),
}
"""Where a code stream states its size: after a marker, so many bytes on."""


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Decoder]:
    """A process that decodes."""
    with Decoder(tmp_path_factory.mktemp("decoder")) as running:
        yield running


def film(syntax: str) -> bytes:
    """Give a film in a transfer syntax."""
    bits = min(12, ENCODINGS[syntax].most_bits)
    return render(Radiograph(rows=SIDE, cols=SIDE, modality="CR", bits_stored=bits, transfer_syntax=syntax)).file


def is_answer(said: str) -> bool:
    """Whether the caller can go on with this."""
    return said == "decoded" or said.startswith("refused")


@pytest.mark.parametrize("syntax", ENCODINGS)
def test_mutated_pixels_are_decoded_or_refused(
    syntax: str, decoder: Decoder, inputs: Callable[[int, int], int], tried: Callable[[str, str], None]
) -> None:
    """Header, fragments, markers and entropy-coded bytes alike; what is decoded has the rows and columns it states."""
    content, dice = film(syntax), random.Random(f"pixels {syntax}")
    at = max(content.rfind(PIXELS), 400)
    for _ in range(inputs(60, 3000)):
        damaged = mutated(dice, content, first=dice.choice((132, at, at)), last=dice.choice((at + 400, None)), most=4)
        said = decoder.answer(damaged)
        assert is_answer(said), said
        tried("pixels", said)


def sized(content: bytes, syntax: str, rows: int, columns: int) -> bytes:
    """Let a film and its code stream state other rows and columns, both the same."""
    changed = bytearray(content)
    for tag, value in ((ROWS, rows), (COLUMNS, columns)):
        struct.pack_into("<H", changed, content.index(tag) + 8, value)
    marker, offset = FRAMES[syntax]
    at = content.index(marker, content.rfind(PIXELS)) + offset
    if syntax == JPEG2000Lossless:
        struct.pack_into(">LL", changed, at, columns, rows)
    else:
        struct.pack_into(">HH", changed, at, rows, columns)
    return bytes(changed)


@pytest.mark.parametrize(
    "size", [(1, 1), (1, 65535), (65535, 1), (12000, 12000), (65535, 2288), (65535, 65535), (0, 7)]
)
@pytest.mark.parametrize("syntax", FRAMES)
def test_a_picture_of_another_size_than_its_bytes_is_decoded_or_refused(
    syntax: str, size: tuple[int, int], decoder: Decoder, tried: Callable[[str, str], None]
) -> None:
    """Header and code stream agree on rows and columns for which there are no pixels: a bomb, or a sliver."""
    said = decoder.answer(sized(film(syntax), syntax, *size))
    assert is_answer(said), said
    tried("pixel bombs", said)


def test_a_run_length_bomb_is_refused(decoder: Decoder, tried: Callable[[str, str], None]) -> None:
    """A hundred megabytes of runs would be six gigabytes of pixels; the picture has sixteen rows."""
    frame = struct.pack("<16L", 1, 64, *[0] * 14) + b"\x81\xff" * (50 << 20)
    value = encapsulate([frame])
    pixels = struct.pack("<HH2sHL", 0x7FE0, 0x10, b"OB", 0, elements.UNDEFINED) + value
    said = decoder.answer(elements.meta(RLELossless) + elements.header(more=elements.image()) + pixels)
    assert said == "refused: unreadable"
    tried("pixel bombs", said)


def test_a_deflated_bomb_is_refused(decoder: Decoder, tried: Callable[[str, str], None]) -> None:
    """Some hundred kilobytes that are more than the largest picture that is decoded."""
    start = elements.header(more=elements.image()) + elements.pixels(b"", length=0x7FFFFFFE)
    said = decoder.answer(elements.deflated_zeros(start, 400 << 20))
    assert said == "refused: unreadable"
    tried("pixel bombs", said)


FINDS = {
    "an undefined sequence that ends too soon": elements.element(8, 0x1140, "SQ", b"", length=elements.UNDEFINED),
    "a value of 4 GB": elements.element(0x20, 0x4000, "UT", b"", length=0xFFFFFFFE),
    "nested without end": elements.nested(5000, undefined=True),
}


@pytest.mark.parametrize("find", FINDS)
def test_what_was_found_is_refused(find: str, decoder: Decoder) -> None:
    """Each came out of decoding as an error that says the disk failed, or the memory."""
    said = decoder.answer(elements.meta() + elements.header(more=elements.image()) + FINDS[find])
    assert said.startswith("refused"), said


def test_file_meta_information_of_4_gb_is_refused_or_passed_over(decoder: Decoder) -> None:
    """Room was made for all of it."""
    meta = elements.meta()
    at = meta.index(b"\x02\x00\x01\x00OB") + 8
    said = decoder.answer(meta[:at] + b"\xfe\xff\xff\xff" + meta[at + 4 :] + elements.header() + elements.pixels())
    assert said.startswith("refused"), said


def test_an_empty_value_is_no_picture(decoder: Decoder) -> None:
    """Pixel Data of no bytes, of which pydicom makes None."""
    content = elements.meta() + elements.header(more=elements.image()) + elements.pixels(b"")
    assert decoder.answer(content) == "refused: unreadable"


def test_sound_films_are_decoded(decoder: Decoder, tmp_path: Path) -> None:
    """The control: undamaged, each is."""
    assert {decoder.answer(film(syntax)) for syntax in ENCODINGS} == {"decoded"}
    plain = elements.meta() + elements.header(more=elements.image()) + elements.pixels()
    assert decoder.answer(plain) == "decoded"


def test_a_process_that_dies_is_noticed(decoder: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control of the control: an answer that never comes is one, and the next film is decoded."""
    decoder.answer(film(RLELossless))
    decoder._process.kill()
    assert decoder.answer(film(RLELossless)) == "died: SIGKILL"
    assert decoder.answer(film(RLELossless)) == "decoded"
