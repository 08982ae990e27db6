"""What the node says about itself: a closed list, one JSON line an event."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from cxrnode import telemetry
from cxrnode.telemetry import Event, start_logging, tell, unexpected, where


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Leave logging and warnings as they were."""
    root, shown = logging.getLogger(), warnings.showwarning
    handlers, level, own = root.handlers[:], root.level, logging.getLogger("cxrnode").level
    yield
    root.handlers[:], warnings.showwarning = handlers, shown
    root.setLevel(level)
    logging.getLogger("cxrnode").setLevel(own)


def _lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_an_event_is_one_line_with_its_fields(capsys: pytest.CaptureFixture[str]) -> None:
    """Time, level, event, fields."""
    start_logging("INFO")
    tell(Event.JOB_CLAIMED, job=7, study="1.2.3")
    (line,) = _lines(capsys)
    assert line.pop("at").endswith("+00:00")
    assert line == {"level": "info", "event": "job_claimed", "job": 7, "study": "1.2.3"}


@pytest.mark.parametrize("field", ["patient", "name", "patient_id", "birth_date", "text", "path"])
def test_a_field_that_is_not_on_the_list_cannot_be_logged(field: str) -> None:
    """Not even by mistake."""
    with pytest.raises(ValueError, match=field):
        tell(Event.JOB_CLAIMED, **{field: "Doe^Jane"})


def test_other_libraries_say_only_who_spoke(capsys: pytest.CaptureFixture[str]) -> None:
    """Their texts quote values."""
    start_logging("DEBUG")
    logging.getLogger("pydicom").warning("invalid value 'Doe^Jane' for PN")
    logging.getLogger("cxrnode.elsewhere").debug("Doe^Jane")
    first, second = _lines(capsys)
    assert (first["event"], first["logger"]) == ("foreign", "pydicom")
    assert second["logger"] == "cxrnode.elsewhere"
    assert "Doe" not in json.dumps([first, second])


def test_warnings_say_only_their_kind(capsys: pytest.CaptureFixture[str]) -> None:
    """A warning's text quotes values, too."""
    start_logging("INFO")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        start_logging("INFO")
        warnings.warn("value 'Doe^Jane' is odd", UserWarning, stacklevel=1)
    (line,) = _lines(capsys)
    assert (line["event"], line["logger"]) == ("foreign", "UserWarning")
    assert "Doe" not in json.dumps(line)


def test_an_unforeseen_error_is_its_kind_and_place(capsys: pytest.CaptureFixture[str]) -> None:
    """Never its text."""
    start_logging("INFO")
    try:
        int("Doe^Jane")
    except ValueError as error:
        unexpected("read", error, job=1)
        assert where(error).startswith("test_telemetry.py:")
    (line,) = _lines(capsys)
    assert (line["level"], line["error"], line["operation"], line["job"]) == ("error", "ValueError", "read", 1)
    assert "Doe" not in json.dumps(line)
    assert where(ValueError()) == ""


@pytest.mark.parametrize(("level", "lines"), [("DEBUG", 2), ("INFO", 2), ("WARNING", 1), ("ERROR", 0)])
def test_the_level_is_obeyed(capsys: pytest.CaptureFixture[str], level: str, lines: int) -> None:
    """Ours and nobody else's decides."""
    start_logging(level)
    tell(Event.JOB_CLAIMED, job=1)
    tell(Event.JOB_RETRIED, logging.WARNING, job=1)
    assert len(_lines(capsys)) == lines


def test_a_line_that_cannot_be_written_is_lost_and_not_printed_otherwise(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python's logging would print another library's arguments, and they are values."""
    start_logging("DEBUG")
    (handler,) = logging.getLogger().handlers

    def fails(record: logging.LogRecord) -> str:
        raise OSError("no room")

    monkeypatch.setattr(handler, "format", fails)
    logging.getLogger("other").warning("of %s", "Sentinel^Name")
    assert capsys.readouterr().err == ""


_FALLS = """
import threading
from cxrnode.telemetry import guard_tracebacks, start_logging
start_logging()
guard_tracebacks()
def fall():
    raise ValueError("Sentinel^Name")
thread = threading.Thread(target=fall)
thread.start()
thread.join()
class Falling:
    def __del__(self):
        fall()
Falling()
fall()
"""


def test_a_traceback_that_nobody_foresaw_names_no_patient() -> None:
    """An error that ends a thread, a finaliser or the process is an event with its kind and place; the exit code is
    Python's."""
    fallen = subprocess.run([sys.executable, "-c", _FALLS], capture_output=True, text=True, check=False)
    assert fallen.returncode == 1
    told = [json.loads(line) for line in fallen.stderr.splitlines()]
    assert [(line["event"], line["operation"], line["error"]) for line in told] == [
        ("unexpected", "thread", "ValueError"),
        ("unexpected", "aside", "ValueError"),
        ("unexpected", "process", "ValueError"),
    ]
    assert "Sentinel" not in fallen.stderr


def test_uids_that_name_a_study_are_hashed_where_that_is_wanted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same study is called the same, another otherwise, classes stay; what is no UID is not even hashed."""
    monkeypatch.setattr(telemetry, "_SALT", b"")
    start_logging("INFO")
    telemetry.hash_uids(b"salt")
    for study in ("1.2.3", "1.2.3", "1.2.4", "Doe^Jane"):
        tell(Event.JOB_CLAIMED, study=study, sop_class="1.2.840", instance="1.2.5", evidence="1.2.6")
    first, again, other, name = _lines(capsys)
    assert first["study"] == again["study"] != other["study"]
    assert first["study"] == telemetry.hash_of("1.2.3", b"salt") != telemetry.hash_of("1.2.3", b"other")
    assert len(first["study"]) == 17 and first["study"][0] == first["instance"][0] == first["evidence"][0] == "#"
    assert first["sop_class"] == "1.2.840"
    assert name["study"] == "no UID"
