"""Real films: every one decodes, and is shown the right way round."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest

from cxrnode.pixels.decode import decode
from cxrnode.pixels.grayscale import display
from cxrnode.pixels.orientation import from_header

pytestmark = pytest.mark.data


@pytest.fixture
def films(data: Path) -> Path:
    return data / "dicom"


LUNGS = {
    "RG1_J2KI.dcm": ((0.25, 0.18), (0.25, 0.80)),
    "CR-MONO1-10-chest.dcm": ((0.45, 0.22), (0.45, 0.78)),
    "1.2.276.0.7230010.3.1.4.8323329.6904.1517875201.850819.dcm": ((0.45, 0.25), (0.45, 0.75)),
}
"""The three chests, and a point (row, column; shares of the picture) of each lung."""


def values(path: Path) -> np.ndarray:
    return np.asarray(decode(path).values)


def test_every_film_decodes_to_its_rows_and_columns(films: Path) -> None:
    """Fifteen films: JPEG 2000, JPEG-LS, JPEG lossless, baseline and extended, RLE, none; one without meta header."""
    paths = sorted(films.glob("*.dcm"))
    assert len(paths) >= 15
    for path in paths:
        pixels = decode(path)
        assert pixels.values.shape == (pixels.header.Rows, pixels.header.Columns)
        assert np.ptp(pixels.values) > 100


@pytest.mark.parametrize(
    ("lossless", "others"),
    [
        ("RG2_JPLL.dcm", {"RG2_J2KR.dcm": 0, "RG2_RLE.dcm": 0, "RG2_JLSN.dcm": 10}),
        ("RG2_JPLL.dcm", {"RG2_JPLY.dcm": 120, "RG2_J2KI.dcm": 120}),
        ("RG3_RLE.dcm", {"RG3_JLSL.dcm": 0, "RG3_JPLY.dcm": 120, "RG3_J2KI.dcm": 120}),
    ],
)
def test_one_film_in_several_syntaxes_is_one_picture(films: Path, lossless: str, others: dict[str, int]) -> None:
    """The test images of DICOM's own working group: the lossless ones agree exactly, the lossy ones nearly."""
    reference = values(films / lossless).astype(int)
    for name, allowed in others.items():
        difference = np.abs(values(films / name) - reference)
        assert difference.max() <= allowed
        assert difference.mean() < 0.005 * 1024


@pytest.mark.parametrize("name", LUNGS)
def test_lungs_of_real_chests_are_dark_and_the_spine_is_bright(films: Path, name: str) -> None:
    """MONOCHROME1 and 2, with and without a window: air is dark, what is between the lungs is not."""
    pixels = decode(films / name)
    seen = from_header(pixels.header).apply(display(pixels).values)
    rows, cols = seen.shape

    def around(row: float, col: float) -> float:
        r, c = int(row * rows), int(col * cols)
        return float(np.median(seen[r - rows // 40 : r + rows // 40, c - cols // 40 : c + cols // 40]))

    spine = around(0.55, 0.5)
    assert all(around(*point) < spine - 0.1 for point in LUNGS[name])


def test_display_of_real_films_uses_the_range(films: Path) -> None:
    """No film is shown flat, black or white."""
    for path in sorted(films.glob("*.dcm")):
        seen = display(decode(path))
        low, high = np.quantile(seen.values[seen.valid], [0.02, 0.98])
        assert high - low > 0.25
        assert pydicom.dcmread(path, force=True, stop_before_pixels=True).Rows == seen.values.shape[0]
