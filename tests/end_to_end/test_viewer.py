"""OHIF shows what was written: image, segmentations and report, for every kind of radiograph.

Screenshots of every look are kept in the folder of --screenshots (`.ci/run`: `screenshots/`), else below pytest's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import JPEG2000Lossless

from cxrnode.domain.capability import ReportClass
from cxrnode.domain.delivery import Geometry
from cxrnode.evidence import encode, headers, report, segmentation
from cxrnode.phantom import Patient, render, study_of
from tests import peers
from tests.evidence_cases import Case, case, composer, instance_of
from tests.viewer.viewer import Study, Viewer, viewing

pytestmark = pytest.mark.peers

Send = Callable[[Study], None]

ENCODINGS = {"plain": {}, "jpeg2000": {"transfer_syntax": JPEG2000Lossless}}
VARIANTS = {
    f"{modality}-{photometric}-{encoding}-{spacing}".lower(): (
        {"modality": modality, "photometric": photometric, **ENCODINGS[encoding]},
        spacing,
    )
    for modality, photometric, encoding, spacing in product(
        ("DX", "CR"), ("MONOCHROME1", "MONOCHROME2"), ENCODINGS, ("spacing", "bare")
    )
}


@pytest.fixture(scope="module")
def archive(needs: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Iterator[peers.Orthanc]:
    """One Orthanc for all studies."""
    needs("Orthanc", "dcmsend")
    with peers.start_orthanc(tmp_path_factory.mktemp("archive") / "orthanc") as running:
        yield running


@pytest.fixture(scope="module")
def viewer(
    archive: peers.Orthanc,
    lacking: Callable[[str], None],
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[Viewer]:
    """One browser for all studies."""
    folder = tmp_path_factory.mktemp("viewer")
    screenshots = request.config.getoption("--screenshots") or folder / "screenshots"
    try:
        with viewing(archive.http_port, folder, screenshots) as opened:
            yield opened
    except peers.Missing as missing:
        lacking(str(missing))


@pytest.fixture(scope="module")
def send(archive: peers.Orthanc) -> Send:
    """Put the files of a study into the archive by C-STORE."""

    def to_archive(study: Study) -> None:
        peers.run("dcmsend", "-aec", archive.ae_title, peers.LOOPBACK, archive.port, *study.files)

    return to_archive


def _study(folder: Path, name: str, spacing: str = "spacing", **changes: Any) -> tuple[Case, Study]:
    """A frontal radiograph of a patient of its own (OHIF lists all studies of one), with what four models said."""
    changes = {"rows": 320, "cols": 256, "patient": Patient(patient_id=name, name="Phantom^Viewer")} | changes
    made = case(folder, **changes)
    if spacing == "bare":
        made = _without_spacing(made)
    display = render(study_of(**changes)[0]).truth.display
    segmentations, written = _composed(made, folder)
    study = Study(name=name, source=made.path, display=display, segmentations=segmentations, report=written)
    return made, study


def _without_spacing(made: Case) -> Case:
    ds = pydicom.dcmread(made.path)
    del ds.ImagerPixelSpacing
    ds.save_as(made.path)
    return replace(made, source=instance_of(made.path))


def _composed(made: Case, folder: Path) -> tuple[tuple[Path, ...], Path]:
    author, study = composer().author, made.full_study()
    read = {source.row: headers.read_header(source, made.paths()[source.row]) for source in (made.source, made.lateral)}
    composed = (
        segmentation.compose_segmentation(author, made.source, read[made.source.row], result, Geometry.VIEWER)
        for result in study.images[0].results
    )
    segs = [built for built in composed if built is not None]
    uids = {made.source.uid: [str(built.SOPInstanceUID) for built in segs]}
    written = report.compose_report(author, study, read, uids, ReportClass.COMPREHENSIVE_3D)
    return tuple(_kept(folder, built) for built in segs), _kept(folder, written)


def _kept(folder: Path, built: Dataset) -> Path:
    path = folder / f"{built.SOPInstanceUID}.dcm"
    path.write_bytes(encode.encoded(built, "0"))
    return path


@pytest.mark.parametrize("name", VARIANTS)
def test_everything_that_was_written_is_shown(name: str, viewer: Viewer, send: Send, tmp_path: Path) -> None:
    """Image, both SEGs pixel by pixel and in colour, every region of the SR with its values; no console error."""
    changes, spacing = VARIANTS[name]
    _, study = _study(tmp_path, name, spacing, **changes)
    send(study)
    assert viewer.objections(study) == []
