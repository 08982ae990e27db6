"""A copy of a bundle, hidden beside the others, that is looked at before it counts as one.

Hides which files a bundle needs. Promises that only those are copied, that nothing outside the bundle is reached
through a link, that weights are pinned, and that the copy is gone if it was not put among the others.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxrnode.errors import NeedsOperator
from cxrnode.inference.bundle import INFERENCE, METADATA, WEIGHTS
from cxrnode.inference.card import Kind
from cxrnode.inference.configuration import read_configuration
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
    work = folder / f".adding-{os.getpid()}"
    try:
        work.mkdir(parents=True)
    except OSError as error:
        raise _refused(
            f"{error.strerror}", str(work), "models.folder has to be a folder that you can write to"
        ) from error
    try:
        _copy(source, work / name, licence)
        block, made = _own_block(work / name, name, kind)
        yield Staged(name=name, path=work / name, block=block, made=made)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _checked_layout(source: Path) -> Path:
    """Check that the files of a bundle are there; give the licence file."""
    if not source.is_dir():
        raise _refused("no such folder", str(source), "unpack the bundle, and name its folder")
    for part in (METADATA, INFERENCE, WEIGHTS):
        # A configuration that is missing as JSON is told by read_configuration, which knows of YAML.
        if part.suffix == ".json":
            read_configuration(source / part)
        elif not (source / part).is_file():
            raise _refused("the bundle lacks a file", str(part), _HINT)
    licences = sorted(path for path in source.iterdir() if _LICENCE.fullmatch(path.name) and path.is_file())
    if not licences or not licences[0].read_text(encoding="utf-8", errors="replace").strip():
        raise _refused("the bundle says nothing of its licence", "LICENSE", "ask whoever made it, and put it in")
    return licences[0]


def _copy(source: Path, target: Path, licence: Path) -> None:
    """Copy what a node and its people read: no scripts, no other weights."""
    parts = [source / "configs", source / "docs"]
    links = [path for part in parts for path in (part, *part.rglob("*")) if path.is_symlink()]
    links += [path for path in (licence, source / WEIGHTS, source / WEIGHTS.parent) if path.is_symlink()]
    if links:
        raise _refused("the bundle holds a link", str(links[0].relative_to(source)), "put the file itself in its place")
    for part in parts:
        if part.is_dir():
            shutil.copytree(part, target / part.name)
    (target / WEIGHTS).parent.mkdir(parents=True)
    shutil.copyfile(source / WEIGHTS, target / WEIGHTS)
    shutil.copyfile(licence, target / "LICENSE")


def _own_block(path: Path, name: str, kind: Kind | None) -> tuple[dict[str, Any], bool]:
    """Give the copy a block `cxrnode` that names it and keeps it off; the weights' pin stays where there is one."""
    metadata = dict(read_configuration(path / METADATA).content)
    made = "cxrnode" not in metadata
    if made:
        sha256 = hashlib.sha256((path / WEIGHTS).read_bytes()).hexdigest()
        block = proposed(metadata, name=name, licence=_first_line(path / "LICENSE"), sha256=sha256, kind=kind)
    elif isinstance(metadata["cxrnode"], dict):
        block = {**metadata["cxrnode"], "name": name, **switched_off()}
    else:
        raise _refused("the block cxrnode is no object", METADATA.name, _HINT)
    (path / METADATA).write_text(json.dumps({**metadata, "cxrnode": block}, indent=2) + "\n", encoding="utf-8")
    return block, made


def _first_line(licence: Path) -> str:
    lines = (line.strip() for line in licence.read_text(encoding="utf-8", errors="replace").splitlines())
    return next(line for line in lines if line)[:64]


def _refused(happened: str, subject: str, hint: str) -> NeedsOperator:
    return NeedsOperator(happened, operation="models add", subject=subject, hint=hint)
