"""What a process that handles patients' data does not leave lying about.

Hides umask, core files, the bits of a folder's mode and where the log's salt lies. Promises that what the process
writes can be read by its user alone, and that a crash leaves no picture of its memory, whoever collects such pictures.
"""

from __future__ import annotations

import os
import resource
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from cxrnode.errors import Fatal, NeedsOperator

HINT = "see 'The state folder is open to others' in docs/operations.md"
_NO_MAPPINGS = "0"


def keep_to_itself() -> None:
    """Set this process, and every child that it spawns, so; for entry points, before anything is written."""
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Where core files are piped to a program (core_pattern) the limit counts for nothing: that one gets no memory.
    with suppress(OSError):
        Path("/proc/self/coredump_filter").write_text(_NO_MAPPINGS)


def demand_private(folder: Path) -> str:
    """Give what is wrong with a folder that others may enter, empty for one that they may not, or that is not there.

    Fatal where they may write to it: what lies in it could be anybody's. What the node writes there it writes for its
    own user only, so a folder that others may merely enter shows them names.
    """
    try:
        mode = stat.S_IMODE(folder.stat().st_mode)
    except FileNotFoundError:
        return ""
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        happened = f"other users of this machine may write to it (mode {mode:04o})"
        raise Fatal(happened, operation="use the state folder", subject=str(folder), hint=HINT)
    open_to_others = mode & (stat.S_IRWXG | stat.S_IRWXO)
    return f"other users of this machine may enter it (mode {mode:04o})" if open_to_others else ""


def demand_own(file: Path) -> None:
    """NeedsOperator where a file is another user's: what root makes beside it would shut the node out."""
    if file.stat().st_uid == os.geteuid():
        return
    try:
        owner = file.owner()
    except KeyError:
        owner = f"#{file.stat().st_uid}"
    hint = f"run the command as the node's user: sudo -u {owner} ..."
    raise NeedsOperator(f"it belongs to {owner}", operation="use the state folder", subject=str(file), hint=hint)


def salt_in(folder: Path) -> bytes:
    """Give the salt that is kept in a folder, drawn the first time: what a log calls a study it calls so for ever."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    kept = folder / "log-salt"
    if not kept.is_file():
        drawn = folder / f"log-salt.{os.getpid()}"
        with os.fdopen(os.open(drawn, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(secrets.token_bytes(32))
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):  # another process was faster, and its salt is the one
            kept.hardlink_to(drawn)
        drawn.unlink()
    return kept.read_bytes()
