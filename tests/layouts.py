"""Tiny copies of the public data sets in their published form: a few drawn films each, with truth that is known.

Every chest has its lungs at known columns: the patient's right lung is the picture's left.
"""

from __future__ import annotations

import csv
import json
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from cxrnode.pixels.quiet import quiet

Plane = NDArray[np.uint8]
Mask = NDArray[np.bool_]

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


def save(plane: Plane | Mask, path: Path) -> Path:
    """Save a plane, or a mask as 0 and 255, making the folders above."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(plane.astype(np.uint8) * 255 if plane.dtype == np.bool_ else plane).save(path)
    return path


def save_dicom(plane: Plane, path: Path, **elements: object) -> Path:
    """Save a film as an uncompressed DICOM file, as SIIM's and RSNA's are but for the compression."""
    path.parent.mkdir(parents=True, exist_ok=True)
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


def write_radiography(folder: Path) -> None:
    """COVID-19 Radiography Database: films of 75 pixels, masks of 64; a film of each class."""
    for seed, name in enumerate(("COVID", "Lung_Opacity", "Normal", "Viral Pneumonia")):
        right, left = lungs(64)
        save(chest(seed, 75), folder / name / "images" / f"{name}-1.png")
        save(right | left, folder / name / "masks" / f"{name}-1.png")
        (folder / f"{name}.metadata.xlsx").touch()


def siim_name(number: int) -> str:
    """Name a film of SIIM's as they are named: by its UID."""
    return f"{SIIM_ROOT}{number}.1517875{number}.100{number}"


def write_siim(folder: Path) -> None:
    """SIIM-ACR as published: one film with a pneumothorax in two rows, one without, one that no table names."""
    upper, lower = pneumothorax(), pneumothorax()
    upper[160:], lower[:160] = False, False
    for number in (1, 2, 3):
        path = folder / "dicom-images-train" / f"study{number}" / "series" / f"{siim_name(number)}.dcm"
        save_dicom(
            chest(10 + number), path, PatientID=f"P{number}", PatientAge="028Y", PatientSex="F", ViewPosition="AP"
        )
    rows = [(siim_name(1), " " + runs_of(upper)), (siim_name(1), " " + runs_of(lower)), (siim_name(2), " -1")]
    save_table(folder / "train-rle.csv", ("ImageId", " EncodedPixels"), rows)


def write_siim_absolute(folder: Path) -> None:
    """SIIM-ACR as PNG with absolute run lengths."""
    for number in (1, 2):
        save(chest(10 + number), folder / "train" / f"{siim_name(number)}.png")
    rows = [(siim_name(1), runs_of(pneumothorax(), relative=False)), (siim_name(2), "-1")]
    save_table(folder / "train-rle.csv", ("ImageId", "EncodedPixels"), rows)


def write_siim_masks(folder: Path) -> None:
    """SIIM-ACR as PNG films and PNG masks."""
    rows = []
    for number, there in ((1, 1), (2, 0)):
        name = f"{number}_train_{there}_.png"
        save(chest(10 + number), folder / "png_images" / name)
        save(pneumothorax() if there else np.zeros((1024, 1024), dtype=np.bool_), folder / "png_masks" / name)
        rows.append((name, siim_name(number), there))
    save_table(folder / "stage_1_train_images.csv", ("new_filename", "ImageId", "has_pneumo"), rows)


def write_rsna(folder: Path, *, names: Mapping[str, str] | None = None) -> None:
    """RSNA: a film with two boxes, one that is not normal, one that is; perhaps with RSNA's table of NIH names."""
    classes = {"aaa": "Lung Opacity", "bbb": "No Lung Opacity / Not Normal", "ccc": "Normal"}
    for seed, name in enumerate(classes):
        path = folder / "stage_2_train_images" / f"{name}.dcm"
        save_dicom(chest(20 + seed), path, PatientID=name, PatientAge="51", PatientSex="M", ViewPosition="PA")
    boxes = [("aaa", 10, 20, 30, 40, 1), ("aaa", 5, 6, 7, 8, 1), ("bbb", "", "", "", "", 0), ("ccc", "", "", "", "", 0)]
    save_table(folder / "stage_2_train_labels.csv", ("patientId", "x", "y", "width", "height", "Target"), boxes)
    answers = [(name, classes[name]) for name in ("aaa", "aaa", "bbb", "ccc")]
    save_table(folder / "stage_2_detailed_class_info.csv", ("patientId", "class"), answers)
    if names:
        entries = [{"subset_img_id": name, "img_id": nih} for name, nih in names.items()]
        (folder / "pneumonia-challenge-dataset-mappings_2018.json").write_text(json.dumps(entries))


def write_jsrt(folder: Path, *, swapped: bool = False) -> None:
    """JSRT as PNG with SCR's masks at half the size; `swapped`: "left lung" is the picture's left."""
    for fold, name in ((1, "JPCLN001"), (2, "JPCNN002")):
        save(chest(30 + fold, 128), folder / "All247images" / f"{name}.png")
        right, left = lungs(64)
        masks = folder / "scratch" / f"fold{fold}" / "masks"
        save(right, masks / ("left lung" if swapped else "right lung") / f"{name}.gif")
        save(left, masks / ("right lung" if swapped else "left lung") / f"{name}.gif")
        save(np.roll(left, -10, axis=1), masks / "heart" / f"{name}.gif")


def write_montgomery(folder: Path) -> None:
    """Montgomery: one film, a mask for each lung."""
    right, left = lungs(64)
    save(chest(40), folder / "CXR_png" / "MCUCXR_0001_0.png")
    save(left, folder / "ManualMask" / "leftMask" / "MCUCXR_0001_0.png")
    save(right, folder / "ManualMask" / "rightMask" / "MCUCXR_0001_0.png")
    _write_text(folder / "ClinicalReadings" / "MCUCXR_0001_0.txt", "Patient's Sex: F\nPatient's Age: 026Y\nnormal\n")


def write_shenzhen(folder: Path) -> None:
    """Shenzhen: one film with a mask of both lungs, drawn by others, and one without."""
    right, left = lungs(64)
    save(chest(41), folder / "CXR_png" / "CHNCXR_0001_0.png")
    save(chest(42), folder / "CXR_png" / "CHNCXR_0330_1.png")
    save(right | left, folder / "mask" / "CHNCXR_0001_0_mask.png")
    _write_text(folder / "ClinicalReadings" / "CHNCXR_0330_1.txt", "female 45yrs\nright PTB\n")


def write_nih(folder: Path) -> None:
    """ChestX-ray14: two films of one patient and one of another, one with a box, one in the official test part."""
    table = [
        ("00000001_000.png", "Cardiomegaly|Effusion", 0, 1, "058Y", "M", "PA"),
        ("00000001_001.png", "No Finding", 1, 1, "059Y", "M", "AP"),
        ("00000002_000.png", "Infiltration", 0, 2, "081Y", "F", "PA"),
        ("00000003_000.png", "Hernia", 0, 3, "070Y", "F", "PA"),
    ]
    columns = ("Image Index", "Finding Labels", "Follow-up #", "Patient ID", "Patient Age", "Patient Gender")
    save_table(folder / "Data_Entry_2017.csv", (*columns, "View Position"), table)
    for seed, row in enumerate(table[:3]):
        save(chest(50 + seed), folder / f"images_{seed + 1:03d}" / "images" / str(row[0]))
    box = ("00000002_000.png", "Infiltrate", 256.0, 512.0, 128.0, 64.0)
    save_table(folder / "BBox_List_2017.csv", ("Image Index", "Finding Label", "Bbox [x", "y", "w", "h]"), [box])
    _write_text(folder / "test_list.txt", "00000002_000.png\n")


def write_chestxdet(folder: Path) -> None:
    """ChestX-Det: a film with a pneumothorax and a nodule, and one with nothing."""
    square = [[256, 128], [512, 128], [512, 384], [256, 384]]
    train = [
        {
            "file_name": "00000007_000.png",
            "syms": ["Pneumothorax", "Nodule"],
            "boxes": [[256, 128, 512, 384], [600, 600, 650, 640]],
            "polygons": [square, [[600, 600], [650, 600], [650, 640]]],
        }
    ]
    test = [{"file_name": "36199.png", "syms": [], "boxes": [], "polygons": []}]
    for seed, (part, entries) in enumerate((("train", train), ("test", test))):
        save(chest(60 + seed), folder / f"{part}_data" / str(entries[0]["file_name"]))
        _write_text(folder / f"ChestX_Det_{part}.json", json.dumps(entries))


def write_kermany(folder: Path) -> None:
    """Kermany: a child whose films stand in train and in test, and one film of each class."""
    films = {
        "train/NORMAL/IM-0115-0001.jpeg": 70,
        "train/PNEUMONIA/person1_virus_6.jpeg": 71,
        "test/PNEUMONIA/person1_virus_7.jpeg": 72,
        "test/NORMAL/NORMAL2-IM-0828-0001.jpeg": 73,
        "val/PNEUMONIA/person80_bacteria_391.jpeg": 74,
        "val/NORMAL/NORMAL2-IM-1427-0001.jpeg": 75,
    }
    for name, seed in films.items():
        save(chest(seed), folder / name)


def write_cohen(folder: Path) -> None:
    """Cohen: two frontal films of a patient, a lateral, a CT, another pneumonia, and a film that is not there."""
    table = [
        ("2", "M", "65", "Pneumonia/Viral/COVID-19", "PA", "X-ray", "a.jpeg", "CC BY"),
        ("2", "M", "65", "Pneumonia/Viral/COVID-19", "AP Supine", "X-ray", "b.jpeg", "CC BY"),
        ("2", "M", "65", "Pneumonia/Viral/COVID-19", "L", "X-ray", "c.jpeg", ""),
        ("3", "F", "", "Pneumonia/Bacterial/Klebsiella", "PA", "X-ray", "d.jpeg", ""),
        ("4", "F", "30", "No Finding", "AP", "X-ray", "e.jpeg", ""),
        ("5", "F", "30", "Pneumonia/Viral/COVID-19", "AP", "CT", "f.jpeg", ""),
        ("6", "F", "30", "Tuberculosis", "AP", "X-ray", "g.jpeg", ""),
        ("7", "F", "30", "No Finding", "AP", "X-ray", "not_there.jpeg", ""),
    ]
    columns = ("patientid", "sex", "age", "finding", "view", "modality", "filename", "license")
    save_table(folder / "metadata.csv", columns, table)
    for seed, row in enumerate(table[:-1]):
        save(chest(80 + seed), folder / "images" / row[6])


def write_gathered(folder: Path) -> None:
    """The layout of films gathered from several sets: a row or two of each sub-folder."""
    right, left = lungs(64)
    save(chest(90), folder / "lungs" / "images" / "JPCLN009.png")
    save((right * 1 + left * 2).astype(np.uint8), folder / "lungs" / "masks" / "JPCLN009.png")
    columns = ("image", "mask", "heart", "source", "patient_id", "label", "aspect_w_h", "flag")
    row = ("images/JPCLN009.png", "masks/JPCLN009.png", "", "jsrt", "JSRT-JPCLN009", "nodule", "1.0", "")
    save_table(folder / "lungs" / "index.csv", columns, [row])
    _write_gathered_opacity(folder / "opacity")
    _write_gathered_pneumothorax(folder / "pneumothorax")
    save(chest(95), folder / "classification" / "images" / "person1_virus_6.png")
    columns = ("image", "label", "source", "patient_id", "view", "overlaps", "licence")
    row = ("images/person1_virus_6.png", "Viral_Pneumonia", "kermany (children)", "kermany-person1", "AP", "", "")
    save_table(folder / "classification" / "index.csv", columns, [row])


def _write_gathered_opacity(folder: Path) -> None:
    rows = [
        ("Lung Opacity", "[[512, 256, 128, 64]]", "[]", "", ""),
        ("Normal", "[]", "[]", "", ""),
        ("", "", "[]", "", ""),
        ("", "", "[]", '["Nodule"]', "[[16, 32, 48, 64]]"),
    ]
    table = []
    for number, answers in enumerate(rows):
        save(chest(91 + number), folder / "images" / f"0000010{number}_000.png")
        table.append(
            (f"images/0000010{number}_000.png", f"0000010{number}", "PA", 50, "F", 0.0625, "Mass|Edema", *answers)
        )
    columns = ("image", "patient_id", "view", "age", "sex", "scale", "nih_labels", "rsna_class", "rsna_boxes_xywh_1024")
    more = ("nih_bbox_xywh_1024", "chestxdet_syms", "chestxdet_boxes_xyxy_1024")
    save_table(folder / "index.csv", (*columns, *more), table)


def _write_gathered_pneumothorax(folder: Path) -> None:
    table = []
    for number in range(12):
        name, there = f"{siim_name(100 + number)}.png", number % 3 > 0
        save(chest(100 + number), folder / "images" / name)
        save(lungs(64)[0] if there else np.zeros((64, 64), dtype=np.bool_), folder / "masks" / name)
        table.append((f"images/{name}", f"masks/{name}", int(there), "whole film", "", "PA", 40, "M", ""))
    columns = ("image", "mask", "positive", "kind", "patient_hint", "view", "age", "sex", "note")
    save_table(folder / "index.csv", columns, table)


def _write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


WRITERS: Mapping[str, Callable[[Path], None]] = {
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
