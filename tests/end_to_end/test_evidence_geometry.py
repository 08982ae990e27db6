"""A SEG lies on its source whatever that states of its spacing, orientation, polarity and frame of reference."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest

from cxrnode.domain.delivery import Geometry
from cxrnode.evidence.codes import STRUCTURES
from tests import checkers
from tests.evidence_cases import Case, case, composer, instance_of, kept

pytestmark = pytest.mark.peers

NONE = {"PixelSpacing": None, "ImagerPixelSpacing": None}


@dataclass(frozen=True)
class Kind:
    """A source: changes of the phantom's specification, values of its header (None: not there), and its spacing."""

    spec: dict[str, object] = field(default_factory=dict)
    header: dict[str, object] = field(default_factory=dict)
    spacing: tuple[float, float] | None = None


KINDS = {
    "calibrated spacing": Kind(header={"PixelSpacing": ["0.175", "0.18"]}, spacing=(0.175, 0.18)),
    "spacing at the detector": Kind(
        header={"PixelSpacing": None, "ImagerPixelSpacing": ["0.2", "0.22"]}, spacing=(0.2, 0.22)
    ),
    "spacing at the detector, magnification known": Kind(
        header={
            "PixelSpacing": None,
            "ImagerPixelSpacing": ["0.22", "0.22"],
            "EstimatedRadiographicMagnificationFactor": "1.1",
        },
        spacing=(0.2, 0.2),
    ),
    "spacing of zero": Kind(header={"PixelSpacing": ["0", "0"], "ImagerPixelSpacing": None}, spacing=(1, 1)),
    "spacing of zero, another at the detector": Kind(
        header={"PixelSpacing": ["0", "0.2"], "ImagerPixelSpacing": ["0.3", "0.3"]}, spacing=(0.3, 0.3)
    ),
    "no spacing": Kind(header=NONE, spacing=(1, 1)),
    "no spacing in a CR": Kind(spec={"modality": "CR"}, header=NONE, spacing=(1, 1)),
    "odd rows": Kind(spec={"rows": 301, "cols": 264}),
    "odd columns": Kind(spec={"rows": 300, "cols": 263}),
    "odd rows and columns": Kind(spec={"rows": 301, "cols": 263}),
    "whole bytes": Kind(spec={"rows": 304, "cols": 264}),
    "MONOCHROME1": Kind(spec={"photometric": "MONOCHROME1"}),
    "MONOCHROME1 in a CR": Kind(spec={"modality": "CR", "photometric": "MONOCHROME1"}),
    "a frame of reference": Kind(header={"FrameOfReferenceUID": "2.25.4711"}),
    "a frame of reference and no spacing": Kind(header={**NONE, "FrameOfReferenceUID": "2.25.4711"}, spacing=(1, 1)),
    "mirrored": Kind(spec={"orientation": "R\\F"}),
    "head down": Kind(spec={"orientation": "L\\H"}),
    "turned round": Kind(spec={"orientation": "R\\H"}),
    "on its side": Kind(spec={"orientation": "F\\R"}),
    "on its other side": Kind(spec={"orientation": "H\\L"}),
    "transposed": Kind(spec={"orientation": "F\\L", "rows": 263, "cols": 301}),
    "on its side and mirrored": Kind(spec={"orientation": "H\\R"}),
    "an oblique orientation": Kind(header={"PatientOrientation": ["LF", "FR"]}),
    "an empty orientation": Kind(spec={"modality": "CR", "orientation": ""}),
    "no orientation": Kind(spec={"modality": "CR"}, header={"PatientOrientation": None}),
}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    """Each kind of source."""
    return KINDS[request.param]


@pytest.fixture
def made(kind: Kind, tmp_path: Path) -> Case:
    """A radiograph of the kind, and what the models said of it."""
    found = case(tmp_path, **kind.spec)
    header = pydicom.dcmread(found.path)
    for keyword, value in kind.header.items():
        header.pop(keyword, None)
        if value is not None:
            setattr(header, keyword, value)
    header.save_as(found.path)
    return replace(found, source=instance_of(found.path))


@pytest.mark.parametrize("geometry", list(Geometry))
def test_every_segment_lies_on_its_source_and_is_valid(made, kind, geometry, tmp_path, checked):
    """dciodvfy finds no error, and highdicom sees each pixel in its place; so does dcmqi, which reads planes only."""
    path = kept(tmp_path, composer().segmentation(made.source, made.path, made.result, geometry))
    assert checked(checkers.dciodvfy_errors, path) == []
    masks = {STRUCTURES[label].title: mask for label, mask in made.masks().items()}
    _same(_by_highdicom(path, made), masks)
    if geometry is Geometry.VIEWER:
        _same(checked(checkers.dcmqi_planes, path), masks)


def test_a_segmentation_states_what_its_source_states(made, kind, tmp_path):
    """Rows, columns, orientation and frame of reference are the source's; the spacing is its best one, or 1 mm."""
    path = kept(tmp_path, composer().segmentation(made.source, made.path, made.result, Geometry.VIEWER))
    source, seg = pydicom.dcmread(made.path, stop_before_pixels=True), pydicom.dcmread(path)
    assert (seg.Rows, seg.Columns) == (source.Rows, source.Columns)
    assert seg.PatientOrientation == (source.get("PatientOrientation") or "")
    assert seg.get("FrameOfReferenceUID") == source.get("FrameOfReferenceUID")
    measured = seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing
    assert tuple(measured) == pytest.approx(kind.spacing or source.get("PixelSpacing") or source.ImagerPixelSpacing)


def _by_highdicom(path: Path, made: Case) -> dict[str, np.ndarray]:
    seg = hd.seg.segread(path)
    planes = seg.get_pixels_by_source_instance([made.source.uid], ignore_spatial_locations=True)[0]
    return {
        seg.get_segment_description(number).segment_label: planes[..., number - 1] for number in seg.segment_numbers
    }


def _same(planes: dict[str, np.ndarray], masks: dict[str, np.ndarray]) -> None:
    assert list(planes) == list(masks)
    for label, mask in masks.items():
        assert np.array_equal(planes[label] > 0, mask), label
