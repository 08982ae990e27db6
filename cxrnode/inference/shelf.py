"""The folder of bundles: which there are, which are enabled, and how one is put there.

Hides the folder's layout. Promises that a bundle which is being put there is not seen before it is whole, and that
nothing here loads torch.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from cxrnode.errors import NeedsOperator
from cxrnode.inference.bundle import METADATA, read_card

_HINT = "see models.folder and models.enabled in deploy/cxrnode.toml"


def bundles_in(folder: Path) -> dict[str, Path]:
    """Give the folder of each bundle by its name, in the order of names; hidden folders are none."""
    found = sorted(path.parent.parent for path in folder.glob(f"*/{METADATA}"))
    return {path.name: path for path in found if not path.name.startswith(".")}


def enabled_by_default(folder: Path) -> tuple[str, ...]:
    """Give the names of the bundles whose card says so. NeedsOperator where there is none, or a card is unreadable."""
    names = tuple(name for name, path in bundles_in(folder).items() if read_card(path).enabled_by_default)
    if not names:
        raise NeedsOperator("no bundle is enabled by default", operation="models", subject=str(folder), hint=_HINT)
    return names


def folders_of(folder: Path, names: Sequence[str]) -> dict[str, Path]:
    """Give the bundles' folders by name. NeedsOperator where one is missing."""
    folders = {name: folder / name for name in names}
    for name, path in folders.items():
        if not path.is_dir():
            raise NeedsOperator("an enabled model has no bundle", operation="models", subject=name, hint=_HINT)
    return folders


def check_room(target: Path, *, replace: bool) -> None:
    """Raise NeedsOperator where a bundle lies at `target` and is not to be replaced."""
    if target.exists() and not replace:
        hint = "another --name, or --replace"
        raise NeedsOperator("a bundle of that name is there", operation="models add", subject=target.name, hint=hint)


def put(staged: Path, target: Path, *, replace: bool) -> None:
    """Move a whole bundle from `staged` to `target`, on the same file system, in one step.

    NeedsOperator where `target` is there and `replace` is false. What is replaced goes only when the new one is there.
    """
    check_room(target, replace=replace)
    if not target.exists():
        staged.rename(target)
        return
    old = target.with_name(f".replaced-{target.name}-{os.getpid()}")
    target.rename(old)
    staged.rename(target)
    shutil.rmtree(old)
