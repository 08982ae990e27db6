"""What is put into SEG and SR is what independent readers take out, pixel by pixel and corner by corner."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from itertools import product

import highdicom as hd
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pydicom.dataset import Dataset

from cxrnode.domain.capability import ReportClass
from cxrnode.domain.delivery import Geometry
from cxrnode.domain.finding import Box, Finding, ImageResult, ModelResult, Presence, Region, StudyResult
from cxrnode.domain.selection import View
from cxrnode.domain.study import Instance
from cxrnode.evidence.codes import STRUCTURES
from cxrnode.evidence.encode import encoded
from cxrnode.evidence.headers import read_header
from cxrnode.evidence.identity import Author
from cxrnode.evidence.report import compose_report
from cxrnode.evidence.segmentation import compose_segmentation
from cxrnode.phantom import Radiograph, write
from tests import checkers
from tests.evidence_cases import LUNGS, OPACITY, instance_of

AUTHOR = Author(device_name="CXRNODE-TEST", software_version="1.0", timezone_offset="")
ORIENTATIONS = ("L\\F", "R\\F", "L\\H", "R\\H", "F\\L", "F\\R", "H\\L", "H\\R")
LABELS = tuple(STRUCTURES)

Planes = np.ndarray


@dataclass(frozen=True)
class Source:
    """A radiograph that was read; what is put on it may have any rows and columns."""

    instance: Instance
    header: Dataset

    def sized(self, rows: int, columns: int) -> Source:
        """The same one with other rows and columns."""
        description = self.instance.description
        facts = replace(description.facts, rows=rows, columns=columns)
        return replace(self, instance=replace(self.instance, description=replace(description, facts=facts)))


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[Source]:
    """A film of each orientation, polarity and modality."""
    folder = tmp_path_factory.mktemp("films")
    films = product(ORIENTATIONS, ("MONOCHROME1", "MONOCHROME2"), ("DX", "CR"))
    found = []
    for number, (orientation, photometric, modality) in enumerate(films):
        path = folder / f"{number}.dcm"
        spec = Radiograph(rows=64, cols=64, orientation=orientation, photometric=photometric, modality=modality)
        write(spec, path)
        found.append(Source(instance=instance_of(path), header=read_header(instance_of(path), path)))
    return found


def _checkerboard(count: int, rows: int, columns: int) -> Planes:
    row, column = np.indices((rows, columns))
    return np.stack([(row + column + turn) % 2 == 0 for turn in range(count)])


def _single(rows: int, columns: int, *pixels: tuple[int, int]) -> Planes:
    planes = np.zeros((len(pixels), rows, columns), dtype=bool)
    for plane, pixel in zip(planes, pixels, strict=True):
        plane[pixel] = True
    return planes


SHAPES = st.tuples(st.integers(1, len(LABELS)), st.integers(1, 41), st.integers(1, 41))
PLANES = SHAPES.flatmap(lambda shape: arrays.arrays(bool, shape)).filter(lambda planes: planes.any())
CHOSEN = (
    _single(31, 17, (0, 0), (30, 16), (0, 16), (30, 0)),
    np.ones((3, 24, 16), dtype=bool),
    np.ones((1, 1, 1), dtype=bool),
    _checkerboard(2, 15, 13),
    _checkerboard(6, 33, 8),
    np.concatenate([_checkerboard(1, 9, 7), np.zeros((1, 9, 7), dtype=bool), np.ones((1, 9, 7), dtype=bool)]),
)
"""Corners, everything, the smallest, what no run shortens, all segments over each other, one of them empty."""


def chosen(test: Callable[..., None]) -> Callable[..., None]:
    """Add the planes that were chosen."""
    for planes in CHOSEN:
        test = example(planes=planes, which=len(planes), geometry=Geometry.VIEWER)(test)
    return test


@chosen
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(planes=PLANES, which=st.integers(0, 31), geometry=st.sampled_from(Geometry))
def test_highdicom_reads_any_mask_as_it_was(sources, planes, which, geometry):
    """Of any size, in any number, over each other; and no orientation or inversion of the source moves a pixel."""
    source = sources[which].sized(*planes.shape[1:])
    read = hd.seg.segread(BytesIO(_segmentation(source, planes, geometry)))
    found = read.get_pixels_by_source_instance([source.instance.uid], ignore_spatial_locations=True)[0]
    labels = [read.get_segment_description(number).segment_label for number in read.segment_numbers]
    assert labels == list(_shown(planes))
    for number, plane in enumerate(_shown(planes).values()):
        assert np.array_equal(found[..., number], plane)


@pytest.mark.peers
@chosen
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(planes=PLANES, which=st.integers(0, 31), geometry=st.just(Geometry.VIEWER))
def test_dcmqi_and_dcmjs_read_any_mask_as_it_was(sources, planes, which, geometry, tmp_path, checked):
    """A reader in C++ and one in JavaScript, which share no code with each other or with us."""
    path = tmp_path / "seg.dcm"
    path.write_bytes(_segmentation(sources[which].sized(*planes.shape[1:]), planes, geometry))
    found = checked(checkers.dcmqi_planes, path)
    assert list(found) == list(_shown(planes))
    assert all(np.array_equal(found[label] > 0, plane) for label, plane in _shown(planes).items())
    frames = checked(checkers.dcmjs_readings, path)[0]["frames"]
    assert [frame["segment"] for frame in frames] == [*range(1, len(found) + 1)]
    assert [frame["sha256"] for frame in frames] == [_digest(plane) for plane in _shown(planes).values()]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(planes=PLANES, which=st.integers(0, 31))
def test_a_segmentation_says_the_same_of_every_source(sources, planes, which):
    """Negative control of the orientations: what differs between two sources' SEGs is never the pixels."""
    first, second = (
        hd.seg.segread(BytesIO(_segmentation(source.sized(*planes.shape[1:]), planes, Geometry.VIEWER)))
        for source in (sources[0], sources[which])
    )
    assert first.PixelData == second.PixelData
    assert (first.PatientOrientation == second.PatientOrientation) == (which // 4 == 0)


CORNERS = st.integers(0, 4000)
HUNDREDTHS = st.integers(0, 400_000).map(lambda number: number / 100)


@st.composite
def boxes(draw: st.DrawFn) -> list[Box]:
    """Boxes with whole or broken corners, of any form, one pixel large or the whole film."""
    found = []
    for _ in range(draw(st.integers(1, 6))):
        across, along = (
            sorted(draw(st.tuples(each, each))) for each in [draw(st.sampled_from((CORNERS, HUNDREDTHS)))] * 2
        )
        left, top = across[0], along[0]
        right, bottom = max(across[1], left + 1), max(along[1], top + 1)
        found.append(Box(label="lung_opacity", probability=0.9, left=left, top=top, right=right, bottom=bottom))
    return found


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=boxes(), which=st.integers(0, 31), report_class=st.sampled_from(ReportClass))
def test_highdicom_reads_any_box_to_the_corner(sources, drawn, which, report_class):
    """In each class of report and on any source: four corners in their order, and the first one again."""
    content = hd.sr.srread(BytesIO(_report(sources[which], drawn, report_class))).content
    groups = content.get_planar_roi_measurement_groups()
    found = [group.roi.value.tolist() for group in groups if group.roi is not None]
    assert [_single_precision(_corners(box)) for box in drawn] == _those_of_boxes(found)


@pytest.mark.peers
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=boxes(), which=st.integers(0, 31), report_class=st.sampled_from(ReportClass))
def test_dcmjs_reads_any_box_to_the_corner(sources, drawn, which, report_class, tmp_path, checked):
    """What viewers draw."""
    path = tmp_path / "report.dcm"
    path.write_bytes(_report(sources[which], drawn, report_class))
    groups = checked(checkers.dcmjs_readings, path)[0]["groups"]
    outlines = [item["value"][1] for group in groups for item in group if item["type"] == "SCOORD"]
    found = [[outline[place : place + 2] for place in range(0, len(outline), 2)] for outline in outlines]
    assert [_single_precision(_corners(box)) for box in drawn] == _those_of_boxes(found)


def _segmentation(source: Source, planes: Planes, geometry: Geometry) -> bytes:
    regions = tuple(
        Region(label=label, mask=np.ascontiguousarray(plane), model=LUNGS)
        for label, plane in zip(LABELS, planes, strict=False)
    )
    result = ModelResult(model=LUNGS, regions=regions)
    built = compose_segmentation(AUTHOR, source.instance, source.header, result, geometry)
    assert built is not None
    return encoded(built, AUTHOR.software_version)


def _report(source: Source, drawn: Sequence[Box], report_class: ReportClass) -> bytes:
    sized = source.sized(4001, 4001)
    finding = Finding(
        name="lung_opacity", presence=Presence.PRESENT, probability=0.9, operating_point=0.5, boxes=tuple(drawn)
    )
    result = ModelResult(model=OPACITY, findings=(finding,))
    image = ImageResult(source=sized.instance, view=View.PA, results=(result,))
    study = StudyResult(study_uid=source.instance.study_uid, images=(image,))
    built = compose_report(AUTHOR, study, {sized.instance.row: sized.header}, {}, report_class)
    return encoded(built, AUTHOR.software_version)


def _shown(planes: Planes) -> dict[str, Planes]:
    """What is to be read, by label: an empty mask is no segment."""
    return {STRUCTURES[label].title: plane for label, plane in zip(LABELS, planes, strict=False) if plane.any()}


def _digest(plane: Planes) -> str:
    return hashlib.sha256(plane.astype(np.uint8).tobytes()).hexdigest()


def _corners(box: Box) -> list[tuple[float, float]]:
    left, top, right, bottom = box.left, box.top, box.right, box.bottom
    return [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]


def _single_precision(points: Sequence[Sequence[float]]) -> list[list[float]]:
    """Graphic Data is FL: a corner that is whole, or lies at a half of a pixel, is exact in it."""
    return np.asarray(points, dtype=np.float32).tolist()


WHOLE = _single_precision([(0, 0), (4001, 0), (4001, 4001), (0, 4001), (0, 0)])


def _those_of_boxes(outlines: Sequence[Sequence[Sequence[float]]]) -> list[list[list[float]]]:
    """Leave out the finding's own outline, which is the whole image."""
    return [one for one in (_single_precision(outline) for outline in outlines) if one != WHOLE]
