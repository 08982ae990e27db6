"""What a process of ours leaves lying about: nothing that others can read, and no core file."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from cxrnode import discretion
from cxrnode.cli.operator import opened_ledger
from cxrnode.errors import Fatal, NeedsOperator

_CRASH = "import os\n{first}\nopen('written', 'w').close(); os.mkdir('made'); os.abort()"


def crashed(folder: Path, first: str) -> int:
    """Let a process write, then die of SIGABRT with core files allowed; give its wait status."""

    def allow() -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        os.umask(0o022)

    folder.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", _CRASH.format(first=first)], cwd=folder, preexec_fn=allow, stderr=subprocess.DEVNULL
    )
    return os.waitpid(process.pid, 0)[1]


def test_a_crash_leaves_no_core_file_and_what_was_written_is_the_users_own(tmp_path: Path) -> None:
    """Its memory holds patients' images. The control shows that this machine would have kept one."""
    if resource.getrlimit(resource.RLIMIT_CORE)[1] == resource.RLIM_INFINITY:
        control = crashed(tmp_path / "control", "pass")
        assert os.WIFSIGNALED(control)
        assert (tmp_path / "control" / "written").stat().st_mode & 0o777 == 0o644
        if not os.WCOREDUMP(control):
            pytest.skip("this machine keeps no core files anyhow")
    status = crashed(tmp_path / "ours", "from cxrnode.discretion import keep_to_itself; keep_to_itself()")
    assert os.WIFSIGNALED(status) and not os.WCOREDUMP(status)
    found = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "ours").iterdir()}
    assert found == {"written": 0o600, "made": 0o700}


def test_a_core_that_is_piped_to_a_collector_holds_no_memory() -> None:
    """Where core_pattern names a program, the kernel passes the limit over: the filter of mappings is empty, too."""
    script = (
        "from cxrnode.discretion import keep_to_itself; keep_to_itself()\n"
        "print(int(open('/proc/self/coredump_filter').read(), 16))\n"
        "import subprocess; print(subprocess.run(['cat', '/proc/self/coredump_filter'], capture_output=True).stdout)"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert said.split() == ["0", "b'00000000\\n'"]


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o1777])
def test_a_state_folder_that_others_may_write_to_is_refused(tmp_path: Path, mode: int) -> None:
    """Anybody could put a ledger there."""
    tmp_path.chmod(mode)
    with pytest.raises(Fatal, match="may write to it") as refused:
        discretion.demand_private(tmp_path)
    assert "open to others" in refused.value.hint


@pytest.mark.parametrize(("mode", "open_to_others"), [(0o700, False), (0o750, True), (0o755, True), (0o711, True)])
def test_a_state_folder_that_others_may_enter_is_said(tmp_path: Path, mode: int, open_to_others: bool) -> None:
    """It shows names only, so a node of an older version goes on after an upgrade."""
    tmp_path.chmod(mode)
    assert bool(discretion.demand_private(tmp_path)) is open_to_others


def test_a_state_folder_that_is_not_there_is_private(tmp_path: Path) -> None:
    """The node makes it so."""
    assert discretion.demand_private(tmp_path / "none") == ""


def test_another_users_ledger_is_left_to_that_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What root's command makes (a day's audit file, a lock) the node could not write to any more."""
    ledger = tmp_path / "ledger.sqlite"
    ledger.touch()
    monkeypatch.setenv("CXRNODE_NODE__STATE_DIR", str(tmp_path))
    assert discretion.is_ours(ledger) and not discretion.is_ours(tmp_path / "none")
    monkeypatch.setattr(discretion.os, "geteuid", lambda: ledger.stat().st_uid + 1)
    with pytest.raises(NeedsOperator, match="it belongs to") as refused, opened_ledger():
        pass
    assert f"sudo -u {ledger.owner()} ..." in refused.value.hint


def test_a_folder_that_cannot_be_looked_at_is_an_error_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commonest slip, a command without `sudo -u`, says what to do; it was a traceback."""

    def denied(path: Path) -> None:
        raise PermissionError(errno.EACCES, "denied", str(path))

    monkeypatch.setattr(Path, "stat", denied)
    with pytest.raises(NeedsOperator, match=r"may not look at it \(EACCES\)") as refused:
        discretion.is_ours(tmp_path / "ledger.sqlite")
    assert "sudo -u" in refused.value.hint
    for ask in (discretion.demand_private, discretion.salt_in):
        with pytest.raises(Fatal, match=r"cannot be used \(EACCES\)") as fatal:
            ask(tmp_path)
        assert "The state folder cannot be used" in fatal.value.hint


def test_the_salt_of_the_log_is_drawn_once_and_kept_for_the_user_alone(tmp_path: Path) -> None:
    """A restart must not rename every study; two nodes must not share names."""
    salt = discretion.salt_in(tmp_path / "one")
    assert discretion.salt_in(tmp_path / "one") == salt != discretion.salt_in(tmp_path / "two")
    (kept,) = (tmp_path / "one").iterdir()
    assert len(salt) == 32 and kept.stat().st_mode & 0o777 == 0o600


def test_a_salt_that_is_damaged_stops_the_start(tmp_path: Path) -> None:
    """Without a salt the log would write the UIDs as they are, and nobody would notice."""
    (tmp_path / "log-salt").write_bytes(b"")
    with pytest.raises(Fatal, match="is damaged"):
        discretion.salt_in(tmp_path)
