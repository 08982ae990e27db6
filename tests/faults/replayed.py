"""A disk rebuilt from a trace, as it may be if the power failed after any of its calls.

Hides which writes were on their way. Promises what a disk promises and no more: bytes are there once their file was
brought to disk, a name once its folder was; of everything else any part may be there, torn at sectors.
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.tracing import Call

SECTOR = 512
WRITES = frozenset({"write", "pwrite64", "ftruncate"})
NAMES = frozenset({"openat", "mkdir", "mkdirat", "rename", "renameat", "renameat2", "link", "linkat"})
REMOVES = frozenset({"unlink", "unlinkat", "rmdir"})
SYNCS = frozenset({"fsync", "fdatasync"})
CALLS = ",".join(sorted({*WRITES, *NAMES, *REMOVES, *SYNCS, "lseek", "sendto", "sendmsg"}))


@dataclass(slots=True, eq=False)
class Node:
    """A file or a folder: what is on disk of it, and what is on its way there."""

    folder: bool = False
    durable: bytes = b""
    writes: list[tuple[int, bytes] | int] = field(default_factory=list)
    """Since it was last brought to disk: offset and bytes, or a new length."""

    def content(self, keep: Callable[[], bool]) -> bytes:
        """Give what is there where `keep` decides on each sector that was on its way."""
        content = bytearray(self.durable)
        for write in self.writes:
            if isinstance(write, int):
                if keep():
                    content[write:] = b"\0" * max(0, write - len(content))
                continue
            offset, data = write
            for start in range(0, len(data), SECTOR):
                if keep():
                    _put(content, offset + start, data[start : start + SECTOR])
        return bytes(content)

    def sync(self) -> None:
        """Bring it to disk."""
        self.durable, self.writes = self.content(lambda: True), []


def _put(content: bytearray, offset: int, data: bytes) -> None:
    content.extend(b"\0" * max(0, offset - len(content)))
    content[offset : offset + len(data)] = data


class Disk:
    """All that a process did below one folder, call by call."""

    def __init__(self, root: Path) -> None:
        """Begin empty; calls on other files are passed over."""
        self._root = str(root)
        self._now: dict[str, Node] = {self._root: Node(folder=True)}
        self._durable: dict[str, Node] = dict(self._now)
        self._pending: list[tuple[str, str, Node | None]] = []
        """Names that are not on disk: folder, path, what it names (None: no more)."""
        self._positions: dict[str, int] = {}

    def apply(self, call: Call) -> bool:
        """Do what a call did; tell whether it changed anything here."""
        paths = [path.removesuffix(" (deleted)") for path in call.paths]
        if not paths or not any(self._is_here(path) for path in paths):
            return False
        if call.name == "lseek":
            self._positions[_handle(call)] = call.result
            return False
        if call.name in WRITES:
            return self._write(call, paths[0])
        if call.name in SYNCS:
            return self._sync(paths[0])
        if call.name in REMOVES:
            return self._name(paths[-1], None)
        return call.name in NAMES and self._rename(call, paths)

    def _is_here(self, path: str) -> bool:
        below = path == self._root or path.startswith(f"{self._root}/")
        return below and not path.endswith(("-shm", ".lock"))

    def _write(self, call: Call, path: str) -> bool:
        node = self._now.get(path)
        if node is None:
            return False
        if call.name == "ftruncate":
            node.writes.append(int(call.arguments.rsplit(",", 1)[1]))
            return True
        handle = _handle(call)
        sequential = call.name == "write"
        offset = self._positions.get(handle, 0) if sequential else int(call.arguments.rsplit(",", 1)[1])
        node.writes.append((offset, call.bytes[: call.result]))
        if sequential:
            self._positions[handle] = offset + call.result
        return True

    def _sync(self, path: str) -> bool:
        node = self._now.get(path)
        if node is None:
            return False
        node.sync()
        if node.folder:
            for _, name, named in (each for each in self._pending if each[0] == path):
                _set(self._durable, name, named)
            self._pending = [each for each in self._pending if each[0] != path]
        return True

    def _rename(self, call: Call, paths: Sequence[str]) -> bool:
        if call.name == "openat":
            self._positions[f"{call.result}<"] = 0
            made = "O_CREAT" in call.arguments and paths[-1] not in self._now
            return made and self._name(paths[-1], Node())
        if call.name in {"mkdir", "mkdirat"}:
            return self._name(paths[-1], Node(folder=True))
        node = self._now[paths[0]]
        self._name(paths[-1], node)
        return call.name.startswith("link") or self._name(paths[0], None)

    def _name(self, path: str, node: Node | None) -> bool:
        _set(self._now, path, node)
        self._pending.append((str(Path(path).parent), path, node))
        return True

    def after_a_cut(self, folder: Path, chance: random.Random | None, share: float) -> None:
        """Write into `folder` what may be there: of what was on its way a share, drawn by chance."""

        def keep() -> bool:
            return chance is not None and chance.random() < share

        names = dict(self._durable)
        for _, path, node in self._pending:
            if keep():
                _set(names, path, node)
        # A folder whose own name is lost takes all that is in it along.
        for path, node in sorted(names.items()):
            place = folder / os.path.relpath(path, self._root)
            if node.folder and place.parent.is_dir():
                place.mkdir(mode=0o700, exist_ok=True)
            elif place.parent.is_dir():
                place.write_bytes(node.content(keep))
                place.chmod(0o600)


def _set(names: dict[str, Node], path: str, node: Node | None) -> None:
    if node is None:
        names.pop(path, None)
    else:
        names[path] = node


def _handle(call: Call) -> str:
    number = re.match(r"\d+", call.arguments)
    return f"{number[0]}<" if number else ""
