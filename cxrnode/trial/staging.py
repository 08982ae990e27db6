"""A copy of a bundle, hidden beside the others, that is looked at before it counts as one.

Hides which files a bundle needs. Promises that only those are copied, that nothing outside the bundle is reached
through a link, that weights are pinned, and that the copy is gone if it was not put among the others.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxrnode.errors import NeedsOperator
from cxrnode.inference.bundle import INFERENCE, METADATA, WEIGHTS
from cxrnode.inference.card import Kind
from cxrnode.inference.configuration import printable, read_configuration, reason
from cxrnode.trial.proposal import proposed, switched_off

_HINT = "docs/operations.md, Bringing a model"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_LICENCE = re.compile(r"licen[cs]e(\.(txt|md))?", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged:
    """A whole copy of a bundle at `path`, with its block `cxrnode`; `made` tells that the block was proposed here."""

    name: str
    path: Path
    block: dict[str, Any]
    made: bool


@contextmanager
def staged(source: Path, folder: Path, *, name: str, kind: Kind | None) -> Iterator[Staged]:
    """Copy the bundle at `source` into a hidden folder of `folder`, under `name`, for as long as the block runs.

    Raises NeedsOperator where it is no bundle, its licence is missing, or `folder` cannot be written to.
    """
    if not _NAME.fullmatch(name):
        raise _refused("a bundle's name has letters, digits, '_', '.' and '-' only", name, "give another --name")
    licence = _checked_layout(source)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=".adding-", dir=folder))
    except OSError as error:
        hint = "models.folder has to be a folder that you can write to"
        raise _refused(f"{error.strerror}", str(folder), hint) from error
    try:
        _copy(source, work / name, licence)
        block, made = _own_block(work / name, name, kind)
        yield Staged(name=name, path=work / name, block=block, made=made)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _checked_layout(source: Path) -> Path:
    """Check that the files of a bundle are there, and are its own; give the licence file."""
    if not source.is_dir():
        raise _refused("no such folder", str(source), "unpack the bundle, and name its folder")
    licences = sorted(path for path in source.iterdir() if _LICENCE.fullmatch(path.name) and not path.is_dir())
    strange = [path for path in _copied(source, licences) if path.is_symlink() or _is_special(path)]
    if strange:
        what = "the bundle holds a link, a pipe or a device"
        raise _refused(what, str(strange[0].relative_to(source)), "put the file itself in its place")
    for part in (METADATA, INFERENCE):
        read_configuration(source / part)  # knows of YAML, and says so where the file is missing
    if not (source / WEIGHTS).is_file():
        raise _refused("the bundle lacks a file", str(WEIGHTS), _HINT)
    if not licences or not _first_line(licences[0]):
        raise _refused("the bundle says nothing of its licence", "LICENSE", "ask whoever made it, and put it in")
    return licences[0]


def _copied(source: Path, licences: Sequence[Path]) -> Iterator[Path]:
    """Give what is copied from a bundle, or would be."""
    for part in (source / "configs", source / "docs"):
        yield from (part, *part.rglob("*"))
    yield from (source / WEIGHTS.parent, source / WEIGHTS, *licences)


def _is_special(path: Path) -> bool:
    return path.exists() and not (path.is_file() or path.is_dir())


def _copy(source: Path, target: Path, licence: Path) -> None:
    """Copy what a node and its people read: no scripts, no other weights."""
    try:
        for part in ("configs", "docs"):
            if (source / part).is_dir():
                shutil.copytree(source / part, target / part)
        (target / WEIGHTS).parent.mkdir(parents=True)
        shutil.copyfile(source / WEIGHTS, target / WEIGHTS)
        shutil.copyfile(licence, target / "LICENSE")
    except OSError as error:
        raise _refused("the bundle cannot be copied", str(source), reason(error)) from error


def _own_block(path: Path, name: str, kind: Kind | None) -> tuple[dict[str, Any], bool]:
    """Give the copy a block `cxrnode` that names it and keeps it off; the weights' pin stays where there is one."""
    configuration = read_configuration(path / METADATA)
    metadata = configuration.content
    made = "cxrnode" not in metadata
    if made:
        sha256 = hashlib.sha256((path / WEIGHTS).read_bytes()).hexdigest()
        block = proposed(configuration, name=name, licence=_first_line(path / "LICENSE"), sha256=sha256, kind=kind)
    elif isinstance(metadata["cxrnode"], dict):
        block = {**metadata["cxrnode"], "name": name, **switched_off()}
    else:
        raise _refused("the block cxrnode is no object", METADATA.name, _HINT)
    (path / METADATA).write_text(json.dumps({**metadata, "cxrnode": block}, indent=2) + "\n", encoding="utf-8")
    return block, made


def _first_line(licence: Path) -> str:
    """Give the first line with a word, as far as it may stand in a card; empty where there is none."""
    with licence.open(encoding="utf-8", errors="replace") as text:
        lines = (line.strip() for line in text.read(10_000).splitlines())
        return printable(next((line for line in lines if line), "")[:64])


def _refused(happened: str, subject: str, hint: str) -> NeedsOperator:
    return NeedsOperator(happened, operation="models add", subject=subject, hint=hint)
