"""Hides the layout of the COVID-19 Radiography Database.

Promises each film's class, and the two lungs of its mask, which is 256 pixels where the film is 299. The masks were
drawn by a U-Net and checked. No patient is named: a film stands for itself.

`COVID/images/COVID-1.png`, `COVID/masks/COVID-1.png`, and so on for `Lung_Opacity`, `Normal`, `Viral Pneumonia`; the
first versions had `COVID-19/COVID-19 (1).png`, `NORMAL` and `Viral Pneumonia`, without a folder `images` and without
masks. The tables beside the folders (xlsx) repeat the class.

Chowdhury MEH et al. Can AI help in screening viral and COVID-19 pneumonia? IEEE Access 2020;8:132665-132676.
Rahman T et al. Exploring the effect of image enhancement techniques on COVID-19 detection using chest X-ray images.
Computers in Biology and Medicine 2021;132:104319.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cxrnode.training.example import Example, MaskAt, MaskSide, part_of
from cxrnode.training.layouts.files import PICTURES, by_stem, walk

PATTERNS = {
    "COVID": "covid19",
    "COVID-19": "covid19",
    "Lung_Opacity": "lung_opacity",
    "Normal": "normal",
    "NORMAL": "normal",
    "Viral Pneumonia": "viral_pneumonia",
    "Viral_Pneumonia": "viral_pneumonia",
}
RSNA = {"Lung_Opacity": "lung_opacity"}
"""All its lung opacities are RSNA's; its normals are RSNA's and Kermany's mixed."""


def found(folder: Path) -> bool:
    """Say whether the folder has this layout: two of its classes, so that a lone `Normal` is not taken for it."""
    classes = _classes(folder)
    return len(classes) >= 2 and any(
        (one / "images").is_dir() or (folder / f"{one.name}.metadata.xlsx").is_file() for one in classes
    )


def read(folder: Path) -> Iterator[Example]:
    """List the examples of every class that is there."""
    for one in _classes(folder):
        images, masks = one / "images", by_stem(one / "masks", PICTURES)
        for path in walk(images if images.is_dir() else one, PICTURES):
            if path.parent.name != "masks":
                yield _example(path, one.name, masks.get(path.stem))


def _classes(folder: Path) -> list[Path]:
    """Give the folders of the classes by the names that they bear: some file systems find `NORMAL` under `Normal`."""
    return sorted(one for one in folder.iterdir() if one.name in PATTERNS and one.is_dir())


def _example(path: Path, name: str, mask: Path | None) -> Example:
    patient = f"covid_radiography-{path.stem}"
    return Example(
        name=path.stem,
        source="covid_radiography",
        patient=patient,
        part=part_of(patient),
        image=path,
        masks=_lungs(mask) if mask else {},
        classes={"pattern": PATTERNS[name], **({"rsna": RSNA[name]} if name in RSNA else {})},
    )


def _lungs(mask: Path) -> dict[str, tuple[MaskAt | MaskSide, ...]]:
    return {
        "lungs": (MaskAt(path=mask),),
        "right_lung": (MaskSide(path=mask, side="right"),),
        "left_lung": (MaskSide(path=mask, side="left"),),
    }
