"""Synthetic radiographs with known truth, for the demo, the tests and the benchmarks.

Hides anatomy, DICOM attributes, codecs and the many ways in which an object can be wrong. Promises that the same
specification gives the same bytes, that sound objects obey their IOD, and that the truth lies on the stored rows
and columns of the object, with the patient's own sides.

    phantom = render(Radiograph(seed=3, modality="CR", photometric="MONOCHROME1"))
    phantom.dataset, phantom.truth.right_lung, phantom.truth.cardiothoracic_ratio
    write(Radiograph(), path)
"""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset

from cxrnode.phantom.catalogue import Named, catalogue, named
from cxrnode.phantom.compose import compose
from cxrnode.phantom.defects import change, damage
from cxrnode.phantom.encode import check, encoded
from cxrnode.phantom.lesions import Lesion, Opacity, Pneumothorax, Side
from cxrnode.phantom.radiograph import Corners, Defect, Patient, Radiograph, Truth, View, Voi, study_of
from cxrnode.phantom.truth import truth_of

__all__ = [
    "Corners",
    "Defect",
    "Lesion",
    "Named",
    "Opacity",
    "Patient",
    "Phantom",
    "Pneumothorax",
    "Radiograph",
    "Side",
    "Truth",
    "View",
    "Voi",
    "catalogue",
    "named",
    "render",
    "study_of",
    "write",
    "write_catalogue",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Phantom:
    """A made radiograph: its specification, the bytes of its file, and what is true of it."""

    spec: Radiograph
    file: bytes
    truth: Truth

    @property
    def dataset(self) -> Dataset:
        """The data set as pydicom reads it from the bytes, with file meta; read anew each time, so free to change.

        InvalidDicomError where the defect is that this is no DICOM file.
        """
        bare = self.spec.defect in {Defect.NO_META, Defect.TRUNCATED, Defect.NO_TRANSFER_SYNTAX}
        return pydicom.dcmread(io.BytesIO(self.file), force=bare)


def render(spec: Radiograph) -> Phantom:
    """Make the radiograph in memory. ValueError where its transfer syntax cannot carry its values."""
    check(spec.transfer_syntax, spec.bits_stored, spec.signed)
    truth = truth_of(spec)
    ds = compose(spec, truth)
    change(ds, spec.defect, encoded=False)
    file = encoded(ds, spec.transfer_syntax, lambda done: change(done, spec.defect, encoded=True))
    return Phantom(spec=spec, file=damage(file, spec.defect), truth=truth)


def write(spec: Radiograph, path: Path) -> Phantom:
    """Make the radiograph and write its file (PS3.10) at `path`; the folder must exist."""
    phantom = render(spec)
    Path(path).write_bytes(phantom.file)
    return phantom


def write_catalogue(folder: Path, names: list[str] | None = None, *, seed: int | None = None) -> list[Path]:
    """Write radiographs of the catalogue by name (all where `names` is None) as NAME.dcm; gives their paths.

    `seed` draws another patient. KeyError for a name that is not in the catalogue, before anything is written.
    """
    chosen = [named(name) for name in names] if names is not None else list(catalogue())
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for entry in chosen:
        spec = entry.spec if seed is None else replace(entry.spec, seed=seed)
        paths.append(folder / f"{entry.name}.dcm")
        write(spec, paths[-1])
    return paths
