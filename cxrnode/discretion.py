"""What a process that handles patients' data does not leave lying about.

Hides umask, core files, whose a file is, the bits of a folder's mode and where the log's salt lies. Promises that what
the process writes can be read by its user alone, and that a crash leaves no picture of its memory, whoever collects
such pictures.
"""

from __future__ import annotations

import errno
import os
import pwd
import resource
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cxrnode.errors import Fatal, NeedsOperator

HINT = "see 'The state folder is open to others' in docs/operations.md"
_USE_HINT = "see 'The state folder cannot be used' in docs/operations.md"
_NO_MAPPINGS = "0"
_SALT_BYTES = 32


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
    with _folder_errors(folder):
        try:
            mode = stat.S_IMODE(folder.stat().st_mode)
        except FileNotFoundError:
            return ""
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        happened = f"other users of this machine may write to it (mode {mode:04o})"
        raise Fatal(happened, operation="use the state folder", subject=str(folder), hint=HINT)
    open_to_others = mode & (stat.S_IRWXG | stat.S_IRWXO)
    return f"other users of this machine may enter it (mode {mode:04o})" if open_to_others else ""


def is_ours(file: Path) -> bool:
    """Tell whether a file is there. NeedsOperator where it is another user's: what root's command makes beside it would
    be root's, and shut the node out.
    """
    try:
        owner = file.stat().st_uid
    except FileNotFoundError:
        return False
    except OSError as error:
        raise _not_for_us(f"this user may not look at it ({_code(error)})", file, "cxrnode") from error
    if owner != os.geteuid():
        raise _not_for_us(f"it belongs to {_name(owner)}", file, _name(owner))
    return True


def _not_for_us(happened: str, file: Path, user: str) -> NeedsOperator:
    hint = f"run the command as the node's user: sudo -u {user} ..."
    return NeedsOperator(happened, operation="use the state folder", subject=str(file), hint=hint)


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"


def _code(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, "no reason given")


@contextmanager
def _folder_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        happened = f"it cannot be used ({_code(error)})"
        raise Fatal(happened, operation="use the state folder", subject=str(folder), hint=_USE_HINT) from error


def salt_in(folder: Path) -> bytes:
    """Give the salt that is kept in a folder, drawn the first time: what a log calls a study it calls so for ever.

    Fatal where the folder cannot be used, or what is kept is damaged.
    """
    with _folder_errors(folder):
        return _salt_in(folder)


def _salt_in(folder: Path) -> bytes:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    kept = folder / "log-salt"
    if not kept.is_file():
        drawn = folder / f"log-salt.{os.getpid()}"
        with os.fdopen(os.open(drawn, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(secrets.token_bytes(_SALT_BYTES))
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):  # another process was faster, and its salt is the one
            kept.hardlink_to(drawn)
        drawn.unlink()
    salt = kept.read_bytes()
    if len(salt) < _SALT_BYTES:
        # With an empty one the log would write the UIDs as they are.
        hint = "put the backup's in its place, or remove it: the log then calls each study by another hash"
        raise Fatal("the salt of the log's hashes is damaged", operation="use", subject=str(kept), hint=hint)
    return salt
