"""Reading what somebody else wrote without believing what it says about its size.

Hides zlib. Promises that reading a header costs no more memory than MOST_HEADER and no more steps than MOST_READS,
whatever lengths, sequences or compression it claims: a value that says 4 GB, a million elements of nothing, a deflated
data set of a few kilobytes that inflates to gigabytes.
"""

from __future__ import annotations

import io
import sys
import zlib
from typing import BinaryIO, cast

MOST_HEADER = 32 << 20
"""Bytes before the pixels. Overlays and private data of real films come to a few million."""
MOST_READS = 60_000
"""Every element costs two or three, and ten microseconds of the listener's interpreter; headers of radiographs have
hundreds of elements."""
MOST_INFLATED = 400 << 20
"""Bytes of pixels out of a deflated data set; the largest detectors have sixty million pixels, of two bytes."""
_CHUNK = 1 << 18


class TooMuch(Exception):
    """A header that goes on for longer than any does."""


class Frugal:
    """A file of which only so much is read; what would go beyond raises TooMuch."""

    def __init__(self, file: BinaryIO, most: int = MOST_HEADER, reads: int = MOST_READS) -> None:
        """Read from `file`, which stays its owner's."""
        self._file, self._left, self._reads = file, most, reads
        self.seek, self.tell = file.seek, file.tell
        here = file.tell()
        self._end = file.seek(0, io.SEEK_END)
        file.seek(here)

    def read(self, count: int = -1) -> bytes:
        """Read `count` bytes, or to the end; no buffer is made for bytes that are not there."""
        there = max(0, self._end - self._file.tell())
        got = self._file.read(min(there if count < 0 else count, there, self._left + 1))
        self._left, self._reads = self._left - len(got), self._reads - 1
        if self._left < 0 or self._reads < 0:
            raise TooMuch
        return got


def whole(file: BinaryIO) -> BinaryIO:
    """Give a file of which all may be read, and still nothing that is not there."""
    return cast(BinaryIO, Frugal(file, sys.maxsize, sys.maxsize))


class Inflating:
    """A deflated data set (PS3.5 A.5): its `head`, to be read as a file, and then what follows, once and in order."""

    def __init__(self, file: BinaryIO, most: int = MOST_INFLATED) -> None:
        """Inflate from where `file` stands. zlib.error where its first bytes are not deflated."""
        self._file, self._inflater = file, zlib.decompressobj(-zlib.MAX_WBITS)
        self._left = most
        self._kept = io.BytesIO(self._inflated(MOST_HEADER + 1))
        self.head = Frugal(self._kept)

    def read(self, count: int) -> bytes:
        """Read at most `count` bytes from where the head was left; none where the stream ends, breaks or never ends."""
        got = self._kept.read(count)
        if got or self._left <= 0:
            return got
        try:
            more = self._inflated(count)
        except zlib.error:
            more = b""
        self._left -= len(more)
        return more

    def _inflated(self, count: int) -> bytes:
        out = bytearray()
        while len(out) < count and not self._inflater.eof:
            packed = self._inflater.unconsumed_tail or self._file.read(_CHUNK)
            more = self._inflater.decompress(packed, count - len(out))
            if not packed and not more:
                break
            out += more
        return bytes(out)
