"""What a compressed picture says about itself, read from its markers before any codec sees it.

Hides fragments (PS3.5 A.4), RLE (PS3.5 Annex G) and the headers of JPEG, JPEG-LS (ISO 10918-1 B.2, ISO 14495-1 C.2)
and JPEG 2000 (ISO 15444-1 A.5). Promises to raise Unsuitable on anything that is not whole: codecs fill what is
missing with gray.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import pairwise

from cxrnode.errors import Unsuitable

_ITEM = b"\xfe\xff\x00\xe0"
_END = b"\xfe\xff\xdd\xe0"
_SOC_SIZ = b"\xff\x4f\xff\x51"
_MOST_TILES = 1 << 14
"""Each costs a decoder kilobytes before it has read one; pictures come in one tile, or in some hundreds."""
_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xF7}
"""SOF0 to SOF15 without DHT, JPG and DAC, and SOF55 of JPEG-LS."""
_HUFFMAN, _SCAN = 0xC4, 0xDA
_HEADER_MARKERS = _FRAME_MARKERS | {_HUFFMAN, 0xCC, _SCAN, 0xDB, 0xDD, 0xF8, 0xFE} | set(range(0xE0, 0xF0))
"""What may stand before the scan: also DAC, DQT, DRI, LSE of JPEG-LS, COM and APP0 to APP15."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """Size, components and bits of a code stream; `ended` tells whether its end marker is there."""

    rows: int
    cols: int
    components: int
    precision: int
    ended: bool


def _broken(happened: str) -> Unsuitable:
    return Unsuitable(happened, code="unreadable", operation="decode")


def joined(value: bytes) -> bytes:
    """The one frame of encapsulated Pixel Data: all fragments after the basic offset table, in order."""
    fragments: list[bytes] = []
    at = 0
    while at + 8 <= len(value) and value[at : at + 4] != _END:
        (length,) = struct.unpack_from("<I", value, at + 4)
        if value[at : at + 4] != _ITEM or at + 8 + length > len(value):
            raise _broken("the fragments of the compressed picture are damaged or cut off")
        fragments.append(value[at + 8 : at + 8 + length])
        at += 8 + length
    if len(fragments) < 2:
        raise _broken("the compressed picture is empty")
    return b"".join(fragments[1:])


def stream_of(frame: bytes) -> Stream:
    """Read the header of a JPEG, JPEG-LS or JPEG 2000 stream."""
    try:
        at = frame.find(_SOC_SIZ, 0, 1024)
        return _jpeg2000(frame, at) if at >= 0 else _jpeg(frame)
    except (struct.error, IndexError) as error:
        raise _broken("the compressed picture ends within its header") from error


def _jpeg2000(frame: bytes, at: int) -> Stream:
    """SIZ: size of the reference grid less the offset of the image; subsampled components are not ours."""
    width, height, left, top, tile_width, tile_height = struct.unpack_from(">6I", frame, at + 8)
    if width * height > _MOST_TILES * tile_width * tile_height:
        raise _broken("the compressed picture is cut into too many tiles")
    components, bits = struct.unpack_from(">HB", frame, at + 40)
    return Stream(
        rows=height - top,
        cols=width - left,
        components=components,
        precision=(bits & 0x7F) + 1,
        ended=_ends(frame),
    )


def _jpeg(frame: bytes) -> Stream:
    """Walk all marker segments from the start to the scan; the frame header and sound Huffman tables must be there."""
    if frame[:2] != b"\xff\xd8":
        raise _broken("the compressed picture is not what its transfer syntax says")
    at, found = 2, None
    while frame[at] == 0xFF:
        marker = frame[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        (length,) = struct.unpack_from(">H", frame, at + 2)
        segment = frame[at + 4 : at + 2 + length]
        if marker == _SCAN and found is not None:
            return found
        if marker in _FRAME_MARKERS:
            precision, rows, cols, components = struct.unpack_from(">BHHB", segment)
            found = Stream(rows=rows, cols=cols, components=components, precision=precision, ended=_ends(frame))
        if marker not in _HEADER_MARKERS or (marker == _HUFFMAN and not _sound_tables(segment)):
            break
        at += 2 + length
    raise _broken("the header of the compressed picture is damaged")


def _sound_tables(segment: bytes) -> bool:
    """Whether a DHT segment holds whole tables and nothing else (ISO 10918-1 B.2.4.2)."""
    at = 0
    while at < len(segment):
        kind, size = segment[at], sum(segment[at + 1 : at + 17])
        if kind >> 4 > 1 or kind & 15 > 3 or size > 256 or len(segment) < at + 17 + size:
            return False
        at += 17 + size
    return True


def _ends(frame: bytes) -> bool:
    """EOI and EOC are FF D9 alike; what may follow is the padding to an even length, or a little more."""
    return frame.rfind(b"\xff\xd9", max(0, len(frame) - 64)) >= 0


def rle_planes(frame: bytes, planes: int, size: int, slack: int) -> list[bytes]:
    """The byte planes of an RLE frame (PS3.5 Annex G), `size` bytes each; fewer, or `slack` more, is an error."""
    try:
        count, *offsets = struct.unpack_from("<16I", frame)
    except struct.error as error:
        raise _broken("the compressed picture ends within its header") from error
    bounds = [*offsets[:count], len(frame)]
    if count != planes or bounds != sorted(bounds) or bounds[0] < 64:
        raise _broken("the compressed picture has other planes of bytes than its header says")
    decoded = [_unpacked(frame[begin:end], size + slack) for begin, end in pairwise(bounds)]
    if not all(size <= len(plane) < size + slack for plane in decoded):
        raise _broken("the compressed picture has other rows and columns than its header says")
    return [plane[:size] for plane in decoded]


def _unpacked(segment: bytes, most: int) -> bytes:
    """Undo PackBits (PS3.5 G.3.2): runs of one byte and stretches of literal ones; little more than `most` in all."""
    out = bytearray()
    at, end = 0, len(segment)
    while at < end - 1 and len(out) < most:
        head = segment[at]
        if head < 128:
            out += segment[at + 1 : at + 2 + head]
            at += head + 2
        elif head > 128:
            out += segment[at + 1 : at + 2] * (257 - head)
            at += 2
        else:
            at += 1
    return bytes(out)
