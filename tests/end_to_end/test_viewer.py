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
from scipy import ndimage

from cxrnode.domain.capability import ReportClass
from cxrnode.domain.delivery import Geometry
from cxrnode.evidence import encode, headers, report, segmentation
from cxrnode.phantom import Patient, Radiograph, render, study_of
from tests import peers
from tests.evidence_cases import Case, case, composer, instance_of, result_of
from tests.viewer.controls import default_segmentation, without_coordinates
from tests.viewer.viewer import Study, Viewer, viewing

pytestmark = pytest.mark.peers

Send = Callable[[Study], None]

Change = Callable[[Dataset], None]
"""What is done to the header of a source."""


def _bare(ds: Dataset) -> None:
    del ds.ImagerPixelSpacing


def _calibrated(ds: Dataset) -> None:
    ds.PixelSpacing = [0.9, 0.9]
    ds.FrameOfReferenceUID = ds.SOPInstanceUID + ".1"


def _nothing(ds: Dataset) -> None:
    """Leave it as it is."""


ENCODINGS: dict[str, dict[str, Any]] = {"plain": {}, "jpeg2000": {"transfer_syntax": JPEG2000Lossless}}
SPACINGS: dict[str, Change] = {"spacing": _nothing, "bare": _bare}
VARIANTS = {
    "-".join(names).lower(): (
        {"modality": names[0], "photometric": names[1], **ENCODINGS[names[2]]},
        SPACINGS[names[3]],
    )
    for names in product(("DX", "CR"), ("MONOCHROME1", "MONOCHROME2"), ENCODINGS, SPACINGS)
}
GEOMETRIES: dict[str, tuple[dict[str, Any], Change]] = {
    "odd": ({"rows": 301, "cols": 263}, _nothing),
    "uneven": ({"rows": 265, "cols": 264}, _nothing),
    "on-its-side": ({"orientation": "F\\R", "rows": 288, "cols": 320}, _nothing),
    "mirrored": ({"orientation": "R\\F", "modality": "CR", "photometric": "MONOCHROME1"}, _nothing),
    "unoriented": ({"orientation": "", "modality": "CR"}, _bare),
    "calibrated": ({}, _calibrated),
}
"""Odd: a packed mask does not end with a byte. Uneven: it does, but three of them are an odd number of bytes.

Not here, whoever wrote the objects: OHIF draws no picture whose stated spacing is zero, and misplaces a report's
regions where pixels are not square.
"""

CONTROL_SECONDS = 15.0
"""How long a negative control may try to be shown."""


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


def _study(
    folder: Path, name: str, change: Change = _nothing, kind: ReportClass = ReportClass.COMPREHENSIVE_3D, **spec: Any
) -> tuple[Case, Study]:
    """A frontal radiograph of a patient of its own (OHIF lists all studies of one), with what four models said."""
    spec = {"rows": 320, "cols": 256, "patient": Patient(patient_id=name, name="Phantom^Viewer")} | spec
    made = _changed(case(folder, **spec), change)
    segmentations, written = _composed(made, kind, folder)
    display = render(study_of(**spec)[0]).truth.display
    return made, Study(name=name, source=made.path, display=display, segmentations=segmentations, report=written)


def _changed(made: Case, change: Change) -> Case:
    ds = pydicom.dcmread(made.path)
    change(ds)
    ds.save_as(made.path)
    return replace(made, source=instance_of(made.path))


def _composed(made: Case, kind: ReportClass, folder: Path) -> tuple[tuple[Path, ...], Path]:
    author, study = composer().author, made.full_study()
    read = {source.row: headers.read_header(source, made.paths()[source.row]) for source in (made.source, made.lateral)}
    composed = (
        segmentation.compose_segmentation(author, made.source, read[made.source.row], result, Geometry.VIEWER)
        for result in study.images[0].results
    )
    segs = [built for built in composed if built is not None]
    uids = {made.source.uid: [str(built.SOPInstanceUID) for built in segs]}
    written = report.compose_report(author, study, read, uids, kind)
    return tuple(_kept(folder, built) for built in segs), _kept(folder, written)


def _kept(folder: Path, built: Dataset) -> Path:
    path = folder / f"{built.SOPInstanceUID}.dcm"
    path.write_bytes(encode.encoded(built, "0"))
    return path


@pytest.mark.parametrize("name", VARIANTS)
def test_everything_that_was_written_is_shown(name: str, viewer: Viewer, send: Send, tmp_path: Path) -> None:
    """Image, both SEGs pixel by pixel and in colour, every region of the SR with its values; no console error."""
    spec, change = VARIANTS[name]
    _, study = _study(tmp_path, name, change, **spec)
    send(study)
    assert viewer.objections(study) == []


@pytest.mark.parametrize("name", GEOMETRIES)
def test_any_geometry_is_shown(name: str, viewer: Viewer, send: Send, tmp_path: Path) -> None:
    """Odd and uneven sizes, a film on its side or mirrored, one with a frame of reference, one without direction."""
    spec, change = GEOMETRIES[name]
    _, study = _study(tmp_path, name, change, **spec)
    send(study)
    assert viewer.objections(study) == []


@pytest.mark.parametrize("kind", [ReportClass.COMPREHENSIVE, ReportClass.ENHANCED])
def test_reports_of_the_older_classes_are_shown(kind: ReportClass, viewer: Viewer, send: Send, tmp_path: Path) -> None:
    """What goes to a destination that does not take Comprehensive 3D SR is drawn just as well."""
    _, study = _study(tmp_path, f"{kind}-report", kind=kind)
    only = replace(study, segmentations=())
    send(only)
    assert viewer.objections(only) == []


def test_segments_that_overlap_are_shown_whole(viewer: Viewer, send: Send, tmp_path: Path) -> None:
    """A heart that reaches into both lungs costs neither of them a pixel."""
    made = case(tmp_path, rows=320, cols=256, patient=Patient(patient_id="overlap", name="Phantom^Viewer"))
    masks = made.masks()
    wide = replace(made, result=result_of(masks | {"heart": ndimage.binary_dilation(masks["heart"], iterations=9)}))
    segmentations, _ = _composed(wide, ReportClass.COMPREHENSIVE_3D, tmp_path)
    display = render(Radiograph(rows=320, cols=256)).truth.display
    study = Study(name="overlap", source=made.path, display=display, segmentations=segmentations[:1])
    send(study)
    assert viewer.objections(study) == []


def test_a_segmentation_as_the_toolkit_writes_it_is_objected_to(viewer: Viewer, send: Send, tmp_path: Path) -> None:
    """Negative control: highdicom's default SEG blackens the page, and the check says that its segment is not there."""
    made, study = _study(tmp_path, "default-segmentation")
    default = default_segmentation(study.source, made.masks()["right_lung"], tmp_path / "default.dcm")
    control = replace(study, segmentations=(default,), report=None)
    send(control)
    found = viewer.objections(control, CONTROL_SECONDS)
    assert any("default segmentation is not shown" in each or "cannot say" in each for each in found)
    assert not any(each.startswith("default-segmentation-image: ") for each in found)


def test_a_group_without_coordinates_is_objected_to(viewer: Viewer, send: Send, tmp_path: Path) -> None:
    """Negative control: one measurement group without a place, and no region of the report is to be seen."""
    _, study = _study(tmp_path, "no-coordinates")
    assert study.report is not None
    control = replace(study, segmentations=(), report=without_coordinates(study.report))
    send(control)
    found = viewer.objections(control, CONTROL_SECONDS)
    assert any(each.startswith("no-coordinates-report: ") for each in found)
    assert not any(each.startswith("no-coordinates-image: ") for each in found)
