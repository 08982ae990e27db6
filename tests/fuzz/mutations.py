"""Damage, made from a seed: bytes flipped, numbers made absurd, pieces cut, doubled, moved and spliced in.

A mutation is a function of (random, content); the same seed makes the same input on every machine.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence

LENGTHS = (0, 1, 2, 7, 0x7F, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
"""What lengths and dimensions are set to: ends of their ranges."""
HOSTILE = (
    b"\x00", b"\xff", b"\\", b"^", b"=", b"\x1b[2J\x1b]0;x\x07", b"%s%n%x", b"../../../etc/passwd",
    b"'; DROP TABLE x;--", b"<script>alert(1)</script>", b"\xe2\x80\xae", b"\xfe\xff\x00\xe0",
    b"\xfe\xff\x0d\xe0\x00\x00\x00\x00",
    b"\xfe\xff\xdd\xe0\x00\x00\x00\x00", b"\xff\xff\xff\xff", b"\x1b$B", b"ISO 2022 IR 87", b"ISO_IR 192", b"9" * 5000,
    b"1e400", b"nan", b"-1", b"SQ", b"UN", b"OB", b"OW", b"UT", b"US", b"DS", b"IS", b"AT", b"PN", b"UI",
    b"\xe0\x7f\x10\x00",
)  # fmt: skip
"""Pieces that mean something to somebody: DICOM, terminals, shells, pages, tables, number parsers."""

Mutation = Callable[[random.Random, bytearray], None]


def _flip(dice: random.Random, content: bytearray) -> None:
    at = dice.randrange(len(content))
    content[at] ^= 1 << dice.randrange(8)


def _replace(dice: random.Random, content: bytearray) -> None:
    content[dice.randrange(len(content))] = dice.randrange(256)


def _length(dice: random.Random, content: bytearray) -> None:
    """Write the end of a range where a number may stand."""
    width, order = dice.choice((2, 4)), dice.choice("<>")
    at = dice.randrange(max(1, len(content) - width)) & ~1
    value = dice.choice(LENGTHS) & (1 << 8 * width) - 1
    content[at : at + width] = struct.pack(f"{order}{'H' if width == 2 else 'L'}", value)


def _splice(dice: random.Random, content: bytearray) -> None:
    at = dice.randrange(len(content))
    content[at : at + dice.choice((0, 0, 1, 2, 4, 8))] = dice.choice(HOSTILE)


def _cut(dice: random.Random, content: bytearray) -> None:
    at = dice.randrange(len(content))
    del content[at : at + dice.choice((1, 2, 4, 8, 64, len(content)))]


def _double(dice: random.Random, content: bytearray) -> None:
    at, size = dice.randrange(len(content)), dice.choice((1, 2, 8, 64, 512))
    content[at:at] = content[at : at + size] * dice.choice((1, 2, 30))


def _move(dice: random.Random, content: bytearray) -> None:
    at, size = dice.randrange(len(content)), dice.choice((2, 8, 64))
    piece = content[at : at + size]
    del content[at : at + size]
    to = dice.randrange(len(content) + 1)
    content[to:to] = piece


MUTATIONS: Sequence[Mutation] = (_flip, _replace, _replace, _length, _length, _splice, _splice, _cut, _double, _move)


def mutated(dice: random.Random, content: bytes, *, first: int = 0, last: int | None = None, most: int = 6) -> bytes:
    """Damage what lies between `first` and `last` once to `most` times."""
    end = len(content) if last is None else min(last, len(content))
    middle = bytearray(content[first:end])
    for _ in range(dice.randint(1, most)):
        if middle:
            dice.choice(MUTATIONS)(dice, middle)
    return content[:first] + bytes(middle) + content[end:]
