"""`cxrnode serve` as an operator starts it: how soon it answers, whom it lets in, how it stops."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cxrnode.domain.delivery import CommitmentPolicy, Destination
from cxrnode.domain.identity import AETitle
from cxrnode.errors import NeedsOperator
from cxrnode.phantom import Radiograph, View, write
from cxrnode.testing import start_pacs
from tests.end_to_end.processes import COMMAND, PATIENCE, Serve, all_committed, echo, serving, wait_until_gone

HEAVY = ("torch", "monai", "highdicom", "sqlalchemy", "fastapi", "pynetdicom", "pydicom", "numpy")
OUT_OF_RESOURCES = 0xA700


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """A small radiograph that is large enough for a model."""
    write(Radiograph(rows=320, cols=320), tmp_path / "film.dcm")
    return tmp_path / "film.dcm"


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Serve]:
    """A running node without destinations."""
    with serving(tmp_path / "node") as running:
        yield running


def test_help_loads_no_heavy_library() -> None:
    """`cxrnode --help`, and that of every group of commands, imports what it needs to print and no more."""
    script = (
        "import sys\nfrom cxrnode.cli import main\nsys.argv = sys.argv[1:]\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print('LOADED', *[name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    for arguments in (["--help"], ["jobs", "--help"], ["models", "--help"], ["serve", "--help"]):
        command = [sys.executable, "-c", script, "cxrnode", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True)
        assert "Usage: " in done.stdout
        assert done.stdout.splitlines()[-1] == "LOADED", arguments


def test_help_says_what_the_program_is() -> None:
    """The installed command answers, names every command, and says that it is no medical device."""
    done = subprocess.run([COMMAND, "--help"], capture_output=True, text=True, timeout=PATIENCE, check=True)
    for command in ("serve", "replay", "demo", "check", "status", "jobs", "pause", "resume", "models", "phantom"):
        assert command in done.stdout
    assert "not a medical device" in " ".join(done.stdout.split())


def test_echo_is_answered_within_two_seconds_while_the_models_load(tmp_path: Path) -> None:
    """The port answers within two seconds of the start of the process, on a new state folder, while the models still
    load. Seconds in which the machine was busy with others and gave the node no core do not count; nor does a start
    that was held up otherwise, as the best of up to five does."""
    seconds: list[float] = []
    while len(seconds) < 5 and not (seconds and min(seconds) < 2.0):
        node = Serve(tmp_path / str(len(seconds)))
        try:
            seconds.append(node.start() - _without_a_core(node.pid))
            assert len(node.events("child_started")) == 1
            assert not node.events("child_ready"), "the models were loaded before the port answered"
        finally:
            node.clear_away()
    assert min(seconds) < 2.0, f"C-ECHO was answered after {seconds} seconds"


def _without_a_core(pid: int) -> float:
    """Seconds for which a process's first thread wanted to run and others did (Linux, sched-stats: nanoseconds)."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9


def test_health_is_live_and_ready_at_once_and_says_when_the_models_are_loaded(node: Serve) -> None:
    """The health page answers while the models load: live, ready to receive, models loading; later loaded."""
    node.wait(lambda: node.health("/health/live")[0] == 200, 10)
    status, body = node.health()
    assert (status, body["status"]) == (200, "ready")
    assert node.health("/health/ready")[0] == 200
    assert body["dependencies"]["ledger"] == {"ok": True, "detail": "open"}
    assert body["dependencies"]["models"] == {"ok": False, "detail": "loading"}
    node.wait(node.models_loaded)
    assert node.health()[1]["dependencies"]["models"] == {"ok": True, "detail": "loaded"}
    said = node.cli("status").stdout
    assert "ledger: open, disk: above its floor of free space, models: loaded, audit: written" in said
    assert "ATTENTION" not in said


SOON = 10.0
"""Seconds within which a node stops whatever it does: those it gives to its work and to its senders, and some more."""


def test_sigterm_in_the_middle_of_a_job_ends_with_0_and_loses_nothing(tmp_path: Path) -> None:
    """SIGTERM stops the node with exit code 0 and no child left; what was acknowledged is analysed by the next run."""
    films = [tmp_path / f"{seed}.dcm" for seed in range(4)]
    for seed, path in enumerate(films):
        write(Radiograph(seed=seed, rows=320, cols=320), path)
    with start_pacs() as pacs, serving(tmp_path / "node", pacs) as node:
        node.wait(node.models_loaded)
        assert node.send(films) == [0] * 4
        node.wait(lambda: node.events("job_claimed"))
        family = node.processes()
        assert node.terminate() == 0
        wait_until_gone(family, 10)
        assert node.processes() == []
        assert len(node.events("node_stopped")) == 1
        node.start()
        node.wait(lambda: len(node.jobs()) == 4 and all_committed(node.jobs()))
        assert sorted(len(job.evidence) for job in node.jobs()) == [2] * 4
        assert len(pacs.kept) == 8
        assert node.terminate() == 0


def test_sigterm_while_a_destination_stalls_still_ends(tmp_path: Path, film: Path) -> None:
    """A destination that accepts the connection and says nothing does not keep a node from stopping, within seconds."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        stalling = Destination(
            name="mute",
            ae_title=AETitle("MUTE"),
            host="127.0.0.1",
            port=mute.getsockname()[1],
            commitment=CommitmentPolicy.NONE,
        )
        with serving(tmp_path / "node", stalling) as node:
            assert node.send([film]) == [0]
            node.wait(lambda: node.jobs() and node.jobs()[0].evidence)
            mute.settimeout(PATIENCE)
            with mute.accept()[0]:
                began = time.monotonic()
                assert node.terminate() == 0
                assert time.monotonic() - began < SOON
            said = node.events("node_stopping")[0]["running"]
            assert "mute" in said
            with node.ledger() as ledger:
                assert {state for states in ledger.counts().deliveries_by_state.values() for state in states} == {
                    "PENDING"
                }


def test_sigterm_while_a_model_hangs_still_ends(tmp_path: Path, film: Path) -> None:
    """The job is given back, costs no attempt, and the next start runs it at once."""
    with start_pacs() as pacs, serving(tmp_path / "node", pacs) as node:
        node.wait(node.models_loaded)
        (child,) = [pid for pid in node.processes() if pid != node.pid]
        os.kill(child, signal.SIGSTOP)
        assert node.send([film]) == [0]
        node.wait(lambda: node.events("job_claimed"))
        began = time.monotonic()
        assert node.terminate() == 0
        assert time.monotonic() - began < SOON
        assert "run" in node.events("node_stopping")[0]["running"]
        assert node.events("job_retried")[-1]["error"] == "Stopping"
        (job,) = node.jobs()
        assert job.job.state == "SCHEDULED"
        node.start()
        node.wait(lambda: all_committed(node.jobs()))


def test_second_node_on_one_state_folder_is_refused(node: Serve) -> None:
    """A second `serve` on the folder ends with exit code 1 and a sentence that names the first, which goes on."""
    second = node.cli("serve")
    assert second.returncode == 1
    assert f"it is held by process {node.pid} on " in second.stderr
    assert f"CXRNODE, port {node.port}, since " in second.stderr
    assert "'Another node holds the state folder' in docs/operations.md" in second.stderr
    assert "Traceback" not in second.stderr
    assert node.echo()


def test_second_node_on_one_port_is_refused(node: Serve, tmp_path: Path) -> None:
    """A port that is taken ends `serve` with exit code 1 and a sentence that names it, and leaves no child behind."""
    other = Serve(tmp_path / "other", NODE__PORT=str(node.port))
    other.spawn()
    assert other.end() == 1
    assert f"127.0.0.1:{node.port}" in other.text()
    assert "Traceback" not in other.text()
    wait_until_gone(other.processes(), 10)


def test_full_disk_is_answered_a700_and_echo_still_succeeds(tmp_path: Path, film: Path) -> None:
    """Below the floor of free space C-STORE gets 0xA700, nothing is kept or recorded, and C-ECHO is answered."""
    petabyte = str(10**9)
    with serving(tmp_path / "node", LISTENER__FREE_SPACE_FLOOR_MB=petabyte) as node:
        assert node.send([film]) == [OUT_OF_RESOURCES]
        assert node.echo()
        assert node.incoming() == []
        assert not list((node.state / "spool" / "sources").rglob("*.dcm"))
        node.wait(lambda: node.health()[0], 10)
        status, body = node.health()
        assert status == 503
        assert body["dependencies"]["disk"]["ok"] is False


def test_wrong_called_ae_title_is_rejected(node: Serve) -> None:
    """Who calls the node by another name is rejected; its own name is answered (PS3.8 9.3.4)."""
    with pytest.raises(NeedsOperator, match="does not have this AE title"):
        echo(node.port, called="SOMEBODY")
    assert node.echo()


def test_calling_ae_title_that_is_not_allowed_is_rejected(tmp_path: Path, film: Path) -> None:
    """With an allow-list of calling AE titles a stranger is rejected, and who is on it can store."""
    with serving(tmp_path / "node", LISTENER__CALLING_AE_TITLES='["MODALITY"]') as node:
        with pytest.raises(NeedsOperator, match="does not know our AE title"):
            echo(node.port, calling="STRANGER")
        assert node.send([film], calling="MODALITY") == [0]


def test_peer_from_an_address_that_is_not_allowed_is_rejected(tmp_path: Path) -> None:
    """With an allow-list of addresses that loopback is not on, no association is made."""
    node = Serve(tmp_path / "node", LISTENER__ADDRESSES='["192.0.2.0/24"]')
    try:
        node.spawn()
        node.wait(lambda: node.events("listening"))
        assert not node.echo()
        node.wait(lambda: node.events("association_refused"))
    finally:
        node.clear_away()


def test_lateral_and_frontal_of_one_study_come_back_as_one_report(tmp_path: Path) -> None:
    """The whole line in the real process: two films in, one SEG and one SR at the PACS, committed."""
    frontal = Radiograph(rows=320, cols=320, study="two films")
    lateral = Radiograph(rows=320, cols=320, study="two films", view=View.LATERAL, instance_number=2)
    paths = [tmp_path / "pa.dcm", tmp_path / "lateral.dcm"]
    for spec, path in zip((frontal, lateral), paths, strict=True):
        write(spec, path)
    with start_pacs() as pacs, serving(tmp_path / "node", pacs) as node:
        assert node.send(paths) == [0, 0]
        node.wait(lambda: node.jobs() and all_committed(node.jobs()))
        (job,) = node.jobs()
        assert [one.kind.split()[0] for one in job.evidence] == ["SEG", "SR"]
        assert {one.sop_instance_uid for one in job.evidence} == set(pacs.kept)
        assert node.cli("status").returncode == 0
        assert node.cli("check").returncode == 0
