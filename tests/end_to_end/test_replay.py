"""`cxrnode replay` over folders as they are: good films, odd ones, and what is no film at all."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.fileset import FileSet
from pydicom.uid import JPEGLSLossless

from cxrnode.errors import AlreadyRunning, NeedsOperator
from cxrnode.phantom import Defect, Patient, Radiograph, View, write
from cxrnode.replay import Replay
from cxrnode.testing import start_pacs
from tests.fakes.predictor import FakePredictor
from tests.replaying import codes, evidence, pretend, replay, rows, settings
from tests.waiting import wait_for

FILM = Radiograph(rows=320, cols=320)
MANY = 8


@pytest.fixture
def predictor(monkeypatch: pytest.MonkeyPatch) -> FakePredictor:
    """A predictor that answers at once."""
    return pretend(monkeypatch)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """An empty folder for sources."""
    folder = tmp_path / "source"
    folder.mkdir()
    return folder


def _odd_folder(folder: Path) -> dict[str, str]:
    """Fill a folder with what archives hold; give what has to become of each."""
    film = write(FILM, folder / "a.dcm").file
    write(replace(FILM, seed=2, view=View.LATERAL), folder / "lateral.dcm")
    write(replace(FILM, seed=3, defect=Defect.HAND), folder / "hand.dcm")
    write(replace(FILM, seed=4, defect=Defect.NO_VIEW, modality="CR"), folder / "bare.dcm")
    write(replace(FILM, seed=5, defect=Defect.TRUNCATED), folder / "cut-in-pixels.dcm")
    write(replace(FILM, seed=6, defect=Defect.NO_META), folder / "no-meta.dcm")
    write(replace(FILM, seed=7, defect=Defect.NO_STUDY_UID), folder / "no-study.dcm")
    shutil.copy(folder / "a.dcm", folder / "z-copy.dcm")
    (folder / "cut-in-header.dcm").write_bytes(film[:400])
    (folder / "empty.dcm").touch()
    (folder / "notes.txt").write_text("right lung: see report", encoding="utf-8")
    with zipfile.ZipFile(folder / "films.zip", "w") as archive:
        archive.writestr("inside/b.dcm", write(replace(FILM, seed=8), folder.parent / "b.dcm").file)
        archive.writestr("inside/readme", "no film")
    (folder / "broken.zip").write_bytes((folder / "films.zip").read_bytes()[:5000])
    (folder / "DICOMDIR").write_bytes(b"a list of what lies beside it")
    return {
        "a.dcm": "analysed",
        "lateral.dcm": "lateral",
        "hand.dcm": "not_chest",
        "bare.dcm": "analysed",
        "cut-in-pixels.dcm": "unreadable",
        "no-meta.dcm": "analysed",
        "no-study.dcm": "no_study",
        "z-copy.dcm": "another file brought the same content",
        "cut-in-header.dcm": "no_study",
        "empty.dcm": "not_dicom",
        "notes.txt": "not_dicom",
        "b.dcm": "analysed",
        "readme": "not_dicom",
        "broken.zip": "not_dicom",
    }


def _some_films(folder: Path) -> None:
    for seed in range(3):
        write(replace(FILM, seed=seed), folder / f"{seed}.dcm")
    write(replace(FILM, seed=4, view=View.LATERAL), folder / "lateral.dcm")
    (folder / "notes.txt").write_text("right lung: see report", encoding="utf-8")
    shutil.copy(folder / "1.dcm", folder / "z-copy.dcm")


def test_every_file_of_a_folder_ends_with_its_own_reason(source: Path, tmp_path: Path) -> None:
    """Films, cut files, text, an empty file, a zip, a broken one, a copy: a row each, and the sources untouched."""
    expected = _odd_folder(source)
    before = {path.name: path.read_bytes() for path in source.iterdir()}
    summary = replay([source], tmp_path / "out")
    assert codes(tmp_path / "out") == expected
    assert summary.outcomes == Counter("duplicate" if "same" in code else code for code in expected.values())
    assert (summary.parked, summary.unopened) == (0, [])
    assert {path.name: path.read_bytes() for path in source.iterdir()} == before


def test_a_second_run_adds_nothing_and_says_the_same(predictor: FakePredictor, source: Path, tmp_path: Path) -> None:
    """The same command again reads what it knows, runs no model, and writes the same table and evidence."""
    _some_films(source)
    out = tmp_path / "out"
    first = replay([source], out)
    table, objects, asked = (out / "findings.csv").read_bytes(), evidence(out), len(predictor.asked)
    second = replay([source], out)
    assert (second, (out / "findings.csv").read_bytes()) == (first, table)
    assert (evidence(out), len(predictor.asked)) == (objects, asked)


def test_two_replays_into_two_folders_give_equal_evidence(
    predictor: FakePredictor, source: Path, tmp_path: Path
) -> None:
    """Evidence depends on the films and the models, not on where or when it was made."""
    _some_films(source)
    replay([source], tmp_path / "one")
    replay([source], tmp_path / "two")
    assert evidence(tmp_path / "one")
    assert evidence(tmp_path / "one") == evidence(tmp_path / "two")


def test_a_row_names_its_evidence_and_overlay(predictor: FakePredictor, source: Path, tmp_path: Path) -> None:
    """Paths in the table are below the output folder and there."""
    write(FILM, source / "a.dcm")
    replay([source], tmp_path / "out")
    row = rows(tmp_path / "out")["a.dcm"]
    for column in ("segmentations", "report", "overlay"):
        assert (tmp_path / "out" / row[column]).is_file()
    assert 0.3 < float(row["cardiothoracic_ratio"]) < 0.7
    assert row["area_unit"] == "mm2"
    assert float(row["right_lung.area"]) > 1000


def test_a_corrected_header_takes_the_place_of_the_first(
    predictor: FakePredictor, source: Path, tmp_path: Path
) -> None:
    """Both files have a row: the older says that it was corrected, the newer has the evidence."""
    film = replace(FILM, identity="one", study="one")
    write(film, source / "1.dcm")
    write(replace(film, patient=Patient(name="Corrected^Name")), source / "2.dcm")
    write(replace(film, patient=Patient(name="Corrected^Name"), transfer_syntax=JPEGLSLossless), source / "3.dcm")
    replay([source], tmp_path / "out")
    assert codes(tmp_path / "out") == {"1.dcm": "replaced", "2.dcm": "analysed", "3.dcm": "recoded"}


def test_a_dicomdir_names_its_files_and_a_missing_one_is_said(
    predictor: FakePredictor, source: Path, tmp_path: Path
) -> None:
    """A DICOMDIR as the source gives what it refers to; what is gone from the medium is not opened, and why."""
    files = FileSet()
    for seed in (1, 2):
        path = source / f"{seed}.dcm"
        write(replace(FILM, seed=seed), path)
        files.add(path)
    files.write(tmp_path / "medium")
    kept, gone = sorted(one for one in (tmp_path / "medium").rglob("*") if one.is_file() and one.name != "DICOMDIR")
    gone.unlink()
    summary = replay([tmp_path / "medium" / "DICOMDIR"], tmp_path / "out")
    assert summary.outcomes == {"analysed": 1, "not opened": 1}
    assert summary.unopened == [f"{gone}: No such file or directory"]
    assert str(kept) in (tmp_path / "out" / "findings.csv").read_text(encoding="utf-8")


@pytest.mark.parametrize("content", [b"", b"no DICOMDIR", b"\0" * 128 + b"DICM\x04\x00\x20\x12SQ"])
def test_a_damaged_dicomdir_asks_for_its_folder(
    predictor: FakePredictor, source: Path, tmp_path: Path, content: bytes
) -> None:
    """It cannot be a file with a reason: what it lists is unknown."""
    (source / "DICOMDIR").write_bytes(content)
    with pytest.raises(NeedsOperator, match="the DICOMDIR cannot be read"):
        replay([source / "DICOMDIR"], tmp_path / "out")


def test_a_source_that_is_not_there_is_said_at_once(predictor: FakePredictor, tmp_path: Path) -> None:
    """A misspelt folder is an error, not an empty replay."""
    with pytest.raises(NeedsOperator, match="no such file or folder"):
        replay([tmp_path / "nowhere"], tmp_path / "out")


def test_a_file_that_may_not_be_read_is_said(
    predictor: FakePredictor, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Permission denied is one file's reason and no end of the run; root, too, meets it on network shares."""
    write(FILM, source / "a.dcm")
    write(replace(FILM, seed=2), source / "b.dcm")
    opened = Path.open

    def deny(path: Path, *arguments: Any, **keywords: Any) -> Any:
        if path.name == "b.dcm":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return opened(path, *arguments, **keywords)

    monkeypatch.setattr(Path, "open", deny)
    summary = replay([source], tmp_path / "out")
    assert codes(tmp_path / "out") == {"a.dcm": "analysed", "b.dcm": "Permission denied"}
    assert summary.unopened == [f"{source / 'b.dcm'}: Permission denied"]


def test_the_output_folder_is_no_source(predictor: FakePredictor, source: Path) -> None:
    """A replay into a folder below its source reads its own output neither at once nor the next time."""
    write(FILM, source / "a.dcm")
    replay([source], source / "out")
    replay([source], source / "out")
    assert codes(source / "out") == {"a.dcm": "analysed"}


def test_our_own_evidence_is_never_read_as_input(predictor: FakePredictor, source: Path, tmp_path: Path) -> None:
    """A replay over the evidence of another one starts no job."""
    write(FILM, source / "a.dcm")
    replay([source], tmp_path / "out")
    replay([tmp_path / "out" / "evidence"], tmp_path / "again")
    assert set(codes(tmp_path / "again").values()) == {"own"}
    assert evidence(tmp_path / "again") == {}


def test_a_member_s_odd_name_leads_nowhere(predictor: FakePredictor, source: Path, tmp_path: Path) -> None:
    """A zip whose member claims to lie outside is unpacked inside, and what lies outside is not read in its place."""
    film = write(FILM, tmp_path / "film.dcm").file
    outside = tmp_path / "out" / ".cxrnode" / "secret"
    outside.parent.mkdir(parents=True)
    outside.write_bytes(b"x" * len(film))
    with zipfile.ZipFile(source / "odd.zip", "w") as archive:
        archive.writestr("../../secret", film)
    replay([source], tmp_path / "out")
    assert codes(tmp_path / "out") == {"secret": "analysed"}
    assert outside.read_bytes() == b"x" * len(film)


def test_two_replays_into_one_folder_are_refused(predictor: FakePredictor, source: Path, tmp_path: Path) -> None:
    """The second says that another one writes there."""
    running = Replay(settings(), [source], tmp_path / "out")
    with pytest.raises(AlreadyRunning):
        Replay(settings(), [source], tmp_path / "out")
    running.run(lambda stand: None)


def test_a_destination_gets_the_evidence_too(predictor: FakePredictor, source: Path, tmp_path: Path) -> None:
    """--to sends what is kept in the folder, byte for byte, and asks for no commitment."""
    write(FILM, source / "a.dcm")
    with start_pacs() as pacs:
        known = [{"name": "pacs", "ae_title": pacs.ae_title, "port": pacs.port, "commitment": "required"}]
        summary = replay([source], tmp_path / "out", to=("pacs",), destinations=known)
        assert {pydicom.dcmread(path).Modality for path in pacs.kept.values()} == {"SEG", "SR"}
        assert {f"{uid}.dcm" for uid in pacs.kept} == evidence(tmp_path / "out").keys()
        assert not pacs.asked
    assert summary.undelivered == 0


def test_a_destination_that_refuses_for_good_is_said(predictor: FakePredictor, source: Path, tmp_path: Path) -> None:
    """What could not be delivered is counted; the evidence is in the folder all the same."""
    write(FILM, source / "a.dcm")
    with start_pacs() as pacs:
        pacs.behave(refuse=0xA900)
        known = [{"name": "pacs", "ae_title": pacs.ae_title, "port": pacs.port}]
        summary = replay([source], tmp_path / "out", to=("pacs",), destinations=known)
    assert summary.undelivered == 2
    assert len(evidence(tmp_path / "out")) == 2


def test_an_unknown_destination_is_said_before_anything_is_read(
    predictor: FakePredictor, source: Path, tmp_path: Path
) -> None:
    """--to names a configured destination."""
    with pytest.raises(NeedsOperator, match="no such destination"):
        replay([source], tmp_path / "out", to=("nobody",))


def test_a_model_that_fails_for_good_parks_the_job_and_is_said(
    predictor: FakePredictor, source: Path, tmp_path: Path
) -> None:
    """The run ends; the film is undecided and its job parked."""
    write(FILM, source / "a.dcm")
    predictor.losses = 1000
    summary = replay([source], tmp_path / "out")
    assert (summary.parked, summary.outcomes, codes(tmp_path / "out")) == (
        1,
        {"undecided": 1},
        {"a.dcm": "its job has not ended"},
    )


def _command(source: Path, out: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "CXRNODE_INFERENCE__BATCH": "1", "CXRNODE_INFERENCE__DEVICE": "cpu"}
    arguments = [str(Path(sys.executable).parent / "cxrnode"), "replay", str(source), "--out", str(out), "--json"]
    return subprocess.Popen(
        arguments, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def _has_evidence(out: Path) -> bool:
    return len(list(out.rglob("evidence/*/*/*.dcm"))) >= 2


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """More films than a replay gets through before it is stopped."""
    folder = tmp_path_factory.mktemp("films")
    for seed in range(MANY):
        write(replace(FILM, seed=seed), folder / f"{seed}.dcm")
    return folder


@pytest.fixture(scope="module")
def undisturbed(films: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The evidence of a run that nobody stopped."""
    out = tmp_path_factory.mktemp("undisturbed")
    running = _command(films, out)
    output, errors = running.communicate(timeout=120)
    assert running.returncode == 0, errors
    assert f'"analysed": {MANY}' in output
    return evidence(out)


def test_interrupted_with_ctrl_c_it_says_how_to_go_on_and_does(
    films: Path, undisturbed: dict[str, str], tmp_path: Path
) -> None:
    """SIGINT to the whole group, as a terminal sends it: exit code 130, one sentence, and the next run ends it."""
    running = _command(films, tmp_path / "out")
    wait_for(lambda: _has_evidence(tmp_path / "out") or running.poll() is not None, 60)
    os.killpg(running.pid, signal.SIGINT)
    output, errors = running.communicate(timeout=60)
    assert running.returncode == 130, errors
    assert (output, errors.splitlines()[-1]) == ("", "stopped; give the same command again to go on from here")
    assert "Traceback" not in errors
    _goes_on(films, tmp_path / "out", undisturbed)


def test_killed_in_the_middle_it_goes_on_where_it_was(films: Path, undisturbed: dict[str, str], tmp_path: Path) -> None:
    """SIGKILL leaves no goodbye; the next run brings the evidence of an undisturbed one, and leaves nothing half."""
    running = _command(films, tmp_path / "out")
    wait_for(lambda: _has_evidence(tmp_path / "out") or running.poll() is not None, 60)
    running.kill()
    running.communicate(timeout=60)
    assert running.returncode == -signal.SIGKILL
    _goes_on(films, tmp_path / "out", undisturbed)


def _goes_on(films: Path, out: Path, undisturbed: dict[str, str]) -> None:
    left = evidence(out)
    assert left.items() <= undisturbed.items()
    assert len(left) < len(undisturbed), "it was stopped too late to show anything"
    again = _command(films, out)
    _, errors = again.communicate(timeout=120)
    assert again.returncode == 0, errors
    assert evidence(out) == undisturbed
    assert set(codes(out).values()) == {"analysed"}


@pytest.mark.data
def test_real_radiographs_come_back_each_with_its_own_truth(data: Path, tmp_path: Path) -> None:
    """The frontal chests have lungs and heart; dental film, hips, leg and animal each have their own reason."""
    summary = replay([data / "dicom"], tmp_path / "out")
    found = codes(tmp_path / "out")
    chests = {name for name in found if name.startswith(("RG1_", "CR-MONO1", "1.2.276.0.7230010.3.1.4.8323329.6904"))}
    assert {found.pop(name) for name in chests} == {"analysed"}
    assert len(chests) == 3
    assert found.pop("index.csv") == "not_dicom"
    assert found.pop("dx_image.dcm") == "not_human"
    assert (len(found), set(found.values())) == (11, {"not_chest"})
    assert (summary.parked, summary.unopened) == (0, [])
    for name in chests:
        row = rows(tmp_path / "out")[name]
        # One object for all where frames end with a byte, else one for each.
        objects = [pydicom.dcmread(tmp_path / "out" / path) for path in row["segmentations"].split()]
        labels = [segment.SegmentLabel for one in objects for segment in one.SegmentSequence]
        assert sorted(labels) == ["Heart", "Left lung", "Right lung"]
        assert 0.35 < float(row["cardiothoracic_ratio"]) < 0.55
        assert (tmp_path / "out" / row["overlay"]).is_file()
