"""The commands as a person or a script calls them: exit codes, --json, hints, and no library that is not needed."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cxrnode.domain.capability import REPORT_CLASSES, SECONDARY_CAPTURE, ReportClass
from cxrnode.phantom import Patient, View
from cxrnode.testing import Pacs, start_pacs
from tests.bench import FILM, Bench
from tests.fakes.bundle import write_tiny_bundle

CXRNODE = Path(sys.executable).parent / "cxrnode"
JANE = Patient(name="Doe^Jane", patient_id="4711")


class Shell:
    """Calls cxrnode with a state folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "state"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CXRNODE_")}
        self.environment = {**kept, "CXRNODE_NODE__STATE_DIR": str(self.state)}

    def __call__(self, *arguments: str, code: int = 0) -> str:
        """Call; give standard output, and standard error where it should fail."""
        ended = subprocess.run([CXRNODE, *arguments], env=self.environment, capture_output=True, text=True, timeout=60)
        assert ended.returncode == code, ended.stdout + ended.stderr
        assert "Traceback" not in ended.stderr
        return ended.stdout if code == 0 else ended.stdout + ended.stderr

    def json(self, *arguments: str, code: int = 0) -> Any:
        """Call with --json; give the document."""
        document, _ = json.JSONDecoder().raw_decode(self(*arguments, "--json", code=code))
        return document


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A shell without a node."""
    return Shell(tmp_path)


@pytest.fixture(scope="module")
def worked(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A shell on the state of a node that analysed a PA, was sent a lateral, and could not deliver."""
    shell = Shell(tmp_path_factory.mktemp("worked"))
    shell.state.mkdir()
    bench = Bench(shell.state)
    bench.peer.dead = {"pacs"}
    bench.take(replace(FILM, patient=JANE, accession_number="A1", study="one"))
    bench.take(replace(FILM, patient=JANE, accession_number="A1", study="one", view=View.LATERAL))
    bench.work(12, seconds=20)
    bench.peer.dead = set()
    bench.take(replace(FILM, seed=2, accession_number="A2"))
    bench.work()
    bench.ledger.shut()
    return shell


@pytest.mark.parametrize(
    "arguments", [("--help",), ("--version",), ("status", "--json"), ("jobs", "list"), ("phantom", "--list")]
)
def test_what_needs_no_model_loads_no_torch(worked: Shell, arguments: tuple[str, ...]) -> None:
    """Help, version and the operator's questions answer without the heavy libraries."""
    program = (
        "import sys; from cxrnode.cli import main\n"
        f"sys.argv = ['cxrnode', *{list(arguments)!r}]\n"
        "try: main()\n"
        "finally: print(sorted({'torch', 'monai', 'highdicom', 'fastapi'} & sys.modules.keys()), file=sys.stderr)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], env=worked.environment, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.splitlines()[-1] == "[]"


def test_status_shows_what_came_in_what_waits_and_what_needs_an_operator(worked: Shell) -> None:
    """At a glance, and as values."""
    said = worked("status")
    assert "instances: 3" in said
    assert "to pacs: 2 COMMITTED, 2 PARKED" in said
    assert "ATTENTION: 2 deliveries are parked" in said
    document = worked.json("status")
    assert document["deliveries_by_state"] == {"pacs": {"COMMITTED": 2, "PARKED": 2}}
    assert (document["instances"], document["paused"]) == (3, False)


@pytest.mark.parametrize(
    ("option", "found"),
    [
        (("--accession", "A1"), ["4711"]),
        (("--accession", "A2"), ["PHANTOM-1"]),
        (("--patient", "4711"), ["4711"]),
        (("--patient", "nobody"), []),
        (("--state", "completed"), ["PHANTOM-1", "4711"]),
        (("--state", "PARKED"), []),
        (("--limit", "1"), ["PHANTOM-1"]),
        ((), ["PHANTOM-1", "4711"]),
    ],
)
def test_jobs_are_found(worked: Shell, option: tuple[str, ...], found: list[str]) -> None:
    """By accession number, patient id and state, the newest first."""
    assert [job["patient"]["patient_id"] for job in worked.json("jobs", "list", *option)] == found


def test_a_job_is_found_by_its_study_and_shown(worked: Shell) -> None:
    """What was said of each image, each object and each delivery."""
    study = replace(FILM, patient=JANE, accession_number="A1", study="one").uid("study")
    (job,) = worked.json("jobs", "list", "--study", study)
    said = worked("jobs", "show", str(job["job"]))
    assert "Cardiothoracic ratio: 0." in said
    assert "Not analysed, because it is a lateral view; the models read frontal views." in said
    assert "to pacs: PARKED, attempt 3: associate pacs: nobody is there" in said
    document = worked.json("jobs", "show", str(job["job"]))
    assert {member["outcome"] for member in document["members"]} == {"", "lateral"}
    assert [one["kind"].split()[0] for one in document["evidence"]] == ["SEG", "SR"]


def test_a_retry_schedules_the_job_and_its_parked_deliveries(worked: Shell, tmp_path: Path) -> None:
    """Afterwards nothing is parked any more."""
    shell = Shell(tmp_path)
    shutil.copytree(worked.state, shell.state)
    assert shell("jobs", "retry", "1") == "job 1 is scheduled again\n"
    assert shell.json("jobs", "list", "--accession", "A1")[0]["state"] == "SCHEDULED"
    assert shell.json("status")["deliveries_by_state"] == {"pacs": {"COMMITTED": 2, "PENDING": 2}}
    assert "only a parked or completed job can be retried" in shell("jobs", "retry", "1", code=1)


def test_results_are_taken_back_and_stated_again(worked: Shell, tmp_path: Path) -> None:
    """First it is said what would be taken back from where; what is parked is not sent any more."""
    shell = Shell(tmp_path)
    shutil.copytree(worked.state, shell.state)
    asked = shell("jobs", "retract", "2", "--because", "wrong_patient", code=1)
    assert ("from pacs" in asked, "take this back?" in asked, "Aborted" in asked) == (True, True, True)
    assert len(shell.json("jobs", "list")) == 2
    said = shell("jobs", "retract", "1", "--because", "wrong_patient", "--yes")
    assert "sent nowhere yet" in said
    assert "job 3 is scheduled" in said
    assert shell.json("status")["deliveries_by_state"] == {"pacs": {"COMMITTED": 2, "WITHDRAWN": 2}}
    assert "RETRACTED by job 3, because the images are not of this patient" in shell("jobs", "show", "1")
    shown = shell("jobs", "show", "3")
    assert "takes back the results of job 1" in shown
    assert "Not run yet" not in shown
    assert "retracted by job" in shell("jobs", "list")
    assert "job 4 is scheduled: it states again what job 1 said" in shell("jobs", "retry", "1")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("1", "--because", "superseded"), 2, "superseded"),
        (("1",), 2, "because"),
        (("99", "--because", "test"), 1, "there is no such job"),
    ],
)
def test_what_cannot_be_taken_back_is_said(worked: Shell, arguments: tuple[str, ...], code: int, said: str) -> None:
    """Only an operator's own reasons count, and it is refused before anybody is asked."""
    assert said in worked("jobs", "retract", *arguments, code=code)


def test_pause_and_resume_are_seen_in_the_status(worked: Shell, tmp_path: Path) -> None:
    """Both say what they did."""
    shell = Shell(tmp_path)
    shutil.copytree(worked.state, shell.state)
    assert "no job runs" in shell("pause")
    assert "PAUSED" in shell("status")
    assert shell.json("status")["paused"] is True
    assert "jobs run again" in shell("resume")
    assert shell.json("status")["paused"] is False


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("status",), 1, "there is no ledger yet"),
        (("jobs", "list"), 1, "start the node, or check node.state_dir"),
        (("jobs", "show", "x"), 2, "x"),
        (("models", "show", "nothing"), 1, "no such model"),
        (("phantom", "nothing"), 1, "no phantom is called 'nothing'"),
        (("nothing",), 2, "nothing"),
        (("--config", "/nowhere.toml", "status"), 2, "the settings file does not exist"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_an_exit_code(
    shell: Shell, arguments: tuple[str, ...], code: int, said: str
) -> None:
    """1 for an operator, 2 for the command line and the settings; never a traceback."""
    assert said in shell(*arguments, code=code)


def test_unknown_jobs_and_states_are_said(worked: Shell) -> None:
    """With what there is instead."""
    assert "there is no such job" in worked("jobs", "show", "99", code=1)
    assert "SCHEDULED" in worked("jobs", "list", "--state", "lost", code=1)


def test_settings_name_every_problem_at_once(shell: Shell, tmp_path: Path) -> None:
    """Three mistakes, three lines, exit code 2, before anything starts."""
    file = tmp_path / "cxrnode.toml"
    file.write_text("[node]\nport = 99999\nae_title = 'far too long for an AE title'\n[inference]\nbatch = 0\n")
    said = shell("--config", str(file), "check", code=2)
    for place in ("node.port", "node.ae_title", "inference.batch"):
        assert place in said


def test_check_says_what_is_well(shell: Shell) -> None:
    """Settings, ledger, disk, the shipped model and a living destination: exit code 0."""
    with start_pacs() as pacs:
        _with_destination(shell, pacs)
        results = shell.json("check")
    assert {one["check"] for one in results} == {
        *("settings", "ledger", "disk", "state folder", "models", "destination pacs"),
        *(f"model {one['name']}" for one in shell.json("models", "list") if one["enabled"]),
    }
    assert all(one["ok"] for one in results)


def test_check_shows_what_a_destination_would_be_sent(shell: Shell) -> None:
    """A table of what it takes, in which class and transfer syntax, and a sentence on each thing that it does not."""
    with start_pacs(storage_classes=[REPORT_CLASSES[ReportClass.ENHANCED], SECONDARY_CAPTURE]) as pacs:
        _with_destination(shell, pacs)
        said = [line.split("  ") for line in shell("check").splitlines()]
        document = shell.json("check")
    table = [[cell.strip() for cell in line if cell.strip()] for line in said if line[0] in {"SEG", "SR", "SC"}]
    assert table == [
        ["SEG", "Segmentation", "not taken"],
        ["SR", "Enhanced SR", "Explicit VR Little Endian"],
        ["SC", "Secondary Capture", "Explicit VR Little Endian"],
    ]
    assert ["pacs takes no Segmentation; Secondary Capture of the drawing goes instead"] in said
    assert ["pacs takes no Comprehensive 3D SR nor Comprehensive SR; Enhanced SR goes instead"] in said
    (destination,) = [one for one in document if "sent" in one]
    assert (destination["check"], len(destination["fallbacks"])) == ("destination pacs", 2)
    syntaxes = {one["object"]: one["transfer_syntax_uid"] for one in destination["sent"]}
    plain = "1.2.840.10008.1.2.1"
    assert syntaxes == {"SEG": "", "SR": plain, "SC": plain, "REJECTION": ""}


def test_a_destination_that_takes_nothing_is_wrong_although_it_answers(shell: Shell) -> None:
    """Nothing would arrive: exit code 1, and where to read on; the table shows it all the same."""
    with start_pacs(storage_classes=[]) as pacs:
        _with_destination(shell, pacs)
        said = shell("check", code=1)
    assert "takes nothing of what is written for it" in said
    assert "see 'A destination does not take an object'" in said
    assert "Sent to pacs" in said


def test_check_says_everything_that_is_wrong_and_what_to_do(shell: Shell, tmp_path: Path) -> None:
    """A dead destination and an altered model, in one run, each with a hint: exit code 1."""
    _alter(write_tiny_bundle(tmp_path / "models" / "lungs"))
    shell.environment["CXRNODE_MODELS__FOLDER"] = str(tmp_path / "models")
    with start_pacs() as pacs:
        _with_destination(shell, pacs)
    said = shell("check", code=1)
    assert "FAIL  model lungs" in said
    assert "FAIL  destination pacs" in said
    assert "ok    disk" in said
    wrong = [one for one in shell.json("check", code=1) if not one["ok"]]
    assert len(wrong) == 2
    assert all(one["hint"] for one in wrong)
    assert "Sent to" not in said


def test_check_tries_the_audit_trail_s_collector(shell: Shell) -> None:
    """Where one is set: an auditor's empty repository is found out before the auditor comes."""
    with closing(socket.create_server(("127.0.0.1", 0))) as collector:
        port = collector.getsockname()[1]
        shell.environment["CXRNODE_AUDIT__SYSLOG"] = json.dumps({"host": "localhost", "port": port, "transport": "tcp"})
        assert f"audit collector: localhost:{port} over TCP answers" in shell("check")
    said = shell("check", code=1)
    assert "FAIL  audit collector: the collector cannot be reached (ECONNREFUSED)" in said
    assert "see 'The audit trail does not reach its collector'" in said


def _with_destination(shell: Shell, pacs: Pacs) -> None:
    known = [{"name": "pacs", "ae_title": pacs.ae_title, "port": pacs.port}]
    shell.environment["CXRNODE_DESTINATIONS"] = json.dumps(known)


def _alter(bundle: Path) -> None:
    weights = bundle / "models" / "model.pt"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)


@pytest.fixture
def tiny(shell: Shell, tmp_path: Path) -> Callable[[], Path]:
    """Put a tiny bundle where the shell looks for models."""
    shell.environment |= {"CXRNODE_MODELS__FOLDER": str(tmp_path / "models"), "CXRNODE_MODELS__ENABLED": '["tiny"]'}
    return lambda: write_tiny_bundle(tmp_path / "models" / "tiny")


def test_models_are_listed_shown_and_verified(shell: Shell, tiny: Callable[[], Path]) -> None:
    """Name, digest, channels; weights as pinned."""
    tiny()
    (brief,) = shell.json("models", "list")
    assert (brief["name"], brief["enabled"], len(brief["digest"])) == ("tiny", True, 64)
    assert shell.json("models", "show", "tiny")["channels"] == ["right_lung", "left_lung", "heart"]
    assert brief["digest"] in shell("models", "verify")
    assert "tiny" in shell("models", "list")


def test_the_list_of_models_says_in_one_line_why_one_is_off_and_another_cannot_be_read(
    shell: Shell, tiny: Callable[[], Path]
) -> None:
    """Below the table, where a reason is not broken into a column's width."""
    folder = tiny()
    write_tiny_bundle(folder.parent / "other")
    (folder.parent / "torn" / "configs").mkdir(parents=True)
    (folder.parent / "torn" / "configs" / "metadata.json").write_text("{")
    said = shell("models", "list").splitlines()
    assert "other is off: not in models.enabled" in said
    assert any(line.startswith("torn cannot be read: ") for line in said)
    assert not any(line.startswith("tiny is off") for line in said)


def test_altered_weights_do_not_verify(shell: Shell, tiny: Callable[[], Path]) -> None:
    """One bit is enough: exit code 1, and which model it is."""
    _alter(tiny())
    said = shell("models", "verify", code=1)
    assert "verify bundle tiny: the weights have SHA-256" in said


def test_phantoms_are_listed_and_written(shell: Shell, tmp_path: Path) -> None:
    """By name; the list has a sentence for each."""
    listed = shell.json("phantom", "--list")
    assert listed["defect-empty"] == "an empty file"
    assert "defect-hand" in shell("phantom", "--list")
    paths = shell.json("phantom", "defect-empty", "defect-garbage", "--out", str(tmp_path / "made"))
    assert [Path(path).name for path in paths] == ["defect-empty.dcm", "defect-garbage.dcm"]
    assert all(Path(path).is_file() for path in paths)


_RELOADED = """
import os, signal, sys, types
class Node(types.ModuleType):
    def __getattr__(self, name):
        os.kill(os.getpid(), signal.SIGHUP)
        sys.exit(7)
sys.modules["cxrnode.node"] = Node("cxrnode.node")
sys.argv = ["cxrnode", "serve"]
from cxrnode.cli import main
main()
"""


def test_a_reload_while_the_node_is_only_starting_does_not_end_it(shell: Shell) -> None:
    """`systemctl reload` before there is a node: systemd takes an end by SIGHUP for a clean one."""
    assert subprocess.run([sys.executable, "-c", _RELOADED], env=shell.environment, check=False).returncode == 7
