"""Synthetic radiographs with known truth, for the demo, the tests and the benchmarks.

Hides anatomy, DICOM attributes, codecs and the many ways in which an object can be wrong. Promises that the same
specification gives the same bytes, that sound objects obey their IOD, and that the truth lies on the stored rows
and columns of the object, with the patient's own sides.

    phantom = render(Radiograph(seed=3, modality="CR", photometric="MONOCHROME1"))
    phantom.dataset, phantom.truth.right_lung, phantom.truth.cardiothoracic_ratio
    write(Radiograph(), path)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset

from cxrnode.phantom.compose import compose, truth_of
from cxrnode.phantom.radiograph import Defect, Patient, Radiograph, Truth, View, Voi, study_of

__all__ = [
    "Defect",
    "Patient",
    "Phantom",
    "Radiograph",
    "Truth",
    "View",
    "Voi",
    "render",
    "study_of",
    "write",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Phantom:
    """A made radiograph: its specification, its data set (with file meta) and what is true of it."""

    spec: Radiograph
    dataset: Dataset
    truth: Truth


def render(spec: Radiograph) -> Phantom:
    """Make the radiograph in memory."""
    truth = truth_of(spec)
    return Phantom(spec=spec, dataset=compose(spec, truth), truth=truth)


def write(spec: Radiograph, path: Path) -> Phantom:
    """Make the radiograph and write it as a DICOM file (PS3.10) at `path`."""
    phantom = render(spec)
    phantom.dataset.save_as(path, enforce_file_format=True)
    return phantom
