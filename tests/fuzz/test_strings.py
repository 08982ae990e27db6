"""Hostile words in every text attribute, in UIDs and in file names: harmless wherever they end up."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
import pytest
from typer.testing import CliRunner

from cxrnode.archive import SpoolArchive
from cxrnode.cli import app as commands
from cxrnode.cli import jobs as _jobs  # noqa: F401 - adds its commands
from cxrnode.cli import operator as _operator  # noqa: F401 - adds its commands
from cxrnode.domain.capability import Kind
from cxrnode.domain.identity import AETitle, InstanceUID
from cxrnode.domain.study import Arrival, Sender
from cxrnode.errors import NeedsOperator
from cxrnode.ledger import SqliteLedger
from cxrnode.replay import Replay
from cxrnode.replay.sources import found
from tests.bench import Bench
from tests.fuzz import elements, hostile
from tests.replaying import pretend, settings

pytestmark = pytest.mark.filterwarnings("ignore")

EVERYTHING = tuple(kind for kind in Kind if kind is not Kind.REJECTION)
STEERS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
FORMULA = re.compile(r"[=+\-@\t\r]")
NUMBERS = re.compile(r"-?[0-9.]+(e-?[0-9]+)?")
FEW = ("terminal escapes", "lines of its own", "markup of terminals")
UIDS = {
    "path upwards": b"../../../../../escaped",
    "absolute path": b"/tmp/escaped",
    "NUL": b"1.2\0.3",
    "65 characters": b"1." + b"2" * 63,
    "a thousand characters": b"1." + b"2" * 1000,
    "no digits": b"=cmd|' /C calc'!A0",
    "terminal escapes": b"\x1b[2J\x1b]0;x\x07",
    "delimiters": b"1.2\\1.3",
    "dots": b"...",
    "no character set": b"\xff\xfe\x80",
    "other digits": "\uff11.\uff12.\uff13".encode(),
    "spaces": b"  1.2.3 ",
}


def replayed(sources: Path, out: Path, objects: tuple[Kind, ...] = (Kind.SEG, Kind.SR)) -> list[dict[str, str]]:
    """Replay a folder to its end; give the rows of its table."""
    summary = Replay(settings(), [sources], out, objects=objects).run(lambda stand: None)
    assert (summary.parked, summary.undelivered) == (0, 0)
    with summary.findings.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def assert_harmless_table(rows: list[dict[str, str]]) -> None:
    """Nothing that a table program would calculate."""
    for row in rows:
        for cell in row.values():
            assert NUMBERS.fullmatch(cell) or not FORMULA.match(cell), cell


def assert_harmless_commands(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that steers a terminal, makes lines of its own, or ends the command."""
    monkeypatch.setenv("CXRNODE_NODE__STATE_DIR", str(state))
    with SqliteLedger.open(state / "ledger.sqlite", incarnation="test", exclusive=False) as ledger:
        jobs = [job.job for job in ledger.find_jobs(limit=1000)]
    for words in (
        ["jobs", "list"],
        ["jobs", "list", "--json"],
        ["status"],
        *(["jobs", "show", str(job)] for job in jobs),
    ):
        done = CliRunner().invoke(commands, words)
        assert done.exit_code == 0, (words, done.exception)
        assert not STEERS.search(done.output), words
        assert not re.search(r"^(two|job 7777: COMPLETED)", done.output, re.MULTILINE), words


def assert_all_inside(folder: Path, before: set[Path]) -> None:
    """Nothing was written but below the output folder."""
    assert {path for path in folder.rglob("*") if not path.is_relative_to(folder / "out")} == before


def test_hostile_words_are_harmless_wherever_they_end_up(
    long: bool, tried: Callable[[str, str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A film for each, stating it in every text attribute that decides nothing: analysed; all objects can be read."""
    pretend(monkeypatch)
    sources = tmp_path / "sources"
    sources.mkdir()
    words = hostile.WORDS if long else {name: hostile.WORDS[name] for name in FEW}
    for number, (name, word) in enumerate(words.items(), 1):
        (sources / f"{name}.dcm").write_bytes(hostile.film(word, seed=number))
    before = set(tmp_path.rglob("*"))
    rows = replayed(sources, tmp_path / "out", EVERYTHING if long else (Kind.SEG, Kind.SR, Kind.PDF))
    assert {row["outcome"] for row in rows} == {"analysed"}
    assert_harmless_table(rows)
    assert_harmless_commands(tmp_path / "out" / ".cxrnode", monkeypatch)
    assert_all_inside(tmp_path, before)
    for path in (tmp_path / "out" / "evidence").rglob("*.dcm"):
        read_whole(path)
        tried("hostile words", "object can be read")


def read_whole(path: Path) -> None:
    """Read every element of an object, its pages of PDF too."""
    dataset = pydicom.dcmread(path)
    for element in dataset.iterall():
        assert element.value is not Ellipsis
    if "EncapsulatedDocument" in dataset:
        assert dataset.EncapsulatedDocument.startswith(b"%PDF-")
        assert b"/JavaScript" not in dataset.EncapsulatedDocument
        assert b"/URI" not in dataset.EncapsulatedDocument


def test_hostile_uids_are_harmless_wherever_they_end_up(
    long: bool, tried: Callable[[str, str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each film has a row, whatever its UIDs; pictures and objects lie where they belong."""
    pretend(monkeypatch)
    sources = tmp_path / "sources"
    sources.mkdir()
    every = [(attribute, name) for attribute in ("SOP", "Series", "Study") for name in UIDS]
    chosen = (
        every if long else [("SOP", "path upwards"), ("SOP", "no digits"), ("Series", "no digits"), ("Study", "NUL")]
    )
    for number, (attribute, name) in enumerate(chosen, 1):
        keyword = f"{attribute}InstanceUID"
        content = hostile.film(UIDS[name], attributes=frozenset({keyword}), seed=number)
        (sources / f"{attribute} {name}.dcm").write_bytes(content)
    before = set(tmp_path.rglob("*"))
    rows = replayed(sources, tmp_path / "out", (Kind.SR,))
    assert len(rows) == len(chosen)
    assert {row["outcome"] for row in rows} <= {"analysed", "not analysed"}
    assert_harmless_table(rows)
    assert_harmless_commands(tmp_path / "out" / ".cxrnode", monkeypatch)
    assert_all_inside(tmp_path, before)
    for row in rows:
        assert (
            not row["overlay"] or (tmp_path / "out" / row["overlay"]).resolve().parent == tmp_path / "out" / "overlays"
        )
        tried("hostile UIDs", row["outcome"])


def test_hostile_words_that_decide_are_a_reason_or_a_report(
    long: bool, tried: Callable[[str, str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In Modality, View Position, Image Type and the like: analysed, or not for a reason that has a code."""
    pretend(monkeypatch)
    sources = tmp_path / "sources"
    sources.mkdir()
    deciding = sorted(hostile.DECIDING - {"SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"})
    words = list(hostile.WORDS)
    for number, attribute in enumerate(deciding if long else deciding[::9], 1):
        for word in words[number % 5 :: 5] if long else [words[number % len(words)]]:
            content = hostile.film(hostile.WORDS[word], attributes=frozenset({attribute}), seed=number)
            (sources / f"{attribute} {word}.dcm").write_bytes(content)
    rows = replayed(sources, tmp_path / "out")
    assert len(rows) == len(list(sources.iterdir()))
    for row in rows:
        assert row["outcome"] == "analysed" or row["reason"], row
        tried("hostile words", row["outcome"])
    assert_harmless_table(rows)


def test_hostile_file_names_have_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of another encoding, with lines, escapes and formulas: each file is found, read and told."""
    pretend(monkeypatch)
    sources = tmp_path / "sources"
    sources.mkdir()
    names = [b"\xff\xfe.dcm", b"a\nb=1+1\x1b[2J.dcm", b"\xe2\x80\xae" + b"x" * 240]
    for number, name in enumerate(names, 1):
        (Path(str(sources)) / name.decode("utf-8", "surrogateescape")).write_bytes(
            hostile.film("x", attributes=frozenset({"StationName"}), seed=number)
        )
    rows = replayed(sources, tmp_path / "out")
    assert len(rows) == len(names)
    assert_harmless_table(rows)
    assert_harmless_commands(tmp_path / "out" / ".cxrnode", monkeypatch)


@pytest.mark.parametrize("name", ["..\\..\\secret", "/etc/passwd", "A\0B", "..\\sources2\\x"])
def test_a_dicomdir_names_no_file_outside_its_folder(name: str, tmp_path: Path) -> None:
    """It would be read, and its name and digest told, by whoever was given the disc."""
    (tmp_path / "secret").write_text("x", encoding="utf-8")
    folder = tmp_path / "disc" / "sources"
    folder.mkdir(parents=True)
    record = elements.element(4, 0x1500, "CS", name.encode())
    record = elements.ITEM + len(record).to_bytes(4, "little") + record
    (folder / "DICOMDIR").write_bytes(elements.meta() + elements.element(4, 0x1220, "SQ", record))
    with pytest.raises(NeedsOperator):
        list(found([folder / "DICOMDIR"], tmp_path / "out", tmp_path / "extracted"))


def received(bench: Bench, name: str, content: bytes, uid: str = "") -> None:
    """Let a bench receive bytes, as the listener hands them over."""
    path = bench.archive.incoming / f"{name}.part"
    path.write_bytes(content)
    sender = Sender(calling_ae=AETitle("CR1"), called_ae=AETitle("CXRNODE"), address="127.0.0.1", association="a")
    arrival: Any = Arrival(
        path=path, sop_class_uid="", sop_instance_uid=InstanceUID(uid), transfer_syntax_uid="", sender=sender
    )
    assert bench.line.receive(arrival) == 0


def test_uids_that_meet_are_kept_apart(tmp_path: Path) -> None:
    """One SOP Instance UID in two studies, for two patients, and with other pixels: a row and a file for each."""
    bench = Bench(tmp_path)
    image = elements.image()
    patient = [elements.element(0x10, 0x20, "LO", name) for name in (b"ONE", b"TWO")]
    films = [
        elements.meta() + elements.header(study=study, more=who + image) + elements.pixels(bytes([pixel]) * 256)
        for study in ("1.2.4", "1.2.5")
        for who in patient
        for pixel in (0, 9)
    ]
    for number, content in enumerate(films):
        received(bench, str(number), content)
    bench.line.association_ended("a")
    bench.work(rounds=3)
    assert len(list(bench.ledger.outcomes())) == len(films)
    assert isinstance(bench.archive, SpoolArchive)
    assert len(list(bench.archive.finished())) == len(films)
    assert not list(bench.archive.incoming.iterdir())
    bench.ledger.shut()


@pytest.mark.parametrize("uid", UIDS.values(), ids=list(UIDS))
def test_a_received_film_of_a_hostile_uid_is_kept_below_its_folder(uid: bytes, tmp_path: Path) -> None:
    """Its row names its file, and the file is there."""
    bench = Bench(tmp_path / "node")
    content = hostile.film(uid, attributes=frozenset({"SOPInstanceUID", "StudyInstanceUID"}))
    received(bench, "film", content)
    bench.line.association_ended("a")
    bench.work(rounds=3)
    [view] = bench.ledger.outcomes()
    assert bench.archive.path(view.key).is_file()
    assert bench.archive.path(view.key).resolve().is_relative_to(tmp_path / "node" / "spool" / "sources")
    bench.ledger.shut()
