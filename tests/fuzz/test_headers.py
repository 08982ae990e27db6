"""Headers as nobody should write them: described or called unreadable, in bounded time and memory."""

from __future__ import annotations

import json
import random
import struct
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian

from cxrnode.domain.identity import AETitle, InstanceUID
from cxrnode.domain.selection import is_candidate, select
from cxrnode.domain.study import Arrival, Description, Sender
from cxrnode.errors import Unsuitable
from cxrnode.phantom import Defect, Radiograph, render
from cxrnode.phantom.encode import ENCODINGS
from cxrnode.pixels.frugal import MOST_HEADER, MOST_INFLATED, MOST_READS
from cxrnode.pixels.header import HeaderReader
from tests.fuzz import elements
from tests.fuzz.mutations import mutated

pytestmark = pytest.mark.filterwarnings("ignore")
"""pydicom's warnings: the node's log cuts them to who spoke."""

NOBODY = Sender(calling_ae=AETitle("A"), called_ae=AETitle("B"), address="", association="")
READABLE = {"", "no_study"}
ENDS = READABLE | {"not_dicom", "unreadable_header"}
SIDE = 48
"""Rows and columns; JPEG 2000 is written for no smaller ones."""
LONGEST_SECONDS = 20.0
"""For one input, on a machine that is busy with other tests; they take milliseconds."""


def describe(path: Path, content: bytes) -> Description:
    """Describe a file of this content, as the listener would."""
    path.write_bytes(content)
    return HeaderReader().describe(
        Arrival(path=path, sop_class_uid="", sop_instance_uid=InstanceUID(""), transfer_syntax_uid="", sender=NOBODY)
    )


def judged(description: Description) -> None:
    """Let selection look at it, as closing does; the ledger has to be able to hold what it says."""
    json.dumps(asdict(description), default=str, ensure_ascii=False).encode()
    is_candidate(description.facts)
    try:
        select(description.facts)
    except Unsuitable:
        return


@pytest.mark.parametrize("syntax", ENCODINGS)
def test_a_mutated_header_is_described_or_called_unreadable(
    syntax: str, inputs: Callable[[int, int], int], tried: Callable[[str, str], None], tmp_path: Path
) -> None:
    """Whatever is damaged: nothing is raised, what is said of it can be judged and stored, and it takes no time."""
    bits = min(12, ENCODINGS[syntax].most_bits)
    films = [
        render(Radiograph(rows=SIDE, cols=SIDE, modality=modality, transfer_syntax=syntax, bits_stored=bits)).file
        for modality in ("DX", "CR")
    ]
    dice = random.Random(f"headers {syntax}")
    for _ in range(inputs(60, 4000)):
        film = dice.choice(films)
        began = time.monotonic()
        told = describe(tmp_path / "f.dcm", mutated(dice, film, first=dice.choice((0, 132, 132, 360)), last=2600))
        assert told.unreadable in ENDS
        judged(told)
        assert time.monotonic() - began < LONGEST_SECONDS
        tried("headers", told.unreadable or "described")


@pytest.mark.parametrize("defect", Defect)
def test_a_defect_that_is_damaged_too_is_described(
    defect: Defect, inputs: Callable[[int, int], int], tried: Callable[[str, str], None], tmp_path: Path
) -> None:
    """Films without meta information, without transfer syntax, cut: mutated from the first byte on."""
    film, dice = render(Radiograph(rows=16, cols=16, defect=defect)).file or b"\0", random.Random(f"defects {defect}")
    for _ in range(inputs(20, 1000)):
        told = describe(tmp_path / "f.dcm", mutated(dice, film))
        assert told.unreadable in ENDS
        judged(told)
        tried("headers", told.unreadable or "described")


DEEP = 10_000
BOMBS: dict[str, Callable[[], bytes]] = {
    "nested, undefined lengths": lambda: elements.meta() + elements.header(more=elements.nested(DEEP, undefined=True)),
    "nested, stated lengths": lambda: elements.meta() + elements.header(more=elements.nested(2500, undefined=False)),
    "a value of 4 GB": lambda: (
        elements.meta() + elements.header(more=elements.element(0x20, 0x4000, "UT", b"short", length=0xFFFFFFFE))
    ),
    "a header longer than any": lambda: (
        elements.meta() + elements.header(more=elements.element(0x20, 0x4000, "UT", bytes(MOST_HEADER + 2)))
    ),
    "elements of nothing": lambda: (
        elements.meta()
        + elements.header()
        + b"".join(elements.element(0x22 + (n >> 16), n & 0xFFFF, "LO", b"") for n in range(MOST_READS))
    ),
    "a sequence of empty items": lambda: (
        elements.meta()
        + elements.header(
            more=elements.element(8, 0x2218, "SQ", (elements.ITEM + bytes(4)) * (3 << 20))  # Anatomic Region
        )
    ),
    "a number for every backslash": lambda: (
        elements.meta() + elements.header(more=elements.element(0x28, 0x30, "UN", b"1\\" * (8 << 20)))
    ),
    "an undefined length without end": lambda: (
        elements.meta()
        + elements.header(more=elements.element(0x29, 0x10, "UN", b"", length=elements.UNDEFINED) * 3000)
    ),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_header_costs_what_it_is_and_not_what_it_claims(
    bomb: str, tried: Callable[[str, str], None], tmp_path: Path
) -> None:
    """Seconds, and less memory than a film takes that is analysed, for the longest of them."""
    content = BOMBS[bomb]()
    told, seconds, most = measured(tmp_path / "f.dcm", content)
    assert told.unreadable in ENDS
    judged(told)
    assert seconds < LONGEST_SECONDS
    assert most < 400 << 20
    tried("header bombs", told.unreadable or "described")


TINY = {
    "elements": lambda: b"".join(elements.element(0x22 + (n >> 16), n & 0xFFFF, "LO", b"") for n in range(600_000)),
    "private elements": lambda: b"".join(elements.element(0x23, 0x1000 + n, "LO", b"") for n in range(60_000)) * 10,
    "items": lambda: elements.element(
        8, 0x1140, "SQ", (elements.ITEM + bytes(4)) * 600_000 + elements.END_SEQUENCE, length=elements.UNDEFINED
    ),
    "items of a stated length": lambda: elements.element(8, 0x1140, "SQ", (elements.ITEM + bytes(4)) * 120_000),
    "values": lambda: b"".join(
        elements.element(8, number, "LO", b"\\" * 0xFFFE)
        for number in (0x60, 0x68, 0x70, 0x1030, 0x103E, 0x1050, 0x1070, 0x1080, 0x1090, 0x2111, 0x2112)
    ),
}
MOST_CPU_SECONDS = 2.0
"""A third of a second on a calm machine; without limits three to eight."""


@pytest.mark.parametrize("what", TINY)
def test_megabytes_of_what_is_tiny_do_not_hold_the_listener(
    what: str, tried: Callable[[str, str], None], tmp_path: Path
) -> None:
    """All threads of the listener share one interpreter: five megabytes of nothing take it for a moment only."""
    content = elements.meta() + elements.header() + TINY[what]()
    began = time.process_time()
    told = describe(tmp_path / "f.dcm", content)
    assert time.process_time() - began < MOST_CPU_SECONDS
    assert told.unreadable in ENDS
    tried("header bombs", told.unreadable or "described")


def test_a_header_ten_times_as_long_as_any_is_read_whole(tmp_path: Path) -> None:
    """Five thousand elements, half of them in a sequence of 60 kB: the limits are for what is no radiograph."""
    item = b"".join(elements.element(8, 0x1100 + n, "LO", b"some words of it") for n in range(25))
    items = b"".join(elements.ITEM + struct.pack("<L", len(item)) + item for _ in range(100))
    flat = b"".join(elements.element(0x21, 0x1000 + n, "LO", b"some words of it") for n in range(2500))
    told, other = (
        describe(tmp_path / "f.dcm", elements.meta() + elements.header(more=sequence + flat))
        for sequence in (
            elements.element(0x20, 0x9222, "SQ", items),
            elements.element(0x20, 0x9222, "SQ", items + elements.END_SEQUENCE, length=elements.UNDEFINED),
        )
    )
    assert (told.unreadable, told.study_uid) == ("", "1.2.4")
    assert told.header_digest == other.header_digest


def measured(path: Path, content: bytes) -> tuple[Description, float, int]:
    """Describe; give the seconds, and by how many bytes this process was larger at most than before."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before, began = peak(), time.monotonic()
    told = describe(path, content)
    return told, time.monotonic() - began, peak() - before


def peak() -> int:
    """Give the most bytes that this process has held since that was reset (proc(5), VmHWM)."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) << 10


@pytest.mark.parametrize("where", ["header", "pixels"])
def test_a_deflated_bomb_is_not_inflated_into_memory(
    where: str, tried: Callable[[str, str], None], tmp_path: Path
) -> None:
    """A megabyte that says it is a gigabyte: what is held is the head, what is read has an end."""
    start = elements.header() + (
        elements.element(0x20, 0x4000, "UT", b"", length=0x7FFFFFFE)
        if where == "header"
        else elements.image() + elements.pixels(b"", length=0x7FFFFFFE)
    )
    content = elements.deflated_zeros(start, MOST_INFLATED + (64 << 20) if where == "pixels" else 4 * MOST_HEADER)
    told, seconds, most = measured(tmp_path / "f.dcm", content)
    assert told.unreadable == ("unreadable_header" if where == "header" else "")
    assert not told.facts.whole or where == "header"
    assert seconds < 3 * LONGEST_SECONDS
    assert most < 6 * MOST_HEADER
    tried("header bombs", told.unreadable or "described")


def test_a_deflated_film_is_read_like_any_other(tmp_path: Path) -> None:
    """Whole, cut in its pixels, and with an odd byte after its end."""
    data_set = elements.header(more=elements.image()) + elements.pixels(bytes(range(256)))
    content, plain = elements.deflated(data_set), elements.meta() + data_set
    told, other = describe(tmp_path / "f.dcm", content), describe(tmp_path / "f.dcm", plain)
    assert (told.pixel_digest, told.header_digest, told.facts) == (other.pixel_digest, other.header_digest, other.facts)
    assert told.facts.whole
    padded = describe(tmp_path / "f.dcm", content + b"\0")
    assert (padded.pixel_digest, padded.facts) == (told.pixel_digest, told.facts)
    cut = describe(tmp_path / "f.dcm", content[:-40])
    assert (cut.unreadable, cut.study_uid, cut.facts.whole) == ("", told.study_uid, False)


@pytest.mark.parametrize("digits", [10, 5000])
def test_a_number_of_many_digits_is_not_stated(digits: int, tmp_path: Path) -> None:
    """Number of Frames of more digits than Python converts hid the whole header; of fewer it fitted no table."""
    more = elements.element(0x28, 0x08, "IS", b"9" * digits)
    told = describe(tmp_path / "f.dcm", elements.meta() + elements.header(more=more) + elements.pixels())
    assert (told.unreadable, told.facts.frames) == ("", 1)


@pytest.mark.parametrize("width", [2, 4, 8])
def test_big_endian_values_have_the_digest_of_little_endian_ones(width: int, tmp_path: Path) -> None:
    """Also where a value has no whole number of words."""
    vr = {2: "OW", 4: "OF", 8: "OD"}[width]
    tag = struct.pack(">HH", 0x0066, 0x0016)
    for value in (bytes(range(24)), bytes(range(22))):
        swapped = b"".join(value[at : at + width][::-1] for at in range(0, len(value), width))
        assert len(tag) == 4
        little = digest_of(tmp_path / "f.dcm", vr, value, big=False)
        assert little == digest_of(tmp_path / "f.dcm", vr, swapped, big=True)


def digest_of(path: Path, vr: str, value: bytes, *, big: bool) -> str:
    """Digest a header with one element of such words."""
    order, syntax = (">", ExplicitVRBigEndian) if big else ("<", "1.2.840.10008.1.2.1")

    def short(group: int, number: int, kind: bytes, text: bytes) -> bytes:
        text += b"\0" * (len(text) % 2)
        return struct.pack(f"{order}HH2sH", group, number, kind, len(text)) + text

    words = struct.pack(f"{order}HH2sHL", 0x0066, 0x0016, vr.encode(), 0, len(value)) + value
    body = short(8, 0x18, b"UI", b"1.2.3") + short(0x20, 0xD, b"UI", b"1.2.4") + words
    return describe(path, elements.meta(syntax) + body).header_digest


def test_mutations_are_seen() -> None:
    """The control: the same seed makes the same damage, and nearly all of it damages something."""
    film = render(Radiograph(rows=16, cols=16, transfer_syntax=DeflatedExplicitVRLittleEndian)).file
    one, other = (mutated(random.Random("x"), film) for _ in range(2))
    assert one == other
    dice = random.Random("y")
    assert sum(mutated(dice, film) != film for _ in range(200)) > 190
