"""Tiny copies of the public data sets with patients enough to train on: some in the training part, some to check on.

They are the data sets of tests/layouts.py with as many films as it takes. A patient's part is a hash of the name, so
names are tried until there are enough of either part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from cxrnode.training.example import part_of
from tests import layouts
from tests.layouts import Gathered, Row, pneumothorax, runs_of, siim_name


def numbers(patient: Callable[[int], str], train: int = 4, validate: int = 2) -> Iterator[tuple[int, int]]:
    """Give (number, place) of patients: the first of the training part, then the first of those to check on."""
    for part, wanted in (("train", train), ("validate", validate)):
        fitting = (number for number in count(1) if part_of(patient(number)) == part)
        for place in range(wanted):
            yield next(fitting), place


def _only(found: Iterator[tuple[int, int]]) -> list[int]:
    return [number for number, _ in found]


def _every_second(patient: Callable[[int], str]) -> dict[int, bool]:
    """Say by number whether there is a pneumothorax."""
    return {number: place % 2 == 0 for number, place in numbers(patient)}


def _siim() -> dict[int, Sequence[str]]:
    runs = {True: (runs_of(pneumothorax()),), False: ("-1",)}
    return {number: runs[there] for number, there in _every_second(lambda n: f"siim-P{n}").items()}


def _rsna() -> dict[str, str]:
    """Films with boxes, films that are not normal, films that are."""
    answers = ("Lung Opacity", "Normal", "No Lung Opacity / Not Normal")
    return {f"film{number}": answers[place % 3] for number, place in numbers(lambda n: f"rsna-film{n}", 4, 3)}


def _nih() -> list[Row]:
    """Infiltrations, which have a box, films without a finding, pneumothoraces."""
    labels = ("Infiltration", "No Finding", "Pneumothorax")
    found = numbers(lambda n: f"nih-{n:08d}", 6, 3)
    return [(f"{number:08d}_000.png", labels[place % 3], 0, number, "058Y", "M", "PA") for number, place in found]


def _chestxdet() -> dict[str, list[dict[str, Any]]]:
    """Consolidations, films with nothing, and one pneumothorax to check on."""
    labels = ("Consolidation", "", "Consolidation", "", "Consolidation", "", "Pneumothorax")
    square = [[256, 256], [576, 256], [576, 656], [256, 656]]
    entries = []
    for (number, _), label in zip(numbers(lambda n: f"nih-{n:08d}", 4, 3), labels, strict=True):
        syms = [label] if label else []
        drawn = {"boxes": [[256, 256, 576, 656]] * len(syms), "polygons": [square] * len(syms)}
        entries.append({"file_name": f"{number:08d}_000.png", "syms": syms, **drawn})
    return {"train": entries}


def _kermany() -> list[str]:
    """Children of each class."""
    kinds = ("virus", "bacteria")
    ill = [
        f"train/PNEUMONIA/person{number}_{kinds[place % 2]}_1"
        for number, place in numbers(lambda n: f"kermany-person{n}")
    ]
    return ill + [
        f"train/NORMAL/IM-{number:04d}-0001" for number in _only(numbers(lambda n: f"kermany-IM-{n:04d}", 2, 1))
    ]


def _cohen() -> list[Row]:
    """COVID-19 and films without a finding."""
    answers = ("Pneumonia/Viral/COVID-19", "No Finding")
    return [
        (number, "M", 65, answers[place % 2], "PA", "X-ray", f"{number}.jpeg", "")
        for number, place in numbers(lambda n: f"cohen-{n}")
    ]


def _gathered() -> Gathered:
    """What every model needs."""
    answers = (
        ("Infiltration", "Lung Opacity", "[[256, 256, 320, 400]]"),
        ("No Finding", "Normal", "[]"),
        ("Infiltration", "No Lung Opacity / Not Normal", "[]"),
    )
    labels = ("COVID", "Normal", "Viral_Pneumonia", "Other_pneumonia")
    return Gathered(
        lungs=[
            (str(number), ("jsrt", "shenzhen")[place % 2], place % 2 == 0, f"P{number}")
            for number, place in numbers(lambda n: f"P{n}", 4, 3)
        ],
        opacity=[
            (f"{number:08d}_000", 4 if place == 5 else 50, *answers[place % 3], "", "[]")
            for number, place in numbers(lambda n: f"nih-{n:08d}", 6, 3)
        ],
        pneumothorax=[
            (f"figure{number}", place == 0, f"figure{number}")
            for number, place in numbers(lambda n: f"figure{n}", 1, 2)
        ],
        classes=[
            (str(number), labels[place], "kermany (children)", f"kermany-person{number}")
            for number, place in numbers(lambda n: f"kermany-person{n}", 4, 4)
        ],
    )


CROWDS: Mapping[str, Callable[[], Any]] = {
    "COVID-19_Radiography_Dataset": lambda: (
        lambda name: _only(numbers(lambda n: f"covid_radiography-{name}-{n}", 2, 1))
    ),
    "siim": _siim,
    "siim-png-runs": lambda: _every_second(lambda n: f"siim-{siim_name(n)}"),
    "siim-png-masks": lambda: _every_second(lambda n: f"siim-{siim_name(n)}"),
    "rsna": _rsna,
    "JSRT": lambda: [f"JPCLN{number:03d}" for number, _ in numbers(lambda n: f"JSRT-JPCLN{n:03d}")],
    "MontgomerySet": lambda: _only(numbers(lambda n: f"MCU-{n:04d}")),
    "ChinaSet_AllFiles": lambda: _only(numbers(lambda n: f"CHN-{n:04d}")),
    "NIH": _nih,
    "ChestX-Det": _chestxdet,
    "chest_xray": _kermany,
    "covid-chestxray-dataset": _cohen,
    "gathered": _gathered,
}
"""What the writer of each layout is given."""


def _writer(layout: str) -> Callable[[Path], None]:
    write = {**layouts.WRITERS, **layouts.OTHER_FORMS}[layout]
    return lambda folder: write(folder, CROWDS[layout]())


WRITERS: Mapping[str, Callable[[Path], None]] = {layout: _writer(layout) for layout in CROWDS}
"""Every layout by the folder that it usually lies in."""
