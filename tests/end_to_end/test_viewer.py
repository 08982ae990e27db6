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
from cxrnode.domain.finding import RefusedImage, StudyResult
from cxrnode.evidence import encode, headers, key_objects, report, segmentation
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
    header = headers.read_header(made.source, made.path)
    composed = (
        segmentation.compose_segmentation(author, made.source, header, part, Geometry.VIEWER)
        for result in study.images[0].results
        for part in segmentation.segmented(result, Geometry.VIEWER)
    )
    segs = [built for built in composed if built is not None]
    uids = {made.source.uid: [str(built.SOPInstanceUID) for built in segs]}
    return tuple(_kept(folder, built) for built in segs), _reported(made, study, uids, folder, kind)


def _reported(
    made: Case,
    study: StudyResult,
    uids: dict[str, list[str]],
    folder: Path,
    kind: ReportClass = ReportClass.COMPREHENSIVE_3D,
) -> Path:
    """Compose a report of what a study's models said, or of something else of the same study."""
    read = {source.row: headers.read_header(source, made.paths()[source.row]) for source in (made.source, made.lateral)}
    return _kept(folder, report.compose_report(composer().author, study, read, uids, kind))


def _rejected(made: Case, study: Study, folder: Path) -> Path:
    """Compose the rejection note of everything that we wrote of a study."""
    ours = [pydicom.dcmread(path, stop_before_pixels=True) for path in study.files[1:]]
    rejected = [
        key_objects.Rejected(sop_class_uid=str(ds.SOPClassUID), sop_instance_uid=str(ds.SOPInstanceUID)) for ds in ours
    ]
    header = headers.read_header(made.source, made.path)
    author, study_uid = composer().author, made.source.study_uid
    note = key_objects.compose_rejection(author, study_uid, made.source, header, rejected, "wrong_result")
    return _kept(folder, note)


def _uid(path: Path | None) -> str:
    assert path is not None
    return str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID)


def _series(path: Path | None) -> str:
    assert path is not None
    return str(pydicom.dcmread(path, stop_before_pixels=True).SeriesInstanceUID)


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


def test_a_report_that_nothing_was_analysed_can_be_read(viewer: Viewer, send: Send, tmp_path: Path) -> None:
    """There is nothing to draw: why there is none is on the screen as text."""
    made, study = _study(tmp_path, "not-analysed")
    refused = RefusedImage(source=made.source, code="not_frontal")
    nothing = StudyResult(study_uid=made.source.study_uid, images=(), refused=(refused,))
    only = replace(study, segmentations=(), report=_reported(made, nothing, {}, tmp_path))
    send(only)
    assert viewer.objections(only) == []


def test_what_was_taken_back_is_said_beside_the_old_report(viewer: Viewer, send: Send, tmp_path: Path) -> None:
    """The list shows both reports and says which one takes back; opened, it says what and why."""
    made, study = _study(tmp_path, "retraction")
    send(study)
    retraction = StudyResult(
        study_uid=made.source.study_uid,
        images=(),
        predecessor=_uid(study.report),
        revision=2,
        retraction="wrong_result",
        retracted=(made.source,),
    )
    new = replace(study, name="retracted", segmentations=(), report=_reported(made, retraction, {}, tmp_path))
    note = replace(study, segmentations=(_rejected(made, study, tmp_path),))
    send(replace(new, segmentations=note.segmentations))
    assert viewer.objections(new) == []
    listed = viewer.listed(replace(study, name="retraction", segmentations=(*study.segmentations, *new.files[1:])))
    old_line, new_line = (listed[_series(path)] for path in (study.report, new.report))
    assert "retract" in new_line.lower()
    assert "retract" not in old_line.lower()


def test_a_later_report_is_shown_beside_the_one_it_follows(viewer: Viewer, send: Send, tmp_path: Path) -> None:
    """A study analysed again: both are listed, the later one by its number, and it is drawn as the first one was."""
    made, study = _study(tmp_path, "revision")
    send(study)
    again = replace(made.full_study(), predecessor=_uid(study.report), revision=2)
    uids = {made.source.uid: [_uid(path) for path in study.segmentations]}
    later = replace(study, segmentations=(), report=_reported(made, again, uids, tmp_path))
    send(replace(later, source=later.files[1]))
    assert viewer.objections(later) == []
    listed = viewer.listed(replace(later, segmentations=(*study.segmentations, study.files[-1])))
    assert "revision 2" in listed[_series(later.report)]
    assert "revision" not in listed[_series(study.report)]


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
