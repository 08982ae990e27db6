"""A patient's name, id and birth date reach no log, warning, error or health page, however broken the film is.

Sound and broken films with planted sentinels go through the real process at DEBUG, to a PACS that refuses and aborts,
and through `cxrnode replay`. Everything that the program says is then searched. The control shows that other programs
do say it: plain pydicom, reading the very same files.
"""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from pydicom import uid

from cxrnode.phantom import Defect, Patient, Radiograph, render
from cxrnode.testing import Pacs, start_pacs
from tests.auditing import lines_in
from tests.end_to_end.processes import PATIENCE, Serve, serving
from tests.soaked import FREE, TYPED, soaked, text_attributes, with_text

NAME, PATIENT_ID, BIRTH_DATE = "ZZSENTINEL", "PIDPLANTED", "18530917"
PATIENT = Patient(name=f"{NAME}^QUXA", patient_id=PATIENT_ID, birth_date=BIRTH_DATE)
SENTINELS = (NAME, PATIENT_ID, BIRTH_DATE)
_SOUGHT = re.compile(rf"{NAME}|{PATIENT_ID}|(?<![0-9]){BIRTH_DATE}(?![0-9])", re.IGNORECASE)


def said_of_a_patient(text: str) -> list[str]:
    """Give the lines of a text that hold a sentinel."""
    return [line for line in text.splitlines() if _SOUGHT.search(line)]


def _swap(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    """Replace the one place where `old` stands by as many bytes."""
    assert len(old) == len(new)

    def swap(file: bytes) -> bytes:
        assert file.count(old) == 1, (old, file.count(old))
        return file.replace(old, new)

    return swap


def _value(tag: bytes, new: bytes) -> Callable[[bytes], bytes]:
    """Fill the value of an element of explicit VR (short length) with `new`, again and again."""

    def fill(file: bytes) -> bytes:
        at = file.index(tag, 132)
        length = int.from_bytes(file[at + 6 : at + 8], "little")
        return file[: at + 8] + (new * length)[:length] + file[at + 8 + length :]

    return fill


def _garbled_codestream(file: bytes) -> bytes:
    """Write the name over the first frame's codestream, behind its first marker (PS3.5 A.4)."""
    at = file.rindex(b"\xfe\xff\x00\xe0") + 8
    end = min(at + 4000, len(file) - 200)
    return file[: at + 4] + (NAME.encode() * 400)[: end - at - 4] + file[end:]


BROKEN: Mapping[str, Callable[[bytes], bytes]] = {
    "name in no character set": _swap(b"^QUXA", b"^\xe4\xfc\xff\xfe"),
    "unknown VR": _swap(b"\x10\x00\x10\x00PN", b"\x10\x00\x10\x00QQ"),
    "name as a decimal": _swap(b"\x10\x00\x10\x00PN", b"\x10\x00\x10\x00DS"),
    "id as an integer": _swap(b"\x10\x00\x20\x00LO", b"\x10\x00\x20\x00IS"),
    "birth date as a sequence": _swap(b"\x10\x00\x30\x00DA", b"\x10\x00\x30\x00SQ"),
    "id longer than the file": _swap(b"\x10\x00\x20\x00LO", b"\x10\x00\x20\x00UT"),
    "study date": _value(b"\x08\x00\x20\x00DA", NAME.encode()),
    "instance UID": _value(b"\x08\x00\x18\x00UI", NAME.encode()),
    "series UID": _value(b"\x20\x00\x0e\x00UI", NAME.encode()),
    "study UID": _value(b"\x20\x00\x0d\x00UI", NAME.encode()),
    "spacing": _value(b"\x18\x00\x64\x11DS", NAME.encode()),
    "window": _value(b"\x28\x00\x50\x10DS", NAME.encode()),
    "instance number": _value(b"\x20\x00\x13\x00IS", NAME.encode()),
    "bits stored": _swap(b"\x28\x00\x01\x01US", b"\x28\x00\x01\x01LO"),
}
"""What is done to a sound film of explicit little endian."""

GARBLED = {
    "JPEG": uid.JPEGBaseline8Bit,
    "JPEG lossless": uid.JPEGLosslessSV1,
    "JPEG-LS": uid.JPEGLSLossless,
    "JPEG 2000": uid.JPEG2000Lossless,
    "RLE": uid.RLELossless,
}


def _film(name: str, **specification: Any) -> bytes:
    film = Radiograph(**{"rows": 288, "cols": 256, "patient": PATIENT, "study": name, "bits_stored": 8} | specification)
    return render(film).file


def _drowned(*, long: bool) -> Iterator[tuple[str, bytes]]:
    """Give films with a sentinel in place of their own texts, some in each film; in the long form one in each."""
    base = replace(SOAKED, study="drowned")
    places = text_attributes(render(base).dataset)
    step = len(places) if long else 5
    for number in range(step):
        film = replace(base, study=f"drowned {number}")
        yield film.study, with_text(film, places[number::step], NAME)


SOAKED = Radiograph(rows=288, cols=256, patient=PATIENT, study="soaked", bits_stored=8)


def _films(*, long: bool) -> Iterator[tuple[str, bytes]]:
    yield "soaked", soaked(SOAKED, NAME, FREE)
    yield "soaked where no free text is allowed", soaked(replace(SOAKED, study="typed"), NAME, TYPED)
    yield from _drowned(long=long)
    yield "sound", _film("sound")
    yield "lateral of a hand", _film("hand", defect=Defect.HAND)
    for name, break_it in BROKEN.items():
        yield name, break_it(_film(name))
    for name, syntax in GARBLED.items():
        yield f"garbled {name}", _garbled_codestream(_film(name, transfer_syntax=syntax))
    for defect in (Defect.TRUNCATED, Defect.NO_STUDY_UID, Defect.WRONG_ROWS, Defect.LYING_BITS, Defect.NO_PIXELS):
        yield str(defect), _film(str(defect), defect=defect)


@dataclass(frozen=True, slots=True, kw_only=True)
class Films:
    """The films, in a folder that has the patient's name, as exported ones have."""

    folder: Path
    paths: tuple[Path, ...]


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory, long: bool) -> Films:
    """Write them, and show that what is looked for is in them."""
    folder = tmp_path_factory.mktemp("films") / f"{NAME}_{PATIENT_ID}"
    folder.mkdir()
    paths = []
    for number, (name, file) in enumerate(_films(long=long)):
        assert NAME.encode() in file
        assert name.startswith("drowned") or (PATIENT_ID.encode() in file and BIRTH_DATE.encode() in file)
        paths.append(folder / f"{number}.dcm")
        paths[-1].write_bytes(file)
    return Films(folder=folder, paths=tuple(paths))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What was said while the films went through."""

    node: Serve
    health: str
    temporary: Path
    core_files: set[Path]
    """Core files that were there before."""


@pytest.fixture(scope="module")
def ran(films: Films, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    """Push every film to a node at DEBUG whose PACS refuses, aborts and forgets before it behaves."""
    folder, temporary = tmp_path_factory.mktemp("node"), tmp_path_factory.mktemp("temporary")
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setenv("TMPDIR", str(temporary))
    core_files = _core_files(temporary)
    settings = {"LOG__LEVEL": "DEBUG", "LINE__JOBS__ATTEMPTS": "2", "LINE__DELIVERIES__ATTEMPTS": "500"}
    often = {"LINE__DELIVERIES__LONGEST_SECONDS": "0.5"}
    with start_pacs() as pacs, serving(folder, pacs, **settings, **often) as node:
        pacs.behave(refuse=0xA700, comment=f"no room for {NAME} {PATIENT_ID} {BIRTH_DATE}")
        pacs.behave_on_commitment(refuse=0x0110)
        answers = [node.send([path], calling="MODALITY")[0] for path in films.paths]
        assert answers.count(0) > len(films.paths) // 2, answers
        health = [str(node.health())]
        _misbehave(node, pacs)
        node.wait(lambda: _is_idle(node))
        health.append(str(node.health()))
        _crash_the_child(node, films)
        assert node.terminate() == 0
        yield Ran(node=node, health="\n".join(health), temporary=temporary, core_files=core_files)
    monkeypatch.undo()


def _crash_the_child(node: Serve, films: Films) -> None:
    """End the process that decodes, with patients' films in its memory, by the signal of a crash in a codec."""
    (child,) = set(node.processes()) - {node.pid}
    os.kill(child, signal.SIGSEGV)
    node.wait(lambda: node.events("child_lost"))
    node.wait(node.models_loaded)


def _core_files(temporary: Path) -> set[Path]:
    """Give the core files where a process of ours might leave one."""
    return {path for folder in (Path.cwd(), temporary) for path in folder.glob("core*") if path.is_file()}


def _misbehave(node: Serve, pacs: Pacs) -> None:
    node.wait(lambda: node.events("delivery_retried"))
    for manner in ({"abort": "during"}, {"abort": "after"}, {"refuse": 0xC000, "times": 1}):
        retried = len(node.events("delivery_retried")) + len(node.events("delivery_parked"))
        pacs.behave(**manner)  # type: ignore[arg-type]
        node.wait(
            lambda retried=retried: (  # type: ignore[misc]
                len(node.events("delivery_retried")) + len(node.events("delivery_parked")) > retried
            )
        )
    pacs.behave()
    node.wait(lambda: pacs.asked)
    pacs.behave_on_commitment()


def _is_idle(node: Serve) -> bool:
    with node.ledger() as ledger:
        counts, still_open = ledger.counts(), ledger.open_studies()
    deliveries = counts.deliveries_by_state.get("pacs", {})
    working = {"SCHEDULED", "IN_PROGRESS"} & {str(s) for s, n in counts.jobs_by_state.items() if n}
    moving = {"PENDING", "SENDING", "SENT"} & {str(s) for s, n in deliveries.items() if n}
    return not still_open and not working and not moving and bool(deliveries)


def test_log_at_debug_names_no_patient(ran: Ran) -> None:
    """Standard error of node and child, at DEBUG, over all films, refusals and aborts."""
    text = ran.node.text()
    assert ran.node.events("instance_received")
    assert ran.node.events("delivery_retried")
    assert ran.node.events("foreign"), "other libraries were not heard at DEBUG"
    assert said_of_a_patient(text) == []


def test_log_is_made_of_events_only(ran: Ran) -> None:
    """Every line of standard error is one of our JSON lines: nothing writes past the closed list."""
    assert [line for line in ran.node.text().splitlines() if not re.fullmatch(r'\{"at": .*\}', line)] == []


def test_health_page_names_no_patient(ran: Ran) -> None:
    """/health, while the PACS refuses and at the end."""
    assert "'ledger'" in ran.health
    assert said_of_a_patient(ran.health) == []


STATED_UID = re.compile(f"({NAME})+[A-Z]*")
"""What two of the films state as a UID: whoever reads the ledger needs it to find them."""


def test_ledger_holds_patients_in_their_own_columns_only(ran: Ran) -> None:
    """No reason, history line or outcome in the ledger has a patient's data in it; the patient's columns have. What a
    film states elsewhere (a name as its study's date or UID) stands under those attributes, and under no other."""
    found = dict(_columns_with_a_sentinel(ran.node.state / "ledger.sqlite"))
    columns = {column for _, column in found}
    assert columns >= PATIENT_COLUMNS
    assert columns <= PATIENT_COLUMNS | AS_THE_FILM_STATES


PATIENT_COLUMNS = {"patient_id", "patient_name"}
"""Where the ledger keeps them, so that an operator finds a patient's jobs."""

AS_THE_FILM_STATES = {"study_date", "facts"}


def _columns_with_a_sentinel(path: Path) -> Iterator[tuple[tuple[str, str], list[str]]]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            cursor = connection.execute(f"SELECT * FROM {table}")
            names = [column[0] for column in cursor.description]
            rows = cursor.fetchall()
            for at, name in enumerate(names):
                texts = [text for row in rows if said_of_a_patient(text := str(row[at]))]
                texts = [text for text in texts if not STATED_UID.fullmatch(text)]
                if texts:
                    yield (table, name), texts


def test_audit_trail_is_where_patients_are_named(ran: Ran) -> None:
    """Positive control: what the log does not say, the node knew all along, and said where it belongs."""
    said = b"\n".join(lines_in(ran.node.state / "audit")).decode()
    assert NAME in said and PATIENT_ID in said


def test_a_crash_leaves_its_place_in_the_log_and_no_memory_on_the_disk(ran: Ran) -> None:
    """The child that was ended by SIGSEGV: a place at most, no core file, and nothing in the temporary folder."""
    assert {event["status"] for event in ran.node.events("child_lost")} >= {-signal.SIGSEGV}
    assert _core_files(ran.temporary) == ran.core_files
    left = [path for path in ran.temporary.rglob("*") if path.is_file()]
    assert [path for path in left if said_of_a_patient(path.read_bytes().decode("latin-1"))] == []


def test_no_name_of_a_file_names_a_patient(ran: Ran) -> None:
    """Some of the films state a name as their UID: no path in the state or the temporary folder has it."""
    paths = [*ran.node.state.rglob("*"), *ran.temporary.rglob("*")]
    assert len(paths) > 20
    assert said_of_a_patient("\n".join(map(str, paths))) == []


def test_everything_that_is_kept_is_the_users_own(ran: Ran) -> None:
    """Files 0600, folders 0700: ledger, spool, audit, and what lay unfinished."""
    modes = {path: path.stat().st_mode & 0o777 for path in [ran.node.state, *ran.node.state.rglob("*")]}
    assert {path: mode for path, mode in modes.items() if mode & 0o077} == {}
    assert ran.node.incoming() == []


def test_commands_for_operators_name_no_patient_but_in_the_list_of_jobs(ran: Ran) -> None:
    """`status`, `check` and every error of the command line; `jobs` names patients on purpose, and is left out."""
    for arguments in (
        ["status"],
        ["check", "--json"],
        ["check"],
        ["check", "--reconcile"],
        ["spool"],
        ["spool", "sweep", "--dry-run"],
        ["models", "list"],
        ["jobs", "show", "99999"],
        ["jobs", "retry", "99999"],
    ):
        done = ran.node.cli(*arguments)
        assert "Traceback" not in done.stderr
        assert said_of_a_patient(done.stdout + done.stderr) == [], arguments


def test_replay_at_debug_names_no_patient(films: Films, tmp_path: Path) -> None:
    """Standard error of `cxrnode replay` over the same films, from a folder that is called after the patient."""
    (films.folder / "note.txt").write_text(f"{NAME} {PATIENT_ID} {BIRTH_DATE}\n")
    (films.folder / "empty.dcm").touch()
    replay = Serve(tmp_path / "replay", LOG__LEVEL="DEBUG", LINE__JOBS__ATTEMPTS="1")
    done = replay.cli("replay", str(films.folder), "--out", str(tmp_path / "out"), "--json")
    assert (tmp_path / "out" / "findings.csv").is_file(), done.stderr[-2000:]
    assert '"event"' in done.stderr
    assert "Traceback" not in done.stderr
    assert said_of_a_patient(done.stderr) == []
    assert [path for path in (tmp_path / "out").rglob("*") if path.stat().st_mode & 0o077] == []


def test_plain_pydicom_would_be_found_out(films: Films) -> None:
    """Negative control: reading the same films with pydicom, logging and warnings on, each sentinel is said."""
    script = (
        "import logging, sys, traceback, warnings\n"
        "logging.basicConfig(level='DEBUG'); warnings.simplefilter('always')\n"
        "import pydicom; pydicom.config.debug(True)\n"
        "for path in sys.argv[1:]:\n"
        "    try:\n"
        "        ds = pydicom.dcmread(path); str(ds); ds.pixel_array\n"
        "    except Exception:\n"
        "        traceback.print_exc()\n"
    )
    command = [sys.executable, "-c", script, *(path.name for path in films.paths)]
    done = subprocess.run(
        command, cwd=films.folder, capture_output=True, text=True, errors="replace", timeout=PATIENCE, check=False
    )
    said = "\n".join(said_of_a_patient(done.stderr))
    for sentinel in SENTINELS:
        assert sentinel in said
