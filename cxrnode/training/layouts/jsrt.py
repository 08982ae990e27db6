"""Hides the layout of the films of the Japanese Society of Radiological Technology and of the SCR masks.

Promises the lungs by the patient's own sides and the heart. The films are raw values, 2048 by 2048 of 12 bits in big
endian words, 0 the brightest (`All247images/JPCLN001.IMG`), or pictures made of them by somebody; the masks are
`scratch/fold1/masks/heart/JPCLN001.gif` and so on, or the same folders elsewhere, at 1024 pixels. Which of the folders
"left lung" and "right lung" lies on the picture's left is looked up in the masks: on these films, which nobody
mirrored, that is the patient's right lung.

Shiraishi J et al. Development of a digital image database for chest radiographs with and without a lung nodule. AJR
2000;174:71-74. van Ginneken B, Stegmann MB, Loog M. Segmentation of anatomical structures in chest radiographs using
supervised methods. Medical Image Analysis 2006;10:19-40.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from cxrnode.training.example import AnyMask, Example, MaskAt, part_of
from cxrnode.training.layouts.files import PICTURES, walk
from cxrnode.training.layouts.sides import by_side

Folders = Mapping[str, Mapping[str, Path]]
MASKS = ("heart", "left lung", "right lung", "left clavicle", "right clavicle", "masks")
"""Folders that hold masks; those in the last, of some copies, are of nobody knows what."""
_FILM = re.compile(r"^JPC(LN|NN)\d{3}$")


def found(folder: Path) -> bool:
    """Say whether the folder has this layout: its films, in the folder or one or two below it."""
    return any(
        _FILM.match(path.stem)
        for pattern in ("JPC*", "*/JPC*", "*/*/JPC*")
        for path in folder.glob(pattern)
        if path.suffix.lower() == ".img" or path.suffix.lower() in PICTURES
    )


def read(folder: Path) -> Iterator[Example]:
    """List the films, each with the masks that lie below the same folder."""
    files = [path for path in walk(folder, PICTURES | {".img"}) if _FILM.match(path.stem)]
    masks = {name: {p.stem: p for p in files if _drawn(p) == name} for name in ("left lung", "right lung", "heart")}
    right, left = by_side(masks["left lung"], masks["right lung"])
    drawn = {"right_lung": right, "left_lung": left, "heart": masks["heart"]}
    films = [path for path in files if path.suffix.lower() == ".img"]
    films = films or [path for path in files if _drawn(path) not in MASKS]
    yield from (_example(film, drawn) for film in {film.stem: film for film in films}.values())


def _drawn(path: Path) -> str:
    """Say what a file in this folder shows: copies write "left_lung", too."""
    return path.parent.name.lower().replace("_", " ")


def _example(film: Path, drawn: Folders) -> Example:
    patient = f"JSRT-{film.stem}"
    masks: dict[str, tuple[AnyMask, ...]] = {
        channel: (MaskAt(path=paths[film.stem]),) for channel, paths in drawn.items() if film.stem in paths
    }
    return Example(
        name=film.stem,
        source="jsrt",
        patient=patient,
        part=part_of(patient),
        image=film,
        true_aspect=1.0,
        view="PA",
        masks=masks,
        classes={"pattern": "normal"} if film.stem.startswith("JPCNN") else {},
    )
