"""A JPEG or PNG as a DICOM object: the same picture, and nothing that nobody said."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

from cxrnode.domain.selection import Suitable, select
from cxrnode.errors import NeedsOperator
from cxrnode.phantom.wrap import Stated, read_plain, wrap_file, wrapped
from cxrnode.pixels.decode import decode
from cxrnode.pixels.grayscale import display
from tests.evidence_cases import instance_of

PICTURE = np.random.default_rng(5).integers(0, 256, (300, 301)).astype(np.uint8)


def test_the_object_displays_as_the_picture_does(tmp_path: Path) -> None:
    """Its grayscale chain gives every one of 256 values back."""
    file = tmp_path / "film.dcm"
    file.write_bytes(wrapped(PICTURE))
    assert np.allclose(display(decode(file)).values, PICTURE / 255, atol=1e-6)


def test_a_model_may_look_at_it_and_no_age_or_view_is_made_up(tmp_path: Path) -> None:
    """Selection takes it, with the caveat that nobody stated the view."""
    file = tmp_path / "film.dcm"
    file.write_bytes(wrapped(PICTURE))
    chosen = select(instance_of(file).facts)
    assert isinstance(chosen, Suitable)
    assert "view_unstated" in chosen.caveats
    assert pydicom.dcmread(file).PatientAge == ""


def test_what_is_stated_stands_in_the_object(tmp_path: Path) -> None:
    """View, age and the true shape of a squashed picture: twice as wide as its pixels say."""
    file = tmp_path / "film.dcm"
    file.write_bytes(wrapped(PICTURE[:, :300], Stated(view="AP", age="045Y", sex="M", aspect=2.0)))
    ds = pydicom.dcmread(file)
    assert (ds.ViewPosition, ds.PatientAge, ds.PatientSex) == ("AP", "045Y", "M")
    assert [int(part) for part in ds.PixelAspectRatio] == [1, 2]


def test_the_same_picture_is_the_same_object_and_pictures_can_share_a_study() -> None:
    """UIDs derive from the picture and what is stated of it."""
    assert wrapped(PICTURE) == wrapped(PICTURE)
    one, two = (Stated(study="s", view=view) for view in ("PA", "AP"))
    first, second = (pydicom.dcmread(io.BytesIO(wrapped(PICTURE, each))) for each in (one, two))
    assert first.StudyInstanceUID == second.StudyInstanceUID
    assert first.SOPInstanceUID != second.SOPInstanceUID


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_plain_files_are_read(tmp_path: Path, suffix: str) -> None:
    """JPEG and PNG, within what JPEG loses."""
    smooth = np.tile(np.linspace(0, 255, 256).astype(np.uint8), (256, 1))
    Image.fromarray(smooth).save(tmp_path / f"film.{suffix}")
    assert np.abs(read_plain(tmp_path / f"film.{suffix}").astype(int) - smooth).max() < 8


def test_sixteen_bits_are_scaled_down(tmp_path: Path) -> None:
    """The brightest stays the brightest."""
    deep = (PICTURE.astype(np.uint16) << 8) + 17
    Image.fromarray(deep).save(tmp_path / "deep.png")
    assert np.array_equal(read_plain(tmp_path / "deep.png"), PICTURE)


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    """With its path and what could be given instead."""
    (tmp_path / "film.png").write_text("no picture")
    with pytest.raises(NeedsOperator, match="cannot be read"):
        wrap_file(tmp_path / "film.png", tmp_path / "film.dcm")
