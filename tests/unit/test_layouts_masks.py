"""The published masks: on the picture's pixels, on the patient's side."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cxrnode.errors import NeedsOperator
from cxrnode.training.catalogue import read_films
from cxrnode.training.example import (
    Example,
    MaskAt,
    MaskRuns,
    MaskSide,
    read_mask,
    read_picture,
    shape_of,
)
from tests import layouts


def _films(folder: Path, write: Callable[[Path], None]) -> dict[str, Example]:
    write(folder)
    return {example.name: example for example in read_films(folder)}


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


@pytest.mark.parametrize(
    ("write", "name"),
    [
        (layouts.write_radiography, "COVID-1"),
        (layouts.write_jsrt, "JPCLN001"),
        (lambda folder: layouts.write_jsrt(folder, swapped=True), "JPCNN002"),
        (layouts.write_montgomery, "MCUCXR_0001_0"),
        (layouts.write_shenzhen, "CHNCXR_0001_0"),
    ],
)
def test_the_right_lung_is_the_patients_whatever_the_folders_are_called(
    tmp_path: Path, write: Callable[[Path], None], name: str
) -> None:
    """Each lung lies where it was drawn, at the film's own size, also where the masks are smaller or hold both."""
    example = _films(tmp_path, write)[name]
    picture = read_picture(example)
    right, left = layouts.lungs(picture.shape[0])
    assert read_mask(example, "right_lung").shape == picture.shape
    assert _overlap(read_mask(example, "right_lung"), right) > 0.9
    assert _overlap(read_mask(example, "left_lung"), left) > 0.9


@pytest.mark.parametrize("write", [layouts.write_siim, layouts.write_siim_absolute, layouts.write_siim_masks])
def test_a_pneumothorax_lies_where_it_was_drawn_in_every_form_of_the_data_set(
    tmp_path: Path, write: Callable[[Path], None]
) -> None:
    """Relative runs in two rows, absolute runs and PNG masks give the same mask; -1 gives none, which is known."""
    films = _films(tmp_path, write)
    wanted = layouts.pneumothorax()[8::16, 8::16]
    assert _overlap(read_mask(films[layouts.siim_name(1)], "pneumothorax"), wanted) > 0.8
    assert films[layouts.siim_name(2)].masks["pneumothorax"] == ()
    assert not read_mask(films[layouts.siim_name(2)], "pneumothorax").any()


def test_a_positive_film_whose_mask_is_missing_is_not_called_negative(tmp_path: Path) -> None:
    """In a copy that is not whole nobody knows where it lies, so the film says nothing."""
    layouts.write_siim_masks(tmp_path)
    (tmp_path / "png_masks" / "1_train_1_.png").unlink()
    assert [film.name for film in read_films(tmp_path)] == [layouts.siim_name(2)]


def test_a_films_shape_is_known_without_its_pixels(tmp_path: Path) -> None:
    """A mask is fitted to the film's shape: the film itself, read once already, is not decoded again for that."""
    films = _films(tmp_path, layouts.write_siim)
    film = films[layouts.siim_name(1)]
    drawn = read_mask(film, "pneumothorax")
    film.image.write_bytes(film.image.read_bytes()[:-3000])
    assert shape_of(film) == drawn.shape == (64, 64)
    assert (read_mask(film, "pneumothorax") == drawn).all()


def test_a_patient_is_read_from_a_dicom_file_whatever_the_case_of_its_ending(tmp_path: Path) -> None:
    """Two films of one patient stay one patient's where somebody renamed them."""
    layouts.write_siim(tmp_path)
    for path in [*tmp_path.rglob("*.dcm")]:
        path.rename(path.with_suffix(".DCM"))
    assert {film.patient for film in read_films(tmp_path)} == {"siim-P1", "siim-P2"}


@pytest.mark.parametrize(("folder", "drawn"), [("Masks", False), ("masks/{}_lung", True), ("SCR/{} lung", True)])
def test_masks_of_jsrt_are_never_taken_for_its_films(tmp_path: Path, folder: str, drawn: bool) -> None:
    """Whatever the folders of a copy are called: a mask bears its film's name and may come after it."""
    layouts.save(layouts.chest(1), tmp_path / "Images" / "JPCLN001.png")
    for mask, side in zip(layouts.lungs(64), ("right", "left"), strict=True):
        layouts.save(mask, tmp_path / folder.format(side) / "JPCLN001.gif")
    (film,) = read_films(tmp_path)
    assert film.image.parent.name == "Images"
    assert bool(film.masks) == drawn


def test_run_lengths_are_exact_at_their_own_size(tmp_path: Path) -> None:
    """A mask written as runs and read back is the same, pixel for pixel, in both ways of counting."""
    image = layouts.save(np.zeros((1024, 1024), dtype=np.bool_), tmp_path / "film.png")
    wanted = layouts.pneumothorax()
    relative = MaskRuns(runs=layouts.runs_of(wanted), rows=1024, cols=1024)
    film = Example(name="film", source="s", patient="p", part="train", image=image, masks={"pneumothorax": (relative,)})
    assert (read_mask(film, "pneumothorax") == wanted).all()


def test_an_outline_becomes_a_mask(tmp_path: Path) -> None:
    """ChestX-Det's polygon of a pneumothorax is filled, on the file's own pixels."""
    films = _films(tmp_path, layouts.write_chestxdet)
    mask = read_mask(films["00000007_000"], "pneumothorax")
    rows, cols = np.nonzero(mask)
    assert (rows.min(), rows.max(), cols.min(), cols.max()) == (8, 24, 16, 32)
    assert films["36199"].masks["pneumothorax"] == ()


def test_lungs_that_touch_are_cut_at_their_waist(tmp_path: Path) -> None:
    """A mask in one piece is parted where it is narrowest, and no pixel is lost or counted twice."""
    right, left = layouts.lungs(64)
    bridge = np.zeros((64, 64), dtype=np.bool_)
    bridge[30:34, 20:44] = True
    path = layouts.save(right | left | bridge, tmp_path / "mask.png")
    sides = {f"{side}_lung": (MaskSide(path=path, side=side),) for side in ("right", "left")}
    film = Example(name="film", source="s", patient="p", part="train", image=path, masks=sides)
    got = [read_mask(film, name) for name in ("right_lung", "left_lung")]
    assert _overlap(got[0], right) > 0.8
    assert _overlap(got[1], left) > 0.8
    assert not (got[0] & got[1]).any()
    assert ((got[0] | got[1]) == (right | left | bridge)).all()


def test_a_mask_of_another_shape_is_refused(tmp_path: Path) -> None:
    """A mask that is no scaled copy of the film's shape belongs to another film, and is not stretched over it."""
    image = layouts.save(layouts.chest(1), tmp_path / "film.png")
    path = layouts.save(np.ones((64, 80), dtype=np.bool_), tmp_path / "mask.png")
    film = Example(
        name="film", source="s", patient="p", part="train", image=image, masks={"heart": (MaskAt(path=path),)}
    )
    with pytest.raises(NeedsOperator, match="differ in size"):
        read_mask(film, "heart")


def test_a_raw_film_of_jsrt_is_bright_where_its_values_are_low(tmp_path: Path) -> None:
    """Raw values are big endian, 0 the brightest; the picture is 0 to 1 with white for bone."""
    values = np.full((2048, 2048), 4095, dtype=">u2")
    values[:, 1024:] = 0
    values[0, 0] = 256
    values.tofile(tmp_path / "JPCLN001.IMG")
    (film,) = read_films(tmp_path)
    picture = read_picture(film)
    assert shape_of(film) == (2048, 2048)
    assert picture[5, 5] == 0.0
    assert picture[5, 2000] == 1.0
    assert picture[0, 0] == pytest.approx(1 - 256 / 4095, abs=1e-6)


def test_a_raw_film_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    """A raw film has no header: only its length tells that it is whole."""
    np.zeros(100, dtype=">u2").tofile(tmp_path / "JPCLN001.IMG")
    with pytest.raises(NeedsOperator, match="2048"):
        read_picture(read_films(tmp_path)[0])
