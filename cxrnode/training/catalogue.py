"""Hides which public data sets a folder holds, alone or side by side.

Promises the examples of every layout that is recognised, each patient in one part, and each film that several data
sets hold with its copies.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from cxrnode.errors import NeedsOperator
from cxrnode.training.example import Example
from cxrnode.training.layouts import (
    chestxdet,
    cohen,
    jsrt,
    kermany,
    nih,
    nlm,
    radiography,
    rsna,
    shared,
    siim,
)
from cxrnode.training.layouts.files import OWN_INDEX
from cxrnode.training.likeness import find_alike
from cxrnode.training.split import Split, split

PUBLISHED = (jsrt, nlm, radiography, siim, rsna, nih, chestxdet, kermany, cohen)
DEEPEST = 3
"""Folders below the named one in which data sets are looked for."""
MOST_FOLDERS = 100
"""A folder with more folders in it holds films, a patient or a study each, not data sets."""
THUMBNAILS = "thumbnails.npz"


def read_catalogue(data: Path, run: Path | None = None) -> tuple[Example, ...]:
    """List the examples that a folder holds, with their parts. Raises NeedsOperator where no layout is recognised.

    Films are compared, which takes a millisecond or two each; with a `run` folder what was read for it is kept there.
    """
    return read_split(data, run).examples


def read_split(data: Path, run: Path | None = None) -> Split:
    """List the examples as `read_catalogue` does, and which of them belong together."""
    examples = read_films(data)
    return split(examples, find_alike(examples, run / THUMBNAILS if run else None))


def read_films(data: Path) -> tuple[Example, ...]:
    """List the examples that a folder holds, each with the part that its patient alone would have."""
    examples = [example for layout, folder in layouts_in(data) for example in layout.read(folder)]
    if examples:
        return tuple(examples)
    raise NeedsOperator(
        "there is no lungs/index.csv in the data folder, nor another data set that is known",
        operation="read catalogue",
        subject=str(data),
        hint="docs/operations.md, Training a model",
    )


def layouts_in(data: Path) -> Iterator[tuple[ModuleType, Path]]:
    """Give every layout found, each at the topmost folders that have it."""
    folders = list(_folders(data, DEEPEST)) if data.is_dir() else []
    yield from ((shared, folder) for folder in _topmost(shared, folders))
    folders = [folder for folder in folders if not (folder / OWN_INDEX).is_file()]
    for layout in PUBLISHED:
        yield from ((layout, folder) for folder in _topmost(layout, folders))


def _folders(folder: Path, deep: int) -> Iterator[Path]:
    yield folder
    if deep and not (folder / OWN_INDEX).is_file():
        below = sorted(one for one in folder.iterdir() if one.is_dir() and not one.name.startswith((".", "__MACOSX")))
        for one in below if len(below) <= MOST_FOLDERS else ():
            yield from _folders(one, deep - 1)


def _topmost(layout: ModuleType, folders: list[Path]) -> Iterator[Path]:
    taken: list[Path] = []
    for folder in folders:
        if not any(folder.is_relative_to(above) for above in taken) and layout.found(folder):
            taken.append(folder)
            yield folder
