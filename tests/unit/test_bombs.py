"""Small files that would unpack to gigabytes, or that claim to: refused before the memory is taken."""

from __future__ import annotations

import struct
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pydicom
import pytest
from pydicom import uid
from pydicom.encaps import encapsulate

from cxrnode.errors import Unsuitable
from cxrnode.phantom import Radiograph, write
from cxrnode.pixels import decode as decoding
from cxrnode.pixels.decode import decode

MB = 1 << 20
HEADER = Radiograph(rows=256, cols=256)


@contextmanager
def refused_within(megabytes: float) -> Iterator[None]:
    """Check that what runs inside is Unsuitable, as unreadable, and takes no more memory."""
    tracemalloc.start()
    try:
        with pytest.raises(Unsuitable) as refused:
            yield
        assert refused.value.code == "unreadable"
        assert tracemalloc.get_traced_memory()[1] < megabytes * MB
    finally:
        tracemalloc.stop()


def film(folder: Path, change: Callable[[pydicom.Dataset], None], syntax: str = uid.ExplicitVRLittleEndian) -> Path:
    """Write a film whose data set was changed."""
    path = folder / "film.dcm"
    ds = write(HEADER, path).dataset
    ds.file_meta.TransferSyntaxUID = syntax
    change(ds)
    ds.save_as(path, enforce_file_format=True)
    return path


def test_deflated_data_set_that_inflates_a_thousandfold_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Zeros by the gigabyte in a megabyte, behind a header that is sound: pydicom would inflate it whole."""
    monkeypatch.setattr(decoding, "_MOST_INFLATED", 50 * MB)
    path = film(tmp_path, lambda ds: None)
    content, size = path.read_bytes(), 1 << 30
    start = 144 + struct.unpack("<L", content[140:144])[0]
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    packed = packer.compress(content[start:])
    packed += b"".join(packer.compress(bytes(MB)) for _ in range(size // MB)) + packer.flush()
    deflated = uid.DeflatedExplicitVRLittleEndian.encode()
    plain = uid.ExplicitVRLittleEndian.encode() + b"\0"
    at = content.index(plain)
    meta = content[: at - 2] + struct.pack("<H", len(deflated)) + deflated + content[at + len(plain) : start]
    path.write_bytes(meta[:140] + struct.pack("<L", len(meta) - 144) + meta[144:] + packed)
    assert len(packed) < 2 * MB
    with refused_within(120):
        decode(path)


def test_run_lengths_stop_at_the_picture(tmp_path: Path):
    """Two bytes make 128: a segment of 8 megabytes is not unpacked to half a gigabyte."""
    plane = b"\x81\x00" * (4 * MB)
    frame = struct.pack("<16I", 2, 64, 64 + len(plane), *[0] * 13) + plane + plane

    def change(ds: pydicom.Dataset) -> None:
        ds.PixelData = encapsulate([frame])
        ds["PixelData"].is_undefined_length = True

    path = film(tmp_path, change, uid.RLELossless)
    with refused_within(120):
        decode(path)


def jpeg2000_claiming(rows: int, cols: int, tile: int) -> bytes:
    """Give a JPEG 2000 stream that is nothing but its claim to be so large (ISO 15444-1 A.5.1)."""
    size = struct.pack(">HHIIIIIIIIHBBB", 41, 0, cols, rows, 0, 0, tile, tile, 0, 0, 1, 15, 1, 1)
    return b"\xff\x4f\xff\x51" + size + b"\xff\xd9"


@pytest.mark.parametrize(
    ("rows", "cols", "tile"),
    [(60000, 60000, 60000), (10000, 10000, 1), (10000, 10000, 0), (256, 256, 256)],
    ids=["huge", "tiles", "no tiles", "nothing behind it"],
)
def test_compressed_picture_that_only_claims_to_be_large_is_refused(tmp_path: Path, rows: int, cols: int, tile: int):
    """A hundred bytes say what a decoder would take gigabytes for; header and stream agree with each other."""

    def change(ds: pydicom.Dataset) -> None:
        ds.Rows, ds.Columns = rows, cols
        ds.PixelData = encapsulate([jpeg2000_claiming(rows, cols, tile)])
        ds["PixelData"].is_undefined_length = True

    path = film(tmp_path, change, uid.JPEG2000Lossless)
    with refused_within(20):
        decode(path)


@pytest.mark.parametrize(("rows", "cols"), [(0, 256), (256, 0), (65535, 65535), (65535, 2000)])
def test_absurd_rows_and_columns_are_refused_before_the_pixels_are_touched(tmp_path: Path, rows: int, cols: int):
    """Nothing, everything that 16 bits can say, and a strip."""

    def change(ds: pydicom.Dataset) -> None:
        ds.Rows, ds.Columns = rows, cols

    path = film(tmp_path, change)
    with refused_within(20):
        decode(path)


def test_rows_and_columns_below_nothing_are_refused(tmp_path: Path):
    """Two numbers below zero have a product above it: a header with another VR can say so."""
    path = film(tmp_path, lambda ds: None)
    content = path.read_bytes()
    for element in (0x10, 0x11):
        at = content.index(struct.pack("<HH2sH", 0x0028, element, b"US", 2))
        content = content[: at + 4] + b"SS" + content[at + 6 : at + 8] + struct.pack("<h", -256) + content[at + 10 :]
    path.write_bytes(content)
    assert pydicom.dcmread(path).Rows == -256
    with refused_within(20):
        decode(path)
