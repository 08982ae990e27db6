"""Hides the layout of the COVID-19 image data collection of Cohen et al.

Promises the frontal radiographs only, each with its patient; COVID-19 and films without a finding by those names,
every other pneumonia as lung opacity, and no class for what else there is.

`metadata.csv` (patientid, finding, view, modality, filename, license and more; the first versions wrote `Patientid` and
had no modality) and `images`.

Cohen JP et al. COVID-19 image data collection: prospective predictions are the future. Journal of Machine Learning for
Biomedical Imaging 2020;2020:2:1-38.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cxrnode.training.example import Example, part_of
from cxrnode.training.layouts.files import Row, columns_of, rows_of, whole_years

FRONTAL = ("PA", "AP")
"""The first word of a frontal view; the patient's posture may follow it ("AP Supine", "AP semi erect")."""
OTHER_PNEUMONIA = (
    "Pneumonia",
    "SARS",
    "MERS",
    "Pneumocystis",
    "Streptococcus",
    "Legionella",
    "Klebsiella",
    "Influenza",
)
_COLUMNS = {"patientid", "finding", "view", "filename"}


def found(folder: Path) -> bool:
    """Say whether the folder has this layout."""
    table = folder / "metadata.csv"
    return table.is_file() and {name.lower() for name in columns_of(table)} >= _COLUMNS


def read(folder: Path) -> Iterator[Example]:
    """List the frontal radiographs that are there."""
    for raw in rows_of(folder / "metadata.csv"):
        row = {name.lower(): value for name, value in raw.items()}
        film = folder / (row.get("folder") or "images") / row["filename"]
        if row["view"].partition(" ")[0] in FRONTAL and row.get("modality", "X-ray") == "X-ray" and film.is_file():
            yield _example(film, row)


def _example(film: Path, row: Row) -> Example:
    patient = f"cohen-{row['patientid']}"
    pattern = _pattern(row["finding"])
    return Example(
        name=film.stem,
        source="cohen",
        patient=patient,
        part=part_of(patient),
        image=film,
        view=row["view"],
        age=whole_years(row.get("age", "").partition(".")[0]),
        sex=row.get("sex", ""),
        licence=row.get("license", ""),
        classes={"pattern": pattern} if pattern else {},
    )


def _pattern(finding: str) -> str:
    if "COVID-19" in finding:
        return "covid19"
    if finding == "No Finding":
        return "normal"
    return "lung_opacity" if finding.startswith(OTHER_PNEUMONIA) else ""
