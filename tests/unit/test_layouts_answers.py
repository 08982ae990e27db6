"""The published answers: classes, boxes, labels, patients, in one vocabulary."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxrnode.errors import NeedsOperator
from cxrnode.training.catalogue import read_films
from cxrnode.training.example import Example, read_picture
from tests import layouts


def _films(folder: Path, write: Callable[[Path], None]) -> dict[str, Example]:
    write(folder)
    return {example.name: example for example in read_films(folder)}


@pytest.mark.parametrize("folder", layouts.WRITERS)
def test_every_film_of_a_published_data_set_can_be_read(tmp_path: Path, folder: str) -> None:
    """Each layout is recognised, from its own folder and from the one above, and its films are pictures."""
    layouts.WRITERS[folder](tmp_path / folder)
    films = read_films(tmp_path / folder)
    assert films
    assert [film.name for film in read_films(tmp_path)] == [film.name for film in films]
    for film in films:
        picture = read_picture(film)
        assert picture.dtype == np.float32
        assert picture.min() >= 0
        assert picture.max() <= 1
        assert picture.std() > 0.02


def test_many_data_sets_lie_side_by_side(tmp_path: Path) -> None:
    """A folder of all of them gives the films of each once, whoever stands beside it."""
    alone = {}
    for name, write in layouts.WRITERS.items():
        write(tmp_path / name)
        alone[name] = len(read_films(tmp_path / name))
    assert len(read_films(tmp_path)) == sum(alone.values())


def test_a_folder_without_a_data_set_says_so(tmp_path: Path) -> None:
    """Nothing is made up where no layout is recognised."""
    with pytest.raises(NeedsOperator, match="another data set that is known"):
        read_films(tmp_path)


def test_radiography_films_have_their_folders_class(tmp_path: Path) -> None:
    """The four classes keep their names; its lung opacities are RSNA's, whose question they answer too."""
    films = _films(tmp_path, layouts.write_radiography)
    patterns = {name: film.classes["pattern"] for name, film in films.items()}
    assert patterns == {
        "COVID-1": "covid19",
        "Lung_Opacity-1": "lung_opacity",
        "Normal-1": "normal",
        "Viral Pneumonia-1": "viral_pneumonia",
    }
    assert films["Lung_Opacity-1"].classes["rsna"] == "lung_opacity"
    assert "rsna" not in films["Normal-1"].classes


@pytest.mark.parametrize("covid", ["COVID-19", "COVID"])
def test_the_first_radiography_versions_are_read_whole(tmp_path: Path, covid: str) -> None:
    """Three classes under other names, their films without a folder of their own: none is dropped."""
    patterns = {covid: "covid19", "NORMAL": "normal", "Viral Pneumonia": "viral_pneumonia"}
    for seed, name in enumerate(patterns):
        layouts.save(layouts.chest(seed), tmp_path / name / f"{name} (1).png")
    (tmp_path / f"{covid}.metadata.xlsx").touch()
    found = {film.name: film.classes["pattern"] for film in read_films(tmp_path)}
    assert found == {f"{name} (1)": pattern for name, pattern in patterns.items()}


def test_siim_films_have_their_headers_patient(tmp_path: Path) -> None:
    """Patient, age, sex and view come from the header; a film that the table does not name is no example."""
    films = _films(tmp_path, layouts.write_siim)
    film = films[layouts.siim_name(1)]
    assert (film.patient, film.age, film.sex, film.view) == ("siim-P1", 28, "F", "AP")
    assert set(films) == {layouts.siim_name(1), layouts.siim_name(2)}


def test_rsna_boxes_are_corners_and_no_box_is_an_answer(tmp_path: Path) -> None:
    """Two rows of a film are its two boxes; a film without a box was looked at."""
    films = _films(tmp_path, layouts.write_rsna)
    boxes = [(box.label, box.left, box.top, box.right, box.bottom) for box in films["aaa"].boxes or ()]
    assert boxes == [("lung_opacity", 10, 20, 40, 60), ("lung_opacity", 5, 6, 12, 14)]
    assert films["bbb"].boxes == () == films["ccc"].boxes
    assert [films[name].classes["rsna"] for name in ("aaa", "bbb", "ccc")] == ["lung_opacity", "not_normal", "normal"]
    assert "pattern" not in films["bbb"].classes
    assert films["aaa"].age == 51


def test_rsna_films_get_the_nihs_patients_where_the_names_are_known(tmp_path: Path) -> None:
    """Two of RSNA's "patients" are one person in the NIH's numbering."""
    names = {"aaa": "00000011_000.png", "bbb": "00000011_004.png"}
    layouts.write_rsna(tmp_path, names=names)
    patients = {film.name: film.patient for film in read_films(tmp_path)}
    assert patients == {"aaa": "nih-00000011", "bbb": "nih-00000011", "ccc": "rsna-ccc"}


def test_nih_boxes_are_in_the_files_pixels(tmp_path: Path) -> None:
    """Boxes are published in 1024 pixels; the file here has 64. A film without one was not looked at."""
    films = _films(tmp_path, layouts.write_nih)
    (box,) = films["00000002_000"].boxes or ()
    assert (box.label, box.left, box.top, box.right, box.bottom) == ("Infiltration", 16, 32, 24, 36)
    assert films["00000001_000"].boxes is None
    assert dict(films["00000001_000"].labels) == {"nih.Cardiomegaly": True, "nih.Effusion": True}
    assert films["00000001_000"].patient == films["00000001_001"].patient == "nih-00000001"
    assert (films["00000001_000"].age, films["00000001_000"].flag) == (58, "")
    assert films["00000002_000"].flag == "official test"


def test_chestxdet_boxes_keep_their_findings(tmp_path: Path) -> None:
    """Every finding is a box in the file's own pixels; a film of NIH's name is that patient's."""
    films = _films(tmp_path, layouts.write_chestxdet)
    film = films["00000007_000"]
    assert [box.label for box in film.boxes or ()] == ["Pneumothorax", "Nodule"]
    assert (film.boxes or ())[0].right == 32
    assert film.patient == "nih-00000007"
    assert films["36199"].boxes == ()


def test_kermanys_children_are_known_by_the_files_names(tmp_path: Path) -> None:
    """A child's films in train and in test are one child's; bacteria make a lung opacity."""
    films = _films(tmp_path, layouts.write_kermany)
    assert films["person1_virus_6"].patient == films["person1_virus_7"].patient == "kermany-person1"
    assert films["NORMAL2-IM-0828-0001"].patient == "kermany-IM-0828"
    assert films["person1_virus_6"].classes["pattern"] == "viral_pneumonia"
    assert films["person80_bacteria_391"].classes["pattern"] == "lung_opacity"
    assert films["IM-0115-0001"].classes["pattern"] == "normal"


def test_of_cohens_collection_only_frontal_radiographs_count(tmp_path: Path) -> None:
    """Laterals, CT and films that are not there are passed over; what is no pneumonia has no class."""
    films = _films(tmp_path, layouts.write_cohen)
    assert {name: film.classes.get("pattern") for name, film in films.items()} == {
        "a": "covid19",
        "b": "covid19",
        "d": "lung_opacity",
        "e": "normal",
        "g": None,
    }
    assert films["a"].patient == films["b"].patient == "cohen-2"
    assert (films["a"].licence, films["a"].age, films["d"].age) == ("CC BY", 65, None)


@pytest.mark.parametrize("view", ["PA", "AP", "AP Supine", "AP Erect", "AP erect", "AP semi erect"])
def test_every_frontal_view_of_cohens_collection_is_one(tmp_path: Path, view: str) -> None:
    """Its versions write the patient's posture after the direction, each in its own way."""
    layouts.save(layouts.chest(80), tmp_path / "images" / "a.jpeg")
    columns, row = ("Patientid", "finding", "view", "filename"), ("2", "COVID-19", view, "a.jpeg")
    layouts.save_table(tmp_path / "metadata.csv", columns, [row])
    assert [film.view for film in read_films(tmp_path)] == [view]


def test_the_nlms_readings_state_age_and_sex(tmp_path: Path) -> None:
    """Both ways of writing a reading are read; the last digit of a name says whether the film is normal."""
    layouts.write_montgomery(tmp_path / "MontgomerySet")
    layouts.write_shenzhen(tmp_path / "ChinaSet_AllFiles")
    films = {film.name: film for film in read_films(tmp_path)}
    assert (films["MCUCXR_0001_0"].age, films["MCUCXR_0001_0"].sex) == (26, "F")
    assert (films["CHNCXR_0330_1"].age, films["CHNCXR_0330_1"].sex) == (45, "F")
    assert films["MCUCXR_0001_0"].classes == {"pattern": "normal"}
    assert films["CHNCXR_0330_1"].classes == {} == dict(films["CHNCXR_0330_1"].masks)
    assert films["CHNCXR_0001_0"].patient == "CHN-0001"


def test_gathered_films_are_read_by_purpose(tmp_path: Path) -> None:
    """Boxes scale from 1024 pixels; an empty list was looked at, an empty cell was not."""
    films = _films(tmp_path, layouts.write_gathered)
    (box,) = films["00000100_000"].boxes or ()
    assert (box.label, box.left, box.top, box.right, box.bottom) == ("lung_opacity", 32, 16, 40, 20)
    assert films["00000101_000"].boxes == ()
    assert films["00000102_000"].boxes is None
    assert [one.label for one in films["00000103_000"].boxes or ()] == ["Nodule"]
    assert films["person1_virus_6"].classes == {"pattern": "viral_pneumonia"}


def test_a_sub_folder_of_gathered_films_can_be_named_itself(tmp_path: Path) -> None:
    """`--data` may name the folder with the index; what lies in it is not taken for a data set of its own."""
    layouts.write_gathered(tmp_path)
    assert [film.source for film in read_films(tmp_path / "lungs")] == ["jsrt"]


def test_a_picture_of_sixteen_bits_keeps_its_shades(tmp_path: Path) -> None:
    """Converted films often have 12 or 16 bits; they are not cut at 255."""
    layouts.write_jsrt(tmp_path)
    path = tmp_path / "All247images" / "JPCLN001.png"
    Image.fromarray(np.arange(128 * 128, dtype=np.uint16).reshape(128, 128) * 3).save(path)
    film = next(film for film in read_films(tmp_path) if film.name == "JPCLN001")
    picture = read_picture(film)
    assert len(np.unique(picture)) == 128 * 128
    assert (picture.min(), picture.max()) == (0, 1)
