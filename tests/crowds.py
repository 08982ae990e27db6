"""Tiny copies of the public data sets with patients enough to train on: some in the training part, some to check on.

They are the films of tests/layouts.py, as many as it takes. A patient's part is a hash of the name, so names are tried
until there are enough of either part.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from pathlib import Path

import numpy as np

from cxrnode.training.example import part_of
from tests.layouts import chest, lungs, pneumothorax, runs_of, save, save_dicom, save_table, siim_name

RIGHT, LEFT = lungs(64)
NOTHING = np.zeros((1024, 1024), dtype=np.bool_)


def numbers(patient: Callable[[int], str], train: int = 4, validate: int = 2) -> Iterator[tuple[int, int]]:
    """Give (number, place) of patients: the first of the training part, then the first of those to check on."""
    for part, wanted in (("train", train), ("validate", validate)):
        fitting = (number for number in count(1) if part_of(patient(number)) == part)
        for place in range(wanted):
            yield next(fitting), place


def write_radiography(folder: Path) -> None:
    """COVID-19 Radiography Database: three films of each class."""
    for seed, name in enumerate(("COVID", "Lung_Opacity", "Normal", "Viral Pneumonia")):
        for number, _ in numbers(lambda n, name=name: f"covid_radiography-{name}-{n}", 2, 1):  # type: ignore[misc]
            save(chest(1000 * seed + number, 75), folder / name / "images" / f"{name}-{number}.png")
            save(RIGHT | LEFT, folder / name / "masks" / f"{name}-{number}.png")


def write_siim(folder: Path) -> None:
    """SIIM-ACR as published: every second film has a pneumothorax."""
    rows = []
    for number, place in numbers(lambda n: f"siim-P{n}"):
        path = folder / "dicom-images-train" / f"study{number}" / "series" / f"{siim_name(number)}.dcm"
        save_dicom(chest(4000 + number), path, PatientID=f"P{number}", PatientAge="028Y", ViewPosition="AP")
        rows.append((siim_name(number), " -1" if place % 2 else " " + runs_of(pneumothorax())))
    save_table(folder / "train-rle.csv", ("ImageId", " EncodedPixels"), rows)


def write_siim_absolute(folder: Path) -> None:
    """SIIM-ACR as PNG with absolute run lengths."""
    rows = []
    for number, place in numbers(lambda n: f"siim-{siim_name(n)}"):
        save(chest(5000 + number), folder / "train" / f"{siim_name(number)}.png")
        rows.append((siim_name(number), "-1" if place % 2 else runs_of(pneumothorax(), relative=False)))
    save_table(folder / "train-rle.csv", ("ImageId", "EncodedPixels"), rows)


def write_siim_masks(folder: Path) -> None:
    """SIIM-ACR as PNG films and PNG masks."""
    rows = []
    for number, place in numbers(lambda n: f"siim-{siim_name(n)}"):
        name, there = f"{number}_train_{1 - place % 2}_.png", 1 - place % 2
        save(chest(6000 + number), folder / "png_images" / name)
        save(pneumothorax() if there else NOTHING, folder / "png_masks" / name)
        rows.append((name, siim_name(number), there))
    save_table(folder / "stage_1_train_images.csv", ("new_filename", "ImageId", "has_pneumo"), rows)


def write_rsna(folder: Path) -> None:
    """RSNA: films with a box, films that are not normal, films that are."""
    answers = ("Lung Opacity", "Normal", "No Lung Opacity / Not Normal")
    boxes: list[tuple[object, ...]] = []
    classes = []
    for number, place in numbers(lambda n: f"rsna-film{n}", 4, 3):
        name, answer = f"film{number}", answers[place % 3]
        save_dicom(chest(7000 + number), folder / "stage_2_train_images" / f"{name}.dcm", PatientAge="51")
        boxes.append((name, 10, 16, 20, 30, 1) if place % 3 == 0 else (name, "", "", "", "", 0))
        classes.append((name, answer))
    save_table(folder / "stage_2_train_labels.csv", ("patientId", "x", "y", "width", "height", "Target"), boxes)
    save_table(folder / "stage_2_detailed_class_info.csv", ("patientId", "class"), classes)


def write_jsrt(folder: Path) -> None:
    """JSRT as PNG with SCR's masks at half the size."""
    for number, place in numbers(lambda n: f"JSRT-JPCLN{n:03d}"):
        name, masks = f"JPCLN{number:03d}", folder / "scratch" / f"fold{1 + place % 2}" / "masks"
        save(chest(8000 + number, 128), folder / "All247images" / f"{name}.png")
        save(RIGHT, masks / "right lung" / f"{name}.gif")
        save(LEFT, masks / "left lung" / f"{name}.gif")
        save(np.roll(LEFT, -10, axis=1), masks / "heart" / f"{name}.gif")


def write_montgomery(folder: Path) -> None:
    """Montgomery: a mask for each lung."""
    for number, _ in numbers(lambda n: f"MCU-{n:04d}"):
        name = f"MCUCXR_{number:04d}_0.png"
        save(chest(9000 + number), folder / "CXR_png" / name)
        save(LEFT, folder / "ManualMask" / "leftMask" / name)
        save(RIGHT, folder / "ManualMask" / "rightMask" / name)


def write_shenzhen(folder: Path) -> None:
    """Shenzhen: a mask of both lungs."""
    for number, _ in numbers(lambda n: f"CHN-{n:04d}"):
        save(chest(10000 + number), folder / "CXR_png" / f"CHNCXR_{number:04d}_0.png")
        save(RIGHT | LEFT, folder / "mask" / f"CHNCXR_{number:04d}_0_mask.png")


def write_nih(folder: Path) -> None:
    """ChestX-ray14: infiltrations with a box, films without a finding, pneumothoraces."""
    labels = ("Infiltration", "No Finding", "Pneumothorax")
    table, boxes = [], []
    for number, place in numbers(lambda n: f"nih-{n:08d}", 6, 3):
        name, label = f"{number:08d}_000.png", labels[place % 3]
        save(chest(11000 + number), folder / "images" / name)
        table.append((name, label, 0, number, "058Y", "M", "PA"))
        boxes += [(name, "Infiltrate", 256.0, 256.0, 320.0, 400.0)] if place % 3 == 0 else []
    columns = ("Image Index", "Finding Labels", "Follow-up #", "Patient ID", "Patient Age", "Patient Gender")
    save_table(folder / "Data_Entry_2017.csv", (*columns, "View Position"), table)
    save_table(folder / "BBox_List_2017.csv", ("Image Index", "Finding Label", "Bbox [x", "y", "w", "h]"), boxes)


def write_chestxdet(folder: Path) -> None:
    """ChestX-Det: consolidations, films with nothing, and one pneumothorax to check on."""
    square = [[256, 256], [576, 256], [576, 656], [256, 656]]
    entries = []
    for number, place in numbers(lambda n: f"nih-{n:08d}", 4, 3):
        label = (
            ("Consolidation", "", "Pneumothorax")[place % 3] if len(entries) >= 4 else ("Consolidation", "")[place % 2]
        )
        name, syms = f"{number:08d}_000.png", [label] if label else []
        drawn = {"boxes": [[256, 256, 576, 656]] * len(syms), "polygons": [square] * len(syms)}
        entries.append({"file_name": name, "syms": syms, **drawn})
        save(chest(12000 + number), folder / "train_data" / name)
    (folder / "ChestX_Det_train.json").write_text(json.dumps(entries), encoding="utf-8")


def write_kermany(folder: Path) -> None:
    """Kermany: films of each class."""
    for number, place in numbers(lambda n: f"kermany-person{n}"):
        kind = ("virus", "bacteria")[place % 2]
        save(chest(13000 + number), folder / "train" / "PNEUMONIA" / f"person{number}_{kind}_1.jpeg")
    for number, _ in numbers(lambda n: f"kermany-IM-{n:04d}", 2, 1):
        save(chest(14000 + number), folder / "train" / "NORMAL" / f"IM-{number:04d}-0001.jpeg")


def write_cohen(folder: Path) -> None:
    """Cohen: COVID-19 and films without a finding."""
    rows = []
    for number, place in numbers(lambda n: f"cohen-{n}"):
        finding = ("Pneumonia/Viral/COVID-19", "No Finding")[place % 2]
        rows.append((number, "M", 65, finding, "PA", "X-ray", f"{number}.jpeg"))
        save(chest(15000 + number), folder / "images" / f"{number}.jpeg")
    columns = ("patientid", "sex", "age", "finding", "view", "modality", "filename")
    save_table(folder / "metadata.csv", columns, rows)


def write_gathered(folder: Path) -> None:
    """Films gathered from several sets, a folder a purpose: what every model needs."""
    _write_gathered_lungs(folder / "lungs")
    _write_gathered_opacities(folder / "opacity")
    rows: list[tuple[object, ...]] = []
    for number, place in numbers(lambda n: f"figure{n}", 1, 2):
        save(chest(18000 + number), folder / "pneumothorax" / "images" / f"figure{number}.png")
        save(RIGHT if place == 0 else RIGHT & False, folder / "pneumothorax" / "masks" / f"figure{number}.png")
        name = f"figure{number}.png"
        rows.append((f"images/{name}", f"masks/{name}", int(place == 0), "whole film", f"figure{number}"))
    save_table(folder / "pneumothorax" / "index.csv", ("image", "mask", "positive", "kind", "patient_hint"), rows)
    rows = []
    for number, place in numbers(lambda n: f"kermany-person{n}", 4, 4):
        label, name = ("COVID", "Normal", "Viral_Pneumonia", "Other_pneumonia")[place], f"images/{number}.png"
        save(chest(19000 + number), folder / "classification" / name)
        rows.append((name, label, "kermany (children)", f"kermany-person{number}"))
    save_table(folder / "classification" / "index.csv", ("image", "label", "source", "patient_id"), rows)


def _write_gathered_lungs(folder: Path) -> None:
    rows = []
    for number, place in numbers(lambda n: f"P{n}", 4, 3):
        source, heart = (("jsrt", f"hearts/{number}.png"), ("shenzhen", ""))[place % 2]
        save(chest(16000 + number), folder / "images" / f"{number}.png")
        save((RIGHT * 1 + LEFT * 2).astype(np.uint8), folder / "masks" / f"{number}.png")
        save(np.roll(LEFT, -10, axis=1), folder / "hearts" / f"{number}.png")
        rows.append((f"images/{number}.png", f"masks/{number}.png", heart, source, f"P{number}"))
    save_table(folder / "index.csv", ("image", "mask", "heart", "source", "patient_id"), rows)


def _write_gathered_opacities(folder: Path) -> None:
    answers = (("Lung Opacity", "[[256, 256, 320, 400]]"), ("Normal", "[]"), ("No Lung Opacity / Not Normal", "[]"))
    rows = []
    for number, place in numbers(lambda n: f"nih-{n:08d}", 6, 3):
        save(chest(17000 + number), folder / "images" / f"{number:08d}_000.png")
        labels = "No Finding" if place % 3 == 1 else "Infiltration"
        patient, age = f"{number:08d}", 4 if place == 5 else 50
        rows.append((f"images/{patient}_000.png", patient, "PA", age, "F", 0.0625, labels, *answers[place % 3], "[]"))
    columns = ("image", "patient_id", "view", "age", "sex", "scale", "nih_labels", "rsna_class", "rsna_boxes_xywh_1024")
    save_table(folder / "index.csv", (*columns, "nih_bbox_xywh_1024", "chestxdet_syms", "chestxdet_boxes_xyxy_1024"),
               [(*row, "", "[]") for row in rows])  # fmt: skip


WRITERS: Mapping[str, Callable[[Path], None]] = {
    "COVID-19_Radiography_Dataset": write_radiography,
    "siim": write_siim,
    "siim-png-runs": write_siim_absolute,
    "siim-png-masks": write_siim_masks,
    "rsna": write_rsna,
    "JSRT": write_jsrt,
    "MontgomerySet": write_montgomery,
    "ChinaSet_AllFiles": write_shenzhen,
    "NIH": write_nih,
    "ChestX-Det": write_chestxdet,
    "chest_xray": write_kermany,
    "covid-chestxray-dataset": write_cohen,
    "gathered": write_gathered,
}
"""Every layout by the folder that it usually lies in."""
