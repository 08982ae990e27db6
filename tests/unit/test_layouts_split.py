"""Who is tested on whom: one patient, and one film of several data sets, is in one part."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxrnode.training.catalogue import read_catalogue, read_split
from cxrnode.training.example import Example, MaskAt, part_of
from cxrnode.training.likeness import ALIKE, find_alike, read_thumbnails, thumbnail
from cxrnode.training.split import split
from tests import layouts

MASK = (MaskAt(path=Path("mask.png")),)


def _film(patient: str, **known: object) -> Example:
    film = Example(name=patient, source="s", patient=patient, part="train", image=Path("film.png"))
    return replace(film, **known)  # type: ignore[arg-type]


def _named(part: str, prefix: str = "p") -> str:
    return next(name for name in (f"{prefix}{n}" for n in range(1000)) if part_of(name) == part)


def test_films_of_one_patient_are_in_one_part_whichever_set_names_them() -> None:
    """Cohen's patients, v7labs' and NIH's films have several names for one person."""
    films = (
        _film("cohen-7"),
        _film("ieee8023-7", source="covid_v7labs"),
        _film("NIH-00000012"),
        _film("somebody", name="00000012_003", source="chestxdet"),
    )
    result = split(films)
    assert result.groups[0] == result.groups[1] != result.groups[2] == result.groups[3]
    assert result.examples[2].part == result.examples[3].part


def test_films_that_are_alike_are_in_one_part_through_others_too() -> None:
    """Likeness joins groups: a to b and b to c puts c with a, and the pairs of strangers are counted."""
    films = [_film(f"patient{n}") for n in range(60)]
    result = split(films, [(0, 1), (1, 59)])
    assert result.groups[0] == result.groups[1] == result.groups[59]
    assert result.joined == 2
    assert len(set(result.groups)) == 58
    assert len({result.examples[n].part for n in (0, 1, 59)}) == 1


def test_patients_alone_have_the_part_of_their_name() -> None:
    """Without a likeness the part is the hash of the patient's name, whoever else is there."""
    films = [_film(f"patient{n}") for n in range(200)]
    assert [film.part for film in split(films).examples] == [part_of(film.patient) for film in films]


def test_drawn_lungs_keep_their_patients_part_and_others_follow_the_strictest() -> None:
    """Two lung films that are alike stay where they were; what else is like them goes where no test is spoilt."""
    learnt, tested = _named("train", "JSRT-"), _named("test", "JSRT-")
    films = (
        _film(learnt, source="jsrt", masks={"right_lung": MASK, "left_lung": MASK}),
        _film(tested, source="jsrt", masks={"right_lung": MASK, "left_lung": MASK}),
        _film(_named("train", "other")),
    )
    parts = [film.part for film in split(films, [(0, 2), (1, 2)]).examples]
    assert parts == ["train", "test", "test"]


def test_real_pneumothoraces_are_for_measuring_unless_siim_publishes_them() -> None:
    """Gathered masks and ChestX-Det's are never learnt from; SIIM's own data set is learnt from as any other."""
    films = [_film(f"s{n}", source="pneumothorax_whole_film", masks={"pneumothorax": MASK}) for n in range(300)]
    films += [_film(f"n{n}", source="pneumothorax_whole_film", masks={"pneumothorax": ()}) for n in range(50)]
    films += [_film(f"c{n}", source="chestxdet", masks={"pneumothorax": MASK}) for n in range(50)]
    parts = [film.part for film in split(films).examples]
    assert set(parts) == {"validate", "test"}
    assert 0.2 < parts[:300].count("validate") / 300 < 0.4
    published = [replace(film, source="siim") for film in films]
    assert {film.part for film in split(published).examples} == {"train", "validate", "test"}


def test_a_copy_is_found_whatever_was_done_to_it(tmp_path: Path) -> None:
    """Another size, another window, JPEG's losses and a border do not hide a film; another chest is another film."""
    plane = layouts.chest(1, 200)
    framed = np.zeros((260, 230), dtype=np.uint8)
    framed[30:230, 15:215] = plane
    pictures = {
        "same": plane,
        "darker": (plane * 0.6 + 20).astype(np.uint8),
        "framed": framed,
        "small": np.asarray(Image.fromarray(plane).resize((90, 90))),
        "other": layouts.chest(2, 200),
    }
    for name, picture in pictures.items():
        Image.fromarray(picture).save(tmp_path / f"{name}.jpg", quality=75)
    films = [_film(name, image=tmp_path / f"{name}.jpg") for name in pictures]
    assert set(find_alike(films)) == {(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)}


def test_an_empty_picture_is_like_nothing() -> None:
    """A picture of one value has no likeness, not even to itself."""
    flat = thumbnail(np.full((80, 80), 0.5, dtype=np.float32))
    assert float(flat @ flat) < ALIKE


def test_thumbnails_are_kept_until_a_film_changes(tmp_path: Path) -> None:
    """What was kept is used again, and a file that changed is read again."""
    kept, path = tmp_path / "run" / "thumbnails.npz", tmp_path / "film.png"
    layouts.save(layouts.chest(1), path)
    films = [_film("p", image=path)]
    first = read_thumbnails(films, kept)
    with np.load(kept) as file:
        np.savez(kept, names=file["names"], thumbnails=-file["thumbnails"])
    assert np.array_equal(read_thumbnails(films, kept), -first)
    layouts.save(layouts.chest(2, 70), path)
    again = read_thumbnails(films, kept)
    assert not np.allclose(again, first)
    assert not np.allclose(again, -first)


def test_a_film_in_two_data_sets_is_in_one_part(tmp_path: Path) -> None:
    """A child's film of Kermany that lies in the Radiography database too goes with it, under whatever name."""
    layouts.write_kermany(tmp_path / "chest_xray")
    layouts.write_radiography(tmp_path / "COVID-19_Radiography_Dataset")
    for number, name in enumerate(("train/NORMAL/IM-0115-0001", "test/NORMAL/NORMAL2-IM-0828-0001"), start=2):
        with Image.open(tmp_path / "chest_xray" / f"{name}.jpeg") as film:
            film.resize((75, 75)).save(tmp_path / f"COVID-19_Radiography_Dataset/Normal/images/Normal-{number}.png")
    result = read_split(tmp_path)
    groups = defaultdict(set)
    for film, group in zip(result.examples, result.groups, strict=True):
        groups[group].add((film.source, film.name, film.part))
    shared = [members for members in groups.values() if len({source for source, _, _ in members}) == 2]
    assert sorted(sorted(name for _, name, _ in members) for members in shared) == [
        ["IM-0115-0001", "Normal-2"],
        ["NORMAL2-IM-0828-0001", "Normal-3"],
    ]
    assert all(len({part for _, _, part in members}) == 1 for members in groups.values())


def test_the_gathered_pneumothoraces_are_not_learnt_from(tmp_path: Path) -> None:
    """Of the gathered films with their masks none is in the training part, with a pneumothorax or without."""
    layouts.write_gathered(tmp_path)
    parts = {film.part for film in read_catalogue(tmp_path) if film.source.startswith("pneumothorax")}
    assert parts == {"validate", "test"}


@pytest.mark.data
def test_the_lungs_of_the_shared_films_stay_in_the_part_they_had(data: Path) -> None:
    """What else stands beside them moves no film that the shipped lungs learnt from or were measured on."""
    films = [film for film in read_catalogue(data) if film.source in ("jsrt", "shenzhen")]
    assert all(film.part == part_of(film.patient) for film in films)
    tested = [film.source for film in films if film.part == "test"]
    assert (tested.count("jsrt"), tested.count("shenzhen")) == (38, 113)
