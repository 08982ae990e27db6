"""Hides the layouts of SIIM-ACR's pneumothorax data set.

Promises each film's mask, or that none is there, and its patient where the header names one. Films that no table
lists are passed over: nobody said what they show.

As published: `dicom-images-train/**/UID.dcm` and `train-rle.csv` ("ImageId, EncodedPixels"; one row a run-length mask,
several rows a film, " -1" for none), in the second stage `stage_2_train.csv`. Runs go down the columns and each start
counts from the end of the run before. Re-published as PNG: the same table beside `UID.png`, in some with absolute
starts counted from 1, as is the custom elsewhere; or `png_images` and `png_masks` with `stage_1_train_images.csv`
(new_filename, ImageId, has_pneumo). A PNG may be smaller than the 1024 pixels that the runs count.

Filice RW et al. Crowdsourcing pneumothorax annotations using machine learning annotations on the NIH chest X-ray
dataset. Journal of Digital Imaging 2020;33:490-496.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from cxrnode.training.example import AnyMask, Example, MaskAt, MaskRuns, part_of
from cxrnode.training.layouts.files import DICOM, PICTURES, Row, by_stem, columns_of, header_of, rows_of

SIDE = 1024
"""Rows and columns that the runs count, whatever the size of the file beside them."""
_FILMS = PICTURES | {DICOM}


def found(folder: Path) -> bool:
    """Say whether the folder has one of these layouts."""
    return bool(_run_tables(folder)) or ((folder / "png_masks").is_dir() and bool(_stage_tables(folder)))


def read(folder: Path) -> Iterator[Example]:
    """List the examples that a table names and whose film is there."""
    if tables := _run_tables(folder):
        yield from _from_runs(folder, [row for table in tables for row in rows_of(table)])
    else:
        yield from _from_masks(folder, [row for table in _stage_tables(folder) for row in rows_of(table)])


def _run_tables(folder: Path) -> list[Path]:
    """The stage 2 table holds stage 1's films too; one of both is enough."""
    tables = [table for table in sorted(folder.glob("*.csv")) if {"ImageId", "EncodedPixels"} <= {*columns_of(table)}]
    tables = [table for table in tables if "sample" not in table.name]
    return [table for table in tables if table.name == "stage_2_train.csv"] or tables


def _stage_tables(folder: Path) -> list[Path]:
    return [
        table for table in sorted(folder.glob("stage_*.csv")) if {"new_filename", "ImageId"} <= {*columns_of(table)}
    ]


def _from_runs(folder: Path, rows: list[Row]) -> Iterator[Example]:
    relative = not _past_the_end(row["EncodedPixels"] for row in rows)
    runs: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        name = row["ImageId"].removesuffix(".dcm").removesuffix(".png")
        runs[name] += [row["EncodedPixels"]] if _drawn(row["EncodedPixels"]) else []
    films = by_stem(folder, _FILMS)
    for name, texts in sorted(runs.items()):
        if name in films:
            masks = [MaskRuns(runs=text if relative else _from_zero(text), rows=SIDE, cols=SIDE, relative=relative)
                     for text in dict.fromkeys(texts)]  # fmt: skip
            yield _example(films[name], name, tuple(masks))


def _from_masks(folder: Path, rows: list[Row]) -> Iterator[Example]:
    for row in rows:
        film, mask = folder / "png_images" / row["new_filename"], folder / "png_masks" / row["new_filename"]
        there = row.get("has_pneumo") == "1"
        # Of a film with a pneumothorax whose mask is missing nobody knows where it lies.
        if film.is_file() and (mask.is_file() or not there):
            yield _example(film, row["ImageId"], (MaskAt(path=mask),) if there else ())


def _drawn(text: str) -> bool:
    return text not in ("", "-1")


def _past_the_end(texts: Iterable[str]) -> bool:
    """Whether starts that are read as relative run past the picture: then they are absolute."""
    return any(sum(map(int, text.split())) > SIDE * SIDE for text in texts if _drawn(text))


def _from_zero(text: str) -> str:
    numbers = [int(word) for word in text.split()]
    return " ".join(str(number - (place % 2 == 0)) for place, number in enumerate(numbers))


def _example(film: Path, name: str, masks: tuple[AnyMask, ...]) -> Example:
    header = header_of(film)
    patient = f"siim-{header.patient or name}"
    return Example(
        name=name,
        source="siim",
        patient=patient,
        part=part_of(patient),
        image=film,
        view=header.view,
        age=header.age,
        sex=header.sex,
        masks={"pneumothorax": masks},
    )
