"""Tiny copies of the public data sets in their published form: drawn films with truth that is known.

Every chest has its lungs at known columns: the patient's right lung is the picture's left. What each copy holds is its
writer's second argument; left out, it is the few films that the tests of the layouts are about. tests/crowds.py has
more.
"""

from __future__ import annotations

import csv
import json
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from cxrnode.pixels.quiet import quiet

Plane = NDArray[np.uint8]
Mask = NDArray[np.bool_]

Row = tuple[object, ...]

SIIM_ROOT = "1.2.276.0.7230010.3.1.4.8323329."


def chest(seed: int, side: int = 64) -> Plane:
    """Draw a chest (side, side) that is like no other: two dark lungs on a texture of its own."""
    rng = np.random.default_rng(seed)
    texture = np.asarray(Image.fromarray(rng.random((16, 16), dtype=np.float32)).resize((side, side)))
    right, left = lungs(side)
    return np.clip(90 + 130 * texture - 60 * (right | left), 0, 255).astype(np.uint8)


def lungs(side: int) -> tuple[Mask, Mask]:
    """Give the right and the left lung of every chest: the patient's right lies on the picture's left."""
    y, x = (line / side for line in np.ogrid[0:side, 0:side])
    return tuple(((y - 0.5) / 0.3) ** 2 + ((x - at) / 0.14) ** 2 < 1 for at in (0.28, 0.72))  # type: ignore[return-value]


RIGHT, LEFT = lungs(64)
HEART = np.roll(LEFT, -10, axis=1)


def save_film(path: Path, side: int = 64) -> Path:
    """Save the chest (side, side) that belongs to this file name."""
    return save(chest(zlib.crc32(path.stem.encode()), side), path)


def save(plane: Plane | Mask, path: Path) -> Path:
    """Save a plane, or a mask as 0 and 255, making the folders above."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(plane.astype(np.uint8) * 255 if plane.dtype == np.bool_ else plane).save(path)
    return path


def save_dicom(path: Path, **elements: object) -> Path:
    """Save the chest of this file name as uncompressed DICOM, as SIIM's and RSNA's are but for the compression."""
    path.parent.mkdir(parents=True, exist_ok=True)
    plane = chest(zlib.crc32(path.stem.encode()))
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID, ds.SOPInstanceUID = SecondaryCaptureImageStorage, f"1.2.3.{zlib.crc32(path.stem.encode())}"
    ds.Rows, ds.Columns = plane.shape
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit, ds.PixelRepresentation, ds.SamplesPerPixel = 7, 0, 1
    ds.PhotometricInterpretation, ds.PixelData = "MONOCHROME2", plane.tobytes()
    with quiet():  # RSNA writes an age as 51, where DICOM wants 051Y
        for name, value in elements.items():
            setattr(ds, name, value)
        ds.save_as(path, enforce_file_format=True)
    return path


def save_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as lines:
        csv.writer(lines).writerows([columns, *rows])


def runs_of(mask: Mask, *, relative: bool = True) -> str:
    """Write a mask as SIIM's run lengths: down the columns, from the end of the run before; or absolute, from 1."""
    flat = np.concatenate([[False], mask.T.ravel(), [False]])
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    starts, ends = edges[::2], edges[1::2]
    before = np.concatenate([[0], ends[:-1]]) if relative else np.full(len(starts), -1)
    return " ".join(f"{start - gap} {end - start}" for start, end, gap in zip(starts, ends, before, strict=True))


def pneumothorax() -> Mask:
    """Give a mask of 1024 by 1024 at the patient's right apex, which tells rows from columns."""
    mask = np.zeros((1024, 1024), dtype=np.bool_)
    mask[100:160, 200:500] = True
    mask[160:400, 200:260] = True
    return mask


def siim_name(number: int) -> str:
    """Name a film of SIIM's as they are named: by its UID."""
    return f"{SIIM_ROOT}{number}.1517875{number}.100{number}"


def in_two_rows(mask: Mask) -> tuple[str, str]:
    """Give the runs of a mask's upper and of its lower part."""
    upper, lower = mask.copy(), mask.copy()
    upper[160:], lower[:160] = False, False
    return runs_of(upper), runs_of(lower)


SIIM: Mapping[int, Sequence[str]] = {1: in_two_rows(pneumothorax()), 2: ("-1",), 3: ()}
"""One film with a pneumothorax in two rows, one without, one that no table names."""

DRAWN = {1: True, 2: False}
"""Whether a film of SIIM's has a pneumothorax."""

RSNA = {"aaa": "Lung Opacity", "bbb": "No Lung Opacity / Not Normal", "ccc": "Normal"}

NIH: Sequence[Row] = (
    ("00000001_000.png", "Cardiomegaly|Effusion", 0, 1, "058Y", "M", "PA"),
    ("00000001_001.png", "No Finding", 1, 1, "059Y", "M", "AP"),
    ("00000002_000.png", "Infiltration", 0, 2, "081Y", "F", "PA"),
)
"""Two films of one patient and one of another."""

CHESTXDET: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "train": [
        {
            "file_name": "00000007_000.png",
            "syms": ["Pneumothorax", "Nodule"],
            "boxes": [[256, 128, 512, 384], [600, 600, 650, 640]],
            "polygons": [
                [[256, 128], [512, 128], [512, 384], [256, 384]],
                [[600, 600], [650, 600], [650, 640]],
            ],
        }
    ],
    "test": [{"file_name": "36199.png", "syms": [], "boxes": [], "polygons": []}],
}
"""A film with a pneumothorax and a nodule, and one with nothing."""

KERMANY = (
    "train/NORMAL/IM-0115-0001",
    "train/PNEUMONIA/person1_virus_6",
    "test/PNEUMONIA/person1_virus_7",
    "test/NORMAL/NORMAL2-IM-0828-0001",
    "val/PNEUMONIA/person80_bacteria_391",
    "val/NORMAL/NORMAL2-IM-1427-0001",
)
"""A child whose films stand in train and in test, and one film of each class."""

COHEN: Sequence[Row] = (
    ("2", "M", "65", "Pneumonia/Viral/COVID-19", "PA", "X-ray", "a.jpeg", "CC BY"),
    ("2", "M", "65", "Pneumonia/Viral/COVID-19", "AP Supine", "X-ray", "b.jpeg", "CC BY"),
    ("2", "M", "65", "Pneumonia/Viral/COVID-19", "L", "X-ray", "c.jpeg", ""),
    ("3", "F", "", "Pneumonia/Bacterial/Klebsiella", "PA", "X-ray", "d.jpeg", ""),
    ("4", "F", "30", "No Finding", "AP", "X-ray", "e.jpeg", ""),
    ("5", "F", "30", "Pneumonia/Viral/COVID-19", "AP", "CT", "f.jpeg", ""),
    ("6", "F", "30", "Tuberculosis", "AP", "X-ray", "g.jpeg", ""),
)
"""Two frontal films of a patient, a lateral, a CT, other pneumonias, and one without a finding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """Rows of each sub-folder of films gathered from several sets.

    `lungs`: name, source, whether its heart is drawn, patient. `opacity`: name, age, NIH's labels, RSNA's class, RSNA's
    boxes, ChestX-Det's findings and boxes. `pneumothorax`: name, whether there is one, patient. `classes`: name, label,
    source, patient.
    """

    lungs: Sequence[tuple[str, str, bool, str]] = (("JPCLN009", "jsrt", False, "JSRT-JPCLN009"),)
    opacity: Sequence[tuple[str, int, str, str, str, str, str]] = (
        ("00000100_000", 50, "Mass|Edema", "Lung Opacity", "[[512, 256, 128, 64]]", "", ""),
        ("00000101_000", 50, "Mass|Edema", "Normal", "[]", "", ""),
        ("00000102_000", 50, "Mass|Edema", "", "", "", ""),
        ("00000103_000", 50, "Mass|Edema", "", "", '["Nodule"]', "[[16, 32, 48, 64]]"),
    )
    pneumothorax: Sequence[tuple[str, bool, str]] = tuple((siim_name(100 + n), n % 3 > 0, "") for n in range(12))
    classes: Sequence[tuple[str, str, str, str]] = (
        ("person1_virus_6", "Viral_Pneumonia", "kermany (children)", "kermany-person1"),
    )


GATHERED = Gathered()
"""A row or two of each."""


def write_radiography(folder: Path, numbers: Callable[[str], Iterable[int]] = lambda name: (1,)) -> None:
    """COVID-19 Radiography Database: films of 75 pixels, masks of 64; the films of these numbers for each class."""
    for name in ("COVID", "Lung_Opacity", "Normal", "Viral Pneumonia"):
        (folder / name).mkdir(parents=True)
        (folder / f"{name}.metadata.xlsx").touch()
        for number in numbers(name):
            save_film(folder / name / "images" / f"{name}-{number}.png", 75)
            save(RIGHT | LEFT, folder / name / "masks" / f"{name}-{number}.png")


def write_siim(folder: Path, films: Mapping[int, Sequence[str]] = SIIM) -> None:
    """SIIM-ACR as published: by a film's number its rows of run lengths."""
    for number in films:
        path = folder / "dicom-images-train" / f"study{number}" / "series" / f"{siim_name(number)}.dcm"
        save_dicom(path, PatientID=f"P{number}", PatientAge="028Y", PatientSex="F", ViewPosition="AP")
    rows = [(siim_name(number), f" {runs}") for number, each in films.items() for runs in each]
    save_table(folder / "train-rle.csv", ("ImageId", " EncodedPixels"), rows)


def write_siim_absolute(folder: Path, films: Mapping[int, bool] = DRAWN) -> None:
    """SIIM-ACR as PNG with absolute run lengths: by a film's number whether it has a pneumothorax."""
    runs = {True: runs_of(pneumothorax(), relative=False), False: "-1"}
    for number in films:
        save_film(folder / "train" / f"{siim_name(number)}.png")
    rows = [(siim_name(number), runs[there]) for number, there in films.items()]
    save_table(folder / "train-rle.csv", ("ImageId", "EncodedPixels"), rows)


def write_siim_masks(folder: Path, films: Mapping[int, bool] = DRAWN) -> None:
    """SIIM-ACR as PNG films and PNG masks: by a film's number whether it has a pneumothorax."""
    rows = []
    for number, there in films.items():
        name = f"{number}_train_{there:d}_.png"
        save_film(folder / "png_images" / name)
        save(pneumothorax() & there, folder / "png_masks" / name)
        rows.append((name, siim_name(number), int(there)))
    save_table(folder / "stage_1_train_images.csv", ("new_filename", "ImageId", "has_pneumo"), rows)


def write_rsna(folder: Path, films: Mapping[str, str] = RSNA, *, names: Mapping[str, str] | None = None) -> None:
    """RSNA: films by name with their class, two boxes for an opacity; perhaps with RSNA's table of NIH names."""
    boxes: list[Row] = []
    classes: list[Row] = []
    for name, answer in films.items():
        path = folder / "stage_2_train_images" / f"{name}.dcm"
        save_dicom(path, PatientID=name, PatientAge="51", PatientSex="M", ViewPosition="PA")
        drawn = [(10, 20, 30, 40, 1), (5, 6, 7, 8, 1)] if answer == "Lung Opacity" else [("", "", "", "", 0)]
        boxes += [(name, *box) for box in drawn]
        classes += [(name, answer)] * len(drawn)
    save_table(folder / "stage_2_train_labels.csv", ("patientId", "x", "y", "width", "height", "Target"), boxes)
    save_table(folder / "stage_2_detailed_class_info.csv", ("patientId", "class"), classes)
    if names:
        entries = [{"subset_img_id": name, "img_id": nih} for name, nih in names.items()]
        (folder / "pneumonia-challenge-dataset-mappings_2018.json").write_text(json.dumps(entries))


def write_jsrt(folder: Path, names: Iterable[str] = ("JPCLN001", "JPCNN002"), *, swapped: bool = False) -> None:
    """JSRT as PNG with SCR's masks at half the size; `swapped`: "left lung" is the picture's left."""
    for place, name in enumerate(names):
        save_film(folder / "All247images" / f"{name}.png", 128)
        masks = folder / "scratch" / f"fold{1 + place % 2}" / "masks"
        save(LEFT if swapped else RIGHT, masks / "right lung" / f"{name}.gif")
        save(RIGHT if swapped else LEFT, masks / "left lung" / f"{name}.gif")
        save(HEART, masks / "heart" / f"{name}.gif")


def write_montgomery(folder: Path, numbers: Iterable[int] = (1,)) -> None:
    """Montgomery: a mask for each lung."""
    for number in numbers:
        name = f"MCUCXR_{number:04d}_0"
        save_film(folder / "CXR_png" / f"{name}.png")
        save(LEFT, folder / "ManualMask" / "leftMask" / f"{name}.png")
        save(RIGHT, folder / "ManualMask" / "rightMask" / f"{name}.png")
        _write_text(folder / "ClinicalReadings" / f"{name}.txt", "Patient's Sex: F\nPatient's Age: 026Y\nnormal\n")


def write_shenzhen(folder: Path, numbers: Iterable[int] = (1,)) -> None:
    """Shenzhen: films with a mask of both lungs, drawn by others, and one without."""
    for number in numbers:
        save_film(folder / "CXR_png" / f"CHNCXR_{number:04d}_0.png")
        save(RIGHT | LEFT, folder / "mask" / f"CHNCXR_{number:04d}_0_mask.png")
    save_film(folder / "CXR_png" / "CHNCXR_0330_1.png")
    _write_text(folder / "ClinicalReadings" / "CHNCXR_0330_1.txt", "female 45yrs\nright PTB\n")


def write_nih(folder: Path, films: Sequence[Row] = NIH) -> None:
    """ChestX-ray14: a box for each infiltration, one film that is not there, one name in the official test part."""
    columns = ("Image Index", "Finding Labels", "Follow-up #", "Patient ID", "Patient Age", "Patient Gender")
    away = ("00030000_000.png", "Hernia", 0, 30000, "070Y", "F", "PA")
    save_table(folder / "Data_Entry_2017.csv", (*columns, "View Position"), [*films, away])
    for place, row in enumerate(films):
        save_film(folder / f"images_{place + 1:03d}" / "images" / str(row[0]))
    boxes = [(row[0], "Infiltrate", 256.0, 512.0, 128.0, 64.0) for row in films if row[1] == "Infiltration"]
    save_table(folder / "BBox_List_2017.csv", ("Image Index", "Finding Label", "Bbox [x", "y", "w", "h]"), boxes)
    _write_text(folder / "test_list.txt", "00000002_000.png\n")


def write_chestxdet(folder: Path, parts: Mapping[str, Sequence[Mapping[str, Any]]] = CHESTXDET) -> None:
    """ChestX-Det: the entries of each part."""
    for part, entries in parts.items():
        for entry in entries:
            save_film(folder / f"{part}_data" / entry["file_name"])
        _write_text(folder / f"ChestX_Det_{part}.json", json.dumps(entries))


def write_kermany(folder: Path, films: Iterable[str] = KERMANY) -> None:
    """Kermany: films by their path."""
    for name in films:
        save_film(folder / f"{name}.jpeg")


def write_cohen(folder: Path, films: Sequence[Row] = COHEN) -> None:
    """Cohen: a row a film, and one of a film that is not there."""
    columns = ("patientid", "sex", "age", "finding", "view", "modality", "filename", "license")
    away = ("7", "F", "30", "No Finding", "AP", "X-ray", "not_there.jpeg", "")
    save_table(folder / "metadata.csv", columns, [*films, away])
    for row in films:
        save_film(folder / "images" / str(row[6]))


def write_gathered(folder: Path, films: Gathered = GATHERED) -> None:
    """Films gathered from several sets, a sub-folder a purpose, each with its index."""
    _gather_lungs(folder / "lungs", films)
    _gather_opacities(folder / "opacity", films)
    _gather_pneumothoraces(folder / "pneumothorax", films)
    _gather_classes(folder / "classification", films)


def _gather_lungs(folder: Path, films: Gathered) -> None:
    rows: list[Row] = []
    for name, source, heart, patient in films.lungs:
        save_film(folder / "images" / f"{name}.png")
        save((RIGHT * 1 + LEFT * 2).astype(np.uint8), folder / "masks" / f"{name}.png")
        if heart:
            save(HEART, folder / "hearts" / f"{name}.png")
        rows.append((*_files(name, "images", "masks"), f"hearts/{name}.png" if heart else "", source, patient, 1.0))
    save_table(folder / "index.csv", ("image", "mask", "heart", "source", "patient_id", "aspect_w_h"), rows)


def _gather_opacities(folder: Path, films: Gathered) -> None:
    rows: list[Row] = []
    for name, age, labels, answer, boxes, found, places in films.opacity:
        save_film(folder / "images" / f"{name}.png")
        patient = name.partition("_")[0]
        rows.append(
            (*_files(name, "images"), patient, "PA", age, "F", 0.0625, labels, answer, boxes, "[]", found, places)
        )
    columns = ("image", "patient_id", "view", "age", "sex", "scale", "nih_labels", "rsna_class", "rsna_boxes_xywh_1024")
    more = ("nih_bbox_xywh_1024", "chestxdet_syms", "chestxdet_boxes_xyxy_1024")
    save_table(folder / "index.csv", (*columns, *more), rows)


def _gather_pneumothoraces(folder: Path, films: Gathered) -> None:
    rows: list[Row] = []
    for name, there, patient in films.pneumothorax:
        save_film(folder / "images" / f"{name}.png")
        save(RIGHT & there, folder / "masks" / f"{name}.png")
        rows.append((*_files(name, "images", "masks"), int(there), "whole film", patient))
    save_table(folder / "index.csv", ("image", "mask", "positive", "kind", "patient_hint"), rows)


def _gather_classes(folder: Path, films: Gathered) -> None:
    rows: list[Row] = []
    for name, label, source, patient in films.classes:
        save_film(folder / "images" / f"{name}.png")
        rows.append((*_files(name, "images"), label, source, patient))
    save_table(folder / "index.csv", ("image", "label", "source", "patient_id"), rows)


def _files(name: str, *folders: str) -> tuple[str, ...]:
    return tuple(f"{folder}/{name}.png" for folder in folders)


def _write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


WRITERS: Mapping[str, Callable[..., None]] = {
    "COVID-19_Radiography_Dataset": write_radiography,
    "siim": write_siim,
    "rsna": write_rsna,
    "JSRT": write_jsrt,
    "MontgomerySet": write_montgomery,
    "ChinaSet_AllFiles": write_shenzhen,
    "NIH": write_nih,
    "ChestX-Det": write_chestxdet,
    "chest_xray": write_kermany,
    "covid-chestxray-dataset": write_cohen,
}
"""The published data sets by the folder that each usually lies in."""

OTHER_FORMS: Mapping[str, Callable[..., None]] = {
    "siim-png-runs": write_siim_absolute,
    "siim-png-masks": write_siim_masks,
    "gathered": write_gathered,
}
"""What the same films are passed on as."""
