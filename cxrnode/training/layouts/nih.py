"""Hides the layout of the NIH's ChestX-ray14.

Promises each film's labels as the NIH's program read them from the report, which is weak evidence; only the labels that
a film has are listed, "No Finding" among them. The few boxes are a radiologist's; a film that the list of boxes does
not name was not looked at.

`images_001/images/00000001_000.png` and so on (or one `images` folder), `Data_Entry_2017*.csv`, `BBox_List_2017.csv`
(Image Index, Finding Label, "Bbox [x", y, w, "h]"), `test_list.txt`. The official test part is noted as a flag; it
parts by patient too, but knows nothing of the other data sets.

Wang X et al. ChestX-ray8: hospital-scale chest X-ray database and benchmarks on weakly-supervised classification and
localization of common thorax diseases. CVPR 2017:2097-2106.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from cxrnode.training.example import Example, TrueBox, part_of, shape_of_file
from cxrnode.training.layouts.files import PICTURES, Row, by_stem, rows_of, whole_years

SIDE = 1024
LABELS = {"Infiltrate": "Infiltration"}
"""The list of boxes has one label under another name."""


def found(folder: Path) -> bool:
    """Say whether the folder has this layout."""
    return any(folder.glob("Data_Entry_2017*.csv"))


def read(folder: Path) -> Iterator[Example]:
    """List the films of the table that are there."""
    films = by_stem(folder, PICTURES)
    boxes: dict[str, list[Row]] = defaultdict(list)
    for table in sorted(folder.glob("[Bb][Bb]ox_[Ll]ist_2017*.csv")):
        for row in rows_of(table):
            boxes[row["Image Index"]].append(row)
    listed = folder / "test_list.txt"
    official = set(listed.read_text(encoding="utf-8").split()) if listed.is_file() else set()
    for row in rows_of(sorted(folder.glob("Data_Entry_2017*.csv"))[-1]):
        name = row["Image Index"]
        film = films.get(Path(name).stem)
        if film:
            yield _example(film, row, boxes.get(name), "official test" if name in official else "")


def _example(film: Path, row: Row, drawn: list[Row] | None, flag: str) -> Example:
    patient = f"nih-{film.stem.partition('_')[0]}"
    return Example(
        name=film.stem,
        source="nih",
        patient=patient,
        part=part_of(patient),
        image=film,
        view=row.get("View Position", ""),
        age=whole_years(row.get("Patient Age", "")),
        sex=row.get("Patient Gender") or row.get("Patient Sex", ""),
        flag=flag,
        labels={f"nih.{label}": True for label in row["Finding Labels"].split("|") if label},
        boxes=tuple(_box(one, shape_of_file(film)[1] / SIDE) for one in drawn) if drawn else None,
    )


def _box(row: Row, scale: float) -> TrueBox:
    x, y, width, height = (float(row[name]) * scale for name in ("Bbox [x", "y", "w", "h]"))
    label = LABELS.get(row["Finding Label"], row["Finding Label"])
    return TrueBox(label=label, drawn_by="nih", left=x, top=y, right=x + width, bottom=y + height)
